//! Removal of a container: its processes, its cgroup, its hooks, its state.

use base::error::{Code, Coding as _, HasErrno as _};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};

use super::{hooks, mount_points};
use crate::cgroup;
use crate::cgroup::Cgroup;
use crate::cgroup::CgroupRecord;
use crate::cgroup::plan::CgroupOptions;
use crate::cgroup::plan::ServiceManager;
use crate::config;
use crate::hook;
use crate::hook::Hooks;
use crate::plan;
use crate::state::Entry;
use crate::state::Record;
use crate::state::status;
use crate::state::store::CONFIG;
use crate::state::store::is_damage;
use base::log::step;
use linux::process::ExitStatus;

/// Errors of a process that has no descriptors or no memory left.
const EXHAUSTED: &[i32] = &[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN];

/// Removes all that `create` created, then runs the poststop hooks and frees the ID. Returns the errors of poststop
/// hooks as warnings (LC-3).
///
/// # Errors
/// A process does not end, a cgroup cannot be removed, or croci has no descriptors or memory to start the first hook; the
/// state is kept, so that a later delete can try again.
pub(crate) fn destroy(entry: &Entry, record: &Record, hooks: &Hooks) -> Result<Vec<String>> {
    remove_resources(record)?;
    let mut warnings = Vec::new();
    step(|| format!("hooks: {} poststop", hooks.plan.poststop.len()));
    let state = hooks.hook_state.state("stopped", None);
    for (number, hook) in hooks.plan.poststop.iter().enumerate() {
        if let Err(err) = hook::run(hook, &hooks.output, &state, hook::Procfs::Runtime, None) {
            // croci's own failure and not the hook's: a later delete can run them all
            if number == 0 && err.is_errno(EXHAUSTED) {
                return Err(err);
            }
            let text = base::error::describe(&err);
            warnings.push(match err.downcast_ref() {
                // the first words are crun's, the others runc's: the suites of both match them
                Some(hook::Failed { status: ExitStatus::Exited(code), .. }) => {
                    format!("poststop hook failed with exit code {code}: {text}")
                }
                _ => text,
            });
        }
    }
    entry.remove()?;
    step(|| "state directory removed".to_owned());
    Ok(warnings)
}

/// Undoes a failed `create` or `restore`. Ignores errors, because the caller reports that failure.
pub(crate) fn undo(entry: &Entry, record: &Record, hooks: &Hooks) {
    if destroy(entry, record, hooks).is_err() {
        // for `delete --force`
        let _ = entry.save(record);
    }
}

fn remove_resources(record: &Record) -> Result<()> {
    let cgroup = Cgroup::open(&record.cgroup);
    if let Some(init) = record.init
        && status::is_this_boot(&record.boot_id)?
    {
        // a CRIU that lost its croci may still trace the processes: init ends after them, and they wait for their
        // tracer
        if let Some(criu) = record.criu {
            kill_and_wait(criu, &cgroup).code(Code::CriuFailed, "end criu")?;
        }
        kill_and_wait(init, &cgroup)?;
        step(|| format!("init {} has ended", init.pid));
    }
    cgroup.destroy().code(Code::CgroupFailed, "remove the cgroup")?;
    step(|| "cgroup removed".to_owned());
    if record.host_mounts {
        match &record.host_root {
            Some(before) => {
                crate::rootfs::unmount::own(&record.rootfs, before).context("unmount the root file system")?;
            }
            // of an older croci
            None => {
                crate::rootfs::unmount::below(&record.rootfs).context("unmount what is below the root file system")?;
            }
        }
    }
    // of a `create` that failed or was killed
    mount_points::remove(&record.rootfs, &record.mount_points);
    record.resctrl.as_ref().map_or(Ok(()), super::rdt::remove)
}

