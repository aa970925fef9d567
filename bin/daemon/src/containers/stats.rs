//! `stats`: what a container uses, sampled while somebody looks. At the hyperv level the figures are the container's own, as
//! its guest counts them; what its VM takes of the host is beside them, under our key.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_model::{TaskUsage, Traffic, Usage};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Container;
use crate::server::JsonLines;

/// Docker's.
const INTERVAL: Duration = Duration::from_secs(1);
/// Go's zero time: there was no earlier sample.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    id: String,
    name: String,
    at: Timestamp,
    /// `None` when the container does not run.
    used: Option<Used>,
    before: Option<(Timestamp, Used)>,
}

/// What was used, and all that the host's processors have done so far.
#[derive(Clone, Debug)]
struct Used {
    task: TaskUsage,
    system_nanos: u64,
}

impl Sample {
    /// Whether the container runs.
    pub fn is_live(&self) -> bool {
        self.used.is_some()
    }

    /// As Docker's API has it.
    pub fn to_json(&self) -> Value {
        let usage = self.used.as_ref().map(|used| &used.task.container);
        let before = self.before.as_ref();
        let mut json = json!({
            "id": self.id,
            "name": format!("/{}", self.name),
            "read": self.at.to_string(),
            "preread": before.map_or_else(|| NEVER.to_owned(), |(at, _)| at.to_string()),
            "num_procs": 0,
            "storage_stats": {},
            "pids_stats": usage.map_or_else(|| json!({}), pids),
            "blkio_stats": disks(usage),
            "cpu_stats": processor(self.used.as_ref()),
            "precpu_stats": processor(before.map(|(_, used)| used)),
            "memory_stats": usage.map_or_else(|| json!({}), memory),
        });
        if let Some(usage) = usage.filter(|usage| !usage.interfaces.is_empty()) {
            json["networks"] = networks(usage);
        }
        if let Some(vm) = self.used.as_ref().and_then(|used| used.task.vm.as_ref()) {
            json["cofferdam"] =
                json!({ "vm": { "memory": vm.memory, "cpu_nanos": vm.cpu_nanos, "pids": vm.pids } });
        }
        json
    }
}

/// Samples now.
pub async fn sample(container: &Arc<Container>) -> Sample {
    let used = match container.running_shim() {
        // One that has just ended uses nothing.
        Ok(shim) => shim.usage().await.ok().map(|task| Used { task, system_nanos: system_nanos() }),
        Err(_) => None,
    };
    Sample { id: container.id.to_string(), name: container.name(), at: Timestamp::now(), used, before: None }
}

/// Samples a moment after an earlier sample, to be compared with it.
pub async fn after(container: &Arc<Container>, earlier: &Sample) -> Sample {
    tokio::time::sleep(INTERVAL).await;
    let before = earlier.used.clone().map(|used| (earlier.at, used));
    Sample { before, ..sample(container).await }
}

/// Samples until the client goes away or the container is removed.
pub async fn stream(container: Arc<Container>, lines: JsonLines) {
    let mut last = sample(&container).await;
    while lines.send(format!("{}\n", last.to_json())).await && !container.status().removed {
        last = after(&container, &last).await;
    }
}

fn pids(usage: &Usage) -> Value {
    let mut json = json!({ "current": usage.pids });
    if usage.pids_limit > 0 {
        json["limit"] = json!(usage.pids_limit);
    }
    json
}

fn memory(usage: &Usage) -> Value {
    // Clients take the inactive part of the page cache off, under the name of either version of control groups.
    json!({
        "usage": usage.memory,
        "limit": usage.memory_limit,
        "stats": { "inactive_file": usage.inactive_file, "total_inactive_file": usage.inactive_file },
    })
}

fn processor(used: Option<&Used>) -> Value {
    let none = Usage::default();
    let usage = used.map_or(&none, |used| &used.task.container);
    let mut json = json!({
        "cpu_usage": {
            "total_usage": usage.cpu_nanos,
            "usage_in_usermode": usage.cpu_user_nanos,
            "usage_in_kernelmode": usage.cpu_kernel_nanos,
        },
        "throttling_data": {
            "periods": usage.periods,
            "throttled_periods": usage.throttled_periods,
            "throttled_time": usage.throttled_nanos,
        },
    });
    if let Some(used) = used {
        json["system_cpu_usage"] = json!(used.system_nanos);
        json["online_cpus"] = json!(std::thread::available_parallelism().map_or(1, usize::from));
    }
    json
}

fn disks(usage: Option<&Usage>) -> Value {
    let bytes = usage.map(|usage| {
        let entry = |op, value| json!({ "major": 0, "minor": 0, "op": op, "value": value });
        json!([entry("read", usage.read_bytes), entry("write", usage.written_bytes)])
    });
    json!({
        "io_service_bytes_recursive": bytes,
        "io_serviced_recursive": null,
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn networks(usage: &Usage) -> Value {
    let counters = |prefix: &str, traffic: &Traffic, into: &mut Map<String, Value>| {
        for (name, value) in [
            ("bytes", traffic.bytes),
            ("packets", traffic.packets),
            ("errors", traffic.errors),
            ("dropped", traffic.dropped),
        ] {
            into.insert(format!("{prefix}_{name}"), json!(value));
        }
    };
    let mut networks = Map::new();
    for interface in &usage.interfaces {
        let mut one = Map::new();
        counters("rx", &interface.received, &mut one);
        counters("tx", &interface.sent, &mut one);
        networks.insert(interface.name.clone(), Value::Object(one));
    }
    Value::Object(networks)
}

/// The time that all processors of the host have spent, at work or not, in nanoseconds (proc(5), `/proc/stat`).
fn system_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    ticks(&text).saturating_mul(1_000_000_000 / ticks_per_second)
}

/// The first line's first eight numbers; those after them are in the first two already.
fn ticks(stat: &str) -> u64 {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    line.split_ascii_whitespace().take(8).filter_map(|word| word.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_model::InterfaceUsage;

    #[test]
    fn a_sample_is_dockers() {
        assert_eq!(ticks("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1"), 36);
        let used = |cpu_nanos, system_nanos| Used {
            task: TaskUsage {
                container: Usage {
                    memory: 100,
                    memory_limit: 1000,
                    inactive_file: 10,
                    cpu_nanos,
                    interfaces: vec![InterfaceUsage { name: "eth0".to_owned(), ..InterfaceUsage::default() }],
                    ..Usage::default()
                },
                vm: Some(Usage { memory: 7, ..Usage::default() }),
            },
            system_nanos,
        };
        let mut sample = Sample {
            id: "i".to_owned(),
            name: "n".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            used: Some(used(30, 400)),
            before: None,
        };
        let json = sample.to_json();
        assert_eq!(
            (&json["preread"], &json["precpu_stats"]["system_cpu_usage"]),
            (&json!(NEVER), &Value::Null)
        );
        sample.before = Some((Timestamp::UNIX_EPOCH, used(10, 200)));
        let json = sample.to_json();
        assert_eq!(json["cpu_stats"]["cpu_usage"]["total_usage"], 30);
        assert_eq!(json["precpu_stats"]["system_cpu_usage"], 200);
        assert_eq!(
            (&json["memory_stats"]["usage"], &json["memory_stats"]["limit"]),
            (&json!(100), &json!(1000))
        );
        assert_eq!(
            (&json["networks"]["eth0"]["rx_bytes"], &json["cofferdam"]["vm"]["memory"]),
            (&json!(0), &json!(7))
        );
        sample.used = None;
        let json = sample.to_json();
        assert_eq!((&json["memory_stats"], json.get("networks")), (&json!({}), None));
    }
}
