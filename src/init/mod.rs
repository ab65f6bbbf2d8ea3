//! The child: one straight list of steps from the clone to the program.
//!
//! Nothing is decided here: each step does what its part of the plan says. The order is the design; where it matters,
//! the reason stands beside the step.

pub(crate) mod check;
pub(crate) mod console;
pub(crate) mod credentials;
pub(crate) mod exec;
pub(crate) mod inside;
pub(crate) mod lsm;
pub(crate) mod namespaces;
pub(crate) mod sysctl;

use std::convert::Infallible;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};

use crate::hook;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::plan::ContainerPlan;
use crate::plan::hook::HookPlan;
use crate::plan::process::ProcessPlan;
use crate::plan::rootfs::RootfsPlan;
use crate::protocol::Channel;
use crate::protocol::InitMessage;
use crate::rootfs;
use crate::rootfs::Root;
use base::error;

/// What a process of the runtime's does of the plan.
#[derive(Debug)]
pub(crate) enum Part {
    /// All of it: the container's process in a pid namespace of its own, or in the runtime's.
    Whole,
    /// Namespaces and root file system, for a process in a pid namespace that exists: [`Part::Program`] comes next.
    Root,
    /// What remains for a process that `inside` has prepared.
    Program {
        /// The slave of the terminal, where it exists already.
        terminal: Option<OwnedFd>,
    },
}

/// Becomes the container's process. Never returns: the program runs, or the runtime gets the reason why not.
pub(crate) fn run(plan: &ContainerPlan, opened: &mut Opened, part: &Part, channel: Channel) -> ! {
    linux::binary::clear_arguments_and_environment();
    if matches!(part, Part::Root) {
        let status = match build_root(plan, opened, &channel) {
            Ok(()) => 0,
            Err(err) => {
                let _ = channel.send(&InitMessage::Failed(error::describe(&err)));
                1
            }
        };
        linux::process::exit(status)
    }
    let program = match prepare(plan, opened, part, &channel) {
        Err(err) => {
            let _ = channel.send(&InitMessage::Failed(error::describe(&err)));
            linux::process::exit(1)
        }
        Ok(program) => program,
    };
    let status = match &opened.gate {
        StartSync::Channel => channel.into_fd(),
        StartSync::Fifos { status, .. } => {
            // the runtime's own end must close now: callers wait for it
            drop(channel);
            match status.try_clone() {
                Ok(fd) => fd,
                Err(_) => linux::process::exit(1),
            }
        }
    };
    let Err(err) = start(plan, opened, program);
    let mut text = error::describe(&err).into_bytes();
    if matches!(opened.gate, StartSync::Channel) {
        text.insert(0, b'F');
    }
    let _ = nix::unistd::write(&status, &text);
    linux::process::exit(1)
}

/// [`Part::Root`]: ends when the container's process has been created in what it has built.
fn build_root(plan: &ContainerPlan, opened: &mut Opened, channel: &Channel) -> Result<()> {
    begin(plan, opened, None, channel)?;
    let root = root(plan, opened, &Part::Root, channel)?.context("root: the configuration has none")?;
    channel.send(&InitMessage::RootReady(linux::path::dup(root.fd())?)).context("tell the runtime")?;
    channel.recv_go()
}

/// Session and namespaces; `pid` is the file of the pid namespace as in [`check::own_namespaces`].
fn begin(plan: &ContainerPlan, opened: &mut Opened, pid: Option<&'static str>, channel: &Channel) -> Result<()> {
    // dies with the runtime until the container is recorded: an unfinished create leaves no process
    linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    credentials::reset_signals()?;
    namespaces::enter(plan, opened, channel)?;
    check::own_namespaces(opened, pid)?;
    channel.send(&InitMessage::Namespaces(check::namespaces_of_plan(plan, opened)?)).context("tell the runtime")?;
    credentials::session()?;
    namespaces::names(plan)?;
    if plan.loopback {
        linux::net::loopback_up().context("bring up the loopback interface")?;
    }
    Ok(())
}

