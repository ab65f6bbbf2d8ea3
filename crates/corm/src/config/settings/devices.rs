//! Devices of the host in a container: `--device`, and all of them with `--privileged`.

use base::coded;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::stat::{major, minor};
use serde_json::{Value, json};

/// Entries of the host's /dev that no container gets: of other file systems, of terminals, of the machine's own console,
/// and what the runtime itself creates.
const LEFT_OUT: [&str; 14] = [
    "console", "core", "fd", "full", "log", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero",
];

/// Maximum depth of directories of devices.
const MAX_DEPTH: usize = 8;

/// A device of the host, or a directory of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Path on the host.
    source: PathBuf,
    /// Path in the container.
    destination: PathBuf,
    /// What the container may do: letters of `rwm`.
    access: String,
}

/// A device node.
struct Node {
    path: PathBuf,
    source: PathBuf,
    access: String,
    of: Metadata,
}

impl Device {
    /// Parses `SOURCE[:DESTINATION][:PERMISSIONS]`.
    ///
    /// # Errors
    /// A relative path, unknown permissions.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, destination, access) = match parts.as_slice() {
            [source] => (*source, *source, "rwm"),
            [source, second] if second.starts_with('/') => (*source, *second, "rwm"),
            [source, access] => (*source, *source, *access),
            [source, destination, access] => (*source, *destination, *access),
            _ => bail!(coded!(UsageValue, "not of the form SOURCE[:DESTINATION][:PERMISSIONS]")),
        };
        let good = !access.is_empty() && access.len() <= 3 && access.chars().all(|letter| "rwm".contains(letter));
        ensure!(good, coded!(UsageValue, "{access:?}: the permissions must be of the letters r, w and m"));
        ensure!(
            source.starts_with('/') && destination.starts_with('/'),
            coded!(UsageValue, "the paths must be absolute")
        );
        ensure!(
            !Path::new(destination).components().any(|part| part.as_os_str() == ".."),
            coded!(UsageValue, "the path must not have ..")
        );
        Ok(Self { source: source.into(), destination: destination.into(), access: access.to_owned() })
    }

    /// Returns the nodes.
    fn nodes(&self) -> Result<Vec<Node>> {
        let context = || format!("--device {:?}", self.source);
        // a symlink such as /dev/cdrom is resolved, as in Docker and Podman
        let source = std::fs::canonicalize(&self.source).with_context(context)?;
        let of = source.symlink_metadata().with_context(context)?;
        let mut found = Vec::new();
        if of.is_dir() {
            add_below(&source, &self.destination, &self.access, &mut found, MAX_DEPTH).with_context(context)?;
            ensure!(!found.is_empty(), coded!(UsageValue, "{}: has no devices", context()));
            return Ok(found);
        }
        ensure!(is_device(&of), coded!(UsageValue, "{}: is no device", context()));
        found.push(Node { path: self.destination.clone(), source, access: self.access.clone(), of });
        Ok(found)
    }
}

fn is_device(of: &Metadata) -> bool {
    of.file_type().is_char_device() || of.file_type().is_block_device()
}

/// Adds the devices in a directory of the host.
fn add_below(source: &Path, destination: &Path, access: &str, found: &mut Vec<Node>, depth: usize) -> Result<()> {
    for entry in linux::open::read_dir(source)? {
        let entry = entry?;
        let (source, path) = (entry.path(), destination.join(entry.file_name()));
        let of = source.symlink_metadata()?;
        if is_device(&of) {
            found.push(Node { path, source, access: access.to_owned(), of });
        } else if of.is_dir() && depth > 0 {
            add_below(&source, &path, access, found, depth - 1)?;
        }
    }
    Ok(())
}

