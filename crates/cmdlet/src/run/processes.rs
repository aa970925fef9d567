//! Processes as `Get-Process` shows them, of `/proc`: this host's, or what a container's shell has read of its own.

use std::path::Path;

use crate::{Object, Value};

/// What is shown of a process, in Linux's words.
#[derive(Clone, Debug, Default)]
struct Facts {
    pid: i64,
    handles: Option<i64>,
    status: String,
    stat: String,
}

/// The processes of this host.
#[must_use]
pub fn of_host() -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i64>().ok());
    let mut processes: Vec<_> = pids.filter_map(|pid| read(pid).and_then(|facts| object(&facts))).collect();
    sort(&mut processes);
    processes
}

/// Nothing of one that has ended in the meantime.
fn read(pid: i64) -> Option<Facts> {
    let directory = Path::new("/proc").join(pid.to_string());
    let text = |name: &str| {
        let bytes = std::fs::read(directory.join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let handles =
        std::fs::read_dir(directory.join("fd")).ok().and_then(|fds| i64::try_from(fds.count()).ok());
    Some(Facts { pid, handles, status: text("status")?, stat: text("stat")? })
}

/// By name, as PowerShell does, then by number.
fn sort(processes: &mut [Value]) {
    processes.sort_by_key(|process| {
        let id = if let Value::Int(id) = process.member("Id") { id } else { 0 };
        (process.member("ProcessName").to_string().to_lowercase(), id)
    });
}

fn object(facts: &Facts) -> Option<Value> {
    let field = |name: &str| -> Option<&str> {
        facts.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    };
    let kib = |name: &str| -> Option<i64> { field(name)?.split_whitespace().next()?.parse().ok() };
    // The name may have anything in it, so what follows is counted from its end.
    let (_, after) = facts.stat.rsplit_once(')')?;
    let numbers: Vec<&str> = after.split_whitespace().collect();
    let number = |index: usize| -> Option<i64> { numbers.get(index)?.parse().ok() };
    #[allow(clippy::cast_precision_loss, reason = "seconds with two digits behind the point")]
    let cpu = (number(11)? + number(12)?) as f64 / rustix::param::clock_ticks_per_second() as f64;
    let private = kib("RssAnon").map(|anonymous| anonymous + kib("VmSwap").unwrap_or(0));
    let process = Object::new("Process")
        .with("Handles", facts.handles)
        .with("NPM", kib("VmPTE"))
        .with("PM", private)
        .with("WS", kib("VmRSS"))
        .with("VM", kib("VmSize").map(|size| size / 1024))
        .with("CPU", cpu)
        .with("Id", facts.pid)
        .with("SI", number(3))
        .with("ProcessName", field("Name").unwrap_or_default())
        .with("ParentId", number(1))
        .with("UserId", field("Uid").and_then(|ids| ids.split_whitespace().next()?.parse::<i64>().ok()));
    Some(process.into())
}

/// What a container's shell runs so that [`of_listing`] has something to read: for each process a line with its number and
/// how many descriptors it has, its `stat`, its `status`, and a line that ends it. Only what every shell has is used.
pub const LISTING: &str = r#"for d in /proc/[0-9]*; do
  p=${d#/proc/}
  { IFS= read -r s <"$d/stat"; } 2>/dev/null || continue
  [ "$p" = "$$" ] && continue
  set -- "$d"/fd/*; [ -e "$1" ] || [ -L "$1" ] || shift $#
  echo "@process $p $#"; echo "$s"
  while IFS= read -r l; do echo "$l"; done <"$d/status" 2>/dev/null
  echo "@end"
done"#;

/// The processes of what [`LISTING`] prints. `host_id` gives the number that a process has on the host, if it has one.
#[must_use]
pub fn of_listing(text: &str, host_id: impl Fn(i64) -> Option<i64>) -> Vec<Value> {
    let mut processes = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.strip_prefix("@process ") else { continue };
        let mut numbers = head.split_whitespace().map(|number| number.parse::<i64>().ok());
        let (Some(Some(pid)), handles) = (numbers.next(), numbers.next().flatten()) else { continue };
        let stat = lines.next().unwrap_or_default().to_owned();
        let mut status = String::new();
        for line in lines.by_ref().take_while(|line| *line != "@end") {
            status += line;
            status.push('\n');
        }
        let Some(Value::Object(process)) = object(&Facts { pid, handles, status, stat }) else { continue };
        processes.push((*process).clone().with("HostId", host_id(pid)).into());
    }
    sort(&mut processes);
    processes
}

/// The number inside of a process that the host knows under `pid`, by the host's `/proc`.
#[must_use]
pub fn inner_id(pid: i64) -> Option<i64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_with_all_columns() {
        let own = i64::from(std::process::id());
        let all = of_host();
        let me = all.iter().find(|process| process.member("Id") == Value::Int(own)).unwrap();
        for column in ["Handles", "NPM", "PM", "WS", "VM", "CPU", "SI"] {
            assert_ne!(me.member(column), Value::Null, "{column}");
        }
        assert_eq!(inner_id(own), Some(own));
    }

    #[test]
    fn a_shells_listing_is_read() {
        let script = format!("sleep 30 & {LISTING}\nkill $!");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let processes = of_listing(&text, |id| Some(id + 1));
        let sleep = processes.iter().find(|process| process.member("ProcessName") == "sleep".into());
        let sleep = sleep.unwrap_or_else(|| panic!("{text}"));
        assert_ne!(sleep.member("WS"), Value::Null);
        let Value::Int(id) = sleep.member("Id") else { panic!("no number") };
        assert_eq!(sleep.member("HostId"), Value::Int(id + 1));
        assert!(of_listing("@process x\n@process 1 2\nno stat\n@end\n@process 3", |_| None).is_empty());
    }
}
