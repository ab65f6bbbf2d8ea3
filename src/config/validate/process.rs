//! `process`, in the configuration and in the file of `exec --process`.

use anyhow::{Context, Result, bail};
use base::coded;
use oci_spec::runtime::{LinuxSchedulerPolicy, PosixRlimit, Process, Scheduler};

use super::single_line;
use base::cpu_set::CpuSet;

/// Checks one process; each error starts with `process.`.
///
/// # Errors
/// The first broken rule.
pub(crate) fn process(process: &Process) -> Result<()> {
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        bail!(coded!(ExecCwd, "process.cwd: {cwd:?} is not an absolute path"));
    }
    match process.args().as_deref() {
        None => bail!(coded!(ConfigRequired, "process.args: must not be empty")),
        Some([]) => bail!("process.args: must not be empty"),
        Some([program, ..]) if program.is_empty() => {
            bail!(coded!(ExecNotFound, "process.args[0]: exec: \"\": executable file not found in $PATH"))
        }
        Some(_) => {}
    }
    environment(process.env().as_deref().unwrap_or_default())?;
    rlimits(process.rlimits().as_deref().unwrap_or_default())?;
    if let Some(scheduler) = process.scheduler() {
        self::scheduler(scheduler)?;
    }
    single_line(process.apparmor_profile().as_deref(), "process.apparmorProfile")?;
    single_line(process.selinux_label().as_deref(), "process.selinuxLabel")?;
    affinity(process)
}

/// Refuses entries that execve(2) would pass on but no program could read (PR-3).
fn environment(entries: &[String]) -> Result<()> {
    for (index, entry) in entries.iter().enumerate() {
        match entry.split_once('=') {
            None => bail!("process.env[{index}]: {entry:?} has no \"=\" (must be NAME=VALUE)"),
            Some(("", _)) => bail!("process.env[{index}]: {entry:?} has no name"),
            Some(_) => {}
        }
    }
    Ok(())
}

fn rlimits(limits: &[PosixRlimit]) -> Result<()> {
    for (index, limit) in limits.iter().enumerate() {
        if limits.iter().take(index).any(|other| other.typ() == limit.typ()) {
            bail!("process.rlimits[{index}].type: {} is given twice", limit.typ());
        }
        if limit.soft() > limit.hard() {
            bail!("process.rlimits[{index}].soft: {} is above the hard limit {}", limit.soft(), limit.hard());
        }
    }
    Ok(())
}

/// Names the wrong field of combinations for which sched_setattr(2) has only EINVAL (PR-16).
fn scheduler(scheduler: &Scheduler) -> Result<()> {
    use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedRr};
    // `nice` is valid with every policy: the kernel keeps it for when the policy becomes SCHED_OTHER
    let policy = scheduler.policy();
    let priority = scheduler.priority().unwrap_or(0);
    match policy {
        SchedFifo | SchedRr if priority == 0 => {
            bail!("process.scheduler.priority: must be 1 to 99 for {policy}")
        }
        SchedFifo | SchedRr => {}
        _ if priority != 0 => bail!("process.scheduler.priority: {priority} has no meaning for {policy}"),
        _ => {}
    }
    let times = [("runtime", scheduler.runtime()), ("deadline", scheduler.deadline()), ("period", scheduler.period())];
    if *policy == SchedDeadline {
        return deadline(times);
    }
    match times.iter().find(|(_, time)| time.unwrap_or(0) != 0) {
        Some((name, _)) => bail!("process.scheduler.{name}: has no meaning for {policy}"),
        None => Ok(()),
    }
}

/// Checks the times of SCHED_DEADLINE, as sched(7) has them; after the field in crun's words, which its suite matches.
fn deadline(times: [(&str, &Option<u64>); 3]) -> Result<()> {
    const RANGE: std::ops::Range<u64> = 1024..1 << 63;
    let wrong = |name: &str, text: String| -> Result<()> {
        bail!("process.scheduler.{name}: sched_setattr: `SCHED_DEADLINE` {text}")
    };
    // the kernel takes the deadline for a period of 0
    for (name, time) in times.iter().filter(|(name, _)| *name != "period") {
        match time {
            None => return wrong(name, format!("requires `{name}`")),
            Some(0) => return wrong(name, format!("{name} must be greater than 0")),
            Some(_) => {}
        }
    }
    let given = times.iter().filter_map(|(name, time)| time.filter(|time| *time != 0).map(|time| (*name, time)));
    let given: Vec<_> = given.collect();
    for ((name, time), (longer, limit)) in given.iter().zip(given.iter().skip(1)) {
        if time > limit {
            return wrong(name, format!("{name} ({time}) must be <= {longer} ({limit})"));
        }
    }
    match given.iter().find(|(_, time)| !RANGE.contains(time)) {
        Some((name, time)) => {
            wrong(name, format!("{name} ({time}) must be between {} and {}", RANGE.start, RANGE.end - 1))
        }
        None => Ok(()),
    }
}

fn affinity(process: &Process) -> Result<()> {
    let Some(affinity) = process.exec_cpu_affinity() else { return Ok(()) };
    for (text, name) in [(affinity.initial(), "initial"), (affinity.cpu_affinity_final(), "final")] {
        let text = text.as_deref().unwrap_or_default();
        CpuSet::parse(text).with_context(|| format!("process.execCPUAffinity.{name}"))?;
    }
    Ok(())
}
