//! The verbs and flags: one constant table that the parser, the help and the tests read.
//!
//! `convert` has the types of the values; `base::cli_parser` parses a line by these tables.

use super::args::{Global, Verb};
use super::convert;
use super::examples::{EXAMPLES, STATUSES};
use base::cli_parser::Flag;
use base::cli_parser::Flags;
use base::cli_parser::HELP;
use base::cli_parser::Program;
use base::cli_parser::VERSION;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// The syntax of one verb.
type VerbSpec = base::cli_parser::VerbSpec<Verb>;

/// The syntax of croci's command line.
pub(super) const CROCI: Program<Global, Verb> = Program {
    name: "croci",
    about: "Open Container Initiative runtime",
    operand: "ID",
    version,
    global: GLOBAL,
    make: convert::global,
    verbs: &[VERBS],
    groups: &[],
    examples: EXAMPLES,
    statuses: STATUSES,
    helps_without_verb: true,
};

/// The features of this build, as in the last line of crun's version text.
const BUILT_IN: &str = "+SELINUX +APPARMOR +CAP +SECCOMP +EBPF";

/// Returns the text of `croci --version`. Callers match `version` in the first line, then `commit: ` and `spec: `.
fn version() -> String {
    let commit = option_env!("CROCI_COMMIT").unwrap_or("unknown");
    let (version, spec) = (env!("CARGO_PKG_VERSION"), crate::cli::SPEC_VERSION);
    format!("croci version {version}\ncommit: {commit}\nspec: {spec}\n{BUILT_IN}\n")
}

/// The flags before the verb.
pub(super) const GLOBAL: Flags = &[
    &[
        one("root", None, "DIR", "State directory [default: /run/croci, or $XDG_RUNTIME_DIR/croci]"),
        one("log", None, "FILE", "Also append errors to this log: a file, file:PATH, journald:ID or syslog:ID"),
        one("log-format", None, "FORMAT", "Format of the log: text or json [default: text]"),
        one(
            "log-level",
            None,
            "LEVEL",
            "Log messages from this level on: error, warning, info or debug [default: error]",
        ),
        switch("debug", None, "The same as --log-level debug"),
        one("cgroup-manager", None, "NAME", "Cgroup manager: cgroupfs, systemd or disabled [default: cgroupfs]"),
        switch("systemd-cgroup", None, "The same as --cgroup-manager systemd"),
        one("rootless", None, "WHEN", "Ignore cgroup permission errors: auto, true or false [default: auto]"),
        one("criu", None, "PATH", "CRIU program for checkpoint and restore [default: criu in $PATH]"),
        VERSION,
    ],
    HELP,
];

const PRESERVE_FDS: Flag =
    one("preserve-fds", None, "N", "Pass N additional file descriptors to the process, after those of $LISTEN_FDS");
const PIDFD_SOCKET: Flag = one("pidfd-socket", None, "PATH", "Send a pidfd of the process to this Unix socket");
const CONSOLE_SOCKET: Flag = one("console-socket", None, "PATH", "Send the pty master to this Unix socket");
const PID_FILE: Flag = one("pid-file", None, "FILE", "Write the pid of the process to this file");
const NO_SUBREAPER: Flag = switch("no-subreaper", None, "Do not become the subreaper of orphaned processes");
const NO_VERIFY: Flag =
    switch("no-verify", None, "Do not verify the process against its configuration before the program runs");
const NO_PIVOT: Flag = switch("no-pivot", None, "Use MS_MOVE and chroot instead of pivot_root (for an initramfs)");
const FORMAT: Flag = one("format", Some('f'), "FORMAT", "Output format: table or json [default: table]");
const REGEX: Flag = switch("regex", Some('r'), "Treat ID as a regular expression");
const BUNDLE: Flag = one("bundle", Some('b'), "DIR", "Bundle directory [default: .]");

