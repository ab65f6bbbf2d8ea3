//! croci, an OCI low-level container runtime: the library behind the binary.

// an index out of bounds would be a panic; in tests it may be one (clippy.toml)
#![deny(clippy::indexing_slicing)]

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod cli_parser;
pub mod commands;
pub mod config;
pub mod cpu_set;
pub mod criu;
pub mod error;
pub mod foreground;
pub mod hook;
pub mod host;
pub mod id_mapping;
#[cfg(feature = "image")]
#[allow(clippy::indexing_slicing, reason = "JSON objects of its own making are filled by key")]
pub mod image;
pub mod init;
pub mod log;
pub mod mountinfo;
pub mod opened;
pub mod plan;
pub mod protocol;
pub mod rootfs;
pub mod runtime;
pub mod seccomp;
pub mod signal_guard;
pub mod state;
pub mod sys;
pub mod users;
pub mod verify;
