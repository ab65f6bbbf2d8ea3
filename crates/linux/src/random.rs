//! Random bytes from the kernel.

use std::io;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes` by getrandom(2), in parts of 256 bytes, which come whole or not at all. Waits while the machine is
/// booting and has none yet.
///
/// # Errors
/// ENOSYS before Linux 3.17.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    for chunk in bytes.chunks_mut(256) {
        loop {
            match getrandom(&mut *chunk, GetRandomFlags::empty()) {
                Ok(count) if count == chunk.len() => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(err) => return Err(err.into()),
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
