//! Scripts, and what they show.

use std::collections::BTreeMap;

use cofferdam_cmdlet::{Bound, Failure, Object, Output, Value};
use proptest::prelude::*;

use crate::{Console, Container, Host};

/// An engine of containers that are a name and a level; what is shown is kept.
#[derive(Default)]
struct Fake {
    shown: String,
    errors: String,
    containers: BTreeMap<String, &'static str>,
    inside: Option<String>,
}

impl Fake {
    fn object(name: &str, level: &str) -> Value {
        Object::new("Container")
            .with("Name", name)
            .with("State", "Off")
            .with("Uptime", Value::Span(0))
            .with("ParentImageName", "nanoserver")
            .with("ContainerName", name)
            .with("ContainerId", format!("{:0>4}", name.len()))
            .with("RuntimeType", level)
            .into()
    }
}

impl Host for Fake {
    fn write(&mut self, text: &str) {
        self.shown += text;
    }
    fn write_error(&mut self, text: &str) {
        self.errors += text;
    }
    fn width(&self) -> usize {
        120
    }
    fn execute(&mut self, bound: &Bound, only_says: bool) -> Output {
        let mut output = Output::default();
        let names = || {
            let objects = bound.get("Container").map(Value::items).unwrap_or_default();
            let of_objects = objects.iter().map(|object| object.member("Name").to_string());
            of_objects.chain(bound.texts("Name").unwrap_or_default()).collect::<Vec<_>>()
        };
        let level = if bound.text("RuntimeType").as_deref() == Some("HyperV") { "HyperV" } else { "Default" };
        match bound.cmdlet.name {
            _ if only_says || bound.flag("WhatIf") => self.shown += "What if\n",
            "New-Container" => {
                let name = bound.text("Name").unwrap();
                output.objects.push(Self::object(&name, level));
                self.containers.insert(name, level);
            }
            "Set-Container" => {
                for name in names() {
                    self.containers.insert(name, level);
                }
            }
            "Get-Container" => {
                for pattern in Some(names()).filter(|names| !names.is_empty()).unwrap_or(vec!["*".into()]) {
                    let fits = |name: &str| cofferdam_cmdlet::wildcard::matches(&pattern, name);
                    let found: Vec<_> = self.containers.iter().filter(|(name, _)| fits(name)).collect();
                    if found.is_empty() && !pattern.contains('*') {
                        output.errors.push(Failure::not_found("container", &pattern));
                    }
                    output.objects.extend(found.iter().map(|(name, level)| Self::object(name, level)));
                }
            }
            other => self.shown += &format!("{other} {}\n", names().join(",")),
        }
        output
    }
    fn start_job(&mut self, _bound: &Bound) -> Value {
        Object::new("Job").with("Id", 1_i64).into()
    }
    fn jobs(&mut self) -> Vec<Value> {
        Vec::new()
    }
    fn receive_job(&mut self, _id: i64) -> Option<Output> {
        None
    }
    fn remove_job(&mut self, _id: i64) -> bool {
        false
    }
    fn enter(&mut self, container: &Container) -> Result<(), Failure> {
        self.inside = Some(format!("{} {}", container.reference, container.administrator));
        Ok(())
    }
    fn leave(&mut self) {
        self.inside = None;
    }
    fn session(&self) -> Option<(String, String)> {
        self.inside.clone().map(|name| (name, "/".into()))
    }
    fn shell(&mut self, line: &str, keep: bool) -> Result<(i64, String), Failure> {
        if keep {
            return Ok((0, format!("kept {line}\n")));
        }
        self.shown += &format!("shell: {line}\n");
        Ok((i64::from(line == "false"), String::new()))
    }
    fn session_processes(&mut self) -> Result<Vec<Value>, Failure> {
        let process = |name: &str| Object::new("Process").with("Id", 7_i64).with("ProcessName", name).into();
        Ok(vec![process("sh"), process("sleep")])
    }
    fn sleep(&mut self, _seconds: f64) {}
}

/// What a script shows, and its errors.
fn run(script: &str) -> (String, String) {
    let mut console = Console::new(Fake::default());
    for line in script.lines() {
        console.run(line);
    }
    (console.host.shown, console.host.errors)
}

fn shown(script: &str) -> String {
    let (shown, errors) = run(script);
    assert_eq!(errors, "", "{script}");
    shown
}

#[test]
fn the_language_is_powershells() {
    for (script, want) in [
        ("1 + 2 * 3", "7\n"),
        ("256MB", "268435456\n"),
        ("1gb / 1mb", "1024\n"),
        ("$x = 3; \"a $x $($x + 1) `$x\"", "a 3 4 $x\n"),
        ("'it''s'", "it's\n"),
        ("'abc' -like 'A*'", "True\n"),
        ("'abc' -ceq 'ABC'", "False\n"),
        ("'a','b' -contains 'B'", "True\n"),
        ("!($null)", "True\n"),
        ("1..4 | where {$_ -gt 2}", "3\n4\n"),
        ("1..3 | % { $_ * 2 }", "2\n4\n6\n"),
        ("3,1,2 | sort -Descending | select -First 2", "3\n2\n"),
        ("(1..5 | measure -Sum).Sum", "15\n"),
        ("if (1 -eq 2) { 'a' } elseif ($true) { 'b' } else { 'c' }", "b\n"),
        ("foreach ($i in 1..3) { if ($i -eq 2) { continue }; $i }", "1\n3\n"),
        ("$a = 1,2,3; $a[-1]; $a.Count", "3\n3\n"),
        ("$h = @{Name='x'; Size=2}; $h.size", "2\n"),
        ("[pscustomobject]@{A=1} | ConvertTo-Json -Compress", "{\"A\":1}\n"),
        ("$x += 4; $x += 5; $x", "9\n"),
        ("@(1).Count", "1\n"),
        ("'a-b' -replace '-','+'", "a+b\n"),
        ("& { 'x' }", "x\n"),
    ] {
        assert_eq!(shown(script), want, "{script}");
    }
}

