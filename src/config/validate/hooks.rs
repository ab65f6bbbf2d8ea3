//! `hooks`: all six lists, checked at create and not when a hook is about to run (HK-11).

use anyhow::{Result, bail};
use oci_spec::runtime::{Hook, Hooks, Spec};

use crate::config::enums;

pub(super) fn check(spec: &Spec) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for (kind, list) in enums::HOOKS.iter().zip(lists(hooks)) {
        for (index, hook) in list.iter().flatten().enumerate() {
            if !hook.path().is_absolute() {
                bail!("hooks.{kind}[{index}].path: {:?} is not an absolute path", hook.path());
            }
        }
    }
    Ok(())
}

/// The six lists in the order of [`enums::HOOKS`].
fn lists(hooks: &Hooks) -> [&Option<Vec<Hook>>; 6] {
    [
        #[allow(deprecated)] // by the specification; callers still write it
        hooks.prestart(),
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ]
}
