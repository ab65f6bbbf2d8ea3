//! The runtime's side of the protocol with init, from clone3(2) to `Ready`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::spawn::Init;
use crate::id_mapping::IdMappings;
use crate::init::credentials;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::protocol::InitMessage;
use base::signal_guard::SignalGuard;

/// The descriptors and facts that init sends before it is ready.
#[derive(Debug, Default)]
pub(crate) struct InitHandover {
    /// The pty master of the container's terminal.
    pub console: Option<OwnedFd>,
    /// Device and inode of the container's namespaces.
    pub namespaces: BTreeMap<String, (u64, u64)>,
}

/// Answers init's messages until it is ready. Calls `on_mounts_done` while init waits between the mounts and
/// pivot_root(2). Calls `to_agent` with the seccomp notification descriptor at once, because init's next system calls
/// may need the agent.
///
/// # Errors
/// The error that init sent; init was killed; the error of `on_mounts_done` or `to_agent`; croci was interrupted.
pub(crate) fn wait_until_ready(
    init: &Init,
    (plan, opened): (&ContainerPlan, &Opened),
    interrupt: &SignalGuard,
    on_mounts_done: &mut dyn FnMut() -> Result<()>,
    to_agent: &dyn Fn(OwnedFd) -> Result<()>,
) -> Result<InitHandover> {
    let mut handover = InitHandover::default();
    loop {
        init.wait_for_message(interrupt)?;
        match init.channel.recv()? {
            Some(InitMessage::MountsDone(_)) => {
                on_mounts_done()?;
                init.release()?;
            }
            Some(InitMessage::Namespaces(all)) => handover.namespaces = all,
            Some(InitMessage::Listener(fd)) => to_agent(fd)?,
            Some(InitMessage::Console(fd)) => handover.console = Some(fd),
            Some(InitMessage::Ready) => {
                chown_stdio(init, plan, opened);
                return Ok(handover);
            }
            Some(InitMessage::Failed(text)) => bail!("{text}"),
            Some(other) => bail!("init: unexpected message {other:?}"),
            None => bail!("init ended before the container was ready: {}", init.wait()?),
        }
    }
}

/// Answers the child that builds the root file system ([`crate::init::Part::Root`]) until that is complete.
///
/// `create` creates the container's process in the root directory that it is called with, does the runtime's work
/// between the mounts and pivot_root(2), and returns the pid.
///
/// # Errors
/// The error that the child sent; the child was killed; the error of `create`; croci was interrupted.
pub(crate) fn until_root_ready(
    builder: &Init,
    interrupt: &SignalGuard,
    create: &mut dyn FnMut(OwnedFd) -> Result<i32>,
) -> Result<InitHandover> {
    let (mut handover, mut created) = (InitHandover::default(), false);
    loop {
        builder.wait_for_message(interrupt)?;
        match builder.channel.recv()? {
            Some(InitMessage::MountsDone(Some(root))) => {
                let pid = create(root)?;
                created = true;
                builder.release_with(pid, None)?;
            }
            Some(InitMessage::Namespaces(all)) => handover.namespaces = all,
            Some(InitMessage::Console(fd)) => handover.console = Some(fd),
            Some(InitMessage::RootReady(root)) => {
                if !created {
                    create(root)?;
                }
                builder.release()?;
                builder.wait().context("wait for the builder of the root file system")?;
                return Ok(handover);
            }
            Some(InitMessage::Failed(text)) => bail!("{text}"),
            Some(other) => bail!("builder of the root file system: unexpected message {other:?}"),
            None => bail!("the builder of the root file system ended: {}", builder.wait()?),
        }
    }
}

/// Writes the ID maps of a new user namespace, which the child itself may not, and sends `Go` to the child.
///
/// # Errors
/// The kernel, newuidmap(1) or newgidmap(1) refuses the maps.
pub(crate) fn prepare_namespaces(init: &Init, plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    if plan.namespaces.new_user() {
        write_maps(init, plan, opened)?;
        init.release()?;
    }
    Ok(())
}

/// Writes the OOM score of init, because init itself may not lower it.
///
/// # Errors
/// As [`credentials::oom_score`].
pub(crate) fn oom_score(init: &Init, plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    let Some(process) = &plan.process else { return Ok(()) };
    credentials::oom_score(process, opened.proc_dir.as_fd(), &init.pid.to_string())
}

/// Changes the owner of the standard streams to the program's user, so that it can open `/dev/stdout`. In the parent,
/// because init may not in its user namespace, where the present owner is not mapped. Errors are ignored, as in init.
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
    let file = openat(&opened.proc_dir, path.as_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(std::fs::File::from(file).write_all(text.as_bytes())?)
}

/// Returns whether setgroups(2) has to be denied in a user namespace with this group map: the kernel requires it of an
/// unprivileged writer.
pub(crate) fn denies_setgroups(gid_map: &IdMappings) -> bool {
    linux::process::euid() != 0 && gid_map.is_single_id()
}

/// Writes the ID maps: directly where croci may, else by newuidmap(1) and newgidmap(1).
fn write_maps(init: &Init, plan: &ContainerPlan, opened: &Opened) -> Result<()> {
    let namespaces = &plan.namespaces;
    let privileged = linux::process::euid() == 0;
    for (field, file, helper, map) in [
        ("linux.gidMappings", "gid_map", "newgidmap", &namespaces.gid_map),
        ("linux.uidMappings", "uid_map", "newuidmap", &namespaces.uid_map),
    ] {
        if privileged || map.is_single_id() {
            if file == "gid_map" && denies_setgroups(map) {
                proc_write(init, opened, "setgroups", "deny").context("setgroups")?;
            }
            proc_write(init, opened, file, &map.to_string()).context(field)?;
        } else {
            write_map_by(helper, init.pid, map).context(field)?;
        }
    }
    Ok(())
}

fn write_map_by(helper: &str, pid: i32, map: &IdMappings) -> Result<()> {
    let mut command = std::process::Command::new(helper);
    command.arg(pid.to_string());
    for range in map.iter() {
        command.args([range.container.to_string(), range.host.to_string(), range.size.to_string()]);
    }
    let output = command.output().with_context(|| format!("run {helper} (Debian: package uidmap)"))?;
    if !output.status.success() {
        bail!("{helper}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
