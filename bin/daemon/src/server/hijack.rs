//! Hijacked connections: attach and exec turn theirs into a stream of bytes in both directions.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use cofferdam_api::{ApiVersion, MULTIPLEXED_STREAM, RAW_STREAM};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::ReaderStream;

use super::Api;

/// Bytes in both directions. Shutting down the writing half is end-of-file to the client; reading end-of-file means
/// that the client has shut down its own.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// The buffer between a handler and a client that did not ask for an upgrade.
const BUFFER: usize = 64 << 10;

/// A request whose connection can be taken over. Extract it, check everything that can fail, then
/// [`respond`](Self::respond).
#[derive(Debug)]
pub struct Hijack {
    version: ApiVersion,
    /// Present when the client asked to upgrade; only very old ones do not.
    upgrade: Option<OnUpgrade>,
}

impl<S: Sync> FromRequestParts<S> for Hijack {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let Api(version) = Api::from_request_parts(parts, state).await?;
        let asked = parts.headers.contains_key(header::UPGRADE);
        let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| asked);
        Ok(Self { version, upgrade })
    }
}

impl Hijack {
    /// Answers, and runs `serve` on the connection afterwards, in a task of its own. `tty` says whether output is
    /// raw or in stdcopy frames. The connection closes when the stream is dropped.
    pub fn respond<F, R>(self, tty: bool, serve: F) -> Response
    where
        F: FnOnce(Pin<Box<dyn Duplex>>) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let framed = !tty && self.version.announces_multiplexed_stream();
        let content_type = HeaderValue::from_static(if framed { MULTIPLEXED_STREAM } else { RAW_STREAM });
        let Some(upgrade) = self.upgrade else {
            // Without an upgrade HTTP only carries output. The reading side ends when the client goes away.
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            tokio::spawn(serve(Box::pin(ours)));
            let mut response = Response::new(Body::from_stream(ReaderStream::new(theirs)));
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            return response;
        };
        tokio::spawn(async move {
            match upgrade.await {
                Ok(upgraded) => serve(Box::pin(TokioIo::new(upgraded))).await,
                Err(error) => tracing::debug!("client went away before its connection was upgraded: {error}"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
        response
    }
}
