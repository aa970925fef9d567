//! The isolation policy: images of strangers never run as processes on the host's kernel, whatever they are called.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cofferdam_tests::archive::Layer;
use cofferdam_tests::{Case, Daemon, Level, Registry, Test, check, check_eq, request_as};
use serde_json::{Value, json};

use crate::image::sample;

pub const CASES: &[Test] = &[
    Test::engine("policy::strangers_never_run_as_processes", strangers_never_run_as_processes),
    Test::engine("policy::a_stricter_policy_holds_at_the_next_start", a_stricter_policy_holds),
    Test::engine("policy::mistakes_are_named", mistakes_are_named),
];

fn write(file: &Path, policy: &Value) -> Result<()> {
    Ok(fs::write(file, json!({ "isolation-policy": policy }).to_string())?)
}

/// A daemon with this policy, and the file that it is in.
fn daemon(case: &Case, policy: &Value) -> Result<(Daemon, std::path::PathBuf)> {
    let dir = case.directory()?;
    fs::create_dir_all(&dir)?;
    let file = dir.join("daemon.json");
    write(&file, policy)?;
    Ok((Daemon::start(case.host, "policy", &["--config-file", &file.to_string_lossy()])?, file))
}

fn level_of(daemon: &Daemon, container: &str) -> Result<Value> {
    Ok(daemon.inspect(container)?["HostConfig"]["Isolation"].clone())
}

/// Refused by this rule, at `create`.
fn refused(daemon: &Daemon, image: &str, rule: &str) -> Result<()> {
    let error = daemon.docker(&["run", "--rm", "--isolation=process", image, "cat", "/text"]).fails(125)?;
    check!(error.contains("isolation policy") && error.contains(rule), "{image}: {error}");
    Ok(())
}

fn strangers_never_run_as_processes(case: &Case) -> Result<()> {
    case.host.offers(Level::Hyperv)?;
    let dir = case.directory()?;
    let (good_dir, evil_dir) = (dir.join("good"), dir.join("evil"));
    fs::create_dir_all(&good_dir)?;
    fs::create_dir_all(&evil_dir)?;
    let (good, evil) = (Registry::start(&good_dir)?, Registry::start(&evil_dir)?);
    good.push(&sample("good")?, "team/app", "1")?;
    evil.push(&sample("evil")?, "team/app", "1")?;
    let (daemon, _) = daemon(
        case,
        &json!([
            { "name": "strangers", "decision": "require hyperv" },
            { "decision": "allow process", "registry": &good.address },
            { "decision": "default hyperv", "front": "cmdlet", "registry": &good.address },
        ]),
    )?;
    let (trusted, stranger) =
        (format!("{}/team/app:1", good.address), format!("{}/team/app:1", evil.address));
    for name in [&trusted, &stranger] {
        daemon.docker(&["pull", "-q", name]).ok()?;
    }
    let run = daemon.docker(&["run", "--rm", "--isolation=process", &trusted, "cat", "/text"]).ok()?;
    check_eq!(run, "good");
    refused(&daemon, &stranger, "\"strangers\"")?;

    // Without a wish it gets the level that it may have.
    daemon.docker(&["create", "--name", "aa", &trusted]).ok()?;
    daemon.docker(&["create", "--name", "bb", &stranger]).ok()?;
    check_eq!((level_of(&daemon, "aa")?, level_of(&daemon, "bb")?), (json!("process"), json!("hyperv")));
    let body = json!({ "Image": &trusted }).to_string();
    let cmdlet = [("X-Cofferdam-Front", "cmdlet")];
    let made =
        request_as(&daemon.socket(), "POST", "/containers/create?name=cc", &cmdlet, Some(body.as_bytes()))?;
    check_eq!(made.status, 201, "{}", made.text());
    check_eq!(level_of(&daemon, "cc")?, "hyperv");

    // Another name, an archive under a good name, and files without history gain no trust.
    let disguise = format!("{}/team/disguise:1", good.address);
    daemon.docker(&["tag", &stranger, &disguise]).ok()?;
    refused(&daemon, &disguise, &stranger)?;
    let loaded = format!("{}/team/loaded:1", good.address);
    daemon.docker(&["load"]).stdin(sample("loaded")?.docker_archive(&loaded)?).ok()?;
    refused(&daemon, &loaded, "@load")?;
    let files = Layer::default().file("text", "imported").bytes();
    let imported = format!("{}/team/imported:1", good.address);
    daemon.docker(&["import", "-", &imported]).stdin(files).ok()?;
    refused(&daemon, &imported, "@import")?;

    // Nor does what goes out and comes in again.
    let saved = daemon.docker(&["save", &disguise]).output()?;
    check_eq!(saved.code, 0, "save");
    for container in ["aa", "bb", "cc"] {
        daemon.docker(&["rm", container]).ok()?;
    }
    daemon.docker(&["rmi", &disguise, &stranger]).ok()?;
    daemon.docker(&["load"]).stdin(saved.bytes).ok()?;
    refused(&daemon, &disguise, "@load")?;
    daemon.docker(&["rmi", &disguise]).ok()?;
    daemon.docker(&["pull", "-q", &stranger]).ok()?;
    daemon.docker(&["tag", &stranger, &disguise]).ok()?;

    // The same image from both registries is worth what the worse one is, also for a daemon that was killed.
    evil.push(&sample("good")?, "team/same", "1")?;
    daemon.docker(&["pull", "-q", &format!("{}/team/same:1", evil.address)]).ok()?;
    daemon.kill()?;
    daemon.launch(&[])?;
    refused(&daemon, &trusted, "team/same:1")?;
    refused(&daemon, &disguise, &stranger)?;
    // From the good one alone it is good again.
    let id = daemon.docker(&["image", "inspect", "-f", "{{.Id}}", &trusted]).ok()?;
    daemon.docker(&["rmi", "-f", &id]).ok()?;
    daemon.docker(&["pull", "-q", &trusted]).ok()?;
    check_eq!(daemon.docker(&["run", "--rm", &trusted, "cat", "/text"]).ok()?, "good");

    let told = daemon.cofferdam(&["policy", "test", &disguise]).ok()?;
    for words in ["require hyperv", "\"strangers\"", "process:   refused", &stranger] {
        check!(told.contains(words), "{words}: {told}");
    }
    let answer = daemon.get(&format!("/cofferdam/policy?image={}/not/here", evil.address))?.json()?;
    check_eq!((&answer["Image"]["Id"], &answer["Image"]["Isolation"]), (&json!(""), &json!("hyperv")));
    check_eq!(daemon.cofferdam(&["policy", "ls"]).ok()?.lines().count(), 3);
    daemon.remove_everything()
}

