//! The hooks of a configuration, with the files open that its annotations name for their output.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use oci_spec::runtime::Spec;

use crate::plan;
use crate::sys::place::Place;

/// The hooks of a configuration, with the files open that its annotations name for their output.
///
/// # Errors
/// A file that cannot be opened or made, by its annotation.
pub(super) fn hooks(spec: &Spec) -> Result<plan::hook::HooksPlan> {
    let mut hooks = without_files(spec);
    let [out, err] = plan::annotation::read(spec)?.hook_output;
    // now and not by the hook: what its path means inside the container is the image's affair
    hooks.redirect(&[open_output("stdout", out)?, open_output("stderr", err)?]);
    Ok(hooks)
}

/// The hooks of a container that is there: a file that is no more must not keep them from being run.
pub(super) fn hooks_of_old(spec: &Spec) -> plan::hook::HooksPlan {
    hooks(spec).unwrap_or_else(|_| without_files(spec))
}

fn without_files(spec: &Spec) -> plan::hook::HooksPlan {
    let env = spec.process().as_ref().and_then(|process| process.env().clone()).unwrap_or_default();
    plan::hook::plan(spec.hooks().as_ref(), &env)
}

fn open_output(name: &str, path: Option<PathBuf>) -> Result<Option<Arc<File>>> {
    let Some(path) = path else { return Ok(None) };
    let open = || -> std::io::Result<File> {
        let file = Place::find(&path)?.append(0o600)?;
        // a hook that writes to a fifo waits for its reader
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(file)
    };
    Ok(Some(Arc::new(open().with_context(|| format!("annotations[\"run.oci.hooks.{name}\"]: {path:?}"))?)))
}
