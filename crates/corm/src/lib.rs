//! corm, the image builder: the library with its verbs.
//!
//! corm runs containers by executing croci, as other callers do. The program is `main.rs`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod archive;
pub mod build;
pub mod builder;
pub mod bundle;
pub mod cli;
pub mod commands;
pub mod commit;
pub mod config;
pub mod container;
pub mod containerfile;
pub mod copy;
pub mod create;
pub mod driver;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod layer;
pub mod model;
pub mod progress;
pub mod registries;
pub mod registry;
pub mod store;
pub mod view;
