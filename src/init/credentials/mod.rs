//! What the child becomes before it runs the program: session, keyring, scheduling, limits, ids, capabilities.
//!
//! Each function is one step of `init::run`, which knows the order; the reason for an order stands at the step that has
//! it. Labels are `init::lsm`, the working directory and the program `init::exec`.

use crate::plan::process::ProcessPlan;
use crate::plan::process::Rlimit;
use anyhow::{Context as _, Result, bail, ensure};
use linux::cred;
use linux::sched;
use linux::signal;
use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

/// A session of its own: no controlling terminal, no job control signals from the caller's.
///
/// # Errors
/// As setsid(2); a process that leads one already is content.
pub(crate) fn session() -> Result<()> {
    match nix::unistd::setsid() {
        // a process group leader by clone: it leads its session too
        Ok(_) | Err(nix::errno::Errno::EPERM) => Ok(()),
        Err(err) => Err(err).context("new session"),
    }
}

/// A session keyring of its own (PR-20), so that the keys of the caller cannot be searched.
///
/// Its owner has no rights to it but by possession: the kernel's default lets every process of the same uid, in whichever
/// container, read the ring and link it to its own. So the name never finds another one either: each container and each exec
/// has its own.
///
/// # Errors
/// The quota of keys, by name; `ENOSYS` is none.
pub(crate) fn keyring(plan: &ProcessPlan, id: &str) -> Result<()> {
    if !plan.new_keyring {
        return Ok(());
    }
    let name = CString::new(format!("_ses.{id}")).context("name of the session keyring")?;
    match linux::keyring::join_session(&name) {
        Ok(serial) => linux::keyring::restrict_to_possessor(serial).context("session keyring: set its permissions"),
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        // "disk quota exceeded" would send the reader to the wrong place
        Err(err) if err.raw_os_error() == Some(libc::EDQUOT) => {
            bail!(
                "session keyring: key quota of the user is used up (kernel.keys.maxkeys; --no-new-keyring does without)"
            )
        }
        Err(err) => Err(err).context("session keyring"),
    }
}

/// Writes the OOM score (PR-15) of `process`, a pid or `self` in the procfs `proc_fd`. Without privilege it cannot be
/// lowered; no change is no failure, and rootless callers send such values: then it stays as it is.
///
/// # Errors
/// As write(2), unless the process has that score already.
pub(crate) fn oom_score(plan: &ProcessPlan, proc_fd: BorrowedFd<'_>, process: &str) -> Result<()> {
    let Some(wanted) = plan.oom_score_adj else { return Ok(()) };
    let path = CString::new(format!("{process}/oom_score_adj"))?;
    let open = |write| super::lsm::open_proc(proc_fd, &path, write);
    let Err(err) = open(true).and_then(|mut file| file.write_all(wanted.to_string().as_bytes())) else { return Ok(()) };
    let current = open(false).and_then(io::read_to_string).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let kept = |current: i32| wanted == current || (wanted < current && plan.rootless);
    if current.is_some_and(kept) {
        return Ok(());
    }
    Err(err).with_context(|| format!("process.oomScoreAdj: {wanted}"))
}

/// The CPUs that a further process has until it is in the container's cgroup; for the parent, before the clone.
///
/// # Errors
/// As sched_setaffinity(2).
pub(crate) fn initial_affinity(plan: &ProcessPlan) -> Result<()> {
    match &plan.affinity.initial {
        Some(cpus) => sched::set_affinity(cpus.words()).context("process.execCPUAffinity.initial"),
        None => Ok(()),
    }
}

/// Policy, I/O priority, CPUs, NUMA policy, personality; in the cgroup already, whose cpuset they must fit.
///
/// # Errors
/// What the kernel refuses, with the likely reason.
pub(crate) fn scheduling(plan: &ProcessPlan) -> Result<()> {
    affinity(plan)?;
    if let Some(wanted) = &plan.scheduler {
        sched::set_attributes(wanted)
            .map_err(|err| explain_scheduler(wanted.policy, err))
            .context("process.scheduler")?;
    }
    if let Some(value) = plan.io_priority {
        sched::set_io_priority(value).context("process.ioPriority")?;
    }
    if let Some(policy) = &plan.memory_policy {
        sched::set_memory_policy(policy.mode, policy.nodes.words())
            .map_err(|err| match err.raw_os_error() {
                Some(libc::EINVAL) => {
                    anyhow::Error::new(err).context("nodes outside the cpuset, or a mode unknown to this kernel")
                }
                _ => err.into(),
            })
            .context("linux.memoryPolicy")?;
    }
    if let Some(domain) = plan.personality {
        sched::set_personality(domain).context("linux.personality")?;
    }
    Ok(())
}

