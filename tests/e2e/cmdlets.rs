//! The cmdlets of the Containers module, by their front for programs and by the console.

use std::time::Duration;

use anyhow::{Context as _, Result};
use cofferdam_tests::{Case, Invocation, Level, Pty, Test, check, check_eq, eventually};
use serde_json::{Value, json};

pub const CASES: &[Test] = &[
    Test::both("cmdlets::containers", containers),
    Test::engine("cmdlets::images_and_switches", images),
    Test::both("cmdlets::documents", documents),
    Test::only(&[Level::Process], "cmdlets::on_a_terminal", on_a_terminal),
    Test::both("cmdlets::powershell_module", powershell_module),
];

/// The objects that a cmdlet gives.
fn objects(case: &Case, cmdlet: &str, parameters: &Value) -> Result<Vec<Value>> {
    let lines = case.cofferdam(&["cmdlet", cmdlet, "--json", &parameters.to_string()])?.ok()?;
    let parse = |line: &str| -> Result<Value> { Ok(serde_json::from_str(line)?) };
    let lines: Vec<Value> = lines.lines().map(parse).collect::<Result<_>>()?;
    Ok(lines.into_iter().filter_map(|line| line.get("Object").cloned()).collect())
}

/// The error of a cmdlet that fails.
fn error(case: &Case, cmdlet: &str, parameters: &Value) -> Result<Value> {
    let answer = case.cofferdam(&["cmdlet", cmdlet, "--json", &parameters.to_string()])?.output()?;
    check_eq!(answer.code, 1);
    let last = answer.stdout.lines().last().context("an answer")?;
    let line: Value = serde_json::from_str(last)?;
    Ok(line["Error"].clone())
}

/// The levels in the documents' words.
fn runtime(case: &Case) -> &'static str {
    if case.level == Level::Hyperv { "HyperV" } else { "Default" }
}

/// Made by a cmdlet, seen and managed by all fronts, and the reverse.
fn containers(case: &Case) -> Result<()> {
    let name = case.name("Con");
    let new = json!({
        "Name": name, "ContainerImageName": "NanoServer", "SwitchName": "Virtual Switch",
        "RuntimeType": runtime(case), "MaximumMemoryBytes": "128MB",
    });
    let made = objects(case, "New-Container", &new)?;
    check_eq!(made.len(), 1);
    let container = &made[0];
    check_eq!((&container["Name"], &container["State"]), (&json!(name), &json!("Off")));
    check_eq!(container["RuntimeType"], runtime(case));
    check_eq!(
        (&container["Uptime"], &container["ParentImageName"]),
        (&json!("00:00:00"), &json!("nanoserver"))
    );
    check_eq!(case.inspect(&name)?["HostConfig"]["Memory"], 128 << 20);

    // By an object, and by a wildcard in another case.
    let started = objects(case, "Start-Container", &json!({ "Container": container, "Passthru": true }))?;
    check_eq!(started[0]["State"], "Running");
    check_eq!(case.shell(&name, "echo up")?, "up");
    let id = container["ContainerId"].as_str().context("an ID")?;
    let seen = objects(case, "Get-Container", &json!({ "Id": id[..12] }))?;
    check_eq!(seen[0]["Name"], json!(name));
    let pattern = format!("{}*", name.to_uppercase());
    let seen = objects(case, "Get-Container", &json!({ "Name": pattern }))?;
    check_eq!(seen.len(), 1);
    let owners = objects(case, "Get-ComputeProcess", &json!({ "Name": name }))?;
    check_eq!((&owners[0]["Owner"], &owners[0]["Type"]), (&json!("VMMS"), &json!("Container")));
    check_eq!(owners[0]["Id"], json!(id.to_uppercase()));
    let adapters = objects(case, "Get-ContainerNetworkAdapter", &json!({ "ContainerName": name }))?;
    check_eq!(adapters.len(), 1);
    check_eq!(adapters[0]["SwitchName"], "NAT");

    objects(case, "Set-ContainerMemory", &json!({ "ContainerName": name, "MaximumBytes": "96MB" }))?;
    check_eq!(case.inspect(&name)?["HostConfig"]["Memory"], 96 << 20);
    let begun = std::time::Instant::now();
    objects(case, "Stop-Container", &json!({ "Name": name }))?;
    check_eq!(case.inspect(&name)?["State"]["Running"], false);
    // A shell on a terminal ends when that hangs up: nobody waits until it is killed.
    check!(begun.elapsed().as_secs() < 9, "stopping took {:?}", begun.elapsed());

    let docker = case.detached("d", &["nanoserver", "sleep", "1000"])?;
    let seen = objects(case, "Get-Container", &json!({ "Name": docker }))?;
    check_eq!((&seen[0]["State"], &seen[0]["RuntimeType"]), (&json!("Running"), &json!(runtime(case))));
    objects(case, "Stop-Container", &json!({ "Name": docker, "TurnOff": true }))?;
    check_eq!(case.inspect(&docker)?["State"]["ExitCode"], 137);

    objects(case, "Remove-Container", &json!({ "Name": [name, docker], "Force": true }))?;
    let error = error(case, "Get-Container", &json!({ "Name": name }))?;
    check_eq!(error["Category"], "ObjectNotFound");
    let words = format!("Cannot find a container with the name \"{name}\".");
    check_eq!(error["Message"], json!(words));
    Ok(())
}

