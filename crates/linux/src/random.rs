//! Random bytes from the kernel.

use std::io;

/// Fills `bytes` by getrandom(2), in parts of 256 bytes, which are never returned partially. Blocks during boot until
/// the generator is initialised.
///
/// # Errors
/// ENOSYS before Linux 3.17.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    for chunk in bytes.chunks_mut(256) {
        loop {
            // SAFETY: the kernel writes at most the given number of bytes into the chunk.
            let count = unsafe { libc::getrandom(chunk.as_mut_ptr().cast(), chunk.len(), 0) };
            if usize::try_from(count) == Ok(chunk.len()) {
                break;
            }
            let err = io::Error::last_os_error();
            if count < 0 && err.kind() != io::ErrorKind::Interrupted {
                return Err(err);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn every_chunk_is_filled() {
        let mut bytes = [0; 600];
        fill(&mut bytes).unwrap();
        for chunk in bytes.chunks(100) {
            assert_ne!(chunk, [0; 100]);
        }
    }
}
