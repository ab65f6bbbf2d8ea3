//! Arguments of the verbs on volumes.
use super::common::Format;

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

/// A verb on volumes.
#[derive(Debug, Clone, PartialEq)]
pub enum VolumeVerb {
    /// `volume create [NAME]`
    Create(VolumeCreate),
    /// `volume ls`
    List {
        /// Names only.
        quiet: bool,
        /// Table or JSON.
        format: Format,
    },
    /// `volume inspect NAME...`
    Inspect {
        /// Names.
        names: Vec<String>,
        /// All volumes.
        all: bool,
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
    },
    /// `volume exists NAME`
    Exists(String),
}
