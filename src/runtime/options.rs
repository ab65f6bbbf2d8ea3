//! Options of the verbs, filled from the command line by `cli`. Where a field has a flag, its comment names the flag.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

pub use crate::bundle::Document;

/// Verb that creates the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `create`: init waits for a later `start`.
    Create,
    /// `run --detach`
    RunDetached,
    /// `run` in the foreground.
    RunForeground,
}

/// Manager of cgroups, and what to do when the caller may not create one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// `--cgroup-manager`
    pub manager: CgroupManager,
    /// `--rootless`: continue without a cgroup, and its limits, that may not be created; `None`: only an unprivileged
    /// caller that configures no limit.
    pub rootless: Option<bool>,
}

/// Manager that creates cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// croci, in cgroupfs.
    #[default]
    Cgroupfs,
    /// systemd, over D-Bus.
    Systemd,
    /// None; the container is in the caller's cgroup.
    Disabled,
}

/// A descriptor of the library's caller; equal if it is the same one.
#[derive(Debug, Clone)]
pub struct Descriptor(pub Arc<OwnedFd>);

impl PartialEq for Descriptor {
    fn eq(&self, other: &Descriptor) -> bool {
        self.0.as_raw_fd() == other.0.as_raw_fd()
    }
}

impl Eq for Descriptor {}

/// Options of `create` and `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Create {
    /// Container ID, unchecked.
    pub id: String,
    /// `--bundle`, default `.`.
    pub bundle: PathBuf,
    /// `--config`: file to read instead of `config.json`.
    pub config: Option<PathBuf>,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// A connected socket that gets the terminal, if there is one; of the library alone.
    pub console: Option<Descriptor>,
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
    /// `--record-seccomp` of `run`: the file for a profile of the calls that the program makes.
    pub record_seccomp: Option<PathBuf>,
}

/// Options of `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Container ID.
    pub id: String,
    /// Arguments of the program; empty with `--process`.
    pub command: Vec<String>,
    /// `--process FILE`
    pub process: Option<Document>,
    /// `--detach`
    pub detach: bool,
    /// `--tty`
    pub tty: bool,
    /// `--console-socket`
    pub console_socket: Option<PathBuf>,
    /// A connected socket that gets the terminal, if there is one; of the library alone.
    pub console: Option<Descriptor>,
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

/// Options of both `checkpoint` and `restore`, for CRIU.
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

/// Mode in which CRIU manages cgroups and their settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupsMode {
    /// Default of CRIU, which is soft.
    #[default]
    Default,
    /// Restore settings in cgroups that CRIU creates.
    Soft,
    /// Restore settings in all cgroups.
    Full,
    /// Create all cgroups; fail if one exists.
    Strict,
    /// Change no cgroup.
    Ignore,
}

/// Method to stop the packets of connections while they are dumped or restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NetworkLock {
    /// Default of CRIU.
    #[default]
    Default,
    /// Rules of iptables.
    Iptables,
    /// Rules of nftables.
    Nftables,
    /// None.
    Skip,
}

/// Options of `checkpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Container ID.
    pub id: String,
    /// Options of both verbs.
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

/// Options of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restore {
    /// Container ID, bundle, console and pid file, as for `create`.
    pub create: Create,
    /// Options of both verbs.
    pub criu: Criu,
    /// `--detach`
    pub detach: bool,
    /// `--lsm-profile TYPE:NAME`
    pub lsm_profile: Option<String>,
    /// `--lsm-mount-context`
    pub lsm_mount_context: Option<String>,
}

/// Options of `mounts add` and `mounts remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Container ID.
    pub id: String,
    /// File with a JSON array of mounts.
    pub file: PathBuf,
    /// `remove` rather than `add`.
    pub remove: bool,
}