/// Everything up to the point where only the order to start is missing; the program, if there is one.
fn prepare(plan: &ContainerPlan, opened: &mut Opened, part: &Part, channel: &Channel) -> Result<Option<exec::Program>> {
    let root = if let Part::Program { .. } = part {
        linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
        credentials::reset_signals()?;
        credentials::session()?;
        None
    } else {
        begin(plan, opened, Some("pid"), channel)?;
        if let Some(process) = &plan.process {
            lsm::label_keys(process, opened.proc_dir.as_fd())?;
            credentials::keyring(process, &plan.id)?;
            lsm::unlabel_keys(process, opened.proc_dir.as_fd())?;
        }
        root(plan, opened, part, channel)?
    };
    let program = match &plan.process {
        Some(process) => Some(become_user((plan, opened), process, part, root, channel)?),
        None => {
            drop(root);
            close_rest(plan, opened, channel)?;
            linux::process::set_parent_death_signal(0).context("parent death signal")?;
            None
        }
    };
    // told when all is created; returns when the runtime has recorded it: without a runtime it is useless
    channel.send(&InitMessage::Ready).context("tell the runtime")?;
    channel.recv_go()?;
    Ok(program)
}

/// The root file system, the hooks before it is entered, and what is written below it.
fn root(plan: &ContainerPlan, opened: &Opened, part: &Part, channel: &Channel) -> Result<Option<Root>> {
    let Some(rootfs) = &plan.rootfs else {
        return Ok(None);
    };
    let sources = opened.rootfs.as_ref().context("the root was not opened")?;
    let pid_namespace = opened.namespaces.pid.as_ref().map(|join| join.fd.as_fd());
    let mut root = rootfs::build(rootfs, sources, opened.proc_dir.as_fd(), pid_namespace)?;
    match enter_root((plan, opened), part, rootfs, &root, channel) {
        Ok(()) => Ok(Some(root)),
        Err(err) => {
            // what was created in the image does not stay when creation fails (OP-3)
            root.undo();
            Err(err)
        }
    }
}

fn enter_root(
    (plan, opened): (&ContainerPlan, &Opened),
    part: &Part,
    rootfs: &RootfsPlan,
    root: &Root,
    channel: &Channel,
) -> Result<()> {
    let mut pid = std::process::id() as i32;
    // the state that hooks get has the pid of the container's process, which must have been created by then
    if plan.hooks_after_mounts || matches!(part, Part::Root) && !plan.hooks.create_container.is_empty() {
        let dir = matches!(part, Part::Root).then(|| linux::path::dup(root.fd())).transpose()?;
        channel.send(&InitMessage::MountsDone(dir)).context("tell the runtime")?;
        // of the container's process, which need not be this one
        pid = channel.recv_go_with()?.0.unwrap_or(pid);
    }
    // the paths of these hooks are the host's: they run before the root changes
    if !plan.hooks.create_container.is_empty() {
        let state = plan.hook_state.state("creating", Some(pid));
        hooks(&plan.hooks.create_container, &opened.hook_output, &state, hook::Procfs::Host(opened.proc_dir.as_fd()))?;
    }
    rootfs::pivot(rootfs, root)?;
    if let Some(process) = plan.process.as_ref().filter(|process| process.terminal) {
        let (master, slave) = console::pair(c"/", process).context("process.terminal")?;
        rootfs::device::attach_console(root, slave.as_fd())?;
        if !matches!(part, Part::Root) {
            console::take(slave.as_fd())?;
        }
        channel.send(&InitMessage::Console(master)).context("hand over the terminal")?;
    }
    // before read-only paths: /proc/sys usually is one
    sysctl::write(&plan.sysctl, opened.proc_dir.as_fd())?;
    if let Some(process) = &plan.process {
        // while the root can still be written
        exec::make_cwd(process)?;
    }
    rootfs::finish(rootfs, root)?;
    check::own_mounts(plan, opened, rootfs, root.fd())
}

/// A hook may end before it has read its state (HK-2); the program is to find the default action again.
fn hooks(list: &[HookPlan], output: &hook::Output, state: &[u8], procfs: hook::Procfs<'_>) -> Result<()> {
    linux::signal::set_ignored(libc::SIGPIPE).context("ignore SIGPIPE")?;
    let result = hook::run_all(list, output, state, procfs, None);
    linux::signal::set_default(libc::SIGPIPE).context("default action of SIGPIPE")?;
    result
}

