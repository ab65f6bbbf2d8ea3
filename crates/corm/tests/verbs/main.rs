//! The verbs of corm that people know from Podman and Docker, on running, stopped and missing containers. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../legacy_tools/fixture.rs"]
#[allow(dead_code)]
mod fixture;
#[path = "../store/store_fixture.rs"]
#[allow(dead_code)]
mod store_fixture;
#[path = "../legacy_tools/user.rs"]
#[allow(dead_code)]
mod user;

mod attach;
mod copies;
mod filters;
mod flags;
mod groups;
mod images;
mod lifecycle;
mod processes;
mod rootless;
mod volumes;
