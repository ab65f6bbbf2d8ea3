//! What a command line says, as plain data: one structure per verb, no meaning yet.
//!
//! Repeated flags: the last one wins, lists add up. Numbers are parsed; names (signals, users, capabilities) are kept
//! as text for the verb that knows them.

use std::path::PathBuf;

/// Flags before the verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Global {
    /// `--root`: the state directory; `None` = the default for this user.
    pub root: Option<PathBuf>,
    /// `--log`: a path, `file:PATH`, `journald:ID` or `syslog:ID`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// `--log-level`, or `--debug`.
    pub log_level: LogLevel,
    /// `--cgroup-manager`.
    pub cgroup_manager: CgroupManager,
    /// `--rootless`: `None` = auto.
    pub rootless: Option<bool>,
    /// `--criu`.
    pub criu: Option<PathBuf>,
}

/// Form of the log file's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// logfmt lines.
    #[default]
    Text,
    /// JSON objects, one a line.
    Json,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only: the default for the file that callers parse.
    #[default]
    Error,
    /// And warnings.
    Warning,
    /// And progress.
    Info,
    /// And each step.
    Debug,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// croci itself.
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// A whole command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Flags before the verb.
    pub global: Global,
    /// The verb and its flags.
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// `create`
    Create(Create),
    /// `run`
    Run(Run),
    /// `start ID…`
    Start(Vec<String>),
    /// `state`
    State(State),
    /// `kill`
    Kill(Kill),
    /// `delete`
    Delete(Delete),
    /// `exec`
    Exec(Box<Exec>),
    /// `ps`
    Ps(Ps),
    /// `list`
    List(List),
    /// `pause ID`
    Pause(String),
    /// `resume ID`
    Resume(String),
    /// `update`
    Update(Box<Update>),
    /// `events`
    Events(Events),
    /// `spec`
    Spec(SpecArgs),
    /// `features`
    Features,
    /// `checkpoint`
    Checkpoint(Box<Checkpoint>),
    /// `restore`
    Restore(Box<Restore>),
    /// `mounts add|remove`
    Mounts(Mounts),
}

/// `create` and the part of `run` that is the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// Container ID, unchecked.
    pub id: String,
    /// `--bundle`, default `.`.
    pub bundle: PathBuf,
    /// `--config`: another file than `config.json`.
    pub config: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// `--no-subreaper`
    pub no_subreaper: bool,
    /// `--no-verify`: no self-check.
    pub no_verify: bool,
}

/// `run`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// What it shares with `create`.
    pub create: Create,
    /// `--detach`
    pub detach: bool,
    /// `--keep`: leave the container's state when it has ended.
    pub keep: bool,
}

/// `state`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Container ID.
    pub id: String,
    /// `--verify`
    pub verify: bool,
}

/// `kill`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Container ID, or the expression of `--regex`.
    pub id: String,
    /// The signal as given; `None` = the container's stop signal, else TERM.
    pub signal: Option<String>,
    /// `--all`
    pub all: bool,
    /// `--regex`
    pub regex: bool,
}

/// `delete`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Container IDs, or expressions.
    pub ids: Vec<String>,
    /// `--force`
    pub force: bool,
    /// `--regex`
    pub regex: bool,
}

/// `exec`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Container ID.
    pub id: String,
    /// The command, empty with `--process`.
    pub command: Vec<String>,
    /// `--process FILE`
    pub process: Option<PathBuf>,
    /// `--detach`
    pub detach: bool,
    /// `--tty`
    pub tty: bool,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// `--pid-file`
    pub pid_file: Option<PathBuf>,
    /// `--pidfd-socket`
    pub pidfd_socket: Option<PathBuf>,
    /// `--preserve-fds`
    pub preserve_fds: u32,
    /// `--cwd`
    pub cwd: Option<String>,
    /// `--env`, in order.
    pub env: Vec<String>,
    /// `--user`, as given.
    pub user: Option<String>,
    /// `--additional-gids`
    pub additional_gids: Vec<u32>,
    /// `--no-new-privs`
    pub no_new_privs: bool,
    /// `--cap`, in order.
    pub caps: Vec<String>,
    /// `--apparmor`
    pub apparmor: Option<String>,
    /// `--process-label`
    pub process_label: Option<String>,
    /// `--cgroup`, in order: `PATH` or `CTRL[,CTRL]:PATH`.
    pub cgroup: Vec<String>,
    /// `--ignore-paused`
    pub ignore_paused: bool,
    /// `--no-subreaper`
    pub no_subreaper: bool,
    /// `--no-verify`: no self-check.
    pub no_verify: bool,
}

