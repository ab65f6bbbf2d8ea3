//! bpf(2) for device programs of cgroup v2: load, attach, replace, query.
//!
//! croci's `cgroup::device` generates the instructions.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::cvt;

/// One eBPF instruction, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// Opcode.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub regs: u8,
    /// Offset of a jump or of a memory access.
    pub off: i16,
    /// Constant operand.
    pub imm: i32,
}

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

// The parts of `union bpf_attr` that are used. The kernel accepts any length and requires zeros in unknown fields,
// so each is exactly as long as its last field in use. `align(8)` has no hidden padding: sizes are multiples of 8.
/// The part of `union bpf_attr` that one command reads and writes.
trait Attr {
    /// `BPF_PROG_LOAD` and so on.
    const COMMAND: libc::c_int;
}

impl Attr for LoadAttr {
    const COMMAND: libc::c_int = 5;
}

impl Attr for AttachAttr {
    const COMMAND: libc::c_int = 8;
}

impl Attr for FdByIdAttr {
    const COMMAND: libc::c_int = 13;
}

impl Attr for QueryAttr {
    const COMMAND: libc::c_int = 16;
}

#[repr(C, align(8))]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C, align(8))]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
    zero: u32,
}

#[repr(C, align(8))]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    zero: u32,
}

#[repr(C, align(8))]
struct FdByIdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
    zero: u32,
}

fn bpf<T: Attr>(attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the structure is that of its command; the kernel reads and writes no more than the size given. What it points to
    // is alive during the call: the three functions below fill them from what they borrow and hold.
    cvt(unsafe { libc::syscall(libc::SYS_bpf, T::COMMAND, std::ptr::from_mut(attr), size_of::<T>()) })
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just created this descriptor for us (bpf descriptors are close-on-exec).
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Loads a cgroup device program. [bpf(2)](https://man7.org/linux/man-pages/man2/bpf.2.html)
///
/// # Errors
/// `EPERM` without `CAP_BPF` (or `CAP_SYS_ADMIN`) in the initial user namespace, `EINVAL` for a malformed program.
pub fn load_device_program(insns: &[Insn]) -> io::Result<OwnedFd> {
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: insns.len() as u32,
        insns: insns.as_ptr() as u64,
        // no helper function is called, so that any licence will do
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"croci_devices\0\0\0",
    };
    bpf(&mut attr).map(owned)
}

/// Attaches a device program to a cgroup, in place of `replaced` where there is one (atomically, Linux 5.6).
///
/// Several programs may be attached; all of them must allow an access.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` or where an ancestor's program forbids more, `ENOENT` if `replaced` is not attached.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: &OwnedFd, replaced: Option<&OwnedFd>) -> io::Result<()> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replaced.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replaced.map_or(0, |fd| fd.as_raw_fd() as u32),
        zero: 0,
    };
    bpf(&mut attr).map(drop)
}

/// Returns the device programs attached to this cgroup (not to its ancestors).
///
/// # Errors
/// `EPERM` without privilege, `ENOSPC` for more than 64 programs.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; 64];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        zero: 0,
    };
    bpf(&mut attr)?;
    ids.iter()
        .take(attr.prog_cnt as usize)
        .map(|id| bpf(&mut FdByIdAttr { prog_id: *id, next_id: 0, open_flags: 0, zero: 0 }))
        .map(|fd| fd.map(owned))
        .collect()
}
