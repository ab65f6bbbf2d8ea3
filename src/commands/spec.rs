//! `spec`: writes a template configuration.

use base::coded;
use std::io::Write as _;

use anyhow::{Context as _, Result, bail};

use crate::cgroup::layout;
use crate::cgroup::layout::Layout;
use crate::cli::args;
use crate::config;
use linux::place::Place;

/// Writes the file; never replaces an existing one.
pub(super) fn spec(args: &args::SpecArgs) -> Result<i32> {
    let path = args.file.clone().unwrap_or_else(|| "config.json".into());
    let path = args.bundle.join(path);
    let owner = args.rootless.then(|| (linux::process::euid(), nix::unistd::getegid().as_raw()));
    let unified = matches!(layout::detect(), Ok(Layout::Unified));
    let mut text = serde_json::to_string_pretty(&config::default_config(owner, unified))?;
    text.push('\n');
    let mut file = match Place::find(&path).and_then(|place| place.create_new(0o666)) {
        Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!(coded!(FileExists, "{path:?} exists: remove it first"))
        }
        other => other.with_context(|| format!("write {path:?}"))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("write {path:?}"))?;
    Ok(0)
}
