//! `/etc/passwd` and `/etc/group` of a container whose user the image does not know: files of corm in their places, because
//! the image's tree, and every commit of it, keeps its own.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::config::settings::accounts::{Accounts, Who};
use base::users;

/// Writes the files into the container's directory and mounts them by its configuration. An image without a file keeps
/// none.
///
/// # Errors
/// No space; an entry that is none.
#[allow(clippy::disallowed_methods, reason = "no other user may write to a directory just created")]
pub(super) fn add(config: &mut Value, accounts: &Accounts, root: BorrowedFd<'_>, dir: &Path) -> Result<()> {
    let id = |name: &str| config.pointer(&format!("/process/user/{name}")).and_then(Value::as_u64).unwrap_or_default();
    let home = config.pointer("/process/cwd").and_then(Value::as_str).unwrap_or("/").to_owned();
    let who = Who { uid: u32::try_from(id("uid"))?, gid: u32::try_from(id("gid"))?, home: &home };
    for name in ["passwd", "group"] {
        let Some(of_image) = read(root, name) else { continue };
        let content =
            if name == "passwd" { accounts.passwd(&of_image, &who)? } else { accounts.group(&of_image, &who) };
        let destination = format!("/etc/{name}");
        let Some(mounts) = config["mounts"].as_array_mut().filter(|mounts| !has(mounts, &destination)) else {
            continue;
        };
        let Some(content) = content else { continue };
        let path = dir.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {path:?}"))?;
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, mode).with_context(|| format!("mode of {path:?}"))?;
        let options = json!(["bind", "rprivate", "nosuid", "nodev", "noexec"]);
        mounts.push(json!({"destination": destination, "type": "bind", "source": path, "options": options}));
    }
    Ok(())
}

/// Returns whether the caller mounts something there, or on a directory above.
fn has(mounts: &[Value], destination: &str) -> bool {
    let of = |mount: &Value| mount.get("destination").and_then(Value::as_str).map(str::to_owned);
    mounts.iter().filter_map(of).any(|place| place != "/" && Path::new(destination).starts_with(place))
}

/// Reads a regular file of the image's `/etc`; `None` for a missing or another one.
fn read(root: BorrowedFd<'_>, name: &str) -> Option<String> {
    let path = CString::new(format!("etc/{name}")).ok()?;
    // what is no list of users is left as it is
    users::read(root, &path).ok().and_then(|bytes| String::from_utf8(bytes).ok())
}
