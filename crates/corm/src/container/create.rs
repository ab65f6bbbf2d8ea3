//! Creates a container from an image: its root file system, files and volumes, configuration, and last its record.
//!
//! A failure removes everything again. After SIGKILL there is a root file system without a record, which the next removal
//! deletes (`store::gc`), because the shared lock is held from before the first until after the second.

use base::coded;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit};
use oci_spec::image::{Config, ImageConfiguration};
use serde_json::Value;

use super::run_dir::{RunDir, SupervisorLock, become_supervisor};
use super::survival::Synced;
use super::{Purpose, Setup, accounts, files, join, mapping, names, network, userns, volume_options, volumes, within};
use crate::config;
use crate::config::Place;
use crate::config::RunOptions;
use crate::config::mounts;
use crate::config::process;
use crate::config::settings::userns::UserNamespace;
use crate::driver::Ids;
use crate::driver::mount_util;
use crate::store::ContainerRecord;
use crate::store::ImageRecord;
use crate::store::ROOTFS;
use crate::store::Store;
use crate::store::VolumeLock;
use base::foreground;
use base::fs::lock::Locked;
use linux::signal;

/// Options of a new container.
#[derive(Debug)]
pub struct New<'a> {
    /// Changes to the configuration of the image.
    pub options: &'a RunOptions,
    /// Name; `None`: one is invented.
    pub name: Option<&'a str>,
    /// Path of the OCI runtime.
    pub runtime: PathBuf,
    /// Purpose: run by corm, or a bundle that other programs run.
    pub purpose: Purpose,
    /// Remove the container when it exits (`--rm`).
    pub remove: bool,
    /// Keep its standard input open for callers (`-i`).
    pub interactive: bool,
    /// Bundle directory; `None`: the container's own directory.
    pub bundle: Option<&'a Path>,
    /// Run-time directory, for a container that this process will supervise.
    pub run: Option<&'a RunDir>,
}

/// Prints a message at each step.
pub type Reporter<'a> = &'a dyn Fn(&str);

/// A container without a record; dropped before it is `done`, everything of it is removed.
struct Unfinished<'a> {
    store: &'a Store,
    run: Option<&'a RunDir>,
    id: &'a str,
    done: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // errors are ignored, because the next removal deletes the rest
        let dir = self.store.container_dir(self.id);
        let _ = self.store.driver().unmount(self.id, &dir.join(ROOTFS));
        let _ = self.store.driver().destroy(self.id);
        let _ = base::fs::remove::remove_tree(&dir);
        let _ = self.run.map(|run| run.remove_files(self.id));
    }
}

/// File in a container's directory until its bundle is complete.
pub(super) const UNPUBLISHED: &str = "unpublished";

/// Creates a container and mounts its root file system; with a run-time directory this process is its supervisor.
///
/// # Errors
/// A part cannot be created; everything that was created is removed again.
pub fn create(
    store: &Store,
    image: &ImageRecord,
    new: &New<'_>,
    report: Reporter<'_>,
) -> Result<(ContainerRecord, Option<SupervisorLock>)> {
    create_with(store, image, &read_configuration(store, image)?, new, report)
}

/// Creates a container as [`create`] does, with this configuration in the place of the image's.
///
/// # Errors
/// As [`create`].
pub fn create_with(
    store: &Store,
    image: &ImageRecord,
    configuration: &ImageConfiguration,
    new: &New<'_>,
    report: Reporter<'_>,
) -> Result<(ContainerRecord, Option<SupervisorLock>)> {
    let mut prepared = Prepared::new(store, configuration, new)?;
    let _adding = store.shared()?;
    store.unpack(&image.layers, &|_, _| {})?;
    // blocked from here on, because a signal would leave a part of a container; what follows is short
    signal::set_mask(foreground::signals()).context("signal mask")?;
    let id = store.new_id()?;
    let name = choose_name(store, new, &id)?;

    let mut unfinished = Unfinished { store, run: new.run, id: &id, done: false };
    let (config, points) = prepared.fill((store, new), image, configuration, &id, report)?;
    let dir = store.container_dir(&id);
    if new.purpose == Purpose::Bundle {
        mark_unpublished(&dir)?;
    }
    let _locks = (std::mem::take(&mut prepared.locks), prepared.userns_lock.take());
    let record = ContainerRecord {
        name,
        image: image.id.clone(),
        image_name: image.names.first().cloned().unwrap_or_else(|| image.id.to_string()),
        chain: image.chain.clone(),
        command: serde_json::from_value(config.pointer("/process/args").cloned().unwrap_or_default())?,
        created: jiff::Timestamp::now().to_string(),
        bundle: new.bundle.unwrap_or(&dir).to_owned(),
        setup: setup(new, prepared, points),
        id: id.clone(),
    };
    // before the record, so that a container whose creator was killed does not look like one that is being created
    let supervisor = new.run.map(|run| become_supervisor(run, &record)).transpose()?;
    let record = put_record(store, record, new.name.is_none())?;
    unfinished.done = true;
    Ok((record, supervisor))
}

