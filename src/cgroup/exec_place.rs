//! The cgroups that a process of `exec` joins: the container's own, those of its init, or those that `--cgroup` names.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::files::{self, is_gone};
use super::{Cgroup, CgroupDir, CgroupRecord, open_dir, proc};
use linux::path as sys_path;

/// The open cgroups for a process of `exec`.
#[derive(Debug, Default)]
pub(crate) struct ExecPlace {
    /// The v2 directory for the clone; `None` without v2.
    pub into: Option<OwnedFd>,
    /// The v1 files to which the process writes `0`.
    pub joins: Vec<OwnedFd>,
    /// The cgroups that the process has to be in or below, for the self-check.
    pub expected: Vec<CgroupRecord>,
}

impl Cgroup {
    /// Opens the cgroups for a further process of the container: its own in each hierarchy, or that of its `init` where
    /// its own does not exist any more, because init was moved and the empty cgroup removed.
    ///
    /// # Errors
    /// Neither of both exists.
    pub(crate) fn exec_place(&self, init: i32) -> Result<ExecPlace> {
        let mut place = ExecPlace { expected: vec![self.record.clone()], ..ExecPlace::default() };
        for dir in &self.record.dirs {
            let opened = match open_member(dir, &self.record.path_in(dir)) {
                Err(err) if is_gone(&err) => place.open_of_init(init, dir)?,
                opened => {
                    opened.with_code(Code::CgroupFailed, || format!("open cgroup {}", self.record.path_in(dir)))?
                }
            };
            place.add(dir, opened);
        }
        Ok(place)
    }

    /// Exchanges the v2 cgroup for that of `init`: the container's own may hold no process where the container has
    /// enabled controllers for cgroups of its own (clone3(2) returns `EBUSY`).
    ///
    /// # Errors
    /// The cgroup cannot be opened.
    pub(crate) fn exec_beside_init(&self, place: &mut ExecPlace, init: i32) -> Result<()> {
        for dir in self.record.dirs.iter().filter(|dir| dir.unified) {
            place.into = Some(place.open_of_init(init, dir)?);
        }
        Ok(())
    }

    /// Opens cgroups below the container's for a further process. Each of `specs` is `PATH` for every hierarchy, or
    /// `CONTROLLER[,CONTROLLER]:PATH`. A `PATH` that exists in one hierarchy is created in the others, because the
    /// container may have created it only where it needs it.
    ///
    /// # Errors
    /// A path that leaves the container's cgroup (F5), a controller that is not mounted, a cgroup that does not exist;
    /// in runc's words, which callers match.
    pub(crate) fn exec_below(&self, specs: &[String]) -> Result<ExecPlace> {
        let mut paths: Vec<String> = self.record.dirs.iter().map(|dir| self.record.path_in(dir)).collect();
        for (controllers, sub) in parse(specs)? {
            ensure!(
                !sub.split('/').any(|part| part == "..") && !sub.contains('\0'),
                coded!(CgroupFailed, "--cgroup: bad sub cgroup path: {sub}: `..` components are not allowed")
            );
            let sub = sub.trim_matches('/');
            self.choose(&mut paths, controllers.as_deref(), sub)?;
            if controllers.is_none() {
                self.create_where_missing(sub)?;
            }
        }
        let mut place = ExecPlace { expected: vec![self.record.clone()], ..ExecPlace::default() };
        for (dir, path) in self.record.dirs.iter().zip(paths) {
            let opened = open_member(dir, &path).map_err(|err| match err.is_errno(&[libc::ENOENT]) {
                // the caller's path, and no cgroup of croci's own
                true => coded!(FileMissing, "{}", base::error::describe(&err)).into(),
                false => err,
            });
            place.add(dir, opened.with_code(Code::UsageValue, || "--cgroup: error adding pid 0 to cgroups")?);
        }
        Ok(place)
    }

    /// Replaces the paths of the hierarchies that have one of `controllers`, or of all.
    fn choose(&self, paths: &mut [String], controllers: Option<&[&str]>, sub: &str) -> Result<()> {
        let pure = self.record.is_pure_v2();
        for wanted in controllers.unwrap_or(&[""]) {
            let mut found = false;
            for (dir, path) in self.record.dirs.iter().zip(&mut *paths) {
                if controllers.is_none() || has_controller(dir, wanted, pure) {
                    *path = format!("{}/{sub}", self.record.path_in(dir)).trim_end_matches('/').to_owned();
                    found = true;
                }
            }
            if !found && controllers.is_some() {
                bail!(coded!(UsageValue, "--cgroup: unknown controller {wanted}: the container has no such cgroup"));
            }
            ensure!(found, coded!(CgroupFailed, "--cgroup: the container has no cgroup of its own"));
        }
        Ok(())
    }

