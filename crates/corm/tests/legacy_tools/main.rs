//! What the designs that corm continues could do, each walked step by step over every driver, and how containers live
//! and end without a daemon. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../store/store_fixture.rs"]
#[allow(dead_code)]
mod store_fixture;

mod btrfs_exercise;
mod commits;
mod edge_cases;
mod fixture;
mod hostile;
mod mocker;
mod mydocker;
mod outputs;
mod planted;
mod rootless;
mod runtimes;
mod zocker;
