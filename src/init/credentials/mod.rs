//! The attributes of the child that it sets before it runs the program: session, keyring, scheduling, limits, IDs,
//! capabilities.
//!
//! Each function is one step of `init::run`, which has their order. Labels are `init::lsm`, the working directory and
//! the program `init::exec`.

use crate::plan::process::ProcessPlan;
use crate::plan::process::Rlimit;
use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use linux::cred;
use linux::sched;
use linux::signal;
use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

/// Starts a session: without a controlling terminal, and without the job control signals of the caller's terminal.
///
/// # Errors
/// As setsid(2), unless this process is the leader of its session already.
pub(crate) fn session() -> Result<()> {
    let is_leader = || nix::unistd::getsid(None).is_ok_and(|session| session == nix::unistd::getpid());
    match nix::unistd::setsid() {
        Err(nix::errno::Errno::EPERM) if is_leader() => Ok(()),
        session => session.map(drop).context("new session"),
    }
}

/// Joins a new session keyring (PR-20), because the program must not search the keys of the caller.
///
/// Only possession gives rights to the keyring: by default the kernel lets every process of the same user, in any
/// container, read it and link it to its own. So its name finds no other keyring either: each container and each `exec`
/// has its own.
///
/// # Errors
/// As keyctl(2), with a hint at the user's key quota; a kernel without keyrings (`ENOSYS`) is no error.
pub(crate) fn keyring(plan: &ProcessPlan, id: &str) -> Result<()> {
    if !plan.new_keyring {
        return Ok(());
    }
    let name = CString::new(format!("_ses.{id}")).context("name of the session keyring")?;
    match linux::keyring::join_session(&name) {
        Ok(serial) => linux::keyring::restrict_to_possessor(serial).context("session keyring: set its permissions"),
        Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        // the text of EDQUOT is "disk quota exceeded", which is misleading here
        Err(err) if err.raw_os_error() == Some(libc::EDQUOT) => {
            bail!(coded!(
                HostLimit,
                "session keyring: key quota of the user is used up (kernel.keys.maxkeys; --no-new-keyring needs none)"
            ))
        }
        Err(err) => Err(err).context("session keyring"),
    }
}

/// Writes the OOM score (PR-15) of `process`, a pid or `self` in the procfs `proc_fd`. A process without privilege
/// cannot lower its score; in a rootless container this is ignored, because callers configure such values there.
///
/// # Errors
/// As write(2), except that the process has that score already.
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
    Err(err).with_code(Code::ConfigInvalid, || format!("process.oomScoreAdj: {wanted}"))
}

/// Sets the CPUs that a further process may use until it is in the container's cgroup; in the parent, before the clone.
///
/// # Errors
/// As sched_setaffinity(2).
pub(crate) fn initial_affinity(plan: &ProcessPlan) -> Result<()> {
    match &plan.affinity.initial {
        Some(cpus) => sched::set_affinity(cpus.words()).code(Code::ConfigInvalid, "process.execCPUAffinity.initial"),
        None => Ok(()),
    }
}

/// Sets CPUs, scheduling policy, I/O priority, NUMA policy and personality; in the container's cgroup, because its
/// cpuset limits them.
///
/// # Errors
/// As the system calls, with the likely reason; the field by name.
pub(crate) fn scheduling(plan: &ProcessPlan) -> Result<()> {
    affinity(plan)?;
    if let Some(wanted) = &plan.scheduler {
        sched::set_attributes(wanted)
            .map_err(|err| explain_scheduler(wanted.policy, err))
            .code(Code::ConfigInvalid, "process.scheduler")?;
    }
    if let Some(value) = plan.io_priority {
        sched::set_io_priority(value).code(Code::ConfigInvalid, "process.ioPriority")?;
    }
    if let Some(policy) = &plan.memory_policy {
        sched::set_memory_policy(policy.mode, policy.nodes.words())
            .map_err(|err| match err.raw_os_error() {
                Some(libc::EINVAL) => {
                    anyhow::Error::new(err).context("nodes outside the cpuset, or a mode unknown to this kernel")
                }
                _ => err.into(),
            })
            .code(Code::ConfigInvalid, "linux.memoryPolicy")?;
    }
    if let Some(domain) = plan.personality {
        sched::set_personality(domain).code(Code::ConfigInvalid, "linux.personality")?;
    }
    Ok(())
}

