//! Which verbs and flags there are: one constant table that the parser, the help and the tests read.
//!
//! What a value means is `convert`; how a line is read with these tables is `argv`.

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

/// croci's whole command line.
pub(super) const CROCI: Program<Global, Verb> = Program {
    name: "croci",
    about: "croci runs containers by the OCI runtime specification.",
    operand: "ID",
    version,
    global: GLOBAL,
    make: convert::global,
    verbs: VERBS,
};

/// What this build has, as crun words it in its last line.
const BUILT_IN: &str = "+SELINUX +APPARMOR +CAP +SECCOMP +EBPF";

/// `croci --version`: callers look for the word `version` in the first line, `commit: ` and `spec: ` before others.
fn version() -> String {
    let commit = option_env!("CROCI_COMMIT").unwrap_or("unknown");
    let (version, spec) = (env!("CARGO_PKG_VERSION"), crate::cli::SPEC_VERSION);
    format!("croci version {version}\ncommit: {commit}\nspec: {spec}\n{BUILT_IN}\n")
}

/// Flags before the verb.
pub(super) const GLOBAL: Flags = &[
    &[
        one("root", None, "DIR", "State directory [default: /run/croci, or $XDG_RUNTIME_DIR/croci]"),
        one("log", None, "FILE", "Append errors to this file too (also file:PATH, journald:ID, syslog:ID)"),
        one("log-format", None, "FORMAT", "Form of the log's lines: text or json [default: text]"),
        one("log-level", None, "LEVEL", "Least severe level logged: error, warning, info or debug [default: error]"),
        switch("debug", None, "The same as --log-level debug"),
        one("cgroup-manager", None, "NAME", "Who makes cgroups: cgroupfs, systemd or disabled [default: cgroupfs]"),
        switch("systemd-cgroup", None, "The same as --cgroup-manager systemd"),
        one("rootless", None, "WHEN", "Do without cgroup rights: auto, true or false [default: auto]"),
        one("criu", None, "PATH", "The CRIU program, for checkpoint and restore [default: criu in $PATH]"),
        VERSION,
    ],
    HELP,
];

const PRESERVE_FDS: Flag =
    one("preserve-fds", None, "N", "Hand N more descriptors to the process, after those of $LISTEN_FDS");
const PIDFD_SOCKET: Flag = one("pidfd-socket", None, "PATH", "Send a pidfd of the process to this socket");
const CONSOLE_SOCKET: Flag = one("console-socket", None, "PATH", "Send the terminal's master side to this socket");
const PID_FILE: Flag = one("pid-file", None, "FILE", "Write the process's pid to this file");
const NO_SUBREAPER: Flag = switch("no-subreaper", None, "Do not become the reaper of orphans");
const NO_VERIFY: Flag =
    switch("no-verify", None, "Do not compare the process with its configuration before the program runs");
const FORMAT: Flag = one("format", Some('f'), "FORMAT", "table or json [default: table]");
const REGEX: Flag = switch("regex", Some('r'), "ID is a regular expression");
const BUNDLE: Flag = one("bundle", Some('b'), "DIR", "The bundle's directory [default: .]");

const CREATE: &[Flag] = &[
    BUNDLE,
    one("config", Some('f'), "FILE", "Read this file instead of config.json"),
    CONSOLE_SOCKET,
    PIDFD_SOCKET,
    PID_FILE,
    switch("no-pivot", None, "Use MS_MOVE and chroot instead of pivot_root (for an initramfs)"),
    switch("no-new-keyring", None, "Keep the caller's session keyring"),
    PRESERVE_FDS,
    NO_SUBREAPER,
    NO_VERIFY,
];

const EXEC: &[Flag] = &[
    one("process", Some('p'), "FILE", "Take the process from this JSON file"),
    switch("detach", Some('d'), "Do not wait for the process"),
    switch("tty", Some('t'), "Give the process a terminal"),
    CONSOLE_SOCKET,
    PID_FILE,
    PIDFD_SOCKET,
    PRESERVE_FDS,
    one("cwd", None, "DIR", "Working directory in the container"),
    many("env", Some('e'), "K=V", "Set an environment variable (repeats)"),
    one("user", Some('u'), "USER", "UID[:GID], or a name of the container's /etc/passwd"),
    many("additional-gids", Some('g'), "GID", "One more group (repeats)"),
    switch("no-new-privs", None, "Set no_new_privs"),
    many("cap", Some('c'), "CAP", "One more capability (repeats)"),
    one("apparmor", None, "PROFILE", "AppArmor profile"),
    one("process-label", None, "LABEL", "SELinux label"),
    many("cgroup", None, "PATH", "Existing sub-cgroup: PATH, or CTRL[,CTRL]:PATH (repeats)"),
    switch("ignore-paused", None, "Go ahead in a paused container: the process starts when it is resumed"),
    NO_SUBREAPER,
    NO_VERIFY,
];

