//! `exec`: an additional process in a running container, by the clone and the init of `create`, without a root file
//! system.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Process, Spec};

use super::namespaces::restored_time;
use super::outputs::{Outputs, send_listener};
use super::prepare::{self, PreservedFds, finish_process, preserved};
use super::spawn::{self, Init};
use super::sync::InitHandover;
use super::terminal::{Console, Foreground};
use super::{options, start, stored, sync, terminal, verify};
use crate::cgroup::Cgroup;
use crate::cgroup::CgroupRecord;
use crate::config;
use crate::hook::Output;
use crate::init;
use crate::opened::JoinTarget;
use crate::opened::Namespaces;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::opened::namespaces::is_own_user;
use crate::plan;
use crate::plan::ContainerPlan;
use crate::plan::namespace::NamespacePlan;
use crate::plan::namespace::TYPES;
use crate::plan::process::ProcessContext;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::Record;
use crate::state::status;
use crate::state::store::CONFIG;
use crate::verify::cgroup::Depth;
use base::host;
use base::log::step;
use base::signal_guard::SignalGuard;

/// An additional process that runs its program in the container.
#[derive(Debug)]
pub(crate) struct Executed {
    /// Process.
    pub init: Init,
    /// Pty master, when croci itself is the other end of the terminal.
    pub console: Option<Foreground>,
    /// Warnings of the specification, to log at any level.
    pub of_configuration: Vec<String>,
    /// Configured protections that this host does not have.
    pub unprotected: Vec<String>,
}

/// A process of which nothing exists yet, and what it needs.
#[derive(Debug)]
pub(crate) struct Ready {
    /// What is to be done.
    plan: ContainerPlan,
    /// Descriptors for it.
    opened: Opened,
    /// Outputs that the caller requested.
    outputs: Outputs,
    /// Warnings of the specification.
    of_configuration: Vec<String>,
}

/// Prepares a process in the container whose first process is `target`. Changes nothing.
///
/// # Errors
/// Flags or host refuse a part of it.
pub(crate) fn prepare(entry: &Entry, record: &Record, target: ProcessId, args: &options::Exec) -> Result<Ready> {
    let config = config::parse(&entry.read(CONFIG)?).context("the container's configuration")?;
    let (process, of_configuration) = process(&config.spec, target, args)?;
    let keep = preserved(args.preserve_fds)?;
    let outputs = outputs(&process, args)?;
    if let Some(profile) = &args.apparmor
        && !init::lsm::apparmor_is_enabled()?
    {
        bail!(coded!(LsmFailed, "--apparmor: {profile:?}: AppArmor is not enabled on this host"));
    }
    let Some(pidfd) = status::open_pidfd(target)? else {
        bail!(coded!(ContainerNotRunning, "container not running: {}", entry.id))
    };
    let mut flags = namespaces(&config.spec, target)?;
    if record.host_mounts {
        flags &= !libc::CLONE_NEWNS;
    }
    if record.restored {
        flags |= restored_time(target.pid)?;
    }
    let plan = make_plan(entry, record, &config.spec, &process, flags, &keep, args.no_verify)?;
    step(|| format!("join init {}: namespace flags {flags:#x}", target.pid));
    let opened = open_target(record, target, pidfd, flags)?;
    Ok(Ready { plan, opened, outputs, of_configuration })
}

/// Creates a process in the container whose first process is `target`, and starts its program. It is not a transaction
/// as `create` is: nothing is recorded, and the process is all that a failure or a signal has to end.
///
/// # Errors
/// Flags, host or kernel refuse a part of it; the container's state does not change.
pub(crate) fn exec(ready: Ready, record: &Record, target: ProcessId, args: &options::Exec) -> Result<Executed> {
    let Ready { mut plan, mut opened, outputs, mut of_configuration } = ready;
    let cgroup = Cgroup::open(&record.cgroup);
    let interrupt = SignalGuard::block()?;
    if let Some(process) = &plan.process {
        init::credentials::initial_affinity(process)?;
        if let Some(cpus) = &process.affinity.initial {
            step(|| format!("nsexec: affinity: {:#x}", cpus.words().first().copied().unwrap_or_default()));
        }
    }
    let (init, cgroups) = spawn(&plan, &mut opened, &cgroup, target, args)?;
    step(|| format!("nsexec container setup: process {} created in the container", init.pid));
    let handover = prepare_program(&init, (&plan, &opened), (record, &cgroups), target, &interrupt)?;
    of_configuration.extend(handover.warnings);
    step(|| format!("child process in init(): {}", init.pid));
    let console = outputs.hand_over((init.pid, init.pidfd.as_fd()), handover.console)?;
    step(|| "setns_init: about to exec".to_owned());
    if !args.detach {
        terminal::block_forwarded()?;
    }
    start::signal_channel(&init)?;
    if args.detach {
        // in the foreground the exit status shows it
        start::check_child_executed(&init)?;
    } else {
        // blocked until the end, because the wait for the process forwards them
        std::mem::forget(interrupt);
    }
    let unprotected = opened.take_unprotected(&mut plan);
    of_configuration.extend(plan.process.into_iter().flat_map(|process| process.warnings));
    Ok(Executed { init: init.keep(), console, of_configuration, unprotected })
}

