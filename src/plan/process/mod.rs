//! The process part of the plan: what the container's program is and what it may do, as the child applies it.
//!
//! Pure: numbers and C strings out of `process` (and `linux.personality`, `linux.memoryPolicy`), every value checked.
//! What the child does with it is `init::credentials`, `init::exec`, `init::lsm` and `init::console`.

pub(crate) mod caps;
pub(crate) mod env;
pub(crate) mod ids;
pub(crate) mod limits;
pub(crate) mod sched;

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{Linux, LinuxPersonalityDomain, Process};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;

pub(crate) use caps::Capabilities;
pub(crate) use limits::Rlimit;
pub(crate) use sched::{Affinity, MemoryPolicy, Scheduler};

use crate::id_mapping::IdMappings;

/// Sockets that a service manager hands over (sd_listen_fds(3)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenFds {
    /// `LISTEN_FDS`: how many, from descriptor 3 on.
    pub count: u32,
    /// `LISTEN_FDNAMES`.
    pub names: Option<String>,
}

/// What the plan of a process must know besides the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessContext {
    /// The process runs in a user namespace other than the runtime's.
    pub user_ns: bool,
    /// The user ids of that namespace; empty where they are not known (a joined namespace).
    pub uid_maps: IdMappings,
    /// The same for groups.
    pub gid_maps: IdMappings,
    /// The user namespace forbids setgroups.
    pub setgroups_denied: bool,
    /// Keep the caller's supplementary groups (`run.oci.keep_original_groups`).
    pub keep_groups: bool,
    /// Sockets handed over by the caller.
    pub listen_fds: Option<ListenFds>,
    /// A further process of a container that exists.
    pub is_exec: bool,
    /// The runtime is not root of the initial user namespace.
    pub rootless: bool,
    /// The capabilities that the runtime holds; `None` in a user namespace, where all can be had.
    pub available_caps: Option<u64>,
}

/// All that makes the container's program, in the form that the system calls want.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// At least one, and the first is not empty.
    pub args: Vec<CString>,
    /// `NAME=value`, each name once. The child completes it: see `init::exec::environment`.
    pub env: Vec<CString>,
    /// `HOME` is unset or empty: it comes from the container's passwd file.
    pub wants_home: bool,
    /// `LISTEN_PID` is to be added, with the pid that the program has in the container.
    pub wants_listen_pid: bool,
    /// Absolute.
    pub cwd: CString,
    /// Make the working directory when it is missing; not for exec, where the user named it just now.
    pub create_cwd: bool,
    /// As the container sees it; never `u32::MAX`, which would mean "no change".
    pub uid: u32,
    /// As the container sees it; never `u32::MAX`.
    pub gid: u32,
    /// The whole list of supplementary groups; `None` where setgroups is denied, or the caller's are to be kept.
    pub groups: Option<Vec<u32>>,
    /// The mode bits that new files lack.
    pub umask: u32,
    /// The five sets, already without what cannot be granted.
    pub caps: Capabilities,
    /// Set late: some of them would bind the runtime's own last steps.
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS before the program runs.
    pub no_new_privs: bool,
    /// `None` leaves it as it is.
    pub oom_score_adj: Option<i32>,
    /// A lower OOM score may be refused to a rootless runtime, and is then left out.
    pub rootless: bool,
    /// Scheduling policy and parameters.
    pub scheduler: Option<Scheduler>,
    /// The argument of ioprio_set: class in the upper bits, level in the lower 13.
    pub io_priority: Option<i32>,
    /// NUMA policy.
    pub memory_policy: Option<MemoryPolicy>,
    /// The argument of personality(2).
    pub personality: Option<u32>,
    /// CPUs, for exec only.
    pub affinity: Affinity,
    /// AppArmor profile to take on at the execve.
    pub apparmor: Option<CString>,
    /// SELinux label to take on at the execve.
    pub selinux: Option<CString>,
    /// The program's stdio is a pty of the container.
    pub terminal: bool,
    /// Rows and columns of that pty.
    pub console_size: Option<(u16, u16)>,
    /// A session keyring of its own; `--no-new-keyring` takes it away.
    pub new_keyring: bool,
    /// The process is in a user namespace other than the runtime's.
    pub user_ns: bool,
    /// A seccomp filter is in force before ids and capabilities are set: the child then makes no call to look whether
    /// they took effect, because a profile need not allow it (the parent can: `runtime::verify`).
    pub filtered: bool,
    /// What was left out, and why; for the log.
    pub warnings: Vec<String>,
    /// Protections that were asked for and that this host does not have; the caller sees these at any log level.
    pub unprotected: Vec<String>,
}

/// Where the customary 022 is kept although the specification lets the caller's umask through: runc and crun do (PR-7).
const DEFAULT_UMASK: u32 = 0o022;