fn affinity(plan: &ProcessPlan) -> Result<()> {
    if let Some(cpus) = &plan.affinity.last {
        return sched::set_affinity(cpus.words()).context("process.execCPUAffinity.final");
    }
    if plan.affinity.initial.is_none() {
        // The affinity that the runtime was started with (a pinned daemon, taskset) must not bind the container; the
        // cpuset still does. Only a kernel without SMP knows no such call.
        const EVERY_CPU: [u64; 128] = [u64::MAX; 128];
        let _ = sched::set_affinity(&EVERY_CPU);
    }
    Ok(())
}

fn explain_scheduler(policy: u32, err: io::Error) -> anyhow::Error {
    let hint = match (err.raw_os_error(), policy) {
        (Some(libc::EPERM), 6) => "SCHED_DEADLINE needs CAP_SYS_NICE and a cpuset with all CPUs",
        (Some(libc::EPERM), 1 | 2) => "real-time needs CAP_SYS_NICE and, on cgroup v1, cpu.rt_runtime_us",
        (Some(libc::EPERM), _) => "needs CAP_SYS_NICE",
        (Some(libc::EBUSY), 6) => "SCHED_DEADLINE: no bandwidth left",
        (Some(libc::EINVAL), 4) => "SCHED_ISO is not known to this kernel",
        _ => return err.into(),
    };
    anyhow::Error::new(err).context(hint)
}

/// Resource limits, late: several of them (AS, DATA, NOFILE, FSIZE) would bind the steps before the program too.
///
/// # Errors
/// The limit by name.
pub(crate) fn rlimits(plan: &ProcessPlan) -> Result<()> {
    plan.rlimits.iter().try_for_each(rlimit)
}

fn rlimit(limit: &Rlimit) -> Result<()> {
    let Rlimit { name, resource, soft, hard } = *limit;
    let Err(err) = sched::set_limit(resource, soft, hard) else { return Ok(()) };
    let now = sched::limit(resource).ok();
    if now == Some((soft, hard)) {
        // some kernels and sandboxes refuse even what changes nothing
        return Ok(());
    }
    let raised = now.filter(|(_, old)| err.raw_os_error() == Some(libc::EPERM) && hard > *old);
    let mut result = Err(err).with_context(|| format!("soft {soft}, hard {hard}"));
    if let Some((_, old)) = raised {
        result = result.with_context(|| format!("raising the hard limit above {old} needs CAP_SYS_RESOURCE"));
    }
    result.with_context(|| format!("process.rlimits: {name}"))
}

/// The program's umask; the steps before it need a umask of zero for exact modes.
pub(crate) fn umask(plan: &ProcessPlan) {
    linux::path::umask(plan.umask);
}

/// Cuts the bounding set down; before the step `ids`, which takes `CAP_SETPCAP` away.
///
/// # Errors
/// `EPERM` where a capability stays that was not asked for.
pub(crate) fn bounding(plan: &ProcessPlan) -> Result<()> {
    drop_bounding(plan.caps.bounding).context("process.capabilities.bounding")
}

/// Supplementary groups, group, user; in this order, because the user's change takes the right to the others.
///
/// What the parent-death signal was stays: the kernel clears it when credentials change.
///
/// # Errors
/// The step that failed.
pub(crate) fn ids(plan: &ProcessPlan) -> Result<()> {
    let death_signal = cred::parent_death_signal().unwrap_or(0);
    if let Some(groups) = &plan.groups {
        // always, also an empty list: the caller's groups must not stay
        match cred::setgroups(groups) {
            // a user namespace that is joined may forbid it: then there is nothing to set, nor to drop
            Err(err) if err.raw_os_error() == Some(libc::EPERM) && plan.user_ns && groups.is_empty() => {}
            result => result.context("process.user.additionalGids")?,
        }
    }
    cred::setresgid(plan.gid).with_context(|| format!("process.user.gid: {}", plan.gid))?;
    if plan.uid != 0 && plan.caps.permitted != 0 {
        cred::set_keepcaps(true).context("keep capabilities")?;
    }
    cred::setresuid(plan.uid).with_context(|| format!("process.user.uid: {}", plan.uid))?;
    // a change of ids takes the value of fs.suid_dumpable
    linux::process::set_dumpable(false).context("set non-dumpable")?;
    if death_signal != 0 {
        linux::process::set_parent_death_signal(death_signal).context("parent-death signal")?;
    }
    if plan.filtered {
        return Ok(());
    }
    ensure!(cred::getresuid()? == [plan.uid; 3], "process.user.uid: {} was not taken", plan.uid);
    ensure!(cred::getresgid()? == [plan.gid; 3], "process.user.gid: {} was not taken", plan.gid);
    Ok(())
}

fn drop_bounding(keep: u64) -> io::Result<()> {
    for capability in (0..64_u8).filter(|capability| keep >> capability & 1 == 0) {
        match cred::drop_bounding(capability) {
            Ok(()) => {}
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => break, // the kernel has no more
            // without CAP_SETPCAP, which is asked for before the number is looked at
            Err(err) => match cred::in_bounding(capability) {
                Ok(false) => {}
                Err(unknown) if unknown.raw_os_error() == Some(libc::EINVAL) => break,
                _ => return Err(err),
            },
        }
    }
    Ok(())
}

