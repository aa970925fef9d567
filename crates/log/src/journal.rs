//! systemd's journal, in its native protocol: one datagram for each line, with fields of its own beside the message.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};

use cofferdam_model::JournalSpec;
use jiff::Timestamp;
use tokio::net::UnixDatagram;

use crate::{Cut, Stream};

/// syslog's priorities.
const ERROR: &str = "3";
const INFO: &str = "6";

/// The journal, as one container's lines go there.
pub(crate) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// The container's fields, encoded.
    fields: Vec<u8>,
    /// Whether a container waits for a journal that does not keep up.
    waits: bool,
    failed: bool,
}

/// Whether somebody listens there.
#[must_use]
pub fn is_present(socket: &Path) -> bool {
    StdDatagram::unbound().is_ok_and(|own| own.connect(socket).is_ok())
}

impl Journal {
    pub(crate) fn open(spec: &JournalSpec) -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            path: spec.socket.clone(),
            fields: encode(&spec.fields),
            waits: spec.waits,
            failed: false,
        })
    }

    /// Sends lines. A journal that is restarted costs lines, not the container.
    pub(crate) async fn append(&mut self, stream: Stream, time: Timestamp, lines: &Cut) {
        for line in lines.iter() {
            let message = self.message(stream, time, line, lines.is_partial(line));
            // By its path, for after a restart it is another socket.
            let sent = match self.waits {
                true => self.socket.send_to(&message, &self.path).await,
                false => self.socket.try_send_to(&message, &self.path),
            };
            match sent {
                Ok(_) => self.failed = false,
                Err(error) => {
                    if !std::mem::replace(&mut self.failed, true) {
                        tracing::error!("cannot write to the journal {}: {error}", self.path.display());
                    }
                }
            }
        }
    }

    fn message(&self, stream: Stream, time: Timestamp, line: &[u8], partial: bool) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.fields.len() + line.len() + 128);
        field("MESSAGE", line.strip_suffix(b"\n").unwrap_or(line), &mut message);
        let priority = if stream == Stream::Stderr { ERROR } else { INFO };
        field("PRIORITY", priority.as_bytes(), &mut message);
        field("SYSLOG_TIMESTAMP", time.to_string().as_bytes(), &mut message);
        if partial {
            field("CONTAINER_PARTIAL_MESSAGE", b"true", &mut message);
        }
        message.extend_from_slice(&self.fields);
        message
    }
}

fn encode(fields: &BTreeMap<String, String>) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in fields {
        field(name, value.as_bytes(), &mut encoded);
    }
    encoded
}

/// `NAME=value`, or, for a value with line ends, the name, the length and the value.
fn field(name: &str, value: &[u8], output: &mut Vec<u8>) {
    output.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        output.push(b'\n');
        output.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        output.push(b'=');
    }
    output.extend_from_slice(value);
    output.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lines;

    #[tokio::test]
    async fn a_line_is_a_datagram() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        assert!(!is_present(&path));
        let receiver = UnixDatagram::bind(&path).unwrap();
        assert!(is_present(&path));
        let fields = [("CONTAINER_NAME", "web"), ("NOTE", "two\nlines")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let spec = JournalSpec { socket: path, fields, waits: true };
        let mut journal = Journal::open(&spec).unwrap();
        let time = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut lines = Lines::default();
        journal.append(Stream::Stderr, time, &lines.push(b"hello\nmore")).await;
        journal.append(Stream::Stdout, time, &lines.push(&[b'x'; 16 << 10])).await;
        let mut buffer = vec![0; 64 << 10];
        let size = receiver.recv(&mut buffer).await.unwrap();
        let wanted =
            b"MESSAGE=hello\nPRIORITY=3\nSYSLOG_TIMESTAMP=2026-01-02T03:04:05Z\nCONTAINER_NAME=web\n\
            NOTE\n\x09\0\0\0\0\0\0\0two\nlines\n";
        assert_eq!(String::from_utf8_lossy(&buffer[..size]), String::from_utf8_lossy(wanted));
        let size = receiver.recv(&mut buffer).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..size]);
        assert!(text.starts_with("MESSAGE=morexxx") && text.contains("CONTAINER_PARTIAL_MESSAGE=true"));
        // Nobody listens any more: a line is lost, and nothing else.
        drop(receiver);
        journal.append(Stream::Stdout, time, &lines.push(b"\n")).await;
        assert!(journal.failed);
    }
}