#[test]
fn the_documents_lines_run() {
    let output = shown(
        "$con = New-Container -Name HYPVCON -ContainerImageName NanoServer -SwitchName \"Virtual Switch\" -RuntimeType HyperV\n\
         New-Container -Name DEMO -ContainerImageName nanoserver -SwitchName NAT\n\
         Get-Container | Select ContainerName, RuntimeType\n\
         Get-Container | Select Name, RuntimeType, ContainerID | Where {$_.RuntimeType -eq 'Hyperv'}\n\
         Start-Container $con\n\
         Enter-PSSession -ContainerId $con.ContainerId \u{2013}RunAsAdministrator\n\
         get-process | where {$_.ProcessName -eq 'sleep'}\n\
         for i in 1 2; do echo $i; done\n\
         exit\n\
         Get-Container -Name D* | Start-Container",
    );
    for want in [
        "\nName State Uptime   ParentImageName\n---- ----- ------   ---------------\nDEMO Off   00:00:00 nanoserver\n",
        "\nContainerName RuntimeType\n------------- -----------\nDEMO          Default\nHYPVCON       HyperV\n",
        "\nName    RuntimeType ContainerId\n----    ----------- -----------\nHYPVCON HyperV      0007\n",
        "Start-Container HYPVCON\n",
        "ProcessName\n-------",
        "  7    sleep\n",
        "shell: for i in 1 2; do echo $i; done\n",
        "Start-Container DEMO\n",
    ] {
        assert!(output.contains(want), "{want:?} is not in:\n{output}");
    }
}

#[test]
fn errors_are_said_as_powershell_says_them() {
    let (shown, errors) =
        run("Get-Container nobody; $?\nGet-Container nobody -ErrorAction SilentlyContinue\n$?");
    assert_eq!(shown, "False\nFalse\n");
    assert_eq!(errors, "Get-Container: Cannot find a container with the name \"nobody\".\n");
    for (script, words) in [
        ("Frobnicate", "Frobnicate: The term 'Frobnicate' is not recognized as a name of a cmdlet"),
        ("switch (1) { 1 { 2 } }", "does not support a switch statement"),
        ("[DateTime]::Now", "does not support"),
        ("$x.Trim()", "does not support calling a method"),
        ("Get-Container > file", "does not support a redirection"),
        ("1 / 0", "Attempted to divide by zero."),
        ("throw 'no'", "Exception: no"),
        ("$true = 1", "Cannot overwrite variable true"),
        ("$x -not", "ParserError: Line 1"),
        ("New-Container", "New-Container: Cannot process command because of one or more missing mandatory"),
    ] {
        let (_, errors) = run(script);
        assert!(errors.contains(words), "{script}: {errors}");
    }
    assert_eq!(run("$ErrorActionPreference = 'Stop'; Get-Container no; 'after'").0, "");
    assert_eq!(shown_of("Get-Container no; 'after'"), "after\n");
}

fn shown_of(script: &str) -> String {
    run(script).0
}

#[test]
fn help_and_commands_are_there() {
    let help = shown("Get-Help Start-Container");
    assert!(help.contains("Start-Container [-Name] <string[]>") && help.contains("[-WhatIf]"), "{help}");
    let commands = shown("(Get-Command -Module Containers).Count");
    assert!(commands.trim().parse::<usize>().unwrap() >= 40, "{commands}");
    let kept = shown("$out = Invoke-Command -ContainerName DEMO { uname -r }; $out; $LASTEXITCODE");
    assert_eq!(kept, "kept uname -r\n0\n");
    assert_eq!(shown("$WhatIfPreference = $true; Stop-Container x"), "What if\n");
    let mut console = Console::new(Fake::default());
    assert!(console.is_incomplete("if ($true) {") && !console.is_incomplete("1"));
    assert_eq!(console.run("exit 3"), Some(3));
}

proptest! {
    #[test]
    fn no_script_upsets_the_console(script in "(?s)[$({\\[@'\"a-zA-Z0-9 |,.;:=+*/%!<>})\\]\n`-]{0,60}") {
        crate::fuzz::fuzz_script(script.as_bytes());
    }

    #[test]
    fn no_line_of_words_upsets_the_console(words in proptest::collection::vec(
        prop_oneof![
            Just("Get-Container"), Just("New-Container"), Just("|"), Just("select"), Just("where"), Just("-Name"),
            Just("{"), Just("}"), Just("$_"), Just("$x"), Just("="), Just("1..9"), Just("\"a $x\""), Just("("), Just(")"),
            Just("-eq"), Just("sort"), Just("%"), Just("foreach"), Just(","), Just("@{"), Just("a=1"), Just("[int]"),
            Just("if"), Just("-First"), Just(";"), Just("!"), Just("."), Just("Name"), Just("*"), Just("measure"),
        ], 0..14)) {
        crate::fuzz::fuzz_script(words.join(" ").as_bytes());
    }
}

#[test]
fn deep_scripts_end() {
    let deep = format!("{}1{}", "(".repeat(300), ")".repeat(300));
    let worker = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        crate::fuzz::fuzz_script(deep.as_bytes());
        crate::fuzz::fuzz_script("&{".repeat(500).as_bytes());
    });
    worker.unwrap().join().unwrap();
}
