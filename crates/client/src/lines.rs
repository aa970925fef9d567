//! Streams of JSON values, one a line: events, and the progress of pull, load and import.

use std::marker::PhantomData;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::ClientError;

/// A stream of JSON lines. Dropping it tells the daemon that nobody listens any more.
pub struct JsonLines<T> {
    body: Incoming,
    pending: BytesMut,
    ended: bool,
    endpoint: String,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    pub(crate) fn new(body: Incoming, endpoint: String) -> Self {
        Self { body, pending: BytesMut::new(), ended: false, endpoint, item: PhantomData }
    }

    /// The next value; `None` at the end. Cancelling a call loses nothing.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line = self.pending.split_to(end + 1);
                if let Some(value) = self.decode(&line)? {
                    return Ok(Some(value));
                }
            }
            if self.ended {
                let rest = self.pending.split();
                return self.decode(&rest);
            }
            match self.body.frame().await {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(ClientError::Connection(error)),
            }
        }
    }

    /// All that is left, in a list.
    pub async fn collect(mut self) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        while let Some(item) = self.next().await? {
            all.push(item);
        }
        Ok(all)
    }

    fn decode(&self, line: &[u8]) -> Result<Option<T>, ClientError> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let decoded = serde_json::from_slice(line);
        decoded.map(Some).map_err(|source| ClientError::Decode { endpoint: self.endpoint.clone(), source })
    }
}
