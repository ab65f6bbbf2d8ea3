//! The runtime under test, as one test uses it: its calls, a state directory, bundles with a root file system.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cleanup;
use crate::files::read;
use crate::verdict::{Mismatch, Skip};

/// The time that one call of the runtime may take before it counts as hung.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// The time within which an effect has to show.
pub const EVENT_LIMIT: Duration = Duration::from_secs(10);
/// The directory, beside those of the tests, with the programs that are linked into containers.
const TEMPLATE: &str = "template";
/// The program name under which this executable acts as the probe in a container.
pub const PROBE: &str = "probe";
/// Programs of busybox that tests use inside containers.
const APPLETS: &[&str] = &[
    "cat", "chmod", "cut", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "ls", "mkdir", "mount",
    "ps", "pwd", "readlink", "rm", "sed", "sh", "sleep", "sort", "stat", "test", "touch", "tr", "true", "uname",
];

/// Skips the test with this reason.
pub fn skip<T>(why: &str) -> Result<T> {
    Err(Skip(why.to_owned()).into())
}

/// Fails, printing both as JSON, unless a fact of the probe is the expected one.
pub fn expect_value(what: &str, seen: &Value, expected: &Value) -> Result<()> {
    if seen == expected {
        return Ok(());
    }
    Err(Mismatch { expected: format!("{what} {expected}"), seen: seen.to_string() }.into())
}

/// Calls `probe` every few milliseconds until it returns a value, and returns that; fails when the time limit passes.
pub fn wait_until<T>(what: &str, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + EVENT_LIMIT;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "waited {} s in vain: {what}", EVENT_LIMIT.as_secs());
        sleep(Duration::from_millis(5));
    }
}

/// One finished call of the runtime.
#[derive(Debug)]
pub struct Done {
    /// The arguments, for error messages.
    pub what: String,
    /// The exit status, or the reason why there is none.
    pub status: Result<ExitStatus, String>,
    /// The standard output.
    pub out: String,
    /// The standard error.
    pub err: String,
}

impl Done {
    /// Returns the call itself if it succeeded.
    pub fn ok(self) -> Result<Self> {
        match &self.status {
            Ok(status) if status.success() => Ok(self),
            _ => bail!("{}", self.text()),
        }
    }

    /// Returns the call itself if it failed as a program should: with a status and a message, not by a signal or a
    /// panic.
    pub fn error(self) -> Result<Self> {
        let code = match &self.status {
            Ok(status) => status.code(),
            Err(_) => bail!("{}", self.text()),
        };
        match code {
            Some(0) => bail!("`{}` succeeded, it has to fail", self.what),
            None | Some(101 | 134 | 139) => bail!("crashed: {}", self.text()),
            Some(_) if self.err.contains("panicked at") || self.err.contains("goroutine ") => {
                bail!("crashed: {}", self.text())
            }
            Some(_) if self.err.trim().is_empty() => bail!("`{}` failed without a word on stderr", self.what),
            Some(_) => Ok(self),
        }
    }

    /// Returns the call itself if it failed with an error whose text contains `words`, which callers match.
    pub fn error_saying(self, words: &str) -> Result<Self> {
        let done = self.error()?;
        ensure!(done.err.to_lowercase().contains(words), "the error has to contain {words:?}: {}", done.text());
        Ok(done)
    }

    fn text(&self) -> String {
        let status = match &self.status {
            Ok(status) => status.to_string(),
            Err(why) => why.clone(),
        };
        format!("`{}`: {status}: {}", self.what, self.err.trim())
    }
}

/// The runtime, and the directory of one test, which `cleanup` removes afterwards.
pub struct Harness {
    runtime: PathBuf,
    work: PathBuf,
    serial: AtomicU32,
}

/// Returns the prefix of the names of all containers that the process `pid` creates.
pub fn name_of(pid: u32) -> String {
    format!("cf{pid}-")
}

