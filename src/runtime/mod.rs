//! The runtime's side of a container's making: the clone, the talk with init, the transaction around both, the end.

pub mod checkpoint;
pub mod create;
mod criu;
mod criu_rootfs;
pub mod destroy;
pub mod exec;
pub mod exec_flags;
mod hooks;
pub mod mounts;
mod namespaces;
pub mod network;
pub mod notify;
pub mod options;
pub mod outputs;
mod prepare;
pub mod rdt;
pub mod restore;
pub mod seccomp_listener;
pub mod spawn;
pub mod start;
mod stopped;
mod stored;
pub mod sync;
pub mod terminal;
pub mod verify;
