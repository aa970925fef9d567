//! Between our standard streams and a container's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cofferdam_client::{Attached, AttachedInput, ClientError};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::{DetachKeys, RawMode};

/// How a pump is set up.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Our standard input goes to the process.
    pub stdin: bool,
    /// The process has a TTY.
    pub tty: bool,
    /// Signals are sent on to the container; else they end us, after the terminal is restored.
    pub signals_forwarded: bool,
    /// The keys that detach.
    pub detach_keys: DetachKeys,
}

/// Why a pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process's output did.
    Output,
    /// The user detached; the process goes on.
    Detached,
    /// A signal of this number was meant for us.
    Signal(i32),
}

/// A daemon acts on the detach keys at once; when it does not know them, we leave by ourselves.
const DETACH_GRACE: Duration = Duration::from_secs(1);

/// Copies until the process's output ends or the user detaches.
pub async fn pump(attached: Attached, wanted: Wanted) -> anyhow::Result<Ended> {
    let raw = if wanted.stdin && wanted.tty { RawMode::enter()? } else { None };
    let Attached { input, mut output } = attached;
    let detached = Arc::new(AtomicBool::new(false));
    let (left, mut has_left) = tokio::sync::oneshot::channel();
    let mut typing = tokio::task::JoinSet::new();
    if wanted.stdin {
        let keys = wanted.tty.then(|| wanted.detach_keys.clone());
        typing.spawn(send_input(input, keys, Arc::clone(&detached), left));
    } else {
        // Kept open: a half-closed stream is end-of-file for everybody's input.
        typing.spawn(async move {
            let _open = (input, left);
            std::future::pending::<()>().await;
        });
    }
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let copied = output.copy(&mut stdout, &mut stderr);
    let ended = tokio::select! {
        copied = copied => match copied {
            Ok(()) => Ended::Output,
            // What broke after the keys were typed is the detaching.
            Err(ClientError::Stream(_)) if detached.load(Ordering::Acquire) => Ended::Detached,
            Err(error) => return Err(error.into()),
        },
        Ok(()) = &mut has_left => Ended::Detached,
        number = own_end(), if !wanted.signals_forwarded => Ended::Signal(number),
    };
    typing.abort_all();
    drop(raw);
    match ended {
        Ended::Output if detached.load(Ordering::Acquire) => Ok(Ended::Detached),
        ended => Ok(ended),
    }
}

/// Our standard input, to its end. `left` is used when the user detached and the daemon did not close the stream.
async fn send_input(
    mut input: AttachedInput,
    mut keys: Option<DetachKeys>,
    detached: Arc<AtomicBool>,
    left: tokio::sync::oneshot::Sender<()>,
) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        // A broken standard input ends like a closed one.
        let length = stdin.read(&mut buffer).await.unwrap_or(0);
        if length == 0 {
            // The process may have closed its side first.
            let _ = input.close().await;
            std::future::pending::<()>().await;
        }
        let typed = &buffer[..length];
        let leaves = keys.as_mut().is_some_and(|keys| keys.saw(typed));
        if leaves {
            detached.store(true, Ordering::Release);
        }
        if input.write(typed).await.is_err() {
            // The process has ended, or reads no more: its output says the rest.
            std::future::pending::<()>().await;
        }
        if leaves {
            tokio::time::sleep(DETACH_GRACE).await;
            // Nobody waits for it when the daemon was faster.
            let _ = left.send(());
            return;
        }
    }
}

/// The number of the first signal that would end us.
async fn own_end() -> i32 {
    let kinds = [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
    let mut waits = tokio::task::JoinSet::new();
    for kind in kinds {
        let Ok(mut arrivals) = signal(kind) else { continue };
        waits.spawn(async move {
            arrivals.recv().await;
            kind.as_raw_value()
        });
    }
    match waits.join_next().await {
        Some(Ok(number)) => number,
        _ => std::future::pending().await,
    }
}
