//! `mounts add` and `mounts remove`: the parent opens files of the host, a process in the container's namespaces
//! mounts.

use base::coded;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::exec::{namespaces, open_root};
use super::stored::stored_rootfs;
use super::{options, verify};
use crate::bundle;
use crate::config;
use crate::config::path::clean;
use crate::init;
use crate::plan::context::CgroupView;
use crate::plan::mount::MountKind;
use crate::plan::mount::MountStep;
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs;
use crate::rootfs::OpenedRootfs;
use crate::rootfs::live_mounts;
use crate::state::AddedMount;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::Record;
use crate::state::status;
use crate::state::store::CONFIG;
use crate::verify::ensure_ok;
use base::host;
use linux::process::CloneResult;

/// Mounts or unmounts in the container whose first process is `target`; returns warnings to log.
///
/// # Errors
/// Names the file, or the entry of it; mounts that were added so far are removed again.
pub(crate) fn change(
    entry: &Entry,
    mut record: Record,
    target: ProcessId,
    args: &options::Mounts,
) -> Result<Vec<String>> {
    let context = || format!("{:?}", args.file);
    let list = config::parse_mounts(&bundle::read(&args.file).with_context(context)?).with_context(context)?;
    let mut config = config::parse(&entry.read(CONFIG)?)?.spec;
    config.set_mounts(Some(list));
    let flags = namespaces(&config, target)? & !libc::CLONE_NEWTIME;
    let mut plan = stored_rootfs(&config, &record).with_context(context)?;
    plan.live = true;
    if !plan.mount_ns || record.host_mounts {
        let why = "the container has no mount namespace of its own: the host's mounts would change";
        bail!(coded!(ConfigUnsupported, "{why}"));
    }
    if !args.remove {
        check(&plan).with_context(context)?;
    }
    let opened = if args.remove { None } else { Some(rootfs::open_live(&plan).with_context(context)?) };
    let Some(pidfd) = status::open_pidfd(target)? else {
        bail!(coded!(ContainerNotRunning, "container not running: {} has exited", entry.id))
    };
    let root = open_root(target).context("the container's root")?;
    let pid_namespace = if flags & libc::CLONE_NEWPID == 0 { None } else { Some(open_pid_namespace(target)?) };
    let proc_dir = host::proc_dir()?;
    let added: Vec<_> = record.added_mounts.iter().map(place_of).collect();
    let act = || {
        let root = root.try_clone().context("the container's root")?;
        let Some(opened) = &opened else { return live_mounts::remove(&plan, root, &added, proc_dir.as_fd()) };
        let pid_namespace = pid_namespace.as_ref().map(OwnedFd::try_clone).transpose()?;
        live_mounts::add(&plan, opened, root, pid_namespace, proc_dir.as_fd())
    };
    let flags = flags & !libc::CLONE_NEWPID;
    let rules = verify::rules_of(&record, target, flags, proc_dir.as_fd())?;
    let check = || ensure_ok(&init::check::namespaces(&rules, proc_dir.as_fd(), "self")?);
    let changed = within(&pidfd, flags, &check, &act).with_context(context)?;
    match &opened {
        None => record.added_mounts.retain(|mount| !changed.contains(&mount.id)),
        Some(opened) => record.added_mounts.extend(added_mounts(&plan, opened, &changed)),
    }
    if let Err(err) = entry.save(&record) {
        if let Some(opened) = &opened {
            // because `mounts remove` removes recorded mounts only
            let added: Vec<_> = added_mounts(&plan, opened, &changed).iter().map(place_of).collect();
            let remove = || {
                live_mounts::remove(
                    &plan,
                    root.try_clone().context("copy the descriptor of the root")?,
                    &added,
                    proc_dir.as_fd(),
                )
            };
            let _ = within(&pidfd, flags, &check, &remove);
        }
        return Err(err);
    }
    Ok(plan.warnings)
}

/// Returns the records of the mounts with these IDs, which the steps of the plan have attached in their order.
fn added_mounts(plan: &RootfsPlan, opened: &OpenedRootfs, ids: &[u64]) -> Vec<AddedMount> {
    let steps = plan.steps.iter().enumerate().filter(|(index, _)| opened.attaches(plan, *index)).map(|(_, step)| step);
    let one = |(step, id): (&MountStep, &u64)| AddedMount {
        destination: step.destination.to_string_lossy().into_owned(),
        id: *id,
    };
    steps.zip(ids).map(one).collect()
}

