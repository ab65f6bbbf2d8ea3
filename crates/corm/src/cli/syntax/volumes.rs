//! The verbs on volumes.

use super::common::{ANY, FORMAT, LABEL, OUTPUT, PRUNE_FILTER, VerbSpec, verb};
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags of `volume create`.
const CREATE: &[Flag] = &[
    one("driver", Some('d'), "NAME", "Driver of the volume: local"),
    LABEL,
    switch("ignore", None, "A volume of this name is no error"),
];

/// Flags of `volume ls`.
const LIST: &[Flag] = &[
    switch("quiet", Some('q'), "Print only names"),
    switch("noheading", Some('n'), "Without the line of headings"),
    many("filter", Some('f'), "NAME=VALUE", "Only volumes that fit: name, label, driver, dangling, until (repeatable)"),
    FORMAT,
];

/// `--all` of verbs on volumes.
const ALL: Flag = switch("all", Some('a'), "All volumes");

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb("volume create", "Create a volume", "[NAME]", (0, 1), &[CREATE, HELP], convert::volumes::create),
    verb("volume ls", "List volumes", "", (0, 0), &[LIST, HELP], convert::volumes::list),
    verb(
        "volume inspect",
        "Show details of volumes as JSON",
        "VOLUME...",
        (0, ANY),
        &[&[ALL, one("format", Some('f'), "FORMAT", "Output format: json, or a template of Go")], HELP],
        convert::volumes::inspect,
    ),
    verb(
        "volume export",
        "Write the content of a volume as a tar",
        "VOLUME",
        (1, 1),
        &[&[OUTPUT], HELP],
        convert::volumes::export,
    ),
    verb("volume import", "Extract a tar into a volume", "VOLUME FILE|-", (2, 2), &[HELP], convert::volumes::import),
    verb(
        "volume rm",
        "Remove volumes",
        "VOLUME...",
        (0, ANY),
        &[&[ALL, switch("force", Some('f'), "Remove the containers that use them too")], HELP],
        convert::volumes::remove,
    ),
    verb(
        "volume prune",
        "Remove volumes that no container uses",
        "",
        (0, 0),
        &[
            &[
                switch("force", Some('f'), "Do not ask"),
                switch("all", Some('a'), "Also volumes with a name, which are removed in any case"),
                PRUNE_FILTER,
            ],
            HELP,
        ],
        convert::volumes::prune,
    ),
    verb(
        "volume exists",
        "Exit with 0 if a volume exists, else with 1",
        "VOLUME",
        (1, 1),
        &[HELP],
        convert::volumes::exists,
    ),
];
