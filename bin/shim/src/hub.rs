//! One process's standard streams: from the process to the log and to attached clients, from clients to the process.
//!
//! A hub exists before its process, so that a client that attaches before `Start` misses nothing.
//!
//! Output waits for clients: a client that reads slowly slows the process down, as a terminal would, and nothing is
//! lost (`docker run … | slow`). Each client has some frames of room, so clients of different pace differ by that
//! much at most. A client that goes away is forgotten at the next frame; it never holds the container up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use cofferdam_log::{Lines, Log, Stream};
use cofferdam_model::IoRequest;
use cofferdam_runtime::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

/// How much is read at once: a pipe's usual write.
const PIECE: usize = 16 * 1024;
/// Frames a client may be behind.
const FRAMES: usize = 8;
/// Pieces of input that may wait for the process.
const INPUTS: usize = 4;

/// The hub of one process.
pub struct Hub {
    /// Whether the process has a TTY: output is raw then.
    terminal: bool,
    /// Whether the process's input ends with the input of the client that gave it.
    input_ends: bool,
    log: Option<Log>,
    state: Mutex<State>,
    ended: watch::Sender<bool>,
}

struct State {
    /// `None` when no more output comes.
    clients: Option<Vec<Client>>,
    /// `None` when the input was closed.
    input: Option<mpsc::Sender<Input>>,
    /// Until the process exists.
    waiting_input: Option<mpsc::Receiver<Input>>,
    /// Output streams that have not ended.
    open_outputs: usize,
}

struct Client {
    stdout: bool,
    stderr: bool,
    stdin: bool,
    frames: mpsc::Sender<Bytes>,
}

enum Input {
    Bytes(Bytes),
    End,
}

/// What an attached client gets and gives.
pub struct Attached {
    /// Its output, already framed; ends when no more comes.
    pub output: mpsc::Receiver<Bytes>,
    /// Its way to the process's input, when it asked for one and input is open.
    pub input: Option<InputEnd>,
}

/// A client's way to the process's input.
pub struct InputEnd {
    sender: mpsc::Sender<Input>,
    ends: bool,
}

