//! The service beside containerd's: what its `State` has no room for (`cofferdam_model::EXTENSION_SERVICE`).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_model::EXTENSION_SERVICE;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ttrpc::asynchronous::{MethodHandler, Service, TtrpcContext};
use ttrpc::{Code, Request, Response, get_status};

use crate::container::{Container, Refusal};
use crate::service::rpc_error;

#[derive(Clone, Copy)]
enum Method {
    Info,
    Oom,
    Processes,
    Usage,
    Rewire,
}

struct Handler {
    method: Method,
    container: Arc<Container>,
}

/// The service's methods.
pub fn service(container: &Arc<Container>) -> HashMap<String, Service> {
    let handler = |method| Box::new(Handler { method, container: Arc::clone(container) }) as Box<_>;
    let methods: HashMap<String, Box<dyn MethodHandler + Send + Sync>> = HashMap::from([
        ("Info".to_owned(), handler(Method::Info)),
        ("Oom".to_owned(), handler(Method::Oom)),
        ("Processes".to_owned(), handler(Method::Processes)),
        ("Usage".to_owned(), handler(Method::Usage)),
        ("Rewire".to_owned(), handler(Method::Rewire)),
    ]);
    HashMap::from([(EXTENSION_SERVICE.to_owned(), Service { methods, streams: HashMap::new() })])
}

#[async_trait]
impl MethodHandler for Handler {
    async fn handler(&self, _: TtrpcContext, request: Request) -> ttrpc::Result<Response> {
        let answer = match self.method {
            Method::Info => json(self.container.info().await),
            Method::Oom => match asked(&request) {
                Ok(seen) => json(self.container.oom(seen).await),
                Err(error) => Err(error),
            },
            Method::Processes => json(self.container.processes().await),
            Method::Usage => json(self.container.usage().await),
            Method::Rewire => match asked(&request) {
                Ok(rewiring) => json(self.container.rewire(rewiring).await),
                Err(error) => Err(error),
            },
        };
        let mut response = Response::new();
        match answer {
            Ok(payload) => {
                response.set_status(get_status(Code::OK, ""));
                response.payload = payload;
            }
            Err(ttrpc::Error::RpcStatus(status)) => response.set_status(status),
            Err(error) => return Err(error),
        }
        Ok(response)
    }
}

fn asked<T: DeserializeOwned>(request: &Request) -> ttrpc::Result<T> {
    let invalid = |error| ttrpc::Error::RpcStatus(get_status(Code::INVALID_ARGUMENT, error));
    serde_json::from_slice(&request.payload).map_err(invalid)
}

fn json(answer: Result<impl Serialize, Refusal>) -> ttrpc::Result<Vec<u8>> {
    let answer = answer.map_err(|refusal| rpc_error(&refusal))?;
    serde_json::to_vec(&answer).map_err(|error| ttrpc::Error::Others(error.to_string()))
}
