//! New limits for a running container: either all are set, or the old ones are restored (UP-1).

use anyhow::{Context as _, Result};
use oci_spec::runtime::LinuxResources;

use super::apply::{SavedValue, check_usage, field, replace};
use super::resources::{self, Setting, Version, merge};
use super::{Cgroup, systemd};
use base::error::HasErrno as _;

impl Cgroup {
    /// Writes the changes of `update` to `current`, the container's recorded resources. The caller then records
    /// `resources::merge(current, update)`.
    ///
    /// # Errors
    /// A bad value, or a value that the kernel refuses; the old values are restored before.
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
            result = systemd::update(scope, &systemd::properties::from_settings(&settings));
            if result.is_ok() {
                // all once more, because systemd has written its own values, such as a quota rounded to percents
                let all = resources::settings(&merged, version)?.list;
                result = write_all(self, &all, &mut Vec::new());
            }
        }
        if result.is_err() {
            // values that depend on each other may need another order, as in `apply`
            let refused: Vec<&SavedValue> = done.iter().rev().filter(|old| !old.restore()).collect();
            for old in refused {
                old.restore();
            }
        }
        result
    }
}

/// Returns the settings that the update names, and those that follow: `memory.swap.max` changes with the memory limit.
fn changed(
    update: &LinuxResources,
    current: &LinuxResources,
    merged: &LinuxResources,
    version: Version,
) -> Result<Vec<Setting>> {
    let before = resources::settings(current, version).map(|settings| settings.list).unwrap_or_default();
    let named = named_fields(update);
    let settings = resources::settings(merged, version)?.list;
    Ok(settings
        .into_iter()
        .filter(|setting| {
            let group = setting.field.split(['.', '[']).next().unwrap_or_default();
            !before.contains(setting) || named.iter().any(|name| *name == setting.field || *name == group)
        })
        .collect())
}

/// Returns the properties that the update names. They are written even when the record has the same value, because
/// another process may have changed the file.
fn named_fields(update: &LinuxResources) -> Vec<&'static str> {
    let mut fields = Vec::new();
    if let Some(memory) = update.memory() {
        let nonzero = |value: Option<i64>| value.is_some_and(|value| value != 0);
        fields.extend(nonzero(memory.limit()).then_some("memory.limit"));
        fields.extend(nonzero(memory.swap()).then_some("memory.swap"));
        fields.extend(nonzero(memory.reservation()).then_some("memory.reservation"));
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
