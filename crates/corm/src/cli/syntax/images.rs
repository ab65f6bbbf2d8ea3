//! The verbs on images.

use super::common::{ANY, ARCH, ENV, LABEL, OS, OUTPUT, PLATFORM, USER, VARIANT, VerbSpec, WORKDIR, verb};
use super::registry::{COMPRESSION, DIGESTFILE, NO_PROGRESS, REMOTE};
use super::views;
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flag of `bundle`.
const BUNDLE_TTY: Flag = switch("tty", Some('t'), "Its program has a terminal, which the runtime's caller has to give");

/// Flags of `config`.
const CONFIG: &[Flag] = &[
    one("cmd", None, "WORDS", "Set the default command: a JSON list, or words"),
    one("entrypoint", None, "WORDS", "Set the entrypoint: a JSON list, or words"),
    ENV,
    USER,
    WORKDIR,
    LABEL,
];

/// Flags of `import`.
const IMPORT: &[Flag] = &[
    many("change", Some('c'), "LINE", "Change the configuration by an instruction of a Dockerfile (repeatable)"),
    one("message", Some('m'), "TEXT", "Comment in the image's history"),
    PLATFORM,
    ARCH,
    OS,
    VARIANT,
    NO_PROGRESS,
];

/// Flags of `load`.
const LOAD: &[Flag] = &[
    one("input", Some('i'), "PATH", "The same as PATH [default: standard input]"),
    one("name", None, "NAME", "Name for the image"),
    NO_PROGRESS,
];

/// Flags of `pull`.
const PULL: &[Flag] =
    &[PLATFORM, ARCH, OS, VARIANT, switch("all-tags", Some('a'), "Pull all tags of the repository"), NO_PROGRESS];

/// Flags of `save`.
const SAVE: &[Flag] = &[
    one("format", None, "FORMAT", "oci-archive, oci-dir, docker-archive or docker-dir [default: oci-archive]"),
    OUTPUT,
    NO_PROGRESS,
    switch("multi-image-archive", Some('m'), "As Podman has it; several images need no flag"),
];

/// Flags of `inspect` for an image in a registry.
const INSPECT: &[Flag] = &[
    switch("raw", None, "docker://: print the bytes of the manifest, or with --config of the configuration"),
    switch("config", None, "docker://: print the configuration"),
    PLATFORM,
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb("init", "Create an image from a directory", "DIR [NAME]", (1, 2), &[HELP], convert::images::init),
    verb("import", "Create an image from a tar", "FILE|- [NAME]", (1, 2), &[IMPORT, HELP], convert::images::import),
    verb(
        "load",
        "Load images from an OCI layout, an OCI archive or a Docker archive",
        "[PATH]",
        (0, 1),
        &[LOAD, HELP],
        convert::images::load,
    ),
    verb("pull", "Pull images from registries", "REF...", (1, ANY), &[PULL, REMOTE, HELP], convert::images::pull),
    verb(
        "push",
        "Push an image to a registry",
        "IMAGE [REF]",
        (1, 2),
        &[&[NO_PROGRESS, DIGESTFILE], COMPRESSION, REMOTE, HELP],
        convert::images::push,
    ),
    verb(
        "save",
        "Save images to a file, a directory or standard output",
        "IMAGE...",
        (1, ANY),
        &[SAVE, COMPRESSION, HELP],
        convert::images::save,
    ),
    verb(
        "export",
        "Export the file system of a container or an image as a tar",
        "CONTAINER|IMAGE",
        (1, 1),
        &[&[OUTPUT], HELP],
        convert::images::export,
    ),
    verb("images", "List images", "[NAME]", (0, 1), &[views::IMAGES, HELP], convert::views::images),
    verb(
        "inspect",
        "Show details of images and containers as JSON",
        "IMAGE|CONTAINER... | docker://REF",
        (1, ANY),
        &[views::INSPECT, INSPECT, REMOTE, HELP],
        convert::views::inspect,
    ),
    verb("history", "Show the history of an image", "IMAGE", (1, 1), &[views::HISTORY, HELP], convert::views::history),
    verb(
        "diff",
        "List changed files: A added, C changed, D deleted",
        "IMAGE|CONTAINER",
        (1, 1),
        &[views::DIFF, HELP],
        convert::views::diff,
    ),
    verb("tag", "Add a name to an image", "IMAGE NAME", (2, 2), &[HELP], convert::images::tag),
    verb(
        "untag",
        "Remove names of an image, by default all; the image stays",
        "IMAGE [NAME...]",
        (1, ANY),
        &[HELP],
        convert::images::untag,
    ),
    verb(
        "rmi",
        "Remove images",
        "IMAGE...",
        (0, ANY),
        &[
            &[
                switch("force", Some('f'), "Remove all names of the image, and its containers"),
                switch("all", Some('a'), "All images"),
                switch("ignore", Some('i'), "Missing images are no error"),
                switch("no-prune", None, "As Podman has it; there are no parents without a name"),
            ],
            HELP,
        ],
        convert::images::rmi,
    ),
    verb(
        "image exists",
        "Exit with 0 if an image exists, else with 1",
        "IMAGE",
        (1, 1),
        &[HELP],
        convert::images::exists,
    ),
    verb(
        "image prune",
        "Remove images that have no name",
        "",
        (0, 0),
        &[
            &[
                switch("all", Some('a'), "Also named images that no container uses"),
                switch("force", Some('f'), "Do not ask"),
                many("filter", None, "NAME=VALUE", "Only images that images lists with this filter (repeatable)"),
            ],
            HELP,
        ],
        convert::images::prune,
    ),
    verb(
        "config",
        "Create an image with a changed configuration",
        "IMAGE NEWNAME",
        (2, 2),
        &[CONFIG, HELP],
        convert::images::config,
    ),
    verb(
        "bundle",
        "Create an OCI bundle from an image or a directory",
        "IMAGE DIR",
        (2, 2),
        &[&[BUNDLE_TTY], HELP],
        convert::images::bundle,
    ),
    verb("unbundle", "Remove a bundle", "DIR", (1, 1), &[HELP], convert::images::unbundle),
];
