//! Volumes: what `-v` and an image declare, parsed and checked.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use serde::{Deserialize, Serialize};

use crate::container::names;

/// Propagation of a volume without an option for it, as in Docker and Podman.
const PROPAGATION: &str = "rprivate";

/// Option of a named volume that stays empty, whatever the image has at its destination.
const NOCOPY: &str = "nocopy";

/// A volume: a file or directory of the host, or a volume of the store, that is bind mounted into the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Path on the host, absolute; empty for a volume of the store that is not created yet.
    pub source: PathBuf,
    /// Name of a volume of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path in the container, absolute, without `.` and `..`.
    pub destination: PathBuf,
    /// Whether the mount is read-only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Other mount options that the caller gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Parses the values of `-v`.
///
/// # Errors
/// A malformed one, a source that does not exist, two volumes with one destination.
pub(super) fn parse_all(texts: &[String]) -> Result<Vec<Volume>> {
    let mut volumes: Vec<Volume> = Vec::with_capacity(texts.len());
    for text in texts {
        let new = parse(text)?;
        let twice = volumes.iter().any(|volume| volume.destination == new.destination);
        ensure!(!twice, "--volume {text:?}: another volume has the destination {:?} too", new.destination);
        volumes.push(new);
    }
    Ok(volumes)
}

/// Parses `SRC:DST[:OPTION[,OPTION...]]`; a source that is no path is the name of a volume. `DST` alone is a volume without
/// a name.
fn parse(text: &str) -> Result<Volume> {
    let context = || format!("--volume {text:?}");
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, given) = match parts.as_slice() {
        [destination] => ("", *destination, ""),
        [source, destination] if !source.is_empty() => (*source, *destination, ""),
        [source, destination, given] if !source.is_empty() && !given.is_empty() => (*source, *destination, *given),
        _ => bail!("{}: not of the form [SRC:]DST[:OPTIONS]", context()),
    };
    ensure!(!destination.is_empty(), "{}: not of the form [SRC:]DST[:OPTIONS]", context());
    let (read_only, mut options) = parse_options(given).with_context(context)?;
    let destination = destination_path(destination).with_context(context)?;
    let mut volume = Volume { destination, read_only, ..Volume::default() };
    if source.starts_with(['/', '.']) {
        // checked before anything is created, because the runtime's error would come late and look like one of the program
        let path = std::fs::canonicalize(source);
        volume.source = path.with_context(|| format!("{}: source {source:?}", context()))?;
        options.retain(|option| option != NOCOPY);
    } else if !source.is_empty() {
        names::check(source).with_context(context)?;
        volume.name = Some(source.to_owned());
    }
    volume.options = options;
    Ok(volume)
}

/// Parses the options of a volume; returns whether it is read-only, and the mount options.
fn parse_options(given: &str) -> Result<(bool, Vec<String>)> {
    let (mut access, mut options) = (None, Vec::new());
    for option in given.split(',').filter(|_| !given.is_empty()) {
        match option {
            "ro" | "rw" => {
                ensure!(access.is_none(), "{given:?}: ro and rw, or one of them twice");
                access = Some(option);
            }
            "z" | "Z" => {
                ensure!(!Path::new("/sys/fs/selinux/enforce").exists(), "{option:?}: SELinux is not supported");
            }
            // of Docker's volumes and of its desktop: without an effect on a bind mount
            NOCOPY => options.push(option.to_owned()),
            "copy" | "cached" | "delegated" | "consistent" => {}
            "bind" | "rbind" | "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec" => {
                options.push(option.to_owned());
            }
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable" => {
                options.push(option.to_owned());
            }
            "U" | "O" | "idmap" => bail!("{option:?}: this option of Podman is not supported"),
            _ => bail!("{option:?}: unknown option"),
        }
    }
    Ok((access == Some("ro"), options))
}

/// Returns the propagation that the root needs for a volume with this option; `None` for one that needs none.
fn propagation_root(option: &str) -> Option<&'static str> {
    match option {
        "shared" | "rshared" => Some("rshared"),
        "slave" | "rslave" => Some("rslave"),
        _ => None,
    }
}

/// Returns `linux.rootfsPropagation` for these volumes: mounts of the host appear only below a root that receives them.
pub(super) fn root_propagation(volumes: &[Volume]) -> Option<&'static str> {
    let all = volumes.iter().flat_map(|volume| &volume.options).filter_map(|option| propagation_root(option));
    // "rshared" sorts before "rslave", and includes it
    all.min()
}

impl Volume {
    /// Returns whether it is the volume of the store with this name.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// Returns whether it begins with what the image has at its destination.
    pub fn copies_up(&self) -> bool {
        self.name.is_some() && !self.options.iter().any(|option| option == NOCOPY)
    }

    /// Returns the options of the bind mount. Without an option set-user-ID programs and devices work, as in Docker and
    /// Podman: the caller chose the source.
    pub(super) fn mount_options(&self) -> Vec<&str> {
        let given = |names: &[&str]| self.options.iter().any(|option| names.contains(&option.as_str()));
        let mut all = Vec::new();
        if !given(&["bind", "rbind"]) {
            all.push("rbind");
        }
        let propagations = ["private", "shared", "slave", "unbindable"];
        if !self.options.iter().any(|option| propagations.contains(&option.strip_prefix('r').unwrap_or(option))) {
            all.push(PROPAGATION);
        }
        all.extend(self.options.iter().map(String::as_str).filter(|option| *option != NOCOPY));
        all.push(if self.read_only { "ro" } else { "rw" });
        all
    }

