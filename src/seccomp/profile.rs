//! The check of `linux.seccomp` and its conversion to verdicts, conditions and flags. Errors name the field.
//!
//! Independent of the machine; `filter` looks up numbers and emits instructions.

use super::rule::Condition;
use anyhow::{Context, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

/// Largest errno that a filter can return (`MAX_ERRNO`); the kernel reduces a larger one to this without an error.
const MAX_ERRNO: u32 = 4095;

/// A checked profile.
pub(super) struct Profile<'a> {
    /// The default action, a `SECCOMP_RET_*` value.
    pub default: u32,
    /// Calls newer than the newest in the profile return ENOSYS.
    pub unknown_is_enosys: bool,
    /// The listed architectures.
    pub archs: &'a [Arch],
    /// The rules, in order.
    pub entries: Vec<Entry<'a>>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// A rule has SCMP_ACT_NOTIFY.
    pub notify: bool,
    /// One of those rules is for sendmsg(2).
    pub notify_sendmsg: bool,
}

/// One element of `syscalls`.
pub(super) struct Entry<'a> {
    /// Names of the system calls.
    pub names: &'a [String],
    /// The action, a `SECCOMP_RET_*` value.
    pub verdict: u32,
    /// Rules with the same action, each a list of conditions; an empty list always holds.
    pub alternatives: Vec<Vec<Condition>>,
}

impl<'a> Profile<'a> {
    /// Checks and converts `seccomp`.
    ///
    /// # Errors
    /// A wrong property; the error names the field.
    pub(super) fn read(seccomp: &'a LinuxSeccomp) -> Result<Self> {
        let default_action = seccomp.default_action();
        // the calls of croci between the installation and the execve would wait for an agent without a descriptor
        ensure!(
            default_action != Action::ScmpActNotify,
            coded!(SeccompInvalid, "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action")
        );
        let default = verdict(default_action, seccomp.default_errno_ret())
            .code(Code::SeccompInvalid, "linux.seccomp.defaultErrnoRet")?;
        ensure!(
            seccomp.listener_metadata().is_none() || seccomp.listener_path().is_some(),
            coded!(SeccompInvalid, "linux.seccomp.listenerMetadata: only allowed together with listenerPath")
        );
        let syscalls = seccomp.syscalls().as_deref().unwrap_or_default();
        let entries = syscalls.iter().enumerate().map(|(at, call)| entry(at, call)).collect::<Result<Vec<_>>>()?;
        let mut notifying = syscalls.iter().filter(|call| call.action() == Action::ScmpActNotify).peekable();
        let notify = notifying.peek().is_some();
        let notify_sendmsg = notifying.any(|call| call.names().iter().any(|name| name == "sendmsg"));
        Ok(Self {
            default,
            unknown_is_enosys: unknown_is_enosys(default_action),
            archs: seccomp.architectures().as_deref().unwrap_or_default(),
            entries,
            flags: flags(seccomp.flags().as_deref(), notify)?,
            notify,
            notify_sendmsg,
        })
    }
}

/// Reports whether calls newer than the profile return ENOSYS (SE-6): where the default refuses, as in runc. New C
/// libraries try a new call first and fall back on ENOSYS, but not on EPERM or SIGSYS. A default that allows calls or
/// notifies a tracer stays.
fn unknown_is_enosys(default: Action) -> bool {
    !matches!(default, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace)
}

