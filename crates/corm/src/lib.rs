//! corm, the image builder: what its verbs do.
//!
//! corm runs containers by calling the croci binary, as any caller does. The program is `main.rs`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod archive;
pub mod build;
pub mod bundle;
pub mod cli;
pub mod commands;
pub mod commit;
pub mod config;
pub mod container;
pub mod create;
pub mod driver;
pub mod layer;
pub mod model;
pub mod progress;
pub mod registry;
pub mod store;
