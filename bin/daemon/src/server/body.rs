//! JSON request bodies, checked as Docker checks them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::error::{ApiError, ApiResult};

/// No JSON document that a client sends is longer.
const LONGEST: usize = 8 << 20;

/// A JSON body; an absent one is the type's default, as Docker takes it.
#[derive(Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned + Default, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> ApiResult<Self> {
        let (parts, body) = request.into_parts();
        let bytes = Limited::new(body, LONGEST).collect().await.map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                ApiError::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("request body is longer than {LONGEST} bytes"),
                )
            } else {
                ApiError::bad_request(format!("cannot read the request body: {error}"))
            }
        })?;
        decode(&parts.headers, &bytes.to_bytes()).map(Self)
    }
}

fn decode<T: DeserializeOwned + Default>(headers: &HeaderMap, bytes: &Bytes) -> ApiResult<T> {
    let content_type =
        headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match content_type.as_deref() {
        // Clients of old send an empty body with any type, or none.
        _ if bytes.is_empty() => return Ok(T::default()),
        Some(text) if is_json(text) => {}
        other => {
            return Err(ApiError::bad_request(format!(
                "unsupported Content-Type header ({}): must be 'application/json'",
                other.unwrap_or_default()
            )));
        }
    }
    if bytes.trim_ascii().is_empty() {
        return Err(ApiError::bad_request("invalid JSON: got EOF while reading request body"));
    }
    // A body of `null` is Go's way to say "nothing".
    let value: Option<T> = serde_json::from_slice(bytes)
        .map_err(|error| ApiError::bad_request(format!("invalid JSON: {error}")))?;
    Ok(value.unwrap_or_default())
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or_default();
    media.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(content_type: Option<&str>, body: &'static str) -> Result<Vec<i32>, String> {
        let mut headers = HeaderMap::new();
        if let Some(text) = content_type {
            headers.insert(header::CONTENT_TYPE, text.parse().unwrap());
        }
        decode(&headers, &Bytes::from_static(body.as_bytes())).map_err(|error| error.message)
    }

    #[test]
    fn only_json_is_read_as_json() {
        let json = Some("application/json; charset=utf-8");
        assert_eq!(decoded(json, "[1]").unwrap(), [1]);
        assert_eq!(decoded(json, "null").unwrap(), [0; 0]);
        assert_eq!(decoded(None, "").unwrap(), [0; 0]);
        assert_eq!(
            decoded(Some("text/plain"), "[1]").unwrap_err(),
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
        assert!(decoded(json, "hello").unwrap_err().starts_with("invalid JSON: "));
        assert!(decoded(json, "[1][2]").unwrap_err().starts_with("invalid JSON: "));
    }
}
