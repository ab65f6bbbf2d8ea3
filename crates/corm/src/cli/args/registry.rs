//! Arguments of the verbs on registries, and the access to them that other verbs have too.

use std::path::PathBuf;

use crate::layer::Compression;
use crate::model::secret::Secret;
use crate::view::filter::Filters;
use crate::view::listing::Format;

/// Access to registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// `--tls-verify`; `false` accepts plain HTTP and unknown certificate authorities, absent is as in registries.conf.
    pub tls_verify: Option<bool>,
    /// `--authfile`; absent: the files of the environment.
    pub authfile: Option<PathBuf>,
    /// `--creds USER[:PASSWORD]`; absent: those of the files.
    pub creds: Option<Secret>,
}

/// Compression of the layers that are written; absent: as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recompress {
    /// Format.
    pub format: Compression,
    /// Level; absent: the default of the format.
    pub level: Option<i32>,
}

/// Arguments of `login`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// Registry, or a namespace in it; absent: the first of registries.conf, else Docker's.
    pub registry: Option<String>,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Read the password from standard input.
    pub password_stdin: bool,
    /// Only print the user name.
    pub get_login: bool,
    /// Print the file that was written.
    pub verbose: bool,
    /// Access to the registry.
    pub remote: Remote,
}

/// Arguments of `logout`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logout {
    /// As in [`Login`].
    pub registry: Option<String>,
    /// All registries.
    pub all: bool,
    /// As in [`Remote`].
    pub authfile: Option<PathBuf>,
}

/// Arguments of `copy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copy {
    /// Source.
    pub from: String,
    /// Destination.
    pub to: String,
    /// Copy every image of an index.
    pub all: bool,
    /// Platform of the image of an index; absent: this machine's.
    pub platform: Option<String>,
    /// Fail where the destination would have another digest.
    pub preserve_digests: bool,
    /// Compression of the layers at the destination.
    pub compression: Option<Recompress>,
    /// File for the digest at the destination.
    pub digestfile: Option<PathBuf>,
    /// Print nothing.
    pub quiet: bool,
    /// Access to the source.
    pub source: Remote,
    /// Access to the destination.
    pub target: Remote,
}

/// A verb on registries.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistryVerb {
    /// `login [REGISTRY]`
    Login(Login),
    /// `logout [REGISTRY]`
    Logout(Logout),
    /// `copy SOURCE DESTINATION`
    Copy(Box<Copy>),
    /// `search TERM`
    Search(Box<Search>),
    /// `tags REPOSITORY`
    Tags {
        /// Repository.
        repository: String,
        /// Lines or JSON.
        format: Format,
        /// Access to the registry.
        remote: Remote,
    },
    /// `delete REF...`
    Delete {
        /// Images in registries.
        references: Vec<String>,
        /// Access to the registries.
        remote: Remote,
    },
    /// `inspect docker://REF`
    Inspect {
        /// Image in a registry.
        reference: String,
        /// Print the bytes of the manifest or the configuration.
        raw: bool,
        /// Print the configuration.
        config: bool,
        /// Platform of the image of an index; absent: this machine's.
        platform: Option<String>,
        /// Access to the registry.
        remote: Remote,
    },
}

/// Arguments of `search`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Word, perhaps below a registry; with `list_tags` a repository.
    pub term: String,
    /// Most rows of one registry.
    pub limit: usize,
    /// List the tags of a repository.
    pub list_tags: bool,
    /// Whole descriptions.
    pub no_trunc: bool,
    /// Docker's columns, too.
    pub compatible: bool,
    /// Filters.
    pub filters: Filters,
    /// Format.
    pub format: Format,
    /// Access to the registry.
    pub remote: Remote,
}
