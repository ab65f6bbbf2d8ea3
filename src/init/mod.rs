//! The child: the steps from clone3(2) to the program's execve(2), in order.
//!
//! Decisions are in the plan; each step carries out its part. Where the order matters, a comment at the step has the
//! reason.

pub(crate) mod check;
pub(crate) mod console;
pub(crate) mod credentials;
pub(crate) mod exec;
pub(crate) mod inside;
pub(crate) mod lsm;
pub(crate) mod namespaces;
pub(crate) mod sysctl;

use base::error::{Code, Coding as _};
use std::convert::Infallible;
use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::hook;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::plan::ContainerPlan;
use crate::plan::hook::HookPlan;
use crate::plan::process::ProcessPlan;
use crate::plan::rootfs::RootfsPlan;
use crate::protocol;
use crate::protocol::Channel;
use crate::protocol::InitMessage;
use crate::rootfs;
use crate::rootfs::Root;
use crate::seccomp;
use base::error;
use linux::seccomp::Handover;

/// The part of the plan that one child of the runtime carries out.
#[derive(Debug)]
pub(crate) enum Part {
    /// The whole plan: the container's process, in a new pid namespace or in the runtime's.
    Whole,
    /// The namespaces and the root file system, when the pid namespace exists already: another child carries out
    /// [`Part::Program`].
    Root,
    /// The remaining steps, in a child of the helper of `inside`.
    Program {
        /// The slave of the pty, when it exists already.
        terminal: Option<OwnedFd>,
        /// The process has an empty root directory until it receives the container's.
        awaits_root: bool,
    },
}

/// Becomes the container's process. Never returns: the program runs, or init sends the error to the runtime and exits.
pub(crate) fn run(plan: &ContainerPlan, opened: &mut Opened, part: &Part, channel: Channel) -> ! {
    linux::binary::clear_arguments_and_environment();
    if matches!(part, Part::Root) {
        let status = match build_root(plan, opened, &channel) {
            Ok(()) => 0,
            Err(err) => {
                let _ = channel.send(&InitMessage::Failed(error::to_wire(&err)));
                1
            }
        };
        linux::process::exit(status)
    }
    let program = match prepare(plan, opened, part, &channel) {
        Err(err) => {
            let _ = channel.send(&InitMessage::Failed(error::to_wire(&err)));
            linux::process::exit(1)
        }
        Ok(program) => program,
    };
    // as few system calls as there can be from here on, because the filter may refuse or delay each
    let socket;
    let status = match &opened.start_sync {
        StartSync::Channel => {
            socket = channel.into_fd();
            socket.as_fd()
        }
        StartSync::Fifo(fifo) => {
            // init must not keep the runtime's socket, because the runtime's callers wait until it is closed
            // (not dropped, because a debug build then calls fcntl(2) too)
            let _ = nix::unistd::close(channel.into_fd());
            fifo.as_fd()
        }
    };
    let Err(err) = start(plan, opened, program);
    let mut text = error::to_wire(&err).into_bytes();
    if matches!(opened.start_sync, StartSync::Channel) {
        text.insert(0, b'F');
    }
    let _ = nix::unistd::write(status, &text);
    linux::process::exit(1)
}

/// Carries out [`Part::Root`]; returns when the runtime has created the container's process in the new root.
fn build_root(plan: &ContainerPlan, opened: &mut Opened, channel: &Channel) -> Result<()> {
    enter_namespaces(plan, opened, None, channel)?;
    let root = set_up_root(plan, opened, &Part::Root, channel)?.context("root: the configuration has none")?;
    channel.send(&InitMessage::RootReady(linux::path::dup(root.fd())?)).context("send to the runtime")?;
    channel.recv_go()
}

/// Enters and checks the namespaces, and starts a session; `pid` as in [`check::own_namespaces`].
fn enter_namespaces(
    plan: &ContainerPlan,
    opened: &mut Opened,
    pid: Option<&'static str>,
    channel: &Channel,
) -> Result<()> {
    // until the container is recorded, because an interrupted create must not leave a process
    linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
    credentials::reset_signals()?;
    namespaces::enter(plan, opened, channel)?;
    if let (Some(kernel_mounts), Some(rootfs), Some(sources)) =
        (opened.kernel_mounts.take(), &plan.rootfs, &mut opened.rootfs)
    {
        rootfs::leave_host_mounts(rootfs, sources, &kernel_mounts)?;
    }
    check::own_namespaces(opened, pid)?;
    let namespaces = check::namespaces_of_plan(plan, opened)?;
    channel.send(&InitMessage::Namespaces(namespaces)).context("send to the runtime")?;
    credentials::session()?;
    namespaces::set_names(plan)?;
    if plan.loopback {
        linux::net::loopback_up().context("bring up the loopback interface")?;
    }
    Ok(())
}

