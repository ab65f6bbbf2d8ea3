//! The files of registries.conf: where they are, and their tables.

use base::coded;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use linux::place;

/// Maximum size of a file in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The system's file; a user's replaces it.
const SYSTEM: &str = "/etc/containers/registries.conf";

/// The system's directory of further files.
const SYSTEM_DIR: &str = "/etc/containers/registries.conf.d";

/// Short names that Podman has asked root for.
const SYSTEM_ALIASES: &str = "/var/cache/containers/short-name-aliases.conf";

/// A table `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registry {
    /// Start of the names that it is for.
    pub(super) prefix: String,
    /// What replaces the prefix; `None` leaves the name as it is.
    pub(super) location: Option<String>,
    /// Whether plain HTTP and unknown certificate authorities are accepted.
    pub(super) insecure: bool,
    /// Whether its images must not be read or written.
    pub(super) blocked: bool,
    /// Places that are asked before.
    pub(super) mirrors: Vec<Mirror>,
}

/// A table `[[registry.mirror]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mirror {
    /// What replaces the prefix.
    pub(super) location: String,
    /// As of a registry.
    pub(super) insecure: bool,
    /// The names that it is asked for.
    pub(super) uses: MirrorUse,
}

/// Names that a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MirrorUse {
    /// All.
    All,
    /// Those with a digest.
    DigestOnly,
    /// Those with a tag.
    TagOnly,
}

/// Content of a file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Content {
    /// Registries in which a short name is looked for.
    pub(super) unqualified_search_registries: Option<Vec<String>>,
    /// Whether a short name may have several meanings.
    pub(super) short_name_mode: Option<String>,
    /// Short names and what they mean.
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: Vec<RawRegistry>,
    /// The table of version 1.
    registries: Option<toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawRegistry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<RawMirror>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

impl Content {
    /// Returns the checked tables of registries.
    ///
    /// # Errors
    /// A table has neither prefix nor location, or an unknown value.
    pub(super) fn registries(&self) -> Result<Vec<Registry>> {
        if self.registries.is_some() {
            bail!(coded!(
                RegistryConfig,
                "registries: the format of version 1, which Podman has given up too; use [[registry]]"
            ));
        }
        let check = |(at, raw): (usize, &RawRegistry)| raw.check().with_context(|| format!("registry[{at}]"));
        self.registry.iter().enumerate().map(check).collect()
    }
}

impl RawRegistry {
    fn check(&self) -> Result<Registry> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (prefix, location) = (filled(&self.prefix), filled(&self.location));
        let prefix = prefix.or_else(|| location.clone()).context("neither prefix nor location")?;
        if location.is_none() && !prefix.starts_with("*.") {
            bail!(coded!(RegistryConfig, "location: is missing, which only a prefix \"*.DOMAIN\" may lack"));
        }
        let mut mirrors = Vec::new();
        for (at, mirror) in self.mirror.iter().enumerate() {
            let uses = self.uses(mirror).with_context(|| format!("mirror[{at}]"))?;
            mirrors.push(Mirror { location: plain(&mirror.location), insecure: mirror.insecure, uses });
        }
        let location = location.as_deref().map(plain);
        Ok(Registry { prefix: plain(&prefix), location, insecure: self.insecure, blocked: self.blocked, mirrors })
    }

    fn uses(&self, mirror: &RawMirror) -> Result<MirrorUse> {
        if self.mirror_by_digest_only && mirror.pull_from_mirror.is_some() {
            bail!(coded!(RegistryConfig, "pull-from-mirror: must not be beside mirror-by-digest-only"));
        }
        match mirror.pull_from_mirror.as_deref() {
            Some("digest-only") => Ok(MirrorUse::DigestOnly),
            Some("tag-only") => Ok(MirrorUse::TagOnly),
            None if self.mirror_by_digest_only => Ok(MirrorUse::DigestOnly),
            None | Some("" | "all") => Ok(MirrorUse::All),
            Some(other) => {
                bail!(coded!(RegistryConfig, "pull-from-mirror: {other:?} is none of all, digest-only and tag-only"))
            }
        }
    }
}

/// Returns a prefix or location without the slash at its end.
fn plain(text: &str) -> String {
    text.trim_end_matches('/').to_owned()
}

/// Reads a file; `None` where there is none.
///
/// # Errors
/// It cannot be read, or is no TOML of the format.
pub(super) fn read(path: &Path) -> Result<Option<Content>> {
    let mut text = String::new();
    match place::open_to_read(path) {
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other?.take(MAX_FILE + 1).read_to_string(&mut text)?,
    };
    if text.len() as u64 > MAX_FILE {
        bail!(coded!(RegistryConfig, "larger than {MAX_FILE} bytes"));
    }
    toml::from_str(&text).map(Some).map_err(|err| anyhow::anyhow!(coded!(RegistryConfig, "{}", err.message())))
}

/// Returns the paths of the files in the order in which they are read: later ones precede.
///
/// # Errors
/// A directory of them cannot be read.
pub(super) fn paths(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Vec<PathBuf>> {
    let (named, config) =
        (env("CONTAINERS_REGISTRIES_CONF").map(PathBuf::from), home(env, "XDG_CONFIG_HOME", ".config"));
    let mut own = config.as_ref().map(|config| config.join("containers/registries.conf"));
    if let Some(path) = &own
        && !path.try_exists().with_context(|| format!("{path:?}"))?
    {
        own = None;
    }
    let mut paths = vec![named.or(own).unwrap_or_else(|| PathBuf::from(SYSTEM))];
    paths.extend(further(Path::new(SYSTEM_DIR))?);
    if let Some(config) = config {
        paths.extend(further(&config.join("containers/registries.conf.d"))?);
    }
    // root of a user namespace is another user
    if linux::process::euid() == 0 && linux::userns::is_initial() {
        paths.push(PathBuf::from(SYSTEM_ALIASES));
    } else if let Some(cache) = home(env, "XDG_CACHE_HOME", ".cache") {
        paths.push(cache.join("containers/short-name-aliases.conf"));
    }
    Ok(paths)
}

fn home(env: &dyn Fn(&str) -> Option<OsString>, name: &str, below: &str) -> Option<PathBuf> {
    env(name).map(PathBuf::from).or_else(|| env("HOME").map(|home| Path::new(&home).join(below)))
}

/// Returns the files `*.conf` of a directory, sorted.
fn further(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match linux::open::read_dir(dir) {
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.with_context(|| format!("read {dir:?}"))?,
    };
    let mut found = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    found.sort();
    Ok(found)
}
