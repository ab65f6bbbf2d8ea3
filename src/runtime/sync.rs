//! The runtime's answers to messages of init, from the clone to `Ready`.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::spawn::Init;
use crate::id_mapping::IdMappings;
use crate::init::credentials;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::protocol::InitMessage;
use crate::seccomp::Filter;
use base::log::step;
use base::signal_guard::SignalGuard;
use linux::process::ExitStatus;

/// Descriptors and facts that init has sent when it is ready.
#[derive(Debug, Default)]
pub(crate) struct InitHandover {
    /// Pty master of the program's terminal.
    pub console: Option<OwnedFd>,
    /// Device and inode of the container's namespaces, by name.
    pub namespaces: BTreeMap<String, (u64, u64)>,
    /// Warnings for the caller: fallbacks that init took.
    pub warnings: Vec<String>,
}

/// The runtime's own part of a container's creation, for which init waits.
#[derive(Debug)]
pub(crate) enum Work {
    /// What is to be done between the mounts and the change of root.
    MountsDone,
    /// Recording of a mount point that init is about to create.
    MountPoint(PathBuf),
}

/// Answers init until it is ready. `work` does the runtime's own part while init waits. `to_agent` gets the seccomp
/// listener at once, because the next step of init may need the agent's answer.
///
/// # Errors
/// Init failed (the message is init's) or was killed; a callback failed; a signal arrived.
pub(crate) fn wait_until_ready(
    init: &Init,
    (plan, opened): (&ContainerPlan, &Opened),
    interrupt: &SignalGuard,
    work: &mut dyn FnMut(Work) -> Result<()>,
    to_agent: &mut dyn FnMut(OwnedFd) -> Result<()>,
) -> Result<InitHandover> {
    let mut handover = InitHandover::default();
    // a thread of init sends it, and so it may arrive after `Ready`
    let mut awaits_listener = plan.process.is_some() && plan.seccomp.as_ref().is_some_and(Filter::has_listener);
    let mut ready = false;
    while !ready || awaits_listener {
        init.wait_for_message(interrupt)?;
        let message = init.channel.recv()?;
        step(|| format!("init: {}", message.as_ref().map_or("ended", InitMessage::name)));
        match message {
            Some(InitMessage::MountsDone(_)) => {
                work(Work::MountsDone)?;
                init.send_go()?;
            }
            Some(InitMessage::Idmap(step, tree)) => {
                idmap((plan, opened), step, &tree)?;
                init.send_go()?;
            }
            Some(InitMessage::MountPoint(path)) => {
                work(Work::MountPoint(path))?;
                init.send_go()?;
            }
            Some(InitMessage::Warning(text)) => handover.warnings.push(text),
            Some(InitMessage::Namespaces(all)) => handover.namespaces = all,
            Some(InitMessage::Listener(fd)) => {
                to_agent(fd)?;
                awaits_listener = false;
            }
            Some(InitMessage::Console(fd)) => handover.console = Some(fd),
            Some(InitMessage::Ready) => ready = true,
            Some(InitMessage::Failed(text)) => return Err(base::error::from_wire(&text)),
            Some(other) => bail!("init: unexpected message {other:?}"),
            None => return Err(ended_early(init.wait()?, plan)),
        }
    }
    chown_stdio(init, plan, opened);
    Ok(handover)
}

/// Returns the error of an init that has ended before it was ready: by the filter of the container, or from outside.
pub(super) fn ended_early(ended: ExitStatus, plan: &ContainerPlan) -> anyhow::Error {
    if plan.seccomp.is_some() && ended == ExitStatus::Killed(libc::SIGSYS) {
        return coded!(
            SeccompExec,
            "linux.seccomp: the filter ended init at a call that it needs to start the program"
        )
        .into();
    }
    coded!(ContainerKilled, "init ended before the container was ready: {ended}").into()
}

/// The root directory in which the container's process is created.
#[derive(Debug)]
pub(crate) enum Root {
    /// An empty one, in which it waits for the container's, because pivot_root(2) is to come.
    Empty(OwnedFd),
    /// The container's.
    Complete(OwnedFd),
}

/// A request of the builder of a root file system.
#[derive(Debug)]
pub(crate) enum Request {
    /// Create the container's process, and do the runtime's own work between the mounts and the change of root.
    Create(Root),
    /// Let the process that exists enter this root directory, the container's.
    Enter(OwnedFd),
    /// ID-map the detached mount of a step.
    Idmap(usize, OwnedFd),
    /// Record a mount point that the builder is about to create.
    MountPoint(PathBuf),
}

