//! The program of `--init`: the first process of the container, which passes signals on and reaps processes.

use base::coded;
use base::error::{Code, Coding as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Where the program is in the container.
pub(super) const PLACE: &str = "/run/corm-init";

/// Where Podman and Docker look for it, before `PATH`.
const DIRS: [&str; 6] = [
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/libexec/docker",
    "/usr/local/libexec/docker",
];

/// Names of programs without libraries, which run in every image.
const NAMES: [&str; 3] = ["catatonit", "docker-init", "tini-static"];

/// Finds the program: the caller's, else one of a Debian package.
///
/// # Errors
/// There is none.
pub(super) fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        let path = std::fs::canonicalize(given).with_code(Code::UsageValue, || format!("--init-path {given:?}"))?;
        ensure!(is_program(&path), coded!(UsageValue, "--init-path {given:?}: is no program"));
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = DIRS.iter().map(PathBuf::from).chain(std::env::split_paths(&path)).collect();
    let all = NAMES.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name)));
    all.into_iter().find(|file| file.is_absolute() && is_program(file)).code(
        Code::UsageValue,
        "--init: no catatonit, docker-init or tini-static was found (Debian packages: catatonit, tini)",
    )
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Returns the mount of the program, and puts it before the arguments of the process.
pub(super) fn apply(config: &mut Value, program: &Path) -> Value {
    if let Some(Value::Array(args)) = config["process"].get_mut("args") {
        args.splice(0..0, [json!(PLACE), json!("--")]);
    }
    json!({"destination": PLACE, "type": "bind", "source": program, "options": ["bind", "rprivate", "ro", "nosuid", "nodev"]})
}
