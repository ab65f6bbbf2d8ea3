//! The transaction that makes a container: plan, journal, cgroup, clone, commit; or everything undone.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode as FileMode;

use super::namespaces::drop_own_namespaces;
use super::network::{self, Moved};
use super::notify::{self, Manager};
use super::options::Mode;
use super::prepare::{self, Preparation, open_console, preserved};
use super::spawn::{self, Init};
use super::sync::{self, InitHandover};
use super::terminal::Console;
use super::{destroy, options, outputs, rdt, stored, terminal, verify};
use crate::bundle;
use crate::bundle::Bundle;
use crate::cgroup;
use crate::cgroup::Cgroup;
use crate::config::ContainerId;
use crate::hook;
use crate::hook::Hooks;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::opened::Target;
use crate::plan::ContainerPlan;
use crate::plan::rdt::RdtRecord;
use crate::state::Entry;
use crate::state::Record;
use crate::state::Store;
use crate::state::record;
use crate::state::status;
use crate::state::store::CONFIG;
use crate::state::store::Locked;
use crate::verify::cgroup::Depth;
use base::log;
use base::signal_guard::SignalGuard;

/// A container that is created and waits for its start.
#[derive(Debug)]
pub(crate) struct Created {
    /// Its state directory.
    pub entry: Entry,
    /// Held until the verb is done.
    pub lock: Locked,
    /// As committed.
    pub record: Record,
    /// Its process.
    pub init: Init,
    /// The master of its terminal, when croci itself is the terminal's other end.
    pub console: Option<OwnedFd>,
    /// Its hooks.
    pub hooks: Hooks,
    /// What went less than well.
    pub warnings: Vec<String>,
    /// Protections that were asked for and that this host does not have.
    pub unprotected: Vec<String>,
    /// Signals wait for as long as this lives.
    pub interrupt: SignalGuard,
}

/// Plans and makes a container.
///
/// # Errors
/// Whatever fails is undone: nothing is left behind but the error.
pub(crate) fn create(store: &Store, args: &options::Create, mode: Mode, cgroups: options::Cgroups) -> Result<Created> {
    let id = ContainerId::new(&args.id)?;
    let mut bundle = bundle::open(&args.bundle, args.config.as_deref())?;
    drop_own_namespaces(&mut bundle)?;
    let keep = preserved(args.preserve_fds)?;
    let console = open_console(args, &bundle, mode)?;
    let notify = wants_notify(&mut bundle, &store.dir_of(&id))?;
    let mut prepared = prepare::prepare(&id, &bundle, args, &keep, cgroups)?;
    let mut opened = prepared.open()?;
    if !notify {
        prepared.open_rootfs(&mut opened)?;
    }
    let resctrl = prepared.probe_resctrl()?;
    let interrupt = SignalGuard::block()?;
    let (entry, lock) = store.create(&id)?;
    let mut record = match journal(&id, &bundle, args, &prepared, resctrl) {
        Ok(record) => record,
        Err(err) => {
            let _ = entry.remove();
            return Err(err);
        }
    };
    let mut making = Creation { entry: &entry, record: &mut record, mode, interrupt: &interrupt, moved: None };
    let made = making.make(&mut prepared, &mut opened, &bundle, notify).and_then(|(init, served)| {
        match making.commit(&prepared, &init, served, console, args) {
            Ok(console) => Ok((init, console)),
            Err(err) => {
                init.abort();
                Err(err)
            }
        }
    });
    let moved = making.moved.take();
    let mut plan = prepared.plan;
    let unprotected = opened.take_unprotected(&mut plan);
    let mut warnings = bundle.config.warnings;
    warnings.extend(prepared.cgroup.warnings);
    warnings.extend(plan.rootfs.into_iter().flat_map(|rootfs| rootfs.warnings));
    warnings.extend(plan.process.into_iter().flat_map(|process| process.warnings));
    let hooks = opened.into_hooks(plan.hooks, plan.hook_state);
    match made {
        Ok((init, console)) => {
            Ok(Created { entry, lock, record, init, console, hooks, warnings, unprotected, interrupt })
        }
        Err(err) => {
            // before the namespace dies: it would take virtual devices with it
            if let Some(moved) = moved {
                let _ = moved.undo();
            }
            destroy::undo(&entry, &record, &hooks);
            Err(err)
        }
    }
}

