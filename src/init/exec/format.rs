//! The format of a program file: script or ELF, its interpreter and its machine.
//!
//! Pure functions of bytes. Every length and offset is checked, because the bytes are the image's.

/// The format of a file, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A script: the path after `#!`.
    Script(Vec<u8>),
    /// An ELF file.
    Elf {
        /// `e_machine`
        machine: u16,
        /// `PT_INTERP`, the path of the dynamic loader: offset in the file and size, both in bytes.
        interpreter: Option<(u64, usize)>,
    },
    /// An empty file.
    Empty,
    /// Any other format; binfmt_misc may have an entry for it.
    Unknown,
}

/// Bytes of the file that are read: the ELF header and the program headers after it.
pub(super) const HEAD: usize = 4096;
/// Bytes of a script's first line that the kernel reads (`BINPRM_BUF_SIZE`).
const SCRIPT_LINE: usize = 256;
/// Largest size of a loader's path in bytes.
const PATH_MAX: usize = 4096;

/// Returns the format of a file by its first bytes, up to [`HEAD`] of them.
pub(super) fn inspect(head: &[u8]) -> Format {
    match head {
        [] => Format::Empty,
        [b'#', b'!', line @ ..] => script(line).map_or(Format::Unknown, Format::Script),
        [0x7f, b'E', b'L', b'F', ..] => elf(head).unwrap_or(Format::Unknown),
        _ => Format::Unknown,
    }
}

fn script(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.get(..SCRIPT_LINE - 2).unwrap_or(line);
    let line = line.split(|byte| *byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    let start = line.iter().position(|byte| !blank(byte))?;
    let path = line.get(start..)?.split(blank).next()?;
    (!path.is_empty()).then(|| path.to_vec())
}

/// A reader of an ELF file's numbers, by its byte order and word size.
struct Reader<'a> {
    bytes: &'a [u8],
    wide: bool,
    big_endian: bool,
}

impl Reader<'_> {
    fn number(&self, at: usize, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(size)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    /// Reads a field, whose offset and size are `narrow` in a 32 bit file and `wide` in a 64 bit file.
    fn field(&self, narrow: (usize, usize), wide: (usize, usize)) -> Option<u64> {
        let (at, size) = if self.wide { wide } else { narrow };
        self.number(at, size)
    }
}

fn elf(head: &[u8]) -> Option<Format> {
    let wide = match head.get(4)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let big_endian = match head.get(5)? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let file = Reader { bytes: head, wide, big_endian };
    let machine = u16::try_from(file.number(18, 2)?).ok()?;
    let table = usize::try_from(file.field((28, 4), (32, 8))?).ok()?;
    let entry = usize::try_from(file.field((42, 2), (54, 2))?).ok()?;
    let count = usize::try_from(file.field((44, 2), (56, 2))?).ok()?;
    Some(Format::Elf { machine, interpreter: interpreter(&file, table, entry, count) })
}

fn interpreter(file: &Reader<'_>, table: usize, entry: usize, count: usize) -> Option<(u64, usize)> {
    const PT_INTERP: u64 = 3;
    // stops at the end of the bytes that were read: then the kernel reports a missing interpreter
    (0..count).map_while(|index| table.checked_add(index.checked_mul(entry)?)).find_map(|at| {
        if file.number(at, 4)? != PT_INTERP {
            return None;
        }
        let offset = file.field((at.checked_add(4)?, 4), (at.checked_add(8)?, 8))?;
        let size = usize::try_from(file.field((at.checked_add(16)?, 4), (at.checked_add(32)?, 8))?).ok()?;
        (2..=PATH_MAX).contains(&size).then_some((offset, size))
    })
}

/// Returns the architecture's name of `e_machine`.
pub(super) fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "ppc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        _ => return format!("machine {machine}"),
    };
    name.to_owned()
}

/// Returns whether this host's kernel runs programs for `machine` itself, without binfmt_misc and an emulator.
pub(super) fn is_native(machine: u16) -> bool {
    let native: &[u16] = match std::env::consts::ARCH {
        "x86_64" => &[62, 3],
        "aarch64" => &[183, 40],
        "riscv64" => &[243],
        "powerpc64" => &[21, 20],
        "s390x" => &[22],
        "loongarch64" => &[258],
        "x86" => &[3],
        "arm" => &[40],
        _ => return true,
    };
    native.contains(&machine)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn pr_2_the_interpreter_of_a_script() {
        for (text, want) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! \t/usr/bin/env python3\nx", Some("/usr/bin/env")),
            ("#!/bin/sh", Some("/bin/sh")),
            ("#!sh -e\n", Some("sh")),
            ("#!\n/bin/sh", None),
            ("#!   \n", None),
            ("#!", None),
        ] {
            let want = want.map_or(Format::Unknown, |path| Format::Script(path.as_bytes().to_vec()));
            assert_eq!(inspect(text.as_bytes()), want, "{text:?}");
        }
        let long = format!("#!/{}", "a".repeat(5000));
        let Format::Script(path) = inspect(long.as_bytes()) else { panic!() };
        assert_eq!(path.len(), 254, "no more than the kernel reads");
    }

    /// An ELF file with one PT_LOAD and one PT_INTERP entry.
    fn elf_file(wide: bool, big: bool, machine: u16) -> Vec<u8> {
        let mut file = vec![0_u8; 512];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, if big { 2 } else { 1 }]);
        let mut put = |at: usize, size: usize, number: u64| {
            let bytes =
                if big { number.to_be_bytes()[8 - size..].to_vec() } else { number.to_le_bytes()[..size].to_vec() };
            file[at..at + size].copy_from_slice(&bytes);
        };
        put(18, 2, machine.into());
        if wide {
            put(32, 8, 64);
            put(54, 2, 56);
            put(56, 2, 2);
            put(64, 4, 1);
            put(120, 4, 3);
            put(120 + 8, 8, 300);
            put(120 + 32, 8, 12);
        } else {
            put(28, 4, 52);
            put(42, 2, 32);
            put(44, 2, 2);
            put(52, 4, 1);
            put(84, 4, 3);
            put(84 + 4, 4, 300);
            put(84 + 16, 4, 12);
        }
        file
    }

    #[test]
    fn pr_2_the_loader_of_an_elf_file() {
        for (wide, big) in [(true, false), (false, false), (true, true), (false, true)] {
            let want = Format::Elf { machine: 183, interpreter: Some((300, 12)) };
            assert_eq!(inspect(&elf_file(wide, big, 183)), want, "64 bits: {wide}, big endian: {big}");
        }
        let own = std::fs::read("/proc/self/exe").unwrap();
        let Format::Elf { machine, interpreter } = inspect(&own[..HEAD]) else { panic!() };
        assert!(is_native(machine) && interpreter.is_none(), "the test binary is static");
    }

    #[test]
    fn no_damaged_file_is_trusted() {
        let good = elf_file(true, false, 62);
        for length in 0..good.len() {
            let _ = inspect(&good[..length]);
        }
        for at in 4..160 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Format::Elf { interpreter: Some((_, size)), .. } = inspect(&bad) {
                    assert!(size <= PATH_MAX);
                }
            }
        }
        let mut huge = good;
        huge[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(inspect(&huge), Format::Elf { machine: 62, interpreter: None });
        assert_eq!(inspect(b""), Format::Empty);
        assert_eq!(inspect(b"\x7fELF"), Format::Unknown);
        assert_eq!(inspect(b"hello"), Format::Unknown);
    }
}
