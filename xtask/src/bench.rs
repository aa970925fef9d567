//! What the engine costs: wall and CPU time of whole commands, memory of its processes.
//!
//! Each row is a whole command from the start of the client to its end, as a user's script sees it. Wall and CPU are
//! medians. CPU counts everything that the command causes (see [`crate::cpu`]), which may go on after it has ended:
//! what a teardown does later is counted with the next command.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cofferdam_tests::{Daemon, Invocation};
use serde::Serialize;

use crate::cpu::CpuMeter;
use crate::memory::pss;
use crate::project::{build_release, target, which};
use crate::throwaway::Throwaway;
use crate::{guest, packages};

/// `cargo xtask bench`
#[derive(clap::Args)]
pub struct Options {
    /// How often each command is measured
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// How often at the hyperv level, where a start takes seconds under emulation
    #[arg(long)]
    hyperv_runs: Option<usize>,
    /// Only this level: process or hyperv
    #[arg(long)]
    level: Option<String>,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Take packages, guest and release build as they are
    #[arg(long)]
    no_build: bool,
}

#[derive(Serialize)]
struct Report {
    times: Vec<Row>,
    memory: Vec<Memory>,
}

#[derive(Serialize)]
struct Row {
    command: &'static str,
    level: &'static str,
    network: &'static str,
    client: &'static str,
    runs: usize,
    wall_ms: f64,
    wall_ms_min: f64,
    wall_ms_max: f64,
    cpu_ms: f64,
}

#[derive(Serialize)]
struct Memory {
    process: String,
    pss_kib: u64,
}

