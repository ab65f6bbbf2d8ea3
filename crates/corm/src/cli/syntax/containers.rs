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

/// `--time` of verbs that stop containers.
const TIME: Flag = one("time", Some('t'), "SECONDS", "Seconds to wait before SIGKILL [default: 10]");

/// `--ignore` of verbs on several containers.
const IGNORE: Flag = switch("ignore", Some('i'), "Names of no container are no error");

/// Flags of `start`.
const START: &[Flag] = &[
    switch("attach", Some('a'), "Stay in the foreground with the container's output"),
    switch("interactive", Some('i'), "Forward standard input to a container that was created with -i"),
    switch("all", None, "All containers that do not run"),
];

/// Flags of `rm`.
const REMOVE: &[Flag] = &[
    switch("force", Some('f'), "Stop running containers first"),
    switch("all", Some('a'), "All containers"),
    switch("volumes", Some('v'), "Also volumes without a name, which are removed in any case"),
    IGNORE,
    one("time", Some('t'), "SECONDS", "Seconds to wait before SIGKILL [default: none]"),
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
        (0, ANY),
        &[&[TIME, switch("all", Some('a'), "All running containers"), IGNORE], HELP],
        convert::containers::stop,
    ),
    verb(
        "kill",
        "Send a signal to containers",
        "CONTAINER...",
        (0, ANY),
        &[
            &[
                one("signal", Some('s'), "SIGNAL", "Signal name or number [default: KILL]"),
                switch("all", Some('a'), "All running containers"),
            ],
            HELP,
        ],
        convert::containers::kill,
    ),
    verb("start", "Start stopped containers", "CONTAINER...", (0, ANY), &[START, HELP], convert::containers::start),
    verb(
        "restart",
        "Stop containers and start them again",
        "CONTAINER...",
        (0, ANY),
        &[
            &[
                TIME,
                switch("all", Some('a'), "All containers"),
                switch("running", None, "Those that run, of the named or of all"),
            ],
            HELP,
        ],
        convert::containers::restart,
    ),
    verb(
        "cp",
        "Copy files between a container and the host",
        "CONTAINER:SRC DST|- | SRC|- CONTAINER:DST",
        (2, 2),
        &[
            &[
                switch(
                    "archive",
                    Some('a'),
                    "Files in a container belong to its user, not the source's [default: true]",
                ),
                switch("overwrite", None, "A directory may take the place of another file, and the reverse"),
            ],
            HELP,
        ],
        convert::containers::copy,
    ),
    verb("rename", "Rename a container", "CONTAINER NAME", (2, 2), &[HELP], convert::containers::rename),
    verb(
        "pause",
        "Freeze all processes of containers",
        "CONTAINER...",
        (0, ANY),
        &[&[switch("all", Some('a'), "All running containers")], HELP],
        convert::containers::pause,
    ),
    verb(
        "unpause",
        "Thaw all processes of containers",
        "CONTAINER...",
        (0, ANY),
        &[&[switch("all", Some('a'), "All paused containers")], HELP],
        convert::containers::unpause,
    ),
    verb("rm", "Remove containers", "CONTAINER...", (0, ANY), &[REMOVE, HELP], convert::containers::rm),
    verb(
        "container exists",
        "Exit with 0 if a container exists, else with 1",
        "CONTAINER",
        (1, 1),
        &[HELP],
        convert::containers::exists,
    ),
    verb(
        "container prune",
        "Remove all containers that do not run",
        "",
        (0, 0),
        &[&[switch("force", Some('f'), "Do not ask")], HELP],
        convert::containers::prune,
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