/// Creates the template directory with the programs of every container's root, busybox and this one; tests hard-link
/// them.
pub fn make_template(work: &Path) -> Result<()> {
    let busybox = find(Path::new("busybox")).context("no busybox in PATH: install busybox-static")?;
    let template = work.join(TEMPLATE);
    fs::DirBuilder::new().mode(0o755).create(&template)?;
    for (source, name) in [(busybox.as_path(), "busybox"), (Path::new("/proc/self/exe"), PROBE)] {
        fs::copy(source, template.join(name)).with_context(|| format!("copy {}", source.display()))?;
        fs::set_permissions(template.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

impl Harness {
    /// Returns the harness for the runtime at `runtime` and a test whose directory is `work`, beside the template.
    pub fn new(runtime: &Path, work: &Path) -> Result<Self> {
        for (name, mode) in [("", 0o755), ("root", 0o700), ("bundles", 0o755)] {
            fs::DirBuilder::new().recursive(true).mode(mode).create(work.join(name))?;
        }
        Ok(Self { runtime: runtime.to_owned(), work: work.to_owned(), serial: AtomicU32::new(0) })
    }

    /// Returns the path of the runtime.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Returns the state directory that the runtime is called with.
    pub fn root(&self) -> PathBuf {
        self.work.join("root")
    }

    fn next(&self) -> u32 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns a name that no other container of this run, or of another run, has.
    pub fn fresh_name(&self) -> String {
        format!("{}{}", name_of(std::process::id()), self.next())
    }

    /// Creates a bundle directory with a root file system that contains busybox.
    pub fn fresh_bundle(&self, name: &str) -> Result<PathBuf> {
        let bundle = self.work.join("bundles").join(name);
        for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(bundle.join("rootfs").join(dir))?;
        }
        let bin = bundle.join("rootfs/bin");
        let template = self.work.with_file_name(TEMPLATE);
        for program in ["busybox", PROBE] {
            fs::hard_link(template.join(program), bin.join(program)).with_context(|| format!("link {program}"))?;
        }
        for applet in APPLETS {
            symlink("busybox", bin.join(applet))?;
        }
        fs::write(bundle.join("rootfs/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        Ok(bundle)
    }

    /// Prepares a call of the runtime with its state directory and these arguments.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.root()).args(args).stdin(Stdio::null());
        command
    }

    /// Calls the runtime and waits for its exit.
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        let mut command = self.command(args);
        // files and no pipes, because a container that inherits a pipe would keep the suite waiting for its end
        let number = self.next();
        let (out, err) = (self.work.join(format!("out.{number}")), self.work.join(format!("err.{number}")));
        let done = self.call_to(&mut command, &out, &err);
        let _ = (fs::remove_file(out), fs::remove_file(err));
        done
    }

    /// Runs a prepared call, with its output in two files.
    pub fn call_to(&self, command: &mut Command, out: &Path, err: &Path) -> Done {
        let what = command.get_args().skip(2).map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut open =
            || -> Result<Child> { Ok(command.stdout(File::create(out)?).stderr(File::create(err)?).spawn()?) };
        let status = match open() {
            Ok(mut child) => wait(&mut child),
            Err(err) => Err(format!("{err:#}")),
        };
        Done { what, status, out: read(out), err: read(err) }
    }
}

/// Waits for a call that has been spawned; kills one that hangs.
pub fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    wait_for(child, CALL_LIMIT)
}

/// Waits for a program's end; kills it and all its children when the limit passes.
pub fn wait_for(child: &mut Child, limit: Duration) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Err(err) => return Err(err.to_string()),
            Ok(None) if Instant::now() > deadline => {
                cleanup::kill_tree(Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX)));
                let _ = child.wait();
                return Err(format!("hung for {} s", limit.as_secs()));
            }
            Ok(None) => sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Returns the path of a program that is given by path, or by name in PATH.
pub fn find(program: &Path) -> Result<PathBuf> {
    if program.components().count() > 1 {
        return Ok(fs::canonicalize(program)?);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    Ok(fs::canonicalize(found.context("not in PATH")?)?)
}