/// Makes the plan of one process.
///
/// # Errors
/// Every value that the specification or the kernel refuses, under the name of its field.
pub(crate) fn plan(process: &Process, linux: Option<&Linux>, ctx: &ProcessContext) -> Result<ProcessPlan> {
    let mut warnings = Vec::new();
    let user = process.user();
    let args = args(process.args().as_deref().unwrap_or_default())?;
    let environment = env::build(process.env().as_deref().unwrap_or_default(), ctx.listen_fds.as_ref())?;
    let caps = caps::plan(process.capabilities().as_ref(), ctx.available_caps, &mut warnings);
    let umask = user.umask().unwrap_or(DEFAULT_UMASK);
    ensure!(umask <= 0o777, "process.user.umask: {umask} is more than 511 (0777)");
    let memory_policy = linux.and_then(|linux| linux.memory_policy().as_ref());
    Ok(ProcessPlan {
        args,
        env: environment.vars,
        wants_home: environment.wants_home,
        wants_listen_pid: environment.wants_listen_pid,
        cwd: cwd(process)?,
        create_cwd: !ctx.is_exec,
        uid: ids::mapped(user.uid(), &ctx.uid_maps).context("process.user.uid")?,
        gid: ids::mapped(user.gid(), &ctx.gid_maps).context("process.user.gid")?,
        groups: ids::groups(user.additional_gids().as_deref().unwrap_or_default(), ctx)?,
        umask,
        caps,
        rlimits: limits::plan(process.rlimits().as_deref().unwrap_or_default())?,
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(process.oom_score_adj())?,
        rootless: ctx.rootless,
        scheduler: process.scheduler().as_ref().map(sched::scheduler).transpose()?,
        io_priority: process.io_priority().as_ref().map(sched::io_priority).transpose()?,
        memory_policy: memory_policy.map(sched::memory_policy).transpose()?,
        personality: personality(linux)?,
        affinity: sched::affinity(process.exec_cpu_affinity().as_ref(), ctx.is_exec)?,
        apparmor: label(process.apparmor_profile().as_deref(), "process.apparmorProfile")?,
        selinux: label(process.selinux_label().as_deref(), "process.selinuxLabel")?,
        terminal: process.terminal().unwrap_or(false),
        console_size: console_size(process)?,
        new_keyring: true,
        user_ns: ctx.user_ns,
        filtered: false,
        warnings,
        unprotected: Vec::new(),
    })
}

/// A C string; NUL inside is an error, never an early end (CF-8).
fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).ok().context("contains a NUL character")
}

fn args(args: &[String]) -> Result<Vec<CString>> {
    let first = args.first().context("process.args: must have at least one entry")?;
    ensure!(!first.is_empty(), "process.args[0]: must not be empty");
    args.iter()
        .enumerate()
        .map(|(index, arg)| c_string(arg.as_bytes()).with_context(|| format!("process.args[{index}]")))
        .collect()
}

fn cwd(process: &Process) -> Result<CString> {
    let cwd = process.cwd();
    ensure!(cwd.is_absolute(), "process.cwd: {cwd:?} is not an absolute path");
    c_string(cwd.as_os_str().as_bytes()).context("process.cwd")
}

fn oom_score_adj(value: Option<i32>) -> Result<Option<i32>> {
    if let Some(score) = value {
        ensure!((-1000..=1000).contains(&score), "process.oomScoreAdj: {score} is not in -1000...1000");
    }
    Ok(value)
}

fn personality(linux: Option<&Linux>) -> Result<Option<u32>> {
    let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) else { return Ok(None) };
    if let Some(flag) = personality.flags().as_deref().and_then(<[String]>::first) {
        // the specification defines none (LX-5)
        bail!("linux.personality.flags: unknown flag {flag:?}");
    }
    Ok(Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8, // PER_LINUX32
    }))
}

/// An empty label is none: engines write it so.
fn label(value: Option<&str>, field: &'static str) -> Result<Option<CString>> {
    let Some(label) = value.filter(|label| !label.is_empty()) else { return Ok(None) };
    ensure!(!label.contains('\n'), "{field}: contains a newline");
    c_string(label.as_bytes()).context(field).map(Some)
}

fn console_size(process: &Process) -> Result<Option<(u16, u16)>> {
    if !process.terminal().unwrap_or(false) {
        return Ok(None);
    }
    let Some(size) = process.console_size() else { return Ok(None) };
    let side = |value: u64, name| {
        u16::try_from(value).ok().with_context(|| format!("process.consoleSize.{name}: {value} is more than 65535"))
    };
    let (rows, columns) = (side(size.height(), "height")?, side(size.width(), "width")?);
    // 0 by 0 is what an engine writes that knows no size
    Ok((rows != 0 || columns != 0).then_some((rows, columns)))
}

#[cfg(test)]
mod tests;
