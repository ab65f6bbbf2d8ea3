//! Arguments of the verbs on lists of images.

use std::path::PathBuf;

use super::registry::Remote;

/// What an entry of a list states beside its image's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// Operating system.
    pub os: Option<String>,
    /// Architecture.
    pub arch: Option<String>,
    /// Variant of the architecture.
    pub variant: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Features of the operating system.
    pub os_features: Vec<String>,
    /// Annotations `K=V`.
    pub annotations: Vec<String>,
}

/// A verb on a list of images.
#[derive(Debug, Clone, PartialEq)]
pub enum ManifestVerb {
    /// `manifest create LIST [IMAGE...]`
    Create {
        /// Name of the list.
        list: String,
        /// Images to add.
        images: Vec<String>,
        /// Add every image of an index.
        all: bool,
        /// Replace a list of this name.
        amend: bool,
        /// Annotations `K=V` of the index.
        annotations: Vec<String>,
        /// Access to registries.
        remote: Remote,
    },
    /// `manifest add LIST IMAGE`
    Add {
        /// Name of the list.
        list: String,
        /// Image of the store or a registry.
        image: String,
        /// Add every image of an index.
        all: bool,
        /// What the entry states.
        change: EntryChange,
        /// Access to registries.
        remote: Remote,
    },
    /// `manifest annotate LIST IMAGE`
    Annotate {
        /// Name of the list.
        list: String,
        /// Digest of an entry, or the image that was added.
        image: String,
        /// What the entry states.
        change: EntryChange,
    },
    /// `manifest inspect LIST`
    Inspect {
        /// Name of the list, or an image in a registry.
        list: String,
        /// Access to registries.
        remote: Remote,
    },
    /// `manifest push LIST DESTINATION`
    Push {
        /// Name of the list.
        list: String,
        /// Destination; absent: the name of the list.
        to: Option<String>,
        /// Remove the list afterwards.
        rm: bool,
        /// No progress.
        quiet: bool,
        /// File for the digest.
        digestfile: Option<PathBuf>,
        /// Access to registries.
        remote: Remote,
    },
    /// `manifest remove LIST DIGEST`
    Remove {
        /// Name of the list.
        list: String,
        /// Digest of an entry, or the image that was added.
        image: String,
    },
    /// `manifest rm LIST...`
    Rm(Vec<String>),
    /// `manifest exists LIST`
    Exists(String),
}
