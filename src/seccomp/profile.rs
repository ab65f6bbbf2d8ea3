//! `linux.seccomp` checked and reduced to what a filter needs: verdicts, conditions, flags. Errors name the field.
//!
//! Independent of the machine; numbers and instructions are `filter`.

use super::rule::Condition;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Op, LinuxSyscall,
};

/// The largest errno the kernel hands on (`MAX_ERRNO`); it would silently lower a larger one.
const MAX_ERRNO: u32 = 4095;

/// A profile, checked.
pub(super) struct Profile<'a> {
    /// The answer to calls that nothing else decides.
    pub default: u32,
    /// Whether calls newer than the profile get ENOSYS.
    pub unknown_is_enosys: bool,
    /// The conventions it names.
    pub archs: &'a [Arch],
    /// Its rules, in order.
    pub entries: Vec<Entry<'a>>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// Whether a rule notifies.
    pub notify: bool,
}

/// One element of `syscalls`.
pub(super) struct Entry<'a> {
    /// The names.
    pub names: &'a [String],
    /// The answer.
    pub verdict: u32,
    /// Each is a rule of its own; no conditions in one of them: it always holds.
    pub alternatives: Vec<Vec<Condition>>,
}

impl<'a> Profile<'a> {
    /// Checks `seccomp`.
    pub(super) fn read(seccomp: &'a LinuxSeccomp) -> Result<Self> {
        let default_action = seccomp.default_action();
        // the runtime's own calls between installing the filter and the execve would wait for an agent that has no
        // descriptor yet
        ensure!(
            default_action != Action::ScmpActNotify,
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default"
        );
        let default = verdict(default_action, seccomp.default_errno_ret()).context("linux.seccomp.defaultErrnoRet")?;
        ensure!(
            seccomp.listener_metadata().is_none() || seccomp.listener_path().is_some(),
            "linux.seccomp.listenerMetadata: only allowed together with listenerPath"
        );
        let syscalls = seccomp.syscalls().as_deref().unwrap_or_default();
        let entries = syscalls.iter().enumerate().map(|(at, call)| entry(at, call)).collect::<Result<Vec<_>>>()?;
        let notify = syscalls.iter().any(|call| call.action() == Action::ScmpActNotify);
        Ok(Self {
            default,
            unknown_is_enosys: unknown_is_enosys(default_action),
            archs: seccomp.architectures().as_deref().unwrap_or_default(),
            entries,
            flags: flags(seccomp.flags().as_deref(), notify)?,
            notify,
        })
    }
}

/// Whether calls newer than the profile get ENOSYS (SE-6): where the default refuses, in whatever way, as runc does
/// it. New C libraries try a new call first and fall back on ENOSYS, but not on EPERM or SIGSYS. A default that lets
/// calls through, or hands them to a tracer, is left alone.
fn unknown_is_enosys(default: Action) -> bool {
    !matches!(default, Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace)
}

/// The kernel's word for an action.
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
        (Some(limit), Some(errno)) => bail!("{errno} is larger than {limit}"),
        (None, Some(_)) => bail!("not allowed with {action}, only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE"),
        (None, None) => Ok(verdict),
    }
}

fn entry(at: usize, call: &LinuxSyscall) -> Result<Entry<'_>> {
    let names = call.names();
    ensure!(!names.is_empty(), "linux.seccomp.syscalls[{at}].names: must not be empty");
    if let Some(empty) = names.iter().position(String::is_empty) {
        bail!("linux.seccomp.syscalls[{at}].names[{empty}]: must not be empty");
    }
    if call.action() == Action::ScmpActNotify {
        // write as in runc, so that a profile is good for both; sendmsg is what hands the listener over: it would wait for an
        // agent that has none yet
        if let Some((index, name)) = names.iter().enumerate().find(|(_, name)| *name == "write" || *name == "sendmsg") {
            bail!("linux.seccomp.syscalls[{at}].names[{index}]: SCMP_ACT_NOTIFY cannot be used for {name}");
        }
    }
    let verdict =
        verdict(call.action(), call.errno_ret()).with_context(|| format!("linux.seccomp.syscalls[{at}].errnoRet"))?;
    let args = call.args().as_deref().unwrap_or_default();
    let conditions = args
        .iter()
        .enumerate()
        .map(|(arg, value)| condition(value).with_context(|| format!("linux.seccomp.syscalls[{at}].args[{arg}].index")))
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

/// Conditions on different arguments must all hold. Where one argument occurs twice, runc makes each condition a rule
/// of its own, also the other arguments' ones; profiles rely on it.
fn alternatives(conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    let twice = conditions
        .iter()
        .enumerate()
        .any(|(at, condition)| conditions.iter().skip(at + 1).any(|other| other.index == condition.index));
    if twice { conditions.into_iter().map(|condition| vec![condition]).collect() } else { vec![conditions] }
}

/// The flags for the kernel. An absent list means `SPEC_ALLOW`, as in runc: without it every container would pay for
/// the speculative store bypass mitigation. An empty list means none.
fn flags(listed: Option<&[Flag]>, notify: bool) -> Result<u64> {
    let mut flags = 0;
    for (at, flag) in listed.unwrap_or(&[Flag::SeccompFilterFlagSpecAllow]).iter().enumerate() {
        flags |= match flag {
            Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
            Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
            Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            Flag::SeccompFilterFlagWaitKillableRecv if notify => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
            Flag::SeccompFilterFlagWaitKillableRecv => {
                bail!("linux.seccomp.flags[{at}]: {flag} is only allowed with a SCMP_ACT_NOTIFY rule")
            }
        };
    }
    if notify {
        flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        if flags & libc::SECCOMP_FILTER_FLAG_TSYNC != 0 {
            // the answer cannot be a descriptor and a thread id; the kernel asks for this flag to go with both
            flags |= libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
        }
    }
    Ok(flags)
}
