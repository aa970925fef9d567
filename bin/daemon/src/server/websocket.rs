//! `attach` over WebSocket (RFC 6455), for browsers and SDKs: binary messages of bytes, in both directions.
//!
//! Output is raw also without a TTY, both streams in one: Docker's framing belongs to hijacked connections only.

use std::pin::{Pin, pin};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use cofferdam_api::stdcopy::Decoder;
use futures_util::future::{Either, select};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Duplex;

/// The buffer between a handler and the pieces of a message.
const BUFFER: usize = 64 << 10;

/// The longest message of a client. Longer input comes as several.
const LONGEST_MESSAGE: usize = 1 << 20;

/// How long one direction may go on after the other has ended. There is no half-closed WebSocket: a client that has
/// closed reads nothing more, and one that is told of the end answers with a close frame.
const GRACE: Duration = Duration::from_secs(10);

/// Answers the upgrade and runs `serve` on the connection afterwards. `tty` says whether what `serve` writes is raw
/// already or in stdcopy frames. The client sees a close frame when the stream is dropped or its writing half shut
/// down; a client that closes ends the input, and soon the whole.
pub fn respond<F, R>(upgrade: WebSocketUpgrade, tty: bool, serve: F) -> Response
where
    F: FnOnce(Pin<Box<dyn Duplex>>) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let upgrade = upgrade.max_message_size(LONGEST_MESSAGE).max_frame_size(LONGEST_MESSAGE);
    upgrade.on_upgrade(move |socket| async move {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        let (to_client, from_client) = socket.split();
        let (output, input) = tokio::io::split(theirs);
        let served = pin!(async { tokio::join!(serve(Box::pin(ours)), send(output, to_client, tty)) });
        let received = pin!(receive(from_client, input));
        // Whichever side ends first, the other has its time: for the client's close frame, or for its last input.
        match select(served, received).await {
            Either::Left((_, received)) => drop(timeout(GRACE, received).await),
            Either::Right((_, served)) => drop(timeout(GRACE, served).await),
        }
    })
}

/// Bytes as messages, until their end; then a close frame.
async fn send(mut output: impl AsyncRead + Unpin, mut client: SplitSink<WebSocket, Message>, tty: bool) {
    let mut buffer = vec![0; BUFFER];
    let mut decoder = Decoder::default();
    while let Ok(read @ 1..) = output.read(&mut buffer).await {
        if tty {
            if client.send(Message::binary(buffer[..read].to_vec())).await.is_err() {
                return;
            }
            continue;
        }
        decoder.push(&buffer[..read]);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if client.send(Message::binary(frame.payload)).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!("output for a WebSocket is not framed: {error}");
                    return;
                }
            }
        }
    }
    let _ = client.close().await;
}

/// Messages as bytes, until the client closes or is gone; then end-of-file.
async fn receive(mut client: SplitStream<WebSocket>, mut input: impl AsyncWrite + Unpin) {
    while let Some(Ok(message)) = client.next().await {
        // What cannot be written comes after the output's end: read on, for the close frame is still to come.
        let _ = match message {
            // Terminals in browsers send what is typed as text.
            Message::Text(text) => input.write_all(text.as_bytes()).await,
            Message::Binary(bytes) => input.write_all(&bytes).await,
            Message::Close(_) => break,
            // Answered by the protocol's own layer.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        };
    }
    let _ = input.shutdown().await;
}
