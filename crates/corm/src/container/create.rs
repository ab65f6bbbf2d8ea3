//! Creation of a container from an image: its tree, its files, its configuration, and last its record.
//!
//! A failure removes all of it. After a kill there is a tree without a record, which the next removal deletes
//! (`store::gc`): the shared lock is held from before the tree until the record.

use std::fs::DirBuilder;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use oci_spec::image::{Config, ImageConfiguration};

use super::{Purpose, Setup, files, names, userns, within};
use crate::config;
use crate::config::Place;
use crate::config::RunOptions;
use crate::config::mounts;
use crate::config::process;
use crate::driver::mount_util;
use crate::store::ContainerRecord;
use crate::store::ImageRecord;
use crate::store::ROOTFS;
use crate::store::Store;
use base::foreground;
use linux::signal;

/// Parameters of a new container.
#[derive(Debug)]
pub struct New<'a> {
    /// Settings that override the image's.
    pub options: &'a RunOptions,
    /// Name; `None` for a generated one.
    pub name: Option<&'a str>,
    /// Path of the runtime.
    pub runtime: PathBuf,
    /// Whether corm or another program runs it.
    pub purpose: Purpose,
    /// Whether it is removed when it exits.
    pub remove: bool,
    /// Bundle that will link to it; `None`: its own directory.
    pub bundle: Option<&'a Path>,
}

/// Callback for messages.
pub type Reporter<'a> = &'a dyn Fn(&str);

/// A container without a record; dropped, it is removed.
struct Unfinished<'a> {
    store: &'a Store,
    id: &'a str,
    done: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // an earlier error is being reported; the next removal deletes the rest
        let dir = self.store.container_dir(self.id);
        let _ = self.store.driver().unmount(self.id, &dir.join(ROOTFS));
        let _ = self.store.driver().destroy(self.id);
        let _ = base::fs::remove::remove_tree(&dir);
    }
}

/// Creates a container, and mounts its tree.
///
/// # Errors
/// Those of the driver and the file system; nothing is left then.
pub fn create(store: &Store, image: &ImageRecord, new: &New<'_>, report: Reporter<'_>) -> Result<ContainerRecord> {
    let configuration = read_configuration(store, image)?;
    let nothing = Config::default();
    let stop_signal = process::stop_signal(configuration.config().as_ref().unwrap_or(&nothing))?;
    let declared = config::image_volumes(&configuration, &new.options.volumes)?;
    let _adding = store.shared()?;
    store.unpack(&image.layers, &|_, _| {})?;
    // from here on the steps are short, and a signal would leave a partial container
    signal::set_mask(foreground::signals()).context("signal mask")?;
    let id = store.new_id()?;
    let name = choose_name(store, new, &id)?;

    let mut unfinished = Unfinished { store, id: &id, done: false };
    let dir = store.container_dir(&id);
    DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("create {dir:?}"))?;
    report(&format!(
        "write layer of {} on {} layers of {}",
        config::short_id(&id),
        image.layers.len(),
        store.driver().kind()
    ));
    store.driver().create(&id, &image.chain_ids())?;
    let rootfs = mount(store, &id)?;
    report(&format!("root file system at {}", rootfs.display()));

    let root = mount_util::open_dir(&rootfs)?;
    within::check_volumes(root.as_fd(), &declared, &new.options.volumes)?;
    let mut options = new.options.clone();
    options.volumes.extend(files::make_volumes(&dir, root.as_fd(), &declared)?);
    let place = Place {
        id: &id,
        image_name: image.names.first().map(String::as_str),
        rootfs: &rootfs,
        root: root.as_fd(),
        dir: &dir,
        unprivileged: userns::unprivileged(),
        single_id: userns::single_id(),
        most_files: getrlimit(Resource::RLIMIT_NOFILE).context("limit of open files")?.1,
        cgroup_v2: statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC),
    };
    let config = config::runtime_config(&configuration, &options, &place)?;
    let text = |pointer: &str| config.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
    files::write_names(&dir, text("/hostname"), options.host_network)?;
    let list = config.pointer("/mounts").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    let points = mounts::missing_points(root.as_fd(), list, &options.volumes)?;
    // the runtime creates a directory below a volume
    let cwd = Path::new(text("/process/cwd"));
    if !options.volumes.iter().any(|volume| cwd.starts_with(&volume.destination)) {
        files::make_dirs(root.as_fd(), cwd).context("working directory")?;
    }
    let command = serde_json::from_value(config.pointer("/process/args").cloned().unwrap_or_default())?;
    let file = dir.join("config.json");
    std::fs::write(&file, serde_json::to_vec(&config)?).with_context(|| format!("write {file:?}"))?;
    report(&format!("configuration {}", file.display()));

    let mut record = ContainerRecord {
        name,
        image: image.id.clone(),
        image_name: image.names.first().cloned().unwrap_or_else(|| image.id.to_string()),
        chain: image.chain.clone(),
        command,
        created: jiff::Timestamp::now().to_string(),
        bundle: new.bundle.unwrap_or(&dir).to_owned(),
        setup: Setup {
            purpose: new.purpose,
            volumes: options.volumes,
            points,
            stop_signal,
            remove: new.remove,
            tty: options.tty,
            log: options.log,
            runtime: new.runtime.clone(),
        },
        id: id.clone(),
    };
    if let Err(err) = store.put_container(&record) {
        // another process has generated the same name
        let generated = new.name.is_none() && store.containers()?.iter().any(|other| other.name == record.name);
        anyhow::ensure!(generated, err);
        record.name = format!("{}-{}", record.name, config::short_id(&record.id));
        store.put_container(&record)?;
    }
    unfinished.done = true;
    Ok(record)
}

/// Mounts the tree of a container, unless it is mounted or needs no mount; returns its root.
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
/// The blob is missing or invalid.
pub fn read_configuration(store: &Store, image: &ImageRecord) -> Result<ImageConfiguration> {
    crate::model::manifest::parse_config(&store.read_blob(&image.id)?)
        .with_context(|| format!("configuration of image {}", image.id))
}

/// Chooses the name: a given one is checked for uniqueness with the record, a generated one now.
fn choose_name(store: &Store, new: &New<'_>, id: &str) -> Result<String> {
    let taken = store.containers()?;
    let is_taken = |name: &str| taken.iter().any(|other| other.name == name);
    if let Some(name) = new.name {
        names::check(name)?;
        anyhow::ensure!(!is_taken(name), "a container named '{name}' exists already");
        return Ok(name.to_owned());
    }
    // a bundle's container is named like its directory
    let dir = new.bundle.and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(name) = dir.filter(|name| names::check(name).is_ok() && !is_taken(name)) {
        return Ok(name.to_owned());
    }
    Ok(names::generate(id, is_taken))
}
