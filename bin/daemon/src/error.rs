//! The one place where failures become HTTP: a status and the words that Docker's clients expect.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cofferdam_api::{ErrorBody, InvalidFilters};
use cofferdam_image::ErrorKind;

/// What a handler answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// Docker's wording.
    pub message: String,
}

/// What a handler returns.
pub type ApiResult<T = Response> = Result<T, ApiError>;

impl ApiError {
    /// Any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: the registry refused the credentials.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// 403: not allowed here.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404: no such object.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: the object is in a state that does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 304: nothing to do (started already, stopped already). Travels without a body.
    pub fn not_modified() -> Self {
        Self::new(StatusCode::NOT_MODIFIED, "")
    }

    /// 500: our own or the host's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// 500, with the whole chain of causes in one line.
    pub fn from_chain(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::internal(chain(error))
    }

    /// 500, of a failure without causes worth a line.
    pub fn internal_of(error: impl std::fmt::Display) -> Self {
        Self::internal(error.to_string())
    }

    /// 501: Docker has it, this engine does not yet; `when` says what it comes with.
    pub fn not_implemented(what: &str, when: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not implemented yet: it comes with {when}"))
    }

    /// 503: what is needed is missing on this host (the guest kernel, QEMU, a swarm).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

/// An error and its causes, joined by colons; a cause that its parent's text ends with already is not repeated.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status == StatusCode::NOT_MODIFIED {
            return self.status.into_response();
        }
        // What is not implemented or not there is the client's news; a 500 is ours.
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::warn!(status = self.status.as_u16(), "{}", self.message);
        }
        (self.status, axum::Json(ErrorBody { message: self.message })).into_response()
    }
}

impl From<InvalidFilters> for ApiError {
    fn from(error: InvalidFilters) -> Self {
        Self::bad_request(chain(&error))
    }
}

impl From<cofferdam_image::Error> for ApiError {
    fn from(error: cofferdam_image::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&error))
    }
}

impl From<cofferdam_store::StoreError> for ApiError {
    fn from(error: cofferdam_store::StoreError) -> Self {
        use cofferdam_store::StoreError;
        match &error {
            StoreError::NameInUse { name, holder } => Self::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            )),
            StoreError::NetworkNameInUse(_) => Self::conflict(chain(&error)),
            StoreError::NoNetwork(_) => Self::not_found(chain(&error)),
            StoreError::AddressInUse { .. } => Self::forbidden(chain(&error)),
            StoreError::NotFound(id) => Self::not_found(format!("No such container: {id}")),
            _ => Self::internal(chain(&error)),
        }
    }
}
