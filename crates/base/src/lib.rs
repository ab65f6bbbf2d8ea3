//! Code that croci and corm share: command lines, errors, users, host facts, logs, files by descriptor.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
// an index out of bounds would be a panic; in tests it may be one (clippy.toml)
#![deny(clippy::indexing_slicing)]

pub mod capability;
pub mod child;
pub mod cli_parser;
pub mod cpu_set;
pub mod default_config;
pub mod error;
pub mod foreground;
pub mod fs;
pub mod host;
pub mod json;
pub mod log;
pub mod mountinfo;
pub mod pid_namespace;
pub mod run_dir;
pub mod signal;
pub mod signal_guard;
pub mod suggest;
pub mod thread;
pub mod users;
