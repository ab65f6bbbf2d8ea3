//! The transaction that creates a container, from a root file system (`create`) or from CRIU's images (`restore`):
//! lock, journal, cgroup, commit by the rename of the record; on a failure everything undone.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use super::outputs::Outputs;
use super::prepare::Preparation;
use super::stored::cgroup_view;
use super::terminal::Foreground;
use super::{destroy, mount_points, options};
use crate::bundle::Bundle;
use crate::cgroup;
use crate::cgroup::Cgroup;
use crate::cgroup::CgroupRecord;
use crate::config::ContainerId;
use crate::hook;
use crate::hook::Hooks;
use crate::opened::Opened;
use crate::plan::ContainerPlan;
use crate::rootfs;
use crate::rootfs::unmount::HostRoot;
use crate::state::Entry;
use crate::state::Record;
use crate::state::Store;
use crate::state::record;
use crate::state::record::MountPoint;
use crate::state::status;
use crate::state::store::CONFIG;
use crate::state::store::Locked;
use base::log;
use base::log::step;
use base::signal_guard::SignalGuard;

/// A container between the creation of its state directory and the commit. The directory stays locked until the verb is
/// done, because no other verb may see a part of a container.
///
/// A signal that arrives meanwhile is an error of the next wait, and undone as any other. After SIGKILL the journal
/// has what `delete --force` removes, and init dies with the runtime.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    /// State directory.
    pub entry: Entry,
    /// Record of what was created so far; on disk is the journal, which has what is planned.
    pub record: Record,
    /// Blocks the signals that ask the runtime to stop.
    pub interrupt: &'a SignalGuard,
    lock: Locked,
}

/// A container that was committed.
#[derive(Debug)]
pub(crate) struct Committed {
    /// State directory.
    pub entry: Entry,
    /// Lock of the state directory, held until the verb is done.
    pub lock: Locked,
    /// Record as committed.
    pub record: Record,
    /// Mount points that were made in the root file system. They stay once init is released.
    pub mount_points: Vec<MountPoint>,
    /// Hooks that run later: poststart and poststop.
    pub hooks: Hooks,
    /// Warnings to log.
    pub warnings: Vec<String>,
    /// Warnings of the specification, to log at any level.
    pub of_configuration: Vec<String>,
    /// Configured protections that this host does not have.
    pub unprotected: Vec<String>,
}

impl Committed {
    /// Deletes the container again, its mount points included, because its program could not be started. Returns what
    /// [`destroy::destroy`] does.
    ///
    /// # Errors
    /// As [`destroy::destroy`].
    pub(crate) fn undo(&self) -> Result<Vec<String>> {
        let record = Record { mount_points: self.mount_points.clone(), ..self.record.clone() };
        destroy::destroy(&self.entry, &record, &self.hooks)
    }
}

/// Builds the record of what is planned, before anything is created.
///
/// # Errors
/// `/proc` is not mounted.
pub(super) fn planned_record(bundle: &Bundle, args: &options::Create, prepared: &Preparation) -> Result<Record> {
    let plan = &prepared.plan;
    let root = bundle.config.spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    Ok(Record {
        format: record::FORMAT,
        id: plan.id.clone(),
        bundle: bundle.dir.clone(),
        rootfs: bundle.dir.join(root),
        created: log::rfc3339(SystemTime::now()),
        owner: linux::process::euid(),
        boot_id: status::boot_id()?.to_owned(),
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
        host_mounts: !plan.namespaces.own_mount(),
        host_root: host_root(plan)?,
        restored: false,
        criu: None,
        resctrl: None,
        mount_points: Vec::new(),
        resctrl_mount: None,
    })
}

/// Returns what the root directory is before the container mounts it on itself in the caller's mount namespace.
fn host_root(plan: &ContainerPlan) -> Result<Option<HostRoot>> {
    let rootfs = plan.rootfs.as_ref().filter(|_| !plan.namespaces.own_mount());
    rootfs.map(|rootfs| rootfs::unmount::host_root(&rootfs.path).context("root.path")).transpose()
}

impl<'a> Transaction<'a> {
    /// Creates the state directory and locks it.
    ///
    /// # Errors
    /// The ID is taken; as [`Store::create`]. Nothing was created then.
    pub(super) fn begin(store: &Store, id: &ContainerId, record: Record, interrupt: &'a SignalGuard) -> Result<Self> {
        let (entry, lock) = store.create(id)?;
        step(|| format!("state directory {:?} created", entry.path));
        Ok(Transaction { entry, record, interrupt, lock })
    }

    /// Writes the journal and the private copy of the configuration, before anything outside the state directory is
    /// created.
    ///
    /// # Errors
    /// No space.
    pub(super) fn write_journal(&mut self, config: &[u8]) -> Result<()> {
        let written = self.entry.save(&self.record).and_then(|()| self.entry.write_new(CONFIG, config));
        // a cgroup that was not created yet must not be removed
        self.record.cgroup = CgroupRecord::default();
        written
    }

