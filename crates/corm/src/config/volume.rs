//! Volumes: what `-v` and an image declare, parsed and checked.

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::container::names;
use linux::resolve::{OpenHow, openat2};

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
    /// Whether it and what is in it is given to the container's user (`U`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chown: bool,
    /// Whether changes go to a directory of the container in the place of the source (`O`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlay: bool,
    /// Other mount options that the caller gave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Parses a value of `-v`: `SRC:DST[:OPTION[,OPTION...]]`; a source that is no path is the name of a volume. `DST` alone is a
/// volume without a name.
///
/// # Errors
/// A malformed one, a source that does not exist.
pub fn parse(text: &str) -> Result<Volume> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, given) = match parts.as_slice() {
        [destination] => (None, *destination, ""),
        [source, destination] => (Some(*source), *destination, ""),
        [source, destination, given] if !given.is_empty() => (Some(*source), *destination, *given),
        _ => bail!(coded!(UsageValue, "not of the form [SRC:]DST[:OPTIONS]")),
    };
    ensure!(source != Some("") && !destination.is_empty(), coded!(UsageValue, "not of the form [SRC:]DST[:OPTIONS]"));
    let options: Vec<&str> = given.split(',').filter(|_| !given.is_empty()).collect();
    match source {
        Some(path) if path.starts_with(['/', '.']) => bind(path, destination, &options),
        name => of_store(name, destination, &options),
    }
}

/// Returns the volume of a file or directory of the host.
///
/// # Errors
/// A source that does not exist, a path that is none of a volume, an unknown option.
pub fn bind(source: &str, destination: &str, options: &[&str]) -> Result<Volume> {
    let mut volume = parse_options(options)?;
    volume.options.retain(|option| option != NOCOPY);
    // checked before anything is created, because the runtime's error would come late and look like one of the program
    volume.source = std::fs::canonicalize(source).with_context(|| format!("source {source:?}"))?;
    if volume.overlay {
        volume.check_overlay()?;
    }
    Ok(Volume { destination: destination_path(destination)?, ..volume })
}

/// Returns the volume of the store with this name; without a name, a new one for this container.
///
/// # Errors
/// A malformed name, a path that is none of a volume, an unknown option.
pub fn of_store(name: Option<&str>, destination: &str, options: &[&str]) -> Result<Volume> {
    name.map_or(Ok(()), names::check)?;
    let name = name.map(str::to_owned);
    Ok(Volume { name, destination: destination_path(destination)?, ..parse_options(options)? })
}

