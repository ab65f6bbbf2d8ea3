//! What is recorded of one container, and how its status is found.
//!
//! The record holds only what cannot be derived; `store` keeps it on disk, `status` computes the rest from the
//! process and its cgroup.

pub(crate) mod record;
pub(crate) mod status;
pub(crate) mod store;

pub(crate) use record::{AddedMount, ProcessId, Record};
pub(crate) use status::Status;
pub(crate) use store::{Entry, Store};
