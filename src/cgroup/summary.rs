//! What `list` needs of a cgroup's record: borrowed from its text, because there can be thousands.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

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
    dirs: Dirs<'a>,
    #[serde(default)]
    scope: Option<Scope>,
}

/// What is needed of the record's directories, of which v1 has ten.
#[derive(Debug, Default)]
struct Dirs<'a> {
    /// There is a directory.
    any: bool,
    /// One is at an unusual place.
    unusual: bool,
    /// Greatest number of components of the path that croci removes.
    created_depth: usize,
    /// Mount point of the v1 freezer.
    freezer: Option<Cow<'a, str>>,
    /// Mount point of cgroup v2.
    unified: Option<Cow<'a, str>>,
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
        is_below_root(&self.path)
            && !self.dirs.unusual
            && self.dirs.created_depth <= self.path.bytes().filter(|byte| *byte == b'/').count()
            && self.scope.as_ref().is_none_or(|scope| name::is_scope(&scope.unit))
    }

    /// Reports whether the container is frozen. `awake`: its process runs or sleeps so that signals wake it, which no
    /// process in a frozen v1 cgroup does.
    ///
    /// # Errors
    /// The cgroup cannot be read; the machine has no freezer, without an errno.
    pub(crate) fn is_frozen(&self, awake: bool) -> Result<bool> {
        let Dirs { any, freezer, unified, .. } = &self.dirs;
        if !any || freezer.is_some() && awake {
            return Ok(false);
        }
        let path_in = |mount: &Cow<'_, str>| format!("{mount}{}", self.path);
        Freezer::choose(freezer.as_ref().map(path_in), || unified.as_ref().map(path_in))?.is(true)
    }

    /// Returns the name of the systemd unit.
    pub(crate) fn unit(&self) -> Option<&str> {
        self.scope.as_ref().map(|scope| scope.unit.as_str())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Dirs<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List<'a>(PhantomData<Dirs<'a>>);
        impl<'de: 'a, 'a> Visitor<'de> for List<'a> {
            type Value = Dirs<'a>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of directories")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Dirs<'a>, A::Error> {
                let mut dirs = Dirs::default();
                while let Some(Dir { mount, freezer, unified, created_depth }) = list.next_element()? {
                    dirs.any = true;
                    dirs.unusual |= !is_usual_mount(&mount);
                    dirs.created_depth = created_depth.max(dirs.created_depth);
                    // the first of each, as everywhere
                    if unified && dirs.unified.is_none() {
                        dirs.unified = Some(mount.clone());
                    }
                    if freezer && dirs.freezer.is_none() {
                        dirs.freezer = Some(mount);
                    }
                }
                Ok(dirs)
            }
        }
        from.deserialize_seq(List(PhantomData))
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
