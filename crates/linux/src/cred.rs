//! Credentials of the calling thread: ids, groups, capability sets, and the prctl bits that go with them.
//!
//! The ID calls are raw system calls, without the C library's broadcast to all threads, because croci has one thread,
//! and in the child of a raw clone3 the library's list of threads is the parent's.

use super::cvt;
use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets as RawSets};

/// The three sets that capget and capset deal with, one bit a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Capabilities that the kernel checks.
    pub effective: u64,
    /// Capabilities that may become effective.
    pub permitted: u64,
    /// Capabilities that an execve of a file with inheritable capabilities keeps.
    pub inheritable: u64,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words a set.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapWord {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Returns the capability sets of this thread. [capget(2)](https://man7.org/linux/man-pages/man2/capget.2.html)
///
/// rustix is not used, because it reads memory that it has not set: if a filter returns 0 for capset and capget, it
/// returns bytes left on the stack, perhaps the requested sets. This function returns empty sets then.
///
/// # Errors
/// As capget(2); under a seccomp filter, that of the filter.
pub fn capget() -> io::Result<CapabilitySets> {
    let header = CapHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut words = [CapWord::default(); 2];
    // SAFETY: version 3 requires exactly the two words that `words` holds; both structures outlive the call.
    cvt(unsafe { libc::syscall(libc::SYS_capget, &raw const header, words.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let [low, high] = words;
    Ok(CapabilitySets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

/// Sets the three sets of this thread at once. [capset(2)](https://man7.org/linux/man-pages/man2/capset.2.html)
///
/// # Errors
/// `EPERM` where permitted would grow, effective leave permitted, or inheritable leave the bounding set.
pub fn capset(sets: &CapabilitySets) -> io::Result<()> {
    let set = CapabilitySet::from_bits_retain;
    let sets =
        RawSets { effective: set(sets.effective), permitted: set(sets.permitted), inheritable: set(sets.inheritable) };
    Ok(thread::set_capabilities(None, sets)?)
}

/// One capability as a set; none for a number that no kernel knows, which the calls below refuse with `EINVAL`.
fn one(capability: u8) -> CapabilitySet {
    CapabilitySet::from_bits_retain(1_u64.checked_shl(capability.into()).unwrap_or(0))
}

/// Drops all capabilities of this thread except those in `keep`, a mask as in [`CapabilitySets`].
///
/// # Errors
/// As [`capset`].
pub fn limit_capabilities(keep: u64) -> io::Result<()> {
    let held = capget()?;
    let permitted = held.permitted & keep;
    capset(&CapabilitySets { effective: permitted, permitted, inheritable: held.inheritable & keep })
}

/// Drops one capability from the bounding set.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, else `EINVAL` for a number that this kernel does not know.
pub fn drop_bounding(capability: u8) -> io::Result<()> {
    Ok(thread::remove_capability_from_bounding_set(one(capability))?)
}

/// Returns whether a capability is in the bounding set.
///
/// # Errors
/// `EINVAL` for a number that this kernel does not know.
pub fn in_bounding(capability: u8) -> io::Result<bool> {
    Ok(thread::capability_is_in_bounding_set(one(capability))?)
}

/// Empties the ambient set.
///
/// # Errors
/// `EINVAL` before Linux 4.3.
pub fn clear_ambient() -> io::Result<()> {
    Ok(thread::clear_ambient_capability_set()?)
}

/// Adds one capability to the ambient set.
///
/// # Errors
/// `EPERM` where it is not both permitted and inheritable.
pub fn raise_ambient(capability: u8) -> io::Result<()> {
    Ok(thread::configure_capability_in_ambient_set(one(capability), true)?)
}

/// Sets whether the permitted set survives a change of all user IDs from zero; an execve clears the flag.
///
/// # Errors
/// `EPERM` where the secure bits are locked.
pub fn set_keepcaps(keep: bool) -> io::Result<()> {
    Ok(nix::sys::prctl::set_keepcaps(keep)?)
}

/// Sets no_new_privs, irrevocably: execve grants this process no privileges any more.
///
/// # Errors
/// None on a kernel since 3.5.
pub fn set_no_new_privs() -> io::Result<()> {
    Ok(nix::sys::prctl::set_no_new_privs()?)
}

/// Returns the signal that [`crate::process::set_parent_death_signal`] set; 0 for none.
///
/// # Errors
/// None in practice.
pub fn parent_death_signal() -> io::Result<i32> {
    Ok(nix::sys::prctl::get_pdeathsig()?.map_or(0, |signal| signal as i32))
}

/// Replaces the supplementary groups.
///
/// # Errors
/// `EPERM` where the user namespace denies it, `EINVAL` for a group without a mapping or more than 65 536.
pub fn setgroups(groups: &[u32]) -> io::Result<()> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw_unchecked).collect();
    Ok(thread::set_thread_groups(&groups)?)
}

/// Sets the real, effective and saved group.
///
/// # Errors
/// `EINVAL` for a group without a mapping, `EPERM` without `CAP_SETGID`.
pub fn setresgid(gid: u32) -> io::Result<()> {
    let gid = Gid::from_raw_unchecked(gid);
    Ok(thread::set_thread_res_gid(gid, gid, gid)?)
}

/// Sets the real, effective and saved user.
///
/// # Errors
/// `EINVAL` for a user without a mapping, `EPERM` without `CAP_SETUID`.
pub fn setresuid(uid: u32) -> io::Result<()> {
    let uid = Uid::from_raw_unchecked(uid);
    Ok(thread::set_thread_res_uid(uid, uid, uid)?)
}

/// Returns the real, effective and saved user ID.
///
/// # Errors
/// None in practice; under a seccomp filter, that of the filter.
pub fn getresuid() -> io::Result<[u32; 3]> {
    let ids = nix::unistd::getresuid()?;
    Ok([ids.real, ids.effective, ids.saved].map(nix::unistd::Uid::as_raw))
}

/// Returns the real, effective and saved group ID.
///
/// # Errors
/// None in practice; under a seccomp filter, that of the filter.
pub fn getresgid() -> io::Result<[u32; 3]> {
    let ids = nix::unistd::getresgid()?;
    Ok([ids.real, ids.effective, ids.saved].map(nix::unistd::Gid::as_raw))
}

/// Sets the user and group ID for file system checks and keeps the capabilities, of which the kernel drops those about files
/// when the user is root no longer.
///
/// # Errors
/// `EPERM` without CAP_SETUID and CAP_SETGID.
pub fn become_fs_user(uid: u32, gid: u32) -> io::Result<()> {
    let before = capget()?;
    if !set_fs_ids(uid, gid) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    capset(&before)
}

/// Sets the user and group ID for file system checks; returns whether both took effect.
///
/// setfsuid(2) reports no error but the previous ID, so each call is repeated with an invalid ID.
pub fn set_fs_ids(uid: u32, gid: u32) -> bool {
    // the group first, because without privilege over the user it could no longer be changed
    // SAFETY: takes numbers only; u32::MAX changes nothing and returns the current id.
    let (now_gid, now_uid) = unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        (libc::syscall(libc::SYS_setfsgid, u32::MAX), libc::syscall(libc::SYS_setfsuid, u32::MAX))
    };
    // the result is an int: ids above i32::MAX come back as negative numbers
    now_gid as u32 == gid && now_uid as u32 == uid
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn pr_12_the_sets_read_are_those_of_proc_status() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).unwrap();
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
        };
        let sets = capget().unwrap();
        assert_eq!(
            [sets.inheritable, sets.permitted, sets.effective],
            [field("CapInh:"), field("CapPrm:"), field("CapEff:")]
        );
        for bit in 0..41 {
            assert_eq!(in_bounding(bit).unwrap(), field("CapBnd:") >> bit & 1 == 1, "bounding {bit}");
        }
        // setting the current sets needs no privilege
        capset(&sets).unwrap();
    }

    #[test]
    fn no_capability_has_number_64() {
        assert_eq!(in_bounding(64).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert!(drop_bounding(64).is_err());
    }

    #[test]
    fn sec_15_a_filter_that_answers_for_the_kernel_shows_no_capability() {
        let insn = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
        let program = [
            insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, libc::SYS_capset as u32),
            insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_capget as u32),
            insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO),
            insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        crate::testing::forked(|| {
            set_no_new_privs().unwrap();
            crate::seccomp::install(&program, 0).unwrap();
            let wanted = CapabilitySets { effective: 0x21, permitted: 0x421, inheritable: 0x1_0000_0000 };
            capset(&wanted).unwrap();
            assert_ne!(capget().unwrap(), wanted, "what was asked for is not what the kernel has");
            assert_eq!(capget().unwrap(), CapabilitySets::default());
        });
    }
}
