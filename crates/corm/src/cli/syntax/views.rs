//! Flags of the verbs that show something.

use base::cli_parser::Flag;
use base::cli_parser::LATEST;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

const FORMAT: Flag = one("format", None, "FORMAT", "Output format: table, json, or a template of Go [default: table]");
const INSPECT_FORMAT: Flag =
    one("format", Some('f'), "FORMAT", "Output format: json, or a template of Go [default: json]");
const QUIET: Flag = switch("quiet", Some('q'), "Print only IDs");
const NO_TRUNC: Flag = switch("no-trunc", None, "Print whole IDs and commands");
const FILTER: Flag = many("filter", Some('f'), "NAME=VALUE", "List only what matches (repeatable)");

/// Flags of `images`.
pub(super) const IMAGES: &[Flag] = &[
    switch("all", Some('a'), "Include intermediate images, of which corm has none"),
    QUIET,
    switch("digests", None, "Show digests"),
    NO_TRUNC,
    FILTER,
    FORMAT,
    switch("noheading", Some('n'), "Print no headings"),
    one("sort", None, "ORDER", "Order: created, id, repository, size or tag [default: created]"),
];

/// Flags of `ps`.
pub(super) const PS: &[Flag] = &[
    switch("all", Some('a'), "Include stopped containers"),
    QUIET,
    switch("latest", Some('l'), "List the container created last, running or not"),
    one("last", Some('n'), "N", "List the N containers created last, running or not"),
    switch("size", Some('s'), "Show sizes"),
    NO_TRUNC,
    FILTER,
    FORMAT,
    switch("noheading", None, "Print no headings"),
    one("sort", None, "ORDER", "Order: created, command, id, image, names, size or status [default: created]"),
];

/// Flags of `inspect`.
pub(super) const INSPECT: &[Flag] = &[
    INSPECT_FORMAT,
    one("type", Some('t'), "TYPE", "What is looked for: image, container or all [default: all]"),
    switch("size", Some('s'), "Measure containers"),
    LATEST,
];

/// Flags of `history`.
pub(super) const HISTORY: &[Flag] = &[
    FORMAT,
    switch("human", Some('H'), "Print sizes and ages for people instead of bytes and times [default: true]"),
    NO_TRUNC,
    QUIET,
];

/// Flags of `diff`.
pub(super) const DIFF: &[Flag] =
    &[one("format", None, "FORMAT", "Output format: table or json [default: table]"), LATEST];

/// Flags of `logs`.
pub(super) const LOGS: &[Flag] = &[
    switch("follow", Some('f'), "Follow the log output"),
    one("tail", None, "N", "Print only the last N lines [default: all]"),
    one("since", None, "TIME", "Print lines since a time, or since a duration ago (10m)"),
    one("until", None, "TIME", "Print lines until a time, or until a duration ago (10m)"),
    switch("timestamps", Some('t'), "Print the time of each line"),
    switch("names", Some('n'), "Print the container's name before each line"),
];

/// Flags of `system df`.
pub(super) const DF: &[Flag] = &[FORMAT, switch("verbose", Some('v'), "List each image and container")];