impl Hub {
    /// A hub for a process to come.
    pub fn new(terminal: bool, input_ends: bool, log: Option<Log>) -> Arc<Self> {
        let (input, waiting_input) = mpsc::channel(INPUTS);
        let state = State {
            clients: Some(Vec::new()),
            input: Some(input),
            waiting_input: Some(waiting_input),
            open_outputs: 0,
        };
        Arc::new(Self {
            terminal,
            input_ends: input_ends && !terminal,
            log,
            state: Mutex::new(state),
            ended: watch::Sender::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches a client. What the process writes from now on reaches it.
    pub fn attach(&self, request: &IoRequest) -> Attached {
        let (frames, output) = mpsc::channel(FRAMES);
        let mut state = self.state();
        if let Some(clients) = &mut state.clients {
            let IoRequest { stdin, stdout, stderr, .. } = *request;
            clients.push(Client { stdout, stderr, stdin, frames });
        }
        let sender = state.input.clone().filter(|_| request.stdin);
        Attached { output, input: sender.map(|sender| InputEnd { sender, ends: self.input_ends }) }
    }

    /// Whether a client that gives input is attached.
    pub fn has_input(&self) -> bool {
        self.state().clients.iter().flatten().any(|client| client.stdin && !client.frames.is_closed())
    }

    /// Connects the process.
    pub fn connect(self: &Arc<Self>, stdio: Stdio) {
        let outputs = [(stdio.stdout, Stream::Stdout), (stdio.stderr, Stream::Stderr)];
        let mut state = self.state();
        match (stdio.stdin, state.waiting_input.take()) {
            (Some(stdin), Some(inputs)) => drop(tokio::spawn(feed(stdin, inputs, self.ended.subscribe()))),
            // Without an input of the process, clients' writes are refused from here on.
            _ => state.input = None,
        }
        for (output, stream) in outputs {
            if let Some(output) = output {
                state.open_outputs += 1;
                tokio::spawn(Arc::clone(self).pump(output, stream));
            }
        }
        if state.open_outputs == 0 {
            state.clients = None;
        }
    }

    /// Closes the process's input after what was already given.
    pub async fn close_input(&self) {
        let input = self.state().input.take();
        if let Some(input) = input {
            let _ = input.send(Input::End).await;
        }
    }

    /// The process has ended. What it wrote is passed on; something else may still hold its pipes open, so after
    /// `grace` nothing is waited for any more. Then clients get end-of-file.
    pub fn process_ended(self: &Arc<Self>, grace: Duration) {
        self.state().input = None;
        let hub = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            hub.ended.send_replace(true);
        });
    }

    /// No process will ever come, or come again: clients get end-of-file.
    pub fn end(&self) {
        let mut state = self.state();
        state.input = None;
        state.waiting_input = None;
        state.clients = None;
        drop(state);
        self.ended.send_replace(true);
    }

    /// Waits until all output has been passed on and recorded.
    pub async fn drained(&self) {
        let mut ended = self.ended.subscribe();
        while self.state().open_outputs > 0 {
            if ended.changed().await.is_err() {
                return;
            }
        }
    }

    async fn pump(self: Arc<Self>, mut output: Box<dyn AsyncRead + Send + Unpin>, stream: Stream) {
        let mut lines = Lines::default();
        let mut piece = vec![0; PIECE];
        let mut ended = self.ended.subscribe();
        loop {
            let read = tokio::select! {
                // Output that is there goes before the end.
                biased;
                read = output.read(&mut piece) => read,
                _ = ended.wait_for(|ended| *ended) => break,
            };
            match read {
                Ok(count) if count > 0 => {
                    let piece = &piece[..count];
                    if let Some(log) = &self.log {
                        log.record(stream, &mut lines, piece).await;
                    }
                    self.send(piece, stream).await;
                }
                _ => break,
            }
        }
        if let Some(log) = &self.log {
            log.finish(stream, &mut lines).await;
        }
        let mut state = self.state();
        state.open_outputs -= 1;
        if state.open_outputs == 0 {
            state.clients = None;
            drop(state);
            // Whoever waits for the end of the output looks again.
            self.ended.send_modify(|_| {});
        }
    }

    /// Sends a piece of output to every client that wants it, and waits for room.
    async fn send(&self, piece: &[u8], stream: Stream) {
        let wants = |client: &Client| match stream {
            Stream::Stdout => client.stdout,
            Stream::Stderr => client.stderr,
        };
        let receivers: Vec<mpsc::Sender<Bytes>> = {
            let mut state = self.state();
            let Some(clients) = &mut state.clients else { return };
            clients.retain(|client| !client.frames.is_closed());
            clients.iter().filter(|client| wants(client)).map(|client| client.frames.clone()).collect()
        };
        if receivers.is_empty() {
            return;
        }
        let frame = if self.terminal { Bytes::copy_from_slice(piece) } else { stdcopy(piece, stream) };
        for receiver in receivers {
            // A client that has gone meanwhile is left out at the next frame.
            let _ = receiver.send(frame.clone()).await;
        }
    }
}

impl InputEnd {
    /// Gives input to the process; `false` when it takes no more.
    pub async fn give(&self, bytes: Bytes) -> bool {
        self.sender.send(Input::Bytes(bytes)).await.is_ok()
    }

