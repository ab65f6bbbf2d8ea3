//! The cgroup mounts of this machine. `cgroup::plan` chooses the path of a container.
//!
//! On v2 one statfs(2) is enough. On v1 `/proc/self/cgroup` lists the hierarchies, and each is looked up at its default
//! mount point. `/proc/self/mountinfo` is read only when one is not there, because its cost grows with the mounts of
//! the host.

use base::error::{Code, Coding as _};
use std::io;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};

use super::files::try_read;
use super::proc::{self, Membership};
use base::mountinfo;
use base::mountinfo::Mount;

/// The default mount point of cgroup v2, and the parent directory of the v1 mounts.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";

/// The versions and hierarchies that are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// cgroup v2 at `/sys/fs/cgroup`.
    Unified,
    /// v1 hierarchies, each with a mount of its own; in a hybrid layout one of them is a cgroup v2 mount.
    Legacy(Vec<Hierarchy>),
    /// No cgroup file system.
    None,
}

/// One mounted hierarchy of a v1 or hybrid layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// The mount point.
    pub mount: String,
    /// The controllers as in `/proc/self/cgroup` (`cpu`, `name=systemd`); empty for v2.
    pub controllers: Vec<String>,
    /// The cgroup v2 mount of a hybrid layout.
    pub unified: bool,
}

/// Detects the layout of this machine.
///
/// # Errors
/// A mount or a file of procfs that cannot be read.
pub(crate) fn detect() -> Result<Layout> {
    match file_system(MOUNT) {
        Ok(CGROUP2_SUPER_MAGIC) => return Ok(Layout::Unified),
        Ok(_) => {}
        Err(Errno::ENOENT) => return Ok(Layout::None),
        Err(errno) => return Err(errno).with_context(|| format!("statfs {MOUNT}")),
    }
    let own = "/proc/self/cgroup";
    let list = match try_read(own) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Layout::None), // a kernel without cgroups
        list => list.with_context(|| format!("read {own}"))?,
    };
    let mut mounts = None;
    let mut found = Vec::new();
    for (controllers, unified) in hierarchies(&list) {
        let mount = match default_mount_point(&controllers, unified)? {
            Some(mount) => Some(mount),
            None if unified => None,
            None => {
                let table = match &mounts {
                    Some(table) => table,
                    None => mounts.insert(mountinfo::read("/proc/self/mountinfo").context("read mountinfo")?),
                };
                mount_of(table, &controllers)
            }
        };
        if let Some(mount) = mount {
            found.push(Hierarchy { mount, controllers, unified });
        }
    }
    Ok(if found.is_empty() { Layout::None } else { Layout::Legacy(found) })
}

/// Returns the path of the calling process in the v2 hierarchy; `None` without that hierarchy.
pub(crate) fn own_unified_path() -> Result<Option<String>> {
    let list = try_read("/proc/self/cgroup").code(Code::CgroupFailed, "read /proc/self/cgroup")?;
    Ok(proc::unified_path(list.as_bytes()).map(|path| String::from_utf8_lossy(path).into_owned()))
}

fn file_system(path: &str) -> nix::Result<FsType> {
    statfs(path).map(|fs| fs.filesystem_type())
}

/// Lists the hierarchies, oldest first: controllers, and whether the hierarchy is v2.
pub(super) fn hierarchies(list: &str) -> Vec<(Vec<String>, bool)> {
    let of = |line: Membership<'_>| (line.controllers.into_iter().map(str::to_owned).collect(), line.unified);
    // the kernel lists the newest first
    proc::parse(list.as_bytes()).into_iter().rev().map(of).collect()
}

fn default_mount_point(controllers: &[String], unified: bool) -> Result<Option<String>> {
    let joined = controllers.join(",");
    let name = if unified { "unified" } else { joined.strip_prefix("name=").unwrap_or(&joined) };
    let mount = format!("{MOUNT}/{name}");
    let wanted = if unified { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC };
    match file_system(&mount) {
        Ok(found) => Ok((found == wanted).then_some(mount)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        // not "no such hierarchy": the container would stay in the caller's cgroup there
        Err(errno) => Err(errno).with_context(|| format!("statfs {mount}")),
    }
}

/// Returns the mount point, in the mount table, of the v1 hierarchy with these controllers.
fn mount_of(table: &[Mount], controllers: &[String]) -> Option<String> {
    let has_all = |mount: &&Mount| controllers.iter().all(|name| mount.has_super_option(name));
    let mut mounts = table.iter().filter(|mount| mount.fs_type == b"cgroup").filter(has_all);
    // the record of a container can only hold UTF-8
    mounts.find_map(|mount| mount.mount_point.to_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::fs;

    #[test]
    fn hybrid_hierarchies_are_read_in_order() {
        let list = "3:name=systemd:/\n2:cpu,cpuacct:/a:b\n1:memory:/x\n0::/\n";
        let expected = [(vec![], true), (vec!["memory"], false), (vec!["cpu", "cpuacct"], false)];
        let found = hierarchies(list);
        assert_eq!(found.len(), 4);
        for (got, want) in found.iter().zip(expected) {
            assert_eq!((got.0.iter().map(String::as_str).collect::<Vec<_>>(), got.1), want);
        }
        assert_eq!(found.last().unwrap().0, ["name=systemd"]);
    }

    #[test]
    fn an_unusual_mount_point_is_found_in_mountinfo() {
        let table = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                     32 31 0:29 / /cg/both rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
                     33 31 0:30 / /cg/sd rw,relatime shared:9 - cgroup cgroup rw,xattr,name=systemd\n";
        let table = &mountinfo::parse(table);
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(mount_of(table, &names(&["cpuacct", "cpu"])).as_deref(), Some("/cg/both"));
        assert_eq!(mount_of(table, &names(&["name=systemd"])).as_deref(), Some("/cg/sd"));
        assert_eq!(mount_of(table, &names(&["memory"])), None);
    }

    #[test]
    fn this_machine_has_a_layout_that_agrees_with_proc() {
        match detect().unwrap() {
            Layout::Legacy(list) => {
                assert!(list.iter().all(|h| h.unified == h.controllers.is_empty()));
                assert!(list.iter().all(|h| fs::metadata(format!("{}/cgroup.procs", h.mount)).is_ok()));
            }
            Layout::Unified => assert!(fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok()),
            Layout::None => assert!(fs::metadata("/sys/fs/cgroup/cgroup.procs").is_err()),
        }
    }
}
