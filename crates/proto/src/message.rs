//! Control messages, in JSON.

use cofferdam_model::{ChangedFile, InterfaceConfig, ProcessInfo, Resources, Usage, WindowSize};
use serde::{Deserialize, Serialize};

use crate::{Frame, ProtocolError};

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The agent's first message.
    Hello(Hello),
    /// The shim asks.
    Request {
        /// Chosen by the shim, repeated in the answer.
        id: u64,
        /// What.
        request: Request,
    },
    /// The agent has done it.
    Response {
        /// Of which request.
        id: u64,
        /// With what result.
        response: Response,
    },
    /// The agent could not.
    Failure {
        /// Of which request.
        id: u64,
        /// Why, for the user.
        message: String,
        /// 126 or 127 when the program to run was the reason, as Docker counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exec_code: Option<u8>,
        /// Whether the process named does not exist.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        no_such_process: bool,
        /// Whether it has ended already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        finished: bool,
    },
    /// The agent reports.
    Event(Event),
}

/// Who the agent is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::VERSION`].
    pub version: u32,
    /// `uname -r` of the guest.
    pub kernel: String,
}

/// What a shim asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Become a VM of its own: entropy, clock. Before any user code, once.
    Adopt(Adopt),
    /// Mount the disks and make the container, with an init process that waits for [`Request::Create`]. All of it is
    /// the same for many containers: a VM may be saved after it and cloned for each of them.
    Prepare(Box<Prepare>),
    /// Remove the container that was created, and what it was, so that another can be prepared on the same disks. Only
    /// templates do this, after a rehearsal. With `let_disk_go` the writable disk is unmounted, too, so that another can
    /// take its place; the image stays.
    Clear {
        /// Whether the next container has another writable disk.
        let_disk_go: bool,
    },
    /// Give the prepared container its identity, up to its init process's program.
    Create(Box<CreateContainer>),
    /// Read what clones will need, write everything out and come to rest: the VM is about to be saved.
    Settle {
        /// Programs of the container that are likely to run in a clone.
        programs: Vec<String>,
    },
    /// Let the init process run.
    Start,
    /// Start a further process.
    Exec(ExecProcess),
    /// Send a signal.
    Signal {
        /// Empty: the init process.
        exec_id: String,
        /// Which.
        signal: i32,
        /// To every process of the container.
        all: bool,
    },
    /// Resize a TTY.
    Resize {
        /// Empty: the init process.
        exec_id: String,
        /// To this.
        size: WindowSize,
    },
    /// Freeze the container's processes.
    Pause,
    /// Thaw them.
    Resume,
    /// Limit the container anew: all of it, or nothing.
    Limit(Box<Resources>),
    /// List them.
    Processes,
    /// Count what the container uses.
    Usage,
    /// Have these interfaces and no others.
    Rewire(Rewire),
    /// Forget an ended exec.
    Forget {
        /// Which.
        exec_id: String,
    },
    /// End the container, unmount its disks and write everything out. The VM can be switched off afterwards.
    Shutdown,
}

/// What a guest gets before any user code runs. A cloned guest has its template's entropy, clock and names until
/// then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopt {
    /// The host's clock, Unix time in nanoseconds.
    pub clock_nanos: i64,
    /// Fresh random bytes in hexadecimal.
    pub seed: String,
}

/// A container to prepare: all of it that is not its own alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// The OCI runtime specification in JSON, written for the guest: `root.path` is `rootfs`, sources of bind mounts
    /// are the guest's paths; hostname, arguments and environment are left to [`CreateContainer`].
    pub spec: String,
    /// Whether the init process has a TTY.
    pub terminal: bool,
    /// Whether its standard input is a pipe (else `/dev/null`).
    pub stdin: bool,
    /// Whether it has the VM's network card; else only loopback.
    pub network: bool,
    /// The names of small files that the specification's mounts name.
    pub files: Vec<String>,
    /// Whether the share port serves the container's bind mounts.
    pub share: bool,
}

/// What makes a prepared container one certain container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContainer {
    /// The hostname.
    pub hostname: String,
    /// Its interfaces: none unless the container was prepared with the card.
    pub interfaces: Vec<InterfaceConfig>,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<String>,
    /// The init process's streams.
    pub streams: StreamIds,
    /// The small files' contents.
    pub files: Vec<GuestFile>,
    /// What it may use.
    pub limits: Resources,
}

/// What a container's interfaces are from now on, and the files that name them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewire {
    /// All of them.
    pub interfaces: Vec<InterfaceConfig>,
    /// Small files that change, unless the container has changed them.
    pub files: Vec<ChangedFile>,
}

/// A further process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecProcess {
    /// Unique in the container.
    pub exec_id: String,
    /// An OCI `process` object in JSON.
    pub process: String,
    /// Whether it has a TTY.
    pub terminal: bool,
    /// Its streams.
    pub streams: StreamIds,
}

