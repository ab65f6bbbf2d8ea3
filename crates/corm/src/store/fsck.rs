//! Verification and repair of a store: every blob by its digest, every record by its references, and every tree of a
//! layer by a new one that is unpacked beside it.
//!
//! Leftovers of a killed process in `tmp/`, and unreferenced layers and blobs, are no damage: the next removal deletes
//! them, and so does a repair.

use base::error::{Code, Coding as _, describe};
use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::{Context as _, Result};

use super::blob::hash_file;
use super::{ImageRecord, Lock, Store};
use crate::model::digest::Digest;
use crate::model::manifest;

/// A problem of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Description with the path or name.
    pub what: String,
    /// Description of the repair; `None` without one.
    pub repaired: Option<String>,
}

struct Checker<'a> {
    store: &'a Store,
    repair: bool,
    /// Results of verified blobs: whether each is intact.
    blobs: BTreeMap<Digest, bool>,
    problems: Vec<Problem>,
}

impl Store {
    /// Verifies the store, and repairs it when `repair` is set. A repair removes incomplete images, unless a container
    /// was created from them.
    ///
    /// # Errors
    /// The store cannot be read, or the file system refuses a repair.
    pub fn check(&self, repair: bool, exclusive: &Lock) -> Result<Vec<Problem>> {
        let mut checker = Checker { store: self, repair, blobs: BTreeMap::new(), problems: Vec::new() };
        checker.containers()?;
        checker.names()?;
        let images = checker.images()?;
        checker.layers(&images)?;
        checker.trees(&images)?;
        let problems = checker.problems;
        // with an unreadable record it is unknown what is unused
        if repair && problems.iter().all(|problem| problem.repaired.is_some()) {
            self.collect_now(exclusive)?;
        }
        Ok(problems)
    }
}

impl Checker<'_> {
    fn found(&mut self, what: impl Display, repaired: Option<&str>) {
        self.problems.push(Problem { what: what.to_string(), repaired: repaired.map(str::to_owned) });
    }

    /// Records a problem and performs its repair if requested.
    fn repair_problem(
        &mut self,
        what: impl Display,
        how: &str,
        repair: impl FnOnce(&Store) -> Result<()>,
    ) -> Result<()> {
        if self.repair {
            repair(self.store).with_context(|| format!("{what}: repair"))?;
        }
        self.found(what, self.repair.then_some(how));
        Ok(())
    }

    fn containers(&mut self) -> Result<()> {
        let trees = self.store.driver().containers()?;
        for id in self.store.container_ids()? {
            let record = match self.store.read_container(&id) {
                Ok(Some(record)) => record,
                // killed before it had a record, or during its removal
                Ok(None) => continue,
                Err(err) => {
                    let err = damage(err)?;
                    let dir = self.store.container_dir(&id);
                    self.found(format!("{}; its tree is kept, its directory is {dir:?}", describe(&err)), None);
                    continue;
                }
            };
            let name = &record.name;
            if !trees.contains(&id) {
                let what = format!("container {name}: its tree is missing");
                self.repair_problem(what, "removed", |store| store.remove_container(&id).map(drop))?;
                continue;
            }
            if self.has_no_record(&record.image)? {
                self.found(format!("container {name}: its image {} is missing", record.image), None);
            }
        }
        Ok(())
    }

    /// Returns the images with valid records.
    fn images(&mut self) -> Result<Vec<ImageRecord>> {
        let mut good = Vec::new();
        for id in self.store.image_ids()? {
            let record = match self.store.read_record(&id) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(err) => {
                    let err = damage(err)?;
                    self.repair_problem(describe(&err), "removed, pull it again", |store| forget(store, &id))?;
                    continue;
                }
            };
            let Some(problem) = self.image(&record)? else {
                good.push(record);
                continue;
            };
            let what = format!("image {id}: {problem}");
            // an unreadable container record may be of this image
            let used = self.store.containers().map_or(true, |all| all.iter().any(|user| user.image == id));
            match used {
                true => {
                    self.found(format!("{what} (kept: a container uses it)"), None);
                    good.push(record);
                }
                false => self.repair_problem(what, "removed, pull it again", |store| forget(store, &id))?,
            }
        }
        Ok(good)
    }

    /// Checks that all blobs of an image are intact and match its record; returns the first problem.
    fn image(&mut self, record: &ImageRecord) -> Result<Option<String>> {
        let blobs = [(&record.manifest, "manifest"), (&record.id, "configuration")];
        let layers = record.layers.iter().map(|layer| (&layer.blob, "layer"));
        for (digest, what) in blobs.into_iter().chain(layers) {
            if !self.blob(digest)? {
                return Ok(Some(format!("its {what} {digest} is missing or damaged")));
            }
        }
        let (manifest, config) = (self.store.read_blob(&record.manifest), self.store.read_blob(&record.id));
        match manifest.and_then(|manifest| fits(record, &manifest, &config?)) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some("its record, manifest and configuration do not match".to_owned())),
            Err(err) => Ok(Some(describe(&damage(err)?))),
        }
    }

    /// Verifies a blob once; returns whether it is there and intact. A repair removes a damaged one, so that the next pull
    /// fetches it.
    fn blob(&mut self, digest: &Digest) -> Result<bool> {
        if let Some(whole) = self.blobs.get(digest) {
            return Ok(*whole);
        }
        let whole = match self.store.open_blob(digest) {
            Ok(file) => hash_file(&file).with_context(|| format!("read blob {digest}"))?.0 == *digest,
            Err(err) => damage(err).map(|_| false)?,
        };
        self.blobs.insert(digest.clone(), whole);
        if !whole && self.repair {
            base::fs::remove::remove_tree(&self.store.blob_path(digest))?;
        }
        Ok(whole)
    }

    /// Returns whether an image has no record; a damaged one is reported with the images.
    fn has_no_record(&self, id: &Digest) -> Result<bool> {
        match self.store.read_record(id) {
            Ok(record) => Ok(record.is_none()),
            Err(err) => damage(err).map(|_| false),
        }
    }

    fn names(&mut self) -> Result<()> {
        let names = match self.store.names() {
            Ok(names) => names,
            Err(err) => {
                let err = damage(err)?;
                let how = "removed, all images lost their names";
                return self.repair_problem(describe(&err), how, |store| store.write_names(&BTreeMap::new()));
            }
        };
        for (name, id) in &names {
            if self.has_no_record(id)? {
                let what = format!("name {name}: its image {id} is missing");
                self.repair_problem(what, "removed", |store| store.untag(name))?;
            }
        }
        Ok(())
    }

    fn layers(&mut self, images: &[ImageRecord]) -> Result<()> {
        let driver = self.store.driver();
        for layer in driver.layers()?.into_iter().filter(|layer| !driver.has(layer)) {
            self.repair_problem(format!("layer {layer}: its tree is missing"), "removed", |_| driver.remove(&layer))?;
        }
        for image in images {
            let chain = if driver.keeps_each() { image.chain_ids() } else { image.chain.iter().cloned().collect() };
            if chain.iter().all(|layer| driver.has(layer)) {
                continue;
            }
            let what = format!("image {}: not all of its layers are unpacked", image.id);
            self.repair_problem(what, "unpacked", |store| store.unpack(&image.layers, &|_, _| {}).map(|_| ()))?;
        }
        Ok(())
    }
}

