//! CRIU, which saves and restores processes: the language it speaks (`wire`, `message`), a run of it (`swrk`), and what
//! it wrote about a failure (`log`).
//!
//! Nothing here knows of containers: what CRIU is asked for is put together in `runtime::checkpoint` and
//! `runtime::restore`.

pub mod log;
pub mod message;
pub mod swrk;
mod wire;

pub use message::{CgroupMode, CriuRequestType, NetworkLock, Notify, Options, Request, Response};
pub use swrk::{CriuResponse, Start, Swrk, find};
