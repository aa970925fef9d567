//! Answers that go on: JSON lines written while something happens, each sent at once.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How many lines may wait for a slow client before the writer waits too.
const BACKLOG: usize = 64;

/// The writing end of an answer of JSON lines. [`closed`](Self::closed) tells when the client has gone.
#[derive(Clone, Debug)]
pub struct JsonLines(mpsc::Sender<Bytes>);

impl JsonLines {
    /// Sends one line, waiting for a slow client. `false` when the client has gone.
    pub async fn send(&self, line: impl Into<Bytes>) -> bool {
        self.0.send(line.into()).await.is_ok()
    }

    /// Returns when the client has gone away.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

/// An answer whose headers go out at once and whose lines `write` sends. When the client goes away `write` is
/// dropped where it waits: that is how a pull is cancelled.
pub fn json_lines<F, R>(write: F) -> Response
where
    F: FnOnce(JsonLines) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let lines = JsonLines(sender);
    let work = write(lines.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = work => {}
            () = lines.closed() => tracing::debug!("client went away in mid-stream"),
        }
    });
    let mut response =
        Response::new(Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
