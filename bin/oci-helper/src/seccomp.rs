//! Seccomp filters: a profile of the OCI specification compiled to the program that the kernel takes.
//!
//! libcontainer compiles and loads in one go, each time, and reads `SCMP_CMP_MASKED_EQ` with mask and value exchanged
//! (0.7), by which Docker's profile would refuse every `clone`. Compiling costs 7 ms for Docker's profile, so the
//! program is kept: in a cache for the next container with the same profile, and beside the container's state for
//! its execs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag, LinuxSyscall};
use rustix::fs::MemfdFlags;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The size of one instruction.
const INSTRUCTION: usize = 8;

/// A compiled filter; without instructions nothing is filtered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    flags: u8,
    program: Vec<u8>,
}

impl Filter {
    /// The filter of `profile`, from `cache` when it was compiled before.
    pub fn of(profile: &LinuxSeccomp, cache: Option<&Path>) -> Result<Self, Failure> {
        let Some(cache) = cache else { return compile(profile) };
        // Another libseccomp knows other calls, so its version belongs to the key.
        let version =
            libseccomp::ScmpVersion::current().map_err(|error| Failure::new("libseccomp", error))?;
        let profile_text =
            serde_json::to_vec(profile).map_err(|error| Failure::new("seccomp profile", error))?;
        let digest = Sha256::new().chain_update(version.to_string()).chain_update(&profile_text).finalize();
        let path = cache.join(format!("{digest:x}"));
        if let Ok(filter) = Self::read(&path) {
            return Ok(filter);
        }
        let filter = compile(profile)?;
        // A cache that cannot be written costs time and nothing else.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(cache);
        if let Err(failure) =
            made.map_err(|error| Failure::new("cache", error)).and_then(|()| filter.save(&path))
        {
            eprintln!("cofferdam-oci: {}", failure.message);
        }
        Ok(filter)
    }

    /// Keeps the filter, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        let failed = |error| Failure::new(path.display(), error);
        let temporary = path.with_extension(std::process::id().to_string());
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(failed)?;
        let contents = [&[self.flags], &self.program[..]].concat();
        std::io::Write::write_all(&mut file, &contents).map_err(failed)?;
        fs::rename(&temporary, path).map_err(failed)
    }

    /// Reads what [`Self::save`] kept.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let contents = fs::read(path).map_err(|error| Failure::new(path.display(), error))?;
        match contents.split_first() {
            Some((&flags, program)) if program.len() % INSTRUCTION == 0 => {
                Ok(Self { flags, program: program.to_vec() })
            }
            _ => Err(Failure::new(path.display(), "it is no compiled seccomp profile")),
        }
    }

    /// Puts the filter on this process, for good.
    pub fn load(&self) -> Result<(), Failure> {
        if self.program.is_empty() {
            return Ok(());
        }
        crate::fork::load_seccomp(&self.program, self.flags)
            .map_err(|error| Failure::new("load seccomp profile", error))
    }
}

fn compile(profile: &LinuxSeccomp) -> Result<Filter, Failure> {
    let context = context(profile).map_err(|error| Failure::new("seccomp profile", error))?;
    let flags = profile.flags().iter().flatten().fold(0, |flags, flag| flags | bit(*flag));
    Ok(Filter { flags, program: program(&context)? })
}

fn context(profile: &LinuxSeccomp) -> Result<ScmpFilterContext, SeccompError> {
    let default =
        ScmpAction::from_str(&word(&profile.default_action()), Some(errno(profile.default_errno_ret())))?;
    let mut context = ScmpFilterContext::new(default)?;
    for architecture in profile.architectures().iter().flatten() {
        context.add_arch(word(architecture).parse::<ScmpArch>()?)?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = ScmpAction::from_str(&word(&rule.action()), Some(errno(rule.errno_ret())))?;
        // libseccomp refuses a rule that changes nothing.
        if action != default {
            add(&mut context, rule, action)?;
        }
    }
    Ok(context)
}

