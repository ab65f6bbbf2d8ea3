//! The parsed command line: one structure for each verb.
//!
//! Of a repeated flag the last one counts; lists are concatenated. Numbers are parsed. Names of signals, users and
//! capabilities are text, which the verb parses.

use std::path::PathBuf;

pub use crate::runtime::options::CgroupManager;
pub use crate::runtime::options::Cgroups;
pub use crate::runtime::options::CgroupsMode;
pub use crate::runtime::options::Checkpoint;
pub use crate::runtime::options::Create;
pub use crate::runtime::options::Criu;
pub use crate::runtime::options::Document;
pub use crate::runtime::options::Exec;
pub use crate::runtime::options::Mounts;
pub use crate::runtime::options::NetworkLock;
pub use crate::runtime::options::Restore;
pub use base::log::LogFormat;
pub use base::log::LogLevel;

/// The flags before the verb.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Global {
    /// `--root`: the state root; `None` = the default of this user.
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
    /// Returns the flags about cgroups.
    pub fn cgroups(&self) -> Cgroups {
        Cgroups { manager: self.cgroup_manager, rootless: self.rootless }
    }
}

/// A whole command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The flags before the verb.
    pub global: Global,
    /// The verb and its flags.
    pub verb: Verb,
}

/// A verb with its flags and operands.
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
    /// `wait ID…`
    Wait(Vec<String>),
    /// `why`
    Why(Why),
    /// `gc`
    Gc(Gc),
    /// `validate`
    Validate(Validate),
    /// `plan`
    Plan(Plan),
    /// `explain [CODE|MESSAGE…]`
    Explain(Vec<String>),
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
    /// The flags of `create`.
    pub create: Create,
    /// `--detach`
    pub detach: bool,
    /// `--keep`: do not delete the container when it exits.
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
    /// Container ID, or the regular expression of `--regex`.
    pub id: String,
    /// Name or number of the signal; `None` = the container's stop signal, else TERM.
    pub signal: Option<String>,
    /// `--all`
    pub all: bool,
    /// `--regex`
    pub regex: bool,
}

/// `gc`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gc {
    /// `--dry-run`
    pub dry_run: bool,
}

/// `why`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Why {
    /// Container ID.
    pub id: String,
    /// `--format`
    pub format: Format,
}

/// `validate`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validate {
    /// `--bundle`, default `.`.
    pub bundle: PathBuf,
    /// `--host`: check that this machine has what is configured, too.
    pub host: bool,
    /// `--format`
    pub format: Format,
}

/// `plan`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The flags of `create`.
    pub create: Create,
    /// `--format`
    pub format: Format,
}

/// `delete`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Container IDs, or regular expressions of `--regex`.
    pub ids: Vec<String>,
    /// `--force`
    pub force: bool,
    /// `--regex`
    pub regex: bool,
}

/// The output format of `ps` and `list`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A table with a header, for people.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
}

/// `ps`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ps {
    /// Container ID.
    pub id: String,
    /// `--format`
    pub format: Format,
    /// Options of ps(1); empty = `-ef`.
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
    /// `--resources`: a file, or `-` for standard input; the other flags are then ignored.
    pub resources: Option<Document>,
    /// The other flags in order: name without dashes, and value as decimal text; sizes in bytes.
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
    /// `--file`: the file to write instead of `config.json`.
    pub file: Option<PathBuf>,
    /// `--rootless`
    pub rootless: bool,
}
