//! A machine beyond the host: a network namespace with a web server, reached through the host's routing.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{Invocation, eventually};

/// A server on a network that knows the host's address on it and nothing else: a container's packet is answered
/// only when it arrives with the host's address. Taken down when dropped.
pub struct Outside {
    namespace: String,
    server: Option<Child>,
    _turn: MutexGuard<'static, ()>,
}

/// Two at once would have the same addresses.
static TURN: Mutex<()> = Mutex::new(());

impl Outside {
    /// The server's address (of a range reserved for documentation).
    pub const ADDRESS: &'static str = "198.51.100.2";
    /// The host's address on that network.
    pub const HOST: &'static str = "198.51.100.1";
    /// What `http://<ADDRESS>/hello` answers.
    pub const HELLO: &'static str = "hello from outside";

    /// Sets it up; `files` is a directory for the server's page.
    pub fn start(files: &Path) -> Result<Self> {
        let namespace = format!("cfd-outside-{}", std::process::id());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outside = Self { namespace: namespace.clone(), server: None, _turn: turn };
        let (host_end, far_end) = (host_end(), "eth0");
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "add", &host_end, "type", "veth", "peer", "name", far_end, "netns", &namespace])?;
        ip(&["address", "add", "198.51.100.1/30", "dev", &host_end])?;
        ip(&["link", "set", &host_end, "up"])?;
        ip(&["-n", &namespace, "address", "add", "198.51.100.2/30", "dev", far_end])?;
        ip(&["-n", &namespace, "link", "set", far_end, "up"])?;
        std::fs::write(files.join("hello"), Self::HELLO)?;
        let server = Command::new("ip")
            .args(["netns", "exec", &namespace, "busybox", "httpd", "-f", "-p", "80", "-h"])
            .arg(files)
            .stdin(Stdio::null())
            .spawn()
            .context("start the outside server")?;
        outside.server = Some(server);
        eventually(Duration::from_secs(10), || {
            Ok(std::net::TcpStream::connect((Self::ADDRESS, 80)).ok().map(drop))
        })
        .context("the outside server does not listen")?;
        Ok(outside)
    }

    /// A command on that machine.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Invocation {
        Invocation::new("ip", &[&["netns", "exec", &self.namespace], args].concat())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        // At once: with the namespace it goes some time later, and the next one's name and address are the same.
        let _ = ip(&["link", "delete", &host_end()]);
        let _ = ip(&["netns", "delete", &self.namespace]);
    }
}

/// The host's interface to it.
fn host_end() -> String {
    format!("cfo{}", std::process::id())
}

fn ip(args: &[&str]) -> Result<String> {
    Invocation::new("ip", args).ok()
}
