//! Arguments of `build`.

use std::path::PathBuf;

use super::registry::Remote;
use super::run::PullPolicy;
use crate::config::settings::Settings;

/// What flags set in an image besides what its Containerfile does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFlags {
    /// Variables `K=V`, or `K` with its value in corm's environment.
    pub env: Vec<String>,
    /// Variables that are left out.
    pub unset_env: Vec<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Features of the operating system.
    pub os_features: Vec<String>,
    /// Leave the history out.
    pub omit_history: bool,
    /// Docker's form of the manifest in the place of the OCI's.
    pub docker: bool,
}

/// Arguments of `build`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// Containerfiles, which are joined; `-` is standard input; none: the one of the context.
    pub files: Vec<PathBuf>,
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
    /// The platforms, when there are several: an image for each.
    pub platforms: Vec<String>,
    /// Image in the place of the one of the first `FROM`.
    pub from: Option<String>,
    /// Build the stages that nothing needs, too.
    pub all_stages: bool,
    /// Most commands that run at once; 0 for any number.
    pub jobs: usize,
    /// Use nothing of the cache.
    pub no_cache: bool,
    /// Stages that use nothing of the cache.
    pub no_cache_stages: Vec<String>,
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
    /// What else is set in the image.
    pub image: ImageFlags,
    /// Seconds since 1970 that no time in the image is later than, in the place of `SOURCE_DATE_EPOCH`.
    pub timestamp: Option<i64>,
    /// Replace the layers of the build by one.
    pub squash: bool,
    /// Replace all layers by one.
    pub squash_all: bool,
    /// Network of commands.
    pub network: Option<String>,
    /// Limits, names of hosts, and what commands may do.
    pub settings: Settings,
    /// Volumes of commands: `SRC:DST[:OPTIONS]`.
    pub volumes: Vec<String>,
    /// What instructions may ask for: `network.host`, `security.insecure`.
    pub allow: Vec<String>,
    /// Where the result is written.
    pub output: Option<String>,
    /// Index that the image is added to.
    pub manifest: Option<String>,
    /// Push the image by its names.
    pub push: bool,
    /// File for the ID of the image.
    pub iidfile: Option<PathBuf>,
    /// File for names and digests of the image, as JSON.
    pub metadata_file: Option<PathBuf>,
    /// File for what is printed on standard error.
    pub log_file: Option<PathBuf>,
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
