//! The version in a request's path: taken off before routing, and refused when it is out of range.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{Request, Uri};
use cofferdam_api::ApiVersion;

use crate::error::{ApiError, ApiResult};

/// The API version that a request speaks: the one in its path, else the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api(pub ApiVersion);

impl<S: Sync> FromRequestParts<S> for Api {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(ApiVersion::NEWEST)))
    }
}

/// Takes `/v1.44` off the path and notes the version in the request's extensions.
pub fn take_version<B>(request: &mut Request<B>) -> ApiResult<()> {
    let Some((version, rest)) = split(request.uri()) else { return Ok(()) };
    if version < ApiVersion::OLDEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too old. Minimum supported API version is {}, please upgrade your client \
             to a newer version",
            ApiVersion::OLDEST
        )));
    }
    if version > ApiVersion::NEWEST {
        return Err(ApiError::bad_request(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            ApiVersion::NEWEST
        )));
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(rest);
    *request.uri_mut() = Uri::from_parts(parts)
        .map_err(|error| ApiError::bad_request(format!("invalid request path: {error}")))?;
    request.extensions_mut().insert(Api(version));
    Ok(())
}

/// The version and what follows it; `None` when the path does not begin with a version.
fn split(uri: &Uri) -> Option<(ApiVersion, PathAndQuery)> {
    let text = uri.path_and_query()?.as_str();
    let (version, rest) = text.strip_prefix("/v")?.split_once('/')?;
    Some((version.parse().ok()?, format!("/{rest}").parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(path: &str) -> Result<(String, Option<Api>), String> {
        let mut request = Request::builder().uri(path).body(()).unwrap();
        take_version(&mut request).map_err(|error| error.message)?;
        Ok((request.uri().to_string(), request.extensions().get().copied()))
    }

    #[test]
    fn a_version_is_taken_off_the_path() {
        assert_eq!(taken("/v1.24/info?a=b").unwrap(), ("/info?a=b".into(), Some(Api(ApiVersion::v1(24)))));
        assert_eq!(taken("/info").unwrap(), ("/info".into(), None));
        assert_eq!(taken("/volumes/x").unwrap(), ("/volumes/x".into(), None));
    }

    #[test]
    fn versions_out_of_range_get_dockers_words() {
        let old = "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your \
                   client to a newer version";
        assert_eq!(taken("/v1.10/info").unwrap_err(), old);
        let new = format!(
            "client version 1.99 is too new. Maximum supported API version is {}",
            ApiVersion::NEWEST
        );
        assert_eq!(taken("/v1.99/info").unwrap_err(), new);
    }
}
