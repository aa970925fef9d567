//! The client and the shape of a call: a method, a path, a query, a body; and the kinds of answer.

use std::io;

use bytes::Bytes;
use cofferdam_api::{ApiVersion, ErrorBody, FRONT_HEADER, MULTIPLEXED_STREAM, Owner};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use tokio::sync::OnceCell;

use crate::query::Query;
use crate::{Attached, ClientError, Document, Host, JsonLines, connection};

/// A request's body.
pub type Body = BoxBody<Bytes, io::Error>;

/// A client of one daemon. Cheap to make: nothing is connected until a method is called.
#[derive(Debug)]
pub struct Client {
    host: Host,
    version: OnceCell<ApiVersion>,
    /// What it says of itself in [`FRONT_HEADER`].
    front: Option<&'static str>,
}

/// The answer to `/_ping`.
#[derive(Clone, Debug)]
pub struct Ping {
    /// The newest API version that the daemon speaks.
    pub api_version: ApiVersion,
    /// Its `Server` header: `Cofferdam/0.1.0 (linux)`.
    pub server: String,
}

impl Client {
    /// A client of the daemon at `host`.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self { host, version: OnceCell::new(), front: None }
    }

    /// The same for the cmdlets: what they make is theirs ([`Owner::Vmms`]).
    #[must_use]
    pub fn for_cmdlets(self) -> Self {
        Self { front: Some(Owner::FRONT), ..self }
    }

    /// The daemon's address.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Asks whether anybody is there, and which API versions it speaks.
    pub async fn ping(&self) -> Result<Ping, ClientError> {
        let answer = self.call(Method::GET, "/_ping").send_to("/_ping").await?;
        let header =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        // A daemon that does not say is older than the header: Docker then assumes 1.24.
        let api_version = header("api-version").parse().unwrap_or(ApiVersion::OLDEST);
        Ok(Ping { api_version, server: header("server").to_owned() })
    }

    /// The version that calls are made in: the newest that both sides know. Asked once.
    pub async fn api_version(&self) -> Result<ApiVersion, ClientError> {
        let negotiate = async || Ok(self.ping().await?.api_version.min(ApiVersion::NEWEST));
        self.version.get_or_try_init(negotiate).await.copied()
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Call<'_> {
        self.call(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Call<'_> {
        self.call(Method::PUT, path)
    }

    pub(crate) fn head(&self, path: &str) -> Call<'_> {
        self.call(Method::HEAD, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    fn call(&self, method: Method, path: &str) -> Call<'_> {
        let endpoint = format!("{method} {path}");
        let path = path.to_owned();
        let call = Call { client: self, method, endpoint, path, headers: Vec::new(), body: empty() };
        match self.front {
            Some(front) => call.header(FRONT_HEADER, front.to_owned()),
            None => call,
        }
    }
}

/// A call about to be made.
pub(crate) struct Call<'a> {
    client: &'a Client,
    method: Method,
    /// For messages: without the query, which may hold what nobody wants to see.
    endpoint: String,
    path: String,
    headers: Vec<(hyper::header::HeaderName, String)>,
    body: Body,
}

impl Call<'_> {
    pub(crate) fn query(mut self, query: &Query) -> Self {
        self.path = query.attach_to(&self.path);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((hyper::header::HeaderName::from_static(name), value));
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        let text = serde_json::to_vec(body).expect("the API's own types always serialise");
        self.body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
        self.headers.push((CONTENT_TYPE, "application/json".to_owned()));
        self
    }

    /// A body that is read while it is sent.
    pub(crate) fn tar(mut self, reader: impl AsyncRead + Send + Sync + 'static) -> Self {
        let pieces = tokio_util::io::ReaderStream::with_capacity(reader, 64 * 1024);
        self.body = StreamBody::new(futures_util::TryStreamExt::map_ok(pieces, Frame::data)).boxed();
        self.headers.push((CONTENT_TYPE, "application/x-tar".to_owned()));
        self
    }

    /// Makes the call; an answer of 400 and above is an [`ClientError::Daemon`].
    pub(crate) async fn send(self) -> Result<Response<Incoming>, ClientError> {
        let target = format!("/v{}{}", self.client.api_version().await?, self.path);
        self.send_to(&target).await
    }

    /// Makes the call to a path as it is, without a version.
    async fn send_to(self, target: &str) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(target)
            .header(HOST, self.client.host.authority())
            .header(USER_AGENT, concat!("Cofferdam-Client/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let endpoint = self.endpoint;
        let request = request.body(self.body).map_err(|source| ClientError::Request { endpoint, source })?;
        let mut connection = connection::open(&self.client.host).await?;
        let answer = connection.send_request(request).await.map_err(ClientError::Connection)?;
        if answer.status().as_u16() < 400 { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// Makes the call for its effect.
    pub(crate) async fn nothing(self) -> Result<(), ClientError> {
        let answer = self.send().await?;
        // Read to the end, so that the daemon is not told that we went away.
        answer.into_body().collect().await.map_err(ClientError::Connection)?;
        Ok(())
    }

    /// Makes the call for a JSON answer.
    pub(crate) async fn answer<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let endpoint = self.endpoint.clone();
        let body =
            self.send().await?.into_body().collect().await.map_err(ClientError::Connection)?.to_bytes();
        serde_json::from_slice(&body).map_err(|source| ClientError::Decode { endpoint, source })
    }

    /// Makes the call for a JSON answer that is kept as it is, too.
    pub(crate) async fn document<T: DeserializeOwned>(self) -> Result<Document<T>, ClientError> {
        let endpoint = self.endpoint.clone();
        let body =
            self.send().await?.into_body().collect().await.map_err(ClientError::Connection)?.to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        Document::parse(text).map_err(|source| ClientError::Decode { endpoint, source })
    }

    /// Makes the call for a stream of JSON lines.
    pub(crate) async fn lines<T: DeserializeOwned>(self) -> Result<JsonLines<T>, ClientError> {
        let endpoint = self.endpoint.clone();
        Ok(JsonLines::new(self.send().await?.into_body(), endpoint))
    }

    /// Makes the call and takes the connection over.
    pub(crate) async fn hijack(mut self) -> Result<Attached, ClientError> {
        let endpoint = self.endpoint.clone();
        self.headers.push((CONNECTION, "Upgrade".to_owned()));
        self.headers.push((UPGRADE, "tcp".to_owned()));
        let answer = self.send().await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NotUpgraded { endpoint, status: answer.status().as_u16() });
        }
        let framed = is_framed(&answer);
        let upgraded = hyper::upgrade::on(answer).await.map_err(ClientError::Connection)?;
        Ok(Attached::new(upgraded, framed))
    }
}

/// Whether the daemon announces frames. Before API 1.42 it never did; callers know from the container then.
pub(crate) fn is_framed(answer: &Response<Incoming>) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == MULTIPLEXED_STREAM.as_bytes())
}

async fn refusal(answer: Response<Incoming>) -> ClientError {
    let status = answer.status();
    let body = match answer.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return ClientError::Connection(error),
    };
    let message = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) if !body.message.is_empty() => body.message,
        // Not the daemon's own words, then: a proxy's, or another server's.
        _ => match String::from_utf8_lossy(&body).trim() {
            "" => format!("the daemon answered {status}"),
            text => text.chars().take(1000).collect(),
        },
    };
    ClientError::Daemon { status: status.as_u16(), message }
}

fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}
