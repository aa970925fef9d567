//! `update`: other limits, or another isolation level, for containers that exist.

use clap::Args;
use cofferdam_client::models::ContainerUpdateBody;

use super::Outcome;
use super::body::restart_policy;
use super::each::each;
use super::limits::Limits;
use crate::report::Hinted;
use crate::session::Session;

/// Arguments of `update`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam update [OPTIONS] CONTAINER [CONTAINER...]")]
pub struct Arguments {
    #[command(flatten)]
    limits: Limits,
    /// Restart policy to apply when a container exits (no, always, unless-stopped, on-failure[:MAX]); with --isolation
    /// and without a policy: stop a container that runs, convert it, and start it again
    #[arg(long, value_name = "POLICY", num_args = 0..=1)]
    restart: Option<Option<String>>,
    /// Convert the containers to this isolation level (process, hyperv)
    #[arg(long, value_name = "LEVEL")]
    isolation: Option<String>,
    /// Only say what stands in the way of --isolation
    #[arg(long, requires = "isolation")]
    dry_run: bool,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// What `--restart` was meant to be.
#[derive(Debug, PartialEq)]
struct Restart<'a> {
    policy: Option<&'a str>,
    now: bool,
}

impl Arguments {
    /// Updates.
    pub async fn run(&self, session: &Session) -> Outcome {
        let (restart, containers) = self.restart();
        if containers.is_empty() {
            return Err(Hinted::error(
                "\"cofferdam update\" requires at least 1 argument",
                "name a container",
            ));
        }
        let body = self.body()?;
        self.limits.warn();
        let Some(isolation) = &self.isolation else {
            return each(&containers, async |id| {
                let answer = session.client.update(id, &body).await?;
                warn(answer.warnings);
                Ok(Some(id.to_owned()))
            })
            .await;
        };
        let mut body = serde_json::to_value(&body)?;
        body["Isolation"] = isolation.as_str().into();
        each(&containers, async |id| {
            let answer = session.client.update_level(id, &body, restart.now, self.dry_run).await?;
            warn(answer.warnings);
            if !self.dry_run {
                return Ok(Some(id.to_owned()));
            }
            let blockers = answer.blockers.unwrap_or_default();
            if blockers.is_empty() {
                return Ok(Some(format!("{id}: nothing stands in the way")));
            }
            anyhow::bail!("{id}: cannot be converted to isolation {isolation}:\n  {}", blockers.join("\n  "))
        })
        .await
    }

    /// `--restart` takes a policy; with `--isolation` what is none is the first container's name.
    fn restart(&self) -> (Restart<'_>, Vec<String>) {
        let mut containers = self.containers.clone();
        let policy = match &self.restart {
            None => return (Restart { policy: None, now: false }, containers),
            Some(None) => None,
            Some(Some(word)) if self.isolation.is_some() && restart_policy(word).is_err() => {
                containers.insert(0, word.clone());
                None
            }
            Some(Some(policy)) => Some(policy.as_str()),
        };
        (Restart { policy, now: policy.is_none() && self.isolation.is_some() }, containers)
    }

    fn body(&self) -> anyhow::Result<ContainerUpdateBody> {
        let (restart, _) = self.restart();
        if self.limits == Limits::default() && restart.policy.is_none() && self.isolation.is_none() {
            anyhow::bail!("you must provide one or more flags when using this command");
        }
        let limits = &self.limits;
        Ok(ContainerUpdateBody {
            blkio_weight: limits.blkio_weight,
            cpu_period: limits.cpu_period,
            cpu_quota: limits.cpu_quota,
            cpu_realtime_period: limits.cpu_rt_period,
            cpu_realtime_runtime: limits.cpu_rt_runtime,
            cpu_shares: limits.cpu_shares,
            cpuset_cpus: limits.cpuset_cpus.clone(),
            cpuset_mems: limits.cpuset_mems.clone(),
            memory: limits.memory,
            memory_reservation: limits.memory_reservation,
            memory_swap: limits.memory_swap,
            nano_cpus: limits.cpus,
            pids_limit: limits.pids_limit,
            restart_policy: restart.policy.map(restart_policy).transpose()?,
            ..ContainerUpdateBody::default()
        })
    }
}

fn warn(warnings: Option<Vec<String>>) {
    for warning in warnings.into_iter().flatten() {
        eprintln!("WARNING: {warning}");
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Command, ContainerVerb};

    fn parse(line: &str) -> anyhow::Result<serde_json::Value> {
        let words = line.split(' ').map(std::ffi::OsString::from);
        let Command::Container(ContainerVerb::Update(update)) = crate::usage::parse(words).unwrap().command
        else {
            panic!()
        };
        Ok(serde_json::to_value(update.body()?).unwrap())
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let body =
            parse("cofferdam update -m 64m --cpus .5 --pids-limit -1 --cpuset-cpus 0 --restart always a b")
                .unwrap();
        let want = serde_json::json!({
            "Memory": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": -1, "CpusetCpus": "0",
            "RestartPolicy": { "Name": "always", "MaximumRetryCount": 0 },
        });
        assert_eq!(body, want);
        let nothing = parse("cofferdam update a").unwrap_err().to_string();
        assert_eq!(nothing, "you must provide one or more flags when using this command");
    }
}
