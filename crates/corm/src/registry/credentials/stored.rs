//! Changes of a file of credentials: what `login` and `logout` write, in the form of containers-auth.json(5).
//!
//! The file is replaced by one rename and has mode 0600; what other tools keep in it stays. A lock on its directory
//! keeps two of our own writers apart.

use base::coded;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde_json::{Map, Value, json};

use super::{Credentials, DOCKER_HUB, Helper, MAX_FILE, entry, helper_of, normalized, read, server, store_of};
use base::fs::lock::{How, Locked, lock};
use base::fs::staging::{StagedEntry, sweep_beside};
use linux::open::openat;
use linux::place::Place;

/// A file of credentials that this process changes; other processes of corm wait meanwhile.
pub struct AuthFile {
    path: PathBuf,
    place: Place,
    document: Map<String, Value>,
    _lock: Locked,
}

impl AuthFile {
    /// Locks and reads the file, which need not exist.
    ///
    /// # Errors
    /// Its directory cannot be created, or it is no JSON object.
    pub fn open(path: &Path) -> Result<Self> {
        let context = || format!("credentials in {path:?}");
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(context)?;
        }
        // a symlink is followed to the file that is to be replaced
        let place = Place::resolve(path).with_context(context)?;
        if place.stat().with_context(context)?.is_some_and(|stat| stat.st_mode & libc::S_IFMT != libc::S_IFREG) {
            bail!(coded!(RegistryConfig, "{}: not a regular file", context()));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = openat(place.dir(), ".", flags, Mode::empty()).map(File::from).with_context(context)?;
        let held = lock(dir, How::Exclusive).with_context(context)?;
        // a login that was killed has left one
        sweep_beside(place.dir());
        let document = read(path).with_context(context)?;
        Ok(Self { path: path.to_owned(), place, document, _lock: held })
    }

    /// Stores the credentials of a registry, or of a namespace in it (`HOST/PATH`): by the helper that the file names,
    /// else in the file.
    ///
    /// # Errors
    /// The helper fails, or the file cannot be written; then it is unchanged.
    pub fn store(&mut self, key: &str, credentials: &Credentials) -> Result<()> {
        let (registry, _) = key.split_once('/').unwrap_or((key, ""));
        let new = match helper_of(&self.document, key)?.or_else(|| store_of(&self.document)) {
            Some(name) => {
                Helper::new(name)?.store(server(registry, key), credentials)?;
                // as Docker does, so that a list of logins has it
                json!({})
            }
            None => match credentials {
                Credentials::Password { user, password } => {
                    json!({ "auth": STANDARD.encode(format!("{user}:{}", password.expose())) })
                }
                Credentials::Identity(token) => json!({ "identitytoken": token.expose() }),
            },
        };
        if let Some(auths) = self.auths() {
            auths.retain(|name, _| !same(name, key));
        }
        match self.document.entry("auths").or_insert_with(|| json!({})) {
            Value::Object(auths) => drop(auths.insert(key.to_owned(), new)),
            _ => bail!(coded!(RegistryConfig, "credentials in {:?}: auths: not an object", self.path)),
        }
        self.write()
    }

    /// Removes the credentials of a registry or namespace; returns whether there were any.
    ///
    /// # Errors
    /// As [`AuthFile::store`].
    pub fn remove(&mut self, key: &str) -> Result<bool> {
        let (registry, _) = key.split_once('/').unwrap_or((key, ""));
        let mut removed = false;
        if let Some(name) = helper_of(&self.document, key)?.or_else(|| store_of(&self.document)) {
            let (helper, server) = (Helper::new(name)?, server(registry, key));
            // helpers answer the same to an erasure of nothing
            removed = helper.get(server)?.is_some() && helper.erase(server)?;
        }
        let had = entry(&self.document, key).map_or(true, |found| found.is_some());
        let before = self.auths().map_or(0, |auths| auths.len());
        if let Some(auths) = self.auths() {
            auths.retain(|name, _| !same(name, key));
        }
        if self.auths().map_or(0, |auths| auths.len()) != before {
            removed |= had;
            self.write()?;
        }
        Ok(removed)
    }

    /// Removes all credentials of the file and of the helpers that it names.
    ///
    /// # Errors
    /// As [`AuthFile::store`].
    pub fn remove_all(&mut self) -> Result<()> {
        let keys: BTreeSet<String> = self.auths().map(|auths| auths.keys().cloned().collect()).unwrap_or_default();
        if let Some(name) = store_of(&self.document) {
            let helper = Helper::new(name)?;
            for key in &keys {
                helper.erase(key)?;
            }
        }
        if let Some(Value::Object(helpers)) = self.document.get("credHelpers") {
            for (key, name) in helpers {
                let name = name.as_str().context("credHelpers: not the name of a helper")?;
                Helper::new(name)?.erase(server(key, key))?;
            }
        }
        self.document.remove("auths");
        self.write()
    }

    fn auths(&mut self) -> Option<&mut Map<String, Value>> {
        self.document.get_mut("auths").and_then(Value::as_object_mut)
    }

    /// Replaces the file by one with the new content, which is on the device before.
    fn write(&self) -> Result<()> {
        let context = || format!("credentials in {:?}", self.path);
        let mut text = serde_json::to_vec_pretty(&self.document)?;
        text.push(b'\n');
        if text.len() as u64 > MAX_FILE {
            bail!(coded!(RegistryConfig, "{}: would have more than {MAX_FILE} bytes", context()));
        }
        let staged = StagedEntry::file_beside(&self.place, 0o600, &|_| Ok(())).with_context(context)?;
        staged.file_ref().write_all(&text).with_context(context)?;
        staged.replace_at(&self.place).with_context(context)
    }
}

/// Returns whether an entry's name is that of the key, in whatever form tools write it.
fn same(name: &str, key: &str) -> bool {
    let (name, hub) = (normalized(name), |text: &str| DOCKER_HUB.contains(&text));
    name == key || hub(name) && hub(key)
}
