//! `/containers`.

use std::future::Future;

use cofferdam_api::Filters;
use cofferdam_api::models::{
    ContainerCreateBody, ContainerCreateResponse, ContainerInspectResponse, ContainerPruneResponse,
    ContainerSummary, ContainerTopResponse, ContainerUpdateBody, ContainerUpdateResponse,
    ContainerWaitResponse,
};

use crate::client::is_framed;
use crate::query::{Query, segment};
use crate::{Attached, AttachedOutput, Client, ClientError, Document};

/// Which containers to list.
#[derive(Clone, Debug, Default)]
pub struct ListContainers {
    /// Not only running ones.
    pub all: bool,
    /// Only so many, the newest; implies `all`.
    pub limit: Option<i64>,
    /// With sizes, which cost time.
    pub size: bool,
    /// Docker's filters.
    pub filters: Filters,
}

/// What of a container's stdio to attach to.
#[derive(Clone, Debug, Default)]
pub struct Attach {
    /// Give input.
    pub stdin: bool,
    /// Get output.
    pub stdout: bool,
    /// Get errors.
    pub stderr: bool,
    /// Also what was logged before.
    pub logs: bool,
    /// The keys that detach; the daemon's default when absent.
    pub detach_keys: Option<String>,
}

/// Which part of the logs.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on with what comes.
    pub follow: bool,
    /// With times.
    pub timestamps: bool,
    /// With extra attributes.
    pub details: bool,
    /// From this Unix time (`seconds` or `seconds.nanoseconds`).
    pub since: Option<String>,
    /// To this Unix time.
    pub until: Option<String>,
    /// Only so many lines from the end; `all` or a number.
    pub tail: Option<String>,
}

/// How to remove a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removal {
    /// Kill it first.
    pub force: bool,
    /// With its anonymous volumes.
    pub volumes: bool,
    /// Remove a link instead of the container.
    pub link: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitUntil {
    /// It does not run; answers at once when it already does not.
    NotRunning,
    /// Its next exit, from now.
    NextExit,
    /// It is gone.
    Removed,
}

/// A wait that the daemon has begun: what happens after it exists is not missed.
pub struct Wait<F>(F);

impl<F: Future<Output = Result<ContainerWaitResponse, ClientError>>> Wait<F> {
    /// Waits for the exit.
    pub async fn exit(self) -> Result<ContainerWaitResponse, ClientError> {
        self.0.await
    }
}

/// What came of an update with another isolation level.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LevelUpdate {
    /// What was not done as asked.
    pub warnings: Option<Vec<String>>,
    /// What stands in the way.
    pub blockers: Option<Vec<String>>,
}

impl Client {
    /// Lists containers.
    pub async fn list_containers(&self, what: &ListContainers) -> Result<Vec<ContainerSummary>, ClientError> {
        let query = Query::new()
            .flag("all", what.all)
            .number("limit", what.limit)
            .flag("size", what.size)
            .filters(&what.filters);
        self.get("/containers/json").query(&query).answer().await
    }

    /// Creates a container.
    pub async fn create_container(
        &self,
        name: Option<&str>,
        platform: Option<&str>,
        body: &ContainerCreateBody,
    ) -> Result<ContainerCreateResponse, ClientError> {
        let query = Query::new().option("name", name).option("platform", platform);
        self.post("/containers/create").query(&query).json(body).answer().await
    }

    /// What a container uses now, as Docker's API has it.
    pub async fn stats_now(&self, id: &str) -> Result<serde_json::Value, ClientError> {
        let query = Query::new().text("stream", "false").text("one-shot", "true");
        self.container_get(id, "stats").query(&query).answer().await
    }

    /// Everything about a container.
    pub async fn inspect_container(
        &self,
        id: &str,
        size: bool,
    ) -> Result<Document<ContainerInspectResponse>, ClientError> {
        self.container_get(id, "json").query(&Query::new().flag("size", size)).document().await
    }

    /// [`Client::start`] of our own daemon, with what it did and when: microseconds of its host's monotonic clock. The
    /// first is the request.
    pub async fn start_traced(&self, id: &str) -> Result<Vec<(String, u64)>, ClientError> {
        self.container(id, "start").query(&Query::new().flag("trace", true)).answer().await
    }

    /// Starts a container.
    pub async fn start(&self, id: &str, detach_keys: Option<&str>) -> Result<(), ClientError> {
        self.container(id, "start").query(&Query::new().option("detachKeys", detach_keys)).nothing().await
    }

    /// Stops a container: its stop signal, and after `seconds` (-1: never) SIGKILL.
    pub async fn stop(
        &self,
        id: &str,
        signal: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        self.container(id, "stop")
            .query(&Query::new().option("signal", signal).number("t", seconds))
            .nothing()
            .await
    }

    /// Stops a container as [`Client::stop`] and starts it again.
    pub async fn restart(
        &self,
        id: &str,
        signal: Option<&str>,
        seconds: Option<i64>,
    ) -> Result<(), ClientError> {
        let query = Query::new().option("signal", signal).number("t", seconds);
        self.container(id, "restart").query(&query).nothing().await
    }

