//! System calls that have no safe wrapper. The only unsafe code of the suite.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};

use serde_json::{Value, json};

/// The system calls that an act can name; others go by number.
const NAMES: &[(&str, i64)] = &[
    ("acct", libc::SYS_acct),
    ("add_key", libc::SYS_add_key),
    ("bpf", libc::SYS_bpf),
    ("chroot", libc::SYS_chroot),
    ("clone3", libc::SYS_clone3),
    ("getcwd", libc::SYS_getcwd),
    ("getpid", libc::SYS_getpid),
    ("getppid", libc::SYS_getppid),
    ("getpriority", libc::SYS_getpriority),
    ("getuid", libc::SYS_getuid),
    ("kill", libc::SYS_kill),
    ("keyctl", libc::SYS_keyctl),
    ("mkdir", libc::SYS_mkdir),
    ("mkdirat", libc::SYS_mkdirat),
    ("mount", libc::SYS_mount),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("personality", libc::SYS_personality),
    ("prctl", libc::SYS_prctl),
    ("ptrace", libc::SYS_ptrace),
    ("reboot", libc::SYS_reboot),
    ("sched_yield", libc::SYS_sched_yield),
    ("setgid", libc::SYS_setgid),
    ("setns", libc::SYS_setns),
    ("setuid", libc::SYS_setuid),
    ("socket", libc::SYS_socket),
    ("sync", libc::SYS_sync),
    ("sysinfo", libc::SYS_sysinfo),
    ("umask", libc::SYS_umask),
    ("unshare", libc::SYS_unshare),
];

/// The number of a system call.
pub fn number(name: &str) -> Option<i64> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// A system call whose arguments are numbers, or null pointers.
pub fn call(number: i64, arguments: [i64; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: no pointer of ours is handed out; the kernel answers EFAULT to what is none of this process's addresses
    cvt(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

fn cvt(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The effective, permitted and inheritable sets.
pub fn capabilities() -> [u64; 3] {
    // version 3, this thread
    let mut header = [0x2008_0522_u32, 0];
    let mut data = [[0_u32; 3]; 2];
    // SAFETY: version 3 takes a header of two words and writes two structures of three words
    unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) };
    let [low, high] = data;
    std::array::from_fn(|set| {
        let word = |half: [u32; 3]| u64::from(half.get(set).copied().unwrap_or_default());
        word(low) | word(high) << 32
    })
}

fn prctl_set(ask: impl Fn(i64) -> i64) -> u64 {
    (0..64).filter(|&bit| ask(bit) == 1).fold(0, |set, bit| set | 1 << bit)
}

/// The bounding set.
pub fn bounding() -> u64 {
    // SAFETY: takes numbers alone
    prctl_set(|bit| unsafe { libc::syscall(libc::SYS_prctl, i64::from(libc::PR_CAPBSET_READ), bit, 0, 0, 0) })
}

/// The ambient set.
pub fn ambient() -> u64 {
    let is_set = i64::from(libc::PR_CAP_AMBIENT_IS_SET);
    // SAFETY: takes numbers alone
    prctl_set(|bit| unsafe { libc::syscall(libc::SYS_prctl, i64::from(libc::PR_CAP_AMBIENT), is_set, bit, 0, 0) })
}

/// Whether a descriptor is open.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: takes a number, which may be no descriptor, and changes nothing
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// Whether a descriptor is a terminal.
pub fn is_terminal(fd: i32) -> bool {
    // SAFETY: takes a number, which may be no descriptor, and changes nothing
    unsafe { libc::isatty(fd) == 1 }
}

/// Rows and columns of the terminal at descriptor 0.
pub fn window_size() -> Value {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the kernel writes one `winsize`, or fails; zeroes are a valid one
    let (done, size) = unsafe { (libc::ioctl(0, libc::TIOCGWINSZ, size.as_mut_ptr()), size.assume_init()) };
    if done == 0 { json!({"height": size.ws_row, "width": size.ws_col}) } else { Value::Null }
}

#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// `sched_getattr(2)`
pub fn scheduler() -> Value {
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes no more than the size given, which is the structure's
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size_of::<SchedAttr>(), 0) };
    let names = ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"];
    if done != 0 {
        return Value::Null;
    }
    json!({
        "policy": usize::try_from(attr.policy).ok().and_then(|number| names.get(number)), "flags": attr.flags,
        "nice": attr.nice, "priority": attr.priority,
        "runtime": attr.runtime, "deadline": attr.deadline, "period": attr.period,
    })
}

/// `ioprio_get(2)` of this process.
pub fn ioprio() -> Value {
    const PROCESS: i64 = 1;
    // SAFETY: takes numbers alone
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, PROCESS, 0) };
    let classes = ["IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
    let class = usize::try_from(value >> 13 & 7).ok().and_then(|number| classes.get(number));
    if value == -1 { Value::Null } else { json!({"class": class, "priority": value & 7}) }
}

/// The execution domain, which `personality(2)` tells when asked for the impossible one.
pub fn personality() -> Value {
    // SAFETY: takes a number alone; this one changes nothing
    let value = unsafe { libc::syscall(libc::SYS_personality, 0xffff_ffff_u32) };
    if value == -1 { Value::Null } else { value.into() }
}

/// Mode with flags, and nodes, as `get_mempolicy(2)` tells them.
pub fn memory_policy() -> Value {
    let (mut mode, mut nodes) = (0_i32, [0_u64; 16]);
    // SAFETY: the kernel writes one int and as many bits of the mask as it is told
    let done = unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), 1024, 0, 0) };
    let is_set = |node: &usize| nodes.get(node / 64).is_some_and(|word| word >> (node % 64) & 1 == 1);
    if done == 0 {
        json!({"mode": mode, "nodes": (0..1024).filter(is_set).collect::<Vec<usize>>()})
    } else {
        Value::Null
    }
}

/// The serial number of the session keyring, where there is one.
pub fn session_keyring() -> Value {
    const GET_KEYRING_ID: i64 = 0;
    const SESSION_KEYRING: i64 = -3;
    // SAFETY: takes numbers alone
    let id = unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION_KEYRING, 0) };
    if id == -1 { Value::Null } else { id.into() }
}
