//! `update`: other limits for containers that exist.

use clap::Args;
use cofferdam_client::models::ContainerUpdateBody;

use super::Outcome;
use super::body::restart_policy;
use super::each::each;
use super::limits::Limits;
use crate::session::Session;

/// Arguments of `update`.
#[derive(Debug, Args)]
#[command(override_usage = "cofferdam update [OPTIONS] CONTAINER [CONTAINER...]")]
pub struct Arguments {
    #[command(flatten)]
    limits: Limits,
    /// Restart policy to apply when a container exits (no, always, unless-stopped, on-failure[:MAX])
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Arguments {
    /// Updates.
    pub async fn run(&self, session: &Session) -> Outcome {
        let body = self.body()?;
        self.limits.warn();
        each(&self.containers, async |id| {
            let answer = session.client.update(id, &body).await?;
            for warning in answer.warnings.iter().flatten() {
                eprintln!("WARNING: {warning}");
            }
            Ok(Some(id.to_owned()))
        })
        .await
    }

    fn body(&self) -> anyhow::Result<ContainerUpdateBody> {
        if self.limits == Limits::default() && self.restart.is_none() {
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
            restart_policy: self.restart.as_deref().map(restart_policy).transpose()?,
            ..ContainerUpdateBody::default()
        })
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
