//! Images that come in: pull and import (`POST /images/create`), load (`POST /images/load`).

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use cofferdam_api::Progress as Line;
use cofferdam_image::{Error, ImportRequest, Platform, Progress, ProgressSender, PullRequest, Reference};
use tokio::sync::mpsc;

use super::credentials::Credentials;
use super::upload::Upload;
use crate::engine::Shared;
use crate::error::{ApiError, ApiResult, chain};
use crate::events::Event;
use crate::server::{JsonLines, Params, json_lines};

pub async fn create(state: State<Shared>, params: Params, headers: HeaderMap, body: Body) -> ApiResult {
    if let Some(platform) = params.get("platform")
        && platform.split('/').next().is_some_and(|os| !os.is_empty() && os != "linux")
    {
        return Err(ApiError::bad_request(format!(
            "unsupported operating system: {platform}: this engine runs Linux"
        )));
    }
    match (params.get("fromImage"), params.get("fromSrc")) {
        (Some(image), _) => pull(state, &params, &headers, image).await,
        (None, Some(source)) => import(state, &params, source, body).await,
        (None, None) => {
            Err(ApiError::bad_request("invalid reference format: neither fromImage nor fromSrc was given"))
        }
    }
}

async fn pull(State(engine): State<Shared>, params: &Params, headers: &HeaderMap, image: &str) -> ApiResult {
    let invalid = |error: &dyn std::fmt::Display| ApiError::bad_request(error.to_string());
    let reference = Reference::parse_any_case(image).map_err(|error| invalid(&error))?;
    let reference = match params.get("tag") {
        Some(digest) if digest.contains(':') => {
            reference.with_digest(digest.parse().map_err(|error| invalid(&error))?)
        }
        Some(tag) => reference.with_tag(tag).map_err(|error| invalid(&error))?,
        None => reference,
    };
    let login = Credentials::from_headers(headers)?;
    let request = PullRequest {
        platform: params.get("platform").map(Platform::parse),
        credentials: login.into(),
        insecure_registries: engine.config.insecure_registries.clone(),
        ..PullRequest::new(reference.clone())
    };
    stream(move |progress| async move {
        let image = engine.images.pull(request, &progress).await?;
        engine.events.publish(
            Event::now("image", "pull", reference.familiar()).with("name", reference.familiar_name()),
        );
        tracing::debug!("pulled {} as {}", reference.familiar(), image.id());
        Ok(())
    })
    .await
}

async fn import(State(engine): State<Shared>, params: &Params, source: &str, body: Body) -> ApiResult {
    if source != "-" {
        return Err(ApiError::not_implemented(
            "import from a URL",
            "no issue that is planned; send the archive instead",
        ));
    }
    let name = match (params.get("repo"), params.get("tag")) {
        (None, _) => None,
        (Some(repository), tag) => {
            let invalid = |error: &dyn std::fmt::Display| ApiError::bad_request(error.to_string());
            let reference = Reference::parse_any_case(repository).map_err(|error| invalid(&error))?;
            Some(match tag {
                Some(tag) => reference.with_tag(tag).map_err(|error| invalid(&error))?,
                None => reference,
            })
        }
    };
    let request = ImportRequest {
        name: name.clone(),
        changes: params.all("changes").map(str::to_owned).collect(),
        message: params.get("message").unwrap_or_default().to_owned(),
        platform: params.get("platform").map(Platform::parse),
    };
    stream(move |progress| async move {
        let image = engine.images.import(Upload::new(body), request, &progress).await?;
        let mut event = Event::now("image", "import", image.id().to_string());
        if let Some(name) = name {
            event = event.with("name", name.familiar());
        }
        engine.events.publish(event);
        Ok(())
    })
    .await
}

pub async fn load(State(engine): State<Shared>, params: Params, body: Body) -> ApiResult {
    let quiet = params.flag("quiet");
    stream_filtered(
        move |line| !quiet || !matches!(line, Progress::Layer { .. }),
        move |progress| async move {
            for image in engine.images.load(Upload::new(body), &progress).await? {
                let id = image.id().to_string();
                engine.events.publish(Event::now("image", "load", id.clone()).with("name", id));
            }
            Ok(())
        },
    )
    .await
}

async fn stream<W, R>(work: W) -> ApiResult
where
    W: FnOnce(ProgressSender) -> R,
    R: Future<Output = Result<(), Error>> + Send + 'static,
{
    stream_filtered(|_| true, work).await
}

/// Runs `work`, whose progress passes on to the client as JSON lines where `shown`. What fails before anything was
/// said is an error with its status; what fails later is a line of its own, since the status has gone out by then.
async fn stream_filtered<S, W, R>(shown: S, work: W) -> ApiResult
where
    S: Fn(&Progress) -> bool + Send + Sync + 'static,
    W: FnOnce(ProgressSender) -> R,
    R: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let mut work = Box::pin(work(ProgressSender::new(sender)));
    let mut finished = false;
    let first = tokio::select! {
        biased;
        Some(first) = receiver.recv() => Some(first),
        result = &mut work => {
            result?;
            finished = true;
            None
        }
    };
    Ok(json_lines(move |lines: JsonLines| async move {
        let pass_on = async {
            let mut next = first;
            if next.is_none() {
                next = receiver.recv().await;
            }
            while let Some(progress) = next {
                if shown(&progress) && !lines.send(line(&progress)).await {
                    // The client has gone; returning drops the receiver, which cancels the work.
                    break;
                }
                next = receiver.recv().await;
            }
            drop(receiver);
        };
        let work = async { if finished { Ok(()) } else { work.await } };
        // The work drops its sender when it ends, which ends the passing on after the last line.
        let (result, ()) = tokio::join!(work, pass_on);
        if let Err(error) = result {
            lines.send(Line::failed(chain(&error)).to_line()).await;
        }
    }))
}

/// Docker's line for it.
fn line(progress: &Progress) -> String {
    let line = match progress {
        Progress::PullingFrom { tag, .. } => Line { id: Some(tag.clone()), ..Line::status(progress.text()) },
        Progress::Layer { id, status } => match status.text() {
            (text, Some((current, total))) => Line::figures(id, text, current, total),
            (text, None) => Line::of(id, text),
        },
        Progress::Digest(_) | Progress::UpToDate(_) | Progress::Downloaded(_) | Progress::Imported(_) => {
            Line::status(progress.text())
        }
        Progress::Loaded(_) | Progress::LoadedId(_) | Progress::Renamed { .. } => {
            Line::text(progress.text() + "\n")
        }
    };
    line.to_line()
}
