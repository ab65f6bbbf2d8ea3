//! The runtime's side of a container: its plan, the transaction that creates it, the clone, the messages with init, its
//! end.

pub(crate) mod checkpoint;
pub(crate) mod create;
mod criu;
mod criu_rootfs;
pub(crate) mod destroy;
pub(crate) mod exec;
pub(crate) mod exec_flags;
mod hooks;
mod job_control;
mod mount_points;
pub(crate) mod mounts;
mod namespaces;
pub(crate) mod network;
pub(crate) mod notify;
pub(crate) mod options;
pub(crate) mod outputs;
pub(crate) mod prepare;
pub(crate) mod preview;
pub(crate) mod rdt;
pub(crate) mod record_seccomp;
pub(crate) mod restore;
pub(crate) mod seccomp_listener;
pub(crate) mod spawn;
pub(crate) mod start;
mod stored;
pub(crate) mod sync;
pub(crate) mod terminal;
pub(crate) mod transaction;
pub(crate) mod verify;
