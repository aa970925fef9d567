//! Device rules on cgroup v2: a `BPF_PROG_TYPE_CGROUP_DEVICE` program, whose instructions are encoded here.
//!
//! The program keeps the access that is still to be granted in a register and goes through the rules from the last
//! to the first, so that for each kind of access the last rule that speaks of it decides:
//!
//! * a matching *allow* rule grants its kinds; when nothing is left to grant, the answer is yes;
//! * a matching *deny* rule that names a kind still to be granted answers no;
//! * what no rule speaks of is denied.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::bpf::{
    self, AND, EXIT, Instruction, JUMP, JUMP_IF_ANY_SET, JUMP_IF_NOT_EQUAL, MOVE, SHIFT_RIGHT, move_register,
    with_immediate,
};

/// What kind of devices a rule speaks of (OCI `type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `a`: both.
    All,
    /// `c`: character devices.
    Character,
    /// `b`: block devices.
    Block,
}

/// One rule of OCI's `linux.resources.devices`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// The kind.
    pub kind: DeviceKind,
    /// Major number; `None` is any.
    pub major: Option<u32>,
    /// Minor number; `None` is any.
    pub minor: Option<u32>,
    /// Which access it speaks of.
    pub access: Access,
}

/// Kinds of access, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(i32);

impl Access {
    /// `m`: making a device node.
    pub const MAKE: Self = Self(1);
    /// `r`
    pub const READ: Self = Self(2);
    /// `w`
    pub const WRITE: Self = Self(4);
    /// `rwm`
    pub const ALL: Self = Self(7);

    /// Reads OCI's letters; an empty text is all of them. `None` when another letter is among them.
    #[must_use]
    pub fn parse(letters: &str) -> Option<Self> {
        if letters.is_empty() {
            return Some(Self::ALL);
        }
        letters.chars().try_fold(Self(0), |access, letter| match letter {
            'r' => Some(Self(access.0 | Self::READ.0)),
            'w' => Some(Self(access.0 | Self::WRITE.0)),
            'm' => Some(Self(access.0 | Self::MAKE.0)),
            _ => None,
        })
    }
}

// Registers: r1 points to the context `{ access_type, major, minor }`.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn load(destination: u8, offset: i16) -> Instruction {
    bpf::load_word(destination, CONTEXT, offset)
}

fn answer(yes: bool) -> [Instruction; 2] {
    [with_immediate(MOVE, ANSWER, 0, i32::from(yes)), with_immediate(EXIT, 0, 0, 0)]
}

fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load(KIND, 0),
        move_register(WANTED, KIND),
        // The kind is in the lower half, the access in the upper.
        with_immediate(AND, KIND, 0, 0xffff),
        with_immediate(SHIFT_RIGHT, WANTED, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        program.extend(encode_rule(rule));
    }
    program.extend(answer(false));
    program
}

fn encode_rule(rule: &DeviceRule) -> Vec<Instruction> {
    // What must be equal for the rule to match. Numbers beyond i32 do not exist as devices and match nothing.
    let number = |number: u32| i32::try_from(number).unwrap_or(-1);
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(1),
        DeviceKind::Character => Some(2),
    };
    let tests = [(KIND, kind), (MAJOR, rule.major.map(number)), (MINOR, rule.minor.map(number))];
    let tests: Vec<(u8, i32)> =
        tests.into_iter().filter_map(|(register, value)| Some((register, value?))).collect();

    let mut decision = if rule.allow {
        vec![with_immediate(AND, WANTED, 0, !rule.access.0), with_immediate(JUMP_IF_NOT_EQUAL, WANTED, 2, 0)]
    } else {
        vec![with_immediate(JUMP_IF_ANY_SET, WANTED, 1, rule.access.0), with_immediate(JUMP, 0, 2, 0)]
    };
    decision.extend(answer(rule.allow));

    let mut instructions = Vec::new();
    for (index, (register, value)) in tests.iter().enumerate() {
        // Over the tests that follow and the decision, to the next rule: never more than 6.
        let skip = i16::try_from(tests.len() - index - 1 + decision.len()).unwrap_or(i16::MAX);
        instructions.push(with_immediate(JUMP_IF_NOT_EQUAL, *register, skip, *value));
    }
    instructions.extend(decision);
    instructions
}

const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

#[repr(C)]
struct AttachAttributes {
    target: i32,
    program: i32,
    attach_type: u32,
    flags: u32,
}

/// Attaches the rules to the cgroup v2 directory `cgroup`. The program lives as long as the group; where a program
/// is attached already, to the group or above it, both must allow.
pub fn attach(cgroup: &File, rules: &[DeviceRule]) -> io::Result<()> {
    let loaded = bpf::load_program(BPF_PROG_TYPE_CGROUP_DEVICE, &program(rules))?;
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd(),
        program: loaded.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the attributes are a prefix of `union bpf_attr`, of the size given, and hold two open descriptors.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attributes, size_of::<AttachAttributes>())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