/// Returns what the record keeps of the options.
fn setup(new: &New<'_>, prepared: Prepared, points: Vec<PathBuf>) -> Setup {
    let Prepared { options, stop_signal, joins, userns, .. } = prepared;
    Setup {
        purpose: new.purpose,
        volumes: options.volumes,
        points,
        stop_signal,
        stop_timeout: options.settings.stop_timeout,
        joins,
        userns,
        names: options.settings.names,
        remove: new.remove,
        tty: options.tty,
        interactive: new.interactive,
        created: false,
        log: options.log,
        runtime: new.runtime.clone(),
        network: options.network,
        overrides: new.options.overrides(),
    }
}

/// Notes that the bundle of a container is not complete: it is being created or removed.
///
/// # Errors
/// No space.
pub fn mark_unpublished(dir: &Path) -> Result<()> {
    let mark = dir.join(UNPUBLISHED);
    File::create(&mark).map(drop).with_context(|| format!("write {mark:?}"))
}

/// Notes that the bundle of a container is complete.
///
/// # Errors
/// As unlink(2).
pub fn mark_published(dir: &Path) -> Result<()> {
    let mark = dir.join(UNPUBLISHED);
    std::fs::remove_file(&mark).with_context(|| format!("remove {mark:?}"))
}

/// What a container will have, known before anything of it is created.
struct Prepared {
    /// Options, with the volumes of other containers and, once they are created, the sources of all.
    options: RunOptions,
    /// Signal that asks the program to stop.
    stop_signal: String,
    /// Containers whose namespaces it joins.
    joins: BTreeMap<String, String>,
    /// Its user namespace.
    userns: Option<UserNamespace>,
    /// Lock of the IDs of its user namespace, held as long as those of the volumes.
    userns_lock: Option<Locked>,
    /// Volumes that the image declares.
    declared: Vec<PathBuf>,
    /// Locks of its named volumes, held until the container has a record.
    locks: Vec<VolumeLock>,
}

impl Prepared {
    fn new(store: &Store, configuration: &ImageConfiguration, new: &New<'_>) -> Result<Self> {
        let nothing = Config::default();
        let image = configuration.config().as_ref().unwrap_or(&nothing);
        let mut options = new.options.clone();
        let stop_signal = process::stop_signal(image, options.settings.stop_signal.as_deref())?;
        let joins = join::find(store, &options.settings)?;
        let exposed = image.exposed_ports().clone();
        options.network.expose(&exposed.unwrap_or_default())?;
        if let Some(run) = new.run {
            network::check(store, run, &mut options.network)?;
        }
        options.volumes.extend(join::volumes_from(store, &options.settings, &new.options.volumes)?);
        let declared = config::image_volumes(configuration, &options)?;
        Ok(Self { options, stop_signal, joins, userns: None, userns_lock: None, declared, locks: Vec::new() })
    }