/// A container that was made under an older policy is not started under a newer one that refuses it; nor is it by its
/// restart policy.
fn a_stricter_policy_holds(case: &Case) -> Result<()> {
    let (daemon, file) = daemon(case, &json!([]))?;
    daemon.docker(&["load"]).stdin(sample("old")?.docker_archive("old:1")?).ok()?;
    let (name, run) = ("old", ["run", "-d", "--restart=always", "--isolation=process", "--name"]);
    daemon.docker(&[&run[..], &[name, "old:1", "sleep", "1000"]].concat()).ok()?;
    write(&file, &json!([{ "name": "new", "decision": "require hyperv", "registry": "@load" }]))?;
    daemon.terminate()?;
    daemon.launch(&[])?;
    // What runs is left alone.
    check_eq!(daemon.inspect(name)?["State"]["Running"], true);
    daemon.docker(&["stop", "-t", "0", name]).ok()?;
    let error = daemon.docker(&["start", name]).fails(1)?;
    check!(error.contains("\"new\"") && error.contains("isolation process is refused"), "{error}");
    let seen = daemon.inspect(name)?;
    check!(seen["State"]["Error"].as_str().is_some_and(|error| error.contains("\"new\"")), "{seen}");
    check_eq!(seen["State"]["Status"], "exited");
    write(&file, &json!([]))?;
    daemon.terminate()?;
    daemon.launch(&[])?;
    daemon.docker(&["start", name]).ok().context("under the old policy again")?;
    daemon.remove_everything()
}

fn mistakes_are_named(case: &Case) -> Result<()> {
    let dir = case.directory()?;
    fs::create_dir_all(&dir)?;
    let file = dir.join("daemon.json");
    let daemon = Daemon::prepare(case.host, "wrong", &["--config-file", &file.to_string_lossy()])?;
    for (policy, words) in [
        (json!([{ "decision": "require vm" }]), "unknown variant `require vm`"),
        (
            json!([{ "name": "soft", "decision": "allow process", "label": "a=b" }]),
            "rule \"soft\": an image chooses",
        ),
        (json!({ "decision": "require hyperv" }), "isolation-policy"),
    ] {
        write(&file, &policy)?;
        let output = daemon.command(&[])?.stderr(std::process::Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        check!(!output.status.success() && said.contains(words), "{policy}: {said}");
    }
    Ok(())
}
