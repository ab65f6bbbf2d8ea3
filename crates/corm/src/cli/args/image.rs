//! Arguments of the verbs on images.

use std::path::PathBuf;

use super::registry::{Recompress, Remote};
use super::views;
use crate::view::filter::Filters;

/// Formats of a saved image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Archive {
    /// A tar of an OCI layout.
    #[default]
    Oci,
    /// An OCI layout directory.
    OciDir,
    /// A docker archive.
    Docker,
    /// A directory as skopeo's `dir:`, with a manifest of Docker's form.
    DockerDir,
}

/// Arguments of `pull`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pull {
    /// Image references.
    pub references: Vec<String>,
    /// `OS/ARCH[/VARIANT]`; absent: this machine's.
    pub platform: Option<String>,
    /// All tags of each repository.
    pub all_tags: bool,
    /// No progress.
    pub quiet: bool,
    /// Access to the registry.
    pub remote: Remote,
}

/// Arguments of `push`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Push {
    /// Image in the store.
    pub image: String,
    /// Destination; absent: the name of the image.
    pub to: Option<String>,
    /// Compression of the layers in the registry.
    pub compression: Option<Recompress>,
    /// File for the digest in the registry.
    pub digestfile: Option<PathBuf>,
    /// No progress.
    pub quiet: bool,
    /// Access to the registry.
    pub remote: Remote,
}

/// Arguments of `save`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Save {
    /// Images.
    pub images: Vec<String>,
    /// Format.
    pub format: Archive,
    /// Output file or directory; absent: standard output.
    pub output: Option<PathBuf>,
    /// Compression of the layers.
    pub compression: Option<Recompress>,
}

/// Arguments of `config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Base image.
    pub image: String,
    /// Name of the new image.
    pub name: String,
    /// Default arguments: a JSON list, or words.
    pub cmd: Option<String>,
    /// Entrypoint: a JSON list, or words.
    pub entrypoint: Option<String>,
    /// Environment variables `K=V`.
    pub env: Vec<String>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Labels `K=V`.
    pub labels: Vec<String>,
}

/// A verb on images.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageVerb {
    /// `init DIR [NAME]`
    Init {
        /// Source directory.
        dir: PathBuf,
        /// Name of the new image.
        name: Option<String>,
    },
    /// `import FILE|- [NAME]`
    Import {
        /// Tar file; `-` is standard input.
        file: PathBuf,
        /// Name of the new image.
        name: Option<String>,
        /// Instructions of a Dockerfile that change the configuration.
        changes: Vec<String>,
        /// Comment in the history.
        message: Option<String>,
        /// Platform `OS/ARCH`; absent: this machine's.
        platform: Option<String>,
        /// No progress, of which there is none.
        quiet: bool,
    },
    /// `load PATH [--name NAME]`
    Load {
        /// An OCI layout directory, OCI archive or docker archive; `-` is standard input.
        path: PathBuf,
        /// Name that replaces those in the archive.
        name: Option<String>,
        /// No progress.
        quiet: bool,
    },
    /// `build CONTEXT`
    Build(Box<super::Build>),
    /// `pull REF`
    Pull(Pull),
    /// `push IMAGE REF`
    Push(Push),
    /// `save IMAGE -o PATH`
    Save(Save),
    /// `export CONTAINER|IMAGE [-o FILE]`
    Export {
        /// Container or image.
        from: String,
        /// Output file; absent: standard output.
        output: Option<PathBuf>,
    },
    /// `images`
    Images(views::Images),
    /// `inspect IMAGE|CONTAINER...`
    Inspect(views::Inspect),
    /// `history IMAGE`
    History(views::History),
    /// `diff IMAGE|CONTAINER`
    Diff(views::Diff),
    /// `tag IMAGE NAME`
    Tag {
        /// Image.
        image: String,
        /// Additional name.
        name: String,
    },
    /// `rmi [-a] [-f] IMAGE...`
    Rmi {
        /// All images.
        all: bool,
        /// Remove all names of the image.
        force: bool,
        /// Missing images are no error.
        ignore: bool,
        /// Images.
        images: Vec<String>,
    },
    /// `untag IMAGE [NAME...]`
    Untag {
        /// Image.
        image: String,
        /// Names; none: all that it has.
        names: Vec<String>,
    },
    /// `config IMAGE NEWNAME`
    Config(Config),
    /// `bundle [-t] IMAGE DIR`
    Bundle {
        /// An image, or a directory.
        image: String,
        /// Bundle to create.
        dir: PathBuf,
        /// Its program has a terminal.
        tty: bool,
    },
    /// `unbundle DIR`
    Unbundle(PathBuf),
    /// `image exists IMAGE`
    Exists(String),
    /// `image prune`
    Prune {
        /// Also named images that no container uses.
        all: bool,
        /// Do not ask.
        force: bool,
        /// What an image must fit.
        filters: Filters,
    },
}
