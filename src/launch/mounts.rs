//! `mounts add` and `mounts remove`: the parent opens what is the host's, a process in the container's namespaces mounts.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::exec::{namespaces, open_root};
use super::prepare::stored_rootfs;
use crate::cli::args;
use crate::container::store::CONFIG;
use crate::container::{Entry, ProcessId, Record, status};
use crate::init;
use crate::plan::mount::{Added, MountKind};
use crate::plan::rootfs::{CgroupView, RootfsPlan};
use crate::sys::process::Cloned;
use crate::{bundle, host, spec, sys};

/// Mounts or unmounts in the container whose first process is `target`; what it warns of.
///
/// # Errors
/// Names the file, or the entry of it; what was mounted so far is taken away again.
pub fn change(entry: &Entry, record: &Record, target: ProcessId, args: &args::Mounts) -> Result<Vec<String>> {
    let told = || format!("{:?}", args.file);
    let list = spec::parse_mounts(&bundle::read(&args.file).with_context(told)?).with_context(told)?;
    let mut config = spec::parse(&entry.read(CONFIG)?)?.spec;
    config.set_mounts(Some(list));
    let flags = namespaces(&config, target)? & !libc::CLONE_NEWTIME;
    let mut plan = stored_rootfs(&config, record).with_context(told)?;
    if !plan.mount_ns {
        bail!("the container has no mount namespace of its own: the host's mounts would change");
    }
    // a byte of a destination may take six in JSON
    let answer: usize = plan.steps.iter().map(|step| step.destination.as_bytes().len() * 6 + 150).sum();
    if answer >= LONGEST_ANSWER {
        bail!("{:?}: too many mounts at once", args.file);
    }
    if !args.remove {
        check(&plan).with_context(told)?;
        plan.open_live().with_context(told)?;
    }
    let Some(pidfd) = status::open(target)? else { bail!("container not running: {} has exited", entry.id) };
    let root = open_root(target).context("the container's root")?;
    let pid_namespace = if flags & libc::CLONE_NEWPID == 0 { None } else { Some(open_pid_namespace(target)?) };
    let proc_dir = host::proc_dir()?;
    let act = || {
        let root = root.try_clone().context("the container's root")?;
        if args.remove {
            init::live::remove(&plan, root, &record.added_mounts, proc_dir.as_fd())
        } else {
            let pid_namespace = pid_namespace.as_ref().map(OwnedFd::try_clone).transpose()?;
            init::live::add(&plan, root, pid_namespace, proc_dir.as_fd())
        }
    };
    let flags = flags & !libc::CLONE_NEWPID;
    let changed = within(&pidfd, flags, &act).with_context(told)?;
    let mut new_record = record.clone();
    if args.remove {
        new_record.added_mounts.retain(|mount| !changed.contains(mount));
        entry.save(&new_record)?;
        return Ok(plan.warnings);
    }
    new_record.added_mounts.extend_from_slice(&changed);
    if let Err(err) = entry.save(&new_record) {
        // a mount without a record could never be removed
        let take_back = || init::live::remove(&plan, root.try_clone()?, &changed, proc_dir.as_fd());
        let _ = within(&pidfd, flags, &take_back);
        return Err(err);
    }
    Ok(plan.warnings)
}

fn check(plan: &RootfsPlan) -> Result<()> {
    let own = matches!(plan.cgroup, CgroupView::Unified { .. }) && plan.cgroup_ns;
    match plan.steps.iter().find(|step| matches!(step.kind, MountKind::Cgroup)) {
        Some(step) if !own => {
            bail!("{}: a cgroup mount can be added to a running container on cgroup v2 only", step.label)
        }
        _ => Ok(()),
    }
}

/// The pid namespace of the container, for a procfs.
fn open_pid_namespace(target: ProcessId) -> Result<OwnedFd> {
    let path = format!("/proc/{}/ns/pid", target.pid);
    open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).with_context(|| format!("open {path}"))
}

/// How long the process that mounts may take. A file system on the network may need seconds to answer; a process that a
/// container of the runtime's pid namespace has stopped never does.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Longest answer, in bytes.
const LONGEST_ANSWER: usize = 128 * 1024;

/// Runs `act` in a process that is in the namespaces `flags` of the process behind `pidfd`. It is never in the
/// container's pid namespace, so that the container can neither trace nor stop it (SEC-5).
fn within(pidfd: &OwnedFd, flags: i32, act: &dyn Fn() -> Result<Vec<Added>>) -> Result<Vec<Added>> {
    let (report, reporter) = sys::socket::pair().context("socket pair")?;
    match sys::process::clone3(0, None).context("create a process")? {
        Cloned::Child => {
            drop(report);
            let status = answer(enter(pidfd, flags).and_then(|()| act()), reporter.as_fd());
            sys::process::exit_now(status)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(reporter);
            let in_time = sys::socket::wait_readable(report.as_fd(), TIMEOUT).context("wait for the process")?;
            if !in_time {
                let _ = sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
            }
            let mut text = vec![0u8; LONGEST_ANSWER];
            let received = sys::socket::receive(report.as_fd(), &mut text).context("listen to the process");
            let ended = sys::process::wait(pidfd.as_fd(), true).context("wait for the process")?;
            let (length, _) = received?;
            text.truncate(length);
            match text.split_first() {
                Some((b'+', list)) => serde_json::from_slice(list).context("the answer of the process that mounts"),
                Some((_, words)) => bail!("{}", String::from_utf8_lossy(words)),
                None if !in_time => bail!("the process that mounts did not answer within {} s", TIMEOUT.as_secs()),
                None => bail!(
                    "the process in the container ended{}",
                    ended.map(|how| format!(": {how}")).unwrap_or_default()
                ),
            }
        }
    }
}

fn enter(pidfd: &OwnedFd, flags: i32) -> Result<()> {
    sys::process::set_dumpable(false).context("set non-dumpable")?;
    sys::process::setns(pidfd.as_fd(), flags).context("join the container's namespaces")?;
    if flags & libc::CLONE_NEWUSER != 0 {
        init::namespaces::become_root()?;
    }
    // now, because a change of ids clears it: it holds the container's lock, which must end with the runtime
    sys::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")
}

/// Reports to the parent; the exit status.
fn answer(result: Result<Vec<Added>>, reporter: BorrowedFd<'_>) -> i32 {
    let result = result.and_then(|mounts| Ok(serde_json::to_vec(&mounts)?));
    let (text, status) = match result {
        Ok(list) => ([b"+", list.as_slice()].concat(), 0),
        Err(err) => ([b"-", crate::error::describe(&err).as_bytes()].concat(), 1),
    };
    let text = text.get(..text.len().min(LONGEST_ANSWER)).unwrap_or_default();
    if sys::socket::send(reporter, text, &[]).is_err() { 1 } else { status }
}
