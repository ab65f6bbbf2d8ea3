//! Arguments of the verbs on containers.

use std::path::PathBuf;

use super::common::Format;
use super::run::Run;

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

/// A verb on containers.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerVerb {
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
}
