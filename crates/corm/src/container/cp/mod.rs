//! `cp`: copies between containers and the host, by Docker's and Podman's rules about what a path means.

mod tar;
mod tree;
mod view;
mod write;

use base::coded;
use std::ffi::{CString, OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::model::limits::Limits;
use tree::Copier;
pub use view::{Place, View, with_container};
pub use write::Rules;

/// A path as the caller gave it, which says more than where it leads: `/d`, `/d/` and `/d/.` differ.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The text.
    pub text: &'a str,
    /// Its absolute form.
    pub path: &'a Path,
    /// Name of the container for messages; `None` for the host.
    pub container: Option<&'a str>,
}

impl Given<'_> {
    /// Returns whether the content of a directory is meant, not the directory.
    fn is_content(&self) -> bool {
        self.text == "." || self.text.ends_with("/.")
    }

    /// Returns whether only a directory can be meant.
    fn must_be_dir(&self) -> bool {
        self.text.ends_with('/') || self.is_content()
    }

    /// Returns the name of its copy in another directory; empty for a directory without one.
    fn name(&self) -> OsString {
        match self.path.components().next_back() {
            Some(Component::Normal(name)) if !self.is_content() => name.to_owned(),
            _ => OsString::new(),
        }
    }

    fn missing(&self) -> anyhow::Error {
        let place = self.container.map_or("the host".to_owned(), |name| format!("container {name}"));
        anyhow::anyhow!(coded!(FileMissing, "{:?} could not be found on {place}: no such file or directory", self.text))
    }

    /// Finds an existing file.
    fn find(&self, view: &View<'_>) -> Result<Place> {
        let found = view.find(self.path)?.filter(|place| place.stat.is_some()).ok_or_else(|| self.missing())?;
        ensure!(found.is_dir() || !self.must_be_dir(), coded!(FileInvalid, "{:?}: is not a directory", self.text));
        Ok(found)
    }
}

/// Copies `from` to `to`. What was copied before an error stays.
///
/// # Errors
/// The source is missing, the destination does not fit it, or a file cannot be read or written.
pub fn copy(
    (source, from): (&View<'_>, Given<'_>),
    (view, to): (&View<'_>, Given<'_>),
    rules: Rules<'_>,
    warn: &dyn Fn(&str),
) -> Result<()> {
    let found = from.find(source)?;
    let target = view.find(to.path)?.ok_or_else(|| to.missing())?;
    let rules = Rules { from: source.mapping(), into: view.mapping(), ..rules };
    rules.become_root()?;
    let mut copier = Copier::new(rules, warn);
    let name = from.name();
    let context = || format!("copy {:?}", from.text);
    if found.is_dir() {
        let open = found.open_dir().with_context(context)?;
        if target.is_dir() {
            let into = target.open_dir()?;
            return if name.is_empty() {
                copier.fill(open, into).with_context(context)
            } else {
                copier.dir(open, (into.as_fd(), &CString::new(name.as_bytes())?)).with_context(context)
            };
        }
        if target.stat.is_some() && !rules.overwrite {
            bail!(coded!(FileInvalid, "destination must be a directory when copying a directory"));
        }
        return copier.dir(open, (target.dir.as_fd(), &target.name)).with_context(context);
    }
    let from = (found.dir.as_fd(), &*found.name);
    if target.is_dir() {
        let into = target.open_dir()?;
        return copier.file(from, (into.as_fd(), &CString::new(name.as_bytes())?)).with_context(context);
    }
    if to.must_be_dir() {
        return Err(if target.stat.is_some() {
            anyhow::anyhow!(coded!(FileInvalid, "{:?}: is not a directory", to.text))
        } else {
            to.missing()
        });
    }
    copier.file(from, (target.dir.as_fd(), &target.name)).with_context(context)
}

/// Writes `from` as a tar.
///
/// # Errors
/// The source is missing or cannot be read, or the output is closed.
pub fn to_tar(source: &View<'_>, from: Given<'_>, out: &mut dyn Write) -> Result<()> {
    let found = from.find(source)?;
    tar::write(&found, OsStr::from_bytes(from.name().as_bytes()), source.mapping(), out)
}

/// Extracts a tar into `to`, which must be a directory.
///
/// # Errors
/// It is none; the bytes are no tar; a file cannot be created.
pub fn from_tar(
    input: impl Read + Send,
    (view, to): (&View<'_>, Given<'_>),
    rules: &Rules<'_>,
    limits: &Limits,
    warn: &dyn Fn(&str),
) -> Result<()> {
    let found = view.find(to.path)?.filter(|place| place.stat.is_some()).ok_or_else(|| to.missing())?;
    ensure!(found.is_dir(), coded!(FileInvalid, "destination must be a directory when copying from stdin"));
    let rules = &Rules { into: view.mapping(), ..*rules };
    rules.become_root()?;
    // a volume of a stopped container is another tree
    let open = found.open_dir()?;
    tar::extract(open.as_fd(), input, rules, limits, warn)
}
