//! The VM: QEMU with two disks, none of which it writes to, and two ports that tell what happens inside.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::system::{FIRST_PROGRAM, System};

/// Memory in MiB: the table's own VMs are in it, too.
const MEMORY_MIB: u32 = 6144;

/// How much of the console's end is shown after a VM that told no result.
const LAST_LINES: usize = 25;

/// A VM to be run.
pub struct Machine<'a> {
    /// What it boots.
    pub system: &'a System,
    /// The disk with the build.
    pub build: &'a Path,
    /// Where its console and its result go.
    pub directory: &'a Path,
    /// Whether KVM works here.
    pub kvm: bool,
    /// Whether it has KVM inside.
    pub nested: bool,
    /// When it is ended, whatever it does.
    pub limit: Duration,
}

impl Machine<'_> {
    /// Runs it to its end with its output on ours; the exit status of what ran inside.
    pub fn run(&self) -> Result<i32> {
        for file in [self.console(), self.status()] {
            fs::write(&file, "").with_context(|| file.display().to_string())?;
        }
        // A machine that computes for an hour is not to be felt by whoever else works here.
        let mut command = Command::new("nice");
        command.args(self.command_line()).env("TMPDIR", self.directory);
        let mut vm = Running(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("start qemu-system-x86_64")?,
        );
        let mut output = vm.0.stdout.take().context("no output")?;
        let shown = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let mut stdout = std::io::stdout();
                // Nobody may read any more; the result is told in another way.
                let _ = stdout.write_all(&buffer[..count]).and_then(|()| stdout.flush());
            }
        });
        let end = Instant::now() + self.limit;
        while vm.0.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!(
                    "the test host did not end within {} minutes{}",
                    self.limit.as_secs() / 60,
                    self.last_words()
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let _ = shown.join();
        let status = fs::read_to_string(self.status()).unwrap_or_default();
        match status.trim().parse() {
            Ok(status) => Ok(status),
            Err(_) => bail!("the test host ended without a result{}", self.last_words()),
        }
    }

    fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    fn status(&self) -> PathBuf {
        self.directory.join("status")
    }

    /// The end of what its kernel said.
    fn last_words(&self) -> String {
        let bytes = fs::read(self.console()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
        format!("; the whole console is in {}:\n  {last}", self.console().display())
    }

    fn command_line(&self) -> Vec<String> {
        let mut line: Vec<String> =
            ["-n", "10", "qemu-system-x86_64", "-nodefaults", "-no-user-config"].map(str::to_owned).into();
        let mut add = |option: &str, value: String| line.extend([option.to_owned(), value]);
        add("-machine", "q35".to_owned());
        if self.kvm {
            add("-accel", "kvm".to_owned());
            add("-cpu", "host".to_owned());
        } else {
            add("-accel", "tcg,thread=multi,tb-size=512".to_owned());
            // Which has AMD's virtualisation. Told not to, QEMU 7.2 runs programs wrong.
            add("-cpu", "max".to_owned());
        }
        add("-smp", std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4)).to_string());
        add("-m", format!("{MEMORY_MIB}M"));
        add("-display", "none".to_owned());
        // A kernel that panics reboots, which ends the VM.
        add("-action", "reboot=shutdown".to_owned());
        add("-kernel", self.system.kernel.display().to_string());
        add("-initrd", self.system.initrd.display().to_string());
        let mut arguments = format!(
            "root=/dev/vda rw console=ttyS0 panic=-1 net.ifnames=0 mitigations=off init={FIRST_PROGRAM}"
        );
        if self.nested {
            arguments.push_str(" testhost=kvm");
        }
        add("-append", arguments);
        add("-serial", format!("file:{}", self.console().display()));
        // What is written goes to a file that has no name any more, and is gone with the process.
        let disk = |path: &Path| format!("file={},if=virtio,format=raw,cache=unsafe", path.display());
        add("-drive", format!("{},snapshot=on", disk(&self.system.disk)));
        add("-drive", format!("{},readonly=on", disk(self.build)));
        add("-device", "virtio-rng-pci".to_owned());
        add("-device", "virtio-serial-pci".to_owned());
        add("-chardev", "file,id=output,path=/dev/stdout,append=on".to_owned());
        add("-device", "virtserialport,nr=1,chardev=output,name=output".to_owned());
        add("-chardev", format!("file,id=status,path={}", self.status().display()));
        add("-device", "virtserialport,nr=2,chardev=status,name=status".to_owned());
        line
    }
}

/// A process that ends with whoever started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, unless it took too long.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
