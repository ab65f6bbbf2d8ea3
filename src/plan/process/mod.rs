//! The process part of the plan: the container's program, its credentials and limits.
//!
//! Pure: converts `process`, `linux.personality` and `linux.memoryPolicy` to numbers and C strings, every value
//! checked. `init::credentials`, `init::exec`, `init::lsm` and `init::console` apply them.

pub(crate) mod caps;
pub(crate) mod env;
pub(crate) mod ids;
pub(crate) mod limits;
pub(crate) mod sched;

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use oci_spec::runtime::{Linux, LinuxPersonalityDomain, Process};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;

pub(crate) use caps::Capabilities;
pub(crate) use limits::Rlimit;
pub(crate) use sched::{Affinity, MemoryPolicy, Scheduler};

use crate::id_mapping::IdMappings;

/// Sockets that croci inherits from a service manager and passes on (sd_listen_fds(3)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenFds {
    /// `LISTEN_FDS`: number of descriptors from 3 on.
    pub count: u32,
    /// `LISTEN_FDNAMES`.
    pub names: Option<String>,
}

/// Properties of the container and the caller that the plan of a process needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessContext {
    /// The process runs in a user namespace other than the runtime's.
    pub user_ns: bool,
    /// User mappings of that namespace; empty where they are not known (a joined namespace).
    pub uid_maps: IdMappings,
    /// Group mappings of that namespace; empty where they are not known.
    pub gid_maps: IdMappings,
    /// The user namespace denies setgroups(2).
    pub setgroups_denied: bool,
    /// Keep the caller's supplementary groups (`run.oci.keep_original_groups`).
    pub keep_groups: bool,
    /// Sockets that the caller passes to the process.
    pub listen_fds: Option<ListenFds>,
    /// The process is an additional one in an existing container (`exec`).
    pub is_exec: bool,
    /// The runtime is not root of the initial user namespace.
    pub rootless: bool,
    /// The capabilities that the runtime has; `None` in a user namespace, where it has all.
    pub available_caps: Option<u64>,
}

/// The container's process, in the form that the system calls take.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    /// The arguments: at least one, and the first is not empty.
    pub args: Vec<CString>,
    /// `NAME=value`, each name once. The child adds variables: see `init::exec::environment`.
    pub env: Vec<CString>,
    /// `HOME` is unset or empty; the child reads it from the container's passwd(5).
    pub wants_home: bool,
    /// The child adds `LISTEN_PID`, with the pid of the program in the container.
    pub wants_listen_pid: bool,
    /// Absolute path of the working directory.
    pub cwd: CString,
    /// Create a missing working directory; not for `exec`.
    pub create_cwd: bool,
    /// User ID in the container; never `u32::MAX`, which would mean "no change".
    pub uid: u32,
    /// Group ID in the container; never `u32::MAX`.
    pub gid: u32,
    /// All supplementary groups; `None` where setgroups(2) is denied or the caller's groups stay.
    pub groups: Option<Vec<u32>>,
    /// The caller's groups stay, in a user namespace as overflow IDs.
    pub keep_groups: bool,
    /// File mode creation mask (umask(2)).
    pub umask: u32,
    /// The five capability sets, without capabilities that the kernel would refuse.
    pub caps: Capabilities,
    /// Resource limits, set late because some would restrict the last steps of croci itself.
    pub rlimits: Vec<Rlimit>,
    /// Set PR_SET_NO_NEW_PRIVS before the program runs.
    pub no_new_privs: bool,
    /// Value of `/proc/PID/oom_score_adj`, -1000 to 1000; `None`: unchanged.
    pub oom_score_adj: Option<i32>,
    /// The runtime is rootless: the kernel may refuse a lower OOM score, which is then skipped.
    pub rootless: bool,
    /// Scheduling policy and parameters.
    pub scheduler: Option<Scheduler>,
    /// The argument of ioprio_set: class in the upper bits, level in the lower 13.
    pub io_priority: Option<i32>,
    /// NUMA memory policy.
    pub memory_policy: Option<MemoryPolicy>,
    /// The argument of personality(2).
    pub personality: Option<u32>,
    /// CPU affinity, for `exec` only.
    pub affinity: Affinity,
    /// AppArmor profile from the execve(2) on.
    pub apparmor: Option<CString>,
    /// SELinux label from the execve(2) on.
    pub selinux: Option<CString>,
    /// The program's standard streams are a pty of the container.
    pub terminal: bool,
    /// Rows and columns of that pty; `None`: unchanged.
    pub console_size: Option<(u16, u16)>,
    /// Create a session keyring; off with `--no-new-keyring`.
    pub new_keyring: bool,
    /// The process is in a user namespace other than the runtime's.
    pub user_ns: bool,
    /// The seccomp filter is loaded before IDs and capabilities are set. The child then does not check them, because
    /// the profile may not allow the system calls; the parent does (`runtime::verify`).
    pub filtered: bool,
    /// Warnings of the specification, logged at any level: what was skipped, and why.
    pub warnings: Vec<String>,
    /// Configured protections that this host does not have, reported at any log level.
    pub unprotected: Vec<String>,
}