const CREATE: &[Flag] = &[
    BUNDLE,
    one("config", Some('f'), "FILE", "Read the configuration from this file instead of config.json"),
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    NO_PIVOT,
    switch("no-new-keyring", None, "Do not create a session keyring, keep the caller's"),
    PRESERVE_FDS,
    NO_SUBREAPER,
    NO_VERIFY,
];

const EXEC: &[Flag] = &[
    one("process", Some('p'), "FILE", "Read the process from this JSON file, in the format of config.json's process"),
    switch("detach", Some('d'), "Do not wait for the process to exit"),
    switch("tty", Some('t'), "Allocate a pseudo-terminal"),
    CONSOLE_SOCKET,
    PID_FILE,
    PIDFD_SOCKET,
    PRESERVE_FDS,
    one("cwd", None, "DIR", "Working directory in the container"),
    many("env", Some('e'), "K=V", "Set an environment variable (repeatable)"),
    one("user", Some('u'), "USER", "UID[:GID], or a user name in the container's /etc/passwd"),
    many("additional-gids", Some('g'), "GID", "Additional group ID (repeatable)"),
    switch("no-new-privs", None, "Set no_new_privs"),
    many("cap", Some('c'), "CAP", "Additional capability (repeatable)"),
    one("apparmor", None, "PROFILE", "AppArmor profile"),
    one("process-label", None, "LABEL", "SELinux label"),
    many("cgroup", None, "PATH", "Run in an existing sub-cgroup: PATH, or CTRL[,CTRL]:PATH (repeatable)"),
    switch("ignore-paused", None, "Allow a paused container: the process runs when the container is resumed"),
    NO_SUBREAPER,
    NO_VERIFY,
];

const UPDATE: &[Flag] = &[
    one(
        "resources",
        Some('r'),
        "FILE",
        "Read linux.resources as JSON from this file, or - for stdin; other flags are ignored",
    ),
    one("blkio-weight", None, "N", "Block I/O weight, 10 to 1000"),
    one("cpu-period", None, "US", "CPU quota period in microseconds"),
    one("cpu-quota", None, "US", "CPU time per period in microseconds, -1 for no limit"),
    one("cpu-burst", None, "US", "CPU time in microseconds that may be accumulated for bursts"),
    one("cpu-idle", None, "0|1", "1: run only when no other task wants the CPU (SCHED_IDLE)"),
    one("cpu-share", None, "N", "CPU shares, relative to other containers"),
    one("cpu-rt-period", None, "US", "Realtime period in microseconds"),
    one("cpu-rt-runtime", None, "US", "Realtime CPU time per period in microseconds"),
    one("cpuset-cpus", None, "LIST", "CPUs to use, for example 0-2,5"),
    one("cpuset-mems", None, "LIST", "Memory nodes to use, for example 0,1"),
    one("memory", None, "SIZE", "Memory limit, -1 for no limit; sizes accept the suffixes k, m, g, t"),
    one("memory-reservation", None, "SIZE", "Memory reservation (soft limit)"),
    one("memory-swap", None, "SIZE", "Limit of memory plus swap, -1 for no limit"),
    one("kernel-memory", None, "SIZE", "Accepted and ignored: the kernel no longer has this limit"),
    one("kernel-memory-tcp", None, "SIZE", "Limit of TCP buffer memory (cgroup v1)"),
    one("pids-limit", None, "N", "Maximum number of processes, -1 for no limit; 0 changes nothing"),
    one("l3-cache-schema", None, "TEXT", "Intel RDT schema of the L3 cache"),
    one("mem-bw-schema", None, "TEXT", "Intel RDT schema of memory bandwidth"),
];

