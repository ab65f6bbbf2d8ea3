//! What the plan of the root file system depends on besides the configuration.

use std::path::Path;

use crate::id_mapping::IdMappings;

/// What the plan depends on besides the configuration.
#[derive(Debug)]
pub(crate) struct RootfsContext<'a> {
    /// The bundle, absolute.
    pub bundle: &'a Path,
    /// The container has a user namespace of its own, new or joined.
    pub user_ns: bool,
    /// The container has a mount namespace of its own, new or joined; without one there is chroot only.
    pub mount_ns: bool,
    /// The container has a cgroup namespace of its own.
    pub cgroup_ns: bool,
    /// The container's cgroup as the host mounts it.
    pub own_cgroup: CgroupView,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// User and group mappings of the container's user namespace.
    pub id_maps: (IdMappings, IdMappings),
    /// The user namespace that is joined.
    pub user_ns_path: Option<&'a Path>,
}

/// Where the container's cgroup is mounted on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CgroupView {
    /// cgroup v2 at /sys/fs/cgroup.
    Unified {
        /// The container's cgroup below it.
        path: String,
    },
    /// Hierarchies of cgroup v1.
    Legacy(Vec<Hierarchy>),
    /// No cgroup of its own.
    None,
}

/// A hierarchy of cgroup v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Name of its directory: `cpu,cpuacct`, `systemd`.
    pub name: String,
    /// Where the host mounts it.
    pub mount_point: String,
    /// The container's cgroup in it.
    pub path: String,
}
