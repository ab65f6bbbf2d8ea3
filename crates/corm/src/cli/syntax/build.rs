//! The flags of `build`.

use super::common::{LABEL, OUTPUT, PLATFORM, VerbSpec, verb};
use super::registry::REMOTE;
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags for what is built.
const WHAT: &[Flag] = &[
    one("file", Some('f'), "FILE", "Containerfile, - for standard input [default: Containerfile or Dockerfile]"),
    one("ignorefile", None, "FILE", "File with what is left out [default: .containerignore or .dockerignore]"),
    many("tag", Some('t'), "NAME", "Name of the image (repeatable)"),
    one("target", None, "STAGE", "Stage to build, by name or number [default: the last one]"),
    many("build-arg", None, "K=V", "Set an argument (repeatable)"),
    many(
        "build-context",
        None,
        "NAME=PLACE",
        "Another context: a directory, an address, docker-image://REF (repeatable)",
    ),
    PLATFORM,
    LABEL,
    many("annotation", None, "K=V", "Set an annotation of the manifest (repeatable)"),
    switch("squash", None, "Replace the layers of the build by one"),
    switch("squash-all", None, "Replace all layers by one"),
];

/// Flags for how it is built.
const HOW: &[Flag] = &[
    switch("no-cache", None, "Use nothing of the cache"),
    many("cache-from", None, "PLACE", "Use the cache of oci:DIR:TAG or docker://REF, too (repeatable)"),
    many("cache-to", None, "PLACE", "Write the cache of this build to oci:DIR:TAG or docker://REF (repeatable)"),
    switch("pull", None, "Pull base images: --pull=missing, always or never [default: missing; alone: always]"),
    many("secret", None, "id=ID,src=PATH", "Secret for RUN --mount=type=secret, or id=ID,env=NAME (repeatable)"),
    many("ssh", None, "ID[=SOCKET]", "SSH agent for RUN --mount=type=ssh [default: $SSH_AUTH_SOCK] (repeatable)"),
    one("network", None, "MODE", "Network of RUN: none, host, pasta, slirp4netns or the name of one [default: none]"),
    many("add-host", None, "NAME:IP", "Add a line to /etc/hosts of RUN (repeatable)"),
    one("memory", Some('m'), "SIZE", "Memory limit of RUN in bytes, or with a unit: k, m, g or t"),
    one("memory-swap", None, "SIZE", "Limit of memory and swap of RUN, -1 for unlimited"),
    one("cpu-shares", Some('c'), "N", "Relative weight of the CPU time of RUN"),
    one("cpu-period", None, "US", "Period of --cpu-quota in microseconds"),
    one("cpu-quota", None, "US", "CPU time of RUN in each period in microseconds"),
    one("cpuset-cpus", None, "LIST", "CPUs of RUN, such as 0-3,5"),
    one("cpuset-mems", None, "LIST", "Memory nodes of RUN"),
    one("shm-size", None, "SIZE", "Size of /dev/shm of RUN"),
    many("ulimit", None, "NAME=SOFT[:HARD]", "Resource limit of RUN (repeatable)"),
];

/// Flags for what is written and printed.
const OUT: &[Flag] = &[
    one(OUTPUT.name, OUTPUT.short, "SPEC", "Also write the result: type=local|tar|oci|docker,dest=PATH"),
    one("iidfile", None, "FILE", "Write the ID of the image to a file"),
    one("progress", None, "KIND", "auto, plain or quiet [default: auto]"),
    switch("quiet", Some('q'), "Print the ID only"),
];

/// The verb.
pub(super) const VERBS: &[VerbSpec] = &[verb(
    "build",
    "Create an image from a Containerfile",
    "[CONTEXT]",
    (0, 1),
    &[WHAT, HOW, OUT, REMOTE, HELP],
    convert::build::build,
)];