/// Whether a service manager waits for word of the program (CL-11); the way there becomes part of the configuration.
/// A program with a terminal talks to a person.
fn wants_notify(bundle: &mut Bundle, dir: &std::path::Path) -> Result<bool> {
    let spec = &mut bundle.config.spec;
    let terminal = spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    if terminal || Manager::from_env()?.is_none() {
        return Ok(false);
    }
    notify::add_to(spec, dir)?;
    Ok(true)
}

impl Preparation {
    pub(super) fn probe_resctrl(&self) -> Result<Option<(PathBuf, RdtRecord)>> {
        let Some(plan) = &self.rdt else { return Ok(None) };
        let mount = rdt::find_mount()?;
        let record = rdt::probe(plan, &mount)?;
        Ok(Some((mount, record)))
    }
}

/// The record before anything outside the state directory exists.
pub(super) fn journal(
    id: &ContainerId,
    bundle: &Bundle,
    args: &options::Create,
    prepared: &Preparation,
    resctrl: Option<(PathBuf, RdtRecord)>,
) -> Result<Record> {
    let plan = &prepared.plan;
    let root = bundle.config.spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    let (resctrl_mount, resctrl) = resctrl.unzip();
    Ok(Record {
        format: record::FORMAT,
        id: id.as_str().to_owned(),
        bundle: bundle.dir.clone(),
        rootfs: bundle.dir.join(root),
        created: log::rfc3339(SystemTime::now()),
        owner: linux::process::euid(),
        boot_id: status::boot_id().context("boot id")?,
        runtime: status::myself().context("own process")?,
        init: None,
        cgroup: prepared.cgroup.record(),
        annotations: plan.hook_state.annotations.clone(),
        resources: None,
        no_new_keyring: args.no_new_keyring,
        namespaces: BTreeMap::new(),
        added_mounts: Vec::new(),
        own_pid_namespace: plan.namespaces.clone_flags & libc::CLONE_NEWPID != 0,
        later_hooks: plan.hooks.later(),
        has_process: plan.process.is_some(),
        mounts_outside: !plan.namespaces.own_mount(),
        restored: false,
        criu: None,
        resctrl,
        resctrl_mount,
    })
}

/// A container between the journal and the commit.
struct Creation<'a> {
    entry: &'a Entry,
    record: &'a mut Record,
    mode: Mode,
    interrupt: &'a SignalGuard,
    moved: Option<Moved>,
}

