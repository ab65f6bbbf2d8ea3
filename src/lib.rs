//! croci, an OCI low-level container runtime: the library behind the binary.

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod cli_parser;
pub mod commands;
pub mod config;
pub mod cpu_set;
pub mod criu;
pub mod error;
pub mod hook;
pub mod host;
#[cfg(feature = "image")]
pub mod image;
pub mod init;
pub mod log;
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