const UPDATE: &[Flag] = &[
    one("resources", Some('r'), "FILE", "JSON of linux.resources, or - for stdin; the other flags are then ignored"),
    one("blkio-weight", None, "N", "Block IO weight, 10 to 1000"),
    one("cpu-period", None, "US", "CPU quota period"),
    one("cpu-quota", None, "US", "CPU time in a period, -1 for no limit"),
    one("cpu-burst", None, "US", "CPU time that may be saved up"),
    one("cpu-idle", None, "0|1", "Run only when nobody else wants the CPU"),
    one("cpu-share", None, "N", "CPU shares, relative to other containers"),
    one("cpu-rt-period", None, "US", "Realtime period"),
    one("cpu-rt-runtime", None, "US", "Realtime time in a period"),
    one("cpuset-cpus", None, "LIST", "CPUs to use, like 0-2,5"),
    one("cpuset-mems", None, "LIST", "Memory nodes to use"),
    one("memory", None, "SIZE", "Memory limit, -1 for none; sizes take the suffixes k, m, g, t"),
    one("memory-reservation", None, "SIZE", "Memory that is kept when memory is short"),
    one("memory-swap", None, "SIZE", "Limit of memory and swap together, -1 for none"),
    one("kernel-memory", None, "SIZE", "Ignored: kernels have no such limit any more"),
    one("kernel-memory-tcp", None, "SIZE", "TCP buffer limit (cgroup v1)"),
    one("pids-limit", None, "N", "Most processes, -1 for no limit"),
    one("l3-cache-schema", None, "TEXT", "Intel RDT schema of the L3 cache"),
    one("mem-bw-schema", None, "TEXT", "Intel RDT schema of memory bandwidth"),
];

/// What `checkpoint` and `restore` share.
const CRIU: &[Flag] = &[
    one("image-path", None, "DIR", "Where the images are [default: checkpoint]"),
    one("work-path", None, "DIR", "Where CRIU keeps its log [default: the image path]"),
    switch("tcp-established", None, "Keep established TCP connections"),
    switch("tcp-close", None, "Close established TCP connections"),
    switch("ext-unix-sk", None, "Allow unix sockets that are connected to the outside"),
    switch("shell-job", None, "Allow a session and a terminal of the outside"),
    switch("file-locks", None, "Keep file locks"),
    switch("lazy-pages", None, "Transfer memory on demand (userfaultfd)"),
    switch("auto-dedup", None, "Drop pages from images that a later one has again"),
    one("manage-cgroups-mode", None, "MODE", "soft, full, strict or ignore [default: soft]"),
    one("network-lock", None, "HOW", "Hold connections still by iptables, nftables, or skip"),
    many("empty-ns", None, "NS", "Make this namespace, and leave out what is in it: network"),
];

const CHECKPOINT: &[Flag] = &[
    one("parent-path", None, "DIR", "The images of an earlier --pre-dump, relative to --image-path"),
    switch("leave-running", None, "Let the container run on"),
    switch("tcp-skip-in-flight", None, "Leave out TCP connections that are not established yet"),
    switch("link-remap", None, "Give files without a name one for the time being"),
    one("status-fd", None, "FD", "Write a zero byte here when lazy pages can be had"),
    one("page-server", None, "ADDR:PORT", "Send memory to CRIU's page server there"),
    switch("pre-dump", None, "Save the memory only, and let the container run on"),
];

const RESTORE: &[Flag] = &[
    BUNDLE,
    switch("detach", Some('d'), "Do not wait for the end"),
    PID_FILE,
    CONSOLE_SOCKET,
    NO_SUBREAPER,
    NO_VERIFY,
    switch("no-pivot", None, "Accepted: CRIU makes the root"),
    one("lsm-profile", None, "TYPE:NAME", "apparmor:NAME or selinux:LABEL instead of the profile in the images"),
    one("lsm-mount-context", None, "CONTEXT", "SELinux context of mounts instead of the one in the images"),
];