impl Creation<'_> {
    /// From the journal to an init that is ready.
    fn make(
        &mut self,
        prepared: &mut Preparation,
        opened: &mut Opened,
        bundle: &Bundle,
        notify: bool,
    ) -> Result<(Init, InitHandover)> {
        self.entry.save(self.record)?;
        self.entry.write_new(CONFIG, &bundle.text)?;
        // the makers of both clean up after themselves: what they did not make is not ours to destroy
        self.record.cgroup = cgroup::CgroupRecord::default();
        if notify {
            notify::make_dir(&self.entry.path)?;
            prepared.open_rootfs(opened)?;
        }
        if self.mode == Mode::Create {
            let (start, status) = self.entry.make_fifos()?;
            opened.gate = StartSync::Fifos { start, status };
        }
        if let (Some(rdt), Some(mount), Some(record)) =
            (&prepared.rdt, &self.record.resctrl_mount, &mut self.record.resctrl)
        {
            rdt::apply(rdt, mount, record)?;
        }
        let mut cgroup = cgroup::create(&prepared.cgroup)?;
        self.record.cgroup = cgroup.record().clone();
        prepared.cgroup.warnings.append(&mut cgroup.take_warnings());
        if let Some(rootfs) = &mut prepared.plan.rootfs {
            // rootless, not all that was planned could be created
            rootfs.cgroup = stored::cgroup_view(cgroup.record());
        }
        opened.cgroup_join = cgroup.join_fds()?;
        prepared.plan.joins_cgroup_late = cgroup.needs_systemd_to_enter()?;
        let into = if prepared.plan.joins_cgroup_late { None } else { cgroup.clone_into()? };
        let first = spawn::spawn(&prepared.plan, opened, into).map_err(|err| cgroup.explain_clone(err))?;
        let entered = if prepared.plan.joins_cgroup_late { enter(&cgroup, &first, &prepared.plan) } else { Ok(()) };
        let (init, served) = if prepared.plan.namespaces.pid.is_some() {
            // the first process builds the root, another one becomes the container's
            let created = entered.and_then(|()| self.create_beside(prepared, opened, &cgroup, &first));
            first.abort();
            cgroup.release();
            let (init, built) = created.map_err(|err| after_oom(err, &cgroup))?;
            let served = self.serve(prepared, opened, &init, Some(built));
            (init, served)
        } else {
            cgroup.release();
            let served = entered.and_then(|()| {
                self.register(&first)?;
                sync::oom_score(&first, &prepared.plan, opened)?;
                sync::prepare_namespaces(&first, &prepared.plan, opened)?;
                self.serve(prepared, opened, &first, None)
            });
            (first, served)
        };
        let served = served.and_then(|served| {
            cgroup.apply_deferred(&prepared.cgroup)?;
            verify::before_program(&init, (&prepared.plan, opened), cgroup.record(), Depth::Exact)?;
            Ok(served)
        });
        match served {
            Ok(served) => Ok((init, served)),
            Err(err) => {
                init.abort();
                Err(after_oom(err, &cgroup))
            }
        }
    }

    /// While init works: what the commit needs of it.
    fn register(&mut self, init: &Init) -> Result<()> {
        self.record.init = Some(status::of(init.pid).context("init")?);
        match &self.record.resctrl {
            Some(record) => rdt::join(record, init.pid),
            None => Ok(()),
        }
    }

    /// Answers init until it is ready; `built` is what the builder of its root file system has handed over, if there was one.
    fn serve(
        &mut self,
        prepared: &Preparation,
        opened: &Opened,
        init: &Init,
        built: Option<InitHandover>,
    ) -> Result<InitHandover> {
        let interrupt = self.interrupt;
        let plan = &prepared.plan;
        let to_agent =
            |listener: OwnedFd| outputs::send_listener(listener.as_fd(), plan, "creating", init.pid, init.pid);
        let mut served = sync::wait_until_ready(
            init,
            (plan, opened),
            interrupt,
            &mut || self.on_mounts_done(prepared, opened, init.pid),
            &to_agent,
        )?;
        if let Some(built) = built {
            (served.console, served.namespaces) = (built.console, built.namespaces);
        }
        self.record.namespaces = std::mem::take(&mut served.namespaces);
        self.entry.prepare(self.record)?;
        Ok(served)
    }

    /// The runtime's own work between the mounts and the change of root.
    fn on_mounts_done(&mut self, prepared: &Preparation, opened: &Opened, pid: i32) -> Result<()> {
        let plan = &prepared.plan;
        if !prepared.devices.is_empty() {
            let name = format!("{pid}/ns/net");
            let namespace =
                openat(&opened.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, FileMode::empty())
                    .context("linux.netDevices: the container's network namespace")?;
            self.moved = Some(network::move_in(&prepared.devices, namespace.as_fd())?);
        }
        let (state, output) = (plan.hook_state.state("creating", Some(pid)), &opened.hook_output);
        hook::run_all(&plan.hooks.prestart, output, &state, hook::Procfs::Runtime, Some(self.interrupt))?;
        hook::run_all(&plan.hooks.create_runtime, output, &state, hook::Procfs::Runtime, Some(self.interrupt))
    }

    /// Creates the container's process in a pid namespace that exists, in the root file system that `builder` builds:
    /// those who live in that namespace never see a process with the host's root or descriptors (SEC-5). The process,
    /// which works already, and the master of its terminal.
    fn create_beside(
        &mut self,
        prepared: &Preparation,
        opened: &mut Opened,
        cgroup: &Cgroup,
        builder: &Init,
    ) -> Result<(Init, InitHandover)> {
        let plan = &prepared.plan;
        let mut init = None;
        let interrupt = self.interrupt;
        sync::prepare_namespaces(builder, plan, opened)?;
        let built = sync::until_root_ready(builder, interrupt, &mut |root| {
            opened.target = Some(Target {
                pidfd: builder.pidfd.try_clone()?,
                flags: plan.namespaces.flags() & !libc::CLONE_NEWPID,
                root: Some(root),
            });
            let into = if plan.joins_cgroup_late { None } else { cgroup.clone_into()? };
            opened.cgroup_join = cgroup.join_fds()?;
            let spawned = spawn::spawn_inside(plan, opened, into);
            // the builder and a helper count in the cgroup too: where its limit leaves no room, the process is moved in
            let moved_by_pid =
                spawned.is_err() && !plan.joins_cgroup_late && cgroup.free_pids().is_some_and(|free| free < 2);
            let spawned = if moved_by_pid {
                opened.cgroup_join.clear();
                spawn::spawn_inside(plan, opened, None)
            } else {
                spawned
            };
            opened.target = None;
            let created = init.insert(spawned.map_err(|err| cgroup.explain_clone(err))?);
            if moved_by_pid {
                cgroup.join_pid(created.pid)?;
            }
            if plan.joins_cgroup_late {
                cgroup.enter_by_systemd(created.pid)?;
            }
            self.register(created)?;
            self.on_mounts_done(prepared, opened, created.pid)?;
            // for hooks that run in the container's namespaces
            if plan.hooks.create_container.is_empty() { Ok(0) } else { pid_inside(opened, created.pid) }
        });
        let released = built.and_then(|served| {
            let init = init.as_ref().context("the builder of the root file system asked for no process")?;
            sync::oom_score(init, plan, opened)?;
            let slave = served.console.as_ref().map(|master| linux::term::open_peer(master.as_fd())).transpose()?;
            init.release_with(0, slave.as_ref().map(AsFd::as_fd))?;
            Ok(served)
        });
        match (released, init) {
            (Ok(served), Some(init)) => Ok((init, served)),
            (Err(err), init) => {
                if let Some(init) = init {
                    init.abort();
                }
                Err(err)
            }
            (Ok(_), None) => bail!("the builder of the root file system asked for no process"),
        }
    }

    /// The commit, and what callers get with it; the terminal's master, when croci itself is its other end.
    fn commit(
        &mut self,
        prepared: &Preparation,
        init: &Init,
        served: InitHandover,
        console: Option<Console>,
        args: &options::Create,
    ) -> Result<Option<OwnedFd>> {
        let ours = match (console, served.console) {
            (Some(console), Some(master)) => {
                console.send(master.as_fd())?;
                None
            }
            (None, master) => {
                if let Some(master) = &master {
                    terminal::adopt_size(master.as_fd());
                }
                master
            }
            (Some(_), None) => bail!("init gave no terminal"),
        };
        if let Some(path) = &args.pid_file {
            outputs::write_pid_file(path, init.pid)?;
        }
        for path in args.pidfd_socket.iter().chain(&prepared.pidfd_receiver) {
            outputs::send_pidfd(path, init)?;
        }
        self.entry.commit()?;
        // they stay in the container from now on
        self.moved = None;
        Ok(ours)
    }
}

/// The pid of `pid` in the innermost pid namespace that it is in.
fn pid_inside(opened: &Opened, pid: i32) -> Result<i32> {
    let name = format!("{pid}/status");
    let file = openat(&opened.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, FileMode::empty())
        .with_context(|| format!("open /proc/{name}"))?;
    let text = linux::file::read_text(std::fs::File::from(file)).with_context(|| format!("read /proc/{name}"))?;
    let pids = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let pid = pids.and_then(|pids| pids.split_ascii_whitespace().last()?.parse().ok());
    pid.with_context(|| format!("/proc/{name}: no NSpid"))
}

/// Puts init, which waits for that, into the cgroup.
fn enter(cgroup: &Cgroup, init: &Init, plan: &ContainerPlan) -> Result<()> {
    cgroup.enter_by_systemd(init.pid)?;
    // with a user namespace of its own the word comes with its id maps
    if plan.namespaces.new_user() { Ok(()) } else { init.release() }
}

/// A memory limit below what init itself needs shows as a killed init: say so.
fn after_oom(err: anyhow::Error, cgroup: &Cgroup) -> anyhow::Error {
    match cgroup.oom_kills() {
        0 => err,
        _ => err.context("killed by the OOM killer: the memory limit is too low to start"),
    }
}
