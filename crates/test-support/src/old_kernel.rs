//! A seccomp filter under which this kernel looks like an older one.
//!
//! It answers ENOSYS for every system call that is newer than the version, and EINVAL for arguments that the kernel of that
//! version refuses and that a filter can see. It cannot see what is in memory: clone3(2) is missing before 5.7, because it would
//! enter a cgroup, and the answers of statx(2) stay those of this kernel.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

/// A version of the kernel.
pub type Version = (u32, u32);

/// First number and version of system calls, for those that have the same number on all architectures.
const CALLS: &[(u32, Version)] = &[
    (424, (5, 1)),
    (428, (5, 2)),
    (434, (5, 3)),
    (435, (5, 7)),
    (436, (5, 9)),
    (437, (5, 6)),
    (439, (5, 8)),
    (440, (5, 10)),
    (441, (5, 11)),
    (442, (5, 12)),
    (443, (5, 14)),
    (444, (5, 13)),
    (447, (5, 14)),
    (448, (5, 15)),
    (449, (5, 16)),
    (450, (5, 17)),
    (451, (6, 5)),
    (452, (6, 6)),
    (454, (6, 7)),
    (457, (6, 8)),
    (462, (6, 10)),
    (463, (6, 13)),
    (467, (6, 15)),
    (468, (6, 17)),
];

/// The bits of an argument that a kernel refuses before a version: number of the call, index of the argument, bits, version.
const BITS: &[(libc::c_long, u32, u32, Version)] = &[
    (libc::SYS_clone, 0, libc::CLONE_PIDFD as u32, (5, 2)),
    (libc::SYS_unshare, 0, libc::CLONE_NEWTIME as u32, (5, 6)),
    (libc::SYS_setns, 1, libc::CLONE_NEWTIME as u32, (5, 6)),
    (libc::SYS_close_range, 2, libc::CLOSE_RANGE_CLOEXEC, (5, 11)),
    (libc::SYS_memfd_create, 1, libc::MFD_EXEC | libc::MFD_NOEXEC_SEAL, (6, 3)),
    (libc::SYS_seccomp, 1, 1 << 3, (5, 0)),
    (libc::SYS_seccomp, 1, 1 << 4, (5, 7)),
    (libc::SYS_seccomp, 1, 1 << 5, (5, 19)),
];

/// The values of an argument that a kernel refuses before a version: `P_PIDFD` of waitid(2), and `FSCONFIG_SET_FD` of fsconfig(2),
/// which procfs takes for the option `pidns` since 6.17.
const VALUES: &[(libc::c_long, u32, u32, Version)] =
    &[(libc::SYS_waitid, 0, 3, (5, 4)), (libc::SYS_fsconfig, 1, 5, (6, 17))];

/// The flags of setns(2); before 5.8 only one of them is allowed.
const NAMESPACES: i32 = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
}

/// Loads the lower half of an argument.
fn argument(index: u32) -> sock_filter {
    let lower = if cfg!(target_endian = "big") { 4 } else { 0 };
    load(16 + 8 * index + lower)
}

fn answer(errno: i32) -> sock_filter {
    instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0)
}

/// Returns the filter of a version.
pub fn filter(version: Version) -> Vec<sock_filter> {
    let mut program = vec![load(0)];
    for (index, (first, _)) in CALLS.iter().enumerate().filter(|(_, (_, since))| *since > version) {
        let end = CALLS.get(index + 1).map_or(512, |(next, _)| *next);
        program.push(instruction(BPF_JMP | BPF_JGE | BPF_K, *first, 0, 2));
        program.push(instruction(BPF_JMP | BPF_JGE | BPF_K, end, 1, 0));
        program.push(answer(libc::ENOSYS));
    }
    for (rows, test) in [(BITS, BPF_JSET), (VALUES, BPF_JEQ)] {
        for (call, index, value, _) in rows.iter().filter(|(.., since)| *since > version) {
            program.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, *call as u32, 0, 4));
            program.push(argument(*index));
            program.push(instruction(BPF_JMP | test | BPF_K, *value, 0, 1));
            program.push(answer(libc::EINVAL));
            program.push(load(0));
        }
    }
    if version < (5, 8) {
        program.extend(one_namespace());
    }
    program.push(instruction(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    program
}

/// Refuses setns(2) with more than one flag.
fn one_namespace() -> Vec<sock_filter> {
    let flags: Vec<u32> = (0..32).map(|bit| 1 << bit).filter(|flag| NAMESPACES as u32 & flag != 0).collect();
    let mut program = vec![argument(1), instruction(BPF_ALU | BPF_AND | BPF_K, NAMESPACES as u32, 0, 0)];
    for (index, flag) in flags.iter().chain(&[0]).enumerate() {
        let over = (flags.len() - index + 1) as u8;
        program.push(instruction(BPF_JMP | BPF_JEQ | BPF_K, *flag, over, 0));
    }
    program.push(answer(libc::EINVAL));
    let length = program.len() as u8;
    program.insert(0, instruction(BPF_JMP | BPF_JEQ | BPF_K, libc::SYS_setns as u32, 0, length));
    program.push(load(0));
    program
}

/// Parses a version: `5.4`.
pub fn parse(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
