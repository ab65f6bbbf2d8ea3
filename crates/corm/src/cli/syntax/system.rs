//! The verbs on the store as a whole.

use super::common::{PRUNE_FILTER, VerbSpec, verb};
use super::views;
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::one;
use base::cli_parser::switch;

/// `--format` of a document.
const SHOWN: Flag = one("format", Some('f'), "FORMAT", "Output format: json, or a template of Go [default: text]");

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb("system df", "Show disk usage", "", (0, 0), &[views::DF, HELP], convert::views::system_df),
    verb(
        "system prune",
        "Remove unused data",
        "",
        (0, 0),
        &[
            &[
                switch("all", Some('a'), "Also remove named images that no container uses"),
                switch("force", Some('f'), "Do not ask, which is never done"),
                switch("volumes", None, "Also remove volumes that no container uses"),
                PRUNE_FILTER,
            ],
            HELP,
        ],
        convert::system::prune,
    ),
    verb(
        "fsck",
        "Verify images, layers and records",
        "",
        (0, 0),
        &[&[switch("repair", None, "Repair or remove damaged data")], HELP],
        convert::system::fsck,
    ),
    verb(
        "explain",
        "Explain an error: its code, or the whole line; without an operand list all codes",
        "[CODE|MESSAGE...]",
        (0, usize::MAX),
        &[HELP],
        convert::system::explain,
    ),
    verb("version", "Show the version", "", (0, 0), &[&[SHOWN], HELP], convert::system::version),
    verb("info", "Show the store, its driver and the host", "", (0, 0), &[&[SHOWN], HELP], convert::system::info),
];