/// Has libseccomp write its program, which it does to a file only.
fn program(context: &ScmpFilterContext) -> Result<Vec<u8>, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new("seccomp profile", error);
    let file = rustix::fs::memfd_create("seccomp", MemfdFlags::CLOEXEC).map_err(|error| failed(&error))?;
    let mut file = File::from(file);
    context.export_bpf(&file).map_err(|error| failed(&error))?;
    let mut program = Vec::new();
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_end(&mut program))
        .map_err(|error| failed(&error))?;
    Ok(program)
}

fn add(context: &mut ScmpFilterContext, rule: &LinuxSyscall, action: ScmpAction) -> Result<(), SeccompError> {
    let mut comparisons = Vec::new();
    for argument in rule.args().iter().flatten() {
        let index = u32::try_from(argument.index()).unwrap_or(u32::MAX);
        // The specification's `value` is the mask of a masked comparison, and `valueTwo` what must be left.
        comparisons.push(match word(&argument.op()).parse()? {
            ScmpCompareOp::MaskedEqual(_) => ScmpArgCompare::new(
                index,
                ScmpCompareOp::MaskedEqual(argument.value()),
                argument.value_two().unwrap_or(0),
            ),
            operator => ScmpArgCompare::new(index, operator, argument.value()),
        });
    }
    let indexes: Vec<_> =
        rule.args().iter().flatten().map(oci_spec::runtime::LinuxSeccompArg::index).collect();
    let repeated = (1..indexes.len()).any(|n| indexes[..n].contains(&indexes[n]));
    for name in rule.names() {
        // A profile names calls of every kernel; those unknown here do not exist here.
        let Ok(call) = ScmpSyscall::from_name(name) else { continue };
        if repeated {
            // libseccomp compares an argument once in a rule; several rules are alternatives, as runc reads them.
            for comparison in &comparisons {
                context.add_rule_conditional(action, call, std::slice::from_ref(comparison))?;
            }
        } else if comparisons.is_empty() {
            context.add_rule(action, call)?;
        } else {
            context.add_rule_conditional(action, call, &comparisons)?;
        }
    }
    Ok(())
}

/// The specification's word for a value, which libseccomp's binding reads.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn errno(number: Option<u32>) -> i32 {
    number.and_then(|number| i32::try_from(number).ok()).unwrap_or(libc::EPERM)
}

/// The flag of seccomp(2). Threads need no synchronising: there is one.
fn bit(flag: LinuxSeccompFilterFlag) -> u8 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(names: &str) -> LinuxSeccomp {
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_NATIVE"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
               "syscalls": [
                 {{"names": {names}, "action": "SCMP_ACT_ALLOW"}},
                 {{"names": ["read"], "action": "SCMP_ACT_ERRNO"}},
                 {{"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                   "args": [{{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}}]}},
                 {{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                   "args": [{{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}}, {{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}}]}}
               ]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_profile_compiles_once() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path().join("made/when/needed");
        let first = Filter::of(&profile(r#"["write", "no_such_call"]"#), Some(&cache)).unwrap();
        assert!(!first.program.is_empty() && first.program.len().is_multiple_of(INSTRUCTION));
        assert_eq!(first.flags, 2);
        assert_eq!(Filter::of(&profile(r#"["write", "no_such_call"]"#), Some(&cache)).unwrap(), first);
        assert_ne!(Filter::of(&profile(r#"["writev"]"#), Some(&cache)).unwrap(), first);
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 2);
        assert_eq!(Filter::of(&profile(r#"["write"]"#), None).unwrap(), first);
    }

    #[test]
    fn the_mask_of_a_comparison_is_its_value() {
        // A program that masks with Docker's mask has it as an operand of an AND instruction (BPF_ALU|BPF_AND|BPF_K).
        let filter = Filter::of(&profile("[]"), None).unwrap();
        let masks = filter.program.chunks_exact(INSTRUCTION).filter(|one| one[..2] == [0x54, 0]);
        assert!(masks.map(|one| &one[4..]).any(|mask| mask == 2_114_060_288_u32.to_ne_bytes()));
    }

    #[test]
    fn what_is_not_a_filter_is_not_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("filter");
        for contents in [&b""[..], b"\0cut off"] {
            fs::write(&path, contents).unwrap();
            assert!(Filter::read(&path).is_err());
        }
        Filter::default().save(&path).unwrap();
        assert_eq!(Filter::read(&path).unwrap(), Filter::default());
    }
}
