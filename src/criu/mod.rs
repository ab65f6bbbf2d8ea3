//! CRIU, which saves and restores processes: the language it speaks (`wire`, `message`), a run of it (`swrk`), and what
//! it wrote about a failure (`log`).
//!
//! Nothing here knows of containers: what CRIU is asked for is put together in `runtime::checkpoint` and
//! `runtime::restore`.

pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod swrk;
mod wire;

pub(crate) use message::{CgroupMode, CriuRequestType, NetworkLock, Notify, Options, Request};
pub(crate) use swrk::{CriuResponse, Start, Swrk, find};
