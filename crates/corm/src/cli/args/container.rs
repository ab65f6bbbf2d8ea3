//! Arguments of the verbs on containers.

use std::path::PathBuf;

use super::common::Caller;
use super::run::Run;
use super::views;
use crate::view::filter::Filters;
use crate::view::listing::Format;

/// Arguments of `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// Run in the background.
    pub detach: bool,
    /// Forward standard input.
    pub interactive: bool,
    /// Allocate a terminal.
    pub tty: bool,
    /// Files of environment variables, read before `env`.
    pub env_files: Vec<PathBuf>,
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
    /// No progress, of which there is none.
    pub quiet: bool,
    /// File for the image's ID.
    pub iidfile: Option<PathBuf>,
    /// Write a tar of the tree to this file.
    pub output: Option<PathBuf>,
    /// Container.
    pub container: String,
    /// Name of the new image.
    pub image: String,
}

/// Arguments of `attach`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// Container.
    pub container: String,
    /// Keys by which the caller leaves; absent: `ctrl-p,ctrl-q`.
    pub keys: Option<String>,
    /// Forward no input.
    pub no_stdin: bool,
    /// Forward signals to the container.
    pub sig_proxy: bool,
}

/// Arguments of `stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Containers.
    pub containers: Vec<String>,
    /// Also those that do not run.
    pub all: bool,
    /// Once.
    pub no_stream: bool,
    /// Do not clear the terminal's screen.
    pub no_reset: bool,
    /// Whole IDs.
    pub no_trunc: bool,
    /// Seconds between two lists.
    pub interval: u64,
    /// Table or JSON.
    pub format: Format,
}

/// Arguments of `update`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// Container.
    pub container: String,
    /// Keys below `linux.resources` of the configuration, and their values.
    pub limits: Vec<(&'static [&'static str], serde_json::Value)>,
}

/// Arguments of `cp`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyFiles {
    /// Source: `CONTAINER:PATH`, `PATH` or `-`.
    pub from: String,
    /// Destination.
    pub to: String,
    /// Files copied to a container belong to its user.
    pub archive: bool,
    /// A directory may take the place of another file, and the reverse.
    pub overwrite: bool,
}

/// Arguments of `wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wait {
    /// Containers.
    pub containers: Vec<String>,
    /// Statuses of which one is waited for; none: the end of the container.
    pub conditions: Vec<String>,
    /// Time between two looks at the status, in milliseconds.
    pub interval: u64,
    /// Containers that are gone are no error.
    pub ignore: bool,
}

/// Containers that a verb is applied to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Names or IDs.
    pub names: Vec<String>,
    /// All that the verb can be applied to (`--all`); those of `names`, if there are any.
    pub all: bool,
    /// Names of no container are no error (`--ignore`).
    pub ignore: bool,
    /// What the containers must fit (`--filter`), of all.
    pub filters: Filters,
}

impl Selection {
    /// Returns whether the containers are chosen among all of the store.
    pub fn is_among_all(&self) -> bool {
        self.all || !self.filters.is_empty()
    }
}

/// How containers are stopped; what is absent is the container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopHow {
    /// Seconds before SIGKILL.
    pub seconds: Option<u64>,
    /// Signal before SIGKILL, by name or number.
    pub signal: Option<String>,
}

/// Arguments of `start`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Stay in the foreground with the container's output.
    pub attach: bool,
    /// Forward standard input.
    pub interactive: bool,
    /// Connection of the caller.
    pub caller: Caller,
    /// Containers.
    pub which: Selection,
}

/// Arguments of `rm`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rm {
    /// Remove running ones too.
    pub force: bool,
    /// Seconds before SIGKILL of running ones; absent: SIGKILL at once.
    pub timeout: Option<u64>,
    /// Containers, or image IDs.
    pub which: Selection,
}

/// A verb on containers.
#[derive(Debug, Clone, PartialEq)]
pub enum ContainerVerb {
    /// `run IMAGE [CMD...]`
    Run(Box<Run>),
    /// `create IMAGE [CMD...]`
    Create(Box<Run>),
    /// `ps`
    Ps(views::Ps),
    /// `exec CONTAINER CMD...`
    Exec(Exec),
    /// `logs [-f] CONTAINER...`
    Logs(views::Logs),
    /// `wait CONTAINER...`
    Wait(Wait),
    /// `stop [-t S] CONTAINER...`
    Stop {
        /// Signal before SIGKILL, and seconds between the two.
        how: StopHow,
        /// Containers.
        which: Selection,
    },
    /// `restart [-t S] CONTAINER...`
    Restart {
        /// Signal before SIGKILL, and seconds between the two.
        how: StopHow,
        /// Only those that run.
        running: bool,
        /// Containers.
        which: Selection,
    },
    /// `kill [-s SIG] CONTAINER...`
    Kill {
        /// Signal by name or number.
        signal: String,
        /// Containers.
        which: Selection,
    },
    /// `start CONTAINER...`
    Start(Start),
    /// `rm [-f] CONTAINER...`
    Rm(Rm),
    /// `commit CONTAINER IMAGE`
    Commit(Commit),
    /// `attach CONTAINER`
    Attach(Attach),
    /// `top CONTAINER [COLUMN...]`
    Top {
        /// Container.
        container: String,
        /// Names of columns.
        columns: Vec<String>,
    },
    /// `stats [CONTAINER...]`
    Stats(Stats),
    /// `update CONTAINER`
    Update(Update),
    /// `cp SRC DST`
    Copy(CopyFiles),
    /// `rename CONTAINER NAME`
    Rename {
        /// Container.
        container: String,
        /// New name.
        name: String,
    },
    /// `pause CONTAINER...`
    Pause(Selection),
    /// `unpause CONTAINER...`
    Unpause(Selection),
    /// `container exists CONTAINER`
    Exists(String),
    /// `container prune`
    Prune {
        /// Do not ask.
        force: bool,
        /// What a container must fit.
        filters: Filters,
    },
}

impl ContainerVerb {
    /// Returns the containers of a verb that is applied to each of several.
    pub fn selection(&self) -> Option<&Selection> {
        match self {
            Self::Stop { which, .. } | Self::Restart { which, .. } | Self::Kill { which, .. } => Some(which),
            Self::Start(Start { which, .. }) | Self::Rm(Rm { which, .. }) => Some(which),
            Self::Pause(which) | Self::Unpause(which) => Some(which),
            _ => None,
        }
    }

    /// Replaces the containers of such a verb.
    pub fn select(&mut self, chosen: Selection) {
        match self {
            Self::Stop { which, .. } | Self::Restart { which, .. } | Self::Kill { which, .. } => *which = chosen,
            Self::Start(Start { which, .. }) | Self::Rm(Rm { which, .. }) => *which = chosen,
            Self::Pause(which) | Self::Unpause(which) => *which = chosen,
            _ => {}
        }
    }
}