/// The default umask as in runc and crun, although the specification would keep the caller's (PR-7).
const DEFAULT_UMASK: u32 = 0o022;

/// Plans one process.
///
/// # Errors
/// A value that the specification or the kernel refuses; the error names the field.
pub(crate) fn plan(process: &Process, linux: Option<&Linux>, ctx: &ProcessContext) -> Result<ProcessPlan> {
    let mut warnings = Vec::new();
    let user = process.user();
    let args = args(process.args().as_deref().unwrap_or_default())?;
    let environment = env::build(process.env().as_deref().unwrap_or_default(), ctx.listen_fds.as_ref())?;
    let caps = caps::plan(process.capabilities().as_ref(), ctx.available_caps, &mut warnings);
    let umask = user.umask().unwrap_or(DEFAULT_UMASK);
    ensure!(umask <= 0o777, coded!(ProcessUser, "process.user.umask: {umask} is more than 511 (0777)"));
    let memory_policy = linux.and_then(|linux| linux.memory_policy().as_ref());
    Ok(ProcessPlan {
        args,
        env: environment.vars,
        wants_home: environment.wants_home,
        wants_listen_pid: environment.wants_listen_pid,
        cwd: cwd(process)?,
        create_cwd: !ctx.is_exec,
        uid: ids::mapped(user.uid(), &ctx.uid_maps).code(Code::ProcessUser, "process.user.uid")?,
        gid: ids::mapped(user.gid(), &ctx.gid_maps).code(Code::ProcessUser, "process.user.gid")?,
        groups: ids::groups(user.additional_gids().as_deref().unwrap_or_default(), user.gid(), ctx, &mut warnings)?,
        keep_groups: ctx.keep_groups,
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

/// Converts to a C string; NUL is an error and never the end of the string (CF-8).
fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).ok().context("contains a NUL character")
}

fn args(args: &[String]) -> Result<Vec<CString>> {
    let first = args.first().context("process.args: must have at least one entry")?;
    ensure!(!first.is_empty(), coded!(ExecNotFound, "process.args[0]: exec: \"\": executable file not found in $PATH"));
    args.iter()
        .enumerate()
        .map(|(index, arg)| c_string(arg.as_bytes()).with_context(|| format!("process.args[{index}]")))
        .collect()
}

fn cwd(process: &Process) -> Result<CString> {
    let cwd = process.cwd();
    ensure!(cwd.is_absolute(), coded!(ExecCwd, "process.cwd: {cwd:?} is not an absolute path"));
    c_string(cwd.as_os_str().as_bytes()).code(Code::ExecCwd, "process.cwd")
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
        // the specification defines no flag (LX-5)
        bail!(coded!(
            ConfigUnknown,
            "linux.personality.flags: unknown flag {flag:?} (the specification defines none: leave it out)"
        ));
    }
    Ok(Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8, // PER_LINUX32
    }))
}

/// Converts a label; an empty one is absent, because engines write it so.
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
    // an engine without a size writes 0 by 0
    Ok((rows != 0 || columns != 0).then_some((rows, columns)))
}

#[cfg(test)]
mod tests;
