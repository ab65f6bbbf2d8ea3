//! The input of the root file system's plan besides the configuration.

use std::path::Path;

use crate::id_mapping::IdMappings;

/// Properties of the container and the caller that the plan of the root file system needs.
#[derive(Debug)]
pub(crate) struct RootfsContext<'a> {
    /// Absolute path of the bundle.
    pub bundle: &'a Path,
    /// The container has its own user namespace, new or joined.
    pub user_ns: bool,
    /// The container has its own mount namespace, new or joined; without one the root is changed by chroot(2).
    pub mount_ns: bool,
    /// The container has its own cgroup namespace.
    pub cgroup_ns: bool,
    /// The container's cgroup in the host's mounts.
    pub own_cgroup: CgroupView,
    /// `--no-pivot`: change the root without pivot_root(2).
    pub no_pivot: bool,
    /// User and group mappings of the container's user namespace.
    pub id_maps: (IdMappings, IdMappings),
    /// The file of the user namespace that the container joins.
    pub user_ns_path: Option<&'a Path>,
}

/// The container's cgroup in the host's mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CgroupView {
    /// cgroup v2 at /sys/fs/cgroup.
    Unified {
        /// Path of the container's cgroup below the mount.
        path: String,
    },
    /// Hierarchies of cgroup v1.
    Legacy(Vec<Hierarchy>),
    /// The container has no cgroup of its own.
    None,
}

/// A hierarchy of cgroup v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Name of the mount's directory: `cpu,cpuacct`, `systemd`.
    pub name: String,
    /// Mount point on the host.
    pub mount_point: String,
    /// Path of the container's cgroup below the mount point.
    pub path: String,
}
