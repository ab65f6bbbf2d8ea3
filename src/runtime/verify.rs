//! The self-check by the parent: compares what procfs has of a process with the plan.
//!
//! The parent reads credentials and cgroups because the child's own seccomp filter may answer for the kernel. The child
//! checks its namespaces and mounts itself (`init::check`); those of a running container are read here, too.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::spawn::Init;
use super::stored::{self, stored_rootfs};
use crate::cgroup::CgroupRecord;
use crate::config;
use crate::id_mapping::IdMappings;
use crate::init::check;
use crate::init::check::mounts;
use crate::opened::Namespaces;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::plan::namespace::NamespacePlan;
use crate::plan::namespace::Rule;
use crate::plan::namespace::TYPES;
use crate::plan::namespace::file;
use crate::plan::process::ProcessPlan;
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::Record;
use crate::state::Status;
use crate::state::store::CONFIG;
use crate::verify::Check;
use crate::verify::Moment;
use crate::verify::Verdict;
use crate::verify::cgroup;
use crate::verify::cgroup::Depth;
use crate::verify::credentials;
use crate::verify::credentials::CheckContext;
use crate::verify::ensure_ok;
use base::host;
use linux::path as sys_path;

/// Returns the rules for the namespaces of a new container.
///
/// # Errors
/// procfs is not mounted.
pub(super) fn rules(namespaces: &NamespacePlan, opened: &Namespaces, proc: BorrowedFd<'_>) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (_, name, flag) in TYPES {
        let new = namespaces.clone_flags & flag != 0
            || flag == libc::CLONE_NEWCGROUP && namespaces.new_cgroup
            || flag == libc::CLONE_NEWTIME && namespaces.new_time.is_some();
        let joined = opened.all().find(|join| join.flag == flag);
        let other = match joined {
            Some(join) => sys_path::fstat(join.fd.as_fd()).with_context(|| format!("{name} namespace"))?.identity(),
            None if new => identity(proc, "self", name)?,
            None => continue,
        };
        rules.push(Rule { name, file: file(name), other, same: joined.is_some() });
    }
    Ok(rules)
}

/// Returns the rules for a process that joins the namespaces `flags` (`CLONE_NEW*`) of the container's init `target`:
/// the namespaces that the container was created with, because init may have entered others since.
///
/// # Errors
/// The namespaces of `target` may not be read.
pub(super) fn rules_of(record: &Record, target: ProcessId, flags: i32, proc: BorrowedFd<'_>) -> Result<Vec<Rule>> {
    let kinds = TYPES.into_iter().filter(|(_, _, flag)| flags & flag != 0);
    if !record.namespaces.is_empty() {
        let rule = |name| Some(Rule { name, file: file(name), other: *record.namespaces.get(name)?, same: true });
        return Ok(kinds.filter_map(|(_, name, _)| rule(name)).collect());
    }
    let process = target.pid.to_string();
    let rule = |name| Ok(Rule { name, file: file(name), other: identity(proc, &process, name)?, same: true });
    kinds.map(|(_, name, _)| rule(name)).collect()
}

fn identity(proc: BorrowedFd<'_>, process: &str, name: &'static str) -> Result<(libc::dev_t, libc::ino_t)> {
    check::identity(proc, process, file(name)).with_context(|| format!("{name} namespace of process {process}"))
}

/// Returns device and inode of the namespaces `flags` (`CLONE_NEW*`) of a process, without those that may not be read.
pub(super) fn namespaces_of(pid: i32, flags: i32, proc: BorrowedFd<'_>) -> BTreeMap<String, (u64, u64)> {
    let kinds = TYPES.into_iter().filter(|(_, _, flag)| flags & flag != 0);
    kinds.filter_map(|(_, name, _)| Some((name.to_owned(), identity(proc, &pid.to_string(), name).ok()?))).collect()
}

/// Compares a child that is ready to run its program with its plan.
///
/// # Errors
/// The first difference, with which the program must not run (SEC-15).
pub(super) fn before_program(
    init: &Init,
    (plan, opened): (&ContainerPlan, &Opened),
    cgroups: &[CgroupRecord],
    depth: Depth,
) -> Result<()> {
    if !plan.self_check {
        return Ok(());
    }
    let process = Process { proc: opened.proc_dir.as_fd(), pid: init.pid };
    let mut checks = Vec::new();
    if let Some(program) = &plan.process {
        checks = process.credentials(program, plan.seccomp.is_some(), Moment::BeforeProgram)?;
    }
    for cgroup in cgroups {
        checks.extend(process.cgroups(cgroup, depth)?);
    }
    ensure_ok(&checks)
}

