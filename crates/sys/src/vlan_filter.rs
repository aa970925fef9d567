//! BPF programs for traffic control that tell the VLANs on a VM's card apart (`BPF_PROG_TYPE_SCHED_CLS`, direct action).
//!
//! A VM has one card; its further networks are VLANs on it. What comes from a network is tagged on its way to the VM,
//! what comes from the VM is sorted by its tag, which is taken off. (Kernel: `bpf-helpers(7)`, `bpf_skb_vlan_push`,
//! `bpf_skb_vlan_pop`, `bpf_redirect`.)

use std::io;
use std::os::fd::OwnedFd;

use crate::bpf::{
    AND, CALL, EXIT, Instruction, JUMP_IF_NOT_EQUAL, MOVE, load_program, load_word, move_register,
    with_immediate,
};

const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

// Helpers by their numbers in linux/bpf.h.
const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;
const REDIRECT: i32 = 23;

/// 802.1Q, as it stands in a frame.
const ETH_P_8021Q: u16 = 0x8100;
/// The lower bits of a tag are the VLAN's number.
const VLAN_NUMBER: i32 = 0xfff;
const TC_ACT_SHOT: i32 = 2;

// Fields of `struct __sk_buff`.
const VLAN_PRESENT: i16 = 20;
const VLAN_TCI: i16 = 24;

// Registers. Calls keep the last two.
const ANSWER: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;
const THIRD: u8 = 3;
const FRAME: u8 = 6;
const TAG: u8 = 7;

/// Tags every frame with `vlan` and sends it out at the interface `to`.
pub fn tag(vlan: u16, to: u32) -> io::Result<OwnedFd> {
    let mut program = vec![
        with_immediate(MOVE, SECOND, 0, i32::from(ETH_P_8021Q.to_be())),
        with_immediate(MOVE, THIRD, 0, i32::from(vlan)),
        with_immediate(CALL, 0, 0, VLAN_PUSH),
    ];
    program.extend(redirect(to)?);
    load_program(BPF_PROG_TYPE_SCHED_CLS, &program)
}

/// Sends every frame out at the interface of its VLAN, without the tag; those without a tag at `untagged`. The others are
/// dropped.
pub fn sort(untagged: Option<u32>, vlans: &[(u16, u32)]) -> io::Result<OwnedFd> {
    let plain = untagged.map_or_else(|| Ok(drop_it().to_vec()), |to| redirect(to).map(Vec::from))?;
    let mut program = vec![move_register(FRAME, FIRST), load_word(TAG, FRAME, VLAN_PRESENT)];
    program.push(over(TAG, 0, &plain));
    program.extend(plain);
    program.push(load_word(TAG, FRAME, VLAN_TCI));
    program.push(with_immediate(AND, TAG, 0, VLAN_NUMBER));
    for (vlan, to) in vlans {
        let mut this = vec![move_register(FIRST, FRAME), with_immediate(CALL, 0, 0, VLAN_POP)];
        this.extend(redirect(*to)?);
        program.push(over(TAG, i32::from(*vlan), &this));
        program.extend(this);
    }
    program.extend(drop_it());
    load_program(BPF_PROG_TYPE_SCHED_CLS, &program)
}

/// Goes over these instructions unless the register has the value.
fn over(register: u8, value: i32, instructions: &[Instruction]) -> Instruction {
    let count = i16::try_from(instructions.len()).unwrap_or(i16::MAX);
    with_immediate(JUMP_IF_NOT_EQUAL, register, count, value)
}

fn redirect(to: u32) -> io::Result<[Instruction; 4]> {
    let to = i32::try_from(to).map_err(io::Error::other)?;
    Ok([
        with_immediate(MOVE, FIRST, 0, to),
        with_immediate(MOVE, SECOND, 0, 0),
        with_immediate(CALL, 0, 0, REDIRECT),
        with_immediate(EXIT, 0, 0, 0),
    ])
}

fn drop_it() -> [Instruction; 2] {
    [with_immediate(MOVE, ANSWER, 0, TC_ACT_SHOT), with_immediate(EXIT, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's verifier is the judge; it lets root only.
    #[test]
    fn the_kernel_takes_the_programs() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: loading BPF programs needs root");
            return;
        }
        tag(7, 1).unwrap();
        sort(None, &[]).unwrap();
        let many: Vec<(u16, u32)> = (1..=31).map(|vlan| (vlan, 1)).collect();
        sort(Some(1), &many).unwrap();
    }
}
