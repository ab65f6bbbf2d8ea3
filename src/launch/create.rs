//! The transaction that makes a container: plan, journal, cgroup, clone, commit; or everything undone.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode as FileMode;

use super::interrupt::Interrupt;
use super::network::{self, Moved};
use super::notify::{self, Manager};
use super::prepare::{self, Prepared, open_console, preserved};
use super::serve::{self, Served};
use super::spawn::{self, Init};
use super::terminal::Console;
use super::{destroy, handover, hook, rdt, terminal, verify};
use crate::bundle::{self, Bundle};
use crate::cgroup::{self, Cgroup};
use crate::cli::args;
use crate::container::store::{CONFIG, Locked};
use crate::container::{Entry, Record, Store, record, status};
use crate::plan::rdt::RdtRecord;
use crate::plan::{self, ContainerPlan, Gate};
use crate::seccomp::Filter;
use crate::spec::ContainerId;
use crate::verify::cgroup::Depth;
use crate::{log, sys};

/// How the container is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `create`: init waits for a later `start`.
    Create,
    /// `run --detach`
    RunDetached,
    /// `run` in the foreground.
    RunForeground,
}

/// A container that is made and waits for its start.
#[derive(Debug)]
pub struct Created {
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
    pub hooks: plan::hook::HooksPlan,
    /// What hooks are told.
    pub told: plan::hook::Told,
    /// What went less than well.
    pub warnings: Vec<String>,
    /// Signals wait for as long as this lives.
    pub interrupt: Interrupt,
}

