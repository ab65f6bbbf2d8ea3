//! The verbs on registries, and flags that other verbs which use them have too.

use super::common::{ANY, FORMAT, PLATFORM, TLS_VERIFY, VerbSpec, verb};
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

pub(super) const AUTHFILE: Flag =
    one("authfile", None, "FILE", "File of credentials [default: $REGISTRY_AUTH_FILE, or Podman's and Docker's]");
const CREDS: Flag = one("creds", None, "USER[:PASSWORD]", "Credentials in the place of those in files");
pub(super) const NO_PROGRESS: Flag = switch("quiet", Some('q'), "Print no progress");

/// Access to a registry.
pub(super) const REMOTE: &[Flag] = &[TLS_VERIFY, AUTHFILE, CREDS];

/// Compression of what is written.
pub(super) const COMPRESSION: &[Flag] = &[
    one("compression-format", None, "FORMAT", "Compress the layers by gzip or zstd [default: as they are]"),
    one("compression-level", None, "LEVEL", "Level of the compression: 1 to 9, of zstd 1 to 20"),
];

pub(super) const DIGESTFILE: Flag = one("digestfile", None, "FILE", "Write the digest to a file");

/// Flags of `login`.
const LOGIN: &[Flag] = &[
    one("username", Some('u'), "USER", "User name"),
    one("password", Some('p'), "PASSWORD", "Password, which other users of the machine may see"),
    switch("password-stdin", None, "Read the password from standard input"),
    switch("get-login", None, "Print the user name of the login"),
    switch("verbose", Some('v'), "Print the file that has the credentials"),
    TLS_VERIFY,
    AUTHFILE,
];

/// Flags of `copy`.
const COPY: &[Flag] = &[
    switch("all", Some('a'), "Copy every image of an index"),
    PLATFORM,
    switch("preserve-digests", None, "Fail where the digest would change"),
    NO_PROGRESS,
    DIGESTFILE,
    TLS_VERIFY,
    switch("src-tls-verify", None, "As --tls-verify, for the source"),
    switch("dest-tls-verify", None, "As --tls-verify, for the destination"),
    AUTHFILE,
    one("src-authfile", None, "FILE", "As --authfile, for the source"),
    one("dest-authfile", None, "FILE", "As --authfile, for the destination"),
    one("src-creds", None, "USER[:PASSWORD]", "Credentials for the source"),
    one("dest-creds", None, "USER[:PASSWORD]", "Credentials for the destination"),
];

/// Flags of `search`.
const SEARCH: &[Flag] = &[
    many("filter", Some('f'), "NAME=VALUE", "Only what fits: stars, is-official, is-automated (repeatable)"),
    one("format", None, "FORMAT", "Output format: table, json, or a template of Go [default: table]"),
    one("limit", None, "N", "Most rows of each registry [default: 25]"),
    switch("list-tags", None, "List the tags of a repository"),
    switch("no-trunc", None, "Print whole descriptions"),
    switch("compatible", None, "Also stars, and whether it is official and automated"),
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb("login", "Log in to a registry", "[REGISTRY]", (0, 1), &[LOGIN, HELP], convert::registry::login),
    verb(
        "logout",
        "Remove the credentials of a registry",
        "[REGISTRY]",
        (0, 1),
        &[&[switch("all", Some('a'), "Remove the credentials of all registries"), AUTHFILE], HELP],
        convert::registry::logout,
    ),
    verb(
        "search",
        "Search registries for repositories",
        "TERM",
        (1, 1),
        &[SEARCH, REMOTE, HELP],
        convert::registry::search,
    ),
    verb(
        "copy",
        "Copy an image between registries, layouts, archives and the store",
        "SOURCE DESTINATION",
        (2, 2),
        &[COPY, COMPRESSION, HELP],
        convert::registry::copy,
    ),
    verb(
        "tags",
        "List the tags of a repository in a registry",
        "REPOSITORY",
        (1, 1),
        &[REMOTE, &[FORMAT], HELP],
        convert::registry::tags,
    ),
    verb("delete", "Delete images in registries", "REF...", (1, ANY), &[REMOTE, HELP], convert::registry::delete),
];