/// Returns the devices of the host that a privileged container has.
fn of_the_host() -> Result<Vec<Node>> {
    let mut found = Vec::new();
    for entry in linux::open::read_dir("/dev").context("/dev")? {
        let name = entry.context("/dev")?.file_name();
        let text = name.to_string_lossy();
        // a terminal of the host would let the container write to its users
        let terminal = text.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        if terminal || LEFT_OUT.contains(&&*text) {
            continue;
        }
        let path = Path::new("/dev").join(&name);
        let of = match path.symlink_metadata() {
            // removed meanwhile
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => continue,
            of => of.with_context(|| format!("{path:?}"))?,
        };
        if is_device(&of) {
            found.push(Node { source: path.clone(), path, access: "rwm".to_owned(), of });
        } else if of.is_dir() {
            add_below(&path, &path, "rwm", &mut found, MAX_DEPTH).with_context(|| format!("{path:?}"))?;
        }
    }
    Ok(found)
}

/// Checks the devices before anything is created.
///
/// # Errors
/// One is missing or none.
pub(super) fn check(devices: &[Device]) -> Result<()> {
    devices.iter().try_for_each(|device| device.nodes().map(drop))
}

/// Writes the devices and their rules of a configuration. Without privileges corm cannot create devices: the host's are
/// bind mounted, with the permissions that the caller has there.
///
/// # Errors
/// As [`check`].
pub(super) fn apply(config: &mut Value, devices: &[Device], privileged: bool, unprivileged: bool) -> Result<()> {
    let mut nodes = if privileged { of_the_host()? } else { Vec::new() };
    for device in devices {
        for node in device.nodes()? {
            nodes.retain(|other| other.path != node.path);
            nodes.push(node);
        }
    }
    if unprivileged {
        let mounts = config["mounts"].as_array_mut().context("the default configuration has no mounts")?;
        mounts.extend(nodes.iter().map(|node| {
            let access = if node.access.contains('w') { "rw" } else { "ro" };
            json!({"destination": node.path, "type": "bind", "source": node.source,
                "options": ["bind", "rprivate", "nosuid", "noexec", access]})
        }));
        return Ok(());
    }
    let mut rules = vec![json!({"allow": privileged, "access": "rwm"})];
    let mut list = Vec::with_capacity(nodes.len());
    for Node { path, access, of, .. } in nodes {
        let kind = if of.file_type().is_block_device() { "b" } else { "c" };
        let (major, minor) = (major(of.rdev()), minor(of.rdev()));
        list.push(json!({"path": path, "type": kind, "major": major, "minor": minor, "fileMode": of.mode() & 0o777,
            "uid": of.uid(), "gid": of.gid()}));
        if !privileged {
            rules.push(json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access}));
        }
    }
    config["linux"]["resources"]["devices"] = json!(rules);
    if !list.is_empty() {
        config["linux"]["devices"] = json!(list);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_device_has_a_place_and_permissions() {
        let parts = |text: &str| {
            let device = Device::parse(text).unwrap();
            (device.source.display().to_string(), device.destination.display().to_string(), device.access)
        };
        let of = |source: &str, destination: &str, access: &str| (source.into(), destination.into(), access.to_owned());
        assert_eq!(parts("/dev/null"), of("/dev/null", "/dev/null", "rwm"));
        assert_eq!(parts("/dev/null:/dev/x"), of("/dev/null", "/dev/x", "rwm"));
        assert_eq!(parts("/dev/null:r"), of("/dev/null", "/dev/null", "r"));
        assert_eq!(parts("/dev/null:/dev/x:rw"), of("/dev/null", "/dev/x", "rw"));
        for bad in ["", "null", "/dev/null:", "/dev/null:x", "/a:b:r", "/a:/b:rwmr", "/a:/b:r:w", "/a:/../b"] {
            assert!(Device::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_devices_are_devices() {
        assert!(check(&[Device::parse("/dev/null").unwrap()]).is_ok());
        for bad in ["/etc/passwd", "/no/such/device", "/proc/sys"] {
            assert!(check(&[Device::parse(bad).unwrap()]).is_err(), "{bad}");
        }
    }
}
