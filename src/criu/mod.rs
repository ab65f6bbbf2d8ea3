//! CRIU, the program that dumps and restores processes: its RPC messages (`wire`, `message`), one run of it (`swrk`),
//! and its log (`log`).
//!
//! Independent of containers: `runtime::checkpoint` and `runtime::restore` compose the requests.

pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod swrk;
mod wire;

pub(crate) use message::{CgroupMode, CriuRequestType, NetworkLock, Notify, Options, Request};
pub(crate) use swrk::{CriuResponse, Start, Swrk, find};
