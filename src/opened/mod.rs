//! All that is open while a process of a container is created: the descriptors beside the plan, which has none.
//!
//! `runtime` fills it; the process that becomes the container's gets it with its copy of the runtime's memory.

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

/// Where init waits for the order to run the program, and tells how that went.
#[derive(Debug)]
pub(crate) enum StartSync {
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
pub(crate) struct Target {
    /// The process.
    pub pidfd: OwnedFd,
    /// `CLONE_NEW*` flags of the namespaces that are entered through it, in one call.
    pub flags: i32,
    /// The root directory, O_PATH, where the mount namespace's own is not the container's.
    pub root: Option<OwnedFd>,
}

/// What was opened for a [`crate::plan::ContainerPlan`], and what was seen of it then.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The host's `/proc`.
    pub proc_dir: OwnedFd,
    /// The namespaces to join.
    pub namespaces: Namespaces,
    /// What the namespaces of the process have to be, where that is compared.
    pub namespace_rules: Vec<Rule>,
    /// Files that get the output of hooks.
    pub hook_output: Output,
    /// Of the root file system's plan.
    pub rootfs: Option<rootfs::OpenedRootfs>,
    /// What starts the program.
    pub gate: StartSync,
    /// cgroup v1: files that take the child's pid.
    pub cgroup_join: Vec<OwnedFd>,
    /// The process whose namespaces a helper takes on.
    pub target: Option<Target>,
}

impl Opened {
    /// Protections that were asked for and that this host does not have.
    pub(crate) fn take_unprotected(&mut self, plan: &mut ContainerPlan) -> Vec<String> {
        let rootfs = self.rootfs.iter_mut().flat_map(|rootfs| rootfs.unprotected.drain(..));
        rootfs.chain(plan.process.iter_mut().flat_map(|process| process.unprotected.drain(..))).collect()
    }

    /// Closes all but what hooks that run later need: above all the root, which would keep its file system busy.
    pub(crate) fn into_hooks(self, plan: HooksPlan, hook_state: HookState) -> Hooks {
        Hooks { plan, output: self.hook_output, hook_state }
    }
}