    /// Opens the source without blocking. Its path had no symlink when the container was created, so a symlink now was
    /// created since, perhaps by another user. Paths in the store `own`, which has the image's volumes, were checked
    /// when it was opened.
    ///
    /// # Errors
    /// A symlink in the path; as open(2).
    pub fn open_source(&self, own: &Path) -> Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        self.find_source(flags, own).map(File::from)
    }

    /// Checks the path of the source without opening it.
    ///
    /// # Errors
    /// As [`Volume::open_source`].
    pub fn check_source(&self, own: &Path) -> Result<()> {
        self.find_source(OFlag::O_PATH | OFlag::O_CLOEXEC, own).map(drop)
    }

    fn find_source(&self, flags: OFlag, own: &Path) -> Result<OwnedFd> {
        let links = if self.source.starts_with(own) { ResolveFlag::empty() } else { ResolveFlag::RESOLVE_NO_SYMLINKS };
        let how = OpenHow::new().flags(flags).resolve(links);
        match openat2(AT_FDCWD, &self.source, how) {
            Err(Errno::ELOOP) => bail!("{:?}: the path has a symlink", self.source),
            found => found.with_context(|| format!("{:?}", self.source)),
        }
    }
}

/// Parses a destination in the container: absolute and normalised.
fn destination_path(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    ensure!(path.is_absolute(), "{text:?}: not an absolute path");
    ensure!(!text.contains(|c: char| c.is_control()), "{text:?}: has control characters");
    ensure!(!path.components().any(|part| part == Component::ParentDir), "{text:?}: must not have `..`");
    let clean: PathBuf = path.components().collect();
    ensure!(clean != Path::new("/"), "{text:?}: is the root");
    // the kernel's file systems must not be covered by an image or by accident
    let taken = ["/proc", "/sys"].iter().any(|taken| clean.starts_with(taken));
    ensure!(!taken, "{text:?}: is in /proc or /sys");
    Ok(clean)
}

/// Parses a volume of the image's configuration. A path below `/dev` is refused, because an image must not choose
/// devices.
///
/// # Errors
/// As for `--volume`, and a path below `/dev`.
pub(super) fn of_image(text: &str) -> Result<PathBuf> {
    let path = destination_path(text).context("config.Volumes of the image")?;
    ensure!(!path.starts_with("/dev"), "config.Volumes of the image: {text:?}: is in /dev");
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn volumes_name_two_places() {
        let made = |text| parse(text).map(|v| (v.destination, v.read_only));
        assert_eq!(made("/tmp:/data").unwrap(), ("/data".into(), false));
        assert_eq!(made("/tmp:/data/./x//y/:ro").unwrap(), ("/data/x/y".into(), true));
        assert_eq!(made("/tmp:/a b:rw").unwrap(), ("/a b".into(), false));
        let bad = [
            "",
            "tmp",
            ":/x",
            "a b:/x",
            "-a:/x",
            "/tmp:",
            "/tmp:x",
            "/tmp:/x:rx",
            "/tmp:/x:",
            "/tmp:/x:ro,",
            "/tmp:/x:ro,rw",
            "/tmp:/x:ro:rw",
            "/tmp:/x:xprivate",
            "/tmp:/x:U",
            "/tmp:/",
            "/tmp:/../etc",
            "/tmp:/a/../b",
            "/tmp:/proc",
            "/tmp:/proc/1",
            "/tmp:/sys",
            "/nowhere-at-all:/x",
            "/tmp:/a\nb",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_source_that_is_no_path_is_a_volume_of_the_store() {
        let named = parse("web-1:/data:ro,nocopy").unwrap();
        assert!(named.is_named("web-1") && !named.copies_up() && named.read_only, "{named:?}");
        assert_eq!(named.mount_options().join(" "), "rbind rprivate ro");
        assert!(parse("web-1:/data").unwrap().copies_up());
        let alone = parse("/data").unwrap();
        assert!(alone.name.is_none() && alone.source.as_os_str().is_empty() && alone.destination == Path::new("/data"));
        // a path, although without a leading slash
        assert!(parse(".:/x").unwrap().source.is_absolute());
    }

    #[test]
    fn options_take_the_place_of_the_usual_ones() {
        for (text, want) in [
            ("/tmp:/x", "rbind rprivate rw"),
            ("/tmp:/x:ro", "rbind rprivate ro"),
            ("/tmp:/x:nosuid,nodev,noexec", "rbind rprivate nosuid nodev noexec rw"),
            ("/tmp:/x:rslave,ro,cached", "rbind rslave ro"),
            ("/tmp:/x:bind,private", "bind private rw"),
        ] {
            assert_eq!(parse(text).unwrap().mount_options().join(" "), want, "{text}");
        }
        let of = |texts: &[&str]| root_propagation(&texts.iter().map(|text| parse(text).unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&["/tmp:/x", "/tmp:/y:private"]), None);
        assert_eq!(of(&["/tmp:/x:slave", "/tmp:/y:rshared"]), Some("rshared"));
    }

    #[test]
    fn two_volumes_at_one_place_are_refused() {
        let all = |texts: &[&str]| parse_all(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        assert!(all(&["/tmp:/x", "/tmp:/x/y"]).is_ok());
        assert!(all(&["/tmp:/x", "/usr:/x/."]).unwrap_err().to_string().contains("another volume has the destination"));
    }
}
