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

type Syntax = base::cli_parser::VerbSpec<Verb>;

/// corm's command line.
pub(super) const CORM: Program<Global, Verb> = Program {
    name: "corm",
    about: "corm makes images, and bundles and containers from them.",
    operand: "ARG...",
    version: || format!("corm version {}\n", env!("CARGO_PKG_VERSION")),
    global: GLOBAL,
    make: convert::global,
    verbs: VERBS,
};

const GLOBAL: Flags = &[
    &[
        one("root", None, "DIR", "Where all is kept [default: $CORM_ROOT, /var/lib/corm, or $XDG_DATA_HOME/corm]"),
        one("driver", None, "NAME", "btrfs, overlay, aufs or copy [default: the best that works]"),
        one("runtime", None, "PATH", "The OCI runtime [default: croci beside corm, or in $PATH]"),
        one("log-level", None, "LEVEL", "Least severe message shown: error, warning, info or debug [default: info]"),
        VERSION,
    ],
    HELP,
];

const ANY: usize = usize::MAX;

const FORMAT: Flag = one("format", None, "FORMAT", "table or json [default: table]");
const QUIET: Flag = switch("quiet", Some('q'), "Show the IDs only");
const TLS_VERIFY: Flag = switch("tls-verify", None, "false: plain HTTP, and certificates that nobody vouches for");
const ENV: Flag = many("env", Some('e'), "K=V", "Set an environment variable (repeats)");
const WORKDIR: Flag = one("workdir", Some('w'), "DIR", "Working directory");
const USER: Flag = one("user", Some('u'), "USER", "User: name or UID, with :GROUP or :GID");
const DETACH: Flag = switch("detach", Some('d'), "Do not wait for the end");
const INTERACTIVE: Flag = switch("interactive", Some('i'), "Pass standard input on");
const TTY: Flag = switch("tty", Some('t'), "Give it a terminal");

const RUN: &[Flag] = &[
    DETACH,
    INTERACTIVE,
    TTY,
    switch("rm", None, "Remove the container at its end"),
    one("name", None, "NAME", "The container's name"),
    many("volume", Some('v'), "SRC:DST[:ro]", "Show a file or directory of the host in the container (repeats)"),
    ENV,
    WORKDIR,
    USER,
    one("memory", Some('m'), "SIZE", "Memory limit; sizes take the suffixes k, m, g, t"),
    one("cpus", None, "N", "How many CPUs it may use, like 1.5"),
    one("pids-limit", None, "N", "Most processes, -1 for no limit"),
    many(
        "log-opt",
        None,
        "NAME=VALUE",
        "max-size=SIZE of a log file [10m], max-file=N files that are kept [3] (repeats)",
    ),
    switch("read-only", None, "Make the root file system read-only"),
    one("hostname", None, "NAME", "Host name"),
    one("network", None, "WHICH", "none or host [default: none, a private network with only lo]"),
];

const CONFIG: &[Flag] = &[
    one("cmd", None, "WORDS", "Default arguments: a JSON list, or words"),
    one("entrypoint", None, "WORDS", "What is run: a JSON list, or words"),
    ENV,
    USER,
    WORKDIR,
    many("label", Some('l'), "K=V", "Set a label (repeats)"),
];

const COMMIT: &[Flag] = &[
    one("message", Some('m'), "TEXT", "What changed"),
    one("author", Some('a'), "NAME", "Who changed it"),
    switch("include-volumes", None, "Make what volumes hold part of the image"),
    one("output", Some('o'), "FILE", "Also write a tar of the changed tree, and print its path"),
];

/// Defines a verb without trailing arguments; one with a command after its operands has a literal below.
const fn verb(
    name: &'static str,
    about: &'static str,
    operands: &'static str,
    count: (usize, usize),
    flags: Flags,
    make: fn(&mut base::cli_parser::ParsedArgs) -> anyhow::Result<Verb>,
) -> Syntax {
    Syntax { name, about, operands, count, has_trailing_args: false, flags, make }
}

const OUTPUT: Flag = one("output", Some('o'), "PATH", "The file or directory to make");

