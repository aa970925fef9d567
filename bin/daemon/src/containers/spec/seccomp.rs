//! The system calls a container may make.
//!
//! The default profile allows what ordinary programs need and answers `EPERM` to the rest, the same calls as under
//! Docker: what opens the kernel's administration, other processes or the host is allowed only to containers that
//! hold the capability for it. Names that the host's libseccomp does not know are skipped by the runtime.

use serde_json::{Value, json};

/// Allowed to everyone, by theme.
const COMMON: &[&str] = &[
    // Files, directories, attributes.
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
     faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
     fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64
     fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat
     ioctl lchown lchown32 lgetxattr link linkat listmount listxattr listxattrat llistxattr _llseek
     lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat
     open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
     readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat
     splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee
     truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev",
    // Events, pipes, asynchronous I/O.
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
     eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel
     io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect pipe pipe2
     poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4 timerfd_create
     timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64",
    // Memory.
    "brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2
     mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
     pkey_mprotect process_mrelease remap_file_pages",
    // Processes, threads, scheduling, identity.
    // The last three, on other processes' memory, are harmless since Linux 4.8: ptrace obeys the user namespace.
    "alarm capget capset execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait
     futex_waitv futex_wake getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
     getitimer getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32
     getrlimit get_robust_list getrusage getsid get_thread_area gettid getuid getuid32 ioprio_get ioprio_set
     kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr
     lsm_list_modules lsm_set_self_attr pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall
     rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
     rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam
     sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval
     sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
     sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
     setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
     setreuid32 setrlimit set_robust_list setsid set_thread_area set_tid_address setuid setuid32 sigaltstack
     sigprocmask sigreturn tgkill tkill ugetrlimit vfork wait4 waitid waitpid process_vm_readv
     process_vm_writev ptrace",
    // Time and the machine.
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
     clock_nanosleep clock_nanosleep_time64 getrandom gettimeofday nanosleep riscv_hwprobe sysinfo time
     timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
     times uname uretprobe",
    // Sockets and System V and POSIX communication. `socket` itself has a condition below.
    "accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr mq_notify
     mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget
     msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop
     semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall
     socketpair",
    // Instruction-set specific state.
    "arch_prctl modify_ldt",
];

/// Allowed to containers that hold the capability.
const WITH_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr
         move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
         umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// `CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET`: new namespaces need CAP_SYS_ADMIN.
const NEW_NAMESPACES: u64 = 0x7E02_0000;
/// `personality` values of ordinary programs: Linux, 32-bit uname, and combinations; and "tell me the current one".
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];
/// `AF_VSOCK`: it would reach the hypervisor below, past the container's network namespace.
const AF_VSOCK: u64 = 40;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The default profile for a container with these capabilities, as OCI's `linux.seccomp`.
#[must_use]
pub fn default_profile(capabilities: &[&str]) -> Value {
    let mut names: Vec<&str> = COMMON.iter().flat_map(|group| group.split_whitespace()).collect();
    for (capability, more) in WITH_CAPABILITY {
        if capabilities.contains(capability) {
            names.extend(more.split_whitespace());
        }
    }
    names.sort_unstable();
    names.dedup();

    let allow = |name: &str, args: Value| json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": args});
    let equal = |value: u64| json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]);
    let mut rules = vec![json!({"names": names, "action": "SCMP_ACT_ALLOW"})];
    rules.push(allow("socket", json!([{"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}])));
    rules.extend(PERSONALITIES.map(|value| allow("personality", equal(value))));
    if !capabilities.contains(&"CAP_SYS_ADMIN") {
        let masked =
            json!([{"index": 0, "value": NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]);
        rules.push(allow("clone", masked));
        // Its flags lie in memory, where a filter cannot look: programs fall back to `clone`.
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn architectures() -> Value {
    match std::env::consts::ARCH {
        "x86_64" => json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        "aarch64" => json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        other => json!([format!("SCMP_ARCH_{}", other.to_ascii_uppercase())]),
    }
}

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("decoding seccomp profile failed: {0}")]
pub struct InvalidProfile(#[from] serde_json::Error);

/// A profile in Docker's own file format, for a container with these capabilities: `includes` and `excludes` are
/// decided, `archMap` becomes `architectures`.
pub fn custom_profile(text: &str, capabilities: &[&str]) -> Result<Value, InvalidProfile> {
    let mut profile: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    let holds = |list: &Value| {
        let mut names = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        names.any(|name| capabilities.contains(&name))
    };
    let for_us = |list: &Value| {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        list.as_array().into_iter().flatten().filter_map(Value::as_str).any(|name| name == arch)
    };
    if let Some(Value::Array(rules)) = profile.get_mut("syscalls") {
        rules.retain(|rule| {
            let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
            let unlisted = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
            (unlisted(&includes["caps"]) || holds(&includes["caps"]))
                && (unlisted(&includes["arches"]) || for_us(&includes["arches"]))
                && !holds(&excludes["caps"])
                && !for_us(&excludes["arches"])
        });
        for rule in rules.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(name) = rule.remove("name") {
                rule.insert("names".to_owned(), json!([name]));
            }
            rule.retain(|key, value| {
                ["names", "action", "errnoRet", "args"].contains(&key.as_str()) && !value.is_null()
            });
        }
    }
    if profile.remove("archMap").is_some() && !profile.contains_key("architectures") {
        profile.insert("architectures".to_owned(), architectures());
    }
    profile.retain(|_, value| !value.is_null());
    Ok(Value::Object(profile))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(profile: &Value, name: &str) -> bool {
        let rules = profile["syscalls"].as_array().unwrap();
        rules.iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW"
                && rule["args"].is_null()
                && rule["names"].as_array().unwrap().iter().any(|listed| listed == name)
        })
    }

    #[test]
    fn the_default_parses_and_holds_back_administration() {
        let profile = default_profile(&["CAP_SYS_CHROOT"]);
        serde_json::from_value::<oci_spec::runtime::LinuxSeccomp>(profile.clone()).unwrap();
        for name in ["read", "execve", "futex", "chroot", "ptrace", "arch_prctl"] {
            assert!(allowed(&profile, name), "{name}");
        }
        for name in [
            "mount",
            "unshare",
            "setns",
            "bpf",
            "keyctl",
            "add_key",
            "kexec_load",
            "reboot",
            "io_uring_setup",
            "clone",
            "clone3",
            "open_by_handle_at",
            "userfaultfd",
            "socket",
            "personality",
            "swapon",
        ] {
            assert!(!allowed(&profile, name), "{name}");
        }
    }

    #[test]
    fn capabilities_open_what_they_are_for() {
        let profile = default_profile(&["CAP_SYS_ADMIN", "CAP_SYS_TIME"]);
        for name in ["mount", "unshare", "clone3", "settimeofday"] {
            assert!(allowed(&profile, name), "{name}");
        }
        assert!(!profile.to_string().contains("MASKED_EQ"));
    }

    #[test]
    fn a_custom_profile_is_decided() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[],"syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW","comment":"","includes":{},"excludes":{}},
            {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"name":"clone","action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
        let profile = custom_profile(text, &["CAP_CHOWN"]).unwrap();
        serde_json::from_value::<oci_spec::runtime::LinuxSeccomp>(profile.clone()).unwrap();
        assert!(allowed(&profile, "read") && allowed(&profile, "clone") && !allowed(&profile, "mount"));
        assert!(custom_profile("nonsense", &[]).is_err());
    }
}
