//! Credentials that a client sends along: JSON in base64 in the header `X-Registry-Auth`.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};

/// What the header says. Unknown fields (the server's address) do not matter: they are for the registry of the
/// image that is pulled.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// The account.
    pub username: String,
    /// Its password.
    pub password: String,
    /// `user:password` in base64, as config.json keeps it.
    auth: String,
    /// A bearer token that the registry takes as it is.
    pub registrytoken: String,
}

/// Clients write either alphabet, with padding or without.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);

impl Credentials {
    /// Reads the header; absent or empty means anonymous.
    pub fn from_headers(headers: &HeaderMap) -> ApiResult<Self> {
        let Some(header) = headers.get("X-Registry-Auth").filter(|header| !header.is_empty()) else {
            return Ok(Self::default());
        };
        let invalid =
            |reason: String| ApiError::bad_request(format!("invalid X-Registry-Auth header: {reason}"));
        let json = decode(header.as_bytes()).ok_or_else(|| invalid("not base64".to_owned()))?;
        let mut credentials: Self = serde_json::from_slice::<Option<Self>>(&json)
            .map_err(|error| invalid(error.to_string()))?
            .unwrap_or_default();
        if credentials.username.is_empty()
            && let Some(pair) = decode(credentials.auth.as_bytes())
            && let Some((user, password)) = String::from_utf8_lossy(&pair).split_once(':')
        {
            credentials.username = user.to_owned();
            credentials.password = password.to_owned();
        }
        Ok(credentials)
    }

    /// Whether there is nothing to present.
    pub fn is_anonymous(&self) -> bool {
        self.username.is_empty() && self.registrytoken.is_empty()
    }
}

impl From<Credentials> for cofferdam_image::Credentials {
    fn from(credentials: Credentials) -> Self {
        if !credentials.registrytoken.is_empty() {
            return Self::Token(credentials.registrytoken);
        }
        if credentials.is_anonymous() {
            return Self::Anonymous;
        }
        Self::Password { username: credentials.username, password: credentials.password }
    }
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE.decode(text).or_else(|_other_alphabet| STANDARD.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &str) -> Result<Credentials, String> {
        let mut headers = HeaderMap::new();
        headers.insert("X-Registry-Auth", header.parse().unwrap());
        Credentials::from_headers(&headers).map_err(|error| error.message)
    }

    #[test]
    fn both_spellings_are_read() {
        let plain = read(&URL_SAFE.encode(r#"{"username":"me","password":"a?b>c","serveraddress":"x"}"#));
        let plain = plain.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((plain.username.as_str(), plain.password.as_str()), ("me", "a?b>c"));
        let packed = format!(r#"{{"auth":"{}"}}"#, STANDARD.encode("me:secret:word"));
        let packed = read(&STANDARD.encode(packed)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((packed.username.as_str(), packed.password.as_str()), ("me", "secret:word"));
    }

    #[test]
    fn nothing_is_anonymous_and_rubbish_is_refused() {
        assert!(Credentials::from_headers(&HeaderMap::new()).is_ok_and(|none| none.is_anonymous()));
        assert!(read("").is_ok_and(|none| none.is_anonymous()));
        assert!(read(&URL_SAFE.encode("null")).is_ok_and(|none| none.is_anonymous()));
        assert!(read("%%%").err().unwrap().contains("not base64"));
        assert!(read(&URL_SAFE.encode("{")).is_err());
    }
}