const VERBS: &[Syntax] = &[
    verb("init", "Make an image of a directory", "DIR [NAME]", (1, 2), &[HELP], convert::init),
    verb("import", "Make an image of a tar", "FILE|- [NAME]", (1, 2), &[HELP], convert::import),
    verb(
        "load",
        "Load the images of an OCI layout, an OCI archive or a docker archive",
        "PATH",
        (1, 1),
        &[&[one("name", None, "NAME", "The image's name")], HELP],
        convert::load,
    ),
    verb(
        "pull",
        "Fetch an image from a registry",
        "REF",
        (1, 1),
        &[&[one("platform", None, "OS/ARCH", "Which one of several [default: this machine's]"), TLS_VERIFY], HELP],
        convert::pull,
    ),
    verb("push", "Send an image to a registry", "IMAGE REF", (2, 2), &[&[TLS_VERIFY], HELP], convert::push),
    verb(
        "save",
        "Write an image to a file or directory",
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
        "Write the tree of a container or an image as a tar",
        "CONTAINER|IMAGE",
        (1, 1),
        &[&[OUTPUT], HELP],
        convert::export,
    ),
    verb("images", "List images", "", (0, 0), &[&[QUIET, FORMAT], HELP], convert::images),
    verb("inspect", "Show all that is known of one as JSON", "IMAGE|CONTAINER", (1, 1), &[HELP], convert::inspect),
    verb("history", "Show how an image was made", "IMAGE", (1, 1), &[&[FORMAT], HELP], convert::history),
    verb(
        "diff",
        "List what it changes: A added, C changed, D deleted",
        "IMAGE|CONTAINER",
        (1, 1),
        &[HELP],
        convert::diff,
    ),
    verb("tag", "Give an image one more name", "IMAGE NAME", (2, 2), &[HELP], convert::tag),
    verb(
        "rmi",
        "Remove images",
        "IMAGE...",
        (1, ANY),
        &[&[switch("force", Some('f'), "Remove it with all its names")], HELP],
        convert::rmi,
    ),
    verb(
        "config",
        "Make an image with another configuration",
        "IMAGE NEWNAME",
        (2, 2),
        &[CONFIG, HELP],
        convert::config,
    ),
    verb("bundle", "Make an OCI bundle of an image, or of a directory", "IMAGE DIR", (2, 2), &[HELP], convert::bundle),
    verb("unbundle", "Remove a bundle", "DIR", (1, 1), &[HELP], convert::unbundle),
    Syntax {
        name: "run",
        about: "Make a container of an image and run it",
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
        &[&[switch("all", Some('a'), "Stopped ones too"), QUIET, FORMAT], HELP],
        convert::ps,
    ),
    Syntax {
        name: "exec",
        about: "Run another process in a container",
        operands: "CONTAINER COMMAND [ARG...]",
        count: (2, ANY),
        has_trailing_args: true,
        flags: &[&[DETACH, INTERACTIVE, TTY, ENV, WORKDIR, USER], HELP],
        make: convert::exec,
    },
    verb(
        "logs",
        "Show what a container printed",
        "CONTAINER",
        (1, 1),
        &[&[switch("follow", Some('f'), "Go on until its end")], HELP],
        convert::logs,
    ),
    verb("wait", "Wait for a container's end and show its status", "CONTAINER", (1, 1), &[HELP], convert::wait),
    verb(
        "stop",
        "Stop containers: its stop signal, then SIGKILL",
        "CONTAINER...",
        (1, ANY),
        &[&[one("time", Some('t'), "SECONDS", "How long to wait before SIGKILL [default: 10]")], HELP],
        convert::stop,
    ),
    verb(
        "kill",
        "Send a signal to containers",
        "CONTAINER...",
        (1, ANY),
        &[&[one("signal", Some('s'), "SIGNAL", "By name or number [default: KILL]")], HELP],
        convert::kill,
    ),
    verb("start", "Start stopped containers again", "CONTAINER...", (1, ANY), &[HELP], convert::start),
    verb(
        "rm",
        "Remove containers",
        "CONTAINER...",
        (1, ANY),
        &[&[switch("force", Some('f'), "Kill them first")], HELP],
        convert::rm,
    ),
    verb(
        "commit",
        "Make an image of what a container changed",
        "CONTAINER IMAGE",
        (2, 2),
        &[COMMIT, HELP],
        convert::commit,
    ),
    verb(
        "system",
        "Show what takes how much room, or remove what nothing uses",
        "df | prune",
        (1, 1),
        &[&[FORMAT, switch("all", Some('a'), "prune: also images with a name that no container uses")], HELP],
        convert::system,
    ),
    verb(
        "fsck",
        "Check all that is kept",
        "",
        (0, 0),
        &[&[switch("repair", None, "Remove or mend what is wrong")], HELP],
        convert::fsck,
    ),
];
