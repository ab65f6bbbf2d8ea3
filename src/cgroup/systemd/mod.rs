//! Cgroups that systemd creates: a transient scope for each container, requested over D-Bus.
//!
//! systemd needs a process to start a scope. That is a placeholder, which does nothing and ends as soon as init has
//! been cloned into the cgroup. So limits and device rules are set before init exists, as without systemd, and other
//! verbs do not depend on systemd. `name` and `annotation` read the configuration, `properties` converts it, `wire`
//! encodes messages and `bus` sends them; this module has the sequence of calls.

pub(crate) mod annotation;
mod bus;
pub(crate) mod name;
pub(crate) mod properties;
pub(crate) mod wire;

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::plan::ScopePlan;
use super::record::{CgroupDir, CgroupRecord, Scope};
use super::{Cgroup, files, layout, proc};
use bus::{Bus, DbusError, MANAGER};
use linux::process;
use linux::process::CloneResult;
use linux::socket;
use properties::Property;
use wire::{Value, Writer};

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// The first process of a scope; killed on drop.
#[derive(Debug)]
pub(super) struct ScopePlaceholder {
    pid: i32,
    pidfd: OwnedFd,
    /// One end of a socket pair: the process ends when it is closed.
    _alive: OwnedFd,
}

impl ScopePlaceholder {
    fn start() -> Result<ScopePlaceholder> {
        let (ours, theirs) = socket::pair().context("socket pair")?;
        let cloned = process::clone3(0, None).map_err(|err| {
            let limit = err.raw_os_error() == Some(libc::EAGAIN);
            let why = if limit { ": a pids limit of croci's own cgroup, or RLIMIT_NPROC, is reached" } else { "" };
            anyhow!(err).context(format!("create the first process of the scope{why}"))
        })?;
        match cloned {
            CloneResult::Child => {
                drop(ours);
                // the signal ends it with croci even where init has inherited the other end of the socket
                let _ = process::set_parent_death_signal(libc::SIGKILL);
                let _ = socket::receive(theirs.as_fd(), &mut [0]);
                process::exit(0)
            }
            CloneResult::Parent { pid, pidfd } => Ok(ScopePlaceholder { pid, pidfd, _alive: ours }),
        }
    }
}

impl Drop for ScopePlaceholder {
    fn drop(&mut self) {
        let _ = process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = process::wait(self.pidfd.as_fd(), true);
    }
}

/// Starts a scope and returns its first process and the record with the path of its cgroup.
///
/// # Errors
/// systemd cannot be reached or refuses; the scope is stopped before.
pub(super) fn start(
    scope: &Scope,
    wanted: &ScopePlan,
    planned: &CgroupRecord,
) -> Result<(ScopePlaceholder, CgroupRecord)> {
    let placeholder = ScopePlaceholder::start()?;
    start_unit(scope, wanted, placeholder.pid)
        .with_code(Code::CgroupSystemd, || format!("systemd: start {}", scope.unit))?;
    match locate(planned, scope, placeholder.pid) {
        Ok(record) => Ok((placeholder, record)),
        Err(err) => {
            drop(placeholder);
            let _ = stop(scope);
            Err(err)
        }
    }
}

/// Reads in which cgroup the placeholder is, because systemd's view of the hierarchy may begin below croci's.
fn locate(planned: &CgroupRecord, scope: &Scope, placeholder: i32) -> Result<CgroupRecord> {
    let file = format!("/proc/{placeholder}/cgroup");
    let text = files::read(&file)?;
    // on cgroup v1 systemd keeps its units in a named hierarchy
    let all = proc::parse(text.as_bytes());
    let found = all.iter().find(|it| it.has("name=systemd")).or_else(|| all.iter().find(|it| it.unified));
    let path = found.map(proc::Membership::path_text).filter(|path| path.rsplit('/').next() == Some(&scope.unit));
    let path = path.with_code(Code::CgroupSystemd, || {
        format!("systemd has not put process {placeholder} into {}: {text:?}", scope.unit)
    })?;
    let mut record = CgroupRecord { path: path.into_owned(), ..planned.clone() };
    if record.dirs.is_empty() {
        record.dirs = vec![CgroupDir { mount: layout::MOUNT.to_owned(), unified: true, ..CgroupDir::default() }];
    }
    Ok(record)
}

fn connect(scope: &Scope) -> Result<Bus> {
    Bus::connect(&scope.address).map_err(|err| match err.errno() {
        // not the errno: "no such file or directory" makes callers think that the program was not found (CL-21)
        Some(libc::ENOENT | libc::ECONNREFUSED) => {
            anyhow!(coded!(CgroupSystemd, "systemd: no service manager listens at {:?}", scope.address))
        }
        _ => Code::CgroupSystemd.add_to(err, format!("systemd: connect to {:?}", scope.address)),
    })
}

fn error_name(result: &Result<Vec<String>>) -> Option<&str> {
    result.as_ref().err()?.downcast_ref::<DbusError>().map(|err| err.name.as_str())
}

