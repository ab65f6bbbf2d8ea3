//! What a corm command line asks for, verb by verb.

use std::path::PathBuf;

use crate::container::log::Limits;
use crate::driver::DriverKind;

/// Least severe message that is shown on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What went less than well.
    Warning,
    /// What is being done, as progress lines.
    #[default]
    Info,
    /// Each step.
    Debug,
}

/// Flags before the verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Global {
    /// `--root`; absent: `CORM_ROOT`, else the default of the user.
    pub root: Option<PathBuf>,
    /// `--driver`; absent: the store's, else the best one that works.
    pub driver: Option<DriverKind>,
    /// `--runtime`; absent: croci beside corm, else from `PATH`.
    pub runtime: Option<PathBuf>,
    /// `--log-level`
    pub log_level: LogLevel,
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// Forms of a saved image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Archive {
    /// An OCI layout in a tar.
    #[default]
    Oci,
    /// An OCI layout as a directory.
    OciDir,
    /// What `docker load` reads.
    Docker,
}

/// `pull`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pull {
    /// What to pull.
    pub reference: String,
    /// `OS/ARCH[/VARIANT]`; absent: this machine's.
    pub platform: Option<String>,
    /// `--tls-verify=false`: also plain HTTP, and certificates that no known authority signed.
    pub tls_verify: bool,
}

/// `push`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Push {
    /// The image here.
    pub image: String,
    /// Where to.
    pub reference: String,
    /// As for `pull`.
    pub tls_verify: bool,
}

/// `save`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Save {
    /// The image.
    pub image: String,
    /// Its form.
    pub format: Archive,
    /// The file or directory to make.
    pub output: PathBuf,
}

/// `config`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The image to start from.
    pub image: String,
    /// The name of the new one.
    pub name: String,
    /// Default arguments: a JSON list, or words.
    pub cmd: Option<String>,
    /// What is run: a JSON list, or words.
    pub entrypoint: Option<String>,
    /// `K=V`
    pub env: Vec<String>,
    /// User.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// `K=V`
    pub labels: Vec<String>,
}

/// Microseconds: what `--cpus` is counted in.
pub const CPU_PERIOD: u64 = 100_000;

/// `run`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Do not wait for the end.
    pub detach: bool,
    /// Standard input stays open.
    pub interactive: bool,
    /// A terminal.
    pub tty: bool,
    /// Remove the container at its end.
    pub rm: bool,
    /// Its name.
    pub name: Option<String>,
    /// `SRC:DST[:ro]`
    pub volumes: Vec<String>,
    /// `K=V`, or `K`: as it is in corm's environment.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Microseconds of CPU time in each [`CPU_PERIOD`].
    pub cpu_quota: Option<u64>,
    /// Most processes; -1 for no limit.
    pub pids_limit: Option<i64>,
    /// How much of what it prints is kept.
    pub log: Limits,
    /// The root file system is read-only.
    pub read_only: bool,
    /// Host name.
    pub hostname: Option<String>,
    /// Network of the host instead of a private one.
    pub host_network: bool,
    /// The image.
    pub image: String,
    /// The command instead of the image's.
    pub command: Vec<String>,
}

/// `exec`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Do not wait for the end.
    pub detach: bool,
    /// Standard input stays open.
    pub interactive: bool,
    /// A terminal.
    pub tty: bool,
    /// `K=V`
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// The container.
    pub container: String,
    /// The command.
    pub command: Vec<String>,
}

/// `commit`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// What changed.
    pub message: Option<String>,
    /// Who changed it.
    pub author: Option<String>,
    /// What volumes hold is part of the image.
    pub include_volumes: bool,
    /// A tar of the changed tree, instead of only an image.
    pub output: Option<PathBuf>,
    /// The container.
    pub container: String,
    /// The image's name.
    pub image: String,
}

/// A verb with all that was given to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// `init DIR [NAME]`
    Init {
        /// The directory.
        dir: PathBuf,
        /// The image's name.
        name: Option<String>,
    },
    /// `import FILE|- [NAME]`
    Import {
        /// The tar; `-` is standard input.
        file: PathBuf,
        /// The image's name.
        name: Option<String>,
    },
    /// `load PATH [--name NAME]`
    Load {
        /// An OCI layout directory, OCI archive or docker archive.
        path: PathBuf,
        /// The name instead of those inside.
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
        /// The tar; absent: standard output.
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
        /// The image.
        image: String,
        /// Table or JSON.
        format: Format,
    },
    /// `diff IMAGE|CONTAINER`
    Diff(String),
    /// `tag IMAGE NAME`
    Tag {
        /// The image.
        image: String,
        /// One more name for it.
        name: String,
    },
    /// `rmi [-f] IMAGE...`
    Rmi {
        /// With all its names.
        force: bool,
        /// The images.
        images: Vec<String>,
    },
    /// `config IMAGE NEWNAME`
    Config(Config),
    /// `bundle IMAGE DIR`
    Bundle {
        /// An image, or a directory.
        image: String,
        /// The bundle to make.
        dir: PathBuf,
    },
    /// `unbundle DIR`
    Unbundle(PathBuf),
    /// `run IMAGE [CMD...]`
    Run(Box<Run>),
    /// `ps`
    Ps {
        /// Stopped ones too.
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
        /// Go on until its end.
        follow: bool,
        /// The container.
        container: String,
    },
    /// `wait CONTAINER`
    Wait(String),
    /// `stop [-t S] CONTAINER...`
    Stop {
        /// Seconds before SIGKILL.
        timeout: u64,
        /// The containers.
        containers: Vec<String>,
    },
    /// `kill [-s SIG] CONTAINER...`
    Kill {
        /// By name or number.
        signal: String,
        /// The containers.
        containers: Vec<String>,
    },
    /// `start CONTAINER...`
    Start(Vec<String>),
    /// `rm [-f] CONTAINER...`
    Rm {
        /// Running ones too.
        force: bool,
        /// Containers, or ids of images.
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
        /// Also images with a name that no container uses.
        all: bool,
    },
    /// `fsck [--repair]`
    Fsck {
        /// Also remove or mend what is wrong.
        repair: bool,
    },
}