/// Carries out every step before `start`; returns the program, if the configuration has one.
fn prepare(plan: &ContainerPlan, opened: &mut Opened, part: &Part, channel: &Channel) -> Result<Option<exec::Program>> {
    let root = if let Part::Program { awaits_root, .. } = part {
        linux::process::set_parent_death_signal(libc::SIGKILL).context("parent death signal")?;
        credentials::reset_signals()?;
        credentials::session()?;
        if *awaits_root {
            inside::enter_late_root(plan, channel)?;
        }
        None
    } else {
        enter_namespaces(plan, opened, Some("pid"), channel)?;
        if let Some(process) = &plan.process {
            lsm::label_keys(process, opened.proc_dir.as_fd())?;
            credentials::keyring(process, &plan.id)?;
            lsm::unlabel_keys(process, opened.proc_dir.as_fd())?;
        }
        set_up_root(plan, opened, part, channel)?
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
    // the runtime answers when it has recorded the container; without an answer init exits
    channel.send(&InitMessage::Ready).context("send to the runtime")?;
    channel.recv_go()?;
    Ok(program)
}

/// Builds and enters the root file system; removes the paths that it created in the image when a step fails.
fn set_up_root(plan: &ContainerPlan, opened: &Opened, part: &Part, channel: &Channel) -> Result<Option<Root>> {
    let Some(rootfs) = &plan.rootfs else {
        return Ok(None);
    };
    let sources = opened.rootfs.as_ref().context("the root was not opened")?;
    let pid_namespace = opened.namespaces.pid.as_ref().map(|join| join.fd.as_fd());
    let idmap_outside = |step: usize, tree: BorrowedFd<'_>| {
        let tree = linux::path::dup(tree)?;
        channel.send(&InitMessage::Idmap(step, tree)).context("send to the runtime")?;
        channel.recv_go()
    };
    let announce = |path: &CStr| announce(channel, path);
    let proc_dir = opened.proc_dir.as_fd();
    let host = rootfs::Host { proc_dir, pid_namespace, idmap_outside: &idmap_outside, announce: &announce };
    let mut root = rootfs::build(rootfs, sources, &host)?;
    warn(root.take_warnings(), channel)?;
    match enter_root((plan, opened), part, rootfs, &root, channel) {
        Ok(()) => Ok(Some(root)),
        Err(err) => {
            // remove what was created in the image, because creation failed (OP-3)
            root.undo();
            Err(err)
        }
    }
}

fn warn(warnings: Vec<String>, channel: &Channel) -> Result<()> {
    warnings
        .into_iter()
        .try_for_each(|warning| channel.send(&InitMessage::Warning(warning)).context("send to the runtime"))
}

/// Lets the runtime record a path that this process is about to create in the root file system.
fn announce(channel: &Channel, path: &CStr) -> Result<()> {
    let path = PathBuf::from(OsStr::from_bytes(path.to_bytes()));
    channel.send(&InitMessage::MountPoint(path)).context("send to the runtime")?;
    channel.recv_go()
}

/// Runs the `createContainer` hooks, changes the root and completes it: terminal, sysctls, working directory, masks.
fn enter_root(
    (plan, opened): (&ContainerPlan, &Opened),
    part: &Part,
    rootfs: &RootfsPlan,
    root: &Root,
    channel: &Channel,
) -> Result<()> {
    let mut pid = std::process::id() as i32;
    // before hooks, because their state has the pid of the container's process: the runtime has to create it first
    if plan.hooks_after_mounts || matches!(part, Part::Root) && !plan.hooks.create_container.is_empty() {
        let dir = matches!(part, Part::Root).then(rootfs::empty_dir).transpose()?;
        channel.send(&InitMessage::MountsDone(dir)).context("send to the runtime")?;
        // pid of the container's process, when that is another one
        pid = channel.recv_go_with()?.0.unwrap_or(pid);
    }
    // before the root changes, because the paths of these hooks are the host's
    if !plan.hooks.create_container.is_empty() {
        let state = plan.hook_state.state("creating", Some(pid));
        let procfs = hook::Procfs::Host(opened.proc_dir.as_fd());
        run_hooks(&plan.hooks.create_container, &opened.hook_output, &state, procfs)?;
    }
    rootfs::pivot(rootfs, root)?;
    if let Some(process) = plan.process.as_ref().filter(|process| process.terminal) {
        let (master, slave) = console::open_pty(c"/", process).code(Code::TerminalFailed, "process.terminal")?;
        rootfs::device::attach_console(root, slave.as_fd())?;
        if !matches!(part, Part::Root) {
            console::use_as_stdio(slave.as_fd())?;
        }
        channel.send(&InitMessage::Console(master)).context("hand over the terminal")?;
    }
    // before `finish`, because /proc/sys usually is a read-only path
    sysctl::write(&plan.sysctl, opened.proc_dir.as_fd())?;
    if let Some(process) = &plan.process {
        // before the root becomes read-only
        exec::create_cwd(process, &|path| announce(channel, path))?;
    }
    warn(rootfs::protect_paths(rootfs, root)?, channel)?;
    check::own_mounts(plan, opened, rootfs, root.fd())
}

