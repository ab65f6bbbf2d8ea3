//! Reading the hooks of a configuration.

use anyhow::Result;
use oci_spec::runtime::Spec;

use crate::hook::Hooks;
use crate::hook::Output;
use crate::plan;
use crate::plan::hook::HookState;
use crate::plan::hook::HooksPlan;

/// Returns the hooks of a configuration, with the files that its annotations name for their output.
///
/// # Errors
/// An annotation is invalid.
pub(super) fn hooks(spec: &Spec) -> Result<HooksPlan> {
    let mut hooks = without_files(spec);
    hooks.output = plan::annotation::read(spec)?.hook_output;
    Ok(hooks)
}

/// Returns the hooks of an existing container. When an output file cannot be opened they run without the files.
pub(super) fn hooks_for_existing(spec: &Spec, hook_state: HookState) -> Hooks {
    let opened = hooks(spec).and_then(|plan| Ok((Output::open(&plan.output)?, plan)));
    let (output, plan) = opened.unwrap_or_else(|_| (Output::default(), without_files(spec)));
    Hooks { plan, output, hook_state }
}

fn without_files(spec: &Spec) -> HooksPlan {
    let env = spec.process().as_ref().and_then(|process| process.env().clone()).unwrap_or_default();
    plan::hook::plan(spec.hooks().as_ref(), &env)
}