    /// Creates the sub-cgroup in the hierarchies that lack it, if one of them has it.
    fn create_where_missing(&self, sub: &str) -> Result<()> {
        let all: Vec<String> = self.paths().map(|top| format!("{top}/{sub}")).collect();
        let exists = |path: &String| fs::metadata(path).is_ok();
        if !all.iter().any(exists) {
            return Ok(());
        }
        for (dir, path) in self.record.dirs.iter().zip(&all).filter(|(_, path)| !exists(path)) {
            let mut level = self.record.path_in(dir);
            for name in sub.split('/').filter(|name| !name.is_empty()) {
                let above = level.clone();
                level = format!("{level}/{name}");
                match fs::create_dir(&level) {
                    Err(err) if err.kind() == io::ErrorKind::AlreadyExists => continue,
                    created => created.with_code(Code::CgroupFailed, || format!("--cgroup: create {path}"))?,
                }
                // no process can join an empty cpuset
                for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| dir.has("cpuset")) {
                    files::write(&format!("{level}/{file}"), files::read(&format!("{above}/{file}"))?.trim())?;
                }
            }
        }
        Ok(())
    }
}

impl ExecPlace {
    fn add(&mut self, dir: &CgroupDir, opened: OwnedFd) {
        if dir.unified { self.into = Some(opened) } else { self.joins.push(opened) }
    }

    /// Opens the cgroup of `init` in a hierarchy, one name at a time, because the container may nest cgroups deeper than
    /// `PATH_MAX`. From then on the process is expected there.
    fn open_of_init(&mut self, init: i32, dir: &CgroupDir) -> Result<OwnedFd> {
        let path = format!("/proc/{init}/cgroup");
        let text = fs::read(&path).with_context(|| format!("read {path}"))?;
        let same = |membership: &proc::Membership<'_>| match dir.controllers.first() {
            _ if dir.unified => membership.unified,
            first => first.is_some_and(|name| membership.has(name)),
        };
        let all = proc::parse(&text);
        let place = all.iter().find(|membership| same(membership));
        let place = place.with_context(|| format!("process {init} has no cgroup below {}", dir.mount))?;
        let mut found = open_dir(&dir.mount)?;
        for name in place.path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            ensure!(name != b"..", "process {init} is in a cgroup outside of this cgroup namespace");
            let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
            found = sys_path::openat(found.as_fd(), &CString::new(name)?, flags, 0)
                .with_code(Code::CgroupFailed, || format!("open cgroup {:?} of process {init}", place.path_text()))?;
        }
        if !dir.unified {
            found = sys_path::openat(found.as_fd(), c"tasks", libc::O_WRONLY, 0)
                .with_code(Code::CgroupFailed, || format!("open tasks of cgroup {:?}", place.path_text()))?;
        }
        for record in &mut self.expected {
            record.dirs.retain(|other| other.mount != dir.mount);
        }
        let path = place.path_text().trim_end_matches('/').to_owned();
        self.expected.push(CgroupRecord { path, dirs: vec![dir.clone()], scope: None });
        Ok(found)
    }
}

/// Opens what a process needs to get into a cgroup: the directory on v2, `tasks` on v1 (see [`Cgroup::join_fds`]).
fn open_member(dir: &CgroupDir, path: &str) -> Result<OwnedFd> {
    if dir.unified {
        return open_dir(path);
    }
    let path = format!("{path}/tasks");
    let file = fs::OpenOptions::new().write(true).open(&path);
    file.map(OwnedFd::from).map_err(|err| anyhow!(err))
}

/// A value of `--cgroup`: the controllers, if it names any, and the path.
type Spec<'a> = (Option<Vec<&'a str>>, &'a str);

/// Splits the values of `--cgroup`.
fn parse(specs: &[String]) -> Result<Vec<Spec<'_>>> {
    let mut seen: Vec<&str> = Vec::new();
    let mut parsed = Vec::new();
    for spec in specs {
        let Some((controllers, sub)) = spec.split_once(':') else {
            ensure!(
                specs.len() == 1,
                coded!(UsageValue, "invalid --cgroup argument: {spec} (missing <controller>: prefix)")
            );
            return Ok(vec![(None, spec)]);
        };
        let controllers: Vec<&str> = controllers.split(',').collect();
        for name in &controllers {
            ensure!(
                !name.is_empty(),
                coded!(UsageValue, "invalid --cgroup argument: {spec} (empty <controller> prefix)")
            );
            ensure!(
                !seen.contains(name),
                coded!(UsageValue, "invalid --cgroup argument(s): controller {name} specified multiple times")
            );
            seen.push(name);
        }
        parsed.push((Some(controllers), sub));
    }
    Ok(parsed)
}

/// Reports whether a hierarchy has this controller; on pure v2 the only hierarchy has all.
fn has_controller(dir: &CgroupDir, controller: &str, pure_v2: bool) -> bool {
    pure_v2 || dir.has(controller) || controller.strip_prefix("name=").is_some_and(|name| dir.mount.ends_with(name))
}
