//! The client against a scripted daemon on a Unix socket: what goes over the wire, and what comes of every answer.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use cofferdam_client::models::ContainerCreateBody;
use cofferdam_client::{Attach, Client, ClientError, Host, ListContainers, RegistryAuth, WaitUntil};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Answers one request after another, each on its own connection, and gives what was asked.
struct Daemon {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    requests: JoinHandle<Vec<String>>,
}

impl Daemon {
    fn answering(answers: Vec<Vec<u8>>) -> Self {
        Self::in_directory(tempfile::tempdir().unwrap(), "c.sock", answers)
    }

    fn in_directory(directory: tempfile::TempDir, name: &str, answers: Vec<Vec<u8>>) -> Self {
        let socket = directory.path().join(name);
        // As the client does for a path that is too long.
        let (listener, _open) = match socket.as_os_str().len() {
            0..=107 => (UnixListener::bind(&socket).unwrap(), None),
            _ => {
                use std::os::fd::AsRawFd as _;
                let parent = std::fs::File::open(socket.parent().unwrap()).unwrap();
                let short =
                    format!("/proc/self/fd/{}/{}", parent.as_raw_fd(), socket.file_name().unwrap().display());
                (UnixListener::bind(short).unwrap(), Some(parent))
            }
        };
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                requests.push(request(&mut stream).await);
                stream.write_all(&answer).await.unwrap();
            }
            requests
        });
        Self { _directory: directory, socket, requests }
    }

    fn client(&self) -> Client {
        Client::new(Host::unix(&self.socket))
    }
}