    /// Creates the planned cgroup. The plan shows the container what was created of it, which can be less for an
    /// unprivileged caller.
    ///
    /// # Errors
    /// As [`cgroup::create`], which removes again what it created.
    pub(super) fn create_cgroup(&mut self, prepared: &mut Preparation) -> Result<Cgroup> {
        let (entry, record) = (&self.entry, &self.record);
        let mut journal = |cgroup: &CgroupRecord| entry.save(&Record { cgroup: cgroup.clone(), ..record.clone() });
        let mut cgroup = cgroup::create(&prepared.cgroup, &mut journal)?;
        cgroup.mark(&entry.path);
        step(|| format!("cgroup created: {:?}", cgroup.record()));
        self.record.cgroup = cgroup.record().clone();
        prepared.cgroup.warnings.append(&mut cgroup.take_warnings());
        if let Some(rootfs) = &mut prepared.plan.rootfs {
            rootfs.cgroup = cgroup_view(cgroup.record());
        }
        Ok(cgroup)
    }

    /// Records a mount point that init is about to create, because a kill may leave it to `delete --force`.
    ///
    /// # Errors
    /// As [`Entry::save`].
    pub(super) fn record_mount_point(&mut self, prepared: &Preparation, path: &Path) -> Result<()> {
        let Some(rootfs) = &prepared.plan.rootfs else { return Ok(()) };
        self.record.mount_points.extend(mount_points::missing(&rootfs.path, path));
        // without init: the container is not complete
        self.entry.save(&Record { init: None, ..self.record.clone() })
    }

    /// Runs the prestart hooks, then the createRuntime hooks, with the state of a container whose first process is
    /// `pid`.
    ///
    /// # Errors
    /// A hook failed or a signal arrived.
    pub(super) fn run_hooks(&self, prepared: &Preparation, opened: &Opened, pid: i32) -> Result<()> {
        let plan = &prepared.plan;
        let (state, output) = (plan.hook_state.state("creating", Some(pid)), &opened.hook_output);
        let (prestart, create_runtime) = (&plan.hooks.prestart, &plan.hooks.create_runtime);
        step(|| format!("hooks: {} prestart, {} createRuntime", prestart.len(), create_runtime.len()));
        hook::run_all(prestart, output, &state, hook::Procfs::Runtime, Some(self.interrupt))?;
        hook::run_all(create_runtime, output, &state, hook::Procfs::Runtime, Some(self.interrupt))
    }

    /// Commits the record by its rename, the last step, after the caller got its outputs for the process `pid`. The
    /// record is written before both, because a full disk must not leave a caller with outputs of no container.
    ///
    /// Returns what [`Outputs::hand_over`] does.
    ///
    /// # Errors
    /// No space; as [`Outputs::hand_over`].
    pub(super) fn commit(
        &mut self,
        outputs: Outputs,
        (pid, pidfd): (i32, BorrowedFd<'_>),
        master: Option<OwnedFd>,
    ) -> Result<Option<Foreground>> {
        let mount_points = std::mem::take(&mut self.record.mount_points);
        self.entry.prepare(&self.record)?;
        // until the commit, for `undo`
        self.record.mount_points = mount_points;
        let console = outputs.hand_over((pid, pidfd), master)?;
        self.entry.commit()?;
        step(|| "record committed: the container is created".to_owned());
        Ok(console)
    }

    /// Ends the transaction with the `result` of all its steps. On a failure undoes what the record has: process,
    /// cgroup, mounts, resctrl group and last the state directory, after the poststop hooks.
    ///
    /// # Errors
    /// The failure itself.
    pub(super) fn finish<T>(
        self,
        result: Result<T>,
        prepared: Preparation,
        mut opened: Opened,
        mut of_configuration: Vec<String>,
    ) -> Result<(Committed, T)> {
        let mut plan = prepared.plan;
        let unprotected = opened.take_unprotected(&mut plan);
        let mut warnings = prepared.cgroup.warnings;
        warnings.extend(plan.rootfs.into_iter().flat_map(|rootfs| rootfs.warnings));
        of_configuration.extend(plan.process.into_iter().flat_map(|process| process.warnings));
        let hooks = opened.into_hooks(plan.hooks, plan.hook_state);
        let Transaction { entry, mut record, lock, .. } = self;
        match result {
            Ok(value) => {
                let mount_points = std::mem::take(&mut record.mount_points);
                let container =
                    Committed { entry, lock, record, mount_points, hooks, warnings, of_configuration, unprotected };
                Ok((container, value))
            }
            Err(err) => {
                destroy::undo(&entry, &record, &hooks);
                Err(err)
            }
        }
    }
}
