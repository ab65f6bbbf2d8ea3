//! What `list` needs of a cgroup's record: borrowed from its text, because there can be thousands.

use std::borrow::Cow;
use std::fmt;

use anyhow::Result;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::freeze::Freezer;
use super::record::{Scope, is_below_root, is_usual_mount};
use super::systemd::name;

/// The record of a cgroup, as far as it decides whether the container is frozen.
#[derive(Debug, Deserialize)]
pub(crate) struct CgroupSummary<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    dirs: Vec<Dir<'a>>,
    #[serde(default)]
    scope: Option<Scope>,
}

/// A directory of the record.
#[derive(Debug, Deserialize)]
struct Dir<'a> {
    #[serde(borrow)]
    mount: Cow<'a, str>,
    /// The v1 freezer is one of its controllers.
    #[serde(default, rename = "controllers", deserialize_with = "has_freezer")]
    freezer: bool,
    #[serde(default)]
    unified: bool,
    created_depth: usize,
}

impl CgroupSummary<'_> {
    /// Returns whether the record passes the check of `CgroupRecord` without a system call.
    pub(crate) fn is_usual(&self) -> bool {
        let is_dir = |dir: &Dir<'_>| {
            dir.created_depth <= self.path.bytes().filter(|byte| *byte == b'/').count() && is_usual_mount(&dir.mount)
        };
        is_below_root(&self.path)
            && self.dirs.iter().all(is_dir)
            && self.scope.as_ref().is_none_or(|scope| name::is_scope(&scope.unit))
    }

    /// Reports whether the container is frozen. `awake`: its process runs or sleeps so that signals wake it, which no
    /// process in a frozen v1 cgroup does.
    ///
    /// # Errors
    /// The cgroup cannot be read; the machine has no freezer, without an errno.
    pub(crate) fn is_frozen(&self, awake: bool) -> Result<bool> {
        let path_in = |dir: &Dir<'_>| format!("{}{}", dir.mount, self.path);
        if self.dirs.is_empty() || self.dirs.iter().any(|dir| dir.freezer) && awake {
            return Ok(false);
        }
        let find = |wanted: fn(&Dir<'_>) -> bool| self.dirs.iter().find(|dir| wanted(dir)).map(path_in);
        Freezer::choose(find(|dir| dir.freezer), || find(|dir| dir.unified))?.is(true)
    }

    /// Returns the name of the systemd unit.
    pub(crate) fn unit(&self) -> Option<&str> {
        self.scope.as_ref().map(|scope| scope.unit.as_str())
    }
}

/// Reads a list of controllers without keeping them.
fn has_freezer<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    struct Controllers;
    impl<'de> Visitor<'de> for Controllers {
        type Value = bool;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a list of controllers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some(name) = names.next_element::<&str>()? {
                found |= name == "freezer";
            }
            Ok(found)
        }
    }
    from.deserialize_seq(Controllers)
}
