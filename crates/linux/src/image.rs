//! The program's own image in memory, by the headers that the kernel shows of it.

use std::ops::Range;

/// Returns the headers of the program and where its address 0 is; none where the kernel passes no `AT_PHDR`.
fn headers() -> (&'static [libc::Elf64_Phdr], usize) {
    // SAFETY: getauxval has no precondition.
    let (first, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    if first == 0 {
        return (&[], 0);
    }
    // SAFETY: the kernel has mapped the program's headers there, read-only, for the life of the process.
    let all = unsafe { std::slice::from_raw_parts(first as *const libc::Elf64_Phdr, count as usize) };
    let base = all.iter().find(|header| header.p_type == libc::PT_PHDR).map(|own| first - own.p_vaddr);
    (all, base.unwrap_or(0) as usize)
}

/// Returns the whole pages of a segment: from the page of its first byte to that of its last, or to the one before (`inner`).
fn pages(header: &libc::Elf64_Phdr, base: usize, inner: bool) -> Range<usize> {
    // SAFETY: takes a number only.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let (start, length) = (base + header.p_vaddr as usize, header.p_memsz as usize);
    let end = if inner { start + length } else { start + length + size - 1 };
    start / size * size..end / size * size
}

/// Makes relocated constants read-only, which the C library musl leaves writable in a static program.
pub(crate) fn protect_constants() {
    let (all, base) = headers();
    for header in all.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        let range = pages(header, base, true);
        // SAFETY: nothing writes to these pages after relocation, as the linker arranges; they are this program's own.
        unsafe { libc::mprotect(range.start as *mut libc::c_void, range.len(), libc::PROT_READ) };
    }
}

/// Gives back the memory of the program's code and constants, which are read from the file again where they are needed:
/// for a process that waits for a long time.
pub fn release_code() {
    let (all, base) = headers();
    let clean = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
    for header in all.iter().filter(clean) {
        let range = pages(header, base, false);
        // SAFETY: a private mapping of a file that is never written to: the kernel maps the same bytes again on access.
        unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// Resident bytes of the mappings of the program's file that cannot be written to.
    fn resident() -> u64 {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let program = std::env::current_exe().unwrap();
        let mut counts = false;
        let mut sum = 0;
        for line in text.lines() {
            if let Some(size) = line.strip_prefix("Rss:") {
                let size = size.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
                sum += if counts { size } else { 0 };
            } else if line.split(' ').next().is_some_and(|range| range.contains('-')) {
                counts = line.ends_with(program.to_str().unwrap()) && !line.contains(" rw");
            }
        }
        sum
    }

    #[test]
    fn released_code_is_not_resident_and_runs_again() {
        crate::testing::forked(|| {
            let (all, base) = headers();
            for header in all.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0)
            {
                for page in pages(header, base, true).step_by(4096) {
                    // SAFETY: a page of the program's file that is mapped and that nothing writes to.
                    unsafe { std::ptr::read_volatile(page as *const u8) };
                }
            }
            let before = resident();
            release_code();
            let after = resident();
            assert!(after < before, "{before} and then {after} kB");
        });
    }

    #[test]
    fn constants_are_read_only() {
        crate::testing::forked(|| {
            protect_constants();
            let (all, base) = headers();
            let relro = all.iter().find(|header| header.p_type == libc::PT_GNU_RELRO).unwrap();
            let start = format!("{:x}-", pages(relro, base, true).start);
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let line = maps.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(line.contains(" r--p "), "{line}");
        });
    }
}
