//! Arguments of the verbs on networks.

use crate::config::network::Attachment;
use crate::config::new_network::NewNetwork;
use crate::view::filter::Filters;
use crate::view::listing::Format;

/// A verb on networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkVerb {
    /// `network ls`
    List {
        /// Names only.
        quiet: bool,
        /// Without the line of headings.
        noheading: bool,
        /// Whole IDs.
        no_trunc: bool,
        /// `NAME=VALUE` that a network must fit.
        filters: Filters,
        /// Format.
        format: Format,
    },
    /// `network create NAME`
    Create(String, NewNetwork),
    /// `network connect NETWORK CONTAINER`
    Connect {
        /// Container.
        container: String,
        /// Its place in the network.
        place: Attachment,
    },
    /// `network disconnect NETWORK CONTAINER`
    Disconnect {
        /// Network.
        network: String,
        /// Container.
        container: String,
    },
    /// `network exists NAME`
    Exists(String),
    /// `network prune`
    Prune {
        /// Ask no question.
        force: bool,
        /// What a network must fit.
        filters: Filters,
    },
    /// `network inspect NAME...`
    Inspect {
        /// Names.
        names: Vec<String>,
        /// Format of each.
        format: Format,
    },
    /// `network rm NAME...`
    Remove {
        /// Names.
        names: Vec<String>,
        /// Remove the containers that use it first.
        force: bool,
    },
    /// `port CONTAINER [PORT[/PROTOCOL]]`
    Port {
        /// Container.
        container: String,
        /// A port of the container.
        port: Option<String>,
    },
}
