//! The seccomp profile of a container.
//!
//! An allow-list that refuses other calls with EPERM, as in other engines. It omits calls that change the machine or
//! its kernel (modules, mounts, clocks, swap, reboot), that read other processes or kernel memory beyond ptrace's own
//! checks (bpf, perf, userfaultfd, kernel keys), obsolete calls, io_uring (its operations bypass every filter), and new
//! namespaces, because most kernel escapes of recent years began with one.

use serde_json::{Value, json};

/// Flags of clone(2) for a new namespace: `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}`.
const CLONE_NEW: u64 = 0x7e02_0000;

/// `AF_VSOCK`: sockets to the host of a virtual machine.
const AF_VSOCK: u64 = 40;

/// `AF_ALG`: the kernel's cryptography, rarely used and often vulnerable.
const AF_ALG: u64 = 38;

/// Permitted arguments of personality(2): PER_LINUX, PER_LINUX32, without address randomization, both, and the query.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Calls permitted without a condition, those of 32-bit programs included.
const ALLOWED: &str = "_llseek _newselect accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget \
    capset chdir chmod chown chown32 chroot clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 \
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range \
    creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
    epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 \
    fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr \
    flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 \
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_mempolicy get_robust_list \
    get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups \
    getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 \
    getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 \
    getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents \
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr \
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack mbind membarrier \
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect \
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink \
    mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat \
    open openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect \
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_madvise process_mrelease process_vm_readv \
    process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv \
    recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 \
    restart_syscall riscv_flush_icache riscv_hwprobe rmdir rseq rseq_slice_yield rt_sigaction rt_sigpending \
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo \
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam \
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile \
    sendfile64 sendmmsg sendmsg sendto set_mempolicy set_mempolicy_home_node set_robust_list set_thread_area \
    set_tid_address set_tls setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer \
    setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit \
    setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaction sigaltstack \
    signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend socketcall socketpair splice stat stat64 \
    statfs statfs64 statmount statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill \
    time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 \
    timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 \
    ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 \
    waitid waitpid write writev";

/// Calls that need a capability which containers do not have by default: permitted to those that have it, because the
/// caller gave it for them.
const BY_CAPABILITY: [(&str, &str); 12] = [
    ("CAP_BPF", "bpf"),
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ("CAP_PERFMON", "perf_event_open"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules \
         lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname \
         sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise ptrace"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
];

/// Returns the profile for a container whose root has these capabilities, as `linux.seccomp`.
pub(super) fn profile(capabilities: &[&str]) -> Value {
    let may = |name: &str| capabilities.contains(&name);
    let arg = |value: u64, op: &str| json!({"index": 0, "value": value, "op": op});
    let more = BY_CAPABILITY.iter().filter(|(name, _)| may(name)).flat_map(|(_, calls)| calls.split_ascii_whitespace());
    let calls: Vec<&str> = ALLOWED.split_ascii_whitespace().chain(more).collect();
    let mut rules = vec![
        json!({"names": calls, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg(AF_ALG, "SCMP_CMP_LT")]}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg(AF_ALG + 1, "SCMP_CMP_EQ")]}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg(AF_VSOCK, "SCMP_CMP_GT")]}),
    ];
    if !may("CAP_SYS_ADMIN") {
        rules.extend([
            json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": CLONE_NEW, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}),
            // a filter cannot read the flags, which are in memory: with ENOSYS the C library calls clone instead
            json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS}),
        ]);
    }
    rules.extend(PERSONALITIES.map(
        |value| json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [arg(value, "SCMP_CMP_EQ")]}),
    ));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

/// Returns the native architecture and the compatible ones.
fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "riscv64" => &["SCMP_ARCH_RISCV64"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_capability_brings_its_calls() {
        let allowed = |capabilities: &[&str]| profile(capabilities)["syscalls"][0]["names"].to_string();
        assert!(!allowed(&[]).contains("\"mount\"") && allowed(&["CAP_SYS_ADMIN"]).contains("\"mount\""));
        assert!(allowed(&["CAP_SYS_TIME"]).contains("settimeofday") && !allowed(&["CAP_SYS_TIME"]).contains("clone3"));
        let rules = profile(&["CAP_SYS_ADMIN"]).to_string();
        assert!(!rules.contains("SCMP_CMP_MASKED_EQ"), "{rules}");
    }

    #[test]
    fn what_breaks_out_is_not_on_the_list() {
        let allowed: Vec<&str> = ALLOWED.split_ascii_whitespace().collect();
        assert!(allowed.is_sorted(), "sorted, so that a call is found");
        for call in [
            "mount",
            "umount2",
            "move_mount",
            "open_tree",
            "fsopen",
            "fsconfig",
            "pivot_root",
            "setns",
            "unshare",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "reboot",
            "swapon",
            "settimeofday",
            "clock_settime",
            "add_key",
            "keyctl",
            "request_key",
            "open_by_handle_at",
            "io_uring_setup",
            "iopl",
            "ioperm",
            "acct",
            "quotactl",
            "syslog",
            "clone",
            "clone3",
            "personality",
            "socket",
            "fanotify_init",
            "vhangup",
            "sethostname",
            "lookup_dcookie",
            "process_madvise2",
            "umount",
            "vm86",
        ] {
            assert!(!allowed.contains(&call), "{call}");
        }
        for call in ["read", "execve", "futex", "openat2", "rseq", "statx", "wait4", "getrandom", "vfork"] {
            assert!(allowed.contains(&call), "{call}");
        }
    }
}