/// The flags that `checkpoint` and `restore` share.
const CRIU: &[Flag] = &[
    one("image-path", None, "DIR", "Directory of the CRIU images [default: checkpoint]"),
    one("work-path", None, "DIR", "Directory of CRIU's log [default: the image path]"),
    switch("tcp-established", None, "Save or restore established TCP connections"),
    switch("tcp-close", None, "Close established TCP connections"),
    switch("ext-unix-sk", None, "Allow Unix sockets that are connected to processes outside the container"),
    switch("shell-job", None, "Allow shell jobs: a session and a terminal from outside the container"),
    switch("file-locks", None, "Save or restore file locks"),
    switch("lazy-pages", None, "Transfer memory pages on demand (userfaultfd)"),
    switch("auto-dedup", None, "Remove duplicate pages from the images of earlier dumps"),
    one("manage-cgroups-mode", None, "MODE", "CRIU cgroup mode: soft, full, strict or ignore [default: soft]"),
    one("network-lock", None, "METHOD", "Method to block network traffic: iptables, nftables or skip"),
    many("empty-ns", None, "NS", "Create this namespace without restoring its contents: network"),
];

const CHECKPOINT: &[Flag] = &[
    one("parent-path", None, "DIR", "Images of an earlier --pre-dump, relative to --image-path"),
    switch("leave-running", None, "Leave the container running after the checkpoint"),
    switch("tcp-skip-in-flight", None, "Skip TCP connections that are not established yet"),
    switch("link-remap", None, "Link deleted but open files temporarily, so that CRIU can dump them"),
    one("status-fd", None, "FD", "Write a zero byte to this descriptor when the lazy pages server is ready"),
    one("page-server", None, "ADDR:PORT", "Send memory pages to the CRIU page server at this address"),
    switch("pre-dump", None, "Dump only the memory, and leave the container running"),
];

const RESTORE: &[Flag] = &[
    BUNDLE,
    switch("detach", Some('d'), "Do not wait for the container to exit"),
    PID_FILE,
    CONSOLE_SOCKET,
    NO_SUBREAPER,
    NO_VERIFY,
    switch("no-pivot", None, "Accepted and ignored: CRIU sets up the root"),
    one("lsm-profile", None, "TYPE:NAME", "LSM profile instead of the one in the images: apparmor:NAME, selinux:LABEL"),
    one("lsm-mount-context", None, "CONTEXT", "SELinux context of mounts instead of the one in the images"),
];

const ANY: usize = usize::MAX;

