//! Other programs, run to their end for what they print.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// What a program has printed, and its end.
#[derive(Debug)]
pub struct Output {
    /// The end.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Runs a program without standard input, and returns what it has printed. Not by `Command::output`, which panics where a
/// poll(2) or read(2) fails. The program writes to files in memory, so that it never waits for a reader.
///
/// # Errors
/// The program cannot be run; as memfd_create(2) and read(2).
pub fn output(command: &mut Command) -> io::Result<Output> {
    let (mut out, mut err) = (in_memory()?, in_memory()?);
    let status = command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?).status()?;
    Ok(Output { status, stdout: all_of(&mut out)?, stderr: all_of(&mut err)? })
}

fn in_memory() -> io::Result<File> {
    Ok(File::from(memfd_create(c"output", MFdFlags::MFD_CLOEXEC)?))
}

fn all_of(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn both_streams_and_the_status_are_returned() {
        let found = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!(
            (found.status.code(), &found.stdout[..], &found.stderr[..]),
            (Some(3), &b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(output(&mut Command::new("/no/such/program")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
