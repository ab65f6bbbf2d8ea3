//! corm, the image builder: what its verbs do.
//!
//! Uses `sys`, `config::default_config` and nothing else of the runtime: corm runs containers by calling the croci binary,
//! as any caller does. The program is `bin/corm.rs`.

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
pub mod fs;
pub mod layer;
pub mod model;
pub mod progress;
pub mod registry;
pub mod store;
