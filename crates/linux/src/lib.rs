//! The system calls of croci and corm: thin, documented wrappers with all unsafe code, a file for each area.
//!
//! Nothing here decides anything. A wrapper takes borrowed descriptors and C strings and returns `io::Result`.
//!
//! A call is made by nix where nix has it, else by rustix, and by the C library's raw call where neither has it as it is
//! needed here; decision 37 has the list.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[cfg(all(not(debug_assertions), panic = "abort"))]
mod backtrace;
pub mod binary;
pub mod bpf;
pub mod btrfs;
pub mod cred;
pub mod event;
pub mod file;
pub mod handle;
pub mod image;
pub mod keyring;
pub mod mount;
pub mod net;
pub mod open;
pub mod path;
pub mod pidfd_info;
pub mod place;
pub mod process;
pub mod procfs;
pub mod query;
pub mod random;
pub mod resolve;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod start;
pub mod term;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod userns;
pub mod worker;

use std::io;

/// Converts the result of a system call that returns -1 and sets errno on failure.
pub(crate) fn cvt(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Names a system call that the kernel does not have, or that a filter answers so, because "function not implemented"
/// alone says nothing to the user.
pub fn named(call: &str, err: io::Error) -> io::Error {
    if err.raw_os_error() != Some(libc::ENOSYS) {
        return err;
    }
    let text = format!("the kernel, or a seccomp filter of the caller, does not have the system call {call}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}
