//! croci, an OCI low-level container runtime: the library behind the binary.

pub mod accounts;
pub mod argv;
pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod commands;
pub mod container;
pub mod cpu_set;
pub mod criu;
pub mod error;
pub mod hook;
pub mod host;
#[cfg(feature = "image")]
pub mod image;
pub mod init;
pub mod launch;
pub mod log;
pub mod plan;
pub mod protocol;
pub mod rootfs;
pub mod seccomp;
pub mod signal_guard;
pub mod spec;
pub mod sys;
pub mod verify;
