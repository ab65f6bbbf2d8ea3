//! The OCI runtime: any program with runc's command line.

use base::coded;
use base::error::{Code, Coded, Coding as _, describe};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Deserialize;

use super::statistics::Usage;
use super::supervise::wait_gone;

/// Name of the default runtime, beside corm or in `PATH`.
const DEFAULT: &str = "croci";

/// Time limit of one call. croci's own limits are shorter, so that its message is the one that is printed.
const TIMEOUT: Duration = Duration::from_secs(12);

/// A runtime and its state directory.
#[derive(Debug, Clone)]
pub struct Runtime {
    program: PathBuf,
    root: PathBuf,
}

/// Status of a container in the runtime's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeStatus {
    /// Created; its program is not started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Its program has ended.
    Stopped,
}

impl Runtime {
    /// Creates the value for the runtime at `program` with the state directory `root`.
    pub fn new(program: PathBuf, root: PathBuf) -> Self {
        Self { program, root }
    }

    /// Returns the path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns a command for one of its verbs.
    pub fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).arg(verb);
        command
    }

    /// Returns a command for one of its verbs that also writes its errors to `log`.
    pub fn verb_with_log(&self, verb: &str, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root).arg("--log").arg(log).arg(verb);
        command
    }

    fn call(&self, verb: &str, args: &[&OsStr]) -> Result<Output> {
        let context = || format!("{:?} {verb}", self.program);
        // files, because a process that a hook leaves behind would keep a pipe open
        let file = || memfd_create(c"output", MFdFlags::MFD_CLOEXEC).map(File::from);
        let (stdout, stderr) = (file().with_context(context)?, file().with_context(context)?);
        let mut command = self.verb(verb);
        command.args(args).stdin(Stdio::null());
        command.stdout(stdout.try_clone().with_context(context)?).stderr(stderr.try_clone().with_context(context)?);
        let mut child = command.spawn().with_context(|| format!("{:?}", self.program))?;
        let pid = i32::try_from(child.id()).with_context(context)?;
        if !wait_gone(pid, Some(TIMEOUT)).with_context(context)? {
            child.kill().with_context(context)?;
            child.wait().with_context(context)?;
            bail!(coded!(RuntimeFailed, "{:?} {verb}: has not ended within {TIMEOUT:?}", self.program));
        }
        let status = child.wait().with_context(context)?;
        if let Some(signal) = status.signal() {
            bail!(coded!(RuntimeFailed, "{:?} {verb}: was killed by signal {signal}", self.program));
        }
        let read = |mut file: File| -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            file.rewind().and_then(|()| file.read_to_end(&mut bytes)).with_context(context)?;
            Ok(bytes)
        };
        Ok(Output { status, stdout: read(stdout)?, stderr: read(stderr)? })
    }

    fn must(&self, verb: &str, args: &[&OsStr]) -> Result<()> {
        let output = self.call(verb, args)?;
        if !output.status.success() {
            bail!(runtime_error(&self.program, &output.stderr));
        }
        Ok(())
    }

    /// Returns the status of a container; `None` for an unknown one.
    ///
    /// # Errors
    /// The runtime cannot be executed, was killed, or its output is no state.
    pub fn state(&self, id: &str) -> Result<Option<RuntimeStatus>> {
        #[derive(Deserialize)]
        struct State {
            status: String,
        }
        let output = self.call("state", &[id.as_ref()])?;
        if !output.status.success() {
            // runtimes report an unknown container in different words and by no specific exit status
            return Ok(None);
        }
        let state: State = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{:?} state: no JSON with a status", self.program))?;
        Ok(Some(match state.status.as_str() {
            "creating" | "created" => RuntimeStatus::Created,
            "running" => RuntimeStatus::Running,
            "paused" => RuntimeStatus::Paused,
            "stopped" => RuntimeStatus::Stopped,
            other => bail!(coded!(RuntimeFailed, "{:?} state: unknown status {other:?}", self.program)),
        }))
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn kill(&self, id: &str, signal: &str) -> Result<()> {
        self.must("kill", &[id.as_ref(), signal.as_ref()])
    }

    /// Deletes a container from the runtime, by force where it runs; no error for an unknown one.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn delete(&self, id: &str) -> Result<()> {
        let output = self.call("delete", &["--force".as_ref(), id.as_ref()])?;
        if output.status.success() || self.state(id)?.is_none() {
            return Ok(());
        }
        bail!(runtime_error(&self.program, &output.stderr));
    }

    /// Freezes all processes of a container.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn pause(&self, id: &str) -> Result<()> {
        self.must("pause", &[id.as_ref()])
    }

    /// Returns the pids of a container's processes in the host's pid namespace.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn processes(&self, id: &str) -> Result<Vec<i32>> {
        let output = self.call("ps", &["--format".as_ref(), "json".as_ref(), id.as_ref()])?;
        ensure!(output.status.success(), runtime_error(&self.program, &output.stderr));
        serde_json::from_slice(&output.stdout).with_context(|| format!("{:?} ps: no list of pids", self.program))
    }

    /// Returns what a container with the first process `pid` uses.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn usage(&self, id: &str, pid: i32) -> Result<Usage> {
        let output = self.call("events", &["--stats".as_ref(), id.as_ref()])?;
        ensure!(output.status.success(), runtime_error(&self.program, &output.stderr));
        let event = serde_json::from_slice(&output.stdout);
        Ok(Usage::new(&event.with_context(|| format!("{:?} events: no statistics", self.program))?, pid))
    }

    /// Changes limits of a running container to those of a file, in the form of `linux.resources`.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn update(&self, id: &str, file: &str) -> Result<()> {
        self.must("update", &["--resources".as_ref(), file.as_ref(), id.as_ref()])
    }

    /// Thaws all processes of a container.
    ///
    /// # Errors
    /// The runtime's error.
    pub fn resume(&self, id: &str) -> Result<()> {
        self.must("resume", &[id.as_ref()])
    }
}

