//! `mounts add` and `mounts remove`: the parent opens what is the host's, a process in the container's namespaces mounts.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::exec::namespaces;
use super::prepare::stored_rootfs;
use crate::cli::args;
use crate::container::store::CONFIG;
use crate::container::{Entry, ProcessId, Record, status};
use crate::init;
use crate::plan::mount::MountKind;
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
    if !args.remove {
        check(&plan).with_context(told)?;
        plan.open_live().with_context(told)?;
    }
    let Some(pidfd) = status::open(target)? else { bail!("container not running: {} has exited", entry.id) };
    let path = format!("/proc/{}/root", target.pid);
    let flags_of_root = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = open(path.as_str(), flags_of_root, Mode::empty()).context("the container's root")?;
    let proc_dir = host::proc_dir()?;
    let act = || {
        let root = root.try_clone().context("the container's root")?;
        if args.remove {
            init::live::remove(&plan, root, proc_dir.as_fd())
        } else {
            init::live::add(&plan, root, proc_dir.as_fd())
        }
    };
    within(&pidfd, flags, &act).with_context(told)?;
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

/// Runs `act` in a process that is in the namespaces `flags` of the process behind `pidfd`, the pid namespace, too.
fn within(pidfd: &OwnedFd, flags: i32, act: &dyn Fn() -> Result<()>) -> Result<()> {
    let (report, reporter) = sys::socket::pair().context("socket pair")?;
    match sys::process::clone3(0, None).context("make a process")? {
        Cloned::Child => {
            drop(report);
            let status = answer(enter(pidfd, flags, reporter.as_fd(), act), reporter.as_fd());
            sys::process::exit_now(status)
        }
        Cloned::Parent { pidfd, .. } => {
            drop(reporter);
            let mut text = vec![0u8; 8192];
            let received = sys::socket::receive(report.as_fd(), &mut text).context("listen to the process");
            let ended = sys::process::wait(pidfd.as_fd(), true).context("wait for the process")?;
            let (length, _) = received?;
            text.truncate(length);
            match text.split_first() {
                Some((b'+', _)) => Ok(()),
                Some((_, words)) => bail!("{}", String::from_utf8_lossy(words)),
                None => bail!(
                    "the process in the container ended{}",
                    ended.map(|how| format!(": {how}")).unwrap_or_default()
                ),
            }
        }
    }
}

/// A pid namespace is entered by children only, hence the second process.
fn enter(pidfd: &OwnedFd, flags: i32, reporter: BorrowedFd<'_>, act: &dyn Fn() -> Result<()>) -> Result<Option<()>> {
    // processes of the container can see this one from now on (SEC-5)
    sys::process::set_dumpable(false).context("set non-dumpable")?;
    sys::process::setns(pidfd.as_fd(), flags).context("join the container's namespaces")?;
    match sys::process::clone3(0, None).context("make a process")? {
        Cloned::Child => {
            let result = if flags & libc::CLONE_NEWUSER == 0 { Ok(()) } else { init::namespaces::become_root() };
            sys::process::exit_now(answer(result.and_then(|()| act()).map(Some), reporter))
        }
        Cloned::Parent { pidfd, .. } => {
            sys::process::wait(pidfd.as_fd(), true).context("wait for the process")?;
            Ok(None)
        }
    }
}

/// Tells the parent how it went; `None`: another process does.
fn answer(result: Result<Option<()>>, reporter: BorrowedFd<'_>) -> i32 {
    let (text, status) = match result {
        Ok(None) => return 0,
        Ok(Some(())) => (b"+".to_vec(), 0),
        Err(err) => ([b"-", crate::error::describe(&err).as_bytes()].concat(), 1),
    };
    let text = text.get(..text.len().min(8000)).unwrap_or_default();
    if sys::socket::send(reporter, text, &[]).is_err() { 1 } else { status }
}
