//! The system call ABIs of the kernels that this build runs on: audit value, word width, column in the tables.
//!
//! A kernel has the ABIs of one family only (an x86_64 kernel: x86_64, i386, x32), so the filter has no code for a
//! profile's other architectures. Numbers are in `tables`.

use super::tables::{self, Row};
use oci_spec::runtime::Arch;

/// The number of bits of an argument that an ABI uses; the other bits are not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    #[cfg_attr(
        not(any(test, target_arch = "x86_64", target_arch = "aarch64", target_arch = "mips64")),
        expect(dead_code, reason = "the other families have 64-bit ABIs alone")
    )]
    /// i386, arm, and x32 (its registers are 64 bits wide, its ABI compares 32 as libseccomp does).
    Bits32,
    /// The 64-bit ABIs.
    Bits64,
}

/// One system call ABI.
pub(super) struct Abi {
    /// The architecture in a profile.
    pub arch: Arch,
    /// `seccomp_data.arch` (linux/audit.h).
    pub audit: u32,
    /// Width of an argument.
    pub width: Width,
    /// The lowest number; x32 has the audit value of x86_64 and starts at `X32_BIT`.
    pub first: u32,
    /// Numbers from here on are private to the architecture (arm's `set_tls` …). They do not show how new the newest
    /// system call of a profile is.
    pub private: u32,
    /// The calls in `multiplex` can also be made through `socketcall` and `ipc`.
    pub multiplexed: bool,
}

/// The ABIs of one kernel, the native one first; the index of an ABI is its column in `rows`.
pub(super) struct Family {
    /// The numbers of all system calls.
    pub rows: &'static [Row],
    /// One to three ABIs.
    pub abis: &'static [Abi],
}

#[cfg(any(test, target_endian = "little"))]
const AUDIT_64BIT_LE: u32 = 0xc000_0000;
#[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64", target_arch = "mips64"))]
const AUDIT_LE: u32 = 0x4000_0000;
#[cfg(any(test, target_arch = "s390x"))]
const AUDIT_64BIT: u32 = 0x8000_0000;
/// The n32 ABI of MIPS.
#[cfg(any(test, target_arch = "mips64"))]
const AUDIT_N32: u32 = 0x2000_0000;
/// `EM_LOONGARCH`, which the libc crate lacks.
#[cfg(any(test, target_arch = "loongarch64"))]
const EM_LOONGARCH: u16 = 258;

const fn abi(arch: Arch, convention: u32, machine: u16, width: Width) -> Abi {
    Abi { arch, audit: convention | machine as u32, width, first: 0, private: u32::MAX, multiplexed: false }
}

/// Kernels for x86_64.
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) static X86: Family = Family {
    rows: tables::x86::ROWS,
    abis: &[
        abi(Arch::ScmpArchX86_64, AUDIT_64BIT_LE, libc::EM_X86_64, Width::Bits64),
        Abi { multiplexed: true, ..abi(Arch::ScmpArchX86, AUDIT_LE, libc::EM_386, Width::Bits32) },
        Abi { first: tables::X32_BIT, ..abi(Arch::ScmpArchX32, AUDIT_64BIT_LE, libc::EM_X86_64, Width::Bits32) },
    ],
};

/// Kernels for arm64, which may run 32-bit arm (EABI) programs.
#[cfg(any(test, target_arch = "aarch64"))]
pub(super) static ARM: Family = Family {
    rows: tables::arm::ROWS,
    abis: &[
        abi(Arch::ScmpArchAarch64, AUDIT_64BIT_LE, libc::EM_AARCH64, Width::Bits64),
        Abi { private: 0x000f_0000, ..abi(Arch::ScmpArchArm, AUDIT_LE, libc::EM_ARM, Width::Bits32) },
    ],
};

/// Kernels for riscv64.
#[cfg(any(test, target_arch = "riscv64"))]
pub(super) static RISCV: Family = Family {
    rows: tables::riscv::ROWS,
    abis: &[abi(Arch::ScmpArchRiscv64, AUDIT_64BIT_LE, libc::EM_RISCV, Width::Bits64)],
};

/// Kernels for ppc64le.
#[cfg(any(test, target_arch = "powerpc64"))]
pub(super) static POWERPC: Family = Family {
    rows: tables::powerpc::ROWS,
    abis: &[Abi { multiplexed: true, ..abi(Arch::ScmpArchPpc64le, AUDIT_64BIT_LE, libc::EM_PPC64, Width::Bits64) }],
};

/// Kernels for s390x.
#[cfg(any(test, target_arch = "s390x"))]
pub(super) static S390: Family = Family {
    rows: tables::s390::ROWS,
    abis: &[Abi { multiplexed: true, ..abi(Arch::ScmpArchS390x, AUDIT_64BIT, libc::EM_S390, Width::Bits64) }],
};

/// Kernels for mips64el, which may run programs of the two ABIs with 32-bit words.
#[cfg(any(test, target_arch = "mips64"))]
pub(super) static MIPS: Family = Family {
    rows: tables::mips::ROWS,
    abis: &[
        abi(Arch::ScmpArchMipsel64, AUDIT_64BIT_LE, libc::EM_MIPS, Width::Bits64),
        Abi { multiplexed: true, ..abi(Arch::ScmpArchMipsel, AUDIT_LE, libc::EM_MIPS, Width::Bits32) },
        abi(Arch::ScmpArchMipsel64n32, AUDIT_64BIT_LE | AUDIT_N32, libc::EM_MIPS, Width::Bits32),
    ],
};

/// Kernels for loongarch64.
#[cfg(any(test, target_arch = "loongarch64"))]
pub(super) static LOONGARCH: Family = Family {
    rows: tables::loongarch::ROWS,
    abis: &[abi(Arch::ScmpArchLoongarch64, AUDIT_64BIT_LE, EM_LOONGARCH, Width::Bits64)],
};

/// All families, with the number of getpid(2) in each of their ABIs.
#[cfg(test)]
pub(super) static ALL: [(&Family, &[u32]); 7] = [
    (&X86, &[39, 20, tables::X32_BIT + 39]),
    (&ARM, &[172, 20]),
    (&RISCV, &[172]),
    (&POWERPC, &[20]),
    (&S390, &[20]),
    (&MIPS, &[5038, 4020, 6038]),
    (&LOONGARCH, &[172]),
];

/// The family of the build's target.
#[cfg(target_arch = "x86_64")]
pub(super) static NATIVE: &Family = &X86;
/// The family of the build's target.
#[cfg(target_arch = "aarch64")]
pub(super) static NATIVE: &Family = &ARM;
/// The family of the build's target.
#[cfg(target_arch = "riscv64")]
pub(super) static NATIVE: &Family = &RISCV;
/// The family of the build's target.
#[cfg(all(target_arch = "powerpc64", target_endian = "little"))]
pub(super) static NATIVE: &Family = &POWERPC;
/// The family of the build's target.
#[cfg(target_arch = "s390x")]
pub(super) static NATIVE: &Family = &S390;
/// The family of the build's target.
#[cfg(all(target_arch = "mips64", target_endian = "little"))]
pub(super) static NATIVE: &Family = &MIPS;
/// The family of the build's target.
#[cfg(target_arch = "loongarch64")]
pub(super) static NATIVE: &Family = &LOONGARCH;
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    all(target_arch = "powerpc64", target_endian = "little"),
    target_arch = "s390x",
    all(target_arch = "mips64", target_endian = "little"),
    target_arch = "loongarch64"
)))]
compile_error!("no system call table for this architecture: add one with scripts/syscall-tables.sh");
