//! The runtime's side of a container's making: the clone, the talk with init, the transaction around both, the end.

pub mod checkpoint;
pub mod create;
mod criu;
pub mod destroy;
pub mod exec;
pub mod exec_flags;
pub mod handover;
mod hooks;
pub mod mounts;
pub mod network;
pub mod notify;
pub mod options;
mod places;
mod prepare;
pub mod rdt;
pub mod restore;
pub mod seccomp_listener;
pub mod serve;
pub mod spawn;
pub mod start;
mod stopped;
mod stored;
pub mod terminal;
pub mod verify;
