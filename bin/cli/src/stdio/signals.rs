//! Signals that reach us are meant for the container.

use std::sync::Arc;

use cofferdam_client::Client;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::window_size;

/// Which process a TTY's size goes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A container's init process.
    Container(String),
    /// An exec.
    Exec(String),
}

/// Sends the signals that we get on to the container, until the result is dropped. Job control stays with the shell,
/// and what only concerns us (a child's end, a closed pipe, a new window size) stays here.
pub fn forward_signals(client: &Arc<Client>, container: &str) -> std::io::Result<JoinSet<()>> {
    let forwarded = [
        ("HUP", SignalKind::hangup()),
        ("INT", SignalKind::interrupt()),
        ("QUIT", SignalKind::quit()),
        ("TERM", SignalKind::terminate()),
        ("USR1", SignalKind::user_defined1()),
        ("USR2", SignalKind::user_defined2()),
        ("ALRM", SignalKind::alarm()),
        ("CONT", SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())),
    ];
    let mut tasks = JoinSet::new();
    for (name, kind) in forwarded {
        let mut arrivals = signal(kind)?;
        let (client, container) = (Arc::clone(client), container.to_owned());
        tasks.spawn(async move {
            while arrivals.recv().await.is_some() {
                // It may not run yet, or not any more.
                let _ = client.kill(&container, name).await;
            }
        });
    }
    Ok(tasks)
}

/// Tells the container's TTY our terminal's size, now and whenever it changes, until the result is dropped.
pub fn follow_size(client: &Arc<Client>, target: Target) -> std::io::Result<JoinSet<()>> {
    let mut changes = signal(SignalKind::window_change())?;
    let client = Arc::clone(client);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            if let Some((height, width)) = window_size() {
                // It may have ended already; its end is reported elsewhere.
                let _ = match &target {
                    Target::Container(id) => client.resize(id, height, width).await,
                    Target::Exec(id) => client.resize_exec(id, height, width).await,
                };
            }
            if changes.recv().await.is_none() {
                break;
            }
        }
    });
    Ok(tasks)
}
