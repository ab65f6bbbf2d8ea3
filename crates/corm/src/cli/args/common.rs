//! The flags before the verb, and types that several verbs use.

use std::path::PathBuf;

use crate::driver::DriverKind;
use crate::model::limits::Limits;

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
    pub layer_limits: Limits,
}

/// How the caller of `run` or `start` is connected to a container in the foreground.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Standard input, standard output and standard error; absent: all.
    pub streams: Option<[bool; 3]>,
    /// Keys by which the caller leaves; absent: `ctrl-p,ctrl-q`.
    pub keys: Option<String>,
    /// Signals act on corm and are not forwarded.
    pub keeps_signals: bool,
}