    /// Creates the root file system, the files and the configuration; returns this, and the mount points that the runtime
    /// has to create.
    fn fill(
        &mut self,
        (store, new): (&Store, &New<'_>),
        image: &ImageRecord,
        configuration: &ImageConfiguration,
        id: &str,
        report: Reporter<'_>,
    ) -> Result<(Value, Vec<PathBuf>)> {
        let dir = store.container_dir(id);
        let sync = Synced::before_record(new.purpose, new.remove, store.driver().kind()) == Synced::Files;
        let (rootfs, root) = create_rootfs(store, (image, sync), id, report)?;
        within::check_volumes(root.as_fd(), &self.declared, &self.options.volumes)?;
        within::check_tmpfs(root.as_fd(), &self.options.settings.tmpfs)?;
        let declared = std::mem::take(&mut self.declared);
        let created = volumes::create(store, &dir, root.as_fd(), &self.options.volumes, declared)?;
        (self.options.volumes, self.locks) = (created.volumes, created.locks);
        let hostname = if self.options.settings.namespaces.own_hostname() {
            config::short_id(id).to_owned()
        } else {
            join::hostname(store, &self.joins)?
        };
        let joined = network::namespace_path(new.run, &self.options.network, id);
        let place = place(image, (id, &hostname), &dir, (&rootfs, root.as_fd()), joined)?;
        let mut config = config::runtime_config(configuration, &self.options, &place)?;
        if let Some(wanted) = &self.options.settings.accounts {
            accounts::add(&mut config, wanted, place.root, place.dir)?;
        }
        let mut user = owner(&config)?;
        if let Some((userns, lock)) = mapping::find(store, &self.options.settings.userns, root.as_fd(), user)? {
            userns.apply(&mut config, store.root())?;
            config["root"]["path"] = serde_json::json!(dir.join(ROOTFS));
            volume_options::refuse_overlays(&self.options.volumes)?;
            user = userns.mapping.to_outside(user).context("the user has no ID in the user namespace")?;
            (self.userns, self.userns_lock) = (Some(userns), lock);
        }
        volume_options::chown(&self.options.volumes, user, store.root())?;
        let points = create_files(&config, (&self.options, new.purpose), &place)?;
        write_config(&config, (&dir, sync), report)?;
        Ok((config, points))
    }
}

/// Returns user and group of a configuration's process.
fn owner(config: &Value) -> Result<(u32, u32)> {
    let id = |name: &str| config.pointer(&format!("/process/user/{name}")).and_then(Value::as_u64).unwrap_or_default();
    Ok((u32::try_from(id("uid"))?, u32::try_from(id("gid"))?))
}

/// Creates the container's directory and its write layer, and mounts the root file system; returns where, and opens it.
fn create_rootfs(
    store: &Store,
    (image, sync): (&ImageRecord, bool),
    id: &str,
    report: Reporter<'_>,
) -> Result<(PathBuf, OwnedFd)> {
    let dir = store.container_dir(id);
    DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("make {dir:?}"))?;
    report(&format!(
        "write layer of {} on {} layers of {}",
        config::short_id(id),
        image.layers.len(),
        store.driver().kind()
    ));
    store.driver().create(id, &image.chain_ids(), sync)?;
    let rootfs = mount(store, id)?;
    report(&format!("root file system at {}", rootfs.display()));
    let root = mount_util::open_dir(&rootfs)?;
    Ok((rootfs, root))
}

/// Collects what the configuration depends on besides image and options: the container's directories, the caller's rights
/// and the host.
fn place<'a>(
    image: &'a ImageRecord,
    (id, hostname): (&'a str, &'a str),
    dir: &'a Path,
    (rootfs, root): (&'a Path, BorrowedFd<'a>),
    network: Option<PathBuf>,
) -> Result<Place<'a>> {
    Ok(Place {
        id,
        hostname,
        image_name: image.names.first().map(String::as_str),
        rootfs,
        root,
        dir,
        unprivileged: userns::unprivileged(),
        single_id: userns::single_id(),
        most_files: getrlimit(Resource::RLIMIT_NOFILE).context("limit of open files")?.1,
        network,
        cgroup_v2: base::host::cgroup_v2()?,
    })
}

/// Creates the files that the configuration names: those with the host's names, and the working directory. Returns the
/// mount points that the runtime has to create.
fn create_files(config: &Value, (options, purpose): (&RunOptions, Purpose), place: &Place<'_>) -> Result<Vec<PathBuf>> {
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let hostname = options.hostname.as_deref().unwrap_or(place.hostname);
    files::write_names(place.dir, hostname, options.host_network, &options.settings.names)?;
    let list = config.pointer("/mounts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let points = match purpose {
        // a step of a build leaves no mount point in the layer, wherever symlinks of the image lead
        Purpose::Build => mounts::missing_points(place.root, &resolved(list, place.root)?, &[])?,
        _ => mounts::missing_points(place.root, list, &options.volumes)?,
    };
    // below a volume the runtime creates it
    let cwd = Path::new(text("/process/cwd"));
    if !options.volumes.iter().any(|volume| cwd.starts_with(&volume.destination)) {
        files::make_dirs(place.root, cwd).context("working directory")?;
    }
    Ok(points)
}

