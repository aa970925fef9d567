//! A RUN step: a container like any other, whose output goes to the client and whose changes are a layer.

use std::sync::Arc;

use cofferdam_api::Owner;
use cofferdam_api::stdcopy::Decoder;
use cofferdam_image::Image;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::stages::{Job, StepError};
use super::workplace::Workplace;
use crate::containers::attach::{Attach, Request};
use crate::containers::config::{Config, CreateRequest};
use crate::containers::wait::{Condition, Wait};
use crate::containers::{Container, create, layer, lifecycle, remove};
use crate::engine::Shared;
use crate::error::ApiError;

/// What runs.
pub struct Order {
    pub image: Image,
    pub words: Vec<String>,
    /// Values of build arguments.
    pub env: Vec<String>,
    /// `--network`.
    pub network: Option<String>,
}

/// The step's container: removed when the build ends in the middle.
pub struct Ran {
    engine: Shared,
    container: Arc<Container>,
    workplace: Arc<Workplace>,
    keep: bool,
}

impl Ran {
    pub fn id(&self) -> &str {
        self.container.id.short()
    }

    /// What it has changed.
    pub async fn layer(&self) -> Result<Box<dyn AsyncRead + Send + Unpin>, ApiError> {
        layer::layer(&self.engine, &self.container).await
    }

    /// It is to stay, as the client wants it.
    pub fn keep(&mut self) {
        self.keep = true;
        self.workplace.forget();
    }

    /// Removes it now.
    pub async fn remove(mut self) -> Result<(), ApiError> {
        self.keep = true;
        remove::remove_container(&self.engine, &self.container, true, true).await?;
        self.workplace.forget();
        Ok(())
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let (engine, container) = (Arc::clone(&self.engine), Arc::clone(&self.container));
        let workplace = Arc::clone(&self.workplace);
        tokio::spawn(async move {
            match remove::remove_container(&engine, &container, true, true).await {
                Ok(()) => workplace.forget(),
                Err(error) => {
                    tracing::warn!(id = %container.id, "cannot remove a build's container: {error}")
                }
            }
        });
    }
}

/// Runs it to its end.
pub async fn run(job: &Job, order: Order) -> Result<Ran, StepError> {
    let engine = &job.engine;
    let name = format!("build-{}", cofferdam_model::random_hex(8));
    job.workplace.note(&name)?;
    let mut host = job.options.host.clone();
    if let Some(network) = order.network {
        host.network_mode = network;
    }
    let config = Config {
        image: order.image.id().to_string(),
        cmd: Some(order.words.clone()),
        // The image's own program is not asked, nor is its health.
        entrypoint: Some(vec![String::new()]),
        healthcheck: Some(
            serde_json::from_value(serde_json::json!({ "Test": ["NONE"] })).map_err(ApiError::internal_of)?,
        ),
        env: order.env,
        attach_stdout: true,
        attach_stderr: true,
        ..Config::default()
    };
    let request = CreateRequest { config, host_config: host, ..CreateRequest::default() };
    let (id, _) = create::create(engine, Some(&name), Owner::Docker, request).await?;
    let container = engine.containers.find(id.as_str())?;
    let ran = Ran {
        engine: Arc::clone(engine),
        container: Arc::clone(&container),
        workplace: Arc::clone(&job.workplace),
        keep: false,
    };
    job.say(format!(" ---> Running in {}\n", id.short())).await;
    let attach = Request { stdout: true, stderr: true, stream: true, ..Request::default() };
    let attach = Attach::begin(engine, &container, attach).await?;
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let serving = tokio::spawn(attach.serve(Box::pin(theirs)));
    let waiting = Wait::begin(&container, Condition::NextExit);
    if let Err(error) = lifecycle::start(&container).await {
        serving.abort();
        return Err(error.into());
    }
    show(job, ours).await;
    let code = waiting.finish().await;
    if code == 0 {
        return Ok(ran);
    }
    let message = format!("The command '{}' returned a non-zero code: {code}", order.words.join(" "));
    if job.options.remove && !job.options.force_remove {
        // As in Docker: what failed can be looked at.
        let mut ran = ran;
        ran.keep();
    } else {
        ran.remove().await?;
    }
    Err(StepError { code: Some(code.into()), error: ApiError::internal(message) })
}

/// Its output, as it comes.
async fn show(job: &Job, mut output: impl AsyncRead + Unpin) {
    let (mut decoder, mut buffer) = (Decoder::default(), vec![0; 32 << 10]);
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        decoder.push(&buffer[..count]);
        while let Ok(Some(frame)) = decoder.next_frame() {
            job.say(String::from_utf8_lossy(&frame.payload).into_owned()).await;
        }
    }
}