/// Compares the first process of a restored container with the plan; its cgroups only where there is a record.
///
/// # Errors
/// The first difference. The process runs, so that the caller has to kill it.
pub(super) fn restored(
    pid: i32,
    (plan, opened): (&ContainerPlan, &Opened),
    cgroup: Option<&CgroupRecord>,
) -> Result<()> {
    if !plan.self_check {
        return Ok(());
    }
    let rules = &opened.namespace_rules;
    let process = Process { proc: opened.proc_dir.as_fd(), pid };
    let mut checks = match &plan.process {
        Some(program) => process.credentials(program, plan.seccomp.is_some(), Moment::Running)?,
        None => Vec::new(),
    };
    let rules = rules.iter().filter(|rule| cgroup.is_some() || rule.file != "cgroup").copied();
    checks.extend(process.namespaces(&rules.collect::<Vec<_>>()));
    if let Some(cgroup) = cgroup {
        checks.extend(process.cgroups(cgroup, Depth::Below)?);
    }
    if let Some(rootfs) = &plan.rootfs {
        checks.extend(process.mounts(rootfs, opened.rootfs.as_ref())?);
    }
    ensure_ok(&checks)
}

/// A process in the host's procfs.
struct Process<'a> {
    proc: BorrowedFd<'a>,
    pid: i32,
}

impl Process<'_> {
    fn read(&self, name: &str) -> Result<String> {
        let path = CString::new(format!("{}/{name}", self.pid))?;
        let file = sys_path::openat(self.proc, &path, libc::O_RDONLY, 0);
        let read = |file: OwnedFd| match name {
            "status" | "cgroup" => linux::file::read_record(&file),
            _ => linux::file::read_text(std::fs::File::from(file)),
        };
        file.and_then(read)
            .with_code(Code::VerifyDiffers, || format!("self-check: {name} of process {}{}", self.pid, hidden()))
    }

    fn credentials(&self, plan: &ProcessPlan, filter: bool, moment: Moment) -> Result<Vec<Check>> {
        let status = credentials::Status::parse(&self.read("status")?).context("self-check")?;
        let maps = match plan.user_ns {
            true => Some((IdMappings::parse(&self.read("uid_map")?), IdMappings::parse(&self.read("gid_map")?))),
            false => None,
        };
        let listed = !status.groups.is_empty() || plan.groups.as_ref().is_some_and(|groups| !groups.is_empty());
        let groups_kept = maps.is_some() && listed && self.read("setgroups")?.trim_end() == "deny";
        let foreign_filters = if filter && moment == Moment::BeforeProgram { own_filters(self.proc)? } else { 0 };
        let around = CheckContext { moment, maps, groups_kept, foreign_filters, filter };
        Ok(credentials::check(plan, &status, &around))
    }

    fn cgroups(&self, record: &CgroupRecord, depth: Depth) -> Result<Vec<Check>> {
        if record.dirs.is_empty() {
            return Ok(Vec::new());
        }
        let mut checks = cgroup::check(record, &self.read("cgroup")?, depth);
        for (check, dir) in checks.iter_mut().zip(&record.dirs).filter(|(check, _)| check.verdict == Verdict::Different)
        {
            // where only a part of the hierarchy is mounted, the kernel's paths begin above it
            let members = std::fs::read_to_string(format!("{}/cgroup.procs", record.path_in(dir))).unwrap_or_default();
            if members.lines().any(|line| line.parse() == Ok(self.pid)) {
                check.verdict = Verdict::Ok;
            }
        }
        Ok(checks)
    }

    /// Compares namespaces; those that may not be read are `unchecked`.
    fn namespaces(&self, rules: &[Rule]) -> Vec<Check> {
        let process = self.pid.to_string();
        let one = |rule: &Rule| match check::namespaces(std::slice::from_ref(rule), self.proc, &process) {
            Ok(checks) => checks,
            Err(err) => vec![unchecked(format!("linux.namespaces: {}", rule.name), &err)],
        };
        rules.iter().flat_map(one).collect()
    }

    /// Compares the mounts with the process's own view of them.
    fn mounts(&self, plan: &RootfsPlan, opened: Option<&rootfs::OpenedRootfs>) -> Result<Vec<Check>> {
        let path = CString::new(format!("{}/root", self.pid))?;
        let root = match sys_path::openat(self.proc, &path, libc::O_PATH | libc::O_DIRECTORY, 0) {
            Ok(root) => root,
            Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(vec![unchecked("mounts", &err.into())]);
            }
            Err(err) => return Err(err).code(Code::VerifyDiffers, "self-check: the container's root"),
        };
        let process = self.pid.to_string();
        mounts::check(plan, opened, root.as_fd(), &mounts::Table { proc: self.proc, process: &process })
    }
}