const ANY: usize = usize::MAX;

/// The verbs, in the order in which the help lists them.
pub(super) const VERBS: &[Syntax] = &[
    Syntax {
        name: "create",
        about: "Make a container and stop just before its program",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[CREATE, &[switch("detach", Some('d'), "Accepted: create never waits")], HELP],
        make: convert::create,
    },
    Syntax {
        name: "start",
        about: "Let the program of created containers run",
        operands: "ID...",
        count: (1, ANY),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::start,
    },
    Syntax {
        name: "run",
        about: "create and start in one, and wait for the end",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            CREATE,
            &[
                switch("detach", Some('d'), "Do not wait for the end"),
                switch("keep", None, "Do not delete the container at its end"),
            ],
            HELP,
        ],
        make: convert::run,
    },
    Syntax {
        name: "state",
        about: "Show a container's state as JSON",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            &[switch(
                "verify",
                None,
                "Show what the kernel has against what was configured; exit status 1 if it differs",
            )],
            HELP,
        ],
        make: convert::state,
    },
    Syntax {
        name: "kill",
        about: "Send a signal to a container: TERM, SIGTERM, 15, RTMIN+3 [default: TERM]",
        operands: "ID [SIGNAL]",
        count: (1, 2),
        has_trailing_args: false,
        flags: &[&[switch("all", Some('a'), "Send it to every process of the container"), REGEX], HELP],
        make: convert::kill,
    },
    Syntax {
        name: "delete",
        about: "Remove what stopped containers left",
        operands: "ID...",
        count: (1, ANY),
        has_trailing_args: false,
        flags: &[&[switch("force", Some('f'), "Kill it first; an unknown ID is no error"), REGEX], HELP],
        make: convert::delete,
    },
    Syntax {
        name: "exec",
        about: "Run another process in a container",
        operands: "ID COMMAND [ARG...] | --process FILE ID",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[EXEC, HELP],
        make: convert::exec,
    },
    Syntax {
        name: "ps",
        about: "List a container's processes",
        operands: "ID [PS OPTIONS]",
        count: (1, ANY),
        has_trailing_args: true,
        flags: &[&[FORMAT], HELP],
        make: convert::ps,
    },
    Syntax {
        name: "list",
        about: "List containers",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[
            &[
                FORMAT,
                switch("quiet", Some('q'), "Show the IDs only"),
                switch("all", Some('a'), "Accepted: all containers are always listed"),
            ],
            HELP,
        ],
        make: convert::list,
    },
    Syntax {
        name: "pause",
        about: "Freeze a container",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::pause,
    },
    Syntax {
        name: "resume",
        about: "Thaw a paused container",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::resume,
    },
    Syntax {
        name: "update",
        about: "Change a container's resource limits (0 or absent: unchanged)",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[UPDATE, HELP],
        make: convert::update,
    },
    Syntax {
        name: "events",
        about: "Show statistics and out-of-memory events as JSON lines",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[
            &[
                one("interval", None, "TIME", "Between two statistics, like 500ms or 1m30s [default: 5s]"),
                switch("stats", None, "Show one line of statistics and end"),
            ],
            HELP,
        ],
        make: convert::events,
    },
    Syntax {
        name: "spec",
        about: "Write a config.json to start from",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[
            &[
                BUNDLE,
                one("file", Some('f'), "FILE", "Write this file instead of config.json"),
                switch("rootless", None, "For a container without root's rights"),
            ],
            HELP,
        ],
        make: convert::spec,
    },
    Syntax {
        name: "features",
        about: "Show what croci can do as JSON",
        operands: "",
        count: (0, 0),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::features,
    },
    Syntax {
        name: "checkpoint",
        about: "Save a running container to files, by CRIU",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[CRIU, CHECKPOINT, HELP],
        make: convert::checkpoint,
    },
    Syntax {
        name: "restore",
        about: "Make a container from such files, and let it run on",
        operands: "ID",
        count: (1, 1),
        has_trailing_args: false,
        flags: &[CRIU, RESTORE, HELP],
        make: convert::restore,
    },
    Syntax {
        name: "mounts",
        about: "Mount or unmount in a running container what a JSON array of mounts says",
        operands: "add|remove ID FILE",
        count: (3, 3),
        has_trailing_args: false,
        flags: &[HELP],
        make: convert::mounts,
    },
];
