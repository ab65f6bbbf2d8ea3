//! The programs that make networks: where they are, and how they are called.

use base::coded;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::container::supervise::wait_gone;

/// Time limit of one call.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Directories of programs that are not in `PATH`, as Podman searches them.
const HELPER_DIRS: [&str; 4] =
    ["/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"];

/// Environment variable that names one more directory, searched first, as in Podman.
const HELPER_DIR_VARIABLE: &str = "CONTAINERS_HELPER_BINARY_DIR";

/// Maximum bytes of a program's output.
const MAX_OUTPUT: u64 = 1 << 20;

/// A program of another project.
#[derive(Debug)]
pub(super) struct Program {
    /// File name.
    pub(super) name: &'static str,
    /// Packages of Debian that have it.
    pub(super) package: &'static str,
}

/// Bridges.
pub(super) const NETAVARK: Program =
    Program { name: "netavark", package: "netavark (with aardvark-dns for names of containers)" };
/// Name server of bridges.
pub(super) const AARDVARK: Program = Program { name: "aardvark-dns", package: "aardvark-dns" };
/// Network through sockets.
pub(super) const PASTA: Program = Program { name: "pasta", package: "passt" };
/// Network through sockets.
pub(super) const SLIRP: Program = Program { name: "slirp4netns", package: "slirp4netns" };

/// Returns the path of a program.
///
/// # Errors
/// It is not installed: names the package.
pub(super) fn find(program: &Program) -> Result<PathBuf> {
    let own = std::env::var_os(HELPER_DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = own.into_iter().chain(HELPER_DIRS.iter().map(PathBuf::from)).chain(std::env::split_paths(&path));
    let is_program =
        |file: &PathBuf| file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let mut candidates = dirs.filter(|dir| dir.is_absolute()).map(|dir| dir.join(program.name));
    candidates.find(is_program).with_context(|| {
        format!(
            "{} is not installed: install Debian's package {}, or choose another network (none and host need no program)",
            program.name, program.package
        )
    })
}

/// Runs a program with `input` to its end; returns its standard output.
///
/// # Errors
/// It cannot be run, has failed, or does not end within the limit.
pub(super) fn call(path: &Path, mut command: Command, input: &[u8]) -> Result<Vec<u8>> {
    let context = || format!("{path:?}");
    // files, because a process that stays behind would keep a pipe open
    let file = || memfd_create(c"network", MFdFlags::MFD_CLOEXEC).map(File::from);
    let (mut stdin, stdout, stderr) = (file()?, file()?, file()?);
    stdin.write_all(input).and_then(|()| stdin.rewind()).with_context(context)?;
    command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let mut child = command.spawn().with_context(context)?;
    let pid = i32::try_from(child.id()).with_context(context)?;
    if !wait_gone(pid, Some(TIMEOUT)).with_context(context)? {
        child.kill().with_context(context)?;
        child.wait().with_context(context)?;
        bail!(coded!(NetworkFailed, "{path:?}: has not ended within {TIMEOUT:?}"));
    }
    let status = child.wait().with_context(context)?;
    let read = |mut file: File| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.take(MAX_OUTPUT).read_to_end(&mut bytes)).with_context(context)?;
        Ok(bytes)
    };
    let (stdout, stderr) = (read(stdout)?, read(stderr)?);
    ensure!(status.success(), coded!(NetworkFailed, "{path:?}: {}", message(&stdout, &stderr)));
    Ok(stdout)
}

/// Returns the error text of a program: netavark prints JSON with `error` on standard output.
fn message(stdout: &[u8], stderr: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(stdout).ok();
    if let Some(text) = json.as_ref().and_then(|json| json.get("error")).and_then(serde_json::Value::as_str) {
        return text.to_owned();
    }
    let text = String::from_utf8_lossy(stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.map_or_else(|| "failed without a message".to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = find(&Program { name: "no-such-program", package: "nothing" }).unwrap_err().to_string();
        assert!(error.starts_with("no-such-program is not installed: install Debian's package nothing,"), "{error}");
    }

    #[test]
    fn a_failure_has_the_programs_words() {
        let sh = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").arg(script);
            call(Path::new("/bin/sh"), command, b"input")
        };
        assert_eq!(sh("cat; echo ignored >&2").unwrap(), b"input");
        let failed = |script| format!("{:#}", sh(script).unwrap_err());
        assert_eq!(failed("echo '{\"error\":\"in use\"}'; exit 1"), "\"/bin/sh\": in use");
        assert_eq!(failed("echo one >&2; echo two >&2; exit 1"), "\"/bin/sh\": two");
        assert_eq!(failed("exit 1"), "\"/bin/sh\": failed without a message");
    }
}
