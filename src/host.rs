//! Facts about this machine and this process, each probed once, when first asked.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::sys;

/// `/proc` of the host, by descriptor: it stays reachable and genuine after the root has changed (SEC-4).
///
/// # Errors
/// `/proc` is not procfs.
pub fn proc_dir() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let fd = open("/proc", flags, Mode::empty()).context("open \"/proc\"")?;
    if fstatfs(&fd).context("statfs \"/proc\"")?.filesystem_type() != PROC_SUPER_MAGIC {
        bail!("\"/proc\" is not a proc file system");
    }
    Ok(fd)
}

/// Whether this process is in the user namespace that the machine booted with.
pub fn in_initial_user_namespace() -> bool {
    // the one map that covers all ids belongs to the initial namespace; no procfs: assume the plain case
    fs::read_to_string("/proc/self/uid_map")
        .map_or(true, |map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]))
}

/// Whether setgroups(2) is forbidden in this user namespace, and so in all below it.
pub fn setgroups_denied() -> bool {
    // never in the initial one
    rootless() && fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim_end() == "deny")
}

/// Whether croci lacks the machine's root privileges. Several parts of a plan ask; procfs is read for the first.
pub fn rootless() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| sys::process::euid() != 0 || !in_initial_user_namespace())
}

/// Where the state of containers is kept when no `--root` is given: by who croci is, not by what the environment says
/// (callers give root an empty or a foreign `XDG_RUNTIME_DIR`).
///
/// # Errors
/// An unprivileged user without `XDG_RUNTIME_DIR`.
pub fn default_root() -> Result<PathBuf> {
    if !rootless() {
        return Ok(PathBuf::from("/run/croci"));
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => Ok(PathBuf::from(dir).join("croci")),
        None if sys::process::euid() == 0 => Ok(PathBuf::from("/run/croci")),
        None => bail!("XDG_RUNTIME_DIR is not set: give the state directory with --root"),
    }
}

/// The user name of `uid` on the host, for `state` and `list`; empty where there is none.
pub fn user_name(uid: u32) -> String {
    let passwd: io::Result<String> = fs::read_to_string("/etc/passwd");
    let find = |text: &str| -> Option<String> {
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
        })
    };
    passwd.ok().and_then(|text| find(&text)).unwrap_or_default()
}
