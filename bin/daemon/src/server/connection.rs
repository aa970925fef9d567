//! One HTTP connection.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, header};
use axum::response::{IntoResponse as _, Response};
use cofferdam_api::ApiVersion;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::version::take_version;
use crate::error::ApiError;

/// Headers longer than this are answered with 431 while they arrive. Docker's limit is 1 MB; none of its clients
/// comes near this one.
const LONGEST_HEADERS: usize = 256 << 10;

/// How long a client may take over its headers.
const HEADER_TIME: Duration = Duration::from_secs(60);

/// How long a refused client may go on sending before its connection is reset.
const LINGER: Duration = Duration::from_secs(2);

/// Serves one connection until it ends.
pub async fn serve<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(answer(router, request.map(Body::new)).await) }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(LONGEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let Err(error) = (&mut connection).await else { return };
    tracing::debug!("connection ended: {error}");
    if error.is_parse()
        && let Some(parts) = connection.into_parts()
    {
        linger(parts.io.into_inner()).await;
    }
}

/// Closing while the client still sends would reset the connection, and it might never read why it was refused.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let drain = async {
        stream.shutdown().await?;
        let mut scratch = vec![0; 64 << 10];
        while stream.read(&mut scratch).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whatever goes wrong here, the client is gone, which is the aim.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Answers one request: version, route, headers. A handler that panics costs its request only.
async fn answer(router: Router, mut request: Request<Body>) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    tracing::debug!("{line}");
    let mut response = match take_version(&mut request) {
        Err(error) => error.into_response(),
        Ok(()) => match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
            Ok(response) => response.into_response(),
            Err(_panic) => {
                tracing::error!("handler of {line} panicked");
                ApiError::internal("internal error: the daemon's handler failed; its log says where")
                    .into_response()
            }
        },
    };
    identify(response.headers_mut());
    response
}

/// The headers of every answer.
fn identify(headers: &mut HeaderMap) {
    let newest = HeaderValue::from_str(&ApiVersion::NEWEST.to_string()).expect("a version is plain ASCII");
    headers.insert("Api-Version", newest);
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    let server = concat!("Cofferdam/", env!("CARGO_PKG_VERSION"), " (linux)");
    headers.insert(header::SERVER, HeaderValue::from_static(server));
}
