//! croci, an OCI low-level container runtime: the library behind the binary.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
// an index out of bounds would be a panic; in tests it may be one (clippy.toml)
#![deny(clippy::indexing_slicing)]

mod bundle;
mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
mod criu;
mod hook;
mod id_mapping;
mod init;
mod opened;
mod plan;
mod protocol;
mod rootfs;
mod runtime;
mod seccomp;
mod state;
mod verify;
