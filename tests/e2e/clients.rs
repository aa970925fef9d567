//! The stock CLI, old and new, beside our own: the same answers.

use anyhow::Result;
use cofferdam_tests::{Case, Skip, Test, check, check_eq};

pub const CASES: &[Test] = &[
    Test::engine("clients::version_and_info", version_and_info),
    Test::engine("clients::same_output", same_output),
    Test::both("clients::docker_20_10", docker_20_10),
    Test::engine("clients::cofferdam_finds_its_daemon", cofferdam_finds_its_daemon),
    Test::engine("clients::doctor", doctor),
    Test::engine("clients::completion", completion),
];

fn version_and_info(case: &Case) -> Result<()> {
    let seen = case.docker(&["version"])?.ok()?;
    check!(seen.contains("Server:") && seen.contains("Cofferdam"), "{seen}");
    check!(seen.contains("1.24") || seen.contains("minimum version"), "{seen}");
    let seen = case.docker(&["info"])?.ok()?;
    for wanted in
        ["Storage Driver: overlay", "Default Isolation: process", "Cgroup Version:", "seccomp", "Images: "]
    {
        let (key, _) = wanted.split_once(':').unwrap_or((wanted, ""));
        // The stock CLI shows the isolation only of a daemon whose OSType is windows.
        check!(key.contains("Isolation") || seen.contains(wanted), "{wanted:?} is missing in:\n{seen}");
    }
    let info = case.daemon()?.get("/info")?.json()?;
    check_eq!(info["Isolation"], "process");
    check!(info["Cofferdam"].is_object(), "no `Cofferdam` in /info");
    let ours = case.cofferdam(&["info"])?.ok()?;
    check!(ours.contains("process"), "{ours}");
    check!(case.cofferdam(&["version"])?.ok()?.contains("Cofferdam"), "no name in `cofferdam version`");
    Ok(())
}

/// What scripts read is equal, byte for byte.
fn same_output(case: &Case) -> Result<()> {
    let name = case.name("a");
    case.docker(&["create", "--name", &name, "-l", "same=1", "nanoserver", "sleep", "7"])?.ok()?;
    let long = format!("name={name}");
    let commands: &[&[&str]] = &[
        &["ps", "-aq", "--no-trunc", "--filter", &long],
        &[
            "ps",
            "-a",
            "--filter",
            &long,
            "--format",
            "{{.ID}} {{.Names}} {{.Image}} {{.Command}} {{.Status}} {{.Ports}}|{{.Labels}}",
        ],
        &["ps", "-a", "--filter", &long, "--format", "table {{.Names}}\t{{.State}}"],
        &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Size}}", "nanoserver"],
        &["images", "-q", "--no-trunc", "nanoserver"],
        &[
            "inspect",
            "--format",
            "{{.Name}} {{.Config.Image}} {{json .Config.Cmd}} {{.HostConfig.RestartPolicy.Name}}",
            &name,
        ],
        &["inspect", "--format", "{{range .Config.Env}}{{println .}}{{end}}", &name],
        &["image", "inspect", "--format", "{{.Os}}/{{.Architecture}} {{len .RootFS.Layers}}", "nanoserver"],
        &["version", "--format", "{{.Server.APIVersion}}"],
    ];
    for command in commands {
        let stock = case.docker(command)?.ok()?;
        let ours = case.cofferdam(command)?.ok()?;
        check_eq!(ours, stock, "{}", command.join(" "));
        check!(!stock.is_empty(), "{} printed nothing", command.join(" "));
    }
    Ok(())
}

/// The CLI of Debian 12, five years older than the other.
fn docker_20_10(case: &Case) -> Result<()> {
    let old = case.host.old_docker()?.to_owned();
    let daemon = case.daemon()?;
    let docker = |args: &[&str]| daemon.docker_at(&old, args);
    let version = docker(&["version", "--format", "{{.Client.Version}} {{.Server.APIVersion}}"]).ok()?;
    if !version.starts_with("20.") {
        return Err(Skip::because(format!("not a 20.10 client: {version}")));
    }
    docker(&["info"]).ok()?;
    check!(docker(&["images"]).ok()?.contains("nanoserver"), "no nanoserver among the images");
    let (name, isolation) = (case.name("a"), case.isolation());
    let script = "echo up; echo err >&2; read line; echo \"got $line\"; exit 5";
    let args = [
        "run",
        "-i",
        "--name",
        &name,
        &isolation,
        "-m",
        "96m",
        "--cpus",
        "1",
        "--init",
        "nanoserver",
        "sh",
        "-c",
        script,
    ];
    let seen = docker(&args).stdin("word\n").output()?;
    check_eq!((seen.code, seen.stdout.as_str(), seen.stderr.as_str()), (5, "up\ngot word\n", "err\n"));
    check!(docker(&["ps", "-a"]).ok()?.contains(&name), "not in ps -a");
    check_eq!(docker(&["logs", "--tail", "1", &name]).output()?.code, 0);
    docker(&["restart", &name]).ok()?;
    docker(&["rm", "-f", &name]).ok()?;
    Ok(())
}

/// `DOCKER_HOST` is taken when it points at us; with nothing set the default socket is tried, and named when absent.
fn cofferdam_finds_its_daemon(case: &Case) -> Result<()> {
    let socket = format!("unix://{}", case.daemon()?.socket().display());
    let version = || cofferdam_tests::Invocation::new(case.host.binary("cofferdam"), &["version"]);
    check!(version().env("DOCKER_HOST", &socket).ok()?.contains("Server"), "no server through DOCKER_HOST");
    let nowhere = "unix:///nowhere/at/all.sock";
    let error = version().env("COFFERDAM_HOST", nowhere).output()?;
    let all = format!("{}{}", error.stdout, error.stderr);
    check!(error.code != 0 && all.contains(nowhere) && all.contains("Is cofferdamd running?"), "{error:?}");
    Ok(())
}

fn doctor(case: &Case) -> Result<()> {
    let seen = case.cofferdam(&["doctor"])?.output()?;
    for wanted in ["KVM", "cgroup", "overlay", "nft", "QEMU", "kernel"] {
        check!(
            seen.stdout.to_lowercase().contains(&wanted.to_lowercase()),
            "{wanted:?} is missing in:\n{}",
            seen.stdout
        );
    }
    let json = case.cofferdam(&["doctor", "--format", "json"])?.output()?;
    serde_json::from_str::<serde_json::Value>(json.stdout.lines().next().unwrap_or_default())
        .or_else(|_| serde_json::from_str(&json.stdout))?;
    Ok(())
}

fn completion(case: &Case) -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let script = case.cofferdam(&["completion", shell])?.ok()?;
        check!(
            script.contains("cofferdam") && script.contains("isolation"),
            "the {shell} script knows no --isolation"
        );
    }
    let bash = case.cofferdam(&["completion", "bash"])?.ok()?;
    cofferdam_tests::Invocation::new("bash", &["-n"]).stdin(bash).ok()?;
    Ok(())
}
