//! `linux.seccomp`: rules between its fields. Names of system calls are not checked, because profiles name those of all
//! kernels.

use anyhow::{Result, bail};
use base::coded;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag};

/// Checks a profile, except that it names the agent's socket where it needs one: an annotation or the caller's environment
/// may name it in its place, and `runtime::prepare` knows both.
pub(super) fn check(seccomp: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<()> {
    let field = "linux.seccomp";
    if seccomp.default_action() == Action::ScmpActNotify {
        bail!(coded!(SeccompInvalid, "{field}.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action"));
    }
    return_value(seccomp.default_action(), seccomp.default_errno_ret(), || format!("{field}.defaultErrnoRet"))?;
    let mut notifies = false;
    for (index, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        if rule.names().is_empty() {
            // generators of profiles write it when a condition leaves no name; it applies to no call
            warnings.push(format!("{field}.syscalls[{index}].names: is empty, the rule has no effect"));
        }
        if let Some(at) = rule.names().iter().position(String::is_empty) {
            bail!(coded!(SeccompInvalid, "{field}.syscalls[{index}].names[{at}]: must not be empty"));
        }
        return_value(rule.action(), rule.errno_ret(), || format!("{field}.syscalls[{index}].errnoRet"))?;
        notifies |= rule.action() == Action::ScmpActNotify;
    }
    if let Some(path) = seccomp.listener_path().as_ref().filter(|path| !path.is_absolute()) {
        bail!(coded!(SeccompInvalid, "{field}.listenerPath: {path:?} is not an absolute path"));
    }
    let waits = seccomp.flags().iter().flatten().any(|flag| *flag == Flag::SeccompFilterFlagWaitKillableRecv);
    if waits && !notifies {
        bail!(coded!(
            SeccompInvalid,
            "{field}.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV needs a rule with SCMP_ACT_NOTIFY"
        ));
    }
    Ok(())
}

/// Refuses a return value that the action ignores, or that is larger than the kernel passes on (SE-2).
fn return_value(action: Action, value: Option<u32>, field: impl FnOnce() -> String) -> Result<()> {
    let Some(value) = value else { return Ok(()) };
    let max = match action {
        Action::ScmpActErrno => 4095,
        Action::ScmpActTrace => u32::from(u16::MAX),
        _ => bail!(coded!(SeccompInvalid, "{}: has no meaning for {action}", field())),
    };
    if value > max {
        bail!(coded!(SeccompInvalid, "{}: {value} is out of range (0 to {max}) for {action}", field()));
    }
    Ok(())
}