/// What is done as root, and found: the working directory and the passwd file need not be open to the user.
fn prepare_as_root(opened: &Opened, process: &ProcessPlan, part: &Part, channel: &Channel) -> Result<exec::Program> {
    match part {
        _ if !process.terminal => {
            console::reopen_null(c"/")?;
            console::chown_stdio(process);
        }
        Part::Program { terminal: Some(slave) } => console::take(slave.as_fd())?,
        Part::Program { terminal: None } => {
            let (master, slave) = console::pair(c"/", process).context("process.terminal")?;
            console::take(slave.as_fd())?;
            channel.send(&InitMessage::Console(master)).context("hand over the terminal")?;
        }
        // done on the way into the root
        Part::Whole | Part::Root => {}
    }
    credentials::scheduling(process)?;
    if !matches!(part, Part::Program { .. }) {
        lsm::prepare(process, opened.proc_dir.as_fd())?;
    }
    exec::find(process)
}

/// From here on the process turns from croci's into the container's.
fn become_user(
    (plan, opened): (&ContainerPlan, &Opened),
    process: &ProcessPlan,
    part: &Part,
    mut root: Option<Root>,
    channel: &Channel,
) -> Result<exec::Program> {
    let found = prepare_as_root(opened, process, part, channel);
    if let (Err(_), Some(root)) = (&found, &mut root) {
        // the last chance: what follows takes the right to it away
        root.undo();
    }
    let program = found?;
    // its descriptors are of the host's making: gone before anything of the container runs
    drop(root);
    close_rest(plan, opened, channel)?;
    // late: they bind croci's own work too (address space, open files)
    credentials::rlimits(process)?;
    credentials::umask(process);
    credentials::bounding(process)?;
    // a filter may be loaded without privilege only after no_new_privs, and with it only then: as late as can be
    if !process.no_new_privs {
        install_seccomp(plan, channel)?;
    }
    credentials::ids(process)?;
    credentials::capabilities(process)?;
    // from here on the runtime's end of the channel decides: without its answer this process ends
    linux::process::set_parent_death_signal(0).context("parent death signal")?;
    if process.no_new_privs {
        credentials::no_new_privs()?;
        install_seccomp(plan, channel)?;
    }
    Ok(program)
}

/// Closes all but what the wait for the start and the program need. Above all the state directory: its lock is shared
/// with the runtime, and one that is killed now would leave it locked for as long as init waits. Then the pipes that a
/// caller left open: callers read them to their end (CL-7). Before the filter, which need not allow it.
fn close_rest(plan: &ContainerPlan, opened: &Opened, channel: &Channel) -> Result<()> {
    let mut keep: Vec<i32> = (0..3 + plan.preserve_fds as i32).collect();
    keep.push(channel.fd().as_raw_fd());
    if let StartSync::Fifos { start, status } = &opened.gate {
        keep.extend([start.as_raw_fd(), status.as_raw_fd()]);
    }
    // the files of hooks that run later
    if !plan.hooks.start_container.is_empty() {
        keep.extend(opened.hook_output.files().map(|file| file.as_raw_fd()));
    }
    linux::process::close_fds_except(keep).context("close descriptors")
}

fn install_seccomp(plan: &ContainerPlan, channel: &Channel) -> Result<()> {
    let Some(filter) = &plan.seccomp else { return Ok(()) };
    let listener = linux::seccomp::install(&filter.program, filter.flags).context("linux.seccomp: load the filter")?;
    if let Some(listener) = listener {
        channel.send(&InitMessage::Listener(listener)).context("hand over the seccomp listener")?;
    }
    Ok(())
}

/// Waits for the order, runs the last hooks and the program.
fn start(plan: &ContainerPlan, opened: &Opened, program: Option<exec::Program>) -> Result<Infallible> {
    if let StartSync::Fifos { start, .. } = &opened.gate {
        let mut byte = [0u8; 1];
        // a filter may answer 0: that is no order
        let ordered = nix::unistd::read(start, &mut byte).context("wait for start")?;
        anyhow::ensure!(ordered == 1, "wait for start: nothing was read");
    }
    let (Some(process), Some(program)) = (&plan.process, program) else {
        anyhow::bail!("process: the configuration has none, there is nothing to start");
    };
    if !plan.hooks.start_container.is_empty() {
        let state = plan.hook_state.state("created", Some(std::process::id() as i32));
        // what is at /proc now may be the image's
        hooks(&plan.hooks.start_container, &opened.hook_output, &state, hook::Procfs::None)?;
    }
    for fd in 3..3 + plan.preserve_fds as i32 {
        linux::process::clear_cloexec(fd).with_context(|| format!("--preserve-fds: descriptor {fd}"))?;
    }
    Err(exec::exec(process, &program))
}
