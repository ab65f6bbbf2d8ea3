//! OCI bundles, which any low-level runtime starts: of a directory, or of a container that is kept elsewhere.
//!
//! Made aside and renamed: a bundle is there whole or not at all, and an existing one is never touched.

use std::ffi::OsString;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::copy::copy_tree;
use super::driver::remove::remove_tree;
use crate::spec;

/// Makes the bundle `bundle` with a copy of `dir` as its root file system and the default configuration.
///
/// # Errors
/// `bundle` exists or lies inside `dir`, or something could not be copied; then nothing is left.
pub fn make(dir: &Path, bundle: &Path) -> Result<()> {
    if !std::fs::metadata(dir).with_context(|| format!("{dir:?}"))?.is_dir() {
        bail!("{dir:?}: not a directory");
    }
    let aside = begin(bundle)?;
    if aside.0.canonicalize()?.starts_with(dir.canonicalize()?) {
        bail!("{bundle:?} lies inside {dir:?}: the copy would hold itself");
    }
    copy_tree(dir, &aside.0.join("rootfs"))?;
    let config = serde_json::to_vec_pretty(&default_config())?;
    std::fs::write(aside.0.join("config.json"), config).context("write config.json")?;
    publish(&aside, bundle)
}

/// Begins a bundle at `bundle`.
///
/// # Errors
/// Something is there already.
pub fn begin(bundle: &Path) -> Result<Aside> {
    if bundle.symlink_metadata().is_ok() {
        bail!("{bundle:?}: already exists");
    }
    Aside::beside(bundle)
}

/// Finishes a bundle of a container that is kept elsewhere: its configuration, which names the tree by its whole path,
/// and for people a link to the tree.
///
/// # Errors
/// The container has no configuration, or somebody made `bundle` meanwhile.
pub fn link(aside: &Aside, container: &Path, bundle: &Path) -> Result<()> {
    let source = container.join("config.json");
    let config = std::fs::read(&source).with_context(|| format!("read {source:?}"))?;
    let value: serde_json::Value = serde_json::from_slice(&config).with_context(|| format!("{source:?}"))?;
    let rootfs = value.pointer("/root/path").and_then(serde_json::Value::as_str);
    let rootfs = rootfs.with_context(|| format!("{source:?} names no root"))?;
    std::os::unix::fs::symlink(rootfs, aside.0.join("rootfs")).context("link to the root file system")?;
    std::fs::write(aside.0.join("config.json"), config).context("write config.json")?;
    publish(aside, bundle)
}

fn publish(aside: &Aside, bundle: &Path) -> Result<()> {
    // ids of a user namespace have to reach the root file system
    std::fs::set_permissions(&aside.0, Permissions::from_mode(0o755))?;
    renameat2(AT_FDCWD, &aside.0, AT_FDCWD, bundle, RenameFlags::RENAME_NOREPLACE)
        .with_context(|| format!("rename the finished bundle to {bundle:?}"))
}

/// Removes a bundle of a directory, with its copy.
///
/// # Errors
/// It is no bundle, or something is mounted in it.
pub fn remove(bundle: &Path) -> Result<()> {
    let is_bundle =
        bundle.join("config.json").is_file() && bundle.join("rootfs").symlink_metadata().is_ok_and(|m| m.is_dir());
    if !is_bundle {
        bail!("{bundle:?}: is no bundle");
    }
    remove_tree(bundle)
}

fn default_config() -> serde_json::Value {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let rootless = (!uid.is_root()).then(|| (uid.as_raw(), gid.as_raw()));
    let cgroup_v2 = statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    spec::default_config(rootless, cgroup_v2)
}

/// A directory beside the bundle-to-be, removed when it was not renamed.
#[derive(Debug)]
pub struct Aside(PathBuf);

impl Aside {
    fn beside(bundle: &Path) -> Result<Self> {
        let name = bundle.file_name().with_context(|| format!("{bundle:?}: not a name for a directory"))?;
        let mut aside = OsString::from(".");
        aside.push(name);
        aside.push(format!(".partial.{}", std::process::id()));
        let aside = bundle.with_file_name(aside);
        DirBuilder::new().mode(0o700).create(&aside).with_context(|| format!("make {aside:?}"))?;
        Ok(Self(aside))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // after the rename there is nothing under this name, and nobody left to tell about an error before it
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
