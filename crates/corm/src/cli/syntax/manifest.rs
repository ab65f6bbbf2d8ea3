//! The verbs on lists of images.

use super::common::{ANY, VerbSpec, verb};
use super::registry::{DIGESTFILE, NO_PROGRESS, REMOTE};
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

const ALL: Flag = switch("all", Some('a'), "Every image of an index");
const ANNOTATION: Flag = many("annotation", None, "K=V", "Set an annotation (repeatable)");

/// What an entry states.
const ENTRY: &[Flag] = &[
    one("os", None, "OS", "Operating system"),
    one("arch", None, "ARCH", "Architecture"),
    one("variant", None, "VARIANT", "Variant of the architecture"),
    one("os-version", None, "VERSION", "Version of the operating system"),
    many("os-features", None, "FEATURE", "Feature of the operating system (repeatable)"),
    ANNOTATION,
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        "manifest create",
        "Create a list of images",
        "LIST [IMAGE...]",
        (1, ANY),
        &[
            &[
                switch("all", None, "Every image of an index"),
                switch("amend", Some('a'), "Add to a list of this name"),
                ANNOTATION,
            ],
            REMOTE,
            HELP,
        ],
        convert::manifest::create,
    ),
    verb(
        "manifest add",
        "Add an image of the store or a registry to a list",
        "LIST IMAGE",
        (2, 2),
        &[&[ALL], ENTRY, REMOTE, HELP],
        convert::manifest::add,
    ),
    verb(
        "manifest annotate",
        "Change what a list states of an image",
        "LIST IMAGE|DIGEST",
        (2, 2),
        &[ENTRY, HELP],
        convert::manifest::annotate,
    ),
    verb(
        "manifest inspect",
        "Print the index of a list, or the manifest of an image in a registry",
        "LIST|REF",
        (1, 1),
        &[REMOTE, HELP],
        convert::manifest::inspect,
    ),
    verb(
        "manifest push",
        "Push a list and its images",
        "LIST [DESTINATION]",
        (1, 2),
        &[&[ALL, switch("rm", None, "Remove the list afterwards"), NO_PROGRESS, DIGESTFILE], REMOTE, HELP],
        convert::manifest::push,
    ),
    verb(
        "manifest remove",
        "Remove an image from a list",
        "LIST IMAGE|DIGEST",
        (2, 2),
        &[HELP],
        convert::manifest::remove,
    ),
    verb("manifest rm", "Remove lists", "LIST...", (1, ANY), &[HELP], convert::manifest::rm),
    verb(
        "manifest exists",
        "Exit with 0 if there is a list, else with 1",
        "LIST",
        (1, 1),
        &[HELP],
        convert::manifest::exists,
    ),
];
