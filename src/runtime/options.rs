//! The options of the runtime's operations. The command line (`cli`) is one way to fill them; a field that has a flag
//! names the flag.

use std::path::PathBuf;

/// The verb that creates the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `create`: init waits for a later `start`.
    Create,
    /// `run --detach`
    RunDetached,
    /// `run` in the foreground.
    RunForeground,
}

/// The options about cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// `--cgroup-manager`
    pub manager: CgroupManager,
    /// `--rootless`: whether a cgroup that croci may not create is skipped, with its limits; `None`: skipped only
    /// without privilege and without limits.
    pub rootless: Option<bool>,
}

/// The manager that creates cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// croci itself, in the cgroup file system.
    #[default]
    Cgroupfs,
    /// systemd, by D-Bus.
    Systemd,
    /// No manager: the container stays in the caller's cgroup.
    Disabled,
}

/// The options of `create` and `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// Container ID, unchecked.
    pub id: String,
    /// `--bundle`, default `.`.
    pub bundle: PathBuf,
    /// `--config`: the file to read instead of `config.json`.
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

/// The options of `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Container ID.
    pub id: String,
    /// Command and arguments; empty with `--process`.
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
    /// `--user`: unparsed.
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

/// The options for CRIU that `checkpoint` and `restore` share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criu {
    /// `--image-path`, default `checkpoint`.
    pub image_path: PathBuf,
    /// `--work-path`: directory of CRIU's log, default the image path.
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

/// The cgroups and settings that CRIU restores (`--manage-cgroups-mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    /// CRIU's own default, which is soft.
    #[default]
    Default,
    /// Settings of the cgroups that CRIU creates.
    Soft,
    /// Settings of all cgroups.
    Full,
    /// All cgroups and settings; none of the cgroups may exist.
    Strict,
    /// None.
    Ignore,
}

/// The way in which CRIU blocks network traffic during a dump or restore (`--network-lock`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkLock {
    /// CRIU's own default.
    #[default]
    Default,
    /// Rules of iptables.
    Iptables,
    /// Rules of nftables.
    Nftables,
    /// No blocking.
    Skip,
}

/// The options of `checkpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Container ID.
    pub id: String,
    /// The options that `restore` has too.
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

/// The options of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// Container ID, bundle, console socket and pid file, as for `create`.
    pub create: Create,
    /// The options that `checkpoint` has too.
    pub criu: Criu,
    /// `--detach`
    pub detach: bool,
    /// `--lsm-profile TYPE:NAME`
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`
    pub lsm_mount_context: Option<String>,
}

/// The options of `mounts add` and `mounts remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Container ID.
    pub id: String,
    /// File with a JSON array of mounts.
    pub file: PathBuf,
    /// `mounts remove`, not `mounts add`.
    pub remove: bool,
}
