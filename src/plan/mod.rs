//! The plan: everything that can be decided before the clone, as data.
//!
//! The configuration, the machine and the command line become one [`ContainerPlan`]; after the clone nothing is
//! parsed or looked up any more. It is pure data: what it names of the host is open in `opened`. Making what the plan says
//! is `runtime` (parent) and `init` (child).

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

/// What the child does, in the order of `init::run`.
#[derive(Debug)]
pub(crate) struct ContainerPlan {
    /// Container ID: name of the session keyring.
    pub id: String,
    /// The runtime is not root: what it and its children may write in procfs ends when they are not dumpable.
    pub unprivileged: bool,
    /// Namespaces made and joined.
    pub namespaces: namespace::NamespacePlan,
    /// The process is put into its cgroup after it was created, and waits for that.
    pub joins_cgroup_late: bool,
    /// Host name of the new UTS namespace.
    pub hostname: Option<String>,
    /// NIS domain name of the new UTS namespace.
    pub domainname: Option<String>,
    /// A new network namespace: its loopback interface is brought up.
    pub loopback: bool,
    /// The root file system; `exec` has none to make.
    pub rootfs: Option<rootfs::RootfsPlan>,
    /// Kernel parameters of the container's namespaces.
    pub sysctl: Vec<sysctl::Sysctl>,
    /// The program; a configuration may come without.
    pub process: Option<process::ProcessPlan>,
    /// The finished seccomp filter.
    pub seccomp: Option<Filter>,
    /// The hooks that the child runs, and what they are told.
    pub hooks: hook::HooksPlan,
    /// What hooks are told of the container.
    pub hook_state: crate::plan::hook::HookState,
    /// The runtime has work to do between mounts and the change of root: hooks or network devices.
    pub hooks_after_mounts: bool,
    /// This many descriptors from 3 on pass to the program.
    pub preserve_fds: u32,
    /// What was created is compared with the plan (not with `--no-verify`).
    pub self_check: bool,
}