/// Connects to the console socket before anything is created, and refuses combinations of terminal and flags that
/// cannot work (PR-4).
fn outputs(process: &Process, args: &options::Exec) -> Result<Outputs> {
    let console = match (&args.console_socket, process.terminal().unwrap_or(false)) {
        (None, true) if args.console.is_some() => args.console.as_ref().map(Console::of).transpose()?,
        (Some(_), false) => bail!(coded!(TerminalNone, "--console-socket: the process has no terminal (--tty)")),
        (None, true) if args.detach => bail!(coded!(TerminalNone, "--tty: a detached process needs --console-socket")),
        (Some(path), true) => Some(Console::connect(path)?),
        (None, _) => None,
    };
    let mut outputs = Outputs::open(console, args.pid_file.as_deref(), args.pidfd_socket.iter())?;
    outputs.sized = process.console_size().is_some_and(|size| (size.height(), size.width()) != (0, 0));
    Ok(outputs)
}

/// Creates the process in the container's cgroup, or in the sub-cgroup of `--cgroup`. Returns it with the cgroups that
/// it has to be in.
fn spawn(
    plan: &ContainerPlan,
    opened: &mut Opened,
    cgroup: &Cgroup,
    target: ProcessId,
    args: &options::Exec,
) -> Result<(Init, Vec<CgroupRecord>)> {
    let chosen = !args.cgroup.is_empty();
    let mut place = if chosen { cgroup.exec_below(&args.cgroup)? } else { cgroup.exec_place(target.pid)? };
    opened.cgroup_join = std::mem::take(&mut place.joins);
    let by_systemd = cgroup.needs_systemd_to_enter()?;
    // the caller chose the sub-cgroup, so the process must not evade its limit
    let by_pid: &[u64] = if chosen { &[] } else { &[1] };
    let mut create = |into: Option<&OwnedFd>| {
        spawn::spawn_in_cgroup(plan, opened, (cgroup, into.map(AsFd::as_fd)), by_systemd, by_pid)
    };
    let init = match create(place.into.as_ref()) {
        Err(err) if !chosen && place.into.is_some() && err.is_errno(&[libc::EBUSY]) => {
            cgroup.exec_beside_init(&mut place, target.pid)?;
            create(place.into.as_ref())
        }
        Err(err) if chosen && err.is_errno(&[libc::EBUSY, libc::EOPNOTSUPP]) => {
            Err(err).code(Code::CgroupFailed, "--cgroup: error adding pid 0 to cgroups")
        }
        created => created,
    };
    Ok((init?, place.expected))
}

/// Answers the process until it is ready for its program and has passed the self-check; returns what it has handed over.
fn prepare_program(
    init: &Init,
    (plan, opened): (&ContainerPlan, &Opened),
    (record, cgroups): (&Record, &[CgroupRecord]),
    target: ProcessId,
    interrupt: &SignalGuard,
) -> Result<InitHandover> {
    if let Some(groups) = &record.resctrl {
        super::rdt::join(groups, init.pid)?;
    }
    sync::oom_score(init, plan, opened)?;
    init.send_go()?;
    let mut to_agent = |listener: OwnedFd| send_listener(listener.as_fd(), plan, "running", target.pid, init.pid);
    let handover = sync::wait_until_ready(init, (plan, opened), interrupt, &mut |_| Ok(()), &mut to_agent)?;
    verify::before_program(init, (plan, opened), cgroups, Depth::Below)?;
    Ok(handover)
}

