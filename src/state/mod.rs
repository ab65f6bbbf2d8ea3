//! The state of a container: its record and its status.
//!
//! The record has only the facts that cannot be derived; `store` keeps it on disk. `status` computes the rest from the
//! container's process and its cgroup.

mod elsewhere;
pub(crate) mod exit;
mod lock;
pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod store;
mod summary;

pub(crate) use record::{AddedMount, ProcessId, Record};
pub(crate) use status::Status;
pub(crate) use store::{Entry, Found, Store};
pub(crate) use summary::Summary;