/// Finds the runtime: the given one, else croci beside corm, else in `PATH`.
///
/// # Errors
/// No runtime was found.
pub fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        let found = if named.components().count() > 1 { absolute(named)? } else { search(named.as_os_str())? };
        ensure!(is_program(&found), coded!(UsageValue, "--runtime {named:?}: is not a program"));
        return Ok(found);
    }
    let own = std::env::current_exe().context("path of the corm binary")?;
    let beside = own.with_file_name(DEFAULT);
    if is_program(&beside) {
        return Ok(beside);
    }
    search(DEFAULT.as_ref()).code(Code::RuntimeFailed, "an OCI runtime is needed: name one with --runtime")
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_code(Code::UsageValue, || format!("--runtime {path:?}"))
}

fn search(name: &OsStr) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_absolute() && is_program(file));
    found.with_context(|| format!("{name:?}: not found in $PATH"))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Extracts the error message from a runtime's standard error: its last line.
pub fn error_message(program: &Path, stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("failed without a word").trim();
    // runc writes errors as log lines
    let unquoted = |message: &str| message.trim_end_matches('"').replace("\\\"", "\"");
    let line = line.split_once("level=error msg=\"").map_or(line.to_owned(), |(_, message)| unquoted(message));
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    match line.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(": ")) {
        Some(rest) => format!("{name}: {}", rest.strip_prefix("error: ").unwrap_or(rest)),
        None => format!("{name}: {line}"),
    }
}

/// Returns the error of a runtime, with its code where the runtime is croci.
pub fn runtime_error(program: &Path, stderr: &[u8]) -> Coded {
    Code::RuntimeFailed.of_line(&error_message(program, stderr))
}

/// Returns the exit status for a failed start: 127 when the program does not exist, 126 when it cannot be executed,
/// else 125. It parses the message, because runtimes have no other form.
pub fn failed_start(message: &str) -> u8 {
    // runc's words before any error of exec tell nothing about the program
    let message = message.to_lowercase().replace("exec failed: ", "");
    let about_program = ["exec", "process.args", "stat /", "find executable", "open executable"];
    if !about_program.iter().any(|word| message.contains(word)) {
        return 125;
    }
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["permission denied", "exec format error", "is a directory", "not executable"]) {
        126
    } else if has(&["not found", "no such file or directory", "not a directory"]) {
        127
    } else {
        125
    }
}

/// Returns the message of an error, except for a container that does not exist.
pub fn error_text(result: Result<()>) -> Option<String> {
    result.err().map(|err| describe(&err))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn words_of_runtimes_become_exit_statuses() {
        for (message, status) in [
            ("croci: exec \"x\": executable file not found in $PATH", 127),
            ("croci: exec \"/x\": stat /x: no such file or directory", 127),
            ("executable file `x` not found in $PATH: No such file or directory", 127),
            ("unable to start container process: error during container init: exec: \"/etc\": is a directory", 126),
            ("exec: \"/x\": permission denied", 126),
            ("croci: exec \"/x\": exec format error", 126),
            ("croci: mounts[3]: source \"/x\": no such file or directory", 125),
            ("croci: cgroup: permission denied", 125),
            ("croci: exec failed: process.cwd: chdir to cwd (\"/x\") set in config.json failed: not a directory", 125),
        ] {
            assert_eq!(failed_start(message), status, "{message}");
        }
    }

    #[test]
    fn the_last_line_is_the_complaint() {
        let program = Path::new("/usr/bin/crun");
        assert_eq!(error_message(program, b"warning: x\ncrun: no\n\n"), "crun: no");
        assert_eq!(error_message(program, b"crun: error: no\n"), "crun: no");
        assert_eq!(error_message(program, b"time=\"x\" level=error msg=\"bad thing\"\n"), "crun: bad thing");
        assert_eq!(error_message(program, br#"time="x" level=error msg="exec \"x\": no""#), r#"crun: exec "x": no"#);
        assert_eq!(error_message(program, b""), "crun: failed without a word");
    }
}
