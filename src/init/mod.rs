//! The child: one straight list of steps from the clone to the program.
//!
//! Nothing is decided here: each step does what its part of the plan says. The order is the design; where it matters,
//! the reason stands beside the step.

pub mod cgroupfs;
pub mod check;
pub mod console;
pub mod copyup;
pub mod device;
pub mod exec;
pub mod identity;
pub mod live;
pub mod lsm;
pub mod mask;
pub mod mount;
pub mod namespaces;
pub mod path;
pub mod rootfs;
pub mod sysctl;
pub mod unmount;

use std::convert::Infallible;
use std::os::fd::{AsFd as _, AsRawFd as _};

use anyhow::{Context as _, Result};

use self::rootfs::Root;
use crate::error;
use crate::launch::channel::{Channel, Event};
use crate::launch::hook;
use crate::plan::hook::HookPlan;
use crate::plan::process::ProcessPlan;
use crate::plan::rootfs::RootfsPlan;
use crate::plan::{ContainerPlan, Gate};
use crate::sys;

/// Becomes the container's process. Never returns: the program runs, or the runtime is told why not.
pub fn run(plan: &ContainerPlan, channel: Channel) -> ! {
    let program = match prepare(plan, &channel) {
        Err(err) => {
            let _ = channel.tell(&Event::Failed(error::describe(&err)));
            sys::process::exit_now(1)
        }
        Ok(program) => program,
    };
    let status = match &plan.gate {
        Gate::Channel => channel.into_fd(),
        Gate::Fifos { status, .. } => {
            // the runtime's own end must close now: callers wait for it
            drop(channel);
            match status.try_clone() {
                Ok(fd) => fd,
                Err(_) => sys::process::exit_now(1),
            }
        }
    };
    let Err(err) = start(plan, program);
    let mut text = error::describe(&err).into_bytes();
    if matches!(plan.gate, Gate::Channel) {
        text.insert(0, b'F');
    }
    let _ = nix::unistd::write(&status, &text);
    sys::process::exit_now(1)
}

/// Everything up to the point where only the order to start is missing; the program, if there is one.
fn prepare(plan: &ContainerPlan, channel: &Channel) -> Result<Option<exec::Program>> {
    // dies with the runtime until the container is recorded: an unfinished create leaves no process
    sys::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    identity::reset_signals()?;
    namespaces::enter(plan, channel)?;
    check::own_namespaces(plan)?;
    identity::session()?;
    if let Some(process) = &plan.process {
        lsm::label_keys(process, plan.proc_dir.as_fd())?;
        identity::keyring(process, &plan.id)?;
        lsm::unlabel_keys(process, plan.proc_dir.as_fd())?;
    }
    namespaces::names(plan)?;
    if plan.loopback {
        sys::net::loopback_up().context("bring up the loopback interface")?;
    }
    let root = root(plan, channel)?;
    let program = match &plan.process {
        Some(process) => Some(person(plan, process, root, channel)?),
        None => {
            drop(root);
            close_rest(plan, channel);
            sys::process::set_parent_death_signal(0).context("parent death signal")?;
            None
        }
    };
    // told when all is made; returns when the runtime has recorded it: without a runtime nobody wants it
    channel.tell(&Event::Ready).context("tell the runtime")?;
    channel.wait_go()?;
    Ok(program)
}

/// The root file system, the hooks before it is entered, and what is written below it.
fn root(plan: &ContainerPlan, channel: &Channel) -> Result<Option<Root>> {
    let Some(rootfs) = &plan.rootfs else {
        return Ok(None);
    };
    let mut root = rootfs::build(rootfs, plan.proc_dir.as_fd())?;
    match enter_root(plan, rootfs, &root, channel) {
        Ok(()) => Ok(Some(root)),
        Err(err) => {
            // what was made in the image is nothing of a container that comes to nothing (OP-3)
            root.undo();
            Err(err)
        }
    }
}

fn enter_root(plan: &ContainerPlan, rootfs: &RootfsPlan, root: &Root, channel: &Channel) -> Result<()> {
    if plan.stop_after_mounts {
        channel.tell(&Event::MountsDone).context("tell the runtime")?;
        channel.wait_go()?;
    }
    // the paths of these hooks are the host's: they run before the root changes
    if !plan.hooks.create_container.is_empty() {
        let state = plan.told.state("creating", Some(std::process::id() as i32));
        hooks(&plan.hooks.create_container, &state)?;
    }
    rootfs::pivot(rootfs, root)?;
    if let Some(process) = plan.process.as_ref().filter(|process| process.terminal) {
        terminal(process, channel)?;
        rootfs::attach_console(root, std::io::stdin().as_fd())?;
    }
    // before read-only paths: /proc/sys usually is one
    sysctl::write(&plan.sysctl, plan.proc_dir.as_fd())?;
    if let Some(process) = &plan.process {
        // while the root can still be written
        exec::make_cwd(process)?;
    }
    rootfs::finish(rootfs, root)?;
    check::own_mounts(plan, rootfs, root.fd())
}

