//! The seccomp filter of VM worker and share server: what a hypervisor never needs is refused.
//!
//! It is a list of refusals, because QEMU and its libraries use a wide and changing set of calls. It is there from
//! before QEMU's first instruction; QEMU's own `-sandbox` adds to it once QEMU has opened what it needs.

use std::os::fd::OwnedFd;

use anyhow::Result;
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use rustix::fs::MemfdFlags;

/// Ways to new privileges, into the kernel, to other processes, or to the network.
const REFUSED: &[&str] = &[
    "accept",
    "accept4",
    "acct",
    "add_key",
    "adjtimex",
    "bind",
    "bpf",
    "chroot",
    "clock_adjtime",
    "clock_settime",
    "connect",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "kill",
    "landlock_add_rule",
    "listen",
    "lookup_dcookie",
    "mknod",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pivot_root",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setdomainname",
    "sethostname",
    "setns",
    "settimeofday",
    "socket",
    "stime",
    "swapoff",
    "swapon",
    "sysfs",
    "syslog",
    "umount",
    "umount2",
    "unshare",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
];

/// What QEMU's `-sandbox` refuses beside those: other users' rights, further processes, more of the processors.
const REFUSED_WHEN_THAWED: &[&str] = &[
    "execve",
    "execveat",
    "fork",
    "ioprio_set",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "setfsgid",
    "setfsuid",
    "setgid",
    "setgroups",
    "setpgid",
    "setpriority",
    "setregid",
    "setresgid",
    "setresuid",
    "setreuid",
    "setsid",
    "setuid",
    "vfork",
];

/// The filter that a thawed process puts upon the VM worker's, as QEMU's own was frozen with nothing but its memory:
/// a file of `struct sock_filter`s.
pub fn for_thawed() -> Result<OwnedFd> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    for name in REFUSED_WHEN_THAWED {
        filter.add_rule(ScmpAction::Errno(libc::EPERM), ScmpSyscall::from_name(name)?)?;
    }
    // A thread is made by clone, and so is a process.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let process = ScmpArgCompare::new(0, ScmpCompareOp::MaskedEqual(thread), 0);
    filter.add_rule_conditional(
        ScmpAction::Errno(libc::EPERM),
        ScmpSyscall::from_name("clone")?,
        &[process],
    )?;
    let file = rustix::fs::memfd_create("filter", MemfdFlags::CLOEXEC)?;
    filter.export_bpf(&file)?;
    Ok(file)
}

/// Loads the VM worker's filter into this thread; the programs that it executes keep it.
pub fn load() -> Result<()> {
    load_without(&[], &[])
}

/// Loads the share server's filter: it makes pipes and sockets for the guest, executes nothing, and has nobody to signal.
pub fn load_for_share() -> Result<()> {
    let more =
        ["execve", "execveat", "fork", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tgkill", "tkill", "vfork"];
    load_without(&["mknod", "mknodat"], &more)
}

fn load_without(allowed: &[&str], more: &[&str]) -> Result<()> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    for name in REFUSED.iter().chain(more).filter(|name| !allowed.contains(name)) {
        // A call that this machine or this libseccomp does not know needs no refusal.
        if let Ok(call) = ScmpSyscall::from_name(name) {
            filter.add_rule(ScmpAction::Errno(libc::EPERM), call)?;
        }
    }
    // clone3 hides its flags in memory, where no filter can see them: glibc falls back to clone on ENOSYS.
    if let Ok(clone3) = ScmpSyscall::from_name("clone3") {
        filter.add_rule(ScmpAction::Errno(libc::ENOSYS), clone3)?;
    }
    let clone = ScmpSyscall::from_name("clone")?;
    let namespaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    for flag in namespaces {
        let flag = u64::from(flag.unsigned_abs());
        let set = ScmpArgCompare::new(0, ScmpCompareOp::MaskedEqual(flag), flag);
        filter.add_rule_conditional(ScmpAction::Errno(libc::EPERM), clone, &[set])?;
    }
    filter.load()?;
    Ok(())
}
