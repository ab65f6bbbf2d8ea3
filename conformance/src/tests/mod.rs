//! The registry: one table of tests per area, each entry named by the requirement that it checks.

mod annotations;
mod block;
mod callers;
mod cgroup_path;
mod config;
mod config_values;
mod cpu;
mod device_nodes;
mod devices;
mod exec;
mod features;
mod features_linux;
mod hooks;
mod hooks_place;
mod identity;
mod idmaps;
mod kernel;
mod lifecycle;
mod limits;
mod listener;
mod memory;
mod mount_options;
mod mount_places;
mod mounts;
mod namespaces;
mod netdevices;
mod newer;
mod numa;
mod process;
mod program;
mod rdt;
mod rollback;
mod seccomp;
mod signals;
mod state;
mod sysctl;
mod unified;
mod update;

use anyhow::Result;

use crate::harness::Harness;

/// A requirement, and the function that checks it.
pub struct Test {
    /// The requirement's ID in docs/reference/spec-checklist.md.
    pub id: &'static str,
    /// The requirement in a few words.
    pub title: &'static str,
    /// The check: an error is a failure, a `verdict::Skip` means that this machine cannot show it.
    pub run: fn(&Harness) -> Result<()>,
}

impl Test {
    /// Returns whether one of the filters selects this test; an empty list selects all.
    pub fn matches(&self, filters: &[String]) -> bool {
        filters.is_empty()
            || filters.iter().any(|filter| {
                // "CL-1" is not "CL-10"
                self.id == filter || self.id.split('-').next() == Some(filter) || self.title.contains(filter.as_str())
            })
    }
}

/// Returns all tests, in the order in which they run.
pub fn all() -> impl Iterator<Item = &'static Test> {
    let areas: &[&[Test]] = &[
        lifecycle::TESTS,
        state::TESTS,
        signals::TESTS,
        rollback::TESTS,
        config::TESTS,
        config_values::TESTS,
        hooks::TESTS,
        hooks_place::TESTS,
        mounts::TESTS,
        mount_places::TESTS,
        mount_options::TESTS,
        devices::TESTS,
        device_nodes::TESTS,
        netdevices::TESTS,
        process::TESTS,
        program::TESTS,
        identity::TESTS,
        exec::TESTS,
        namespaces::TESTS,
        idmaps::TESTS,
        kernel::TESTS,
        features::TESTS,
        features_linux::TESTS,
        cgroup_path::TESTS,
        memory::TESTS,
        cpu::TESTS,
        block::TESTS,
        update::TESTS,
        seccomp::TESTS,
        sysctl::TESTS,
        listener::TESTS,
        unified::TESTS,
        numa::TESTS,
        rdt::TESTS,
        annotations::TESTS,
        callers::TESTS,
        limits::TESTS,
        newer::TESTS,
    ];
    areas.iter().copied().flatten()
}

#[cfg(test)]
mod registry {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_test_has_a_name_of_its_own() {
        let names: Vec<_> = all().map(|test| (test.id, test.title)).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for (id, title) in names {
            let (area, number) = id.split_once('-').unwrap_or_default();
            assert!(area.len() == 2 && number.parse::<u32>().is_ok(), "{id} {title}");
        }
    }

    #[test]
    fn a_filter_is_an_id_an_area_or_words() {
        let test = Test { id: "ST-1", title: "state is text", run: |_| Ok(()) };
        for (filter, fits) in [("ST-1", true), ("ST", true), ("is text", true), ("CL-10", false), ("S", false)] {
            assert_eq!(test.matches(&[filter.to_owned()]), fits, "{filter}");
        }
        assert!(test.matches(&[]));
    }
}