    /// The client gives no more input.
    pub async fn finish(self) {
        if self.ends {
            let _ = self.sender.send(Input::End).await;
        }
    }
}

/// Writes clients' input to the process, in the order it came, until its end.
async fn feed(
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
    mut inputs: mpsc::Receiver<Input>,
    mut ended: watch::Receiver<bool>,
) {
    let feeding = async {
        while let Some(Input::Bytes(bytes)) = inputs.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = feeding => {}
        // A client that stays, or a terminal that nobody reads from, would keep this task for ever.
        _ = ended.wait_for(|ended| *ended) => {}
    }
}

/// Docker's frame: which stream, how long, the bytes.
fn stdcopy(piece: &[u8], stream: Stream) -> Bytes {
    let mut frame = BytesMut::with_capacity(piece.len() + 8);
    frame.put_u8(match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    });
    frame.put_bytes(0, 3);
    // A piece has at most `PIECE` bytes.
    frame.put_u32(u32::try_from(piece.len()).unwrap_or(u32::MAX));
    frame.put_slice(piece);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(stdin: bool, stderr: bool) -> IoRequest {
        IoRequest { exec_id: String::new(), stdin, stdout: true, stderr }
    }

    async fn collect(mut output: mpsc::Receiver<Bytes>) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = output.recv().await {
            all.extend_from_slice(&frame);
        }
        all
    }

    fn stdio(
        stdout: tokio::io::DuplexStream,
        stderr: Option<tokio::io::DuplexStream>,
        stdin: Option<tokio::io::DuplexStream>,
    ) -> Stdio {
        Stdio {
            stdin: stdin.map(|stdin| Box::new(stdin) as _),
            stdout: Some(Box::new(stdout)),
            stderr: stderr.map(|stderr| Box::new(stderr) as _),
        }
    }

    #[tokio::test]
    async fn clients_get_the_streams_they_want_and_the_end() {
        let hub = Hub::new(false, true, None);
        let (both, one) = (hub.attach(&request(false, true)), hub.attach(&request(false, false)));
        let (mut out, theirs_out) = tokio::io::duplex(64);
        let (mut err, theirs_err) = tokio::io::duplex(64);
        hub.connect(stdio(theirs_out, Some(theirs_err), None));
        out.write_all(b"out").await.unwrap();
        drop(out);
        err.write_all(b"err").await.unwrap();
        drop(err);
        hub.drained().await;
        let both = collect(both.output).await;
        assert!(both.len() == 22 && both.windows(11).any(|frame| frame == b"\x02\0\0\0\0\0\0\x03err"));
        assert_eq!(collect(one.output).await, b"\x01\0\0\0\0\0\0\x03out");
        assert!(collect(hub.attach(&request(true, true)).output).await.is_empty());
    }

    #[tokio::test]
    async fn a_slow_client_loses_nothing_and_a_gone_one_holds_nothing_up() {
        let hub = Hub::new(true, true, None);
        let (slow, gone) = (hub.attach(&request(false, false)), hub.attach(&request(false, false)));
        drop(gone);
        let (mut out, theirs) = tokio::io::duplex(16);
        hub.connect(stdio(theirs, None, None));
        let writer = tokio::spawn(async move { out.write_all(&[7; 5000]).await.unwrap() });
        tokio::task::yield_now().await;
        assert_eq!(collect(slow.output).await.len(), 5000);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn input_given_before_the_process_exists_arrives_and_ends() {
        let hub = Hub::new(false, true, None);
        let input = hub.attach(&request(true, false)).input.unwrap();
        assert!(input.give(Bytes::from_static(b"early")).await);
        input.finish().await;
        let (stdin, mut process) = tokio::io::duplex(64);
        let (_out, theirs) = tokio::io::duplex(64);
        hub.connect(stdio(theirs, None, Some(stdin)));
        let mut text = String::new();
        process.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "early");
    }

    #[tokio::test(start_paused = true)]
    async fn what_holds_the_pipe_after_the_end_does_not_hold_clients() {
        let hub = Hub::new(true, true, None);
        let attached = hub.attach(&request(false, false));
        let (mut grandchild, theirs) = tokio::io::duplex(64);
        hub.connect(stdio(theirs, None, None));
        grandchild.write_all(b"last words").await.unwrap();
        hub.process_ended(Duration::from_millis(100));
        assert_eq!(collect(attached.output).await, b"last words");
        drop(grandchild);
    }
}