/// Measures, prints and writes.
pub fn bench(options: &Options) -> Result<()> {
    if !options.no_build {
        packages::install()?;
        guest::guest(Vec::new())?;
        build_release()?;
    }
    let instance = Throwaway::instance("bench");
    // Joined before the daemon starts, so that it and its shims are counted.
    let meter = CpuMeter::start(&instance)?;
    let throwaway = Throwaway::start("bench", &[])?;
    let daemon = throwaway.daemon();
    daemon.install_nanoserver()?;
    let mut report = Report { times: Vec::new(), memory: Vec::new() };
    report.memory.push(Memory { process: "daemon, idle".to_owned(), pss_kib: pss(daemon.pid()?)? });
    for level in ["process", "hyperv"] {
        if options.level.as_deref().is_some_and(|wanted| wanted != level) {
            continue;
        }
        let runs = if level == "hyperv" { options.hyperv_runs.unwrap_or(options.runs) } else { options.runs };
        let mut bench = Bench { daemon, meter: &meter, level, runs, report: &mut report };
        bench.times()?;
        bench.memory()?;
    }
    report.memory.push(Memory { process: "daemon, after all this".to_owned(), pss_kib: pss(daemon.pid()?)? });
    throwaway.finish()?;
    drop(meter);

    print(&report);
    let file = options.json.clone().unwrap_or_else(|| target().join("bench.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&report)?)
        .with_context(|| file.display().to_string())?;
    println!("\n{}", file.display());
    Ok(())
}

struct Bench<'a> {
    daemon: &'a Daemon,
    meter: &'a CpuMeter,
    level: &'static str,
    runs: usize,
    report: &'a mut Report,
}

impl Bench<'_> {
    fn client(&self, client: &str, args: &[&str]) -> Invocation {
        if client == "docker" { self.daemon.docker(args) } else { self.daemon.cofferdam(args) }
    }

    fn times(&mut self) -> Result<()> {
        let isolation = format!("--isolation={}", self.level);
        let clients =
            ["cofferdam", "docker"].into_iter().filter(|name| *name != "docker" || which(name).is_some());
        for client in clients {
            for network in ["bridge", "none"] {
                let flags = [isolation.as_str(), "--network", network];
                eprintln!("{client} at the {} level, network {network} …", self.level);
                let remove = [&["run", "--rm"], &flags[..], &["nanoserver", "true"]].concat();
                let numbers =
                    self.measure(client, |_| remove.iter().map(|&word| word.to_owned()).collect())?;
                self.add("run --rm", network, client, &numbers);

                // The same containers are started and removed. At the hyperv level each is a running VM, so they
                // are taken one by one.
                let (mut starts, mut removals) = (Numbers::default(), Numbers::default());
                for run in 0..=self.runs {
                    let name = format!("bench-{run}");
                    let start =
                        [&["run", "-d", "--name", &name], &flags[..], &["nanoserver", "sleep", "1000"]]
                            .concat();
                    let started = self.once(client, &start)?;
                    let removed = self.once(client, &["rm", "-f", &name])?;
                    if run > 0 {
                        starts.push(started);
                        removals.push(removed);
                    }
                }
                self.add("run -d", network, client, &starts);
                self.add("rm -f", network, client, &removals);
            }
            let name = "bench-exec";
            let start = ["run", "-d", "--name", name, isolation.as_str(), "nanoserver", "sleep", "1000"];
            self.daemon.cofferdam(&start).ok()?;
            let numbers = self.measure(client, |_| ["exec", name, "true"].map(str::to_owned).to_vec())?;
            self.add("exec", "bridge", client, &numbers);
            self.daemon.cofferdam(&["rm", "-f", name]).ok()?;
        }
        Ok(())
    }

    /// Runs a command once unmeasured, then as often as asked for.
    fn measure(&self, client: &str, args: impl Fn(usize) -> Vec<String>) -> Result<Numbers> {
        let mut numbers = Numbers::default();
        for run in 0..=self.runs {
            let args = args(run);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let number = self.once(client, &args)?;
            if run > 0 {
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    fn once(&self, client: &str, args: &[&str]) -> Result<(Duration, u64)> {
        let mut command = self.client(client, args).into_command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (cpu, wall) = (self.meter.nanoseconds(), Instant::now());
        let status = command.status().with_context(|| format!("cannot start {client}"))?;
        let wall = wall.elapsed();
        let cpu = self.meter.nanoseconds() - cpu;
        ensure!(status.success(), "{client} {} ended with {status}", args.join(" "));
        Ok((wall, cpu))
    }

    fn add(&mut self, command: &'static str, network: &'static str, client: &str, numbers: &Numbers) {
        let client = if client == "docker" { "docker" } else { "cofferdam" };
        let wall = sorted(&numbers.wall);
        self.report.times.push(Row {
            command,
            level: self.level,
            network,
            client,
            runs: wall.len(),
            wall_ms: median(&wall),
            wall_ms_min: wall.first().copied().unwrap_or_default(),
            wall_ms_max: wall.last().copied().unwrap_or_default(),
            cpu_ms: median(&sorted(&numbers.cpu)),
        });
    }

    /// What one running container keeps in memory.
    fn memory(&mut self) -> Result<()> {
        let isolation = format!("--isolation={}", self.level);
        let id = self.daemon.cofferdam(&["run", "-d", &isolation, "nanoserver", "sleep", "1000"]).ok()?;
        let file = self.daemon.exec_root().join("containers").join(&id).join("shim.pid");
        let shim: u32 = std::fs::read_to_string(&file)?.trim().parse().context("shim.pid")?;
        let process = format!("shim, {} level", self.level);
        self.report.memory.push(Memory { process, pss_kib: pss(shim)? });
        if let Some(worker) = self.daemon.inspect(&id)?["Cofferdam"]["WorkerPid"].as_u64() {
            let process = "VM worker (QEMU with its guest)".to_owned();
            self.report.memory.push(Memory { process, pss_kib: pss(u32::try_from(worker)?)? });
        }
        // Everything of this container but its own program: helpers beside the shim are counted, too.
        let (mut count, mut total) = (0, 0);
        for pid in descendants(shim) {
            if let Ok(memory) = pss(pid) {
                (count, total) = (count + 1, total + memory);
            }
        }
        let process = format!("all {count} processes of a container, {} level", self.level);
        self.report.memory.push(Memory { process, pss_kib: total });
        self.daemon.cofferdam(&["rm", "-f", &id]).ok()?;
        if self.level == "process" {
            self.many_shims(&isolation)?;
        }
        Ok(())
    }

    /// A shim among others, with which it shares the pages of its program.
    fn many_shims(&mut self, isolation: &str) -> Result<()> {
        const MANY: u64 = 20;
        let mut total = 0;
        let mut ids = Vec::new();
        for _ in 0..MANY {
            ids.push(self.daemon.cofferdam(&["run", "-d", isolation, "nanoserver", "sleep", "1000"]).ok()?);
        }
        for id in &ids {
            let file = self.daemon.exec_root().join("containers").join(id).join("shim.pid");
            total += pss(std::fs::read_to_string(&file)?.trim().parse().context("shim.pid")?)?;
        }
        let process = format!("shim, {} level, one of {MANY}", self.level);
        self.report.memory.push(Memory { process, pss_kib: total / MANY });
        for id in &ids {
            self.daemon.cofferdam(&["rm", "-f", id]).ok()?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Numbers {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Numbers {
    fn push(&mut self, (wall, cpu): (Duration, u64)) {
        self.wall.push(wall.as_secs_f64() * 1e3);
        self.cpu.push(Duration::from_nanos(cpu).as_secs_f64() * 1e3);
    }
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut numbers = numbers.to_vec();
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// A process and all below it.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

fn print(report: &Report) {
    println!(
        "{:<10} {:<8} {:<8} {:<10} {:>5} {:>10} {:>17} {:>10}",
        "COMMAND", "LEVEL", "NETWORK", "CLIENT", "RUNS", "WALL MS", "(MIN-MAX)", "CPU MS"
    );
    for row in &report.times {
        let range = format!("({:.0}-{:.0})", row.wall_ms_min, row.wall_ms_max);
        println!(
            "{:<10} {:<8} {:<8} {:<10} {:>5} {:>10.1} {:>17} {:>10.1}",
            row.command, row.level, row.network, row.client, row.runs, row.wall_ms, range, row.cpu_ms
        );
    }
    println!("\n{:<50} {:>10}", "MEMORY", "PSS MIB");
    for row in &report.memory {
        println!(
            "{:<50} {:>10}",
            row.process,
            format!("{}.{}", row.pss_kib / 1024, row.pss_kib % 1024 * 10 / 1024)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn a_median_is_the_middle() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }
}