/// The streams of a process; `None` is not connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamIds {
    /// Towards the process.
    pub stdin: Option<u32>,
    /// From the process.
    pub stdout: Option<u32>,
    /// From the process; none with a TTY.
    pub stderr: Option<u32>,
}

/// A small file to write in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFile {
    /// A file name without a directory, in the guest's directory of such files.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Nothing to tell.
    Done,
    /// A process was created.
    Process {
        /// Its PID in the guest.
        pid: i32,
    },
    /// The container's processes.
    Processes(Vec<ProcessInfo>),
    /// What the container uses.
    Usage(Box<Usage>),
}

/// What the agent reports without being asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A process has ended.
    Exited(EndedBy),
    /// The container's memory has run out, and one of its processes was killed for it.
    OutOfMemory,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedBy {
    /// Empty: the init process.
    pub exec_id: String,
    /// The exit code, or 128 plus the signal.
    pub code: i32,
    /// Whether the guest's OOM killer has struck in the container so far.
    pub oom_killed: bool,
}

impl Message {
    /// The message as a frame.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        // Serialising these types cannot fail: no maps with keys that are not strings, no failing impls.
        Frame::Control(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads a control frame's payload.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ProtocolError> {
        serde_json::from_slice(bytes).map_err(|error| ProtocolError::Message(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_model::Ipv6Config;
    use cofferdam_model::resources::{Memory, Pids};

    use super::*;

    /// The wire form of every message. A change here is a change of the protocol: bump [`crate::VERSION`] unless
    /// an old peer reads it the same way.
    #[test]
    fn the_schema_is_what_the_snapshot_says() {
        let streams = StreamIds { stdin: Some(1), stdout: Some(2), stderr: None };
        let request = |request| Message::Request { id: 7, request };
        let response = |response| Message::Response { id: 7, response };
        let interface = InterfaceConfig {
            name: "eth0".into(),
            mac: "02:42:ac:11:00:02".into(),
            address: [172, 17, 0, 2].into(),
            prefix: 16,
            gateway: Some([172, 17, 0, 1].into()),
            ipv6: Some(Ipv6Config {
                address: "fd00::2".parse().unwrap(),
                prefix: 64,
                gateway: Some("fd00::1".parse().unwrap()),
            }),
            mtu: 1500,
            is_default: true,
        };
        let messages = [
            Message::Hello(Hello { version: crate::VERSION, kernel: "6.12".into() }),
            request(Request::Adopt(Adopt { clock_nanos: 5, seed: "00ff".into() })),
            request(Request::Prepare(Box::new(Prepare {
                spec: "{}".into(),
                terminal: false,
                stdin: true,
                network: true,
                files: vec!["hosts".into()],
                share: true,
            }))),
            request(Request::Create(Box::new(CreateContainer {
                hostname: "h".into(),
                interfaces: vec![interface.clone()],
                args: vec!["sh".into()],
                env: vec!["A=b".into()],
                streams,
                files: vec![GuestFile { name: "hosts".into(), text: "t".into() }],
                limits: Resources { pids: Pids { limit: Some(5) }, ..Resources::default() },
            }))),
            request(Request::Settle { programs: vec!["sh".into()] }),
            request(Request::Clear { let_disk_go: true }),
            request(Request::Start),
            request(Request::Exec(ExecProcess {
                exec_id: "e".into(),
                process: "{}".into(),
                terminal: true,
                streams,
            })),
            request(Request::Signal { exec_id: String::new(), signal: 9, all: true }),
            request(Request::Resize { exec_id: "e".into(), size: WindowSize { height: 24, width: 80 } }),
            request(Request::Pause),
            request(Request::Resume),
            request(Request::Limit(Box::new(Resources {
                memory: Memory { limit: Some(9), ..Memory::default() },
                ..Resources::default()
            }))),
            request(Request::Processes),
            request(Request::Usage),
            request(Request::Rewire(Rewire {
                interfaces: vec![interface],
                files: vec![ChangedFile { name: "hosts".into(), before: "b".into(), text: "t".into() }],
            })),
            request(Request::Forget { exec_id: "e".into() }),
            request(Request::Shutdown),
            response(Response::Done),
            response(Response::Process { pid: 42 }),
            response(Response::Processes(vec![])),
            response(Response::Usage(Box::default())),
            Message::Failure {
                id: 7,
                message: "m".into(),
                exec_code: Some(127),
                no_such_process: false,
                finished: false,
            },
            Message::Event(Event::OutOfMemory),
            Message::Event(Event::Exited(EndedBy { exec_id: "e".into(), code: 137, oom_killed: false })),
        ];
        let lines: Vec<String> = messages.iter().map(|m| serde_json::to_string(m).unwrap()).collect();
        assert_eq!(lines.join("\n"), include_str!("schema.snapshot").trim_end());
        for (message, line) in messages.iter().zip(&lines) {
            assert_eq!(&Message::from_json(line.as_bytes()).unwrap(), message);
        }
    }
}
