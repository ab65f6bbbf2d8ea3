//! What of a container's mounts belongs to the host: a checkpoint only names it, a restore gets it from the host again.
//!
//! The names are those that other runtimes use too: the destination, and `/dev/null` for masked files.

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::context::{CgroupView, Hierarchy};
use super::mount::MountKind;
use super::rootfs::RootfsPlan;
use crate::config::path::clean;

/// One such mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct External {
    /// Where it is in the container, as configured.
    pub destination: PathBuf,
    /// What it is called in the images.
    pub name: PathBuf,
    /// Path on the host.
    pub source: PathBuf,
    /// The mounts below the source belong to it.
    pub recursive: bool,
    /// It hides a file; a hidden directory is not the host's.
    pub mask: bool,
}

/// The null device.
pub(crate) const NULL: &str = "/dev/null";

fn path(text: &CStr) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(text.to_bytes()))
}

impl RootfsPlan {
    /// All of them, without the steps `left_out`; of the masked paths also those that are directories or are not there.
    pub(crate) fn externals(&self, left_out: &[usize]) -> Vec<External> {
        let mut found = Vec::new();
        for (_, step) in self.steps.iter().enumerate().filter(|(index, _)| !left_out.contains(index)) {
            let destination = clean(&path(&step.destination));
            match &step.kind {
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

    /// A cgroup mount that is a bind: without a cgroup namespace, or of cgroup v1.
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