/// The verbs, in the order in which the help lists them.
pub(super) const VERBS: &[VerbSpec] = &[
    VerbSpec {
        name: "create",
        about: "Create a container, without starting its program",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            CREATE,
            &[
                switch("detach", Some('d'), "Accepted and ignored: create never waits"),
                switch("dry-run", None, "Show what would be done, as `plan`, and do nothing"),
            ],
            HELP,
        ],
        make: convert::create,
    },
    VerbSpec {
        name: "start",
        about: "Start the program of created containers",
        operands: "ID...",
        count: (1, ANY),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::start,
    },
    VerbSpec {
        name: "run",
        about: "Create and start a container, and wait until it exits",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            CREATE,
            &[
                switch("detach", Some('d'), "Do not wait for the container to exit"),
                switch("keep", None, "Do not delete the container when it exits"),
                one("record-seccomp", None, "FILE", "Write the smallest linux.seccomp that allows this run to FILE"),
            ],
            HELP,
        ],
        make: convert::run,
    },
    VerbSpec {
        name: "state",
        about: "Show the state of a container as JSON",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            &[switch("verify", None, "Compare the container with its configuration; exit status 1 if they differ")],
            HELP,
        ],
        make: convert::state,
    },
    VerbSpec {
        name: "kill",
        about: "Send a signal to a container: a name or a number [default: its stop signal, or TERM]",
        operands: "ID [SIGNAL]",
        count: (1, 2),
        has_trailing_args: false,
        flags: &[&[switch("all", Some('a'), "Send the signal to all processes of the container"), REGEX], HELP],
        make: convert::kill,
    },
    VerbSpec {
        name: "delete",
        about: "Delete stopped containers",
        operands: "ID...",
        count: (1, ANY),
        has_trailing_args: false,
        flags: &[&[switch("force", Some('f'), "Kill running containers first, and ignore unknown IDs"), REGEX], HELP],
        make: convert::delete,
    },
    VerbSpec {
        name: "exec",
        about: "Run an additional process in a container",
        operands: "ID COMMAND [ARG...] | --process FILE ID",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[EXEC, HELP],
        make: convert::exec,
    },
    VerbSpec {
        name: "ps",
        about: "List the processes of a container",
        operands: "ID [PS OPTIONS]",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[&[FORMAT], HELP],
        make: convert::ps,
    },
    VerbSpec {
        name: "list",
        about: "List containers",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[
            &[
                FORMAT,
                switch("quiet", Some('q'), "Show only the IDs"),
                switch("all", Some('a'), "Accepted and ignored: all containers are listed"),
            ],
            HELP,
        ],
        make: convert::list,
    },
    VerbSpec {
        name: "pause",
        about: "Pause all processes of a container",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::pause,
    },
    VerbSpec {
        name: "resume",
        about: "Resume a paused container",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::resume,
    },
    VerbSpec {
        name: "update",
        about: "Change the resource limits of a container; 0 leaves a limit unchanged",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[UPDATE, HELP],
        make: convert::update,
    },
    VerbSpec {
        name: "events",
        about: "Show resource statistics and OOM kills as JSON lines",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            &[
                one("interval", None, "TIME", "Time between two statistics, for example 500ms or 1m30s [default: 5s]"),
                switch("stats", None, "Show the statistics once and exit"),
            ],
            HELP,
        ],
        make: convert::events,
    },
    VerbSpec {
        name: "spec",
        about: "Write a template config.json",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[
            &[
                BUNDLE,
                one("file", Some('f'), "FILE", "Write this file instead of config.json"),
                switch("rootless", None, "Write a configuration for a rootless container"),
            ],
            HELP,
        ],
        make: convert::spec,
    },
    VerbSpec {
        name: "features",
        about: "Show the supported features as JSON",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::features,
    },
    VerbSpec {
        name: "checkpoint",
        about: "Checkpoint a running container with CRIU",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[CRIU, CHECKPOINT, HELP],
        make: convert::checkpoint,
    },
    VerbSpec {
        name: "restore",
        about: "Restore a container from a checkpoint",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[CRIU, RESTORE, HELP],
        make: convert::restore,
    },
    VerbSpec {
        name: "wait",
        about: "Wait until containers have stopped, and show their exit statuses",
        operands: "ID...",
        count: (1, ANY),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::wait,
    },
    VerbSpec {
        name: "why",
        about: "Show what became of a container: its end, limits that were reached, denials",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[&[FORMAT], HELP],
        make: convert::why,
    },
    VerbSpec {
        name: "gc",
        about: "Remove what killed runtimes have left: unfinished containers, cgroups without a state",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[&[switch("dry-run", None, "Only list what would be removed")], HELP],
        make: convert::gc,
    },
    VerbSpec {
        name: "validate",
        about: "Show all problems of a bundle's configuration",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[&[BUNDLE, switch("host", None, "Check also that this machine has what is configured"), FORMAT], HELP],
        make: convert::validate,
    },
    VerbSpec {
        name: "plan",
        about: "Show what create would do, step by step, without doing it",
        operands: "[ID]",
        count: (0, 1),
        has_trailing_args: false,
        flags: &[
            &[
                BUNDLE,
                one("config", None, "FILE", "Read the configuration from this file instead of config.json"),
                NO_PIVOT,
                FORMAT,
            ],
            HELP,
        ],
        make: convert::plan,
    },
    VerbSpec {
        name: "explain",
        about: "Explain an error: its code, or the whole line; without an operand list all codes",
        operands: "[CODE|MESSAGE...]",
        count: (0, ANY),
        has_trailing_args: true,
        flags: &[HELP],
        make: convert::explain,
    },
    VerbSpec {
        name: "mounts",
        about: "Add the mounts of a JSON array to a running container, or remove them",
        operands: "add|remove ID FILE",
        count: (3, 3),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::mounts,
    },
];
