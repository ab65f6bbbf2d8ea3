//! Arguments of `build`.

use std::path::PathBuf;

use super::registry::Remote;
use super::run::PullPolicy;
use crate::config::settings::Settings;

/// Arguments of `build`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// Containerfile; `-` is standard input; absent: the one of the context.
    pub file: Option<PathBuf>,
    /// File with what is left out of the context; absent: the one of the context.
    pub ignore_file: Option<PathBuf>,
    /// Names of the image.
    pub tags: Vec<String>,
    /// Stage to build; absent: the last one.
    pub target: Option<String>,
    /// Arguments `K=V`, or `K` with its value in corm's environment.
    pub build_args: Vec<String>,
    /// `OS/ARCH[/VARIANT]` of the image; absent: this machine's.
    pub platform: Option<String>,
    /// Use nothing of the cache.
    pub no_cache: bool,
    /// When base images are pulled.
    pub pull: PullPolicy,
    /// Secrets `id=ID,src=PATH`.
    pub secrets: Vec<String>,
    /// SSH agents `ID[=SOCKET]`.
    pub ssh: Vec<String>,
    /// Labels `K=V`.
    pub labels: Vec<String>,
    /// Annotations `K=V`.
    pub annotations: Vec<String>,
    /// Replace the layers of the build by one.
    pub squash: bool,
    /// Replace all layers by one.
    pub squash_all: bool,
    /// Network of commands.
    pub network: Option<String>,
    /// Limits, and names of hosts.
    pub settings: Settings,
    /// Where the result is written.
    pub output: Option<String>,
    /// File for the ID of the image.
    pub iidfile: Option<PathBuf>,
    /// Print the ID only.
    pub quiet: bool,
    /// Named contexts `NAME=PLACE`.
    pub contexts: Vec<String>,
    /// Caches to read: places of `copy`.
    pub cache_from: Vec<String>,
    /// Where the cache is written.
    pub cache_to: Vec<String>,
    /// Access to registries.
    pub remote: Remote,
    /// Context: a directory, `-`, or an address.
    pub context: String,
}