/// Kills a process, if it has not ended yet, and waits for its end.
///
/// # Errors
/// The process does not end within 10 s.
pub(crate) fn kill_and_wait(init: crate::state::ProcessId, cgroup: &Cgroup) -> Result<()> {
    let Some(pidfd) = status::open_pidfd(init)? else { return Ok(()) };
    match linux::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Err(err) if !err.is_errno(&[libc::ESRCH]) => {
            return Err(err).with_context(|| format!("kill process {}", init.pid));
        }
        _ => {}
    }
    // on cgroup v1 a frozen process does not die
    if cgroup.is_frozen().unwrap_or(false) {
        cgroup.thaw().context("thaw the container")?;
    }
    if !status::wait_ended(&pidfd, 500)? {
        // the error below tells more than one of these
        cgroup.lift_cpu_limits();
        let _ = cgroup.take_back(init.pid);
        if !status::wait_ended(&pidfd, 10_000)? {
            anyhow::bail!("the process does not end: {}", cgroup::describe_process(init.pid));
        }
    }
    // a child of this process, when a failed create is undone
    let _ = linux::process::wait(pidfd.as_fd(), false);
    Ok(())
}

/// Reads the hooks, with the state that they get, from the private copy of the configuration (CF-6).
///
/// # Errors
/// The copy is missing or damaged.
pub(crate) fn stored_hooks(entry: &Entry, record: &Record) -> Result<Hooks> {
    let state = plan::hook::HookState {
        id: record.id.clone(),
        bundle: record.bundle.clone(),
        root: record.rootfs.clone(),
        annotations: record.annotations.clone(),
    };
    if record.later_hooks.is_empty() {
        return Ok(Hooks { hook_state: state, ..Hooks::default() });
    }
    let config = config::parse(&entry.read(CONFIG)?)?;
    Ok(hooks::hooks_for_existing(&config.spec, state))
}

/// Removes a container whose record cannot be read, for `delete --force`: finds the cgroup by the private copy of the
/// configuration or by the ID, and the processes by the cgroup (DE-3).
///
/// # Errors
/// As [`destroy`].
pub(crate) fn force_cleanup(entry: &Entry) -> Result<()> {
    let config = match entry.read(CONFIG) {
        Ok(text) => config::parse(&text).ok(),
        Err(err) if is_damage(&err) => None,
        Err(err) => return Err(err),
    };
    let linux = config.as_ref().and_then(|config| config.spec.linux().as_ref());
    let layout = cgroup::layout::detect()?;
    let rootless = base::host::rootless();
    let own_cgroup = if rootless { cgroup::layout::own_unified_path()? } else { None };
    let options = CgroupOptions { rootless, own_cgroup, ..CgroupOptions::default() };
    let mut candidates: Vec<CgroupRecord> = Vec::new();
    for linux in [linux, None] {
        if let Ok(mut plan) = cgroup::plan::plan(linux, entry.id.as_str(), &layout, &options) {
            // which directories `create` found is not recorded: only the container's own is removed
            plan.record.dirs.iter_mut().for_each(|dir| dir.created_depth = 1);
            candidates.push(plan.record());
        }
    }
    if let Ok(address) = base::host::service_manager() {
        // whether systemd created the cgroup is not recorded either; stopping a scope that does not exist does no harm
        let manager = ServiceManager { address, user: rootless, annotations: Vec::new() };
        let options = CgroupOptions { rootless, systemd: Some(manager), ..CgroupOptions::default() };
        let plans = [linux, None].map(|linux| cgroup::plan::plan(linux, entry.id.as_str(), &layout, &options));
        candidates.extend(plans.into_iter().flatten().map(|plan| CgroupRecord { dirs: Vec::new(), ..plan.record() }));
    }
    for record in candidates {
        let cgroup = Cgroup::open(&record);
        // a frozen process cannot die on cgroup v1
        let _ = cgroup.thaw();
        cgroup.destroy().code(Code::CgroupFailed, "remove the cgroup")?;
    }
    entry.remove()
}
