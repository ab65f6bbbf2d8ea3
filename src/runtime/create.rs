//! `create` and `run`: the steps of the transaction that creates a container from a root file system.

use super::record_seccomp;
use super::record_seccomp::Recorder;
use crate::config;
use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode as FileMode;

use super::namespaces::drop_own_namespaces;
use super::network::{self, Moved};
use super::notify::{self, Manager};
use super::options::Mode;
use super::outputs::{self, Outputs};
use super::prepare::{self, Preparation, open_console, preserved};
use super::spawn::{self, Init};
use super::sync::{self, InitHandover};
use super::terminal::Foreground;
use super::transaction::{Committed, Transaction, planned_record};
use super::{options, rdt, verify};
use crate::bundle;
use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::config::ContainerId;
use crate::opened;
use crate::opened::JoinTarget;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::plan;
use crate::plan::ContainerPlan;
use crate::state::Store;
use crate::state::status;
use crate::verify::cgroup::Depth;
use base::log::step;
use base::signal_guard::SignalGuard;

/// A created container whose init waits for the order to run the program.
#[derive(Debug)]
pub(crate) struct Created {
    /// The container.
    pub container: Committed,
    /// First process.
    pub init: Init,
    /// Pty master, when croci itself is the other end of the terminal.
    pub console: Option<Foreground>,
    /// Blocks the signals that ask the runtime to stop, until dropped.
    pub interrupt: SignalGuard,
    /// What records the system calls of the program.
    pub recorder: Option<Recorder>,
}

/// Plans and creates a container.
///
/// # Errors
/// Configuration, host or kernel refuse a part of it; everything that was created is removed again.
pub(crate) fn create(store: &Store, args: &options::Create, mode: Mode, cgroups: options::Cgroups) -> Result<Created> {
    let id = ContainerId::new(&args.id)?;
    let mut bundle = bundle::open(&args.bundle, args.config.as_deref())?;
    step(|| format!("configuration of bundle {:?} read and checked", bundle.dir));
    drop_own_namespaces(&mut bundle)?;
    let keep = preserved(args.preserve_fds)?;
    let console = open_console(args, &bundle, mode)?;
    let notify = wants_notify(&mut bundle, &store.dir_of(&id))?;
    let records = args.record_seccomp.is_some();
    if records {
        record_seccomp::check()?;
        config::allow_all_calls(&mut bundle.config.spec)?;
    }
    let mut prepared = prepare::prepare(&id, &bundle, args, &keep, cgroups).or_code(Code::ConfigInvalid)?;
    if records {
        record_seccomp::plan(&mut prepared.plan);
    }
    step(|| format!("planned: namespace flags {:#x}", prepared.plan.namespaces.flags()));
    let mut opened = prepared.open()?;
    if !notify {
        prepared.open_rootfs(&mut opened)?;
    }
    let mut record = planned_record(&bundle, args, &prepared)?;
    (record.resctrl_mount, record.resctrl) = prepared.probe_resctrl()?.unzip();
    let pidfd_sockets = args.pidfd_socket.iter().chain(&prepared.pidfd_receiver);
    let mut outputs = Outputs::open(console, args.pid_file.as_deref(), pidfd_sockets)?;
    outputs.sized = prepared.plan.process.as_ref().is_some_and(|process| process.console_size.is_some());
    let interrupt = SignalGuard::block()?;
    let transaction = Transaction::begin(store, &id, record, &interrupt)?;
    let mut creation =
        Creation { transaction, prepared, opened, mode, moved: None, warnings: Vec::new(), records, recorder: None };
    let result = creation.run(&bundle, notify, outputs);
    let Creation { transaction, prepared, opened, warnings, recorder, .. } = creation;
    bundle.config.warnings.extend(warnings);
    bundle.config.warnings.extend(plan::annotation::unknown(&bundle.config.spec));
    let (container, (init, console)) = transaction.finish(result, prepared, opened, bundle.config.warnings)?;
    Ok(Created { container, init, console, interrupt, recorder })
}

