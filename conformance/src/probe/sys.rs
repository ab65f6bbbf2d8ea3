//! Facts that Linux has by a system call alone, as JSON; null where the call fails.

use std::io::{self, IsTerminal as _};

use linux::{cred, query};
use serde_json::{Value, json};

/// The system calls that an act can name; others are given by number.
const NAMES: &[(&str, i64)] = &[
    ("acct", libc::SYS_acct),
    ("getcwd", libc::SYS_getcwd),
    ("getpid", libc::SYS_getpid),
    ("getppid", libc::SYS_getppid),
];

/// Returns the number of a system call.
pub fn number(name: &str) -> Option<i64> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Returns the effective, permitted and inheritable sets.
pub fn capabilities() -> [u64; 3] {
    let sets = cred::capget().unwrap_or_default();
    [sets.effective, sets.permitted, sets.inheritable]
}

fn set_of(contains: impl Fn(u8) -> io::Result<bool>) -> u64 {
    (0..64).filter(|&capability| contains(capability).unwrap_or(false)).fold(0, |set, bit| set | 1 << bit)
}

/// Returns the bounding set.
pub fn bounding() -> u64 {
    set_of(cred::in_bounding)
}

/// Returns the ambient set.
pub fn ambient() -> u64 {
    set_of(query::in_ambient)
}

/// Returns whether each of the standard streams is a terminal.
pub fn terminals() -> [bool; 3] {
    [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()]
}

/// Returns rows and columns of the terminal at descriptor 0.
pub fn window_size() -> Value {
    rustix::termios::tcgetwinsize(io::stdin())
        .map_or(Value::Null, |size| json!({"height": size.ws_row, "width": size.ws_col}))
}

/// Returns the scheduling attributes, from `sched_getattr(2)`.
pub fn scheduler() -> Value {
    let names = ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"];
    let Ok(attr) = query::scheduler() else { return Value::Null };
    json!({
        "policy": usize::try_from(attr.sched_policy).ok().and_then(|number| names.get(number)), "flags": attr.sched_flags,
        "nice": attr.sched_nice, "priority": attr.sched_priority,
        "runtime": attr.sched_runtime, "deadline": attr.sched_deadline, "period": attr.sched_period,
    })
}

/// Returns the I/O priority of this process, from `ioprio_get(2)`.
pub fn ioprio() -> Value {
    let classes = ["IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
    let Ok(value) = query::io_priority() else { return Value::Null };
    let class = usize::try_from(value >> 13 & 7).ok().and_then(|number| classes.get(number));
    json!({"class": class, "priority": value & 7})
}

/// Returns the execution domain.
pub fn personality() -> Value {
    query::personality().map_or(Value::Null, Value::from)
}

/// Returns mode with flags, and nodes, from `get_mempolicy(2)`.
pub fn memory_policy() -> Value {
    let Ok((mode, nodes)) = query::memory_policy() else { return Value::Null };
    let is_set = |node: &usize| nodes.get(node / 64).is_some_and(|word| word >> (node % 64) & 1 == 1);
    json!({"mode": mode, "nodes": (0..1024).filter(is_set).collect::<Vec<usize>>()})
}

/// Returns the serial number of the session keyring, where there is one.
pub fn session_keyring() -> Value {
    query::session_keyring().map_or(Value::Null, Value::from)
}