fn images(case: &Case) -> Result<()> {
    let images = objects(case, "Get-ContainerImage", &json!({ "Name": "NANO*" }))?;
    check_eq!((&images[0]["Name"], &images[0]["IsOSImage"]), (&json!("nanoserver"), &json!(true)));
    let report = objects(case, "Test-ContainerImage", &json!({ "Image": images[0] }))?;
    check_eq!(report[0]["IsValid"], true);
    let offers = objects(case, "Find-ContainerImage", &json!({}))?;
    check_eq!(offers.len(), 2);

    let directory = case.directory()?;
    let path = directory.to_str().context("a path")?;
    objects(case, "Export-ContainerImage", &json!({ "Name": "nanoserver", "Path": path }))?;
    let file = directory.join("nanoserver_latest.tar");
    check!(file.is_file(), "{} is not there", file.display());
    let loaded = objects(case, "Import-ContainerImage", &json!({ "Path": file }))?;
    check_eq!(loaded[0]["ImageId"], images[0]["ImageId"]);

    let name = case.name("Switch A");
    let made = objects(
        case,
        "New-VMSwitch",
        &json!({ "Name": name, "SwitchType": "NAT", "NATSubnetAddress": "10.213.7.0/24" }),
    )?;
    check_eq!((&made[0]["Name"], &made[0]["SwitchType"]), (&json!(name), &json!("NAT")));
    let container = case.name("off");
    objects(case, "New-Container", &json!({ "Name": container, "ContainerImageName": "nanoserver" }))?;
    let adapters = || objects(case, "Get-ContainerNetworkAdapter", &json!({ "ContainerName": container }));
    check_eq!(adapters()?.len(), 0);
    let mac = "02-42-0A-D5-07-09";
    objects(
        case,
        "Add-ContainerNetworkAdapter",
        &json!({ "ContainerName": container, "SwitchName": name, "StaticMacAddress": mac }),
    )?;
    check_eq!(adapters()?[0]["SwitchName"], json!(name));
    objects(case, "Start-Container", &json!({ "Name": container }))?;
    check_eq!(adapters()?[0]["MacAddress"], mac);
    check!(case.shell(&container, "cat /proc/net/route; ip addr")?.contains("10.213.7."), "no address");
    let refused =
        error(case, "Remove-ContainerImage", &json!({ "Name": "nanoserver", "Version": "latest" }))?;
    check!(refused["Message"].as_str().is_some_and(|text| text.contains("conflict")), "{refused}");
    objects(case, "Disconnect-ContainerNetworkAdapter", &json!({ "ContainerName": container }))?;
    check_eq!(adapters()?.len(), 0);
    objects(case, "Remove-Container", &json!({ "Name": container, "Force": true }))?;
    case.docker(&["network", "rm", &name])?.ok()?;

    for (cmdlet, parameters, words) in [
        ("New-Container", json!({ "ContainerImageName": "nothing" }), "Install-ContainerImage gets more"),
        ("Start-Container", json!({ "Nam": "x", "Colour": 1 }), "matches parameter name 'Colour'"),
        ("Set-ContainerProcessor", json!({ "ContainerName": "x", "RelativeWeight": 0 }), "from 1 to 10000"),
        ("Move-ContainerImageRepository", json!({ "Path": "/x" }), "can only be moved while there are none"),
    ] {
        let error = error(case, cmdlet, &parameters)?;
        check!(error["Message"].as_str().is_some_and(|text| text.contains(words)), "{cmdlet}: {error}");
    }
    Ok(())
}

