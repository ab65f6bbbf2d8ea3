//! The system calls of Linux by name, with their number on each architecture of a family.
//!
//! The tables are generated (`scripts/syscall-tables.sh`); this module has the type of a row and the look-up.

#[cfg(any(test, target_arch = "aarch64"))]
pub(super) mod arm;
#[cfg(any(test, target_arch = "loongarch64"))]
pub(super) mod loongarch;
#[cfg(any(test, target_arch = "mips64"))]
pub(super) mod mips;
#[cfg(any(test, target_arch = "powerpc64"))]
pub(super) mod powerpc;
#[cfg(any(test, target_arch = "riscv64"))]
pub(super) mod riscv;
#[cfg(any(test, target_arch = "s390x"))]
pub(super) mod s390;
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) mod x86;

/// The number of a call that an architecture does not have.
pub(super) const NONE: u32 = u32::MAX;

/// The bit that tells an x32 call from an x86_64 call (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Size of a name in bytes, enough for the longest (`sched_rr_get_interval_time64`). A row has the bytes of its name,
/// because a `&str` would need a relocation at every start of the static binary, also for verbs without a profile.
const NAME_MAX: usize = 31;

/// One system call: its name and its number in each column of the family.
pub(super) struct Row {
    length: u8,
    name: [u8; NAME_MAX],
    /// The number in each column, or [`NONE`].
    pub numbers: [u32; 3],
}

impl Row {
    /// The bytes of the name.
    pub(super) fn name(&self) -> &[u8] {
        self.name.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Creates a row at compile time; a name that is too long fails the build.
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn row(name: &str, numbers: [u32; 3]) -> Row {
    let bytes = name.as_bytes();
    assert!(bytes.len() <= NAME_MAX);
    let mut held = [0; NAME_MAX];
    let mut i = 0;
    while i < bytes.len() {
        held[i] = bytes[i];
        i += 1;
    }
    Row { length: bytes.len() as u8, name: held, numbers }
}

/// Returns the number of an x32 call.
#[cfg(any(test, target_arch = "x86_64"))]
const fn x32(number: u32) -> u32 {
    X32_BIT + number
}

/// Finds a call by name.
pub(super) fn find(rows: &'static [Row], name: &str) -> Option<&'static Row> {
    let at = rows.binary_search_by(|row| row.name().cmp(name.as_bytes())).ok()?;
    rows.get(at)
}
