//! The functions of the tools that corm continues, each exercised step by step with every driver, and the start and end
//! of containers without a daemon. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../store/store_fixture.rs"]
#[allow(dead_code)]
mod store_fixture;

mod btrfs_exercise;
mod commits;
mod daily_races;
mod daily_use;
mod edge_cases;
mod fixture;
mod flags;
mod hostile;
mod mocker;
mod mydocker;
mod network;
mod outputs;
mod planted;
mod rootless;
mod runtimes;
#[path = "../layers/tar.rs"]
#[allow(dead_code)]
mod tar;
#[path = "../layers/umoci.rs"]
#[allow(dead_code)]
mod umoci;
mod user;
mod views;
mod zocker;