fn affinity(plan: &ProcessPlan) -> Result<()> {
    if let Some(cpus) = &plan.affinity.last {
        return sched::set_affinity(cpus.words()).code(Code::ConfigInvalid, "process.execCPUAffinity.final");
    }
    if plan.affinity.initial.is_none() {
        // The container must not inherit the runtime's own affinity (a pinned daemon, taskset); the cpuset still limits
        // it. The error is ignored, because only a kernel without SMP lacks the call.
        const EVERY_CPU: [u64; 128] = [u64::MAX; 128];
        let _ = sched::set_affinity(&EVERY_CPU);
    }
    Ok(())
}

fn explain_scheduler(policy: u32, err: io::Error) -> anyhow::Error {
    let hint = match (err.raw_os_error(), policy) {
        (Some(libc::EPERM), 6) => {
            // the first words are runc's
            "process scheduler can't be used together with AllowedCPUs: SCHED_DEADLINE needs CAP_SYS_NICE and every CPU"
        }
        (Some(libc::EPERM), 1 | 2) => "real-time needs CAP_SYS_NICE and, on cgroup v1, cpu.rt_runtime_us",
        (Some(libc::EPERM), _) => "needs CAP_SYS_NICE",
        (Some(libc::EBUSY), 6) => "SCHED_DEADLINE: no bandwidth left",
        (Some(libc::EINVAL), 4) => "SCHED_ISO is not known to this kernel",
        _ => return err.into(),
    };
    anyhow::Error::new(err).context(hint)
}

/// Sets the resource limits; late, because several of them (AS, DATA, NOFILE, FSIZE) would limit croci's own steps.
///
/// # Errors
/// As setrlimit(2), with the name of the limit.
pub(crate) fn rlimits(plan: &ProcessPlan) -> Result<()> {
    plan.rlimits.iter().try_for_each(rlimit)
}

fn rlimit(limit: &Rlimit) -> Result<()> {
    let Rlimit { name, resource, soft, hard } = *limit;
    let Err(err) = sched::set_limit(resource, soft, hard) else { return Ok(()) };
    let current = sched::limit(resource).ok();
    if current == Some((soft, hard)) {
        // some kernels and sandboxes refuse the call even when it changes nothing
        return Ok(());
    }
    let raised = current.filter(|(_, old)| err.raw_os_error() == Some(libc::EPERM) && hard > *old);
    // runc's words, by the number of the limit
    let mut result =
        Err(err).with_context(|| format!("error setting rlimit type {resource}: soft {soft}, hard {hard}"));
    if let Some((_, old)) = raised {
        result = result.with_context(|| format!("raising the hard limit above {old} needs CAP_SYS_RESOURCE"));
    }
    result.with_code(Code::ProcessLimit, || format!("process.rlimits: {name}"))
}

/// Sets the program's umask; late, because the steps before need umask 0 to create files with exact modes.
pub(crate) fn umask(plan: &ProcessPlan) {
    linux::path::umask(plan.umask);
}

/// Drops capabilities from the bounding set; before the step `ids`, which clears `CAP_SETPCAP`.
///
/// # Errors
/// `EPERM`: a capability that is not configured remains in the set.
pub(crate) fn bounding(plan: &ProcessPlan) -> Result<()> {
    drop_bounding(plan.caps.bounding).code(Code::ProcessCapability, "process.capabilities.bounding")
}

