//! Containers without a daemon: made of an image, started by an OCI runtime, attended by corm itself.
//!
//! ```text
//! STORE/containers/ID/record.json   what it was made of (`store`)         config.json, hosts, …   its bundle
//!                     state.json    since when, how it ended              log                      what it printed
//! RUN/runtime/                      the runtime's own state               RUN/ID/pid, attendant    while it runs
//! ```
//! Whoever started a container attends it until its end: `corm run` itself in the foreground, a fork of it for a
//! detached one. The attendant holds a lock on `RUN/ID/attendant`, keeps the log, writes how the program ended, and
//! clears away. Nothing depends on it: killed, it leaves a container that `stop`, `rm` and `start` deal with, and only
//! its exit status is lost. RUN lies in a tmpfs, so that nothing in it outlives the machine.

pub mod changes;
pub mod cleanup;
pub mod create;
pub mod files;
pub mod log;
pub mod monitor;
pub mod names;
pub mod run_dir;
pub mod runtime;
pub mod session;
pub mod status;
pub mod supervise;
pub mod userns;
pub mod within;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::Volume;

/// What a container is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// corm runs it.
    #[default]
    Run,
    /// A bundle: others run it.
    Bundle,
}

/// How a container is run: kept in its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setup {
    /// What it is for.
    pub purpose: Purpose,
    /// What of the host is shown in it, the image's own volumes included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Mount points that the image lacks and the runtime makes; below the root, without a leading slash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<PathBuf>,
    /// What asks it to end.
    pub stop_signal: String,
    /// It goes at its end.
    pub remove: bool,
    /// It has a terminal.
    pub tty: bool,
    /// What runs it.
    pub runtime: PathBuf,
    /// How much of what it prints is kept.
    pub log: log::Limits,
}
