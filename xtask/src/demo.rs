//! The demonstration of the documents: where is the process?
//!
//! In the original a process of a Windows Server container (csrss, 1228) is in the host's process list under the PID
//! that it has inside, and one of a Hyper-V container (956) is not there at all. Here `sleep` plays csrss. Every
//! claim is checked, so a demonstration that ends well has proven what it says.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use cofferdam_tests::{Daemon, Invocation};

use crate::project::{build_release, capture, run, which};
use crate::story::Story;
use crate::throwaway::Throwaway;
use crate::{guest, packages, project};

/// `cargo xtask demo`
#[derive(clap::Args)]
pub struct Options {
    /// Take packages, guest and release build as they are
    #[arg(long)]
    no_build: bool,
}

/// Prepares everything and plays it.
pub fn demo(options: &Options) -> Result<()> {
    let story = Story::new();
    if !options.no_build {
        story.chapter("Preparing: packages, guest kernel, release build");
        packages::install()?;
        guest::guest(Vec::new())?;
        build_release()?;
    }
    let throwaway = Throwaway::start("demo", &[])?;
    play(&story, throwaway.daemon())?;
    story.chapter("The end");
    throwaway.finish()?;
    story.point(
        "the daemon has ended, and nothing of it is left on this host: no process, mount, interface, \
                 firewall table, cgroup or file",
    );
    Ok(())
}

fn play(story: &Story, daemon: &Daemon) -> Result<()> {
    let host = |program: &str, args: &[&str]| Invocation::new(program, args);
    story.chapter("One image");
    story.say("A daemon runs on directories of its own. The built-in image is the host's static busybox.");
    story.play("host$", daemon.cofferdam(&["image", "install", "NanoServer"]))?;
    story.play("host$", daemon.cofferdam(&["images"]))?;

    story.chapter("A process container: namespaces on the host's kernel");
    let args = ["run", "-d", "--name", "wincont", "--isolation=process", "nanoserver", "sleep", "1228"];
    story.play("host$", daemon.cofferdam(&args))?;
    story.say("The process as the engine shows it, with the PID that it has on the host:");
    let top = story.play("host$", daemon.cofferdam(&["top", "wincont", "-o", "pid,user,args"]))?;
    let pid = first_number(&top).context("`top` shows no PID")?;
    story.say("Inside, its PID namespace gives it another number:");
    let inside = story.play("host$", daemon.cofferdam(&["exec", "wincont", "ps", "-o", "pid,args"]))?;
    let inner = inside.lines().find(|line| line.contains("sleep 1228")).and_then(first_number);
    let inner = inner.context("the container does not see its own process")?;
    story.say("The host's own process list has it, too, under the very PID of `top`:");
    let seen = story.play("host$", host("ps", &["-p", &pid.to_string(), "-o", "pid,user,args"]))?;
    ensure!(seen.contains("sleep 1228"), "PID {pid} is not the container's process");
    let numbers = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let numbers = numbers.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
    ensure!(numbers.split_whitespace().last() == Some(&inner.to_string()), "{numbers}");
    story.point(&format!("one process, two numbers: {pid} on the host is {inner} in the container"));

    story.chapter("A hyperv container: its own kernel in its own utility VM");
    let before = processes("sleep 956")?;
    ensure!(before.is_empty(), "a sleep 956 of somebody else runs here: {before}");
    let args = ["run", "-d", "--name", "hypvcon", "--isolation=hyperv", "nanoserver", "sleep", "956"];
    story.play("host$", daemon.cofferdam(&args))?;
    story.say("Inside, the process is there:");
    let inside = story.play("host$", daemon.cofferdam(&["exec", "hypvcon", "ps", "-o", "pid,args"]))?;
    ensure!(inside.contains("sleep 956"), "the container does not see its own process");
    story.say("The host's process list does not have it. (The brackets keep grep from finding itself.)");
    let search = "ps -e -o pid,args | grep '[s]leep 956$'";
    story.play_in_vain("host$", host("sh", &["-c", search]).shown_as(search))?;
    story.point("the process is seen from inside only");

    story.say("For it runs on another kernel:");
    let host_kernel = story.play("host$", host("uname", &["-r"]))?;
    let shared = story.play("host$", daemon.cofferdam(&["exec", "wincont", "uname", "-r"]))?;
    let own = story.play("host$", daemon.cofferdam(&["exec", "hypvcon", "uname", "-r"]))?;
    ensure!(host_kernel == shared && host_kernel != own, "kernels: {host_kernel:?} {shared:?} {own:?}");
    story.point(&format!("wincont shares the host's kernel; hypvcon has {} of its own", own.trim()));

    worker(story, daemon)?;

    if which("docker").is_some() {
        story.chapter("The stock docker CLI sees the same");
        let format = "table {{.ID}}\t{{.Names}}\t{{.Image}}\t{{.Status}}";
        story.play("host$", daemon.docker(&["ps", "--format", format]))?;
        let inspect = ["inspect", "--format", "{{.Name}} {{.HostConfig.Isolation}}", "wincont", "hypvcon"];
        story.play("host$", daemon.docker(&inspect))?;
        let args = ["run", "--rm", "--isolation=hyperv", "nanoserver", "uname", "-r"];
        let again = story.play("host$", daemon.docker(&args))?;
        ensure!(again == own, "another guest kernel: {again}");
    }

    story.chapter("Clean");
    story.play("host$", daemon.cofferdam(&["rm", "-f", "wincont", "hypvcon"]))?;
    ensure!(processes("sleep 1228")?.is_empty() && processes("sleep 956")?.is_empty(), "a process is left");
    Ok(())
}