/// Sets the supplementary groups, the group and the user; in this order, because the change of the user gives up the
/// right to the others.
///
/// Sets the parent-death signal again, because the kernel clears it when credentials change.
///
/// # Errors
/// As setgroups(2), setresgid(2) and setresuid(2); the IDs read back differ.
pub(crate) fn ids(plan: &ProcessPlan) -> Result<()> {
    let death_signal = cred::parent_death_signal().context("parent-death signal")?;
    supplementary_groups(plan)?;
    cred::setresgid(plan.gid).with_code(Code::ProcessUser, || format!("process.user.gid: {}", plan.gid))?;
    // also for inheritable ones, because capset(2) takes them from the old inheritable and permitted sets
    if plan.uid != 0 && plan.caps.permitted | plan.caps.inheritable != 0 {
        cred::set_keepcaps(true).context("keep capabilities")?;
    }
    cred::setresuid(plan.uid).with_code(Code::ProcessUser, || format!("process.user.uid: {}", plan.uid))?;
    // again, because a change of IDs sets the flag to the value of fs.suid_dumpable
    linux::process::set_dumpable(false).context("set non-dumpable")?;
    if death_signal != 0 {
        linux::process::set_parent_death_signal(death_signal).context("parent-death signal")?;
    }
    if plan.filtered {
        return Ok(());
    }
    ensure!(cred::getresuid()? == [plan.uid; 3], coded!(ProcessUser, "process.user.uid: {} was not taken", plan.uid));
    ensure!(cred::getresgid()? == [plan.gid; 3], coded!(ProcessUser, "process.user.gid: {} was not taken", plan.gid));
    Ok(())
}

/// Sets the supplementary groups, also an empty list, because the caller's groups must not remain.
fn supplementary_groups(plan: &ProcessPlan) -> Result<()> {
    let Some(groups) = &plan.groups else { return Ok(()) };
    match cred::setgroups(groups) {
        // EPERM: the joined user namespace denies setgroups(2), so that no group can be dropped; there is none to set that
        // the process does not have by its gid
        Err(err)
            if err.raw_os_error() == Some(libc::EPERM) && plan.user_ns && groups.iter().all(|gid| *gid == plan.gid) =>
        {
            Ok(())
        }
        result => result.code(Code::ProcessUser, "process.user.additionalGids"),
    }
}

fn drop_bounding(keep: u64) -> io::Result<()> {
    for capability in (0..64_u8).filter(|capability| keep >> capability & 1 == 0) {
        match cred::drop_bounding(capability) {
            Ok(()) => {}
            // not by this error alone: without CAP_SETPCAP the kernel checks that first, and a failure for a capability
            // that it knows must not leave the others in the set
            Err(err) => match cred::in_bounding(capability) {
                Ok(false) => {}
                Err(unknown) if unknown.raw_os_error() == Some(libc::EINVAL) => break, // the kernel has no more
                _ => return Err(err),
            },
        }
    }
    Ok(())
}

/// Sets effective, permitted and inheritable capabilities by one capset(2), then the ambient set, which the kernel
/// limits to permitted and inheritable ones.
///
/// # Errors
/// As capset(2) and prctl(2); the sets read back differ.
pub(crate) fn capabilities(plan: &ProcessPlan) -> Result<()> {
    let caps = &plan.caps;
    let sets =
        cred::CapabilitySets { effective: caps.effective, permitted: caps.permitted, inheritable: caps.inheritable };
    cred::capset(&sets).code(Code::ProcessCapability, "process.capabilities")?;
    // cleared only if needed: capset(2) has already dropped ambient capabilities that are not permitted and inheritable
    if caps.permitted & caps.inheritable != 0 {
        cred::clear_ambient().code(Code::ProcessCapability, "process.capabilities.ambient")?;
        for capability in (0..64_u8).filter(|capability| caps.ambient >> capability & 1 == 1) {
            cred::raise_ambient(capability).code(Code::ProcessCapability, "process.capabilities.ambient")?;
        }
    }
    if !plan.filtered {
        let got = cred::capget().code(Code::ProcessCapability, "process.capabilities")?;
        ensure!(got == sets, coded!(ProcessCapability, "process.capabilities: {got:x?} instead of {sets:x?}"));
    }
    Ok(())
}

