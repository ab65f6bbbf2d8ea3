//! Plans of the hooks of a configuration.

use std::path::Path;

use anyhow::Result;
use oci_spec::runtime::Spec;

use crate::hook::Hooks;
use crate::hook::Output;
use crate::plan;
use crate::plan::hook::HookState;
use crate::plan::hook::HooksPlan;

/// Plans the hooks of a configuration, with the files that its annotations name for their output.
///
/// # Errors
/// An annotation has an invalid value.
pub(super) fn hooks(spec: &Spec, bundle: &Path) -> Result<HooksPlan> {
    let mut hooks = plan::hook::plan(spec.hooks().as_ref(), bundle);
    hooks.output = plan::annotation::read(spec)?.hook_output;
    Ok(hooks)
}

/// Returns the hooks of a container that exists. Without the files for their output, if one of those cannot be opened,
/// because the hooks have to run all the same.
pub(super) fn hooks_for_existing(spec: &Spec, hook_state: HookState) -> Hooks {
    let opened = hooks(spec, &hook_state.bundle).and_then(|plan| Ok((Output::open(&plan.output)?, plan)));
    let without_files = |_| (Output::default(), plan::hook::plan(spec.hooks().as_ref(), &hook_state.bundle));
    let (output, plan) = opened.unwrap_or_else(without_files);
    Hooks { plan, output, hook_state }
}