/// Checks that no two mounts of the caller have one destination.
///
/// # Errors
/// Two have.
pub(super) fn check_all<'a>(mut destinations: Vec<&'a Path>) -> Result<()> {
    destinations.sort_unstable();
    let twice = destinations.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[&'a Path]>::first);
    ensure!(
        twice.is_none(),
        coded!(
            UsageValue,
            "--volume, --mount, --tmpfs: {:?} is the destination of two",
            twice.unwrap_or(&Path::new(""))
        )
    );
    Ok(())
}

/// Parses the options of a volume, whose places the caller sets.
fn parse_options(given: &[&str]) -> Result<Volume> {
    let (mut access, mut options) = (None, Vec::new());
    let (mut chown, mut overlay) = (false, false);
    for &option in given {
        match option {
            "ro" | "rw" => {
                ensure!(access.is_none(), coded!(UsageValue, "ro and rw, or one of them twice"));
                access = Some(option);
            }
            "z" | "Z" => {
                ensure!(
                    !Path::new("/sys/fs/selinux/enforce").exists(),
                    coded!(UsageValue, "{option:?}: SELinux is not supported")
                );
            }
            NOCOPY => options.push(option.to_owned()),
            // of Docker's volumes and of its desktop: without an effect here
            "copy" | "cached" | "delegated" | "consistent" => {}
            "bind" | "rbind" | "nosuid" | "suid" | "nodev" | "dev" | "noexec" | "exec" => {
                options.push(option.to_owned());
            }
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" | "unbindable" | "runbindable" => {
                options.push(option.to_owned());
            }
            "U" => chown = true,
            "O" => overlay = true,
            "idmap" => options.push(option.to_owned()),
            _ => bail!(coded!(UsageValue, "{option:?}: unknown option")),
        }
    }
    let read_only = access == Some("ro");
    let alone = !read_only && options.iter().all(|option| option == NOCOPY);
    ensure!(!overlay || alone, coded!(UsageArguments, "option O: excludes other options than U"));
    Ok(Volume { read_only, chown, overlay, options, ..Volume::default() })
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

/// Returns the directory of a container for the changes of its volumes with `O`.
pub fn overlays(dir: &Path) -> PathBuf {
    dir.join("overlays")
}

/// Returns the upper and the work directory of the volume number `index` of a container.
pub fn overlay_dirs(dir: &Path, index: usize) -> (PathBuf, PathBuf) {
    let own = overlays(dir).join(index.to_string());
    (own.join("upper"), own.join("work"))
}

impl Volume {
    /// Checks that a mount of overlay can have the source.
    ///
    /// # Errors
    /// It is no directory, or its path has a character with a meaning there.
    pub fn check_overlay(&self) -> Result<()> {
        let source = &self.source;
        ensure!(source.is_dir(), coded!(UsageValue, "option O: {source:?}: is no directory"));
        // of lowerdir=, where these characters separate
        let plain = source.to_str().is_some_and(|text| !text.contains([':', ',', '\\']));
        ensure!(plain, coded!(UsageValue, "option O: {source:?}: must not have a colon, a comma or a backslash"));
        Ok(())
    }

    /// Returns whether it is the volume of the store with this name.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.as_deref() == Some(name)
    }

    /// Returns whether it begins with what the image has at its destination.
    pub fn copies_up(&self) -> bool {
        self.name.is_some() && !self.options.iter().any(|option| option == NOCOPY)
    }

    /// Returns the mount of a configuration, of the volume number `index` of the container with the directory `dir`.
    pub(super) fn mount(&self, dir: &Path, index: usize, unprivileged: bool) -> Value {
        let (destination, source) = (&self.destination, &self.source);
        if !self.overlay {
            return json!({"destination": destination, "type": "bind", "source": source, "options": self.mount_options()});
        }
        let (upper, work) = overlay_dirs(dir, index);
        let option = |name: &str, path: &Path| json!(format!("{name}={}", path.display()));
        let mut options = vec![option("lowerdir", source), option("upperdir", &upper), option("workdir", &work)];
        if unprivileged {
            options.push(json!("userxattr"));
        }
        json!({"destination": destination, "type": "overlay", "source": "overlay", "options": options})
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
        self.find(own).map(drop)
    }

    /// Finds the source without opening it.
    ///
    /// # Errors
    /// As [`Volume::open_source`].
    pub fn find(&self, own: &Path) -> Result<OwnedFd> {
        self.find_source(OFlag::O_PATH | OFlag::O_CLOEXEC, own)
    }

    fn find_source(&self, flags: OFlag, own: &Path) -> Result<OwnedFd> {
        let links = if self.source.starts_with(own) { ResolveFlag::empty() } else { ResolveFlag::RESOLVE_NO_SYMLINKS };
        let how = OpenHow::new().flags(flags).resolve(links);
        match openat2(AT_FDCWD, &self.source, how) {
            Err(Errno::ELOOP) => bail!(coded!(UsageValue, "{:?}: the path has a symlink", self.source)),
            found => found.with_context(|| format!("{:?}", self.source)),
        }
    }
}

/// Parses a destination in the container: absolute and normalised.
///
/// # Errors
/// A path that no volume may have.
pub fn destination_path(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    ensure!(path.is_absolute(), coded!(UsageValue, "{text:?}: not an absolute path"));
    ensure!(!text.contains(|c: char| c.is_control()), coded!(UsageValue, "{text:?}: has control characters"));
    ensure!(
        !path.components().any(|part| part == Component::ParentDir),
        coded!(UsageValue, "{text:?}: must not have `..`")
    );
    let clean: PathBuf = path.components().collect();
    ensure!(clean != Path::new("/"), coded!(UsageValue, "{text:?}: is the root"));
    // the kernel's file systems must not be covered by an image or by accident
    let taken = ["/proc", "/sys"].iter().any(|taken| clean.starts_with(taken));
    ensure!(!taken, coded!(UsageValue, "{text:?}: is in /proc or /sys"));
    Ok(clean)
}

/// Parses a volume of the image's configuration. A path below `/dev` is refused, because an image must not choose
/// devices.
///
/// # Errors
/// As for `--volume`, and a path below `/dev`.
pub fn of_image(text: &str) -> Result<PathBuf> {
    let path = destination_path(text).code(Code::ImageInvalid, "config.Volumes of the image")?;
    ensure!(!path.starts_with("/dev"), coded!(ImageInvalid, "config.Volumes of the image: {text:?}: is in /dev"));
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
            "/tmp:/x:O,ro",
            "/etc/passwd:/x:O",
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
        let all = |paths: &[&'static str]| check_all(paths.iter().map(Path::new).collect());
        assert!(all(&["/x", "/x/y", "/y"]).is_ok());
        assert!(all(&["/x", "/y", "/x/."]).unwrap_err().to_string().contains("the destination of two"));
    }
}
