//! The query string, read as leniently as Docker reads it.

use std::collections::HashMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use cofferdam_api::Filters;

use crate::error::{ApiError, ApiResult};

/// The parameters after the question mark.
#[derive(Clone, Debug, Default)]
pub struct Params(HashMap<String, Vec<String>>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> ApiResult<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::bad_request(format!("invalid query: {error}")))?;
        let mut params = HashMap::<_, Vec<_>>::new();
        for (name, value) in pairs {
            params.entry(name).or_default().push(value);
        }
        Ok(Self(params))
    }
}

impl Params {
    /// The first value; `None` when it is absent or empty, which Docker does not tell apart.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// Every value of a repeated parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// A yes or no. Like Docker, everything but nothing, `0`, `no`, `false` and `none` means yes.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// A yes or no with another default.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        match self.all(name).next().map(|value| value.trim().to_ascii_lowercase()) {
            Some(value) => !matches!(value.as_str(), "" | "0" | "no" | "false" | "none"),
            None => default,
        }
    }

    /// A number.
    pub fn number<N: std::str::FromStr<Err = std::num::ParseIntError>>(
        &self,
        name: &str,
    ) -> ApiResult<Option<N>> {
        self.get(name)
            .map(|value| {
                value.parse().map_err(|error| {
                    ApiError::bad_request(format!("invalid value {value:?} for parameter {name}: {error}"))
                })
            })
            .transpose()
    }

    /// A time as Unix nanoseconds, from `1136073600` or `1136073600.000000001`; 0 counts as absent, as in Docker.
    pub fn timestamp(&self, name: &str) -> ApiResult<Option<i64>> {
        let Some(value) = self.get(name).filter(|value| *value != "0") else { return Ok(None) };
        match parse_timestamp(value) {
            Some(nanos) => Ok(Some(nanos)),
            None => Err(ApiError::bad_request(format!(
                "invalid value for \"{name}\": {value:?} is not a timestamp"
            ))),
        }
    }

    /// The `filters` parameter.
    pub fn filters(&self) -> ApiResult<Filters> {
        Ok(Filters::parse(self.get("filters").unwrap_or_default())?)
    }
}

/// Unix time, with a fraction of up to nine digits or without, or RFC 3339, as nanoseconds.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return i64::try_from(time.as_nanosecond()).ok();
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_their_nanoseconds() {
        assert_eq!(parse_timestamp("1136073600"), Some(1_136_073_600_000_000_000));
        assert_eq!(parse_timestamp("1136073600.000000001"), Some(1_136_073_600_000_000_001));
        assert_eq!(parse_timestamp("1136073600.5"), Some(1_136_073_600_500_000_000));
        assert_eq!(parse_timestamp("2006-01-01T00:00:00Z"), Some(1_136_073_600_000_000_000));
        for bad in ["", "x", "1.x", "1.0000000001", "99999999999999999999"] {
            assert_eq!(parse_timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn flags_are_dockers() {
        let params = |value: &str| Params(HashMap::from([("f".to_owned(), vec![value.to_owned()])]));
        for yes in ["1", "true", "True", "t", "yes"] {
            assert!(params(yes).flag("f"), "{yes}");
        }
        for no in ["", "0", "no", "false", "none", "False"] {
            assert!(!params(no).flag("f"), "{no}");
        }
        assert!(Params::default().flag_or("f", true));
    }
}
