//! The filter that lets a supervisor see every call, and the profile that allows the calls that it has seen.

use std::collections::BTreeSet;

use linux::seccomp::Call;
use oci_spec::runtime::Arch;
use serde_json::{Value, json};

use super::{Filter, abi};

/// Calls that no run shows for certain, because they end a program or the kernel makes the program call them: after a
/// signal, or when it was stopped and continued.
const ALWAYS: &[&str] = &["exit", "exit_group", "restart_syscall", "rt_sigreturn"];

/// Calls that croci makes between the filter and the program in `create`, `start` and `exec`, and not in `run`.
const OF_INIT: &[&str] = &["close", "execve", "read", "write"];

/// Returns the filter that notifies of every call, also of those of init after it.
pub(crate) fn recording() -> Filter {
    let notify =
        libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: libc::SECCOMP_RET_USER_NOTIF };
    Filter {
        program: vec![notify],
        flags: libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        notify: true,
        notify_sendmsg: true,
        listener_path: None,
        listener_metadata: None,
    }
}

/// Returns `linux.seccomp` of the smallest profile that allows the calls; the others fail with EPERM.
pub(crate) fn profile_for(calls: &BTreeSet<Call>) -> Value {
    // the native one is always allowed
    let mut columns = BTreeSet::from([0]);
    let mut names: BTreeSet<&str> = ALWAYS.iter().chain(OF_INIT).copied().collect();
    for (column, name) in calls.iter().filter_map(name_of) {
        columns.insert(column);
        names.insert(name);
    }
    let architectures: Vec<Arch> =
        columns.iter().filter_map(|column| abi::NATIVE.abis.get(*column)).map(|abi| abi.arch).collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures,
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

/// Returns the column of the ABI in the tables and the name of a call; `None` for one that no table of this build has.
fn name_of(call: &Call) -> Option<(usize, &'static str)> {
    let fits = |abi: &abi::Abi| abi.audit == call.arch && (abi.first == 0 || call.number >= abi.first);
    // the last: x32 has the audit value of x86_64
    let (column, _) = abi::NATIVE.abis.iter().enumerate().rev().find(|(_, abi)| fits(abi))?;
    let row = abi::NATIVE.rows.iter().find(|row| row.numbers.get(column) == Some(&call.number))?;
    Some((column, std::str::from_utf8(row.name()).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_profile_has_the_calls_by_name_and_architecture() {
        let native = abi::NATIVE.abis[0].audit;
        let calls = [libc::SYS_getpid, libc::SYS_openat].map(|number| Call { arch: native, number: number as u32 });
        let profile = profile_for(&BTreeSet::from(calls));
        let names: Vec<&str> =
            profile["syscalls"][0]["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "close",
                "execve",
                "exit",
                "exit_group",
                "getpid",
                "openat",
                "read",
                "restart_syscall",
                "rt_sigreturn",
                "write"
            ]
        );
        assert_eq!(profile["architectures"].as_array().unwrap().len(), 1, "{profile}");
        let profile = serde_json::from_value(profile).unwrap();
        super::super::compile(&profile).unwrap();
    }
}
