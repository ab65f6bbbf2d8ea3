//! Arguments of the verbs on volumes.
use std::path::PathBuf;

use crate::view::filter::Filters;
use crate::view::listing::Format;

/// Arguments of `volume create`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeCreate {
    /// Name; absent: random digits.
    pub name: Option<String>,
    /// Labels `K=V`.
    pub labels: Vec<String>,
    /// Whether a volume of this name is no error.
    pub ignore: bool,
}

/// Arguments of `volume ls`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeList {
    /// Names only.
    pub quiet: bool,
    /// Without the line of headings.
    pub noheading: bool,
    /// `NAME=VALUE` that a volume must fit.
    pub filters: Filters,
    /// Format.
    pub format: Format,
}

/// A verb on volumes.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeVerb {
    /// `volume create [NAME]`
    Create(VolumeCreate),
    /// `volume ls`
    List(VolumeList),
    /// `volume inspect NAME...`
    Inspect {
        /// Names.
        names: Vec<String>,
        /// All volumes.
        all: bool,
        /// Format of each.
        format: Format,
    },
    /// `volume export NAME`
    Export {
        /// Name.
        name: String,
        /// File; absent: standard output.
        output: Option<PathBuf>,
    },
    /// `volume import NAME FILE`
    Import {
        /// Name.
        name: String,
        /// File, or `-` for standard input.
        file: String,
    },
    /// `volume rm NAME...`
    Remove {
        /// Names.
        names: Vec<String>,
        /// All volumes.
        all: bool,
        /// Remove their containers too.
        force: bool,
    },
    /// `volume prune`
    Prune {
        /// Do not ask.
        force: bool,
        /// What a volume must fit.
        filters: Filters,
    },
    /// `volume exists NAME`
    Exists(String),
}