/// Adds the notify socket to the configuration if a service manager waits for readiness (CL-11); returns whether it
/// did. A program with a terminal gets none, because it is interactive.
fn wants_notify(bundle: &mut Bundle, dir: &std::path::Path) -> Result<bool> {
    let spec = &mut bundle.config.spec;
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    if terminal || Manager::from_env()?.is_none() {
        return Ok(false);
    }
    notify::add_to(spec, dir)?;
    Ok(true)
}

/// A container between the creation of its state directory and the commit.
struct Creation<'a> {
    transaction: Transaction<'a>,
    prepared: Preparation,
    opened: Opened,
    mode: Mode,
    /// Network devices in the container's namespace, until the commit.
    moved: Option<Moved>,
    /// Fallbacks that init took.
    warnings: Vec<String>,
    /// The filter notifies of every call, for `recorder`.
    records: bool,
    recorder: Option<Recorder>,
}

impl Creation<'_> {
    /// Takes all steps from the journal to the commit.
    fn run(&mut self, bundle: &Bundle, notify: bool, outputs: Outputs) -> Result<(Init, Option<Foreground>)> {
        let result = self.start_and_commit(bundle, notify, outputs);
        // before the container's network namespace ends, because virtual devices end with it
        if let Some(moved) = self.moved.take().filter(|_| result.is_err()) {
            let _ = moved.undo();
        }
        result
    }

    fn start_and_commit(
        &mut self,
        bundle: &Bundle,
        notify: bool,
        outputs: Outputs,
    ) -> Result<(Init, Option<Foreground>)> {
        self.transaction.write_journal(&bundle.text)?;
        self.create_files(notify)?;
        if self.prepared.plan.can_leave_host_mounts() && self.opened.rootfs.as_ref().is_some_and(|fs| fs.has_clone()) {
            let state_root = self.transaction.entry.path.parent();
            let find = |root| opened::kernel_mounts::find(self.opened.proc_dir.as_fd(), root);
            self.opened.kernel_mounts = state_root.and_then(find);
        }
        self.apply_rdt()?;
        let mut cgroup = self.transaction.create_cgroup(&mut self.prepared)?;
        let (init, handover) = self.start(&mut cgroup).map_err(|err| explain_oom(err, &cgroup))?;
        self.warnings = handover.warnings;
        let console = self.transaction.commit(outputs, (init.pid, init.pidfd.as_fd()), handover.console)?;
        Ok((init.keep(), console))
    }

    /// Creates what the state directory has for init: the socket of readiness messages, and the fifo of `start`.
    fn create_files(&mut self, notify: bool) -> Result<()> {
        let entry = &self.transaction.entry;
        if notify {
            notify::make_dir(&entry.path)?;
            self.prepared.open_rootfs(&mut self.opened)?;
        }
        if self.mode == Mode::Create {
            self.opened.start_sync = StartSync::Fifo(entry.make_fifo()?);
        }
        Ok(())
    }

    fn apply_rdt(&mut self) -> Result<()> {
        let record = &mut self.transaction.record;
        match (&self.prepared.rdt, &record.resctrl_mount, &mut record.resctrl) {
            (Some(plan), Some(mount), Some(record)) => rdt::apply(plan, mount, record),
            _ => Ok(()),
        }
    }

    /// Creates init in the cgroup and answers it until it is ready for the program and has passed the self-check.
    fn start(&mut self, cgroup: &mut Cgroup) -> Result<(Init, InitHandover)> {
        self.opened.cgroup_join = cgroup.join_fds()?;
        self.prepared.plan.joins_cgroup_late = cgroup.needs_systemd_to_enter()?;
        let plan = &self.prepared.plan;
        let into = if plan.joins_cgroup_late { None } else { cgroup.clone_into()? };
        let first = match spawn::spawn(plan, &mut self.opened, into) {
            Err(err) if err.is_errno(&[libc::EOPNOTSUPP]) && cgroup.make_threaded()? => {
                spawn::spawn(plan, &mut self.opened, into)
            }
            first => first,
        };
        let first = first.map_err(|err| cgroup.explain_clone(err))?;
        step(|| format!("nsexec container setup: process {} created", first.pid));
        if plan.joins_cgroup_late {
            enter(cgroup, &first, plan)?;
        }
        let (init, built) = if plan.namespaces.pid.is_some() {
            // the first process builds the root, another one becomes the container's
            let (init, built) = self.create_beside(cgroup, &first)?;
            drop(first);
            cgroup.end_placeholder();
            (init, Some(built))
        } else {
            cgroup.end_placeholder();
            self.register(&first)?;
            sync::oom_score(&first, &self.prepared.plan, &self.opened)?;
            sync::prepare_namespaces(&first, &self.prepared.plan, &self.opened)?;
            (first, None)
        };
        let handover = self.serve(&init, built)?;
        cgroup.apply_deferred(&self.prepared.cgroup)?;
        step(|| format!("init {} is ready; check it against the plan", init.pid));
        let cgroups = std::slice::from_ref(cgroup.record());
        verify::before_program(&init, (&self.prepared.plan, &self.opened), cgroups, Depth::Exact)?;
        Ok((init, handover))
    }

    /// Records the container's process, and puts it into its resctrl group, while it works.
    fn register(&mut self, init: &Init) -> Result<()> {
        let record = &mut self.transaction.record;
        record.init = Some(status::process_id(init.pid).context("init")?);
        record.resctrl.as_ref().map_or(Ok(()), |groups| rdt::join(groups, init.pid))
    }

    /// Answers init until it is ready; `built` is the handover of a separate builder of its root file system.
    fn serve(&mut self, init: &Init, built: Option<InitHandover>) -> Result<InitHandover> {
        let Creation { transaction, prepared, opened, moved, records, recorder, .. } = self;
        let plan = &prepared.plan;
        let mut to_agent = |listener: OwnedFd| {
            if *records {
                *recorder = Some(Recorder::start(listener)?);
                return Ok(());
            }
            outputs::send_listener(listener.as_fd(), plan, "creating", init.pid, init.pid)
        };
        let interrupt = transaction.interrupt;
        let mut work = |work| match work {
            sync::Work::MountsDone => {
                *moved = move_devices(prepared, opened, init.pid)?;
                transaction.run_hooks(prepared, opened, init.pid)
            }
            sync::Work::MountPoint(path) => transaction.record_mount_point(prepared, &path),
        };
        let mut handover = sync::wait_until_ready(init, (plan, opened), interrupt, &mut work, &mut to_agent)?;
        if let Some(built) = built {
            (handover.console, handover.namespaces) = (built.console, built.namespaces);
            handover.warnings.splice(0..0, built.warnings);
        }
        transaction.record.namespaces = std::mem::take(&mut handover.namespaces);
        Ok(handover)
    }

    /// Creates the container's process in a pid namespace that exists, in the root file system that `builder` builds,
    /// because processes in that namespace must not see one with the host's root or descriptors (SEC-5). Returns the
    /// process, which works already, and the builder's handover.
    fn create_beside(&mut self, cgroup: &Cgroup, builder: &Init) -> Result<(Init, InitHandover)> {
        let (mut init, mut late_root) = (None, None);
        sync::prepare_namespaces(builder, &self.prepared.plan, &self.opened)?;
        let interrupt = self.transaction.interrupt;
        let built = sync::wait_until_root_ready(builder, interrupt, &mut |request| {
            let root = match request {
                sync::Request::Create(root) => root,
                sync::Request::Enter(root) => {
                    late_root = Some(root);
                    return Ok(0);
                }
                sync::Request::Idmap(step, tree) => {
                    return sync::idmap((&self.prepared.plan, &self.opened), step, &tree).map(|()| 0);
                }
                sync::Request::MountPoint(path) => {
                    return self.transaction.record_mount_point(&self.prepared, &path).map(|()| 0);
                }
            };
            let created = init.insert(self.spawn_below(root, cgroup, builder)?);
            self.register(created)?;
            self.moved = move_devices(&self.prepared, &self.opened, created.pid)?;
            self.transaction.run_hooks(&self.prepared, &self.opened, created.pid)?;
            // for hooks that run in the container's namespaces
            if self.prepared.plan.hooks.create_container.is_empty() {
                Ok(0)
            } else {
                pid_inside(&self.opened, created.pid)
            }
        })?;
        let init = init.context("the builder of the root file system requested no process")?;
        sync::oom_score(&init, &self.prepared.plan, &self.opened)?;
        let slave = built.console.as_ref().map(|master| linux::term::open_peer(master.as_fd())).transpose();
        let slave = slave.context("open the terminal")?;
        init.send_go_with(0, slave.as_ref().map(AsFd::as_fd))?;
        if let Some(root) = &late_root {
            init.send_go_with(0, Some(root.as_fd()))?;
        }
        Ok((init, built))
    }

    /// Creates the container's process in the namespaces of `builder` and in the root directory `root`.
    fn spawn_below(&mut self, root: sync::Root, cgroup: &Cgroup, builder: &Init) -> Result<Init> {
        let plan = &self.prepared.plan;
        let (root, awaits_root) = match root {
            sync::Root::Empty(dir) => (dir, true),
            sync::Root::Complete(dir) => (dir, false),
        };
        self.opened.target = Some(JoinTarget {
            pidfd: builder.pidfd.try_clone().context("copy the pidfd of the builder")?,
            flags: plan.namespaces.flags() & !libc::CLONE_NEWPID,
            root: Some(root),
            awaits_root,
        });
        self.opened.cgroup_join = cgroup.join_fds()?;
        let late = plan.joins_cgroup_late;
        let into = if late { None } else { cgroup.clone_into()? };
        // also where the limit leaves no room, because the builder counts and ends
        let init = spawn::spawn_in_cgroup(plan, &mut self.opened, (cgroup, into), late, &[0, 1]);
        self.opened.target = None;
        init
    }
}

