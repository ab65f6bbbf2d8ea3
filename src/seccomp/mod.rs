//! `linux.seccomp` becomes a finished BPF program; nothing is installed here (`sys::seccomp`).
//!
//! `profile` checks the configuration, `filter` builds the program out of `tree`s over system call numbers
//! (`program`) and rules on arguments (`rule`, whose comparisons are seccompiler's); `abi` and `tables` know the
//! architectures. Meaning is libseccomp's and runc's, since every profile was written against them:
//!
//! * a rule without arguments overrides the others of its call; of two such the first counts;
//! * a rule that answers what the default answers is left out;
//! * a name that the architecture does not have is skipped;
//! * an architecture that the profile does not list (the native one always is) is killed, x32 among them;
//! * calls newer than all the profile mentions get ENOSYS where the default refuses.

mod abi;
mod filter;
#[cfg(test)]
mod interpreter;
mod multiplex;
mod profile;
mod program;
mod rule;
mod tables;
#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use libc::sock_filter;
use oci_spec::runtime::LinuxSeccomp;
use std::path::PathBuf;

/// A program with all that installing it needs.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// For `sys::seccomp::install`.
    pub program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*`, with `NEW_LISTENER` where a rule notifies.
    pub flags: u64,
    /// Whether a rule notifies; installing then gives a descriptor for the agent.
    pub notify: bool,
    /// The agent's socket.
    pub listener_path: Option<PathBuf>,
    /// What the agent is told besides.
    pub listener_metadata: Option<String>,
}

/// Compiles a profile for the machine this was built for.
///
/// # Errors
/// A property that is wrong, by name, or a filter larger than the kernel takes.
pub(crate) fn compile(seccomp: &LinuxSeccomp) -> Result<Filter> {
    compile_for(abi::NATIVE, seccomp)
}

fn compile_for(family: &abi::Family, seccomp: &LinuxSeccomp) -> Result<Filter> {
    let profile = profile::Profile::read(seccomp)?;
    Ok(Filter {
        program: filter::build(family, &profile)?,
        flags: profile.flags,
        notify: profile.notify,
        listener_path: seccomp.listener_path().clone(),
        listener_metadata: seccomp.listener_metadata().clone(),
    })
}

/// The names of a profile that no architecture of this machine has, for `run.oci.seccomp_fail_unknown_syscall`.
pub(crate) fn unknown_names(seccomp: &LinuxSeccomp) -> Vec<&str> {
    let calls = seccomp.syscalls().as_deref().unwrap_or_default();
    let names = calls.iter().flat_map(|call| call.names()).map(String::as_str);
    let known = |name: &str| tables::find(abi::NATIVE.rows, name).is_some() || multiplex::find(name).is_some();
    names.filter(|name| !known(name)).collect()
}

/// Takes a program as it is, in the kernel's own form (`run.oci.seccomp_bpf_data`, decoded).
///
/// # Errors
/// Where the size is not that of 1 to 4096 instructions; the kernel checks the instructions.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Filter> {
    let size = size_of::<sock_filter>();
    ensure!(
        bytes.len().is_multiple_of(size),
        "seccomp program: {} bytes are no whole number of instructions",
        bytes.len()
    );
    let length = bytes.len() / size;
    ensure!((1..=filter::MAX_INSTRUCTIONS).contains(&length), "seccomp program: {length} instructions");
    let instruction = |bytes: &[u8]| match *bytes {
        [c0, c1, jt, jf, k0, k1, k2, k3] => {
            let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
            Some(sock_filter { code, jt, jf, k })
        }
        _ => None,
    };
    Ok(Filter {
        program: bytes.chunks_exact(size).filter_map(instruction).collect(),
        flags: libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        notify: false,
        listener_path: None,
        listener_metadata: None,
    })
}