/// Returns destination and ID of a mount, to be compared.
fn place_of(mount: &AddedMount) -> (PathBuf, u64) {
    (clean(Path::new(&mount.destination)), mount.id)
}

fn check(plan: &RootfsPlan) -> Result<()> {
    if let Some(step) = plan.steps.iter().find(|step| step.destination_is_root()) {
        bail!(coded!(MountDestination, "{}: the root of a running container cannot be mounted over", step.label));
    }
    let own = matches!(plan.cgroup, CgroupView::Unified { .. }) && plan.cgroup_ns;
    match plan.steps.iter().find(|step| matches!(step.kind, MountKind::Cgroup)) {
        Some(step) if !own => {
            bail!(coded!(
                ConfigUnsupported,
                "{}: a cgroup mount can be added to a running container on cgroup v2 only",
                step.label
            ))
        }
        _ => Ok(()),
    }
}

/// Opens the pid namespace of the container, for a procfs.
fn open_pid_namespace(target: ProcessId) -> Result<OwnedFd> {
    let path = format!("/proc/{}/ns/pid", target.pid);
    open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).with_context(|| format!("open {path}"))
}

/// Time for the process that mounts. A file system on the network may need seconds; a process that a container in the
/// runtime's pid namespace has stopped never answers.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Length of the longest answer in bytes, enough for the IDs of some thousand mounts.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Runs `act` in a new process, which first joins the namespaces `flags` of the process of `pidfd` and runs `check`;
/// returns the mount IDs of `act`. The new process is not in the container's pid namespace, so that the container can
/// neither trace nor stop it (SEC-5).
fn within(
    pidfd: &OwnedFd,
    flags: i32,
    check: &dyn Fn() -> Result<()>,
    act: &dyn Fn() -> Result<Vec<u64>>,
) -> Result<Vec<u64>> {
    let (report, reporter) = linux::socket::pair().context("socket pair")?;
    match linux::process::clone3(0, None).context("create a process")? {
        CloneResult::Child => {
            drop(report);
            let status = answer(enter(pidfd, flags, check).and_then(|()| act()), reporter.as_fd());
            linux::process::exit(status)
        }
        CloneResult::Parent { pidfd, .. } => {
            drop(reporter);
            let in_time = linux::socket::wait_readable(report.as_fd(), TIMEOUT).context("wait for the process")?;
            if !in_time {
                let _ = linux::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            }
            let mut text = vec![0u8; LONGEST_ANSWER];
            let received = linux::socket::receive(report.as_fd(), &mut text).context("listen to the process");
            let ended = linux::process::wait(pidfd.as_fd(), true).context("wait for the process")?;
            let (length, _) = received?;
            text.truncate(length);
            match text.split_first() {
                Some((b'+', ids)) => serde_json::from_slice(ids).context("answer of the process that mounts"),
                Some((_, words)) => Err(base::error::from_wire(&String::from_utf8_lossy(words))),
                None if !in_time => bail!("the process that mounts did not answer within {} s", TIMEOUT.as_secs()),
                None => bail!(
                    "the process in the container ended{}",
                    ended.map(|how| format!(": {how}")).unwrap_or_default()
                ),
            }
        }
    }
}

fn enter(pidfd: &OwnedFd, flags: i32, check: &dyn Fn() -> Result<()>) -> Result<()> {
    linux::process::set_dumpable(false).context("set non-dumpable")?;
    linux::process::setns(pidfd.as_fd(), flags).context("join the container's namespaces")?;
    check().context("init of the container has left the namespaces that it was created in")?;
    if flags & libc::CLONE_NEWUSER != 0 {
        init::namespaces::become_root(false)?;
    }
    // after the change of ids, which clears it; needed because this process keeps the container's lock, which must end
    // with the runtime
    linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")
}

/// Reports to the parent; returns the exit status.
fn answer(result: Result<Vec<u64>>, reporter: BorrowedFd<'_>) -> i32 {
    let (text, status) = match result {
        Ok(ids) => (format!("+{ids:?}").into_bytes(), 0),
        Err(err) => ([b"-", base::error::to_wire(&err).as_bytes()].concat(), 1),
    };
    let text = text.get(..text.len().min(LONGEST_ANSWER)).unwrap_or_default();
    if linux::socket::send(reporter, text, &[]).is_err() { 1 } else { status }
}
