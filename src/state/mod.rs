//! What is recorded of one container, and how its status is found.
//!
//! The record holds only what cannot be derived; `store` keeps it on disk, `status` computes the rest from the
//! process and its cgroup.

pub mod record;
pub mod status;
pub mod store;

pub use record::{AddedMount, ProcessId, Record};
pub use status::{Action, Status};
pub use store::{Entry, Store};