/// Converts an action to the kernel's `SECCOMP_RET_*` value.
fn verdict(action: Action, errno: Option<u32>) -> Result<u32> {
    let (verdict, limit) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (libc::SECCOMP_RET_KILL_THREAD, None),
        Action::ScmpActKillProcess => (libc::SECCOMP_RET_KILL_PROCESS, None),
        Action::ScmpActTrap => (libc::SECCOMP_RET_TRAP, None),
        Action::ScmpActErrno => (libc::SECCOMP_RET_ERRNO, Some(MAX_ERRNO)),
        Action::ScmpActTrace => (libc::SECCOMP_RET_TRACE, Some(libc::SECCOMP_RET_DATA)),
        Action::ScmpActLog => (libc::SECCOMP_RET_LOG, None),
        Action::ScmpActAllow => (libc::SECCOMP_RET_ALLOW, None),
        Action::ScmpActNotify => (libc::SECCOMP_RET_USER_NOTIF, None),
    };
    match (limit, errno) {
        (Some(_), None) => Ok(verdict | libc::EPERM as u32),
        (Some(limit), Some(errno)) if errno <= limit => Ok(verdict | errno),
        (Some(limit), Some(errno)) => bail!(coded!(SeccompInvalid, "{errno} is larger than {limit}")),
        (None, Some(_)) => {
            bail!(coded!(SeccompInvalid, "not allowed with {action}, only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE"))
        }
        (None, None) => Ok(verdict),
    }
}

fn entry(at: usize, call: &LinuxSyscall) -> Result<Entry<'_>> {
    let names = call.names();
    if let Some(empty) = names.iter().position(String::is_empty) {
        bail!(coded!(SeccompInvalid, "linux.seccomp.syscalls[{at}].names[{empty}]: must not be empty"));
    }
    if call.action() == Action::ScmpActNotify {
        // as in runc, so that a profile is valid for both
        if let Some(index) = names.iter().position(|name| name == "write") {
            bail!(coded!(
                SeccompInvalid,
                "linux.seccomp.syscalls[{at}].names[{index}]: SCMP_ACT_NOTIFY cannot be used for the write syscall"
            ));
        }
    }
    let verdict = verdict(call.action(), call.errno_ret())
        .with_code(Code::SeccompInvalid, || format!("linux.seccomp.syscalls[{at}].errnoRet"))?;
    let args = call.args().as_deref().unwrap_or_default();
    let conditions = args
        .iter()
        .enumerate()
        .map(|(arg, value)| {
            condition(value)
                .with_code(Code::SeccompInvalid, || format!("linux.seccomp.syscalls[{at}].args[{arg}].index"))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Entry { names, verdict, alternatives: alternatives(conditions) })
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition> {
    let index = u8::try_from(arg.index()).ok().filter(|&index| index < 6);
    let index = index.with_context(|| format!("{} is not an argument, there are 0 to 5", arg.index()))?;
    let (mask, value) = match arg.op() {
        Op::ScmpCmpMaskedEq => (arg.value(), arg.value_two().unwrap_or(0)),
        _ => (u64::MAX, arg.value()),
    };
    Ok(Condition { index, op: arg.op(), mask, value })
}

/// Splits conditions into rules. Conditions on different arguments must all hold. If an argument occurs twice, each
/// condition is its own rule, as in runc, because profiles rely on it.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let twice = conditions
        .iter()
        .enumerate()
        .any(|(at, condition)| conditions.iter().skip(at + 1).any(|other| other.index == condition.index));
    if twice { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] }
}

/// Converts the flags. An absent list means `SPEC_ALLOW`, as in runc, because otherwise every container would have the
/// cost of the speculative store bypass mitigation. An empty list means no flag.
fn flags(listed: Option<&[Flag]>, notify: bool) -> Result<u64> {
    let mut flags = 0;
    for (at, flag) in listed.unwrap_or(&[Flag::SeccompFilterFlagSpecAllow]).iter().enumerate() {
        flags |= match flag {
            Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
            Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            Flag::SeccompFilterFlagWaitKillableRecv if notify => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
            Flag::SeccompFilterFlagWaitKillableRecv => {
                bail!(coded!(
                    SeccompInvalid,
                    "linux.seccomp.flags[{at}]: {flag} is only allowed with a SCMP_ACT_NOTIFY rule"
                ))
            }
        };
    }
    Ok(if notify { with_listener(flags) } else { flags })
}

/// Adds the flag for a listener, and what it needs beside `flags`.
pub(super) fn with_listener(flags: u64) -> u64 {
    let listener = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    if flags & libc::SECCOMP_FILTER_FLAG_TSYNC == 0 {
        return listener;
    }
    // seccomp(2) cannot return a descriptor and a thread ID, so the kernel requires this flag with both
    listener | libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH
}
