//! The verbs on containers.

use super::common::{
    ANY, DETACH, DETACH_KEYS, ENV, ENV_FILE, FORMAT, INTERACTIVE, PRUNE_FILTER, SELECT, SIG_PROXY, TTY, USER, VerbSpec,
    WORKDIR, verb,
};
use super::views;
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::LATEST;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags of `commit`.
const COMMIT: &[Flag] = &[
    one("message", Some('m'), "TEXT", "Comment in the image's history"),
    one("author", Some('a'), "NAME", "Author in the image's history"),
    many("change", Some('c'), "LINE", "Change the configuration by an instruction of a Dockerfile (repeatable)"),
    switch("pause", Some('p'), "Pause the container meanwhile, which is always done [default: true]"),
    switch("quiet", Some('q'), "Print no progress, of which there is none"),
    one("iidfile", None, "FILE", "Write the image's ID to a file"),
    switch("include-volumes", None, "Include the content of volumes"),
    one("output", Some('o'), "FILE", "Also write the file system to a tar, and print its path"),
];

/// `--time` of verbs that stop containers.
const TIME: Flag = one("time", Some('t'), "SECONDS", "Seconds to wait before SIGKILL [default: 10]");

/// `--signal` of verbs that stop containers.
const SIGNAL: Flag = one("signal", Some('s'), "SIGNAL", "Signal in the place of the container's stop signal");

/// `--cidfile` of verbs on several containers.
const CIDFILE: Flag = many("cidfile", None, "FILE", "Also the container whose ID is in a file (repeatable)");

/// `--ignore` of verbs on several containers.
const IGNORE: Flag = switch("ignore", Some('i'), "Names of no container are no error");

/// Flags of `update`.
const UPDATE: &[Flag] = &[
    one("memory", Some('m'), "SIZE", "Memory limit, -1 for none"),
    one("memory-reservation", None, "SIZE", "Memory that the kernel leaves to the container under pressure"),
    one("memory-swap", None, "SIZE", "Limit of memory and swap, -1 for none"),
    one("cpus", None, "N", "Number of CPUs, such as 1.5"),
    one("cpu-shares", Some('c'), "N", "Weight of the container's CPU time"),
    one("cpu-period", None, "MICROSECONDS", "Period of the CPU quota"),
    one("cpu-quota", None, "MICROSECONDS", "CPU time in each period"),
    one("cpuset-cpus", None, "LIST", "CPUs that may be used, such as 0-3,8"),
    one("cpuset-mems", None, "LIST", "Memory nodes that may be used"),
    one("pids-limit", None, "N", "Maximum number of processes, -1 for unlimited"),
    one("blkio-weight", None, "N", "Weight of the container's block I/O"),
];

/// Flags of `wait`.
const WAIT: &[Flag] = &[
    many(
        "condition",
        None,
        "STATUS",
        "Wait for created, running, paused, exited, stopped or removing [default: the end] (repeatable)",
    ),
    one("interval", Some('i'), "TIME", "Time between two looks at the status, such as 1s [default: 250ms]"),
    switch("ignore", None, "Containers that are gone are no error"),
];

/// Flags of `start`.
const START: &[Flag] = &[
    switch("attach", Some('a'), "Stay in the foreground with the container's output"),
    switch("interactive", Some('i'), "Forward standard input to a container that was created with -i"),
    switch("all", None, "All containers that do not run"),
    DETACH_KEYS,
    SIG_PROXY,
];