impl Checker<'_> {
    /// Compares the tree of each layer with a new one, lowest first, and replaces it by that if it differs.
    fn trees(&mut self, images: &[ImageRecord]) -> Result<()> {
        // whether each is whole
        let mut seen = BTreeMap::new();
        for image in images {
            // an image whose blobs are damaged is kept for a container, and was reported
            if image.layers.iter().any(|layer| self.blobs.get(&layer.blob) == Some(&false)) {
                continue;
            }
            let chain = image.chain_ids();
            let first = if self.store.driver().keeps_each() { 0 } else { chain.len().saturating_sub(1) };
            for (number, id) in chain.iter().enumerate().skip(first) {
                if !seen.contains_key(id) {
                    let whole = self.tree(image, &chain, number);
                    seen.insert(
                        id.clone(),
                        whole.with_code(Code::ImageInvalid, || format!("layer {id}: verify its tree"))?,
                    );
                }
                // those above would be built on a damaged tree
                if seen.get(id) == Some(&false) {
                    break;
                }
            }
        }
        self.store.sync()
    }

    /// Compares one tree; returns whether it is whole now. A repair marks one that is, because the mark may have been
    /// lost.
    fn tree(&mut self, image: &ImageRecord, chain: &[Digest], number: usize) -> Result<bool> {
        let (store, Some(id)) = (self.store, chain.get(number)) else { return Ok(true) };
        // a missing one was reported
        if !store.driver().has(id) {
            return Ok(false);
        }
        let built = match store.rebuild(&image.layers, chain, number) {
            Ok(built) => built,
            // no space, or a read-only file system
            Err(err) => {
                self.found(format!("layer {id}: its tree was not verified: {}", describe(&err)), None);
                return Ok(false);
            }
        };
        let Some(path) = store.differs(&*built, id)? else {
            if self.repair && !store.is_whole(id) {
                store.note_layer(id)?;
            }
            return Ok(true);
        };
        let what = format!("layer {id}: its tree is damaged at {path:?}");
        if let Some(name) = store.mounted_on(id)? {
            self.found(format!("{what} (kept: container {name} uses it, stop that first)"), None);
            return Ok(false);
        }
        self.repair_problem(what, "unpacked again", |store| {
            store.driver().remove(id)?;
            built.finish(id)?;
            store.note_layer(id)
        })?;
        Ok(self.repair)
    }
}

/// Returns whether an image's record, manifest and configuration match.
fn fits(record: &ImageRecord, manifest: &[u8], config: &[u8]) -> Result<bool> {
    let (manifest, config) = (manifest::parse_manifest(manifest)?, manifest::parse_config(config)?);
    let diff_ids = manifest::diff_ids(&config)?;
    Ok(manifest::digest_of(manifest.config())? == record.id
        && record.layers.iter().map(|layer| &layer.diff_id).eq(&diff_ids)
        && record.chain == record.chain_ids().pop())
}

/// Passes on an error that tells of damage; one that tells only that a file could not be read now (no descriptors, no
/// memory, no permission, a device that fails) ends the check, because a repair would remove what is intact.
///
/// # Errors
/// That error.
fn damage(err: anyhow::Error) -> Result<anyhow::Error> {
    let number = err.chain().find_map(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        io.or_else(|| cause.downcast_ref::<nix::Error>().map(|errno| *errno as i32))
    });
    match number {
        // another kind of file has the name
        None | Some(libc::ENOENT | libc::EISDIR | libc::ENOTDIR | libc::ELOOP | libc::ENXIO) => Ok(err),
        Some(_) => Err(err),
    }
}

/// Removes a record, even an unreadable one, and its names.
fn forget(store: &Store, id: &Digest) -> Result<()> {
    let _records = store.records()?;
    store.forget(id)
}