/// Reads the process to run: from the file of `--process`, or the container's own with the changes that the flags make.
/// Returns it with warnings to log.
fn process(spec: &Spec, target: ProcessId, args: &options::Exec) -> Result<(Process, Vec<String>)> {
    if let Some(document) = &args.process {
        let text = document.read("--process")?;
        let mut parsed = config::parse_process(&text).with_code(Code::UsageValue, || document.name("--process"))?;
        if args.tty {
            parsed.process.set_terminal(Some(true));
        }
        if let Some(own) = spec.process() {
            super::exec_flags::inherit(&mut parsed.process, own);
        }
        return Ok((parsed.process, parsed.warnings));
    }
    let mut process = spec.process().clone().unwrap_or_default();
    super::exec_flags::apply(&mut process, args, open_root(target)?.as_fd())?;
    config::check_process(&process)?;
    Ok((process, Vec::new()))
}

/// Opens the root directory of the container's init.
pub(super) fn open_root(target: ProcessId) -> Result<OwnedFd> {
    let path = format!("/proc/{}/root", target.pid);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty()).with_context(|| format!("open {path}"))
}

fn make_plan(
    entry: &Entry,
    record: &Record,
    spec: &Spec,
    process: &Process,
    flags: i32,
    keep: &PreservedFds,
    no_verify: bool,
) -> Result<ContainerPlan> {
    let linux = spec.linux().as_ref();
    let (uid_maps, gid_maps) = stored::id_mappings(linux);
    let extensions = plan::annotation::read(spec)?;
    let context = ProcessContext {
        user_ns: flags & libc::CLONE_NEWUSER != 0,
        setgroups_denied: host::setgroups_denied()
            || flags & libc::CLONE_NEWUSER != 0 && sync::denies_setgroups(&gid_maps),
        uid_maps,
        gid_maps,
        listen_fds: keep.listen.clone(),
        keep_groups: extensions.keep_groups,
        available_caps: stored::available_caps(flags & libc::CLONE_NEWUSER != 0)?,
        is_exec: true,
        rootless: host::rootless(),
    };
    let seccomp = prepare::filter(linux, &extensions)?;
    let mut process = plan::process::plan(process, linux, &context)?;
    finish_process(&mut process, seccomp.is_some(), record.no_new_keyring)?;
    Ok(ContainerPlan {
        id: entry.id.as_str().to_owned(),
        unprivileged: linux::process::euid() != 0,
        namespaces: NamespacePlan::default(),
        joins_cgroup_late: false,
        hostname: None,
        domainname: None,
        loopback: false,
        rootfs: None,
        sysctl: Vec::new(),
        process: Some(process),
        seccomp,
        hooks: plan::hook::HooksPlan::default(),
        hook_state: plan::hook::HookState {
            id: record.id.clone(),
            bundle: record.bundle.clone(),
            root: record.rootfs.clone(),
            annotations: BTreeMap::clone(&record.annotations),
        },
        hooks_after_mounts: false,
        preserve_fds: keep.total,
        self_check: !no_verify,
    })
}

/// Opens what a process needs of the container whose init is `target`.
fn open_target(record: &Record, target: ProcessId, pidfd: OwnedFd, flags: i32) -> Result<Opened> {
    let proc_dir = host::proc_dir()?;
    let namespace_rules = verify::rules_of(record, target, flags, proc_dir.as_fd())?;
    // in the runtime's mount namespace the container is behind a chroot
    let root = if flags & libc::CLONE_NEWNS == 0 { Some(open_root(target)?) } else { None };
    Ok(Opened {
        proc_dir,
        namespaces: Namespaces::default(),
        namespace_rules,
        hook_output: Output::default(),
        rootfs: None,
        kernel_mounts: None,
        start_sync: StartSync::Channel,
        cgroup_join: Vec::new(),
        target: Some(JoinTarget { pidfd, flags, root, awaits_root: false }),
    })
}

/// Returns the `CLONE_NEW*` flags of the namespaces that the container has of its own, new or joined. They are entered
/// through its init in one call, the pid namespace by the parent.
pub(super) fn namespaces(spec: &Spec, target: ProcessId) -> Result<i32> {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mut flags = 0;
    for namespace in list.into_iter().flatten() {
        let flag = TYPES.iter().find(|entry| entry.0 == namespace.typ()).map_or(0, |entry| entry.2);
        // the runtime's own user namespace, which may have been joined by path, cannot be entered
        if flag == libc::CLONE_NEWUSER && namespace.path().is_some() {
            let path = format!("/proc/{}/ns/user", target.pid);
            let joined = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
            if is_own_user(joined.with_context(|| format!("open {path}"))?.as_fd())? {
                continue;
            }
        }
        flags |= flag;
    }
    Ok(flags)
}
