//! The verbs on containers.

use super::common::{ANY, DETACH, ENV, FORMAT, INTERACTIVE, QUIET, TTY, USER, VerbSpec, WORKDIR, verb};
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags of `commit`.
const COMMIT: &[Flag] = &[
    one("message", Some('m'), "TEXT", "Comment in the image's history"),
    one("author", Some('a'), "NAME", "Author in the image's history"),
    many("change", Some('c'), "LINE", "Change the configuration by an instruction of a Dockerfile (repeatable)"),
    switch("include-volumes", None, "Include the content of volumes"),
    one("output", Some('o'), "FILE", "Also write the file system to a tar, and print its path"),
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        "ps",
        "List containers",
        "",
        (0, 0),
        &[&[switch("all", Some('a'), "Include stopped containers"), QUIET, FORMAT], HELP],
        convert::containers::ps,
    ),
    VerbSpec {
        name: "exec",
        about: "Run a command in a running container",
        operands: "CONTAINER COMMAND [ARG...]",
        count: (2, ANY),
        has_trailing_args: true,
        flags: &[&[DETACH, INTERACTIVE, TTY, ENV, WORKDIR, USER], HELP],
        make: convert::containers::exec,
    },
    verb(
        "logs",
        "Print the logs of a container",
        "CONTAINER",
        (1, 1),
        &[&[switch("follow", Some('f'), "Follow the log output")], HELP],
        convert::containers::logs,
    ),
    verb(
        "wait",
        "Wait for containers to exit and print the exit status of each",
        "CONTAINER...",
        (1, ANY),
        &[HELP],
        convert::containers::wait,
    ),
    verb(
        "stop",
        "Stop containers by their stop signal, then by SIGKILL",
        "CONTAINER...",
        (1, ANY),
        &[&[one("time", Some('t'), "SECONDS", "Seconds to wait before SIGKILL [default: 10]")], HELP],
        convert::containers::stop,
    ),
    verb(
        "kill",
        "Send a signal to containers",
        "CONTAINER...",
        (1, ANY),
        &[&[one("signal", Some('s'), "SIGNAL", "Signal name or number [default: KILL]")], HELP],
        convert::containers::kill,
    ),
    verb("start", "Start stopped containers", "CONTAINER...", (1, ANY), &[HELP], convert::containers::start),
    verb(
        "rm",
        "Remove containers",
        "CONTAINER...",
        (1, ANY),
        &[&[switch("force", Some('f'), "Kill running containers first")], HELP],
        convert::containers::rm,
    ),
    verb(
        "commit",
        "Create an image from the changes of a container",
        "CONTAINER IMAGE",
        (2, 2),
        &[COMMIT, HELP],
        convert::containers::commit,
    ),
];
