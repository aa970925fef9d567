//! The stdio socket: who connects names a process and becomes a client of its hub (`cofferdam_model::IoRequest`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cofferdam_model::IoRequest;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::container::Container;
use crate::hub::InputEnd;

/// A request is one short line, sent at once.
const REQUEST_LIMIT: u64 = 64 * 1024;
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How much input is read at once.
const PIECE: usize = 16 * 1024;
/// How often an idle client is looked at.
const GONE_CHECK: Duration = Duration::from_secs(30);

/// Serves clients for as long as the shim lives.
pub async fn serve(listener: UnixListener, container: Arc<Container>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::spawn(client(socket, Arc::clone(&container)))),
            Err(error) => {
                tracing::warn!("stdio socket: {error}");
                // Out of descriptors, most likely: others will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn client(socket: UnixStream, container: Arc<Container>) {
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(reader);
    let request = match tokio::time::timeout(REQUEST_TIME, request(&mut reader)).await {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return refuse(&mut writer, &error.to_string()).await,
        Err(_) => return refuse(&mut writer, "no request came").await,
    };
    let Some(hub) = container.hub(&request.exec_id) else {
        return refuse(&mut writer, &format!("no such exec: {}", request.exec_id)).await;
    };
    let attached = hub.attach(&request);
    drop(hub);
    if let Some(input) = attached.input {
        tokio::spawn(give(reader, input));
        write_out(writer, attached.output).await;
    } else {
        write_out(writer, attached.output).await;
        // Dropped only now: closing the reading half early would break a client that still writes.
        drop(reader);
    }
}

async fn request(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<IoRequest> {
    let mut line = Vec::new();
    reader.take(REQUEST_LIMIT).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

async fn refuse(writer: &mut OwnedWriteHalf, why: &str) {
    // A client that has gone does not care.
    let _ = writer.write_all(format!("{}\n", why.replace('\n', " ")).as_bytes()).await;
}

/// Passes the client's input on until it ends.
async fn give(mut reader: BufReader<OwnedReadHalf>, input: InputEnd) {
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE);
        match reader.read_buf(&mut piece).await {
            Ok(count) if count > 0 => {
                let bytes: Bytes = piece.split().freeze();
                if !input.give(bytes).await {
                    return;
                }
            }
            // A client that breaks off has given what it gave.
            _ => return input.finish().await,
        }
    }
}

/// Answers that the client is attached, then sends it output until there is no more.
async fn write_out(mut writer: OwnedWriteHalf, mut output: mpsc::Receiver<Bytes>) {
    if writer.write_all(b"\n").await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            frame = output.recv() => match frame {
                Some(frame) if writer.write_all(&frame).await.is_ok() => {}
                Some(_) => return,
                None => break,
            },
            // A silent container never writes to a client that has gone: look now and then.
            () = tokio::time::sleep(GONE_CHECK) => if has_gone(&writer) { return },
        }
    }
    let _ = writer.shutdown().await;
}

/// Whether the client has closed both directions; one that only gives no more input still listens.
fn has_gone(writer: &OwnedWriteHalf) -> bool {
    let socket: &UnixStream = writer.as_ref();
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    let hung_up = PollFlags::HUP | PollFlags::ERR;
    rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().intersects(hung_up)
}