/// Returns the mounts with their destinations in the tree, without symlinks.
fn resolved(list: &[Value], root: BorrowedFd<'_>) -> Result<Vec<Value>> {
    let one = |mount: &Value| {
        let destination = mount.get("destination").and_then(Value::as_str).unwrap_or_default();
        Ok(serde_json::json!({ "destination": within::resolve(root, Path::new(destination))? }))
    };
    list.iter().map(one).collect()
}

fn write_config(config: &Value, (dir, sync): (&Path, bool), report: Reporter<'_>) -> Result<()> {
    let path = dir.join("config.json");
    let mut file = File::create_new(&path).with_context(|| format!("write {path:?}"))?;
    file.write_all(&serde_json::to_vec(config)?).with_context(|| format!("write {path:?}"))?;
    if sync {
        file.sync_all().with_context(|| format!("sync {path:?}"))?;
    }
    report(&format!("configuration {}", path.display()));
    Ok(())
}

/// Writes the record, which completes the container. An `invented` name that another process has chosen meanwhile is made
/// unique by the ID.
fn put_record(store: &Store, mut record: ContainerRecord, invented: bool) -> Result<ContainerRecord> {
    if let Err(err) = store.put_container(&record) {
        let taken = invented && store.containers()?.iter().any(|other| other.name == record.name);
        anyhow::ensure!(taken, err);
        record.name = format!("{}-{}", record.name, config::short_id(&record.id));
        store.put_container(&record)?;
    }
    Ok(record)
}

/// Mounts the root file system of a container, if its driver needs a mount and there is none; returns where it is.
///
/// # Errors
/// As mount(2).
pub fn mount(store: &Store, id: &str) -> Result<PathBuf> {
    let target = store.container_dir(id).join(ROOTFS);
    match DirBuilder::new().mode(0o755).create(&target) {
        Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {}
        other => other.with_context(|| format!("create {target:?}"))?,
    }
    store.driver().mount(id, &target)
}

/// Mounts the root file system of a container with the IDs of its user namespace, in the place of another mount of it.
///
/// # Errors
/// The kernel maps no IDs of the store's file system.
pub fn mount_mapped(store: &Store, id: &str, userns: &UserNamespace) -> Result<()> {
    let target = store.container_dir(id).join(ROOTFS);
    store.driver().unmount(id, &target)?;
    let [uids, gids] = userns.mapping.files();
    let namespace = linux::userns::with_maps(&uids, &gids).context("create the user namespace of a mount")?;
    let root = userns.mapping.to_outside((0, 0)).context("the user namespace has no root")?;
    store.driver().mount_mapped(id, &target, &Ids { userns: namespace.as_fd(), root })
}

/// Unmounts the tree.
///
/// # Errors
/// As umount2(2).
pub fn unmount(store: &Store, id: &str) -> Result<()> {
    store.driver().unmount(id, &store.container_dir(id).join(ROOTFS))
}

/// Reads the configuration of an image.
///
/// # Errors
/// The blob is missing or is not an image configuration.
pub fn read_configuration(store: &Store, image: &ImageRecord) -> Result<ImageConfiguration> {
    crate::model::manifest::parse_config(&store.read_blob(&image.id)?)
        .with_context(|| format!("configuration of image {}", image.id))
}

/// Returns the requested name, the bundle's, or an invented one that is free now. Another process may take the name until
/// the record is written, which checks again.
fn choose_name(store: &Store, new: &New<'_>, id: &str) -> Result<String> {
    let taken = store.containers()?;
    let is_taken = |name: &str| taken.iter().any(|other| other.name == name);
    if let Some(name) = new.name {
        names::check(name)?;
        anyhow::ensure!(!is_taken(name), coded!(NameTaken, "a container named '{name}' exists already"));
        return Ok(name.to_owned());
    }
    // the container of a bundle has the name of the directory
    let dir = new.bundle.and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(name) = dir.filter(|name| names::check(name).is_ok() && !is_taken(name)) {
        return Ok(name.to_owned());
    }
    Ok(names::generate(id, is_taken))
}
