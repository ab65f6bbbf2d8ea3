//! Layers that were crafted to do harm, and layers that are only unusual, with every driver: nothing outside the tree
//! is read or changed, and the result is the tree or an error that names the entry. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod compression;
mod costs;
mod file_types;
mod fixture;
mod fuzz;
mod links;
mod lower;
mod names;
mod packing;
#[path = "../store/store_fixture.rs"]
#[allow(dead_code)]
mod store_fixture;
mod tar;
mod tar_formats;
mod umoci;
mod whiteouts;