/// The one process on the host that belongs to the utility VM.
fn worker(story: &Story, daemon: &Daemon) -> Result<()> {
    story.say(
        "What the host has instead is the VM worker process, one per container, under a user of its own:",
    );
    let format = "{{.Id}} {{.Cofferdam.WorkerPid}} {{.Cofferdam.WorkerUid}} {{.Cofferdam.WorkerUser}} \
                  {{.Cofferdam.Hypervisor}} {{.Cofferdam.Accelerator}}";
    let facts = daemon.inspect("hypvcon")?["Cofferdam"].clone();
    let inspect = ["inspect", "--format", format, "hypvcon"];
    story.play("host$", daemon.cofferdam(&inspect))?;
    let pid = facts["WorkerPid"].as_u64().context("`inspect` names no VM worker")?;
    let columns = "pid,uid,user:24,comm";
    story.play("host$", Invocation::new("ps", &["-p", &pid.to_string(), "-o", columns]))?;
    let keys = "Uid|CapEff|NoNewPrivs|Seccomp:";
    let status = format!("/proc/{pid}/status");
    story.play("host$", Invocation::new("grep", &["-E", &format!("^({keys})"), &status]))?;
    let text = std::fs::read_to_string(&status)?;
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
    };
    ensure!(!value("Uid:").split_whitespace().any(|uid| uid == "0"), "the VM worker is root");
    ensure!(value("CapEff:").trim_matches('0').is_empty(), "the VM worker has capabilities");
    ensure!(value("Seccomp:") == "2", "the VM worker is not filtered");
    story.point(&format!("PID {pid} is the whole VM: not root, no capabilities, seccomp-filtered"));
    Ok(())
}

fn processes(command: &str) -> Result<String> {
    let all = capture(Command::new("ps").args(["-e", "-o", "args="]))?;
    Ok(all.lines().filter(|line| line.trim() == command).collect())
}

fn first_number(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| word.parse().ok())
}

/// The demonstration as a step of the tests, from what is built already.
pub fn as_test() -> Result<()> {
    // Not by its path: building the workspace may have put another file there.
    run(Command::new("/proc/self/exe").args(["demo", "--no-build"]).current_dir(project::root()))
}
