//! The verbs of the sweep: what each needs, its command, and how its work is seen.

mod containers;
mod images;
mod others;

use std::path::Path;

use super::scene::Scene;
use test_support::*;

/// A verb.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Makes what the verb needs.
    pub(crate) prepare: fn(&Scene),
    /// The command.
    pub(crate) command: fn(&Scene) -> Cmd,
    /// Returns whether the verb has done its work.
    pub(crate) done: fn(&Scene, &Out) -> bool,
    /// The exit status of a verb that has done its work.
    pub(crate) code: i32,
    /// Whether files, processes and mounts are all that it can change of what `prepare` has made, which is used again
    /// while they do not change. A running container also has limits and can be frozen.
    pub(crate) again: bool,
}

/// A verb that makes an image `new`.
const IMAGE: Case = Case {
    name: "",
    prepare: |_| (),
    command: |_| unreachable!(),
    done: |s, _| s.has_image("new"),
    code: 0,
    again: true,
};

/// A verb of a container that runs.
const RUNNING: Case = Case { prepare: |s| s.start(), done: |_, _| true, again: false, ..IMAGE };

/// A verb that looks at a container that runs.
const LOOKS: Case = Case { done: |_, out| !out.stdout.is_empty(), again: true, ..RUNNING };

/// A verb that prints.
const PRINTS: Case = Case { prepare: |_| (), ..LOOKS };

/// Returns all verbs.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    [images::CASES, containers::CASES, others::CASES].into_iter().flatten()
}
