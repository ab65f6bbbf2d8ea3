//! The compiler from `linux.seccomp` to a BPF program; `linux::seccomp` installs it.
//!
//! `profile` checks the configuration. `filter` builds the program from search trees over system call numbers
//! (`assembler`) and rules on arguments (`rule`, `compare`). `abi` and `tables` have the
//! architectures. The semantics are those of libseccomp and runc, because profiles are written for them:
//!
//! * a rule without arguments overrides the others of its call; of two such rules the first is used;
//! * a rule with the default action is skipped;
//! * a name that the architecture does not have is skipped;
//! * a call of an architecture that the profile does not list is killed, also of x32; the native one is always listed;
//! * calls newer than the newest in the profile return ENOSYS where the default refuses.

mod abi;
mod assembler;
mod compare;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod interpreter;
mod multiplex;
mod profile;
mod recording;
mod rule;
mod tables;
#[cfg(test)]
mod tests;

pub(crate) use recording::{profile_for, recording};

use anyhow::{Result, ensure};
use base::coded;
use libc::sock_filter;
use oci_spec::runtime::LinuxSeccomp;
use std::path::PathBuf;

/// A compiled filter with its flags and its agent.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// The program for `linux::seccomp::install`.
    pub program: Vec<sock_filter>,
    /// `SECCOMP_FILTER_FLAG_*`, with `NEW_LISTENER` if installation is to return a descriptor for the agent.
    pub flags: u64,
    /// A rule has SCMP_ACT_NOTIFY, so that the container needs an agent.
    pub notify: bool,
    /// Such a rule is for sendmsg(2), so that the process that the filter binds cannot send the descriptor.
    pub notify_sendmsg: bool,
    /// Path of the agent's socket.
    pub listener_path: Option<PathBuf>,
    /// Text for the agent, sent with the descriptor.
    pub listener_metadata: Option<String>,
}

impl Filter {
    /// Reports whether installation returns a descriptor for the agent.
    pub(crate) fn has_listener(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }

    /// Offers the agent a descriptor also if no rule notifies, as crun does: an agent of crun's waits for one. Offers none
    /// where the kernel could refuse it, because the filter has to be loaded anyway: below another filter, which may have
    /// a listener, of which the kernel allows one; or before Linux 5.0.
    pub(crate) fn offer_listener(&mut self) {
        let flags = profile::with_listener(self.flags);
        if self.listener_path.is_some() && !linux::seccomp::is_filtered() && linux::seccomp::flags_available(flags) {
            self.flags = flags;
        }
    }
}

/// Compiles a profile for the target of this build.
///
/// # Errors
/// A wrong property, by name, or a filter larger than the kernel accepts.
pub(crate) fn compile(seccomp: &LinuxSeccomp) -> Result<Filter> {
    compile_for(abi::NATIVE, seccomp)
}

fn compile_for(family: &abi::Family, seccomp: &LinuxSeccomp) -> Result<Filter> {
    let profile = profile::Profile::read(seccomp)?;
    Ok(Filter {
        program: filter::build(family, &profile)?,
        flags: profile.flags,
        notify: profile.notify,
        notify_sendmsg: profile.notify_sendmsg,
        listener_path: seccomp.listener_path().clone(),
        listener_metadata: seccomp.listener_metadata().clone(),
    })
}

/// Returns the action of a filter for a system call of the native ABI, by name, if no argument of the call changes it.
pub(crate) fn action_for(filter: &Filter, name: &str) -> Option<u32> {
    let number = tables::find(abi::NATIVE.rows, name)?.numbers.first().copied()?;
    let action = |args| {
        let call = interpreter::Call { arch: abi::NATIVE.abis.first()?.audit, number, args: [args; 6] };
        interpreter::run(&filter.program, &call).map(|(verdict, _)| verdict)
    };
    action(0).filter(|first| action(u64::MAX) == Some(*first))
}

/// Describes what a filter does instead of a system call, if no argument of the call changes it.
pub(crate) fn refusal(filter: &Filter, name: &str) -> Option<String> {
    let verdict = action_for(filter, name)?;
    match verdict & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ERRNO => {
            let errno = (verdict & libc::SECCOMP_RET_DATA) as i32;
            Some(format!("answers {name} with {:?}", base::error::errno_text(errno)))
        }
        libc::SECCOMP_RET_KILL_PROCESS | libc::SECCOMP_RET_KILL_THREAD | libc::SECCOMP_RET_TRAP => {
            Some(format!("ends a process that calls {name}"))
        }
        _ => None,
    }
}

/// Returns the name of a system call of the native ABI.
pub(crate) fn name_of(number: u32) -> Option<&'static str> {
    let row = abi::NATIVE.rows.iter().find(|row| row.numbers.first() == Some(&number))?;
    std::str::from_utf8(row.name()).ok()
}

/// Lists the system calls in a profile that no ABI of this machine has, for `run.oci.seccomp_fail_unknown_syscall`.
pub(crate) fn unknown_names(seccomp: &LinuxSeccomp) -> Vec<&str> {
    let calls = seccomp.syscalls().as_deref().unwrap_or_default();
    let names = calls.iter().flat_map(|call| call.names()).map(String::as_str);
    let known = |name: &str| tables::find(abi::NATIVE.rows, name).is_some() || multiplex::find(name).is_some();
    names.filter(|name| !known(name)).collect()
}

/// Creates a filter from the bytes of a program, an array of `struct sock_filter` (`run.oci.seccomp_bpf_data`,
/// decoded).
///
/// # Errors
/// A size that is not that of 1 to 4096 instructions. The kernel checks the instructions.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Filter> {
    let size = size_of::<sock_filter>();
    ensure!(
        bytes.len().is_multiple_of(size),
        coded!(SeccompInvalid, "seccomp program: {} bytes are no whole number of instructions", bytes.len())
    );
    let length = bytes.len() / size;
    ensure!(
        (1..=filter::MAX_INSTRUCTIONS).contains(&length),
        coded!(SeccompInvalid, "seccomp program: {length} instructions")
    );
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
        notify_sendmsg: false,
        listener_path: None,
        listener_metadata: None,
    })
}
