//! `/exec`: further processes in a running container.

use cofferdam_api::models::{ExecConfig, ExecInspectResponse, ExecStartConfig};
use serde::Deserialize;

use crate::query::{Query, segment};
use crate::{Attached, Client, ClientError, Document};

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

impl Client {
    /// Prepares a process; gives its exec ID.
    pub async fn create_exec(&self, container: &str, config: &ExecConfig) -> Result<String, ClientError> {
        let path = format!("/containers/{}/exec", segment(container));
        Ok(self.post(&path).json(config).answer::<Created>().await?.id)
    }

    /// Starts it and attaches to its stdio.
    pub async fn start_exec(&self, exec: &str, tty: bool) -> Result<Attached, ClientError> {
        let config = ExecStartConfig { detach: Some(false), tty: Some(tty), console_size: None };
        let mut attached =
            self.post(&format!("/exec/{}/start", segment(exec))).json(&config).hijack().await?;
        attached.output.set_framed(!tty);
        Ok(attached)
    }

    /// Starts it and leaves it alone.
    pub async fn start_exec_detached(&self, exec: &str, tty: bool) -> Result<(), ClientError> {
        let config = ExecStartConfig { detach: Some(true), tty: Some(tty), console_size: None };
        self.post(&format!("/exec/{}/start", segment(exec))).json(&config).nothing().await
    }

    /// Tells its TTY its size.
    pub async fn resize_exec(&self, exec: &str, height: u16, width: u16) -> Result<(), ClientError> {
        let query = Query::new().number("h", Some(height.into())).number("w", Some(width.into()));
        self.post(&format!("/exec/{}/resize", segment(exec))).query(&query).nothing().await
    }

    /// How it is: whether it runs, its exit code.
    pub async fn inspect_exec(&self, exec: &str) -> Result<Document<ExecInspectResponse>, ClientError> {
        self.get(&format!("/exec/{}/json", segment(exec))).document().await
    }
}
