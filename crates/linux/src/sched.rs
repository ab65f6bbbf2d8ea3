//! Scheduling and limits: policy, I/O priority, CPU affinity, NUMA memory policy, personality, rlimits.

use super::cvt;
use std::io;

/// The arguments of sched_setattr(2), without the size field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// Nice value, for the time-sharing policies.
    pub nice: i32,
    /// Static priority, for FIFO and RR.
    pub priority: u32,
    /// Runtime in nanoseconds, for DEADLINE.
    pub runtime: u64,
    /// Relative deadline in nanoseconds, for DEADLINE.
    pub deadline: u64,
    /// Period in nanoseconds, for DEADLINE.
    pub period: u64,
}

#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Sets policy and parameters of this thread. [sched_setattr(2)](https://man7.org/linux/man-pages/man2/sched_setattr.2.html)
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE`, for real-time without a budget in the cgroup, for DEADLINE in a restricted cpuset;
/// `EINVAL` for an unknown policy or parameters out of range; `EBUSY` where DEADLINE is not admitted.
pub fn set_attributes(attributes: &Attributes) -> io::Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: attributes.policy,
        flags: attributes.flags,
        nice: attributes.nice,
        priority: attributes.priority,
        runtime: attributes.runtime,
        deadline: attributes.deadline,
        period: attributes.period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the structure has its own size and lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) })?;
    Ok(())
}

/// Sets the I/O priority of the process group of this process.
/// [ioprio_set(2)](https://man7.org/linux/man-pages/man2/ioprio_set.2.html)
///
/// # Errors
/// `EPERM` for the real-time class without `CAP_SYS_NICE` or `CAP_SYS_ADMIN`.
pub fn set_io_priority(value: i32) -> io::Result<()> {
    const WHO_PROCESS_GROUP: i32 = 2;
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS_GROUP, 0, value) })?;
    Ok(())
}

/// Restricts this thread to the CPUs of `mask` (bit n of word n/64) in its cpuset.
///
/// # Errors
/// `EINVAL` where no CPU of the mask is in the cpuset.
pub fn set_affinity(mask: &[u64]) -> io::Result<()> {
    // SAFETY: pointer and length in bytes describe the slice, which lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) })?;
    Ok(())
}

/// Moves this thread off the CPU `cpu`, to another one that it may use. The kernel often starts a thread on its creator's
/// CPU, and moves it milliseconds later.
///
/// # Errors
/// `EINVAL` where it may use no other.
pub fn leave_cpu(cpu: usize) -> io::Result<()> {
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;
    let mut set: CpuSet = sched_getaffinity(Pid::from_raw(0))?;
    set.unset(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Sets the NUMA policy of this thread. [set_mempolicy(2)](https://man7.org/linux/man-pages/man2/set_mempolicy.2.html)
///
/// # Errors
/// `EINVAL` for nodes outside the cpuset or a mode that the kernel does not know, `ENOSYS` without NUMA support.
pub fn set_memory_policy(mode: i32, nodes: &[u64]) -> io::Result<()> {
    // the kernel subtracts one from the number of bits, also from 0: without nodes the pointer must be null
    let (bits, pointer) = match nodes {
        [] => (0, std::ptr::null()),
        _ => (nodes.len() * 64 + 1, nodes.as_ptr()),
    };
    // SAFETY: the kernel reads no more bits than the slice holds; it lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })?;
    Ok(())
}

/// Sets the execution domain. [personality(2)](https://man7.org/linux/man-pages/man2/personality.2.html)
///
/// # Errors
/// `EINVAL` for an unknown domain.
pub fn set_personality(domain: u32) -> io::Result<()> {
    use nix::sys::personality::{Persona, set};
    set(Persona::from_bits_retain(domain as i32))?;
    Ok(())
}

/// Returns the soft and hard limit of a resource of this process; 2⁶⁴-1 is "unlimited".
/// [prlimit(2)](https://man7.org/linux/man-pages/man2/prlimit.2.html)
///
/// # Errors
/// `EINVAL` for an unknown resource.
pub fn limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = [0_u64; 2];
    // SAFETY: the kernel stores two 64-bit numbers, soft and hard, in the array, which lives for the call.
    cvt(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<[u64; 2]>(), &raw mut limit) })?;
    let [soft, hard] = limit;
    Ok((soft, hard))
}

/// Sets the soft and hard limit of a resource of this process.
///
/// # Errors
/// `EPERM` to raise the hard limit without `CAP_SYS_RESOURCE`, `EINVAL` for soft above hard.
pub fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = [soft, hard];
    // SAFETY: the kernel reads two 64-bit numbers, soft and hard, from the array, which lives for the call.
    cvt(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, std::ptr::null_mut::<[u64; 2]>())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    // affinity, policy and NUMA policy are per thread: each test changes a thread of its own
    fn in_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().unwrap();
    }

    #[test]
    fn pr_18_a_mask_of_8192_cpus_is_accepted() {
        in_thread(|| {
            set_affinity(&[u64::MAX; 128]).unwrap();
            set_affinity(&[1]).unwrap();
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("Cpus_allowed_list:\t0\n"));
            let mut far = [0; 128];
            far[127] = 1;
            assert_eq!(set_affinity(&far).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        });
    }

    #[test]
    fn pr_16_batch_with_a_nice_value_takes_effect() {
        in_thread(|| {
            set_attributes(&Attributes { policy: libc::SCHED_BATCH as u32, nice: 5, ..Attributes::default() }).unwrap();
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            // fields 19 and 41 of proc(5), counted from the state (3)
            assert_eq!((fields[16], fields[38]), ("5", "3"));
        });
    }

    #[test]
    fn pr_17_the_io_priority_is_set_for_the_group() {
        crate::testing::forked(|| {
            nix::unistd::setsid().unwrap();
            set_io_priority(3 << 13).unwrap();
            // SAFETY: takes numbers only.
            assert_eq!(unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) }, 3 << 13);
            assert_eq!(set_io_priority(5 << 13).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        });
    }

    #[test]
    fn mp_2_the_default_policy_takes_no_nodes() {
        in_thread(|| match set_memory_policy(libc::MPOL_DEFAULT, &[]) {
            Err(err) if err.raw_os_error() == Some(libc::ENOSYS) => {
                crate::testing::report_skip("kernel without NUMA");
            }
            result => {
                result.unwrap();
                set_memory_policy(libc::MPOL_BIND, &[1]).unwrap();
                set_memory_policy(libc::MPOL_BIND, &[1, 0, 0, 0]).unwrap();
                assert!(set_memory_policy(libc::MPOL_BIND, &[0]).is_err());
            }
        });
    }
}
