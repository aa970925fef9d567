//! One connection between shim and agent with many streams on it. Both sides use it.
//!
//! ```text
//!  send() ─► control queue ─┐                         ┌─► control messages, to the owner
//!                           ├─► writer ═ bytes ═ reader ┼─► credit, to the outgoing stream
//!  outgoing streams ─► data ┘   (control first)        └─► data, to the incoming stream's own task
//! ```
//!
//! The reader never waits for a stream: a window bounds what each incoming stream can have waiting, and a peer that
//! sends more has broken the protocol. When the connection ends all streams end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_proto::{CHUNK, Decoder, Frame, Message, ProtocolError, Receiver, WINDOW};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};

/// Data frames that wait for the writer, of all streams together.
const DATA_QUEUE: usize = 8;
/// Control frames that wait for the writer; a peer that asks without reading answers is cut off.
const CONTROL_QUEUE: usize = 4096;
/// Control messages that wait for the owner.
const MESSAGE_QUEUE: usize = 1024;

/// A connection; clones are the same one.
#[derive(Clone)]
pub struct Link {
    control: mpsc::Sender<Frame>,
    data: mpsc::Sender<Frame>,
    streams: Arc<Mutex<Streams>>,
    /// Why the connection ended.
    closed: watch::Receiver<Option<String>>,
}

#[derive(Default)]
struct Streams {
    incoming: HashMap<u32, Incoming>,
    outgoing: HashMap<u32, Arc<Semaphore>>,
    closed: bool,
}

struct Incoming {
    account: Receiver,
    chunks: mpsc::UnboundedSender<Vec<u8>>,
}

impl Link {
    /// Serves the connection in tasks of its own. Control messages arrive at the receiver, which ends with the
    /// connection.
    pub fn start(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> (Self, mpsc::Receiver<Message>) {
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (data, data_queue) = mpsc::channel(DATA_QUEUE);
        let (messages, received) = mpsc::channel(MESSAGE_QUEUE);
        let (ended, closed) = watch::channel(None);
        let streams = Arc::new(Mutex::new(Streams::default()));
        let link = Self { control, data, streams, closed };
        let streams = Arc::clone(&link.streams);
        tokio::spawn(async move {
            let reason = tokio::select! {
                reason = receive(read, &streams, messages) => reason,
                reason = send_all(write, control_queue, data_queue) => reason,
            };
            let mut streams = lock(&streams);
            streams.closed = true;
            streams.incoming.clear();
            streams.outgoing.drain().for_each(|(_, credit)| credit.close());
            ended.send_replace(Some(reason));
        });
        (link, received)
    }

    /// Sends a control message; lost when the connection has ended or its peer does not read.
    pub fn send(&self, message: &Message) {
        self.control.try_send(message.to_frame()).ok();
    }

    /// Waits for the end of the connection; says why it ended.
    pub async fn closed(&self) -> String {
        let mut closed = self.closed.clone();
        let reason = closed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "connection lost".to_owned())
    }

    /// Sends everything that `source` gives as stream `id`, then its end.
    pub fn send_stream(&self, id: u32, source: impl AsyncRead + Send + Unpin + 'static) {
        let credit = Arc::new(Semaphore::new(WINDOW));
        {
            let mut streams = lock(&self.streams);
            if streams.closed {
                return;
            }
            streams.outgoing.insert(id, Arc::clone(&credit));
        }
        let (data, streams) = (self.data.clone(), Arc::clone(&self.streams));
        tokio::spawn(async move {
            copy_out(id, source, &data, &credit).await;
            data.send(Frame::End { stream: id }).await.ok();
            lock(&streams).outgoing.remove(&id);
        });
    }

    /// Writes everything that arrives on stream `id` to `sink`, then closes it.
    pub fn receive_stream(&self, id: u32, mut sink: impl AsyncWrite + Send + Unpin + 'static) {
        let (chunks, mut queue) = mpsc::unbounded_channel::<Vec<u8>>();
        {
            let mut streams = lock(&self.streams);
            if streams.closed {
                return;
            }
            streams.incoming.insert(id, Incoming { account: Receiver::default(), chunks });
        }
        let (control, streams) = (self.control.clone(), Arc::clone(&self.streams));
        tokio::spawn(async move {
            while let Some(chunk) = queue.recv().await {
                if sink.write_all(&chunk).await.is_err() || sink.flush().await.is_err() {
                    // Nobody reads any more: tell the sender, and drop what is still on its way.
                    control.send(Frame::End { stream: id }).await.ok();
                    break;
                }
                let credit =
                    lock(&streams).incoming.get_mut(&id).and_then(|s| s.account.handed_on(chunk.len()));
                if let Some(bytes) = credit {
                    control.send(Frame::Credit { stream: id, bytes }).await.ok();
                }
            }
            sink.shutdown().await.ok();
            lock(&streams).incoming.remove(&id);
        });
    }
}

