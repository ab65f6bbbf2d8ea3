//! External mounts for CRIU: a checkpoint has only their names, and a restore mounts them from the host again.
//!
//! The names are those of other runtimes: the destination, and `/dev/null` for masked files.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::context::{CgroupView, Hierarchy};
use super::mount::MountKind;
use super::rootfs::RootfsPlan;
use crate::config::path::clean;

/// A mount whose source is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    /// Mount point in the container, as configured.
    pub destination: PathBuf,
    /// Name in the images.
    pub name: PathBuf,
    /// Path of the source on the host.
    pub source: PathBuf,
    /// The mounts below the source are included.
    pub recursive: bool,
    /// The mount hides a file. A hidden directory is covered by a tmpfs, which is not external.
    pub mask: bool,
}

/// Path of the null device.
pub(crate) const NULL: &str = "/dev/null";

fn path(text: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.to_bytes()))
}

impl RootfsPlan {
    /// Lists the external mounts of all steps but those with an index in `skipped`. The list has every masked path,
    /// also directories and missing ones.
    pub(crate) fn externals(&self, skipped: &[usize]) -> Vec<External> {
        let mut found = Vec::new();
        for (_, step) in self.steps.iter().enumerate().filter(|(index, _)| !skipped.contains(index)) {
            let destination = clean(&path(&step.destination));
            match &step.kind {
                // a mount of the container itself is in the images
                MountKind::Bind(bind) if bind.inside.is_some() => {}
                MountKind::Bind(bind) => found.push(External {
                    name: destination.clone(),
                    destination,
                    source: path(&bind.source),
                    recursive: bind.recursive,
                    mask: false,
                }),
                MountKind::Cgroup => found.extend(self.cgroups(&destination)),
                _ => {}
            }
        }
        if self.user_ns {
            let devices = self.devices.iter().flatten().map(|device| clean(&path(&device.path)));
            found.extend(devices.map(|device| same(&device, device.clone(), false)));
        }
        found.extend(self.masked.iter().map(|masked| External {
            destination: clean(&path(masked)),
            name: PathBuf::from(NULL),
            source: PathBuf::from(NULL),
            recursive: false,
            mask: true,
        }));
        found
    }

    /// Lists the binds of a cgroup mount: without a cgroup namespace, or of cgroup v1.
    fn cgroups(&self, destination: &Path) -> Vec<External> {
        match &self.cgroup {
            CgroupView::Unified { .. } if self.cgroup_ns => Vec::new(),
            CgroupView::Unified { path } => {
                vec![same(destination, Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')), false)]
            }
            CgroupView::Legacy(hierarchies) => {
                let one = |Hierarchy { name, mount_point, path }: &Hierarchy| {
                    same(&destination.join(name), Path::new(mount_point).join(path.trim_start_matches('/')), false)
                };
                hierarchies.iter().map(one).collect()
            }
            CgroupView::None if self.cgroup_ns => Vec::new(),
            CgroupView::None => vec![same(destination, PathBuf::from("/sys/fs/cgroup"), true)],
        }
    }
}

fn same(destination: &Path, source: PathBuf, recursive: bool) -> External {
    External { destination: destination.to_owned(), name: destination.to_owned(), source, recursive, mask: false }
}