/// Drops the capabilities that neither the program nor the steps before it need, because a process of the container
/// that may trace this one can use them. `awaits_root`: one of the steps is a chroot(2).
///
/// # Errors
/// As capset(2).
pub(crate) fn limit_capabilities(plan: Option<&ProcessPlan>, awaits_root: bool) -> Result<()> {
    const CHOWN: u64 = 1;
    const DAC: u64 = 1 << 1 | 1 << 2;
    const IDS: u64 = 1 << 6 | 1 << 7 | 1 << 8;
    const SYS_CHROOT: u64 = 1 << 18;
    const SYS_ADMIN: u64 = 1 << 21;
    const NICE_AND_LIMITS: u64 = 1 << 23 | 1 << 24;
    let keep = plan.map_or(0, |plan| {
        // because without no_new_privs a seccomp filter needs CAP_SYS_ADMIN
        let filter = if plan.filtered { SYS_ADMIN } else { 0 };
        plan.caps.bounding | plan.caps.permitted | CHOWN | DAC | IDS | NICE_AND_LIMITS | filter
    });
    let keep = if awaits_root { keep | SYS_CHROOT } else { keep };
    cred::limit_capabilities(keep).context("give up capabilities")
}

/// Sets no_new_privs: no later execve(2) grants privileges (PR-14).
///
/// # Errors
/// None in practice.
pub(crate) fn no_new_privs() -> Result<()> {
    cred::set_no_new_privs().code(Code::ConfigInvalid, "process.noNewPrivileges")
}

/// Signals that end a process while it waits for `start`, also as the first one of a pid namespace.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Sets the default action of every signal but the [`ENDING`] ones and unblocks all of them, because execve(2) keeps ignored
/// signals and the Rust runtime ignores SIGPIPE.
///
/// Before the seccomp filter, which need not allow these system calls.
///
/// # Errors
/// None in practice.
pub(crate) fn reset_signals() -> Result<()> {
    for number in (1..=signal::LAST).filter(|number| ![libc::SIGKILL, libc::SIGSTOP].contains(number)) {
        let set = if ENDING.contains(&number) { signal::set_exit } else { signal::set_default };
        set(number).with_context(|| format!("action of signal {number}"))?;
    }
    signal::set_mask(signal::SignalSet::EMPTY).context("signal mask")?;
    Ok(())
}

/// Switches fsuid, fsgid and groups to the program's user while the child is still root; Drop switches fsuid and fsgid
/// back.
///
/// Does nothing when the program is root or has `CAP_DAC_OVERRIDE` or `CAP_DAC_READ_SEARCH`.
pub(super) struct FsIdGuard {
    /// User and group ID that Drop sets again.
    before: Option<(u32, u32)>,
}

impl FsIdGuard {
    pub(super) fn new(plan: &ProcessPlan) -> Result<Self> {
        const DAC: u64 = 1 << 1 | 1 << 2;
        if plan.uid == 0 || plan.caps.effective & DAC != 0 {
            return Ok(Self { before: None });
        }
        // not switched back, because root needs none of the caller's groups and the step `ids` sets the same
        supplementary_groups(plan)?;
        let before = (linux::process::euid(), nix::unistd::getegid().as_raw());
        let user = Self { before: Some(before) };
        let death_signal = cred::parent_death_signal().context("parent-death signal")?;
        ensure!(
            cred::set_fs_ids(plan.uid, plan.gid),
            coded!(ProcessUser, "process.user: cannot act as {}:{}", plan.uid, plan.gid)
        );
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
