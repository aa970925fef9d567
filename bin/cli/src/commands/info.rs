//! `info`

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use crate::output::{self, memory_size};
use crate::session::Session;
use cofferdam_template::{Functions, Template};

/// Arguments of `info`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Format output: json, or a Go template
    #[arg(short, long)]
    format: Option<String>,
}

impl Arguments {
    /// Shows what the daemon can do and has.
    pub async fn run(&self, session: &Session) -> Outcome {
        let template = Template::of_format(self.format.as_deref())?;
        let document = session.client.info().await?;
        let mut info: Value = document.read()?;
        match template {
            Some(template) => {
                info["ClientInfo"] =
                    json!({"Version": env!("CARGO_PKG_VERSION"), "Host": session.client.host().to_string()});
                output::line(template.render(&info, Functions::Values)?)?;
            }
            None => {
                output::print(&text(&info, &session.client.host().to_string()))?;
                for warning in info["Warnings"].as_array().into_iter().flatten() {
                    eprintln!("{}", warning.as_str().unwrap_or_default());
                }
            }
        }
        Ok(0)
    }
}

fn text(info: &Value, host: &str) -> String {
    let mut out =
        format!("Client:\n Version:    {}\n Host:       {host}\n\nServer:\n", env!("CARGO_PKG_VERSION"));
    let word = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let names = |value: &Value| {
        let list = value.as_array().map(|list| list.iter().map(&word).collect::<Vec<_>>());
        list.unwrap_or_default().join(" ")
    };
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            out += &format!("{name}: {value}\n");
        }
    };
    line(" Containers", word(&info["Containers"]));
    line("  Running", word(&info["ContainersRunning"]));
    line("  Paused", word(&info["ContainersPaused"]));
    line("  Stopped", word(&info["ContainersStopped"]));
    line(" Images", word(&info["Images"]));
    line(" Server Version", word(&info["ServerVersion"]));
    let ours = &info["Cofferdam"];
    line(" Default Isolation", word(&ours["DefaultIsolation"]));
    line(" Hypervisor", word(&ours["Hypervisor"]));
    line(" Accelerator", word(&ours["Accelerator"]));
    line("  Reason", word(&ours["AcceleratorReason"]));
    line(" Guest Kernel", word(&ours["GuestKernel"]));
    line(" Hyperv Unavailable", word(&ours["HypervUnavailable"]));
    line(" Instance", word(&ours["Instance"]));
    line(" Storage Driver", word(&info["Driver"]));
    for pair in info["DriverStatus"].as_array().into_iter().flatten() {
        line(&format!("  {}", word(&pair[0])), word(&pair[1]));
    }
    line(" Logging Driver", word(&info["LoggingDriver"]));
    line(" Cgroup Driver", word(&info["CgroupDriver"]));
    line(" Cgroup Version", word(&info["CgroupVersion"]));
    line(" Network", names(&info["Plugins"]["Network"]));
    let runtimes = info["Runtimes"].as_object().map(|map| map.keys().cloned().collect::<Vec<_>>().join(" "));
    line(" Runtimes", runtimes.unwrap_or_default());
    line(" Default Runtime", word(&info["DefaultRuntime"]));
    line(" Init Binary", word(&info["InitBinary"]));
    line(" Security Options", names(&info["SecurityOptions"]));
    line(" Kernel Version", word(&info["KernelVersion"]));
    line(" Operating System", word(&info["OperatingSystem"]));
    line(" OSType", word(&info["OSType"]));
    line(" Architecture", word(&info["Architecture"]));
    line(" CPUs", word(&info["NCPU"]));
    line(
        " Total Memory",
        info["MemTotal"].as_i64().map(|bytes| memory_size(bytes as f64)).unwrap_or_default(),
    );
    line(" Name", word(&info["Name"]));
    line(" ID", word(&info["ID"]));
    line(" Data Root Dir", word(&info["DockerRootDir"]));
    line(" Debug Mode", word(&info["Debug"]));
    line(" Insecure Registries", names(&info["RegistryConfig"]["InsecureRegistryCIDRs"]));
    line(" Live Restore Enabled", word(&info["LiveRestoreEnabled"]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_shown() {
        let info = json!({
            "Containers": 2, "ServerVersion": "0.1.0", "MemTotal": 1 << 30, "LiveRestoreEnabled": true,
            "Cofferdam": {"DefaultIsolation": "process", "Accelerator": ""}, "SecurityOptions": ["name=seccomp"],
            "DriverStatus": [["Backing Filesystem", "ext4"]], "Driver": "overlayfs",
        });
        let text = text(&info, "unix:///s");
        let (_, server) = text.split_once("Server:\n").unwrap();
        let want = " Containers: 2\n Server Version: 0.1.0\n Default Isolation: process\n Storage Driver: overlayfs\n  \
                    Backing Filesystem: ext4\n Security Options: name=seccomp\n Total Memory: 1GiB\n Live Restore Enabled: true\n";
        assert_eq!(server, want);
    }
}
