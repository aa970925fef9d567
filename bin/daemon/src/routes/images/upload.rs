//! An archive that a client sends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;
use tokio_util::io::StreamReader;

/// How long a client whose archive is refused may go on sending.
const LINGER: Duration = Duration::from_secs(30);

type Chunks = futures_util::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>;

/// The request's body as it arrives.
///
/// When it is dropped before its end, the archive was refused, or the disk is full. The client still sends, and would
/// be told of a broken connection and not of the reason: so the rest is read and thrown away, for a while.
pub struct Upload(Option<StreamReader<Chunks, bytes::Bytes>>);

impl Upload {
    /// Of this request.
    pub fn new(body: Body) -> Self {
        let chunks = body.into_data_stream().map_err(std::io::Error::other).boxed();
        Self(Some(StreamReader::new(chunks)))
    }
}

impl AsyncRead for Upload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Some(reader) = self.0.as_mut() else { return Poll::Ready(Ok(())) };
        let before = buffer.filled().len();
        let result = std::task::ready!(Pin::new(reader).poll_read(context, buffer));
        if result.is_err() || buffer.filled().len() == before && buffer.remaining() > 0 {
            self.0 = None;
        }
        Poll::Ready(result)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(reader), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        let mut chunks = reader.into_inner();
        runtime.spawn(async move {
            let drain = async { while let Some(Ok(_)) = chunks.next().await {} };
            // A client that goes on for longer is cut off after all.
            let _ = tokio::time::timeout(LINGER, drain).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_not_wanted_is_read_all_the_same() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<bytes::Bytes>>(1);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let mut upload = Upload::new(body);
        sender.send(Ok("beginning".into())).await.unwrap();
        let mut four = [0; 4];
        upload.read_exact(&mut four).await.unwrap();
        drop(upload);
        for _ in 0..10 {
            sender.send(Ok("more".into())).await.expect("somebody reads");
        }
    }

    #[tokio::test]
    async fn a_whole_archive_is_read_to_its_end() {
        let mut text = String::new();
        Upload::new(Body::from("all of it")).read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "all of it");
    }
}
