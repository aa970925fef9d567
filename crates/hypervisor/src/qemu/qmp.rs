//! A client of QMP, QEMU's control protocol: JSON objects in lines (docs/interop/qmp-spec in QEMU's source).

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// The longest line that is accepted: the console's ring buffer in JSON fits well.
const MAX_LINE: u64 = 1 << 20;

/// Events that wait to be looked at.
const MAX_EVENTS: usize = 64;

/// A connection.
pub struct Qmp {
    write: tokio::sync::Mutex<OwnedWriteHalf>,
    pending: Pending,
    version: String,
}

/// What QEMU reports.
#[derive(Debug, PartialEq, Eq)]
pub struct QmpEvent {
    /// `SHUTDOWN`, `GUEST_PANICKED` and others.
    pub name: String,
    /// The reason in a `SHUTDOWN` (`guest-shutdown`, `guest-reset`, `guest-panic`, …), else empty.
    pub reason: String,
}

type Answer = Result<Value, String>;
/// Who waits for the answer of which request; `None` once the connection is lost.
type Pending = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

impl Qmp {
    /// Reads the greeting and negotiates.
    pub async fn connect(socket: UnixStream) -> io::Result<(Self, mpsc::Receiver<QmpEvent>)> {
        let (read, write) = socket.into_split();
        let mut read = BufReader::new(read);
        let greeting = read_object(&mut read).await?;
        let version = version(&greeting).ok_or_else(|| io::Error::other("no QMP greeting"))?;
        let (qmp, received) = Self::over(read, write, version);
        qmp.execute("qmp_capabilities", json!({})).await?;
        Ok((qmp, received))
    }

    /// Goes on with what was negotiated before the process was frozen.
    pub fn go_on(socket: UnixStream, version: &str) -> (Self, mpsc::Receiver<QmpEvent>) {
        let (read, write) = socket.into_split();
        Self::over(BufReader::new(read), write, version.to_owned())
    }

    fn over(
        read: BufReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
        version: String,
    ) -> (Self, mpsc::Receiver<QmpEvent>) {
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let (events, received) = mpsc::channel(MAX_EVENTS);
        tokio::spawn(receive(read, Arc::clone(&pending), events));
        (Self { write: tokio::sync::Mutex::new(write), pending, version }, received)
    }

    /// `7.2.22`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs a command.
    pub async fn execute(&self, command: &str, arguments: Value) -> io::Result<Value> {
        self.send(command, arguments, None).await
    }

    /// Gives QEMU a descriptor, which later commands name.
    pub async fn pass(&self, name: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.send("getfd", json!({ "fdname": name }), Some(fd)).await.map(drop)
    }

    /// Commands that are sent without waiting for one another are done in the order of the calls.
    async fn send(&self, command: &str, arguments: Value, fd: Option<BorrowedFd<'_>>) -> io::Result<Value> {
        let lost = || io::Error::new(io::ErrorKind::BrokenPipe, "QMP connection lost");
        let (sender, answer) = oneshot::channel();
        let mut write = self.write.lock().await;
        let id = {
            let mut pending = lock(&self.pending);
            let waiting = pending.as_mut().ok_or_else(lost)?;
            let id = waiting.keys().max().map_or(1, |last| last + 1);
            waiting.insert(id, sender);
            id
        };
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments, "id": id }));
        let mut line = line.as_bytes();
        if let Some(fd) = fd {
            let stream: &UnixStream = write.as_ref();
            let sent = stream
                .async_io(Interest::WRITABLE, || cofferdam_sys::unix::send_with_fds(stream, line, &[fd]))
                .await?;
            line = &line[sent..];
        }
        write.write_all(line).await?;
        drop(write);
        answer.await.map_err(|_closed| lost())?.map_err(|text| io::Error::other(format!("{command}: {text}")))
    }
}

fn lock(pending: &Pending) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Answer>>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_object(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Value> {
    let mut line = String::new();
    if read.take(MAX_LINE).read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_str(&line).map_err(io::Error::other)
}

async fn receive(mut read: BufReader<OwnedReadHalf>, pending: Pending, events: mpsc::Sender<QmpEvent>) {
    while let Ok(object) = read_object(&mut read).await {
        match object["id"].as_u64() {
            Some(id) => {
                let waiting = lock(&pending).as_mut().and_then(|waiting| waiting.remove(&id));
                if let Some(waiting) = waiting {
                    waiting.send(answer(object)).ok();
                }
            }
            None => {
                if let Some(event) = event(&object) {
                    // A worker that floods its shim with events loses them.
                    events.try_send(event).ok();
                }
            }
        }
    }
    *lock(&pending) = None;
}

fn answer(mut object: Value) -> Answer {
    match object["error"]["desc"].as_str() {
        Some(text) => Err(text.to_owned()),
        None => Ok(object["return"].take()),
    }
}

fn event(object: &Value) -> Option<QmpEvent> {
    let name = object["event"].as_str()?.to_owned();
    Some(QmpEvent { name, reason: object["data"]["reason"].as_str().unwrap_or_default().to_owned() })
}

fn version(greeting: &Value) -> Option<String> {
    let number = &greeting["QMP"]["version"]["qemu"];
    Some(format!("{}.{}.{}", number["major"].as_u64()?, number["minor"].as_u64()?, number["micro"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_as_in_the_specification() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = tokio::spawn(async move {
            let (read, mut write) = theirs.into_split();
            let mut read = BufReader::new(read);
            write
                .write_all(b"{\"QMP\":{\"version\":{\"qemu\":{\"micro\":22,\"minor\":2,\"major\":7}},\"capabilities\":[]}}\r\n")
                .await
                .unwrap();
            let hello = read_object(&mut read).await.unwrap();
            assert_eq!(hello["execute"], "qmp_capabilities");
            write.write_all(b"{\"return\":{},\"id\":1}\r\n").await.unwrap();
            write
                .write_all(
                    b"{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}\r\n",
                )
                .await
                .unwrap();
            read_object(&mut read).await.unwrap();
            write
                .write_all(b"{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"},\"id\":1}\r\n")
                .await
                .unwrap();
        });
        let (qmp, mut events) = Qmp::connect(ours).await.unwrap();
        assert_eq!(qmp.version(), "7.2.22");
        assert_eq!(qmp.execute("cont", json!({})).await.unwrap_err().to_string(), "cont: no");
        let event = events.recv().await.unwrap();
        assert_eq!((event.name.as_str(), event.reason.as_str()), ("SHUTDOWN", "guest-reset"));
        server.await.unwrap();
        assert!(qmp.execute("cont", json!({})).await.is_err());
    }
}
