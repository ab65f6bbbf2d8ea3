//! corm's verbs and flags: one constant table for the parser, the help and the tests.

use super::args::{Global, Verb};
use super::convert;
use base::cli_parser::Flag;
use base::cli_parser::Flags;
use base::cli_parser::HELP;
use base::cli_parser::Program;
use base::cli_parser::VERSION;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

type VerbSpec = base::cli_parser::VerbSpec<Verb>;

/// corm's command line.
pub(super) const CORM: Program<Global, Verb> = Program {
    name: "corm",
    about: "OCI images, bundles and containers from them",
    operand: "ARG...",
    version: || format!("corm version {}\n", env!("CARGO_PKG_VERSION")),
    global: GLOBAL,
    make: convert::global,
    verbs: VERBS,
};

const GLOBAL: Flags = &[
    &[
        one("root", None, "DIR", "Storage directory [default: $CORM_ROOT, /var/lib/corm, or $XDG_DATA_HOME/corm]"),
        one("driver", None, "NAME", "Storage driver: btrfs, overlay, aufs or copy [default: the first that works]"),
        one("runtime", None, "PATH", "OCI runtime [default: croci beside corm, or in $PATH]"),
        many(
            "layer-limit",
            None,
            "NAME=VALUE",
            "Limit of a layer: size, files, min-free, entries, depth, ratio or ratio-from (repeatable)",
        ),
        one("log-level", None, "LEVEL", "Least severe messages printed: error, warning, info or debug [default: info]"),
        VERSION,
    ],
    HELP,
];

const ANY: usize = usize::MAX;

const FORMAT: Flag = one("format", None, "FORMAT", "Output format: table or json [default: table]");
const QUIET: Flag = switch("quiet", Some('q'), "Print only IDs");
const TLS_VERIFY: Flag = switch("tls-verify", None, "Verify certificates and require HTTPS [default: true]");
const ENV: Flag = many("env", Some('e'), "K=V", "Set an environment variable (repeatable)");
const WORKDIR: Flag = one("workdir", Some('w'), "DIR", "Working directory");
const USER: Flag = one("user", Some('u'), "USER", "Username or UID (format: USER[:GROUP])");
const PLATFORM: Flag = one("platform", None, "OS/ARCH", "Platform of the image [default: this machine's]");
const LABEL: Flag = many("label", Some('l'), "K=V", "Set a label (repeatable)");
const DETACH: Flag = switch("detach", Some('d'), "Run in the background");
const INTERACTIVE: Flag = switch("interactive", Some('i'), "Keep standard input open");
const TTY: Flag = switch("tty", Some('t'), "Allocate a pseudo-terminal");

const RUN: &[Flag] = &[
    DETACH,
    INTERACTIVE,
    TTY,
    switch("rm", None, "Remove the container when it exits"),
    one("name", None, "NAME", "Container name"),
    many("volume", Some('v'), "SRC:DST[:OPTIONS]", "Bind mount a file or directory of the host (repeatable)"),
    one("pull", None, "WHEN", "Pull the image: missing, always or never [default: missing]"),
    PLATFORM,
    TLS_VERIFY,
    switch("quiet", Some('q'), "Pull without progress"),
    many("env-file", None, "FILE", "Set the environment variables of a file, a line each (repeatable)"),
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
    one("hostname", None, "NAME", "Container host name"),
    one("network", None, "MODE", "Network mode: none (only lo) or host [default: none]"),
];

const CONFIG: &[Flag] = &[
    one("cmd", None, "WORDS", "Set the default command: a JSON list, or words"),
    one("entrypoint", None, "WORDS", "Set the entrypoint: a JSON list, or words"),
    ENV,
    USER,
    WORKDIR,
    LABEL,
];

const COMMIT: &[Flag] = &[
    one("message", Some('m'), "TEXT", "Comment in the image's history"),
    one("author", Some('a'), "NAME", "Author in the image's history"),
    many("change", Some('c'), "LINE", "Change the configuration by an instruction of a Dockerfile (repeatable)"),
    switch("include-volumes", None, "Include the content of volumes"),
    one("output", Some('o'), "FILE", "Also write the file system to a tar, and print its path"),
];

/// Defines a verb without trailing arguments; one with a command after its operands has a literal below.
const fn verb(
    name: &'static str,
    about: &'static str,
    operands: &'static str,
    count: (usize, usize),
    flags: Flags,
    make: fn(&mut base::cli_parser::ParsedArgs) -> anyhow::Result<Verb>,
) -> VerbSpec {
    VerbSpec { name, about, operands, count, has_trailing_args: false, flags, make }
}

const OUTPUT: Flag = one("output", Some('o'), "PATH", "Output file or directory");

