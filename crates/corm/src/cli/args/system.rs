//! Arguments of the verbs on the store as a whole.

use super::views;
use crate::view::filter::Filters;
use crate::view::listing::Format;

/// Arguments of `system prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemPrune {
    /// Also remove named images that no container uses.
    pub all: bool,
    /// Also remove volumes that no container uses.
    pub volumes: bool,
    /// What images and volumes must fit.
    pub filters: Filters,
}

/// A verb on the store as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum SystemVerb {
    /// `system df`
    SystemDf(views::SystemDf),
    /// `system prune [-a]`
    SystemPrune(SystemPrune),
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