    /// Sends a signal (by name or number).
    pub async fn kill(&self, id: &str, signal: &str) -> Result<(), ClientError> {
        self.container(id, "kill").query(&Query::new().text("signal", signal)).nothing().await
    }

    /// Freezes a container.
    pub async fn pause(&self, id: &str) -> Result<(), ClientError> {
        self.container(id, "pause").nothing().await
    }

    /// Thaws a container.
    pub async fn unpause(&self, id: &str) -> Result<(), ClientError> {
        self.container(id, "unpause").nothing().await
    }

    /// Gives a container other limits or another restart policy.
    pub async fn update(
        &self,
        id: &str,
        body: &ContainerUpdateBody,
    ) -> Result<ContainerUpdateResponse, ClientError> {
        self.container(id, "update").json(body).answer().await
    }

    /// Changes a container's limits, its restart policy and its isolation level (`Isolation` in the body), which `restart`
    /// allows for one that runs, too; with `dry_run` nothing is done. What stands in the way of the level, if that was
    /// asked, and warnings.
    pub async fn update_level(
        &self,
        id: &str,
        body: &serde_json::Value,
        restart: bool,
        dry_run: bool,
    ) -> Result<LevelUpdate, ClientError> {
        let query = Query::new().flag("restart", restart).flag("dryrun", dry_run);
        self.container(id, "update").query(&query).json(body).answer().await
    }

    /// Gives a container that does not run another isolation level: `process` or `hyperv`.
    pub async fn convert(&self, id: &str, isolation: &str) -> Result<(), ClientError> {
        self.container(id, "update").json(&serde_json::json!({ "Isolation": isolation })).nothing().await
    }

    /// Gives a container another name.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), ClientError> {
        self.container(id, "rename").query(&Query::new().text("name", name)).nothing().await
    }

    /// Removes a container.
    pub async fn remove_container(&self, id: &str, how: Removal) -> Result<(), ClientError> {
        let query = Query::new().flag("force", how.force).flag("v", how.volumes).flag("link", how.link);
        self.delete(&format!("/containers/{}", segment(id))).query(&query).nothing().await
    }

    /// Begins to wait. When this returns the daemon watches already.
    pub async fn wait(
        &self,
        id: &str,
        until: WaitUntil,
    ) -> Result<
        Wait<impl Future<Output = Result<ContainerWaitResponse, ClientError>> + Send + 'static>,
        ClientError,
    > {
        let condition = match until {
            WaitUntil::NotRunning => "not-running",
            WaitUntil::NextExit => "next-exit",
            WaitUntil::Removed => "removed",
        };
        let mut answer = self
            .container(id, "wait")
            .query(&Query::new().text("condition", condition))
            .lines::<ContainerWaitResponse>()
            .await?;
        Ok(Wait(async move {
            let answer = answer.next().await?;
            answer.ok_or_else(|| ClientError::Stream(std::io::ErrorKind::UnexpectedEof.into()))
        }))
    }

    /// A container's processes, in `ps`' words.
    pub async fn top(&self, id: &str, ps_arguments: &str) -> Result<ContainerTopResponse, ClientError> {
        self.container_get(id, "top").query(&Query::new().text("ps_args", ps_arguments)).answer().await
    }

    /// A container's logs. Frames are as the container's TTY setting says; pass it in `tty`.
    pub async fn logs(&self, id: &str, which: &Logs, tty: bool) -> Result<AttachedOutput, ClientError> {
        let query = Query::new()
            .flag("stdout", which.stdout)
            .flag("stderr", which.stderr)
            .flag("follow", which.follow)
            .flag("timestamps", which.timestamps)
            .flag("details", which.details)
            .option("since", which.since.as_deref())
            .option("until", which.until.as_deref())
            .option("tail", which.tail.as_deref());
        let answer = self.container_get(id, "logs").query(&query).send().await?;
        let framed = is_framed(&answer) || !tty;
        Ok(AttachedOutput::of_body(answer.into_body(), framed))
    }

    /// Attaches to a container's stdio.
    pub async fn attach(&self, id: &str, what: &Attach) -> Result<Attached, ClientError> {
        let query = Query::new()
            .flag("stream", true)
            .flag("stdin", what.stdin)
            .flag("stdout", what.stdout)
            .flag("stderr", what.stderr)
            .flag("logs", what.logs)
            .option("detachKeys", what.detach_keys.as_deref());
        self.container(id, "attach").query(&query).hijack().await
    }

    /// Tells a container's TTY its size.
    pub async fn resize(&self, id: &str, height: u16, width: u16) -> Result<(), ClientError> {
        let query = Query::new().number("h", Some(height.into())).number("w", Some(width.into()));
        self.container(id, "resize").query(&query).nothing().await
    }

    /// Removes all containers that do not run.
    pub async fn prune_containers(&self, filters: &Filters) -> Result<ContainerPruneResponse, ClientError> {
        self.post("/containers/prune").query(&Query::new().filters(filters)).answer().await
    }

    fn container(&self, id: &str, verb: &str) -> crate::client::Call<'_> {
        self.post(&format!("/containers/{}/{verb}", segment(id)))
    }

    fn container_get(&self, id: &str, what: &str) -> crate::client::Call<'_> {
        self.get(&format!("/containers/{}/{what}", segment(id)))
    }
}