const VERBS: &[VerbSpec] = &[
    verb("init", "Create an image from a directory", "DIR [NAME]", (1, 2), &[HELP], convert::init),
    verb("import", "Create an image from a tar", "FILE|- [NAME]", (1, 2), &[HELP], convert::import),
    verb(
        "load",
        "Load images from an OCI layout, an OCI archive or a Docker archive",
        "PATH",
        (1, 1),
        &[&[one("name", None, "NAME", "Name for the image")], HELP],
        convert::load,
    ),
    verb("pull", "Pull an image from a registry", "REF", (1, 1), &[&[PLATFORM, TLS_VERIFY], HELP], convert::pull),
    verb("push", "Push an image to a registry", "IMAGE REF", (2, 2), &[&[TLS_VERIFY], HELP], convert::push),
    verb(
        "save",
        "Save an image to a file or directory",
        "IMAGE",
        (1, 1),
        &[
            &[one("format", None, "FORMAT", "oci-archive, oci-dir or docker-archive [default: oci-archive]"), OUTPUT],
            HELP,
        ],
        convert::save,
    ),
    verb(
        "export",
        "Export the file system of a container or an image as a tar",
        "CONTAINER|IMAGE",
        (1, 1),
        &[&[OUTPUT], HELP],
        convert::export,
    ),
    verb("images", "List images", "", (0, 0), &[&[QUIET, FORMAT], HELP], convert::images),
    verb(
        "inspect",
        "Show details of an image or a container as JSON",
        "IMAGE|CONTAINER",
        (1, 1),
        &[HELP],
        convert::inspect,
    ),
    verb("history", "Show the history of an image", "IMAGE", (1, 1), &[&[FORMAT], HELP], convert::history),
    verb(
        "diff",
        "List changed files: A added, C changed, D deleted",
        "IMAGE|CONTAINER",
        (1, 1),
        &[HELP],
        convert::diff,
    ),
    verb("tag", "Add a name to an image", "IMAGE NAME", (2, 2), &[HELP], convert::tag),
    verb(
        "rmi",
        "Remove images",
        "IMAGE...",
        (1, ANY),
        &[&[switch("force", Some('f'), "Remove all names of the image")], HELP],
        convert::rmi,
    ),
    verb(
        "config",
        "Create an image with a changed configuration",
        "IMAGE NEWNAME",
        (2, 2),
        &[CONFIG, HELP],
        convert::config,
    ),
    verb("bundle", "Create an OCI bundle from an image or a directory", "IMAGE DIR", (2, 2), &[HELP], convert::bundle),
    verb("unbundle", "Remove a bundle", "DIR", (1, 1), &[HELP], convert::unbundle),
    VerbSpec {
        name: "run",
        about: "Create a container from an image and run it",
        operands: "IMAGE [COMMAND [ARG...]]",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[RUN, HELP],
        make: convert::run,
    },
    verb(
        "ps",
        "List containers",
        "",
        (0, 0),
        &[&[switch("all", Some('a'), "Include stopped containers"), QUIET, FORMAT], HELP],
        convert::ps,
    ),
    VerbSpec {
        name: "exec",
        about: "Run a command in a running container",
        operands: "CONTAINER COMMAND [ARG...]",
        count: (2, ANY),
        has_trailing_args: true,
        flags: &[&[DETACH, INTERACTIVE, TTY, ENV, WORKDIR, USER], HELP],
        make: convert::exec,
    },
    verb(
        "logs",
        "Print the logs of a container",
        "CONTAINER",
        (1, 1),
        &[&[switch("follow", Some('f'), "Follow the log output")], HELP],
        convert::logs,
    ),
    verb(
        "wait",
        "Wait for containers to exit and print the exit status of each",
        "CONTAINER...",
        (1, ANY),
        &[HELP],
        convert::wait,
    ),
    verb(
        "stop",
        "Stop containers by their stop signal, then by SIGKILL",
        "CONTAINER...",
        (1, ANY),
        &[&[one("time", Some('t'), "SECONDS", "Seconds to wait before SIGKILL [default: 10]")], HELP],
        convert::stop,
    ),
    verb(
        "kill",
        "Send a signal to containers",
        "CONTAINER...",
        (1, ANY),
        &[&[one("signal", Some('s'), "SIGNAL", "Signal name or number [default: KILL]")], HELP],
        convert::kill,
    ),
    verb("start", "Start stopped containers", "CONTAINER...", (1, ANY), &[HELP], convert::start),
    verb(
        "rm",
        "Remove containers",
        "CONTAINER...",
        (1, ANY),
        &[&[switch("force", Some('f'), "Kill running containers first")], HELP],
        convert::rm,
    ),
    verb(
        "commit",
        "Create an image from the changes of a container",
        "CONTAINER IMAGE",
        (2, 2),
        &[COMMIT, HELP],
        convert::commit,
    ),
    verb(
        "system",
        "Show disk usage (df), or remove unused data (prune)",
        "df | prune",
        (1, 1),
        &[&[FORMAT, switch("all", Some('a'), "prune: also remove named images that no container uses")], HELP],
        convert::system,
    ),
    verb(
        "fsck",
        "Verify images, layers and records",
        "",
        (0, 0),
        &[&[switch("repair", None, "Repair or remove damaged data")], HELP],
        convert::fsck,
    ),
];
