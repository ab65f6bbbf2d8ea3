//! The parsed command line, a type for each verb.

use std::path::PathBuf;

use crate::container::log::Limits;
use crate::driver::DriverKind;
use crate::model::limits::Limits as LayerLimits;

/// Least severe message that is printed on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only.
    Error,
    /// Warnings too.
    Warning,
    /// Progress too.
    #[default]
    Info,
    /// Every step.
    Debug,
}

/// Flags before the verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Global {
    /// `--root`; absent: `CORM_ROOT`, else the user's default.
    pub root: Option<PathBuf>,
    /// `--driver`; absent: the store's, else the best one that works.
    pub driver: Option<DriverKind>,
    /// `--runtime`; absent: croci beside corm, else from `PATH`.
    pub runtime: Option<PathBuf>,
    /// `--log-level`
    pub log_level: LogLevel,
    /// `--layer-limit`; absent: the defaults.
    pub layer_limits: LayerLimits,
}

/// Format of lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A table.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// Formats of a saved image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Archive {
    /// A tar of an OCI layout.
    #[default]
    Oci,
    /// An OCI layout directory.
    OciDir,
    /// A docker archive.
    Docker,
}

/// Arguments of `pull`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Image reference.
    pub reference: String,
    /// `OS/ARCH[/VARIANT]`; absent: this machine's.
    pub platform: Option<String>,
    /// `--tls-verify`; `false` accepts plain HTTP and unknown certificate authorities.
    pub tls_verify: bool,
}

impl Default for Pull {
    fn default() -> Self {
        Self { reference: String::new(), platform: None, tls_verify: true }
    }
}

/// Arguments of `push`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Push {
    /// Image in the store.
    pub image: String,
    /// Destination reference.
    pub reference: String,
    /// As in [`Pull`].
    pub tls_verify: bool,
}

/// Arguments of `save`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Save {
    /// Image.
    pub image: String,
    /// Format.
    pub format: Archive,
    /// Output file or directory.
    pub output: PathBuf,
}

/// Arguments of `config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Base image.
    pub image: String,
    /// Name of the new image.
    pub name: String,
    /// Default arguments: a JSON list, or words.
    pub cmd: Option<String>,
    /// Entrypoint: a JSON list, or words.
    pub entrypoint: Option<String>,
    /// Environment variables `K=V`.
    pub env: Vec<String>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Labels `K=V`.
    pub labels: Vec<String>,
}

/// When `run` pulls the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// When the store has none.
    #[default]
    Missing,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Period of `--cpus`, in microseconds.
pub const CPU_PERIOD: u64 = 100_000;

/// Arguments of `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Run in the background.
    pub detach: bool,
    /// Forward standard input.
    pub interactive: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Remove the container when it exits.
    pub rm: bool,
    /// Container name.
    pub name: Option<String>,
    /// Volumes `SRC:DST[:OPTIONS]`.
    pub volumes: Vec<String>,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// Platform and certificates of a pull, as in [`Pull`]; the reference is `image`.
    pub pulled: Pull,
    /// Pull without progress.
    pub quiet: bool,
    /// Files of environment variables, read before `env`.
    pub env_files: Vec<PathBuf>,
    /// File to write the container's ID to, which must not exist.
    pub cidfile: Option<PathBuf>,
    /// Entrypoint: a JSON list, or a program.
    pub entrypoint: Option<String>,
    /// Labels `K=V`.
    pub labels: Vec<String>,
    /// Environment variables `K=V`, or `K` with its value in corm's environment.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Memory limit in bytes.
    pub memory: Option<u64>,
    /// CPU time in microseconds for each [`CPU_PERIOD`].
    pub cpu_quota: Option<u64>,
    /// Maximum number of processes; -1 for no limit.
    pub pids_limit: Option<i64>,
    /// Limits of log rotation.
    pub log: Limits,
    /// Read-only root file system.
    pub read_only: bool,
    /// Host name.
    pub hostname: Option<String>,
    /// Use the host's network instead of a private one.
    pub host_network: bool,
    /// Image.
    pub image: String,
    /// Command that replaces the image's.
    pub command: Vec<String>,
}

