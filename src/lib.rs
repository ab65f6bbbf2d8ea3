//! croci, a low-level OCI container runtime: the library behind the program of that name.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
// denied because an index out of bounds panics; allowed in tests (clippy.toml)
#![deny(clippy::indexing_slicing)]

pub mod api;
mod bundle;
mod cgroup;
pub mod cli;
pub mod commands;
pub mod config;
mod criu;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
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
