//! The instructions as data, what they decide by an interpreter of their own, and the kernel's verifier.

use super::*;
use crate::bpf::{LOAD_WORD, MOVE_REGISTER};

const NULL: DeviceRule = DeviceRule {
    allow: true,
    kind: DeviceKind::Character,
    major: Some(1),
    minor: Some(3),
    access: Access::ALL,
};
const DENY_ALL: DeviceRule =
    DeviceRule { allow: false, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL };

/// Runs the program as the kernel would; `kind` is 1 for block, 2 for character.
fn decide(rules: &[DeviceRule], kind: i64, major: i64, minor: i64, letters: &str) -> bool {
    let access = i64::from(Access::parse(letters).unwrap().0);
    let program = program(rules);
    let mut registers = [0i64; 6];
    let mut at = 0usize;
    loop {
        let i = program[at];
        let (to, value) = (usize::from(i.destination), i64::from(i.immediate));
        let mut jump = false;
        match i.code {
            LOAD_WORD => {
                registers[to] = [access << 16 | kind, major, minor][usize::try_from(i.offset / 4).unwrap()]
            }
            MOVE_REGISTER => registers[to] = registers[usize::from(i.source)],
            MOVE => registers[to] = value,
            AND => registers[to] &= value,
            SHIFT_RIGHT => registers[to] >>= value,
            JUMP => jump = true,
            JUMP_IF_NOT_EQUAL => jump = registers[to] != value,
            JUMP_IF_ANY_SET => jump = registers[to] & value != 0,
            EXIT => return registers[0] == 1,
            code => panic!("unknown instruction {code:#x}"),
        }
        at += 1 + if jump { usize::try_from(i.offset).unwrap() } else { 0 };
    }
}

#[test]
fn no_rules_deny_everything_in_eight_instructions() {
    let bytes: Vec<u8> = program(&[]).into_iter().flat_map(Instruction::encode).collect();
    if cfg!(target_endian = "little") {
        assert_eq!(
            bytes,
            [
                0x61, 0x12, 0, 0, 0, 0, 0, 0, // r2 = context.access_type
                0xbf, 0x23, 0, 0, 0, 0, 0, 0, // r3 = r2
                0x57, 0x02, 0, 0, 0xff, 0xff, 0, 0, // r2 &= 0xffff
                0x77, 0x03, 0, 0, 16, 0, 0, 0, // r3 >>= 16
                0x61, 0x14, 4, 0, 0, 0, 0, 0, // r4 = context.major
                0x61, 0x15, 8, 0, 0, 0, 0, 0, // r5 = context.minor
                0xb7, 0x00, 0, 0, 0, 0, 0, 0, // r0 = 0
                0x95, 0x00, 0, 0, 0, 0, 0, 0, // return
            ]
        );
    }
    assert!(!decide(&[], 2, 1, 3, "r"));
}

#[test]
fn a_rule_tests_kind_major_and_minor_before_it_decides() {
    let rule = encode_rule(&NULL);
    assert_eq!(
        rule,
        [
            with_immediate(JUMP_IF_NOT_EQUAL, KIND, 6, 2),
            with_immediate(JUMP_IF_NOT_EQUAL, MAJOR, 5, 1),
            with_immediate(JUMP_IF_NOT_EQUAL, MINOR, 4, 3),
            with_immediate(AND, WANTED, 0, !7),
            with_immediate(JUMP_IF_NOT_EQUAL, WANTED, 2, 0),
            with_immediate(MOVE, ANSWER, 0, 1),
            with_immediate(EXIT, 0, 0, 0),
        ]
    );
}

#[test]
fn the_last_rule_that_matches_decides() {
    let rules = [DENY_ALL, NULL];
    assert!(decide(&rules, 2, 1, 3, "rw"));
    assert!(!decide(&rules, 1, 1, 3, "rw"), "a block device of the same number");
    assert!(!decide(&rules, 2, 1, 11, "r"));
    assert!(!decide(&[NULL, DENY_ALL], 2, 1, 3, "r"));
}

#[test]
fn each_kind_of_access_is_decided_for_itself() {
    let allow = |letters| DeviceRule { access: Access::parse(letters).unwrap(), ..NULL };
    let deny = |letters| DeviceRule { allow: false, ..allow(letters) };
    assert!(decide(&[allow("r"), allow("w")], 2, 1, 3, "rw"), "granted by two rules together");
    assert!(!decide(&[allow("r")], 2, 1, 3, "rw"));
    assert!(!decide(&[allow("rwm"), deny("w")], 2, 1, 3, "rw"), "half denied is denied");
    assert!(decide(&[allow("rwm"), deny("w")], 2, 1, 3, "rm"));
    let nodes = DeviceRule { allow: true, access: Access::MAKE, major: None, minor: None, ..NULL };
    assert!(decide(&[DENY_ALL, nodes], 2, 8, 0, "m"));
    assert!(!decide(&[DENY_ALL, nodes], 1, 8, 0, "m"));
    assert!(!decide(&[DENY_ALL, nodes], 2, 8, 0, "rm"));
}

#[test]
fn letters_are_read() {
    assert_eq!(Access::parse("rwm"), Some(Access::ALL));
    assert_eq!(Access::parse(""), Some(Access::ALL));
    assert_eq!(Access::parse("m"), Some(Access::MAKE));
    assert_eq!(Access::parse("rx"), None);
}

/// A v2 group of the test's own on the host: also a hybrid host has the hierarchy.
#[test]
fn the_kernel_takes_the_program_and_obeys_it() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: BPF needs root");
        return;
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let Some(mount) = mount.and_then(|line| line.split(' ').nth(1)) else {
        println!("skipped: no cgroup2 file system is mounted");
        return;
    };
    let group = std::path::Path::new(mount).join(format!("cofferdam-test-devices-{}", std::process::id()));
    std::fs::create_dir(&group).unwrap();
    let attached = attach(&File::open(&group).unwrap(), &[DENY_ALL, NULL]);
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg("echo $$ >\"$0\" && head -c1 /dev/null && echo null; head -c1 /dev/zero >/dev/null && echo zero")
        .arg(group.join("cgroup.procs"))
        .output()
        .unwrap();
    std::fs::remove_dir(&group).unwrap();
    match attached {
        Err(error)
            if error.raw_os_error() == Some(libc::EPERM) || error.raw_os_error() == Some(libc::ENOSYS) =>
        {
            println!("skipped: this host does not let us load BPF programs: {error}");
        }
        result => {
            result.unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), "null\n", "{output:?}");
        }
    }
}