/// Arguments of `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Run in the background.
    pub detach: bool,
    /// Forward standard input.
    pub interactive: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Environment variables `K=V`.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Container.
    pub container: String,
    /// Command.
    pub command: Vec<String>,
}

/// Arguments of `commit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Comment in the history.
    pub message: Option<String>,
    /// Author in the history.
    pub author: Option<String>,
    /// Instructions of a Dockerfile that change the configuration.
    pub changes: Vec<String>,
    /// Include the content of volumes.
    pub include_volumes: bool,
    /// Write a tar of the tree to this file.
    pub output: Option<PathBuf>,
    /// Container.
    pub container: String,
    /// Name of the new image.
    pub image: String,
}

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// `init DIR [NAME]`
    Init {
        /// Source directory.
        dir: PathBuf,
        /// Name of the new image.
        name: Option<String>,
    },
    /// `import FILE|- [NAME]`
    Import {
        /// Tar file; `-` is standard input.
        file: PathBuf,
        /// Name of the new image.
        name: Option<String>,
    },
    /// `load PATH [--name NAME]`
    Load {
        /// An OCI layout directory, OCI archive or docker archive.
        path: PathBuf,
        /// Name that replaces those in the archive.
        name: Option<String>,
    },
    /// `pull REF`
    Pull(Pull),
    /// `push IMAGE REF`
    Push(Push),
    /// `save IMAGE -o PATH`
    Save(Save),
    /// `export CONTAINER|IMAGE [-o FILE]`
    Export {
        /// Container or image.
        from: String,
        /// Output file; absent: standard output.
        output: Option<PathBuf>,
    },
    /// `images`
    Images {
        /// IDs only.
        quiet: bool,
        /// Table or JSON.
        format: Format,
    },
    /// `inspect IMAGE|CONTAINER`
    Inspect(String),
    /// `history IMAGE`
    History {
        /// Image.
        image: String,
        /// Table or JSON.
        format: Format,
    },
    /// `diff IMAGE|CONTAINER`
    Diff(String),
    /// `tag IMAGE NAME`
    Tag {
        /// Image.
        image: String,
        /// Additional name.
        name: String,
    },
    /// `rmi [-f] IMAGE...`
    Rmi {
        /// Remove all names of the image.
        force: bool,
        /// Images.
        images: Vec<String>,
    },
    /// `config IMAGE NEWNAME`
    Config(Config),
    /// `bundle IMAGE DIR`
    Bundle {
        /// An image, or a directory.
        image: String,
        /// Bundle to create.
        dir: PathBuf,
    },
    /// `unbundle DIR`
    Unbundle(PathBuf),
    /// `run IMAGE [CMD...]`
    Run(Box<Run>),
    /// `ps`
    Ps {
        /// Include stopped containers.
        all: bool,
        /// IDs only.
        quiet: bool,
        /// Table or JSON.
        format: Format,
    },
    /// `exec CONTAINER CMD...`
    Exec(Exec),
    /// `logs [-f] CONTAINER`
    Logs {
        /// Follow until the container ends.
        follow: bool,
        /// Container.
        container: String,
    },
    /// `wait CONTAINER...`
    Wait(Vec<String>),
    /// `stop [-t S] CONTAINER...`
    Stop {
        /// Seconds before SIGKILL.
        timeout: u64,
        /// Containers.
        containers: Vec<String>,
    },
    /// `kill [-s SIG] CONTAINER...`
    Kill {
        /// Signal by name or number.
        signal: String,
        /// Containers.
        containers: Vec<String>,
    },
    /// `start CONTAINER...`
    Start(Vec<String>),
    /// `rm [-f] CONTAINER...`
    Rm {
        /// Remove running ones too.
        force: bool,
        /// Containers, or image IDs.
        containers: Vec<String>,
    },
    /// `commit CONTAINER IMAGE`
    Commit(Commit),
    /// `system df`
    SystemDf {
        /// Table or JSON.
        format: Format,
    },
    /// `system prune [-a]`
    SystemPrune {
        /// Also remove named images that no container uses.
        all: bool,
    },
    /// `fsck [--repair]`
    Fsck {
        /// Repair or remove damaged data.
        repair: bool,
    },
}
