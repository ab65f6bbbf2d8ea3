//! Arguments of `run`.

use std::path::PathBuf;

use super::common::Caller;
use super::image::Pull;
use crate::config::network::NetworkFlags;
use crate::config::settings::Settings;
use crate::container::log::Limits;

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

/// Arguments of `run`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// Run in the background.
    pub detach: bool,
    /// Forward standard input.
    pub interactive: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Connection of the caller.
    pub caller: Caller,
    /// Remove the container when it exits.
    pub rm: bool,
    /// Remove the image too, when the container exits and no other uses it.
    pub rmi: bool,
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
    /// Files of labels, read before `labels`.
    pub label_files: Vec<PathBuf>,
    /// Labels `K=V`.
    pub labels: Vec<String>,
    /// Environment variables `K=V`, or `K` with its value in corm's environment.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Limits of log rotation.
    pub log: Limits,
    /// Read-only root file system.
    pub read_only: bool,
    /// Host name.
    pub hostname: Option<String>,
    /// Network.
    pub network: NetworkFlags,
    /// Settings by flags of `settings`.
    pub settings: Settings,
    /// Image.
    pub image: String,
    /// Command that replaces the image's.
    pub command: Vec<String>,
}