/// Answers the builder of a root file system until it has ended, for a container in a pid namespace that exists.
///
/// `act` does what the builder requests, and returns the pid of a process that it created.
///
/// # Errors
/// The builder failed (the message is the builder's) or was killed; `act` failed; a signal arrived.
pub(crate) fn wait_until_root_ready(
    builder: &Init,
    interrupt: &SignalGuard,
    act: &mut dyn FnMut(Request) -> Result<i32>,
) -> Result<InitHandover> {
    let (mut handover, mut created) = (InitHandover::default(), false);
    loop {
        builder.wait_for_message(interrupt)?;
        match builder.channel.recv()? {
            Some(InitMessage::MountsDone(Some(empty))) => {
                let pid = act(Request::Create(Root::Empty(empty)))?;
                created = true;
                builder.send_go_with(pid, None)?;
            }
            Some(InitMessage::Idmap(step, tree)) => {
                act(Request::Idmap(step, tree))?;
                builder.send_go()?;
            }
            Some(InitMessage::MountPoint(path)) => {
                act(Request::MountPoint(path))?;
                builder.send_go()?;
            }
            Some(InitMessage::Warning(text)) => handover.warnings.push(text),
            Some(InitMessage::Namespaces(all)) => handover.namespaces = all,
            Some(InitMessage::Console(fd)) => handover.console = Some(fd),
            Some(InitMessage::RootReady(root)) => {
                act(if created { Request::Enter(root) } else { Request::Create(Root::Complete(root)) })?;
                builder.send_go()?;
                builder.wait().context("wait for the builder of the root file system")?;
                return Ok(handover);
            }
            Some(InitMessage::Failed(text)) => return Err(base::error::from_wire(&text)),
            Some(other) => bail!("builder of the root file system: unexpected message {other:?}"),
            None => bail!(coded!(ContainerKilled, "the builder of the root file system ended: {}", builder.wait()?)),
        }
    }
}

/// ID-maps the detached mount of a step for init, which has no right to.
///
/// # Errors
/// As [`crate::rootfs::OpenedRootfs::idmap`].
pub(crate) fn idmap((plan, opened): (&ContainerPlan, &Opened), step: usize, tree: &OwnedFd) -> Result<()> {
    let (Some(plan), Some(opened)) = (&plan.rootfs, &opened.rootfs) else { bail!("init: unexpected message") };
    opened.idmap(plan, step, tree.as_fd())
}

/// Writes the ID mappings of a new user namespace, because the child may not do so itself, and releases the child.
///
/// # Errors
/// The kernel or a helper program (newuidmap, newgidmap) refuses the mappings.
pub(crate) fn prepare_namespaces(init: &Init, plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    if plan.namespaces.new_user() {
        write_id_maps(init, plan, opened)?;
        init.send_go()?;
    }
    Ok(())
}

/// Writes the OOM score, because the child may not lower it itself.
///
/// # Errors
/// As [`credentials::oom_score`].
pub(crate) fn oom_score(init: &Init, plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    let Some(process) = &plan.process else { return Ok(()) };
    credentials::oom_score(process, opened.proc_dir.as_fd(), &init.pid.to_string())
}

/// Changes the owner of the standard streams to the program's user where init could not, because their owner, root of
/// the host, has no ID in init's user namespace. Otherwise `/dev/stdout` could not be opened again. Ignores errors, as
/// init does.
fn chown_stdio(init: &Init, plan: &ContainerPlan, opened: &Opened) {
    let Some(process) = plan.process.as_ref().filter(|process| process.user_ns && !process.terminal) else { return };
    let file = openat(
        &opened.proc_dir,
        format!("{}/uid_map", init.pid).as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    let map = file.ok().and_then(|file| std::io::read_to_string(std::fs::File::from(file)).ok()).unwrap_or_default();
    if let Some(uid) = IdMappings::parse(&map).to_host(process.uid) {
        crate::init::console::chown_stdio_to(uid);
    }
}

fn proc_write(init: &Init, opened: &Opened, name: &str, text: &str) -> Result<()> {
    let path = format!("{}/{name}", init.pid);
    let file = openat(&opened.proc_dir, path.as_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open /proc/{path}"))?;
    std::fs::File::from(file).write_all(text.as_bytes()).with_context(|| format!("write {text:?} to /proc/{path}"))
}

/// Returns whether setgroups(2) must be denied in a user namespace with these group mappings, because the kernel otherwise
/// does not let an unprivileged caller write them.
pub(crate) fn denies_setgroups(gid_map: &IdMappings) -> bool {
    linux::process::euid() != 0 && gid_map.is_single_id()
}

/// Writes the mappings directly where croci may, else by the setuid programs newuidmap and newgidmap.
fn write_id_maps(init: &Init, plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    let namespaces = &plan.namespaces;
    let privileged = linux::process::euid() == 0;
    for (field, file, helper, map) in [
        ("linux.gidMappings", "gid_map", "newgidmap", &namespaces.gid_map),
        ("linux.uidMappings", "uid_map", "newuidmap", &namespaces.uid_map),
    ] {
        if privileged || map.is_single_id() {
            if file == "gid_map" && denies_setgroups(map) {
                proc_write(init, opened, "setgroups", "deny").code(Code::IdMapping, "setgroups")?;
            }
            proc_write(init, opened, file, &map.to_string()).code(Code::IdMapping, field)?;
        } else {
            by_helper(helper, init.pid, map).code(Code::IdMapping, field)?;
        }
    }
    Ok(())
}

fn by_helper(helper: &str, pid: i32, map: &IdMappings) -> Result<()> {
    let mut command = std::process::Command::new(helper);
    command.arg(pid.to_string());
    for range in map.iter() {
        command.args([range.container.to_string(), range.host.to_string(), range.size.to_string()]);
    }
    let output = base::child::output(&mut command)
        .with_code(Code::IdMapping, || format!("run {helper} (Debian: package uidmap)"))?;
    if !output.status.success() {
        bail!(coded!(IdMapping, "{helper}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(())
}
