//! `exec`: one more process in a running container, by the same clone and the same init without a root to make.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Process, Spec};

use super::outputs::{send_listener, send_pidfd, write_pid_file};
use super::prepare::{self, PreservedFds, finish_process, preserved};
use super::spawn::{self, Init};
use super::terminal::Console;
use super::{options, start, stored, sync, terminal, verify};
use crate::bundle;
use crate::cgroup::Cgroup;
use crate::config;
use crate::hook::Output;
use crate::init;
use crate::opened::Namespaces;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::opened::Target;
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
use base::signal_guard::SignalGuard;

/// A process that runs in the container.
#[derive(Debug)]
pub(crate) struct Executed {
    /// The process.
    pub init: Init,
    /// The master of its terminal, when croci itself is the other end.
    pub console: Option<OwnedFd>,
    /// What went less than well.
    pub warnings: Vec<String>,
    /// Protections that were asked for and that this host does not have.
    pub unprotected: Vec<String>,
}

/// Starts the process.
///
/// # Errors
/// The container's state is not touched by any of them.
pub(crate) fn exec(entry: &Entry, record: &Record, target: ProcessId, args: &options::Exec) -> Result<Executed> {
    let config = config::parse(&entry.read(CONFIG)?).context("the container's configuration")?;
    let (process, mut warnings) = process(&config.spec, target, args)?;
    let keep = preserved(args.preserve_fds)?;
    let terminal = process.terminal().unwrap_or(false);
    let console = match (&args.console_socket, terminal) {
        (Some(_), false) => bail!("--console-socket: the process has no terminal (--tty)"),
        (None, true) if args.detach => bail!("--tty: a detached process needs --console-socket"),
        (Some(path), true) => Some(Console::connect(path)?),
        (None, _) => None,
    };
    if let Some(profile) = &args.apparmor
        && !init::lsm::apparmor_is_enabled()
    {
        bail!("--apparmor: {profile:?}: AppArmor is not enabled on this host");
    }
    let Some(pidfd) = status::open(target)? else { bail!("container not running: {}", entry.id) };
    let mut flags = namespaces(&config.spec, target)?;
    if record.mounts_outside {
        flags &= !libc::CLONE_NEWNS;
    }
    let plan = make_plan(entry, record, &config.spec, &process, flags, &keep, args.no_verify)?;
    let mut opened = open_target(record, target, pidfd, flags)?;
    let cgroup = Cgroup::open(&record.cgroup);
    let into = if args.cgroup.is_empty() {
        opened.cgroup_join = cgroup.join_fds()?;
        // a container that has made cgroups of its own may have left its topmost one
        cgroup.clone_into_beside(target.pid)?
    } else {
        let (into, joins) = cgroup.below(&args.cgroup)?;
        opened.cgroup_join = joins;
        into
    };
    let interrupt = SignalGuard::block()?;
    if let Some(process) = &plan.process {
        init::credentials::initial_affinity(process)?;
    }
    let moved_later = cgroup.needs_systemd_to_enter()?;
    let into = into.as_ref().filter(|_| !moved_later).map(AsFd::as_fd);
    let (init, moved_by_pid) = match spawn::spawn_inside(&plan, &mut opened, into) {
        Ok(init) => (init, false),
        // The helper counts in the cgroup too. Where there is room for one process and no more, that one is moved in:
        // slower, because it takes the system-wide lock of thread groups.
        Err(_) if args.cgroup.is_empty() && !moved_later && cgroup.free_pids() == Some(1) => {
            opened.cgroup_join.clear();
            (spawn::spawn_inside(&plan, &mut opened, None)?, true)
        }
        Err(err) => return Err(cgroup.explain_clone(err)),
    };
    let started = || -> Result<Option<OwnedFd>> {
        if moved_by_pid {
            cgroup.join_pid(init.pid)?;
        }
        if moved_later {
            cgroup.enter_by_systemd(init.pid)?;
        }
        if let Some(groups) = &record.resctrl {
            super::rdt::join(groups, init.pid)?;
        }
        sync::oom_score(&init, &plan, &opened)?;
        init.release()?;
        let to_agent = |listener: OwnedFd| send_listener(listener.as_fd(), &plan, "running", target.pid, init.pid);
        let served = sync::wait_until_ready(&init, (&plan, &opened), &interrupt, &mut || Ok(()), &to_agent)?;
        verify::before_program(&init, (&plan, &opened), &record.cgroup, Depth::Below)?;
        let master = match (console, served.console) {
            (Some(console), Some(master)) => {
                console.send(master.as_fd())?;
                None
            }
            (_, master) => {
                if let Some(master) = &master {
                    terminal::adopt_size(master.as_fd());
                }
                master
            }
        };
        if let Some(path) = &args.pid_file {
            write_pid_file(path, init.pid)?;
        }
        if let Some(path) = &args.pidfd_socket {
            send_pidfd(path, &init)?;
        }
        start::signal_channel(&init)?;
        Ok(master)
    };
    match started() {
        Ok(console) => {
            let mut plan = plan;
            let unprotected = opened.take_unprotected(&mut plan);
            warnings.extend(plan.process.into_iter().flat_map(|process| process.warnings));
            Ok(Executed { init, console, warnings, unprotected })
        }
        Err(err) => {
            init.abort();
            Err(err)
        }
    }
}

/// The process to run: a file's, or the container's own with what the flags change.
fn process(spec: &Spec, target: ProcessId, args: &options::Exec) -> Result<(Process, Vec<String>)> {
    if let Some(path) = &args.process {
        let text = bundle::read(path).with_context(|| format!("--process {path:?}"))?;
        let mut parsed = config::parse_process(&text).with_context(|| format!("--process {path:?}"))?;
        if args.tty {
            parsed.process.set_terminal(Some(true));
        }
        return Ok((parsed.process, parsed.warnings));
    }
    let mut process = spec.process().clone().unwrap_or_default();
    super::exec_flags::apply(&mut process, args, open_root(target)?.as_fd())?;
    config::check_process(&process)?;
    Ok((process, Vec::new()))
}

/// The root directory of the container, as its init has it.
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
            annotations: BTreeMap::clone(&record.annotations),
        },
        hooks_after_mounts: false,
        preserve_fds: keep.total,
        self_check: !no_verify,
    })
}

/// What is open of the container whose init is `target`.
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
        gate: StartSync::Channel,
        cgroup_join: Vec::new(),
        target: Some(Target { pidfd, flags, root }),
    })
}

/// The namespaces that the container has of its own, new or joined: entered through its init in one call. The pid
/// namespace among them is the parent's part.
pub(super) fn namespaces(spec: &Spec, target: ProcessId) -> Result<i32> {
    let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let mut flags = 0;
    for namespace in list.into_iter().flatten() {
        let flag = TYPES.iter().find(|entry| entry.0 == namespace.typ()).map_or(0, |entry| entry.2);
        // joined by path, it may be the runtime's own, which cannot be entered
        if flag == libc::CLONE_NEWUSER && namespace.path().is_some() {
            let path = format!("/proc/{}/ns/user", target.pid);
            let there = open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
            if is_own_user(there.with_context(|| format!("open {path}"))?.as_fd())? {
                continue;
            }
        }
        flags |= flag;
    }
    Ok(flags)
}
