/* Calls what the default seccomp profile must refuse, and prints the answers. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void report(const char *name, long result) {
    printf("%s %s\n", name, result >= 0 ? "allowed" : strerrorname_np(errno));
}

int main(void) {
    char nothing[128] = {0};
    report("keyctl", syscall(SYS_keyctl, 0, -3, 0, 0, 0));
    report("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    report("bpf", syscall(SYS_bpf, 0, nothing, sizeof nothing));
    report("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0));
    report("unshare-user", syscall(SYS_unshare, CLONE_NEWUSER));
    report("unshare-mount", syscall(SYS_unshare, CLONE_NEWNS));
    report("init_module", syscall(SYS_init_module, nothing, 0, ""));
    report("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    report("perf_event_open", syscall(SYS_perf_event_open, nothing, 0, -1, -1, 0));
    report("userfaultfd", syscall(SYS_userfaultfd, 0));
    report("open_by_handle_at", syscall(SYS_open_by_handle_at, -1, nothing, 0));
    report("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    report("swapon", syscall(SYS_swapon, "/none", 0));
    report("settimeofday", syscall(SYS_settimeofday, nothing, 0));
    report("clone3", syscall(SYS_clone3, 0, 0));
    report("getpid", syscall(SYS_getpid));
    return 0;
}