fn lock(streams: &Mutex<Streams>) -> MutexGuard<'_, Streams> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn copy_out(
    id: u32,
    mut source: impl AsyncRead + Unpin,
    data: &mpsc::Sender<Frame>,
    credit: &Semaphore,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        // The peer's wish for no more data, or the end of the connection, closes the semaphore.
        let count = tokio::select! {
            biased;
            () = closed(credit) => return,
            count = source.read(&mut buffer) => count,
        };
        let Ok(count @ 1..) = count else { return };
        let Ok(amount) = u32::try_from(count) else { return };
        match credit.acquire_many(amount).await {
            Ok(permits) => permits.forget(),
            Err(_closed) => return,
        }
        if data.send(Frame::Data { stream: id, bytes: buffer[..count].to_vec() }).await.is_err() {
            return;
        }
    }
}

/// Waits until the semaphore is closed.
async fn closed(credit: &Semaphore) {
    // More permits than there can ever be: only closing ends the wait.
    let all = u32::try_from(WINDOW).unwrap_or(u32::MAX).saturating_add(1);
    drop(credit.acquire_many(all).await);
}

async fn send_all(
    mut write: impl AsyncWrite + Unpin,
    mut control: mpsc::Receiver<Frame>,
    mut data: mpsc::Receiver<Frame>,
) -> String {
    let mut bytes = Vec::new();
    loop {
        let frame = tokio::select! {
            biased;
            Some(frame) = control.recv() => frame,
            Some(frame) = data.recv() => frame,
            else => return "closed here".to_owned(),
        };
        bytes.clear();
        frame.encode(&mut bytes);
        if let Err(error) = write.write_all(&bytes).await {
            return error.to_string();
        }
    }
}

async fn receive(
    mut read: impl AsyncRead + Unpin,
    streams: &Mutex<Streams>,
    messages: mpsc::Sender<Message>,
) -> String {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        match read.read(&mut buffer).await {
            Ok(0) => return "closed by the other side".to_owned(),
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) => return error.to_string(),
        }
        loop {
            match decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Control(bytes))) => match Message::from_json(&bytes) {
                    Ok(message) => {
                        if messages.send(message).await.is_err() {
                            return "closed here".to_owned();
                        }
                    }
                    Err(error) => return error.to_string(),
                },
                Ok(Some(frame)) => {
                    if let Err(error) = lock(streams).accept(frame) {
                        return error.to_string();
                    }
                }
                Err(error) => return error.to_string(),
            }
        }
    }
}

impl Streams {
    /// A frame of a stream has arrived. One for a stream that has ended here is no error: it was on its way.
    fn accept(&mut self, frame: Frame) -> Result<(), ProtocolError> {
        match frame {
            Frame::Data { stream, bytes } => {
                if let Some(incoming) = self.incoming.get_mut(&stream) {
                    incoming.account.received(bytes.len())?;
                    incoming.chunks.send(bytes).ok();
                }
            }
            Frame::Credit { stream, bytes } => {
                if let Some(credit) = self.outgoing.get(&stream) {
                    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                    if bytes > WINDOW || credit.available_permits() + bytes > WINDOW {
                        return Err(ProtocolError::Window);
                    }
                    credit.add_permits(bytes);
                }
            }
            Frame::End { stream } => {
                // Dropping the sender ends the queue after what it still holds.
                self.incoming.remove(&stream);
                if let Some(credit) = self.outgoing.remove(&stream) {
                    credit.close();
                }
            }
            Frame::Control(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, split};

    use super::*;

    fn linked() -> (Link, Link) {
        let (a, b) = duplex(4096);
        let ((ar, aw), (br, bw)) = (split(a), split(b));
        (Link::start(ar, aw).0, Link::start(br, bw).0)
    }

    #[tokio::test]
    async fn a_slow_stream_does_not_hold_up_another() {
        let (a, b) = linked();
        let (_stuck_reader, stuck) = duplex(16);
        b.receive_stream(1, stuck);
        let (mut reader, sink) = duplex(1024);
        b.receive_stream(2, sink);
        a.send_stream(1, tokio::io::repeat(b'x'));
        let bytes: Vec<u8> = (0..3 * WINDOW).map(|i| u8::try_from(i % 251).unwrap()).collect();
        a.send_stream(2, std::io::Cursor::new(bytes.clone()));
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, bytes);
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_the_sender() {
        let (a, b) = linked();
        let (reader, sink) = duplex(16);
        b.receive_stream(1, sink);
        let (mut feeder, source) = duplex(16);
        a.send_stream(1, source);
        feeder.write_all(b"first").await.unwrap();
        drop(reader);
        // Writing fails once the other side has said that it wants no more.
        while feeder.write_all(b"more").await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_end_of_the_connection_ends_the_streams() {
        let (near, far) = duplex(64);
        let (read, write) = split(near);
        let (link, _messages) = Link::start(read, write);
        let (mut reader, sink) = duplex(64);
        link.receive_stream(1, sink);
        drop(far);
        assert_eq!(reader.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        assert_eq!(link.closed().await, "closed by the other side");
    }
}
