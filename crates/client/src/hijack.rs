//! Connections that stop being HTTP: the stdio of `attach` and `exec`.

use std::io;

use cofferdam_api::stdcopy::{Decoder, Stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, WriteHalf};
use tokio_util::io::StreamReader;

use crate::ClientError;

/// A process's stdio: what is written to `input` is its standard input, `output` is what it writes.
pub struct Attached {
    /// Towards the process.
    pub input: AttachedInput,
    /// From the process.
    pub output: AttachedOutput,
}

/// The sending half.
pub struct AttachedInput(WriteHalf<TokioIo<Upgraded>>);

/// The receiving half.
pub struct AttachedOutput {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    framed: bool,
}

impl Attached {
    pub(crate) fn new(upgraded: Upgraded, framed: bool) -> Self {
        let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
        Self { input: AttachedInput(writer), output: AttachedOutput { reader: Box::new(reader), framed } }
    }

    /// Copies the process's output until it ends; see [`AttachedOutput::copy`].
    pub async fn copy_output<O, E>(&mut self, stdout: &mut O, stderr: &mut E) -> Result<(), ClientError>
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        self.output.copy(stdout, stderr).await
    }
}

impl AttachedInput {
    /// Writes and sends.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// End-of-file for the process; its output still arrives.
    pub async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl AttachedOutput {
    /// A stream of logs, which is an ordinary answer.
    pub(crate) fn of_body(body: Incoming, framed: bool) -> Self {
        let bytes = futures_util::TryStreamExt::map_err(body.into_data_stream(), io::Error::other);
        Self { reader: Box::new(StreamReader::new(bytes)), framed }
    }

    /// Whether standard output and error are told apart (there is no TTY).
    #[must_use]
    pub fn is_framed(&self) -> bool {
        self.framed
    }

    /// Overrides whether the stream is in frames, for daemons that do not say so.
    pub fn set_framed(&mut self, framed: bool) {
        self.framed = framed;
    }

    /// Raw bytes as they come, frames and all.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).await
    }

    /// Copies all output to its streams, until the other side closes. Each piece is flushed: a reader may be waiting
    /// for a prompt.
    pub async fn copy<O, E>(&mut self, stdout: &mut O, stderr: &mut E) -> Result<(), ClientError>
    where
        O: AsyncWrite + Unpin,
        E: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; 32 * 1024];
        let mut decoder = Decoder::default();
        loop {
            let length = self.reader.read(&mut buffer).await.map_err(ClientError::Stream)?;
            let piece = &buffer[..length];
            if piece.is_empty() {
                break;
            }
            if !self.framed {
                write(stdout, piece).await?;
                continue;
            }
            decoder.push(piece);
            while let Some(frame) =
                decoder.next_frame().map_err(|broken| ClientError::Stream(io::Error::other(broken)))?
            {
                match frame.stream {
                    Stream::Stdin | Stream::Stdout => write(stdout, &frame.payload).await?,
                    Stream::Stderr => write(stderr, &frame.payload).await?,
                    Stream::System => {
                        let message = String::from_utf8_lossy(&frame.payload).into_owned();
                        return Err(ClientError::Daemon { status: 500, message });
                    }
                }
            }
        }
        if decoder.is_mid_frame() {
            return Err(ClientError::Stream(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }
}

/// A failure here is the caller's own output's (a closed pipe, say).
async fn write<W: AsyncWrite + Unpin>(sink: &mut W, bytes: &[u8]) -> Result<(), ClientError> {
    sink.write_all(bytes).await.map_err(ClientError::Output)?;
    sink.flush().await.map_err(ClientError::Output)
}
