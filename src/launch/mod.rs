//! The runtime's side of a container's making: the clone, the talk with init, the transaction around both, the end.

pub mod channel;
pub mod checkpoint;
pub mod create;
mod criu;
pub mod destroy;
pub mod exec;
pub mod exec_flags;
pub mod handover;
pub mod hook;
pub mod interrupt;
pub mod mounts;
pub mod network;
pub mod notify;
mod places;
mod prepare;
pub mod rdt;
pub mod restore;
pub mod seccomp_listener;
pub mod serve;
pub mod spawn;
pub mod start;
mod stopped;
pub mod terminal;
pub mod verify;
