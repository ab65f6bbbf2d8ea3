//! The plan: everything that can be decided before the clone, as data.
//!
//! The configuration, the machine and the command line become one [`ContainerPlan`]; nothing is parsed after the clone.
//! The plan is pure data: `opened` has the descriptors of what it names on the host. `runtime` (parent) and `init`
//! (child) execute it.

pub(crate) mod annotation;
pub(crate) mod context;
pub(crate) mod device;
pub(crate) mod external;
pub(crate) mod hook;
pub(crate) mod mount;
pub(crate) mod mount_options;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod rdt;
pub(crate) mod rootfs;
pub(crate) mod sysctl;

use crate::seccomp::Filter;

/// The work of the child, in the order of `init::run`.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    /// Container ID, which is also the name of the session keyring.
    pub id: String,
    /// The runtime is not root, so that it and its children may write to their procfs only while they are dumpable.
    pub unprivileged: bool,
    /// Namespaces to create and to join.
    pub namespaces: namespace::NamespacePlan,
    /// The process blocks until the parent has moved it into its cgroup.
    pub joins_cgroup_late: bool,
    /// Host name of the new UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name of the new UTS namespace.
    pub domainname: Option<String>,
    /// The network namespace is new, and its loopback interface is set up.
    pub loopback: bool,
    /// The root file system to build; `None` for `exec`.
    pub rootfs: Option<rootfs::RootfsPlan>,
    /// Kernel parameters of the container's namespaces.
    pub sysctl: Vec<sysctl::Sysctl>,
    /// The program; `None` for a configuration without `process`.
    pub process: Option<process::ProcessPlan>,
    /// The compiled seccomp filter.
    pub seccomp: Option<Filter>,
    /// The hooks of the container; the child runs two of the lists.
    pub hooks: hook::HooksPlan,
    /// The container's state for the hooks.
    pub hook_state: crate::plan::hook::HookState,
    /// The child waits between mounts and change of root, while the runtime runs hooks or moves network devices.
    pub hooks_after_mounts: bool,
    /// Number of descriptors from 3 on that the program inherits.
    pub preserve_fds: u32,
    /// The child compares what it created with the plan; off with `--no-verify`.
    pub self_check: bool,
}

impl ContainerPlan {
    /// Reports whether all that init needs of the host's mounts can be cloned before it leaves them, so that its mount
    /// namespace need not start as a copy of the runtime's. Hooks that run meanwhile look for the host's files there.
    pub(crate) fn can_leave_host_mounts(&self) -> bool {
        let hooks = self.hooks_after_mounts || !self.hooks.create_container.is_empty();
        let namespaces = &self.namespaces;
        namespaces.clone_flags & libc::CLONE_NEWNS != 0
            && !namespaces.own_user()
            && namespaces.pid.is_none()
            && !hooks
            && self.rootfs.as_ref().is_some_and(rootfs::RootfsPlan::can_leave_host_mounts)
    }
}
