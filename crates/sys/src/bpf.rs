//! BPF programs: their instructions, encoded here, and loading them.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One BPF instruction (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) destination: u8,
    pub(crate) source: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

impl Instruction {
    pub(crate) fn encode(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        bytes[0] = self.code;
        bytes[1] = if cfg!(target_endian = "big") {
            self.destination << 4 | self.source
        } else {
            self.source << 4 | self.destination
        };
        bytes[2..4].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.immediate.to_ne_bytes());
        bytes
    }
}

// Classes, sizes and operations of the instruction set (linux/bpf_common.h and linux/bpf.h).
pub(crate) const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
pub(crate) const MOVE_REGISTER: u8 = 0xbf; // BPF_ALU64 | BPF_MOV | BPF_X
pub(crate) const MOVE: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
pub(crate) const AND: u8 = 0x57; // BPF_ALU64 | BPF_AND | BPF_K
pub(crate) const SHIFT_RIGHT: u8 = 0x77; // BPF_ALU64 | BPF_RSH | BPF_K
pub(crate) const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
pub(crate) const JUMP_IF_NOT_EQUAL: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
pub(crate) const JUMP_IF_ANY_SET: u8 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
pub(crate) const CALL: u8 = 0x85; // BPF_JMP | BPF_CALL
pub(crate) const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

pub(crate) fn with_immediate(code: u8, destination: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, destination, source: 0, offset, immediate }
}

/// Reads a word of what `source` points to.
pub(crate) fn load_word(destination: u8, source: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, destination, source, offset, immediate: 0 }
}

pub(crate) fn move_register(destination: u8, source: u8) -> Instruction {
    Instruction { code: MOVE_REGISTER, destination, source, offset: 0, immediate: 0 }
}

const BPF_PROG_LOAD: libc::c_long = 5;

/// The fields of `union bpf_attr` that loading uses; a shorter one than the kernel's is allowed.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// Has the kernel check and take a program; its verifier's words are in the error.
pub(crate) fn load_program(kind: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    let code: Vec<u8> = program.iter().copied().flat_map(Instruction::encode).collect();
    let license = c"Apache-2.0";
    let mut log = vec![0u8; 16 * 1024];
    let attributes = LoadAttributes {
        program_type: kind,
        instruction_count: u32::try_from(program.len()).map_err(io::Error::other)?,
        instructions: address(code.as_ptr()),
        license: address(license.as_ptr()),
        log_level: 1,
        log_size: u32::try_from(log.len()).map_err(io::Error::other)?,
        log: address(log.as_mut_ptr()),
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes are a prefix of `union bpf_attr`, of the size given; code, license and log outlive the
    // call and have the lengths that they state.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<LoadAttributes>())
    };
    match i32::try_from(result) {
        // SAFETY: the call returned a new descriptor, which nobody else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => {
            let error = io::Error::last_os_error();
            let said = String::from_utf8_lossy(&log);
            let said = said.trim_end_matches('\0').trim();
            if said.is_empty() {
                Err(error)
            } else {
                Err(io::Error::new(error.kind(), format!("{error}: {said}")))
            }
        }
    }
}

fn address<T>(pointer: *const T) -> u64 {
    u64::try_from(pointer.addr()).unwrap_or_default()
}
