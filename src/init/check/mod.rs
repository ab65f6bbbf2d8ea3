//! The self-check of the child, before it gives up its rights: namespaces here, mounts in `mounts`.
//!
//! In the child, because a parent without privilege may not inspect a process that is not dumpable. No code of the
//! container runs in the child yet, and no seccomp filter returns values in the kernel's place.

pub(crate) mod mounts;

use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result};

use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::plan::namespace::Rule;
use crate::plan::namespace::TYPES;
use crate::plan::namespace::file;
use crate::plan::rootfs::RootfsPlan;
use crate::verify::Check;
use crate::verify::Verdict;
use crate::verify::ensure_ok;
use linux::path as sys_path;

/// Checks that this process is in the namespaces of its plan. `pid` is the file below `/proc/self/ns` of the pid
/// namespace to check; `None` for a process that does not join it.
///
/// # Errors
/// The first namespace that differs.
pub(crate) fn own_namespaces(opened: &Opened, pid: Option<&'static str>) -> Result<()> {
    let rules = opened.namespace_rules.iter().filter_map(|rule| match rule.file {
        "pid" => pid.map(|file| Rule { file, ..*rule }),
        _ => Some(*rule),
    });
    ensure_ok(&namespaces(&rules.collect::<Vec<_>>(), opened.proc_dir.as_fd(), "self")?)
}

/// Returns device and inode of this process's namespaces, of the types that the plan names; of a joined pid namespace
/// those of its file.
///
/// # Errors
/// As stat(2) on `/proc/self/ns`.
pub(crate) fn namespaces_of_plan(plan: &ContainerPlan, opened: &Opened) -> Result<BTreeMap<String, (u64, u64)>> {
    let flags = plan.namespaces.flags();
    let mut all = BTreeMap::new();
    for (_, name, flag) in TYPES.into_iter().filter(|(_, _, flag)| flags & flag != 0) {
        let identity = match &opened.namespaces.pid {
            Some(join) if flag == libc::CLONE_NEWPID => sys_path::fstat(join.fd.as_fd())?.identity(),
            _ => identity(opened.proc_dir.as_fd(), "self", file(name)).with_context(|| format!("{name} namespace"))?,
        };
        all.insert(name.to_owned(), identity);
    }
    Ok(all)
}

/// Checks that the mounts below `root` are those of the plan.
///
/// # Errors
/// The first mount that differs.
pub(crate) fn own_mounts(
    plan: &ContainerPlan,
    opened: &Opened,
    rootfs: &RootfsPlan,
    root: BorrowedFd<'_>,
) -> Result<()> {
    if !plan.self_check {
        return Ok(());
    }
    let table = mounts::Table { proc: opened.proc_dir.as_fd(), process: "self" };
    ensure_ok(&mounts::check(rootfs, opened.rootfs.as_ref(), root, &table)?)
}

/// Compares the namespaces of `process`, a pid or `self` in the procfs `proc`, with `rules`.
///
/// # Errors
/// As stat(2) on `/proc/PID/ns`.
pub(crate) fn namespaces(rules: &[Rule], proc: BorrowedFd<'_>, process: &str) -> Result<Vec<Check>> {
    rules.iter().map(|rule| namespace(rule, proc, process)).collect()
}

fn namespace(rule: &Rule, proc: BorrowedFd<'_>, process: &str) -> Result<Check> {
    let got = identity(proc, process, rule.file)
        .with_code(Code::VerifyDiffers, || format!("self-check: {} namespace", rule.name))?;
    let verdict = if (got == rule.other) == rule.same { Verdict::Ok } else { Verdict::Different };
    let expected = if rule.same { rule.other.1.to_string() } else { format!("other than {}", rule.other.1) };
    Ok(Check::new(format!("linux.namespaces: {}", rule.name), expected, got.1.to_string(), verdict))
}

/// Returns device and inode of a namespace of `process`.
///
/// # Errors
/// `EACCES`: this process may not inspect the other one; `ENOENT`: the kernel does not have this type of namespace.
pub(crate) fn identity(proc: BorrowedFd<'_>, process: &str, file: &str) -> io::Result<(libc::dev_t, libc::ino_t)> {
    let path = CString::new(format!("{process}/ns/{file}"))?;
    Ok(sys_path::stat_at(proc, &path, true)?.identity())
}
