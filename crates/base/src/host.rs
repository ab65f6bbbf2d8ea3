//! Facts about the machine and this process, each probed once, at the first use.

use crate::coded;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::{fs, io};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, PROC_SUPER_MAGIC, fstatfs, statfs};

use crate::run_dir;
use linux::open::open;

/// Returns a descriptor of the host's `/proc`: it stays reachable and genuine after the root has changed (SEC-4).
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

/// Returns whether this host's cgroups are those of v2 alone, by the file system at /sys/fs/cgroup.
///
/// # Errors
/// As statfs(2); without that directory there are no cgroups.
pub fn cgroup_v2() -> Result<bool> {
    match statfs("/sys/fs/cgroup") {
        Err(nix::Error::ENOENT) => Ok(false),
        found => Ok(found.context("statfs \"/sys/fs/cgroup\"")?.filesystem_type() == CGROUP2_SUPER_MAGIC),
    }
}

/// Returns whether this process is in the initial user namespace.
pub fn in_initial_user_namespace() -> bool {
    linux::userns::is_initial()
}

/// Returns whether setgroups(2) is denied in this user namespace, and so in all below it.
pub fn setgroups_denied() -> bool {
    // never in the initial one
    rootless() && fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim_end() == "deny")
}

/// Returns whether croci lacks root privileges in the initial user namespace. The value is cached, because many callers
/// need it.
pub fn rootless() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| linux::process::euid() != 0 || !in_initial_user_namespace())
}

/// Returns the socket of the systemd that creates cgroups: the system's, or the user's where croci is rootless.
/// systemd's private socket is preferred to the D-Bus daemon, because the daemon is one more hop.
///
/// # Errors
/// systemd is not the init system, or the user has no service manager.
pub fn service_manager() -> Result<String> {
    if !fs::exists("/run/systemd/system").unwrap_or(false) {
        bail!(coded!(
            CgroupSystemd,
            "systemd is not the init system here: /run/systemd/system is missing (use --cgroup-manager cgroupfs)"
        ));
    }
    let there = |path: &String| fs::exists(path).unwrap_or(false);
    if !rootless() {
        let bus = std::env::var("DBUS_SYSTEM_BUS_ADDRESS").ok().and_then(|list| bus_socket(&list));
        let own = "/run/systemd/private".to_owned();
        return Ok(if there(&own) { own } else { bus.unwrap_or("/run/dbus/system_bus_socket".to_owned()) });
    }
    let given = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok().and_then(|list| bus_socket(&list));
    let dir = std::env::var("XDG_RUNTIME_DIR").ok().filter(|dir| dir.starts_with('/'));
    let usual = ["bus", "systemd/private"].into_iter().filter_map(|name| Some(format!("{}/{name}", dir.as_ref()?)));
    given.or_else(|| usual.into_iter().find(there)).context(
        "no service manager of this user: neither DBUS_SESSION_BUS_ADDRESS nor a bus in XDG_RUNTIME_DIR \
         (a login, or `loginctl enable-linger`, starts one)",
    )
}

/// Returns the first Unix socket of a list of D-Bus addresses (`unix:path=/run/user/1000/bus,guid=…;…`); `@` begins an
/// abstract address.
fn bus_socket(list: &str) -> Option<String> {
    list.split(';').filter_map(|address| address.strip_prefix("unix:")).find_map(|keys| {
        keys.split(',').find_map(|key| match key.split_once('=')? {
            ("path", path) => unescape(path),
            ("abstract", name) => Some(format!("@{}", unescape(name)?)),
            _ => None,
        })
    })
}

/// Decodes D-Bus address escapes: `%2d` is a `-`.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Returns the default of `--root`. It depends on croci's user and not on the environment, because callers pass root an
/// empty or a foreign `XDG_RUNTIME_DIR`.
///
/// # Errors
/// As [`run_dir::of_user`].
pub fn default_root() -> Result<PathBuf> {
    let uid = linux::process::euid();
    let named = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty());
    if !rootless() || uid == 0 && !named {
        return Ok(PathBuf::from("/run/croci"));
    }
    Ok(run_dir::of_user(uid)?.join("croci"))
}

/// Returns the name of user `uid` on the host, for `state` and `list`; empty for an unknown one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_in_a_bus_address() {
        for (address, socket) in [
            ("unix:path=/run/user/1000/bus", Some("/run/user/1000/bus")),
            ("unix:guid=12,path=/a%2db%25", Some("/a-b%")),
            ("tcp:host=x;unix:abstract=/tmp/dbus-x,guid=1", Some("@/tmp/dbus-x")),
            ("unix:path=/a%2", None),
            ("unix:dir=/tmp", None),
            ("autolaunch:", None),
            ("", None),
        ] {
            assert_eq!(bus_socket(address).as_deref(), socket, "{address}");
        }
    }
}
