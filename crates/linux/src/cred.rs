//! Credentials of the calling thread: ids, groups, capability sets, and the prctl bits that go with them.
//!
//! The ID calls are raw system calls, without the C library's broadcast to all threads, because croci has one thread,
//! and in the child of a raw clone3 the library's list of threads is the parent's.

use super::cvt;
use std::io;

/// The capability sets of capget(2) and capset(2), one bit a capability.
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
    let header = CapHeader { version: CAPABILITY_VERSION, pid: 0 };
    // the low and the high half of each set
    let word = |shift: u32| CapWord {
        effective: (sets.effective >> shift & 0xffff_ffff) as u32,
        permitted: (sets.permitted >> shift & 0xffff_ffff) as u32,
        inheritable: (sets.inheritable >> shift & 0xffff_ffff) as u32,
    };
    let words = [word(0), word(32)];
    // SAFETY: version 3 reads exactly the two words that `words` holds; both structures outlive the call.
    cvt(unsafe { libc::syscall(libc::SYS_capset, &raw const header, words.as_ptr()) })?;
    Ok(())
}

fn prctl(option: libc::c_int, arg2: libc::c_ulong, arg3: libc::c_ulong) -> io::Result<libc::c_long> {
    // SAFETY: only options whose arguments are numbers are used in this file; the unused ones are zero, as they must be.
    cvt(unsafe { libc::syscall(libc::SYS_prctl, option, arg2, arg3, 0 as libc::c_ulong, 0 as libc::c_ulong) })
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
    prctl(libc::PR_CAPBSET_DROP, capability.into(), 0).map(drop)
}

/// Returns whether a capability is in the bounding set.
///
/// # Errors
/// `EINVAL` for a number that this kernel does not know.
pub fn in_bounding(capability: u8) -> io::Result<bool> {
    Ok(prctl(libc::PR_CAPBSET_READ, capability.into(), 0)? == 1)
}

/// Empties the ambient set.
///
/// # Errors
/// `EINVAL` before Linux 4.3.
pub fn clear_ambient() -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(drop)
}

/// Adds one capability to the ambient set.
///
/// # Errors
/// `EPERM` where it is not both permitted and inheritable.
pub fn raise_ambient(capability: u8) -> io::Result<()> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability.into()).map(drop)
}

/// Sets whether the permitted set survives a change of all user IDs from zero; an execve clears the flag.
///
/// # Errors
/// `EPERM` where the secure bits are locked.
pub fn set_keepcaps(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// Sets no_new_privs, irrevocably: execve grants this process no privileges any more.
///
/// # Errors
/// None on a kernel since 3.5.
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Returns the signal that [`crate::process::set_parent_death_signal`] set; 0 for none.
///
/// # Errors
/// None in practice.
pub fn parent_death_signal() -> io::Result<i32> {
    let mut signal: libc::c_int = 0;
    // SAFETY: the kernel stores one int at the address given, which lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0) })?;
    Ok(signal)
}

/// Replaces the supplementary groups.
///
/// # Errors
/// `EPERM` where the user namespace denies it, `EINVAL` for a group without a mapping or more than 65 536.
pub fn setgroups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: the pointer and the count describe the slice, which lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    Ok(())
}

/// Sets the real, effective and saved group.
///
/// # Errors
/// `EINVAL` for a group without a mapping, `EPERM` without `CAP_SETGID`.
pub fn setresgid(gid: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    Ok(())
}

/// Sets the real, effective and saved user.
///
/// # Errors
/// `EINVAL` for a user without a mapping, `EPERM` without `CAP_SETUID`.
pub fn setresuid(uid: u32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
    Ok(())
}

/// Returns the real, effective and saved user ID.
///
/// # Errors
/// None in practice; under a seccomp filter, that of the filter.
pub fn getresuid() -> io::Result<[u32; 3]> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three distinct places of the array, which lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved) })?;
    Ok(ids)
}

/// Returns the real, effective and saved group ID.
///
/// # Errors
/// None in practice; under a seccomp filter, that of the filter.
pub fn getresgid() -> io::Result<[u32; 3]> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three distinct places of the array, which lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_getresgid, &raw mut *real, &raw mut *effective, &raw mut *saved) })?;
    Ok(ids)
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
}