fn unchecked(name: impl Into<String>, err: &anyhow::Error) -> Check {
    Check::new(name, "", base::error::describe(err), Verdict::Unchecked)
}

/// Counts the seccomp filters of croci itself, which every child inherits.
fn own_filters(proc: BorrowedFd<'_>) -> Result<u64> {
    if !linux::seccomp::is_filtered() {
        return Ok(0);
    }
    let own = sys_path::openat(proc, c"self/status", libc::O_RDONLY, 0);
    let text = own
        .and_then(|file| linux::file::read_text(std::fs::File::from(file)))
        .code(Code::VerifyDiffers, "self-check: own status")?;
    Ok(credentials::Status::parse(&text).context("self-check")?.filters.unwrap_or_default())
}

/// Output of `state --verify`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    id: String,
    status: &'static str,
    pid: i32,
    /// Whether no check shows a difference.
    pub ok: bool,
    checks: Vec<Check>,
}

/// Compares a container that runs, or waits for its start, with its configuration.
///
/// # Errors
/// The container does not run, or it ended meanwhile.
pub(crate) fn report(entry: &Entry, record: &Record, status: Status, init: Option<ProcessId>) -> Result<Report> {
    let Some(init) = init.filter(|_| status != Status::Creating) else {
        bail!(coded!(ContainerNotRunning, "container not running: {} is {status}", entry.id))
    };
    let config = config::parse(&entry.read(CONFIG)?).context("the container's configuration")?.spec;
    let moment = if status == Status::Created { Moment::BeforeProgram } else { Moment::Running };
    let proc = host::proc_dir()?;
    let process = Process { proc: proc.as_fd(), pid: init.pid };
    let mut checks = Vec::new();
    if let Some(plan) = stored::stored_process(&config)? {
        let filter = stored::has_filter(&config)?;
        checks.extend(process.credentials(&plan, filter, moment)?);
    }
    for namespace in stored::stored_namespaces(&config) {
        checks.extend(stored_namespace(&process, record, namespace)?);
    }
    checks.extend(process.cgroups(&record.cgroup, Depth::Below)?);
    checks.extend(process.mounts(&stored_rootfs(&config, record)?, None)?);
    let ok = checks.iter().all(|check| check.verdict != Verdict::Different);
    Ok(Report { id: record.id.clone(), status: status.as_str(), pid: init.pid, ok, checks })
}

/// Compares a namespace with the recorded one. Without a record, a new namespace must not be croci's own, and a joined
/// one must be that of its path, while the path exists.
fn stored_namespace(
    process: &Process<'_>,
    record: &Record,
    (name, path): (&'static str, Option<CString>),
) -> Result<Vec<Check>> {
    if let Some(other) = record.namespaces.get(name) {
        return Ok(process.namespaces(&[Rule { name, file: file(name), other: *other, same: true }]));
    }
    let other = match &path {
        None => identity(process.proc, "self", name)?,
        Some(path) => match sys_path::stat_at(nix::fcntl::AT_FDCWD, path, true) {
            Ok(stat) => stat.identity(),
            Err(err) => {
                let err = anyhow::Error::new(err).context(format!("{path:?}"));
                return Ok(vec![unchecked(format!("linux.namespaces: {name}"), &err)]);
            }
        },
    };
    Ok(process.namespaces(&[Rule { name, file: file(name), other, same: path.is_some() }]))
}

/// Returns why a file of a process may be missing: /proc hides processes that may not be traced, as init is before its program.
fn hidden() -> &'static str {
    let hides = |line: &str| line.split(' ').nth(1) == Some("/proc") && line.contains("hidepid=");
    match std::fs::read_to_string("/proc/self/mounts") {
        Ok(mounts) if linux::process::euid() != 0 && mounts.lines().any(hides) => {
            " (/proc is mounted with hidepid, which hides it from this user: join the group of its option gid=)"
        }
        _ => "",
    }
}
