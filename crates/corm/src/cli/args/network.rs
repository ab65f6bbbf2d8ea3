//! Arguments of the verbs on networks.

use crate::view::listing::Format;

/// A verb on networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkVerb {
    /// `network ls`
    List {
        /// Names only.
        quiet: bool,
        /// Format.
        format: Format,
    },
    /// `network create NAME`
    Create {
        /// Name.
        name: String,
        /// `--subnet`; absent: a free one.
        subnet: Option<String>,
        /// Whether there is no way out.
        internal: bool,
        /// Whether names of containers are not resolved.
        disable_dns: bool,
    },
    /// `network inspect NAME...`
    Inspect {
        /// Names.
        names: Vec<String>,
        /// Format of each.
        format: Format,
    },
    /// `network rm NAME...`
    Remove(Vec<String>),
    /// `port CONTAINER [PORT[/PROTOCOL]]`
    Port {
        /// Container.
        container: String,
        /// A port of the container.
        port: Option<String>,
    },
}
