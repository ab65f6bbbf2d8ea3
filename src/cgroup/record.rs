//! What is recorded of a container's cgroup: its place in each hierarchy, and the systemd unit it belongs to.

use serde::{Deserialize, Serialize};

use super::layout;

/// One directory to be created, in one hierarchy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupDir {
    /// Mount point of the hierarchy.
    pub mount: String,
    /// Controllers of a v1 hierarchy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<String>,
    /// A v2 hierarchy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unified: bool,
    /// So many of the last components of the path are made by croci, and are croci's to remove; 0: the cgroup was there.
    pub made: usize,
}

/// What the state file keeps of the cgroup, and what the journal holds before anything is created.
///
/// The path is the same in every hierarchy. Without directories the container is in the cgroup of its creator.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupRecord {
    /// Below each mount point; begins with `/`, has no `.` or `..`.
    pub path: String,
    /// One for each hierarchy.
    pub dirs: Vec<CgroupDir>,
    /// The unit that it belongs to, when systemd makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// A container's unit, and how its manager is reached: later verbs are called without a word of either.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// `libpod-ID.scope`
    pub unit: String,
    /// The manager's socket.
    pub address: String,
    /// It is a user's manager.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user: bool,
}

impl CgroupDir {
    /// Whether the hierarchy has this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl CgroupRecord {
    /// The absolute path of the container's cgroup in one hierarchy.
    pub fn path_in(&self, dir: &CgroupDir) -> String {
        format!("{}{}", dir.mount, self.path)
    }

    /// How many directories lie between the mount point and the container's processes.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }

    /// cgroup v2 alone.
    pub fn is_pure_v2(&self) -> bool {
        matches!(self.dirs.as_slice(), [dir] if dir.unified && dir.mount == layout::MOUNT)
    }
}