/// Flags of `rm`.
const REMOVE: &[Flag] = &[
    switch("force", Some('f'), "Stop running containers first"),
    switch("all", Some('a'), "All containers"),
    switch("volumes", Some('v'), "Also volumes without a name, which are removed in any case"),
    IGNORE,
    CIDFILE,
    // -f is --force here
    many("filter", None, "NAME=VALUE", "The containers that ps -a lists with this filter (repeatable)"),
    one("time", Some('t'), "SECONDS", "Seconds to wait before SIGKILL [default: none]"),
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb("ps", "List containers", "", (0, 0), &[views::PS, HELP], convert::views::ps),
    VerbSpec {
        name: "exec",
        about: "Run a command in a running container",
        operands: "CONTAINER COMMAND [ARG...]",
        count: (2, ANY),
        has_trailing_args: true,
        flags: &[&[DETACH, INTERACTIVE, TTY, ENV_FILE, ENV, WORKDIR, USER, LATEST], HELP],
        make: convert::containers::exec,
    },
    verb(
        "logs",
        "Print the logs of containers",
        "CONTAINER...",
        (1, ANY),
        &[views::LOGS, &[LATEST], HELP],
        convert::views::logs,
    ),
    verb(
        "wait",
        "Wait for containers to exit and print the exit status of each",
        "CONTAINER...",
        (1, ANY),
        &[WAIT, &[LATEST], HELP],
        convert::containers::wait,
    ),
    verb(
        "stop",
        "Stop containers by their stop signal, then by SIGKILL",
        "CONTAINER...",
        (0, ANY),
        &[&[TIME, SIGNAL, switch("all", Some('a'), "All running containers"), IGNORE, CIDFILE, SELECT, LATEST], HELP],
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
                CIDFILE,
                LATEST,
            ],
            HELP,
        ],
        convert::containers::kill,
    ),
    verb(
        "start",
        "Start stopped containers",
        "CONTAINER...",
        (0, ANY),
        &[START, &[SELECT, LATEST], HELP],
        convert::containers::start,
    ),
    verb(
        "restart",
        "Stop containers and start them again",
        "CONTAINER...",
        (0, ANY),
        &[
            &[
                TIME,
                SIGNAL,
                CIDFILE,
                switch("all", Some('a'), "All containers"),
                switch("running", None, "Those that run, of the named or of all"),
                SELECT,
                LATEST,
            ],
            HELP,
        ],
        convert::containers::restart,
    ),
    verb(
        "attach",
        "Attach to the input and output of a running container",
        "CONTAINER",
        (1, 1),
        &[&[DETACH_KEYS, switch("no-stdin", None, "Forward no input"), SIG_PROXY, LATEST], HELP],
        convert::containers::attach,
    ),
    VerbSpec {
        name: "top",
        about: "List the processes of a container",
        operands: "CONTAINER [COLUMN...]",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[&[LATEST], HELP],
        make: convert::containers::top,
    },
    verb(
        "stats",
        "Show what containers use",
        "[CONTAINER...]",
        (0, ANY),
        &[
            &[
                switch("all", Some('a'), "Also containers that do not run"),
                switch("no-stream", None, "Print once and exit"),
                switch("no-reset", None, "Do not clear the screen"),
                switch("no-trunc", None, "Whole IDs"),
                one("interval", Some('i'), "SECONDS", "Seconds between two lists [default: 5]"),
                FORMAT,
                LATEST,
            ],
            HELP,
        ],
        convert::containers::stats,
    ),
    verb("update", "Change the limits of a container", "CONTAINER", (1, 1), &[UPDATE, HELP], convert::update::update),
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
                switch("follow-link", Some('L'), "Copy what a symlink as the source leads to, which is always done"),
                switch("quiet", Some('q'), "Print no progress, of which there is none"),
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
        &[&[switch("all", Some('a'), "All running containers"), CIDFILE, SELECT, LATEST], HELP],
        convert::containers::pause,
    ),
    verb(
        "unpause",
        "Thaw all processes of containers",
        "CONTAINER...",
        (0, ANY),
        &[&[switch("all", Some('a'), "All paused containers"), CIDFILE, SELECT, LATEST], HELP],
        convert::containers::unpause,
    ),
    verb("rm", "Remove containers", "CONTAINER...", (0, ANY), &[REMOVE, &[LATEST], HELP], convert::containers::rm),
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
        &[&[switch("force", Some('f'), "Do not ask"), PRUNE_FILTER], HELP],
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