/// The remaining four sets: one capset, then ambient, which the kernel ties to permitted and inheritable.
///
/// # Errors
/// The set that the kernel refused, or that reads back otherwise.
pub(crate) fn capabilities(plan: &ProcessPlan) -> Result<()> {
    let caps = &plan.caps;
    let sets =
        cred::CapabilitySets { effective: caps.effective, permitted: caps.permitted, inheritable: caps.inheritable };
    cred::capset(&sets).context("process.capabilities")?;
    // capset has cut the ambient set down to what is permitted and inheritable; the caller's may reach so far
    if caps.permitted & caps.inheritable != 0 {
        cred::clear_ambient().context("process.capabilities.ambient")?;
        for capability in (0..64_u8).filter(|capability| caps.ambient >> capability & 1 == 1) {
            cred::raise_ambient(capability).context("process.capabilities.ambient")?;
        }
    }
    if !plan.filtered {
        let got = cred::capget().context("process.capabilities")?;
        ensure!(got == sets, "process.capabilities: {got:x?} instead of {sets:x?}");
    }
    Ok(())
}

/// Gives up the capabilities that neither the program gets nor the steps up to it need: a process of the container that
/// may trace this one takes them over.
///
/// # Errors
/// As capset(2).
pub(crate) fn limit_capabilities(plan: Option<&ProcessPlan>) -> Result<()> {
    const CHOWN: u64 = 1;
    const DAC: u64 = 1 << 1 | 1 << 2;
    const IDS: u64 = 1 << 6 | 1 << 7 | 1 << 8;
    const SYS_ADMIN: u64 = 1 << 21;
    const NICE_AND_LIMITS: u64 = 1 << 23 | 1 << 24;
    let keep = plan.map_or(0, |plan| {
        // a filter is loaded without no_new_privs only by who has it
        let filter = if plan.filtered { SYS_ADMIN } else { 0 };
        plan.caps.bounding | plan.caps.permitted | CHOWN | DAC | IDS | NICE_AND_LIMITS | filter
    });
    cred::limit_capabilities(keep).context("give up capabilities")
}

/// No execve gains privileges from here on (PR-14).
///
/// # Errors
/// None in practice.
pub(crate) fn no_new_privs() -> Result<()> {
    cred::set_no_new_privs().context("process.noNewPrivileges")
}

/// Default action for every signal, and none blocked. An execve keeps what is ignored, and the Rust runtime ignores SIGPIPE.
///
/// Before the seccomp filter: a profile need not allow these calls.
///
/// # Errors
/// None in practice.
pub(crate) fn reset_signals() -> Result<()> {
    for number in (1..=signal::LAST).filter(|number| ![libc::SIGKILL, libc::SIGSTOP].contains(number)) {
        signal::set_default(number).with_context(|| format!("default action of signal {number}"))?;
    }
    signal::set_mask(signal::SignalSet::EMPTY).context("signal mask")?;
    Ok(())
}

/// File system checks as the program's user will have them, while the child is still root; ends with the value.
///
/// Not where the program keeps the right to pass them by (`CAP_DAC_OVERRIDE`, `CAP_DAC_READ_SEARCH`), or is root anyway.
pub(super) struct FsIdGuard {
    /// The ids to go back to.
    before: Option<(u32, u32)>,
}

impl FsIdGuard {
    pub(super) fn new(plan: &ProcessPlan) -> Result<Self> {
        const DAC: u64 = 1 << 1 | 1 << 2;
        if plan.uid == 0 || plan.caps.effective & DAC != 0 {
            return Ok(Self { before: None });
        }
        if let Some(groups) = &plan.groups {
            // stays so: root needs none of the caller's groups, and the step `ids` sets the same
            cred::setgroups(groups).context("process.user.additionalGids")?;
        }
        let before = (linux::process::euid(), nix::unistd::getegid().as_raw());
        let user = Self { before: Some(before) };
        let death_signal = cred::parent_death_signal().unwrap_or(0);
        ensure!(cred::set_fs_ids(plan.uid, plan.gid), "process.user: cannot act as {}:{}", plan.uid, plan.gid);
        if death_signal != 0 {
            linux::process::set_parent_death_signal(death_signal).context("parent-death signal")?;
        }
        Ok(user)
    }
}

impl Drop for FsIdGuard {
    fn drop(&mut self) {
        if let Some((uid, gid)) = self.before {
            let death_signal = cred::parent_death_signal().unwrap_or(0);
            cred::set_fs_ids(uid, gid);
            if death_signal != 0 {
                let _ = linux::process::set_parent_death_signal(death_signal);
            }
        }
    }
}

#[cfg(test)]
mod tests;
