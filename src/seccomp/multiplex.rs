//! System calls that i386 can also make through `socketcall` or `ipc`, selected by the first argument.
//!
//! A rule for `socket` alone would not apply to `socketcall(SYS_SOCKET, …)` of a 32-bit program. As in libseccomp there
//! is a second rule for the multiplexer, whose selector replaces a condition on argument 0.

use oci_spec::runtime::LinuxSeccompOperator as Op;

use super::rule::Condition;

/// The multiplexer of a call and the condition that selects the call.
pub(super) struct Selector {
    /// `socketcall` or `ipc`.
    pub call: &'static str,
    /// The condition on argument 0.
    pub condition: Condition,
}

/// Returns the selector of `socketcall` (linux/net.h, `SYS_*`).
fn socketcall(name: &str) -> Option<u64> {
    Some(match name {
        "socket" => 1,
        "bind" => 2,
        "connect" => 3,
        "listen" => 4,
        "accept" => 5,
        "getsockname" => 6,
        "getpeername" => 7,
        "socketpair" => 8,
        "send" => 9,
        "recv" => 10,
        "sendto" => 11,
        "recvfrom" => 12,
        "shutdown" => 13,
        "setsockopt" => 14,
        "getsockopt" => 15,
        "sendmsg" => 16,
        "recvmsg" => 17,
        "accept4" => 18,
        "recvmmsg" => 19,
        "sendmmsg" => 20,
        _ => return None,
    })
}

/// Returns the selector of `ipc` (linux/ipc.h).
fn ipc(name: &str) -> Option<u64> {
    Some(match name {
        "semop" => 1,
        "semget" => 2,
        "semctl" => 3,
        "semtimedop" => 4,
        "msgsnd" => 11,
        "msgrcv" => 12,
        "msgget" => 13,
        "msgctl" => 14,
        "shmat" => 21,
        "shmdt" => 22,
        "shmget" => 23,
        "shmctl" => 24,
        _ => return None,
    })
}

/// Returns the multiplexer of the system call `name`, if there is one.
///
/// Only the lower half of `ipc`'s first argument is compared, because the upper half is a version. libseccomp compares
/// the whole word, which `ipc(1 << 16 | SEMOP)` evades.
pub(super) fn find(name: &str) -> Option<Selector> {
    if let Some(value) = socketcall(name) {
        let condition = Condition { index: 0, op: Op::ScmpCmpEq, mask: u64::MAX, value };
        return Some(Selector { call: "socketcall", condition });
    }
    let condition = Condition { index: 0, op: Op::ScmpCmpMaskedEq, mask: 0xffff, value: ipc(name)? };
    Some(Selector { call: "ipc", condition })
}
