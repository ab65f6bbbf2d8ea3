//! Containers without a daemon: created from an image, started by an OCI runtime, supervised by corm.
//!
//! ```text
//! STORE/containers/ID/record.json   how it was created (`store`)          config.json, hosts, …   its bundle
//!                     state.json    start, end and exit status            log                      its output
//! RUN/runtime/                      the runtime's state                   RUN/ID/pid, supervisor   while it runs
//! ```
//! The process that starts a container is its supervisor: `corm run` in the foreground, a fork of it for a detached
//! one. The supervisor holds a lock on `RUN/ID/supervisor`, writes the log and the exit status, and cleans up. If it is
//! killed, `stop`, `rm` and `start` still work, and only the exit status is lost. RUN is on a tmpfs, so its files do
//! not survive a reboot.

mod accounts;
pub mod attach;
pub mod changes;
pub mod cleanup;
pub mod config_file;
pub mod cp;
pub mod create;
pub mod files;
pub mod join;
pub mod lifecycle;
pub mod log;
mod mapping;
pub mod monitor;
pub mod names;
pub mod network;
pub mod oom;
pub mod processes;
pub mod run_dir;
pub mod runtime;
pub mod session;
pub mod statistics;
pub mod status;
pub mod supervise;
pub mod survival;
pub mod sweep;
pub mod userns;
mod volume_options;
mod volumes;
pub mod within;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::network::Network;
use super::config::settings::names::Names;
use super::config::settings::userns::UserNamespace;
use super::config::{Overrides, Volume};

/// Purpose of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A container that corm runs.
    #[default]
    Run,
    /// A bundle, which another program runs.
    Bundle,
    /// A step of a build, whose tree becomes a layer. It lives as long as its supervisor.
    Build,
}

/// Run options in a container's record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Setup {
    /// Purpose.
    pub purpose: Purpose,
    /// Volumes, those of the image included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Mount points that the image lacks and the runtime creates; below the root, without a leading slash.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<PathBuf>,
    /// Stop signal.
    pub stop_signal: String,
    /// Seconds between this signal and SIGKILL; absent: the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
    /// Containers whose namespaces it joins: the type of the namespace, and the ID.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub joins: BTreeMap<String, String>,
    /// User namespace; absent: corm's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns: Option<UserNamespace>,
    /// Names of hosts that the caller gave.
    pub names: Names,
    /// Remove the container when it exits (`--rm`).
    pub remove: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its program has a standard input that callers may write to.
    pub interactive: bool,
    /// Whether `create` completed it, so that it is kept although it never ran.
    pub created: bool,
    /// Path of the runtime.
    pub runtime: PathBuf,
    /// Limits of log rotation.
    pub log: log::Limits,
    /// Network.
    pub network: Network,
    /// What the caller set in the place of the image's configuration, for a commit.
    pub overrides: Overrides,
}
