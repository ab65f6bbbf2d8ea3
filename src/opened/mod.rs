//! The descriptors that are open while a process of a container is created. The plan itself has none.
//!
//! `runtime` opens them; the child inherits them by clone3(2).

pub(crate) mod kernel_mounts;
pub(crate) mod namespaces;

use std::os::fd::OwnedFd;

use crate::hook::Hooks;
use crate::hook::Output;
use crate::plan::ContainerPlan;
use crate::plan::hook::HookState;
use crate::plan::hook::HooksPlan;
use crate::plan::namespace::Rule;
use crate::rootfs;
pub(crate) use namespaces::{Joined, Namespaces};

/// The way in which init waits for `start` and reports the error of execve(2).
#[derive(Debug)]
pub(crate) enum StartSync {
    /// The channel to the runtime, for `run` and `exec`.
    Channel,
    /// The fifo of the state directory, for a later `start`: init reads the byte that `start` writes, and writes the error
    /// of a failed execve; a successful one closes it.
    Fifo(OwnedFd),
}

/// The running process whose namespaces and root directory a further process of the container joins.
#[derive(Debug)]
pub(crate) struct JoinTarget {
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// `CLONE_NEW*` flags of the namespaces that one setns(2) call on the pidfd enters.
    pub flags: i32,
    /// Root directory of the further process, O_PATH; `None` when that is the root of the mount namespace.
    pub root: Option<OwnedFd>,
    /// `root` is an empty directory, in which the further process waits for the container's.
    pub awaits_root: bool,
}

/// The descriptors that were opened for a [`crate::plan::ContainerPlan`], and the facts read through them.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Root directory of the host's procfs.
    pub proc_dir: OwnedFd,
    /// Namespaces to join.
    pub namespaces: Namespaces,
    /// Namespaces that the self-check compares with those of the process.
    pub namespace_rules: Vec<Rule>,
    /// Files for the output of hooks.
    pub hook_output: Output,
    /// Descriptors of the root file system: its directory and the sources of mounts.
    pub rootfs: Option<rootfs::OpenedRootfs>,
    /// A mount namespace of few mounts, of which init's is a copy in the place of the runtime's; see [`kernel_mounts`].
    pub kernel_mounts: Option<OwnedFd>,
    /// The way in which init waits for `start`.
    pub start_sync: StartSync,
    /// cgroup v1: the `tasks` files to which the child writes `0`; see `Cgroup::join_fds`.
    pub cgroup_join: Vec<OwnedFd>,
    /// The process whose namespaces a helper joins.
    pub target: Option<JoinTarget>,
}

impl Opened {
    /// Removes and returns the warnings about configured protections that this host does not have.
    pub(crate) fn take_unprotected(&mut self, plan: &mut ContainerPlan) -> Vec<String> {
        let rootfs = self.rootfs.iter_mut().flat_map(|rootfs| rootfs.unprotected.drain(..));
        rootfs.chain(plan.process.iter_mut().flat_map(|process| process.unprotected.drain(..))).collect()
    }

    /// Closes every descriptor but those of later hooks, because an open root would keep its file system busy.
    pub(crate) fn into_hooks(self, plan: HooksPlan, hook_state: HookState) -> Hooks {
        Hooks { plan, output: self.hook_output, hook_state }
    }
}
