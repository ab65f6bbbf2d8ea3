//! The plan: everything that can be decided before the clone, as data.
//!
//! The configuration, the machine and the command line become one [`ContainerPlan`]; after the clone nothing is
//! parsed or looked up any more. Making what the plan says is `launch` (parent) and `init` (child).

pub mod annotation;
pub mod context;
pub mod device;
pub mod external;
pub mod hook;
pub mod mount;
pub mod mount_options;
pub mod namespace;
pub mod network;
pub mod process;
pub mod rdt;
pub mod rootfs;
pub mod sysctl;

use std::cell::RefCell;
use std::os::fd::OwnedFd;

use crate::seccomp::Filter;

/// Where init waits for the order to run the program, and tells how that went.
#[derive(Debug)]
pub enum Gate {
    /// On the channel to the runtime: `run` and `exec`.
    Channel,
    /// On the two fifos of the state directory, for a later `start`.
    Fifos {
        /// `start` writes a byte here.
        start: OwnedFd,
        /// Closed by the exec, or told the error.
        status: OwnedFd,
    },
}

/// A running process whose namespaces and root directory a further process takes on.
#[derive(Debug)]
pub struct Target {
    /// The process.
    pub pidfd: OwnedFd,
    /// `CLONE_NEW*` flags of the namespaces that are entered through it, in one call.
    pub flags: i32,
    /// The pid namespace of the further process, where it is not among `flags`.
    pub pid_namespace: Option<OwnedFd>,
    /// The root directory, O_PATH, where the mount namespace's own is not the container's.
    pub root: Option<OwnedFd>,
}

/// What the child does, in the order of `init::run`.
#[derive(Debug)]
pub struct ContainerPlan {
    /// Container ID: name of the session keyring.
    pub id: String,
    /// The runtime is not root: what it and its children may write in procfs ends when they are not dumpable.
    pub unprivileged: bool,
    /// Namespaces made and joined.
    pub namespaces: namespace::NamespacePlan,
    /// cgroup v1: files that take the child's pid.
    pub cgroup_join: RefCell<Vec<OwnedFd>>,
    /// The process is put into its cgroup after it was made, and waits for that.
    pub moved_later: bool,
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
    pub told: crate::plan::hook::Told,
    /// The runtime has work to do between mounts and the change of root: hooks or network devices.
    pub stop_after_mounts: bool,
    /// This many descriptors from 3 on pass to the program.
    pub preserve_fds: u32,
    /// What starts the program.
    pub gate: Gate,
    /// The host's `/proc`.
    pub proc_dir: OwnedFd,
    /// What the child's namespaces have to be; `None`: no self-check (`--no-verify`).
    pub self_check: bool,
    /// What the namespaces of the process have to be, where that is compared.
    pub namespace_rules: Vec<namespace::Rule>,
}

impl ContainerPlan {
    /// Protections that were asked for and that this host does not have.
    pub fn take_unprotected(&mut self) -> Vec<String> {
        let rootfs = self.rootfs.iter_mut().flat_map(|rootfs| rootfs.unprotected.drain(..));
        rootfs.chain(self.process.iter_mut().flat_map(|process| process.unprotected.drain(..))).collect()
    }
}