/// Plans and makes a container.
///
/// # Errors
/// Whatever fails is undone: nothing is left behind but the error.
pub fn create(store: &Store, args: &args::Create, mode: Mode, global: &args::Global) -> Result<Created> {
    let id = ContainerId::new(&args.id)?;
    let mut bundle = bundle::open(&args.bundle, args.config.as_deref())?;
    let keep = preserved(args.preserve_fds)?;
    let console = open_console(args, &bundle, mode)?;
    let notify = wants_notify(&mut bundle, &store.dir_of(&id))?;
    let mut prepared = prepare::prepare(&id, &bundle, args, &keep, global)?;
    if !notify {
        prepared.open_rootfs()?;
    }
    let resctrl = prepared.look_at_resctrl()?;
    let interrupt = Interrupt::hold()?;
    let (entry, lock) = store.create(&id)?;
    let mut record = match journal(&id, &bundle, args, &prepared, resctrl) {
        Ok(record) => record,
        Err(err) => {
            let _ = entry.remove();
            return Err(err);
        }
    };
    let mut making = Making { entry: &entry, record: &mut record, mode, interrupt: &interrupt, moved: None };
    let made = making.make(&mut prepared, &bundle, notify).and_then(|(init, served)| {
        match making.commit(&prepared, &init, served, console, args) {
            Ok(console) => Ok((init, console)),
            Err(err) => {
                init.abort();
                Err(err)
            }
        }
    });
    let moved = making.moved.take();
    let plan = prepared.plan;
    let mut warnings = bundle.config.warnings;
    warnings.extend(prepared.cgroup.warnings);
    warnings.extend(plan.rootfs.into_iter().flat_map(|rootfs| rootfs.warnings));
    warnings.extend(plan.process.into_iter().flat_map(|process| process.warnings));
    match made {
        Ok((init, console)) => {
            Ok(Created { entry, lock, record, init, console, hooks: plan.hooks, told: plan.told, warnings, interrupt })
        }
        Err(err) => {
            // before the namespace dies: it would take virtual devices with it
            if let Some(moved) = moved {
                let _ = moved.undo();
            }
            destroy::undo(&entry, &record, &plan.hooks, &plan.told);
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

impl Prepared {
    /// Opens what belongs to the host: missing and wrong paths are told before anything is made.
    pub(super) fn open_rootfs(&mut self) -> Result<()> {
        self.plan.rootfs.as_mut().map_or(Ok(()), plan::rootfs::RootfsPlan::open)
    }

    pub(super) fn look_at_resctrl(&self) -> Result<Option<(PathBuf, RdtRecord)>> {
        let Some(plan) = &self.rdt else { return Ok(None) };
        let mount = rdt::find_mount()?;
        let record = rdt::look(plan, &mount)?;
        Ok(Some((mount, record)))
    }
}

/// The record before anything outside the state directory exists.
pub(super) fn journal(
    id: &ContainerId,
    bundle: &Bundle,
    args: &args::Create,
    prepared: &Prepared,
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
        owner: sys::process::euid(),
        boot_id: status::boot_id().context("boot id")?,
        runtime: status::myself().context("own process")?,
        init: None,
        cgroup: prepared.cgroup.record(),
        annotations: plan.told.annotations.clone(),
        resources: None,
        no_new_keyring: args.no_new_keyring,
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
struct Making<'a> {
    entry: &'a Entry,
    record: &'a mut Record,
    mode: Mode,
    interrupt: &'a Interrupt,
    moved: Option<Moved>,
}

impl Making<'_> {
    /// From the journal to an init that is ready.
    fn make(&mut self, prepared: &mut Prepared, bundle: &Bundle, notify: bool) -> Result<(Init, Served)> {
        self.entry.save(self.record)?;
        self.entry.write_new(CONFIG, &bundle.text)?;
        // the makers of both clean up after themselves: what they did not make is not ours to destroy
        self.record.cgroup = cgroup::CgroupRecord::default();
        if notify {
            notify::make_dir(&self.entry.path)?;
            prepared.open_rootfs()?;
        }
        if self.mode == Mode::Create {
            let (start, status) = self.entry.make_fifos()?;
            prepared.plan.gate = Gate::Fifos { start, status };
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
            // rootless, not all that was planned could be made
            rootfs.cgroup = prepare::cgroup_view(cgroup.record());
        }
        prepared.plan.cgroup_join.replace(cgroup.join_fds()?);
        prepared.plan.moved_later = cgroup.needs_systemd_to_enter()?;
        let into = if prepared.plan.moved_later { None } else { cgroup.clone_into()? };
        let init = spawn::spawn(&prepared.plan, into).map_err(|err| cgroup.explain_clone(err))?;
        let entered = if prepared.plan.moved_later { enter(&cgroup, &init, &prepared.plan) } else { Ok(()) };
        cgroup.release();
        let served = entered.and_then(|()| self.serve(prepared, &init)).and_then(|served| {
            cgroup.settle(&prepared.cgroup)?;
            verify::before_program(&init, &prepared.plan, cgroup.record(), Depth::Exact)?;
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

    fn serve(&mut self, prepared: &Prepared, init: &Init) -> Result<Served> {
        // while init works: all that the commit needs but the rename
        self.record.init = Some(status::of(init.pid).context("init")?);
        self.entry.prepare(self.record)?;
        if let Some(record) = &self.record.resctrl {
            rdt::join(record, init.pid)?;
        }
        let plan = &prepared.plan;
        let (moved, interrupt) = (&mut self.moved, self.interrupt);
        let mut at_mounts = || {
            if !prepared.devices.is_empty() {
                let name = format!("{}/ns/net", init.pid);
                let space =
                    openat(&plan.proc_dir, name.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, FileMode::empty())
                        .context("linux.netDevices: the container's network namespace")?;
                *moved = Some(network::move_in(&prepared.devices, space.as_fd())?);
            }
            let state = plan.told.state("creating", Some(init.pid));
            hook::run_all(&plan.hooks.prestart, &state, Some(interrupt))?;
            hook::run_all(&plan.hooks.create_runtime, &state, Some(interrupt))
        };
        serve::until_ready(init, plan, interrupt, &mut at_mounts)
    }

    /// The commit, and what callers get with it; the terminal's master, when croci itself is its other end.
    fn commit(
        &mut self,
        prepared: &Prepared,
        init: &Init,
        served: Served,
        console: Option<Console>,
        args: &args::Create,
    ) -> Result<Option<OwnedFd>> {
        let plan = &prepared.plan;
        if let (Some(listener), Some(filter)) = (&served.listener, &plan.seccomp) {
            let filter: &Filter = filter;
            handover::send_listener(listener.as_fd(), filter, &plan.told, "creating", init.pid, init.pid)?;
        }
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
            handover::write_pid_file(path, init.pid)?;
        }
        for path in args.pidfd_socket.iter().chain(&prepared.pidfd_receiver) {
            handover::send_pidfd(path, init)?;
        }
        self.entry.commit()?;
        // they stay in the container from now on
        self.moved = None;
        Ok(ours)
    }
}

/// Puts init, which waits for that, into the cgroup.
fn enter(cgroup: &Cgroup, init: &Init, plan: &ContainerPlan) -> Result<()> {
    cgroup.enter_by_systemd(init.pid)?;
    // with a user namespace of its own the word comes with its id maps
    if plan.namespaces.new_user() { Ok(()) } else { init.let_go() }
}

/// A memory limit below what init itself needs shows as a killed init: say so.
fn after_oom(err: anyhow::Error, cgroup: &Cgroup) -> anyhow::Error {
    match cgroup.oom_kills() {
        0 => err,
        _ => err.context("killed by the OOM killer: the memory limit is too low to start"),
    }
}
