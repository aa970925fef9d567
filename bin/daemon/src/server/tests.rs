//! Connections with good and bad clients, on a socket pair: no root, no network.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::{Api, Hijack, JsonBody, JsonLines, json_lines, serve};
use crate::error::ApiError;

/// Long enough for any machine; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn router() -> Router {
    Router::new()
        .route("/version", get(async |Api(version): Api| version.to_string()))
        .route("/panic", get(async || -> String { panic!("as the test asked") }))
        .route("/json", post(async |JsonBody(list): JsonBody<Vec<u8>>| list.len().to_string()))
        .route(
            "/echo",
            post(async |hijack: Hijack| {
                hijack.respond(false, async |mut stream| {
                    let mut text = Vec::new();
                    stream.read_to_end(&mut text).await.unwrap();
                    stream.write_all(&text).await.unwrap();
                    stream.write_all(b" and goodbye").await.unwrap();
                })
            }),
        )
        .fallback(async || ApiError::not_found("page not found"))
}

/// Sends `request`, closes the writing half, and reads all that comes.
async fn exchange(router: Router, request: &[u8]) -> String {
    let (client, server) = UnixStream::pair().unwrap();
    tokio::spawn(serve(server, router));
    let (mut reader, mut writer) = client.into_split();
    let mut answer = Vec::new();
    let conversation = async {
        // The server may refuse while we still send.
        let _ = tokio::join!(writer.write_all(request), async {
            let _ = reader.read_to_end(&mut answer).await;
        });
    };
    tokio::time::timeout(PATIENCE, conversation).await.expect("the server answers and closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn bad_requests_get_dockers_answers() {
    let json = "Content-Type: application/json\r\n";
    for (line, headers, body, status, words) in [
        ("GET /version", "", "", "200 OK", "1.53"),
        ("GET /v1.41/version", "", "", "200 OK", "1.41"),
        (
            "GET /v1.10/version",
            "",
            "",
            "400 Bad Request",
            "client version 1.10 is too old. Minimum supported",
        ),
        (
            "GET /v1.99/version",
            "",
            "",
            "400 Bad Request",
            "client version 1.99 is too new. Maximum supported",
        ),
        ("GET /v1.41/nowhere", "", "", "404 Not Found", r#"{"message":"page not found"}"#),
        ("POST /json", json, "[1,2]", "200 OK", "2"),
        ("POST /json", json, "not json", "400 Bad Request", r#"{"message":"invalid JSON: "#),
        (
            "POST /json",
            "Content-Type: text/plain\r\n",
            "x",
            "400 Bad Request",
            "unsupported Content-Type header",
        ),
        ("GET /panic", "", "", "500 Internal Server Error", r#"{"message":"internal error"#),
    ] {
        let answer = exchange(router(), &request(line, headers, body)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{line}: {answer}");
        assert!(answer.contains(words), "{line}: {answer}");
        for header in
            ["api-version: 1.53", "ostype: linux", "docker-experimental: false", "server: Cofferdam/"]
        {
            assert!(answer.to_lowercase().contains(&header.to_lowercase()), "{line}: {answer}");
        }
    }
}

#[tokio::test]
async fn endless_headers_are_refused_while_they_arrive() {
    let mut endless = b"GET /version HTTP/1.1\r\nHost: x\r\nX-Long: ".to_vec();
    endless.resize(8 << 20, b'a');
    let answer = exchange(router(), &endless).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn too_many_headers_and_rubbish_are_refused() {
    let many: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let answer = exchange(router(), &request("GET /version", &many, "")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = exchange(router(), b"\x16\x03\x01 this is TLS\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_hijacked_stream_is_duplex_with_half_close() {
    let (mut client, server) = UnixStream::pair().unwrap();
    tokio::spawn(serve(server, router()));
    let ask = b"POST /v1.44/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    client.write_all(ask).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED\r\n"), "{head}");
    assert!(head.contains("application/vnd.docker.multiplexed-stream"), "{head}");
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "hello and goodbye");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_work() {
    struct Cancelled(Arc<Notify>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let cancelled = Arc::new(Notify::new());
    let noted = Arc::clone(&cancelled);
    let router = Router::new().route(
        "/endless",
        get(async move || {
            json_lines(|lines: JsonLines| async move {
                let _guard = Cancelled(noted);
                lines.send("{}\n").await;
                std::future::pending::<()>().await;
            })
        }),
    );
    let (mut client, server) = UnixStream::pair().unwrap();
    tokio::spawn(serve(server, router));
    client.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The answer begins although the work never ends.
    let mut head = [0; 15];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    drop(client);
    tokio::time::timeout(PATIENCE, cancelled.notified()).await.expect("the work is dropped");
}
