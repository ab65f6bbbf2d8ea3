//! The flags of `run`.

use super::common::{
    ANY, ARCH, DETACH, DETACH_KEYS, ENV, ENV_FILE, INTERACTIVE, LABEL, OS, PLATFORM, SIG_PROXY, TTY, USER, VARIANT,
    VerbSpec, WORKDIR,
};
use super::network;
use super::registry::REMOTE;
use super::settings::SETTINGS;
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::LONG_HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags that `run` and `create` have both.
const NEW: &[Flag] = &[
    INTERACTIVE,
    TTY,
    switch("rm", None, "Remove the container when it exits"),
    one("name", None, "NAME", "Container name"),
    many("volume", Some('v'), "SRC:DST[:OPTIONS]", "Bind mount a file or directory of the host (repeatable)"),
    one("pull", None, "WHEN", "Pull the image: missing, always or never [default: missing]"),
    PLATFORM,
    ARCH,
    OS,
    VARIANT,
    switch("quiet", Some('q'), "Pull without progress"),
    ENV_FILE,
    one("cidfile", None, "FILE", "Write the container's ID to a new file"),
    one("entrypoint", None, "WORDS", "Entrypoint in the place of the image's: a JSON list, or a program"),
    LABEL,
    ENV,
    WORKDIR,
    USER,
    one("memory", Some('m'), "SIZE", "Memory limit in bytes, or with a unit: k, m, g or t"),
    one("cpus", None, "N", "Number of CPUs, such as 1.5"),
    one("pids-limit", None, "N", "Maximum number of processes, -1 for unlimited"),
    many(
        "log-opt",
        None,
        "NAME=VALUE",
        "Log rotation: max-size=SIZE [default: 10m] or max-file=N [default: 3] (repeatable)",
    ),
    switch("read-only", None, "Make the root file system read-only"),
    one("hostname", Some('h'), "NAME", "Container host name"),
];

/// Removal of the image.
const RMI: Flag = switch("rmi", None, "Also remove the image when the container exits, unless another one uses it");

/// Connection of a caller in the foreground.
const CALLER: &[Flag] = &[
    many("attach", Some('a'), "STREAM", "Connect stdin, stdout or stderr alone [default: all] (repeatable)"),
    DETACH_KEYS,
    SIG_PROXY,
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    VerbSpec {
        name: "run",
        about: "Create a container from an image and run it",
        operands: "IMAGE [COMMAND [ARG...]]",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[&[DETACH, RMI], CALLER, NEW, SETTINGS, network::RUN, REMOTE, LONG_HELP],
        make: convert::run::run,
    },
    VerbSpec {
        name: "create",
        about: "Create a container from an image; start runs it",
        operands: "IMAGE [COMMAND [ARG...]]",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[NEW, SETTINGS, network::RUN, REMOTE, LONG_HELP],
        make: convert::run::create,
    },
];