fn start_unit(scope: &Scope, wanted: &ScopePlan, pid: i32) -> Result<()> {
    let mut bus = connect(scope)?;
    let first = Property::new("PIDs", Value::U32s(vec![pid.cast_unsigned()]));
    let mut call = |old: bool| {
        let chosen = wanted.properties.iter().chain([&first]).filter(|property| !(old && property.newer));
        let mut body = Writer::default();
        body.text(&scope.unit);
        body.text("replace");
        body.properties(chosen.map(|property| (property.name.as_str(), &property.value)));
        body.array(8, &[(); 0], |_, ()| ()); // no further units
        let mut result = bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body);
        if error_name(&result) == Some(UNIT_EXISTS) {
            // a failed unit of this name stays until it is reset
            let _ = bus.call(MANAGER, "ResetFailedUnit", "s", &unit(scope));
            result = bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body);
        }
        result
    };
    let mut result = call(false);
    let newer = wanted.properties.iter().any(|property| property.newer);
    if newer && error_name(&result).is_some_and(|name| name.starts_with("org.freedesktop.DBus.Error.")) {
        result = call(true);
    }
    finish(&mut bus, result?)
}

/// Waits for the job that a reply names.
fn finish(bus: &mut Bus, reply: Vec<String>) -> Result<()> {
    let job = reply.into_iter().next().context("a reply without a job")?;
    let result = bus.job(&job)?;
    ensure!(result == "done", coded!(CgroupSystemd, "the job ended with {result:?}; see systemd's log"));
    Ok(())
}

fn unit(scope: &Scope) -> Writer {
    let mut body = Writer::default();
    body.text(&scope.unit);
    body
}

/// Kills the processes of the scope and stops it. A scope that does not exist counts as stopped.
pub(super) fn stop(scope: &Scope) -> Result<()> {
    let mut bus = connect(scope)?;
    let mut body = unit(scope);
    body.text("all");
    body.u32(libc::SIGKILL.cast_unsigned());
    // StopUnit alone would send SIGTERM and wait
    let killed = bus.call(MANAGER, "KillUnit", "ssi", &body);
    if error_name(&killed) == Some(NO_SUCH_UNIT) {
        return Ok(());
    }
    let mut body = unit(scope);
    body.text("replace");
    let stopped = bus.call(MANAGER, "StopUnit", "ss", &body);
    if error_name(&stopped) == Some(NO_SUCH_UNIT) {
        return Ok(());
    }
    finish(&mut bus, stopped?)?;
    // removes a unit that failed; most do not exist any more
    let _ = bus.call(MANAGER, "ResetFailedUnit", "s", &unit(scope));
    Ok(())
}

/// Sends new limits to systemd, because it would otherwise restore the old ones.
pub(super) fn update(scope: &Scope, properties: &[Property]) -> Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    let mut bus = connect(scope)?;
    let mut call = |old: bool| {
        let chosen = properties.iter().filter(|property| !(old && property.newer));
        let mut body = unit(scope);
        body.u32(1); // runtime: until the next boot, as the unit itself
        body.properties(chosen.map(|property| (property.name.as_str(), &property.value)));
        bus.call(MANAGER, "SetUnitProperties", "sba(sv)", &body)
    };
    let mut result = call(false);
    if properties.iter().any(|property| property.newer) && error_name(&result).is_some() {
        result = call(true);
    }
    result.map(drop).with_code(Code::CgroupSystemd, || format!("systemd: set properties of {}", scope.unit))
}

impl Cgroup {
    /// Ends the placeholder. Call it when init is in the scope.
    pub(crate) fn end_placeholder(&mut self) {
        self.placeholder = None;
    }

    /// Reports whether only systemd can move a process into the cgroup: a user's manager may move a process from the
    /// user's session into a service, but the user may not. The kernel requires write permission to the common
    /// ancestor.
    pub(crate) fn needs_systemd_to_enter(&self) -> Result<bool> {
        let Some(scope) = self.record.scope.as_ref().filter(|scope| scope.user) else { return Ok(false) };
        let own = layout::own_unified_path()?
            .with_code(Code::CgroupFailed, || format!("{}: this process has no cgroup", scope.unit))?;
        let shared = own.split('/').zip(self.record.path.split('/')).take_while(|(own, theirs)| own == theirs);
        let common = shared.map(|(part, _)| part).collect::<Vec<_>>().join("/");
        let path = format!("{}{common}/cgroup.procs", layout::MOUNT);
        Ok(nix::unistd::access(path.as_str(), nix::unistd::AccessFlags::W_OK).is_err())
    }

    /// Lets systemd move a process into the cgroup.
    ///
    /// # Errors
    /// systemd cannot be reached or refuses, or the cgroup is not of a scope.
    pub(crate) fn enter_by_systemd(&self, pid: i32) -> Result<()> {
        let Some(scope) = &self.record.scope else { bail!(coded!(CgroupSystemd, "the cgroup is not systemd's")) };
        let mut bus = connect(scope)?;
        let mut body = unit(scope);
        body.text("");
        body.array(4, &[pid.cast_unsigned()], |out, pid| out.u32(*pid));
        let result = bus.call(MANAGER, "AttachProcessesToUnit", "ssau", &body);
        result.map(drop).with_code(Code::CgroupSystemd, || format!("systemd: put process {pid} into {}", scope.unit))
    }

    /// Stops the scope, if there is one. Returns `false` when systemd cannot be reached but will stop the scope by
    /// itself, because the cgroup is known and empty.
    pub(super) fn stop_scope(&self) -> Result<bool> {
        let Some(scope) = &self.record.scope else { return Ok(true) };
        match stop(scope) {
            Err(err) if !self.is_none() && err.downcast_ref::<DbusError>().is_none() => Ok(false),
            result => result.map(|()| true).with_code(Code::CgroupSystemd, || format!("systemd: stop {}", scope.unit)),
        }
    }
}
