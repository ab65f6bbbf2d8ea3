//! The library: containers as values, without croci's command line.
//!
//! # Guide
//!
//! ```no_run
//! use croci::api::{Bundle, Container, CreateOptions, ExecOptions, Runtime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! croci::api::protect_program()?; // first: it may execute the program again
//! croci::api::adopt_processes()?; // so that `wait` learns the exit status
//! let runtime = Runtime::new().root("/run/mine");
//! let bundle = Bundle::open("/bundles/web")?;
//! let (web, _) = Container::create(&runtime, "web", &bundle, &CreateOptions::default())?;
//! web.start()?;
//! web.exec(&ExecOptions::command(["/bin/true"]))?;
//! web.kill(15, false)?;
//! println!("{:?}", web.wait()?);
//! web.delete(false)?;
//! # Ok(()) }
//! ```
//!
//! * A [`Runtime`] has what stands before croci's verb: the state root and the manager of cgroups. croci's command line works
//!   on the same containers, as far as it is given the same root.
//! * Every [`Error`] has a [`Code`], which `croci explain` explains, and a message of one line. Warnings are in the
//!   [`Outcome`]. Nothing is printed, and nothing ends the caller's process.
//! * Calls that create processes or run hooks (`create`, `start`, `exec`, `delete`, checkpoint and restore) do their work in a
//!   fork of the caller, so that they can be called from a program of several threads: neither its signal mask, affinity,
//!   umask nor streams change. Each has a form that does not wait: `begin_…` returns a [`Job`], whose descriptor an event
//!   loop can poll; [`Container::prepare_exec`] begins before it is known when the process is wanted. The other calls make
//!   system calls and return.
//! * The process of a container is no child of the caller: its parent is the nearest process that has called
//!   [`adopt_processes`]. A program that does so must reap all its children, those of containers too.
//! * The environment of the caller counts as for the command line: NOTIFY_SOCKET and LISTEN_FDS. Remove them where they are
//!   not for the container.
//!
//! The examples of the crate are complete programs and run as tests: `examples/lifecycle.rs`, `examples/threads.rs`,
//! `examples/prepared.rs`.
//!
//! # Stability
//! The crate is not published before 1.0. Within a minor version the items of this module stay as they are; other modules are
//! public for croci's own programs alone.

mod container;
mod error;
mod job;
mod options;

use anyhow::Context as _;

pub use crate::cgroup::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Hugetlb, Memory, MemoryEntry, Part, Pids, Pressure, PressureLine, Stats,
    Throttling,
};
pub use container::{Bundle, Container, OomWatch, Runtime, State, Status};
pub use error::{Code, Error, Result};
pub use job::{Job, Outcome, Streams};
pub use options::{CheckpointOptions, CreateOptions, ExecOptions, RestoreOptions};

/// Makes sure that no container can overwrite the program of this process (CVE-2019-5736): executes it again from a read-only
/// copy, unless that has happened. To be called first in `main`, while there is one thread; without it no container is made.
///
/// # Errors
/// Neither a read-only clone of the mount nor a sealed copy can be made.
pub fn protect_program() -> Result<()> {
    Ok(linux::binary::ensure_protected().context("protect the program from the container")?)
}

/// Becomes the parent of the processes of containers that are created from now on. The caller has to reap all its children.
///
/// # Errors
/// None in practice.
pub fn adopt_processes() -> Result<()> {
    Ok(linux::process::set_child_subreaper(true).context("become the subreaper")?)
}