/// Runs hooks with SIGPIPE ignored, because a hook may end before it has read its state (HK-2); then sets its default
/// action again for the program.
fn run_hooks(list: &[HookPlan], output: &hook::Output, state: &[u8], procfs: hook::Procfs<'_>) -> Result<()> {
    linux::signal::set_ignored(libc::SIGPIPE).context("ignore SIGPIPE")?;
    let result = hook::run_all(list, output, state, procfs, None);
    linux::signal::set_default(libc::SIGPIPE).context("default action of SIGPIPE")?;
    result
}

/// Sets up terminal, scheduling and labels, enters the working directory and finds the program. As root, because the
/// program's user need not have access to the working directory and the passwd file.
fn prepare_as_root(opened: &Opened, process: &ProcessPlan, part: &Part, channel: &Channel) -> Result<exec::Program> {
    match part {
        _ if !process.terminal => {
            console::reopen_null()?;
            console::chown_stdio(process);
        }
        Part::Program { terminal: Some(slave), .. } => console::use_as_stdio(slave.as_fd())?,
        Part::Program { terminal: None, .. } => {
            let (master, slave) = console::open_pty(c"/", process).code(Code::TerminalFailed, "process.terminal")?;
            console::use_as_stdio(slave.as_fd())?;
            channel.send(&InitMessage::Console(master)).context("hand over the terminal")?;
        }
        // `enter_root` has done it
        Part::Whole | Part::Root => {}
    }
    credentials::scheduling(process)?;
    if !matches!(part, Part::Program { .. }) {
        lsm::prepare(process, opened.proc_dir.as_fd())?;
    }
    exec::find(process, &|text| channel.send(&InitMessage::Warning(text)).context("send to the runtime"))
}

/// Drops to the container's user, capabilities, limits and filter. The process cannot go back.
fn become_user(
    (plan, opened): (&ContainerPlan, &Opened),
    process: &ProcessPlan,
    part: &Part,
    mut root: Option<Root>,
    channel: &Channel,
) -> Result<exec::Program> {
    let found = prepare_as_root(opened, process, part, channel);
    if let (Err(_), Some(root)) = (&found, &mut root) {
        // now, because the steps below give up the rights that this needs
        root.undo();
    }
    let program = found?;
    // closes descriptors of the host before any code of the container runs
    drop(root);
    close_rest(plan, opened, channel)?;
    if matches!(opened.start_sync, StartSync::Fifo(_)) {
        // what follows is little code, and then a wait that may be long
        linux::image::release_code();
    }
    // before the limits, because they may allow no further thread
    let handover = handover(plan, channel)?;
    // late, because they limit croci's own steps too (address space, open files)
    credentials::rlimits(process)?;
    credentials::umask(process);
    credentials::bounding(process)?;
    // As late as possible: here without no_new_privs, because that needs CAP_SYS_ADMIN; else below, after no_new_privs
    // is set.
    let handover = if process.no_new_privs {
        handover
    } else {
        install_seccomp(plan, channel, handover)?;
        None
    };
    credentials::ids(process)
        .and_then(|()| credentials::capabilities(process))
        // no longer needed: this process exits when the runtime closes the channel without an answer
        .and_then(|()| linux::process::set_parent_death_signal(0).context("parent death signal"))
        .map_err(|err| of_filter(plan, process, err))?;
    if process.no_new_privs {
        credentials::no_new_privs()?;
        install_seccomp(plan, channel, handover)?;
    }
    Ok(program)
}

/// Returns an error of the steps after the seccomp filter was loaded, with the filter as the cause where it refuses one of
/// their system calls.
fn of_filter(plan: &ContainerPlan, process: &ProcessPlan, err: anyhow::Error) -> anyhow::Error {
    const CALLS: [&str; 6] = ["setgroups", "setresgid", "setresuid", "capget", "capset", "prctl"];
    let filter = plan.seccomp.as_ref().filter(|_| !process.no_new_privs);
    match filter.and_then(|filter| CALLS.iter().find_map(|name| seccomp::refusal(filter, name))) {
        Some(refusal) => {
            let text = error::describe(&err);
            base::coded!(
                SeccompExec,
                "linux.seccomp: the filter {refusal}, and process.noNewPrivileges is not set: {text}"
            )
            .into()
        }
        None => err,
    }
}