/// What a script gives in the console.
fn console(case: &Case, script: &str) -> Result<String> {
    case.cofferdam(&["pwsh", "-NonInteractive"])?.stdin(script).ok()
}

/// The documents' lines, in their order, with this case's names and a process that both images have in the place of csrss:
/// a container is made, started and entered, its process is found there, and on the host only at the process level.
fn documents(case: &Case) -> Result<()> {
    let (name, runtime) = (case.name("CON"), runtime(case));
    let marker = format!("4{}", 10_000 + std::process::id() % 10_000);
    let script = format!(
        "$con = New-Container -Name {name} -ContainerImageName NanoServer -SwitchName \"Virtual Switch\" -RuntimeType {runtime}\n\
         Get-Container -Name {name} | Select ContainerName, RuntimeType\n\
         Start-Container $con\n\
         Get-Container | Select Name, RuntimeType, ContainerID | Where {{$_.Name -eq '{name}'}}\n\
         Get-ComputeProcess -Name {name}\n\
         Enter-PSSession -ContainerId $con.ContainerId \u{2013}RunAsAdministrator\n\
         cd /tmp; word=kept\n\
         sleep {marker} &\n\
         echo \"$word in $PWD\"; if\n\
         false\n\
         get-process | where {{$_.ProcessName -eq 'sleep'}}\n\
         get-process sleep | select Id, HostId | ConvertTo-Json -Compress\n\
         exit\n\
         Invoke-Command -ContainerName {name} {{ echo user $(id -u); exit 3 }}\n\
         \"code $LASTEXITCODE\"\n"
    );
    let answer = case.cofferdam(&["pwsh", "-NonInteractive"])?.stdin(script).output()?;
    let shown = &answer.stdout;
    let all = format!("{shown}\n---\n{}", answer.stderr);
    let id = case.inspect(&name)?["Id"].as_str().context("an ID")?.to_owned();
    for want in [
        "ContainerName".to_owned(),
        runtime.to_owned(),
        id.clone(),
        format!("{} {name} VMMS  Container", id.to_uppercase()),
        "Handles NPM(K) PM(K) WS(K) VM(M) CPU(s) Id SI ProcessName".to_owned(),
        "user 0".to_owned(),
        "code 3".to_owned(),
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        check!(words(shown).contains(&words(&want)), "{want:?} is not in {all}");
    }
    check!(answer.stderr.contains("yntax error"), "{all}");
    let json = shown.lines().find(|line| line.contains("\"HostId\":")).context(all.clone())?;
    let process: Value = serde_json::from_str(json)?;
    match case.level {
        Level::Process => {
            check!(process["HostId"].as_u64() > process["Id"].as_u64(), "{process}");
        }
        Level::Hyperv => check_eq!(process["HostId"], Value::Null),
    }
    // The session has left nothing behind.
    let left = case.shell(&name, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")?;
    check!(!left.contains(&marker), "{left}");
    let removed = console(
        case,
        &format!(
            "Remove-Container {name} -Force; $?\nGet-Container {name}* | measure | select Count | ConvertTo-Json -Compress"
        ),
    )?;
    check_eq!(removed, "True\n{\"Count\":0}");
    Ok(())
}

/// On a terminal: prompts, completion, a question, and a session's prompt.
fn on_a_terminal(case: &Case) -> Result<()> {
    let name = case.name("T");
    let mut terminal = Pty::spawn(case.cofferdam(&["pwsh"])?)?;
    terminal.expect("> ")?;
    terminal.send(&format!(
        "New-Container {name} -ContainerImageName nanoserver -SwitchName NAT | Start-Container; 'sta' + 'rted'\r"
    ))?;
    terminal.expect("started")?;
    terminal.send(&format!("Enter-PSSession -ContainerName {name}\r"))?;
    terminal.expect(&format!("[{name}]: /> "))?;
    terminal.send("cd /proc\r")?;
    terminal.expect(&format!("[{name}]: /proc> "))?;
    // Keys that are typed while nobody reads lines are lost with the terminal's mode.
    let prompts = |terminal: &Pty| terminal.screen().matches("PS /").count();
    let prompted = |terminal: &Pty, before: usize| {
        eventually(Duration::from_secs(30), || Ok((prompts(terminal) > before).then_some(())))
    };
    let before = prompts(&terminal);
    terminal.send("Exit-PSSession\r")?;
    prompted(&terminal, before)?;
    terminal.send(&format!("Remove-Conta\t {name}\r"))?;
    terminal.expect("Are you sure you want to perform this action?")?;
    let before = prompts(&terminal);
    terminal.send("n\r")?;
    prompted(&terminal, before)?;
    terminal.send(&format!("Remove-Container {name} -Force; 'it is ' + 'gone'\r"))?;
    let before = prompts(&terminal);
    terminal.expect("it is gone")?;
    prompted(&terminal, before.saturating_sub(1))?;
    terminal.send("exit 5\r")?;
    check_eq!(terminal.finish()?, 5);
    Ok(())
}

/// The module for PowerShell: how it calls the engine, and, where PowerShell and Pester are, its own tests.
fn powershell_module(case: &Case) -> Result<()> {
    let daemon = case.daemon()?;
    let answer = case
        .cofferdam(&["cmdlet", "Get-ContainerImage", "--json", "-"])?
        .stdin("{\"Name\":[\"nano*\"]}\n")
        .ok()?;
    let line: Value = serde_json::from_str(answer.lines().next().context("an image")?)?;
    check_eq!((&line["Type"], &line["Object"]["Name"]), (&json!("ContainerImage"), &json!("nanoserver")));

    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../powershell/Cofferdam/tests");
    let script = format!(
        "if (-not (Get-Module -ListAvailable Pester | Where-Object Version -ge 5.0)) {{ exit 42 }}; \
         exit (Invoke-Pester -Path '{tests}' -PassThru -Output Detailed).FailedCount"
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let own = case.host.binary("cofferdam");
    let own = own.parent().context("a directory")?.display();
    let pester = Invocation::new("pwsh", &["-NoProfile", "-NonInteractive", "-Command", &script])
        .env("PATH", format!("{own}:{path}"))
        .env("COFFERDAM_HOST", format!("unix://{}", daemon.socket().display()))
        .env("COFFERDAM_RUNTIME", runtime(case))
        .limit(Duration::from_secs(600));
    let missing = |what: &str| {
        println!("not run for want of {what}: the Pester tests of powershell/Cofferdam ({})", runtime(case))
    };
    let ran = match pester.spawn() {
        Ok(ran) => ran.finish(Duration::from_secs(600))?,
        // It is in no package of Debian, so nobody has to have it.
        Err(_) => {
            missing("pwsh");
            return Ok(());
        }
    };
    if ran.code == 42 {
        missing("Pester 5");
        return Ok(());
    }
    check!(ran.code == 0, "{}{}", ran.stdout, ran.stderr);
    Ok(())
}
