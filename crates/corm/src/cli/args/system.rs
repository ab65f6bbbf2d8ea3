//! Arguments of the verbs on the store as a whole.

use super::views;
use crate::view::listing::Format;

/// A verb on the store as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum SystemVerb {
    /// `system df`
    SystemDf(views::SystemDf),
    /// `system prune [-a]`
    SystemPrune {
        /// Also remove named images that no container uses.
        all: bool,
        /// Also remove volumes that no container uses.
        volumes: bool,
    },
    /// `fsck [--repair]`
    Fsck {
        /// Repair or remove damaged data.
        repair: bool,
    },
    /// `explain [CODE|MESSAGE…]`
    Explain(Vec<String>),
    /// `version`
    Version {
        /// Text or JSON.
        format: Format,
    },
    /// `info`
    Info {
        /// Text or JSON.
        format: Format,
    },
}