/// A request's head and, when its length is given, its body.
async fn request(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        assert_ne!(length, 0, "the client went away after {text:?}");
        bytes.extend_from_slice(&buffer[..length]);
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn ping() -> Vec<u8> {
    answer("200 OK", "Api-Version: 1.44\r\nServer: Cofferdam/1 (linux)\r\n", "OK")
}

#[tokio::test]
async fn the_version_is_negotiated_once() {
    let daemon = Daemon::answering(vec![ping(), answer("200 OK", "", "[]"), answer("200 OK", "", "[]")]);
    let client = daemon.client();
    let what = ListContainers { all: true, ..ListContainers::default() };
    assert!(client.list_containers(&what).await.unwrap().is_empty());
    assert!(client.list_containers(&what).await.unwrap().is_empty());
    let requests = daemon.requests.await.unwrap();
    assert!(requests[0].starts_with("GET /_ping HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[1].starts_with("GET /v1.44/containers/json?all=1 HTTP/1.1\r\n"), "{}", requests[1]);
    assert!(requests[2].starts_with("GET /v1.44/containers/json"), "{}", requests[2]);
}

#[tokio::test]
async fn refusals_keep_the_daemons_words() {
    let refusals = [
        ("404 Not Found", r#"{"message":"No such container: x"}"#, 404, "No such container: x"),
        ("409 Conflict", "plain text", 409, "plain text"),
        ("502 Bad Gateway", "", 502, "the daemon answered 502 Bad Gateway"),
    ];
    for (status, body, code, message) in refusals {
        let daemon = Daemon::answering(vec![ping(), answer(status, "", body)]);
        let error = daemon.client().start("x", None).await.unwrap_err();
        assert_eq!((error.status(), error.to_string().as_str()), (Some(code), message));
        assert_eq!(error.is_not_found(), code == 404);
    }
}

#[tokio::test]
async fn nobody_at_home_is_said_clearly() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("none.sock");
    let error = Client::new(Host::unix(&socket)).ping().await.unwrap_err();
    let want = format!(
        "cannot connect to the Cofferdam daemon at unix://{}. Is cofferdamd running?",
        socket.display()
    );
    assert_eq!(error.to_string(), want);
    assert!(matches!(error, ClientError::Connect { .. }));
}

#[tokio::test]
async fn what_is_not_json_is_said_clearly() {
    let daemon = Daemon::answering(vec![ping(), answer("200 OK", "", "<html>")]);
    let error =
        daemon.client().create_container(Some("n"), None, &ContainerCreateBody::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot understand the daemon's answer to POST /containers/create");
    let requests = daemon.requests.await.unwrap();
    assert!(requests[1].starts_with("POST /v1.44/containers/create?name=n "), "{}", requests[1]);
    assert!(requests[1].ends_with("\r\n\r\n{}"), "{}", requests[1]);
}

#[tokio::test]
async fn json_lines_survive_any_cut() {
    let chunks =
        ["{\"status\":\"a\"}\r\n{\"sta", "tus\":\"b\"}\n\n", "{\"errorDetail\":{\"message\":\"no\"}}"];
    let body: String = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
    let stream = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}0\r\n\r\n").into_bytes();
    let daemon = Daemon::answering(vec![ping(), stream]);
    let auth = RegistryAuth { username: "u".into(), password: "p".into(), ..RegistryAuth::default() };
    let lines = daemon
        .client()
        .pull("localhost:5000/a", "1", None, Some(&auth))
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1].status.as_deref(), Some("b"));
    assert_eq!(lines[2].error_detail.as_ref().unwrap().message, "no");
    let requests = daemon.requests.await.unwrap();
    assert!(requests[1].contains("fromImage=localhost%3A5000%2Fa&tag=1"), "{}", requests[1]);
    // {"username":"u","password":"p"}
    assert!(
        requests[1].contains("x-registry-auth: eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAifQ==\r\n"),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_stream_that_breaks_is_an_error() {
    let stream = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n{\"status\":".to_vec();
    let daemon = Daemon::answering(vec![ping(), stream]);
    let lines = daemon.client().pull("a", "1", None, None).await.unwrap();
    assert!(lines.collect().await.is_err());
}

#[tokio::test]
async fn attached_streams_half_close_and_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("c.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        request(&mut stream).await;
        stream.write_all(&ping()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request(&mut stream).await;
        let upgraded = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\
                        Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        stream.write_all(upgraded.as_bytes()).await.unwrap();
        // To the half-close: only then is there an answer.
        let mut input = Vec::new();
        stream.read_to_end(&mut input).await.unwrap();
        stream.write_all(b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err").await.unwrap();
        (head, input)
    });
    let client = Client::new(Host::unix(&socket));
    let what = Attach { stdin: true, stdout: true, stderr: true, ..Attach::default() };
    let mut attached = client.attach("x", &what).await.unwrap();
    assert!(attached.output.is_framed());
    attached.input.write(b"hello").await.unwrap();
    attached.input.close().await.unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    attached.copy_output(&mut stdout, &mut stderr).await.unwrap();
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"out"[..], &b"err"[..]));
    let (head, input) = daemon.await.unwrap();
    assert!(head.contains("/containers/x/attach?stream=1&stdin=1&stdout=1&stderr=1"), "{head}");
    assert!(head.to_lowercase().contains("upgrade: tcp"), "{head}");
    assert_eq!(input, b"hello");
}

#[tokio::test]
async fn a_wait_ends_with_the_exit_code() {
    let daemon = Daemon::answering(vec![ping(), answer("200 OK", "", "{\"StatusCode\":7}\n")]);
    let wait = daemon.client().wait("x", WaitUntil::NextExit).await.unwrap();
    assert_eq!(wait.exit().await.unwrap().status_code, 7);
    assert!(daemon.requests.await.unwrap()[1].contains("/wait?condition=next-exit"));
}

#[tokio::test]
async fn a_socket_may_lie_deep() {
    let directory = tempfile::Builder::new().prefix(&"d".repeat(120)).tempdir().unwrap();
    let daemon = Daemon::in_directory(directory, "c.sock", vec![ping()]);
    let pong = daemon.client().ping().await.unwrap();
    assert_eq!(
        (pong.api_version.to_string().as_str(), pong.server.as_str()),
        ("1.44", "Cofferdam/1 (linux)")
    );
}
