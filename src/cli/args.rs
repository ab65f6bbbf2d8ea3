//! What a command line says, as plain data: one structure per verb, no meaning yet.
//!
//! Repeated flags: the last one wins, lists add up. Numbers are parsed; names (signals, users, capabilities) are kept
//! as text for the verb that knows them.

use std::path::PathBuf;

pub use crate::runtime::options::CgroupManager;
pub use crate::runtime::options::Cgroups;
pub use crate::runtime::options::CgroupsMode;
pub use crate::runtime::options::Checkpoint;
pub use crate::runtime::options::Create;
pub use crate::runtime::options::Criu;
pub use crate::runtime::options::Exec;
pub use crate::runtime::options::Mounts;
pub use crate::runtime::options::NetworkLock;
pub use crate::runtime::options::Restore;
pub use base::log::LogFormat;
pub use base::log::LogLevel;

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

impl Global {
    /// What the flags say of cgroups.
    pub fn cgroups(&self) -> Cgroups {
        Cgroups { manager: self.cgroup_manager, rootless: self.rootless }
    }
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
