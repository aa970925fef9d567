//! Running the process that makes a template, and clearing up after it however it ends.

use std::path::Path;
use std::process::Stdio;

use cofferdam_model::{TemplateOrder, TemplateProgress, random_hex};
use cofferdam_sys::userdb::{Paths, UserDb};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::containers::kill_everything;
use crate::engine::Shared;

/// Priority of what nobody waits for: it gets what containers leave.
const NICE: i32 = 15;
/// How much of its last words is kept.
const WORDS: u64 = 16 << 10;

/// Makes the template. On failure nothing of it is left; the error is in words for the user.
pub async fn run(
    engine: &Shared,
    mut order: TemplateOrder,
    mut stopping: watch::Receiver<bool>,
    progress: impl FnMut(String),
) -> Result<(), String> {
    let name = format!("template-{}", random_hex(4));
    let work = engine.paths.template_work().join(&name);
    order.cgroup = format!("{}/{name}", engine.instance.cgroup_parent());
    order.work.clone_from(&work);
    let outcome = tokio::select! {
        outcome = make(engine, &order, progress) => outcome,
        _ = stopping.wait_for(|stop| *stop) => Err("the daemon is stopping".to_owned()),
    };
    let (cgroup, user) = (order.cgroup.clone(), (order.vm.user.clone(), order.vm.uid));
    let clearing = tokio::task::spawn_blocking(move || {
        // The process is dead when it was not waited for (`kill_on_drop`), and its VM dies with it.
        kill_everything(&work, &cgroup);
        std::fs::remove_dir_all(&work).ok();
        UserDb::detect(&Paths::default()).remove(&user.0, user.1).ok();
    });
    clearing.await.map_err(|error| error.to_string())?;
    outcome
}

async fn make(engine: &Shared, order: &TemplateOrder, progress: impl FnMut(String)) -> Result<(), String> {
    let mut child = start(&engine.pieces.shim, order).map_err(|error| format!("cannot start: {error}"))?;
    // An image template is for containers to come; a base template is for one that waits.
    if order.image.is_some()
        && let Some(pid) = child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()))
    {
        rustix::process::setpriority_process(Some(pid), NICE).ok();
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let words = async {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(WORDS).read_to_end(&mut words).await.ok();
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    };
    let steps = async {
        let Some(stdout) = stdout else { return };
        let (mut lines, mut progress) = (BufReader::new(stdout).lines(), progress);
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(step) = serde_json::from_str::<TemplateProgress>(&line) {
                progress(step.status);
            }
        }
    };
    let (words, (), status) = tokio::join!(words, steps, child.wait());
    let status = status.map_err(|error| error.to_string())?;
    match (status.success(), words.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => {
            tracing::warn!(key = order.key, "{words}");
            Ok(())
        }
        (false, true) => Err(format!("the template's maker ended with {status}")),
        (false, false) => Err(words),
    }
}

fn start(shim: &Path, order: &TemplateOrder) -> std::io::Result<Child> {
    std::fs::create_dir_all(&order.work)?;
    let file = order.work.join("order.json");
    std::fs::write(&file, serde_json::to_vec(order)?)?;
    Command::new(shim)
        .arg("--template")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}