/// Form of `ps` and `list` output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// `ps`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ps {
    /// Container ID.
    pub id: String,
    /// `--format`
    pub format: Format,
    /// Options handed to ps(1); empty = `-ef`.
    pub options: Vec<String>,
}

/// `list`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// `--format`
    pub format: Format,
    /// `--quiet`
    pub quiet: bool,
}

/// `update`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Container ID.
    pub id: String,
    /// `--resources`: a file, or `-` for standard input; makes the rest ignored.
    pub resources: Option<PathBuf>,
    /// The other flags as (name without dashes, value), in order; sizes already in bytes, all as decimal text.
    pub settings: Vec<(String, String)>,
}

/// `events`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// Container ID.
    pub id: String,
    /// `--interval` in milliseconds.
    pub interval_ms: u64,
    /// `--stats`
    pub stats: bool,
}

/// `spec`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecArgs {
    /// `--bundle`, default `.`.
    pub bundle: PathBuf,
    /// `--file`: another file than `config.json`.
    pub file: Option<PathBuf>,
    /// `--rootless`
    pub rootless: bool,
}

/// Flags that `checkpoint` and `restore` share: words to CRIU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criu {
    /// `--image-path`, default `checkpoint`.
    pub image_path: PathBuf,
    /// `--work-path`: where CRIU keeps its log, default the image path.
    pub work_path: Option<PathBuf>,
    /// `--tcp-established`
    pub tcp_established: bool,
    /// `--tcp-close`
    pub tcp_close: bool,
    /// `--ext-unix-sk`
    pub ext_unix_sk: bool,
    /// `--shell-job`
    pub shell_job: bool,
    /// `--file-locks`
    pub file_locks: bool,
    /// `--lazy-pages`
    pub lazy_pages: bool,
    /// `--auto-dedup`
    pub auto_dedup: bool,
    /// `--manage-cgroups-mode`
    pub cgroups: CgroupsMode,
    /// `--network-lock`
    pub network_lock: NetworkLock,
    /// `--empty-ns network`
    pub empty_network: bool,
}

/// What CRIU does with cgroups and their settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    /// CRIU's own default, which is soft.
    #[default]
    Default,
    /// Settings are restored in cgroups that CRIU makes.
    Soft,
    /// Settings are restored in all cgroups.
    Full,
    /// All cgroups are made anew; none may exist.
    Strict,
    /// Cgroups are left alone.
    Ignore,
}

/// How connections are held still while they are dumped or restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkLock {
    /// CRIU's own default.
    #[default]
    Default,
    /// Rules of iptables.
    Iptables,
    /// Rules of nftables.
    Nftables,
    /// Not at all.
    Skip,
}

/// `checkpoint`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Container ID.
    pub id: String,
    /// What it shares with `restore`.
    pub criu: Criu,
    /// `--parent-path`, relative to the image path.
    pub parent_path: Option<PathBuf>,
    /// `--leave-running`
    pub leave_running: bool,
    /// `--tcp-skip-in-flight`
    pub tcp_skip_in_flight: bool,
    /// `--link-remap`
    pub link_remap: bool,
    /// `--status-fd`
    pub status_fd: Option<i32>,
    /// `--page-server ADDR:PORT`
    pub page_server: Option<(String, u16)>,
    /// `--pre-dump`
    pub pre_dump: bool,
}

/// `restore`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// Container ID, bundle, console and pid file, as for `create`.
    pub create: Create,
    /// What it shares with `checkpoint`.
    pub criu: Criu,
    /// `--detach`
    pub detach: bool,
    /// `--lsm-profile TYPE:NAME`
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`
    pub lsm_mount_context: Option<String>,
}

/// `mounts`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Container ID.
    pub id: String,
    /// The JSON array of mounts.
    pub file: PathBuf,
    /// `remove` rather than `add`.
    pub remove: bool,
}
