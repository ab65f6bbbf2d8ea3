//! corm's verbs and flags: constant tables for the parser, the help and the tests. A file for each kind of verb,
//! `groups` for the verbs that have a second name, and `examples` of each verb with the exit statuses.

mod build;
mod common;
mod containers;
mod examples;
mod groups;
mod images;
mod manifest;
mod network;
mod registry;
mod run;
mod settings;
mod system;
mod views;
mod volumes;

use super::args::{Global, Verb};
use super::convert;
use base::cli_parser::Flags;
use base::cli_parser::HELP;
use base::cli_parser::Program;
use base::cli_parser::VERSION;
use base::cli_parser::many;
use base::cli_parser::one;

/// corm's command line.
pub(super) const CORM: Program<Global, Verb> = Program {
    name: "corm",
    about: "OCI images, bundles and containers from them",
    operand: "ARG...",
    version: || format!("corm version {}\n", env!("CARGO_PKG_VERSION")),
    global: GLOBAL,
    make: convert::global,
    verbs: &[
        images::VERBS,
        build::VERBS,
        registry::VERBS,
        manifest::VERBS,
        run::VERBS,
        containers::VERBS,
        volumes::VERBS,
        system::VERBS,
        network::VERBS,
    ],
    groups: groups::GROUPS,
    examples: examples::EXAMPLES,
    statuses: examples::STATUSES,
    helps_without_verb: false,
};

const GLOBAL: Flags = &[
    &[
        one("root", None, "DIR", "Storage directory [default: $CORM_ROOT, /var/lib/corm, or $XDG_DATA_HOME/corm]"),
        one("driver", None, "NAME", "Storage driver: btrfs, overlay, aufs or copy [default: the first that works]"),
        one("runtime", None, "PATH", "OCI runtime [default: croci beside corm, or in $PATH]"),
        many(
            "layer-limit",
            None,
            "NAME=VALUE",
            "Limit of a layer: size, files, min-free, entries, depth, ratio or ratio-from (repeatable)",
        ),
        one("log-level", None, "LEVEL", "Least severe messages printed: error, warning, info or debug [default: info]"),
        VERSION,
    ],
    HELP,
];
