//! A program that makes one system call and ends with its errno: for calls that no tool makes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;

use crate::bench::skip;
use crate::container::Container;

/// Where the image is loaded.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// Puts the program into the container's root as `/one-call`; a test is skipped where its code is another machine's.
pub fn one_call(c: &Container<'_>, number: u32, arguments: [u32; 3]) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        return skip("the program of one system call is x86-64 code");
    }
    let path = c.path("/one-call");
    fs::write(&path, image(&code(number, arguments)))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn code(number: u32, [first, second, third]: [u32; 3]) -> Vec<u8> {
    let mut code = Vec::new();
    // mov eax, number; mov edi, first; mov esi, second; mov edx, third
    for (opcode, value) in [(0xb8, number), (0xbf, first), (0xbe, second), (0xba, third)] {
        code.push(opcode);
        code.extend(value.to_le_bytes());
    }
    // syscall; neg eax; mov edi, eax; mov eax, 60 (exit); syscall
    code.extend([0x0f, 0x05, 0xf7, 0xd8, 0x89, 0xc7, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    code
}

/// An ELF file with one segment.
fn image(code: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_EXEC, EM_X86_64, version; entry, program headers at 64, no sections
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for value in [BASE + HEADERS, 64, 0] {
        file.extend(value.to_le_bytes());
    }
    // flags; sizes of this header and of a program header, how many; no sections
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and executable: the whole file
    let size = HEADERS + code.len() as u64;
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for value in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file
}
