//! New limits for a living container: all of them, or the old ones again (UP-1).

use anyhow::{Context as _, Result};
use oci_spec::runtime::LinuxResources;

use super::apply::{SavedValue, check_usage, field, replace};
use super::resources::{self, Setting, Version, merge};
use super::{Cgroup, systemd};
use base::error::HasErrno as _;

impl Cgroup {
    /// Writes what `update` asks for on top of `current`, the container's recorded resources. The record that must then
    /// be saved is `resources::merge(current, update)`.
    ///
    /// # Errors
    /// A bad value or a refusal of the kernel, after the old values are back.
    pub(crate) fn update(&self, update: &LinuxResources, current: &LinuxResources) -> Result<()> {
        let version = if self.record.is_pure_v2() { Version::V2 } else { Version::V1 };
        let merged = merge(current, update);
        let settings = changed(update, current, &merged, version)?;
        if merged.memory().is_some_and(|memory| memory.check_before_update() == Some(true)) {
            settings.iter().try_for_each(|setting| check_usage(self, setting))?;
        }
        let mut done = Vec::new();
        let mut result = write_all(self, &settings, &mut done);
        if let (Ok(()), Some(scope), Version::V2) = (&result, &self.record.scope, version) {
            result = systemd::update(scope, &systemd::properties::of_settings(&settings));
            if result.is_ok() {
                // once more, and all: systemd has written them in its own way, a quota rounded to percents
                let all = resources::settings(&merged, version)?.list;
                result = write_all(self, &all, &mut Vec::new());
            }
        }
        if result.is_err() {
            // values that hang together may need another order than the one they were written in: as in `apply`
            let refused: Vec<&SavedValue> = done.iter().rev().filter(|old| !old.restore()).collect();
            for old in refused {
                old.restore();
            }
        }
        result
    }
}

/// What is asked for, and what follows from it: `memory.swap.max` changes with the limit of memory.
fn changed(
    update: &LinuxResources,
    current: &LinuxResources,
    merged: &LinuxResources,
    version: Version,
) -> Result<Vec<Setting>> {
    let before = resources::settings(current, version).map(|settings| settings.list).unwrap_or_default();
    let asked = asked_fields(update);
    let settings = resources::settings(merged, version)?.list;
    Ok(settings
        .into_iter()
        .filter(|setting| {
            let group = setting.field.split(['.', '[']).next().unwrap_or_default();
            !before.contains(setting) || asked.iter().any(|name| *name == setting.field || *name == group)
        })
        .collect())
}

/// The properties that the update names: written even when the record has the same value, because another process may have changed
/// the file. Lists are taken whole.
fn asked_fields(update: &LinuxResources) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if let Some(memory) = update.memory() {
        let given = |value: Option<i64>| value.is_some_and(|value| value != 0);
        fields.extend(given(memory.limit()).then_some("memory.limit"));
        fields.extend(given(memory.swap()).then_some("memory.swap"));
        fields.extend(given(memory.reservation()).then_some("memory.reservation"));
    }
    if let Some(cpu) = update.cpu() {
        fields.extend(cpu.shares().is_some_and(|shares| shares != 0).then_some("cpu.shares"));
        fields.extend(cpu.quota().is_some_and(|quota| quota != 0).then_some("cpu.quota"));
        fields.extend(cpu.period().is_some_and(|period| period != 0).then_some("cpu.period"));
    }
    fields.extend(update.pids().is_some().then_some("pids"));
    fields.extend(update.unified().is_some().then_some("unified"));
    fields
}

fn write_all(cgroup: &Cgroup, settings: &[Setting], done: &mut Vec<SavedValue>) -> Result<()> {
    let mut refused = Vec::new();
    for setting in settings {
        match replace(cgroup, setting) {
            Ok(old) => done.extend(old),
            Err(err) if err.is_errno(&[libc::EINVAL]) => refused.push(setting),
            Err(err) => return Err(err.context(field(setting))),
        }
    }
    for setting in refused {
        done.extend(replace(cgroup, setting).with_context(|| field(setting))?);
    }
    Ok(())
}
