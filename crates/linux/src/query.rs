//! The attributes of a process as the kernel has them: ambient capabilities, scheduling, I/O priority, execution
//! domain, memory policy, session keyring; and system calls by number, to see the effect of a filter.

use std::io;

use super::cvt;

/// Returns whether a capability is in the ambient set of this thread.
///
/// # Errors
/// `EINVAL` for a number that this kernel does not know.
pub fn in_ambient(capability: u8) -> io::Result<bool> {
    let (is_set, capability) = (libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong, libc::c_ulong::from(capability));
    // SAFETY: takes numbers only; the unused ones are zero, as they must be.
    let set = cvt(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, is_set, capability, 0_u64, 0_u64) }.into())?;
    Ok(set == 1)
}

/// Returns the policy and parameters of this thread.
/// [sched_getattr(2)](https://man7.org/linux/man-pages/man2/sched_setattr.2.html)
///
/// # Errors
/// None in practice; under a seccomp filter those that it returns.
pub fn scheduler() -> io::Result<libc::sched_attr> {
    // SAFETY: all-zero is a valid sched_attr.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes no more than the size given, which is the structure's; it stays valid during the call.
    cvt(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) })?;
    Ok(attributes)
}

/// Returns the I/O priority of this thread: the class above bit 13, the level below.
/// [ioprio_get(2)](https://man7.org/linux/man-pages/man2/ioprio_set.2.html)
///
/// # Errors
/// None in practice; under a seccomp filter those that it returns.
pub fn io_priority() -> io::Result<i32> {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: takes numbers only.
    Ok(cvt(unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) })? as i32)
}

/// Returns the execution domain. [personality(2)](https://man7.org/linux/man-pages/man2/personality.2.html)
///
/// # Errors
/// None in practice; under a seccomp filter those that it returns.
pub fn personality() -> io::Result<u32> {
    // SAFETY: takes a number only; this one changes nothing.
    Ok(cvt(unsafe { libc::syscall(libc::SYS_personality, u32::MAX) })? as u32)
}

/// Returns the NUMA policy of this thread: the mode with flags, and a mask of 1024 nodes.
/// [get_mempolicy(2)](https://man7.org/linux/man-pages/man2/get_mempolicy.2.html)
///
/// # Errors
/// `ENOSYS` without NUMA support.
pub fn memory_policy() -> io::Result<(i32, [u64; 16])> {
    let (mut mode, mut nodes) = (0_i32, [0_u64; 16]);
    // SAFETY: the kernel writes one int, and no more bits than the array holds; both stay valid during the call.
    cvt(unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), 1024, 0, 0) })?;
    Ok((mode, nodes))
}

/// Returns the serial number of this process's session keyring; that of the user's session where it has none of its
/// own.
/// [KEYCTL_GET_KEYRING_ID(2)](https://man7.org/linux/man-pages/man2/KEYCTL_GET_KEYRING_ID.2const.html)
///
/// # Errors
/// `EACCES`: the keyring may not be searched; `ENOSYS` on a kernel without keys.
pub fn session_keyring() -> io::Result<i32> {
    const SESSION: i32 = -3;
    // SAFETY: takes numbers only.
    Ok(cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, SESSION, 0) })? as i32)
}

/// Makes a system call that touches no memory of this process: acct, getcwd, getpid, getppid or kexec_load, or one of the
/// numbers from 1000 that Linux has not assigned.
///
/// # Errors
/// `Unsupported` for another call, and for an argument from 4096 on, which could be an address; else what the kernel or a
/// seccomp filter returns.
pub fn call(number: i64, arguments: [i64; 6]) -> io::Result<i64> {
    const NO_MEMORY: [i64; 5] =
        [libc::SYS_acct, libc::SYS_getcwd, libc::SYS_getpid, libc::SYS_getppid, libc::SYS_kexec_load];
    let known = NO_MEMORY.contains(&number) || (1000..0x1_0000).contains(&number);
    if !known || !arguments.iter().all(|argument| (0..4096).contains(argument)) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "not a system call without memory"));
    }
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: nothing of this process is mapped below 4096, so that the kernel answers EFAULT where one of these calls takes
    // an address; none of them changes a mapping or a descriptor.
    cvt(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_was_set_is_read_back() {
        crate::testing::forked(|| {
            let wanted = crate::sched::Attributes { policy: libc::SCHED_BATCH as u32, nice: 5, ..Default::default() };
            crate::sched::set_attributes(&wanted).unwrap();
            let read = scheduler().unwrap();
            assert_eq!((read.sched_policy, read.sched_nice), (wanted.policy, wanted.nice));
            nix::unistd::setsid().unwrap();
            crate::sched::set_io_priority(3 << 13).unwrap();
            assert_eq!(io_priority().unwrap(), 3 << 13);
            // PER_LINUX32
            crate::sched::set_personality(8).unwrap();
            assert_eq!(personality().unwrap(), 8);
        });
    }

    #[test]
    fn a_call_that_could_touch_memory_is_not_made() {
        assert_eq!(call(libc::SYS_getpid, [5, 0, 0, 0, 0, 0]).unwrap(), i64::from(std::process::id()));
        assert_eq!(call(libc::SYS_getcwd, [0; 6]).unwrap_err().raw_os_error(), Some(libc::ERANGE));
        assert_eq!(call(1000, [0; 6]).unwrap_err().raw_os_error(), Some(libc::ENOSYS));
        for (number, argument) in [(libc::SYS_munmap, 0), (libc::SYS_close, 0), (libc::SYS_getcwd, 4096), (-1, 0)] {
            let err = call(number, [argument; 6]).unwrap_err();
            assert_eq!(err.kind(), io::ErrorKind::Unsupported, "{number} {argument}");
        }
        // the numbers of the x32 ABI
        assert!(call(0x4000_0000 + libc::SYS_getpid, [0; 6]).unwrap_err().raw_os_error().is_none());
    }
}
