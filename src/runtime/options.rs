//! What a caller of the runtime decides. The command line (`cli`) is one way to fill these; a field that has a flag names it.

use std::path::PathBuf;

/// How the container is to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `create`: init waits for a later `start`.
    Create,
    /// `run --detach`
    RunDetached,
    /// `run` in the foreground.
    RunForeground,
}

/// Who makes cgroups, and what happens where the caller may not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// `--cgroup-manager`
    pub manager: CgroupManager,
    /// `--rootless`: whether a cgroup that may not be created is left out, with its limits; `None`: without privilege, where
    /// no limit is asked for.
    pub rootless: Option<bool>,
}

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// croci itself.
    #[default]
    Cgroupfs,
    /// systemd, asked over D-Bus.
    Systemd,
    /// No manager: the container stays in the caller's cgroup.
    Disabled,
}

/// How a container is created.
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

/// A further process in a container.
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
    /// All cgroups are created anew; none may exist.
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

/// How a container is written to images.
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

/// How a container is created from images.
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

/// Mounts that are added to a running container, or removed from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Container ID.
    pub id: String,
    /// The JSON array of mounts.
    pub file: PathBuf,
    /// `remove` rather than `add`.
    pub remove: bool,
}