/// Closes all descriptors that neither the wait for `start` nor the program needs; before the filter, which need not
/// allow close_range(2).
///
/// Among them are the state directory, because init would hold its flock after the runtime was killed, and pipes that
/// the caller left open, because callers read them until end of file (CL-7).
fn close_rest(plan: &ContainerPlan, opened: &Opened, channel: &Channel) -> Result<()> {
    let mut keep: Vec<i32> = (0..3 + plan.preserve_fds as i32).collect();
    keep.push(channel.fd().as_raw_fd());
    if let StartSync::Fifo(fifo) = &opened.start_sync {
        keep.push(fifo.as_raw_fd());
    }
    // for the startContainer hooks
    if !plan.hooks.start_container.is_empty() {
        keep.extend(opened.hook_output.files().map(|file| file.as_raw_fd()));
    }
    linux::process::close_fds_except(keep).context("close descriptors")
}

/// Starts the thread that hands over the listener of the seccomp filter, if that has one. `None`, too, where no thread
/// can be had (SCHED_DEADLINE, a limit of one process): then this process sends it, unless the profile stops sendmsg(2).
fn handover(plan: &ContainerPlan, channel: &Channel) -> Result<Option<Handover>> {
    let Some(filter) = plan.seccomp.as_ref().filter(|filter| filter.has_listener()) else { return Ok(None) };
    match Handover::start(channel.fd(), protocol::LISTENER) {
        Ok(handover) => Ok(Some(handover)),
        Err(_) if !filter.notify_sendmsg => Ok(None),
        Err(err) => Err(err)
            .code(Code::SeccompInvalid, "linux.seccomp: SCMP_ACT_NOTIFY for sendmsg: a thread to send the listener"),
    }
}

/// Loads the seccomp filter. Its listener goes to the runtime, and from there to the agent, before this process makes
/// another system call, because the filter may stop each of them until the agent answers.
fn install_seccomp(plan: &ContainerPlan, channel: &Channel, handover: Option<Handover>) -> Result<()> {
    let Some(filter) = &plan.seccomp else { return Ok(()) };
    if let Some(handover) = handover {
        return linux::seccomp::install_with(&filter.program, filter.flags, handover)
            .code(Code::SeccompInvalid, "linux.seccomp: load the filter");
    }
    let listener = linux::seccomp::install(&filter.program, filter.flags)
        .code(Code::SeccompInvalid, "linux.seccomp: load the filter")?;
    if let Some(listener) = listener {
        channel.send(&InitMessage::Listener(listener)).context("hand over the seccomp listener")?;
    }
    Ok(())
}

/// Returns the hooks, those without an environment with the program's, its `HOME` included, as with runc and crun.
fn with_environment(hooks: &[HookPlan], program: &exec::Program) -> Vec<HookPlan> {
    let of_program = || program.env.iter().map(|pair| OsStr::from_bytes(pair.to_bytes()).to_owned()).collect();
    let one = |hook: &HookPlan| HookPlan { env: Some(hook.env.clone().unwrap_or_else(of_program)), ..hook.clone() };
    hooks.iter().map(one).collect()
}

/// Waits for `start`, runs the `startContainer` hooks and the program.
fn start(plan: &ContainerPlan, opened: &Opened, program: Option<exec::Program>) -> Result<Infallible> {
    if let StartSync::Fifo(fifo) = &opened.start_sync {
        // a seccomp filter may return 0 in the kernel's place: nothing was read, and nothing may start
        let read = protocol::uninterrupted(|| nix::unistd::read(fifo, &mut [0]));
        let length = read.context("wait for start")?;
        anyhow::ensure!(length == 1, "wait for start: nothing was read");
    }
    let (Some(process), Some(program)) = (&plan.process, program) else {
        anyhow::bail!(base::coded!(ConfigRequired, "process: the configuration has none, there is nothing to start"));
    };
    if !plan.hooks.start_container.is_empty() {
        let state = plan.hook_state.state("created", Some(std::process::id() as i32));
        let list = with_environment(&plan.hooks.start_container, &program);
        // no procfs, because /proc may be a directory of the image now
        run_hooks(&list, &opened.hook_output, &state, hook::Procfs::None)?;
    }
    for fd in 3..3 + plan.preserve_fds as i32 {
        linux::process::clear_cloexec(fd).with_code(Code::FdInvalid, || format!("--preserve-fds: descriptor {fd}"))?;
    }
    if let StartSync::Fifo(fifo) = &opened.start_sync {
        let written = protocol::uninterrupted(|| nix::unistd::write(fifo, &[protocol::EXECUTING]));
        let length = written.context("answer start")?;
        anyhow::ensure!(length == 1, "answer start: nothing was written");
    }
    Err(exec::exec(process, &program))
}