/// A hook may end before it has read its state (HK-2); the program is to find the default action again.
fn hooks(list: &[HookPlan], state: &[u8]) -> Result<()> {
    sys::signal::set_ignored(libc::SIGPIPE).context("ignore SIGPIPE")?;
    let result = hook::run_all(list, state, None);
    sys::signal::set_default(libc::SIGPIPE).context("default action of SIGPIPE")?;
    result
}

/// What is done as root, and found: the working directory and the passwd file need not be open to the user.
fn as_root(plan: &ContainerPlan, process: &ProcessPlan, channel: &Channel) -> Result<exec::Program> {
    if !process.terminal {
        console::own_stdio(process);
    } else if plan.rootfs.is_none() {
        terminal(process, channel)?;
    }
    identity::scheduling(process)?;
    lsm::prepare(process, plan.proc_dir.as_fd())?;
    exec::find(process)
}

/// From here on the process turns from croci's into the container's.
fn person(
    plan: &ContainerPlan,
    process: &ProcessPlan,
    mut root: Option<Root>,
    channel: &Channel,
) -> Result<exec::Program> {
    let found = as_root(plan, process, channel);
    if let (Err(_), Some(root)) = (&found, &mut root) {
        // the last chance: what follows takes the right to it away
        root.undo();
    }
    let program = found?;
    // its descriptors are of the host's making: gone before anything of the container runs
    drop(root);
    close_rest(plan, channel);
    // late: they bind croci's own work too (address space, open files)
    identity::rlimits(process)?;
    identity::umask(process);
    identity::bounding(process)?;
    // a filter may be loaded without privilege only after no_new_privs, and with it only then: as late as can be
    if !process.no_new_privs {
        install_seccomp(plan, channel)?;
    }
    identity::ids(process)?;
    identity::capabilities(process)?;
    // from here on the runtime's end of the channel decides: without its answer this process ends
    sys::process::set_parent_death_signal(0).context("parent death signal")?;
    if process.no_new_privs {
        identity::no_new_privs()?;
        install_seccomp(plan, channel)?;
    }
    Ok(program)
}

/// Closes all but what the wait for the start and the program need. Above all the state directory: its lock is shared
/// with the runtime, and one that is killed now would leave it locked for as long as init waits. Then the pipes that a
/// caller left open: callers read them to their end (CL-7). Before the filter, which need not allow it.
fn close_rest(plan: &ContainerPlan, channel: &Channel) {
    let mut keep: Vec<i32> = (0..3 + plan.preserve_fds as i32).collect();
    keep.push(channel.fd().as_raw_fd());
    if let Gate::Fifos { start, status } = &plan.gate {
        keep.extend([start.as_raw_fd(), status.as_raw_fd()]);
    }
    // the files of hooks that run later
    let files = plan.hooks.start_container.iter().flat_map(|hook| hook.output.iter().flatten());
    keep.extend(files.map(|file| file.as_raw_fd()));
    sys::process::close_all_but(keep);
}

/// A terminal of the container's own devpts becomes standard input, output and error; its master goes to the runtime.
fn terminal(process: &ProcessPlan, channel: &Channel) -> Result<()> {
    let master = console::open(process)?;
    channel.tell(&Event::Console(master)).context("hand over the terminal")
}

fn install_seccomp(plan: &ContainerPlan, channel: &Channel) -> Result<()> {
    let Some(filter) = &plan.seccomp else { return Ok(()) };
    let listener = sys::seccomp::install(&filter.program, filter.flags).context("linux.seccomp: load the filter")?;
    if let Some(listener) = listener {
        channel.tell(&Event::Listener(listener)).context("hand over the seccomp listener")?;
    }
    Ok(())
}

/// Waits for the order, runs the last hooks and the program.
fn start(plan: &ContainerPlan, program: Option<exec::Program>) -> Result<Infallible> {
    if let Gate::Fifos { start, .. } = &plan.gate {
        let mut byte = [0u8; 1];
        nix::unistd::read(start, &mut byte).context("wait for start")?;
    }
    let (Some(process), Some(program)) = (&plan.process, program) else {
        anyhow::bail!("process: the configuration has none, there is nothing to start");
    };
    if !plan.hooks.start_container.is_empty() {
        let state = plan.told.state("created", Some(std::process::id() as i32));
        hooks(&plan.hooks.start_container, &state)?;
    }
    for fd in 3..3 + plan.preserve_fds as i32 {
        sys::process::keep_on_exec(fd).with_context(|| format!("--preserve-fds: descriptor {fd}"))?;
    }
    Err(exec::exec(process, &program))
}