/// Moves the configured network devices into the network namespace of `pid`.
fn move_devices(prepared: &Preparation, opened: &Opened, pid: i32) -> Result<Option<Moved>> {
    if prepared.devices.is_empty() {
        return Ok(None);
    }
    let name = format!("{pid}/ns/net");
    let namespace = openat(&opened.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, FileMode::empty())
        .code(Code::NetDevice, "linux.netDevices: the container's network namespace")?;
    network::move_in(&prepared.devices, namespace.as_fd()).map(Some)
}

/// Reads the pid that the process `pid` has in the innermost of its pid namespaces.
fn pid_inside(opened: &Opened, pid: i32) -> Result<i32> {
    let name = format!("{pid}/status");
    let file = openat(&opened.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, FileMode::empty())
        .with_context(|| format!("open /proc/{name}"))?;
    let text = linux::file::read_text(std::fs::File::from(file)).with_context(|| format!("read /proc/{name}"))?;
    let pids = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let pid = pids.and_then(|pids| pids.split_ascii_whitespace().last()?.parse().ok());
    pid.with_context(|| format!("/proc/{name}: no NSpid"))
}

/// Moves the waiting init into the cgroup.
fn enter(cgroup: &Cgroup, init: &Init, plan: &ContainerPlan) -> Result<()> {
    cgroup.enter_by_systemd(init.pid)?;
    // with a new user namespace init is released after its ID maps are written
    if plan.namespaces.new_user() { Ok(()) } else { init.send_go() }
}

/// Adds the memory limit to the error when the OOM killer killed init, because init itself needs more memory.
fn explain_oom(err: anyhow::Error, cgroup: &Cgroup) -> anyhow::Error {
    match cgroup.oom_kills() {
        0 => err,
        _ => err.context(coded!(CgroupMemory, "killed by the OOM killer: the memory limit is too low to start")),
    }
}
