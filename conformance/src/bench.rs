//! The runtime under test and the place where its containers are made: a state directory, a rootfs to start from.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long one call of the runtime may take before it counts as hung.
const CALL_LIMIT: Duration = Duration::from_secs(20);
/// How long something that has been set in motion may take to show.
pub const EVENT_LIMIT: Duration = Duration::from_secs(10);
/// Programs of busybox that tests use inside containers.
const APPLETS: &[&str] = &[
    "cat", "chmod", "cut", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "ls", "mkdir", "mount",
    "ps", "pwd", "readlink", "rm", "sed", "sh", "sleep", "sort", "stat", "test", "touch", "tr", "true", "uname",
];

/// The reason why a test says nothing on this machine; returned as an error.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends a test as skipped.
pub fn skip<T>(why: &str) -> Result<T> {
    Err(Skip(why.to_owned()).into())
}

/// Waits until `probe` gives something; asks it every few milliseconds.
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
    /// The arguments, for messages.
    pub what: String,
    /// How it ended; the text says why it did not.
    pub status: Result<ExitStatus, String>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// The call itself when it succeeded.
    pub fn ok(self) -> Result<Self> {
        match &self.status {
            Ok(status) if status.success() => Ok(self),
            _ => bail!("{}", self.told()),
        }
    }

    /// The call itself when it failed as a program should: with a status and a word, not by a signal or a panic.
    pub fn error(self) -> Result<Self> {
        let code = match &self.status {
            Ok(status) => status.code(),
            Err(_) => bail!("{}", self.told()),
        };
        match code {
            Some(0) => bail!("`{}` succeeded, it has to fail", self.what),
            None | Some(101 | 134 | 139) => bail!("crashed: {}", self.told()),
            Some(_) if self.err.contains("panicked at") || self.err.contains("goroutine ") => {
                bail!("crashed: {}", self.told())
            }
            Some(_) if self.err.trim().is_empty() => bail!("`{}` failed without a word on stderr", self.what),
            Some(_) => Ok(self),
        }
    }

    /// An error whose text contains `words`, which callers match.
    pub fn error_saying(self, words: &str) -> Result<Self> {
        let done = self.error()?;
        ensure!(done.err.to_lowercase().contains(words), "the error has to contain {words:?}: {}", done.told());
        Ok(done)
    }

    fn told(&self) -> String {
        let status = match &self.status {
            Ok(status) => status.to_string(),
            Err(why) => why.clone(),
        };
        format!("`{}`: {status}: {}", self.what, self.err.trim())
    }
}

/// The runtime, and a directory that is gone when the suite ends.
pub struct Bench {
    runtime: PathBuf,
    work: PathBuf,
    serial: Cell<u32>,
}

impl Bench {
    /// Finds the runtime and makes the place.
    pub fn new(runtime: &Path) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "containers are made as root: run this as root");
        let runtime = find(runtime).with_context(|| format!("no runtime {}", runtime.display()))?;
        let busybox = find(Path::new("busybox")).context("no busybox in PATH: install busybox-static")?;
        // a detached container's init becomes a child of this process, as it does with any caller
        nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;
        let work = std::env::temp_dir().join(format!("conformance.{}", std::process::id()));
        for (name, mode) in [("", 0o755), ("root", 0o700), ("template/bin", 0o755), ("bundles", 0o755)] {
            fs::DirBuilder::new().recursive(true).mode(mode).create(work.join(name))?;
        }
        let bench = Self { runtime, work, serial: Cell::new(0) };
        let bin = bench.template();
        fs::copy(&busybox, bin.join("busybox")).context("copy busybox")?;
        fs::set_permissions(bin.join("busybox"), fs::Permissions::from_mode(0o755))?;
        Ok(bench)
    }

    /// The path of the runtime.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The state directory given to the runtime.
    pub fn root(&self) -> PathBuf {
        self.work.join("root")
    }

    fn template(&self) -> PathBuf {
        self.work.join("template/bin")
    }

    /// A name that no other container of this run, or of another run, has.
    pub fn fresh_name(&self) -> String {
        self.serial.set(self.serial.get() + 1);
        format!("cf{}-{}", std::process::id(), self.serial.get())
    }

    /// A new bundle directory with a root file system that holds busybox.
    pub fn fresh_bundle(&self, name: &str) -> Result<PathBuf> {
        let bundle = self.work.join("bundles").join(name);
        for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(bundle.join("rootfs").join(dir))?;
        }
        let bin = bundle.join("rootfs/bin");
        fs::hard_link(self.template().join("busybox"), bin.join("busybox"))?;
        for applet in APPLETS {
            symlink("busybox", bin.join(applet))?;
        }
        fs::write(bundle.join("rootfs/etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        Ok(bundle)
    }

    /// The runtime with its state directory and these arguments, not yet run.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.root()).args(args).stdin(Stdio::null());
        command
    }

    /// Calls the runtime.
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        let mut command = self.command(args);
        // files and no pipes: a container that inherits them must not keep the suite waiting for their end
        let (out, err) = (self.work.join("out"), self.work.join("err"));
        self.call_to(&mut command, &out, &err)
    }

    /// Runs a prepared call with its output in two files.
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

    /// Removes what a test's containers left in the state directory, and their bundles.
    pub fn clean(&self) {
        for entry in fs::read_dir(self.root()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                self.call([OsStr::new("delete"), OsStr::new("--force"), &name]);
            }
        }
        self.unmount();
    }

    /// Unmounts what a runtime left below the bundles: without a mount namespace it mounts on the host.
    fn unmount(&self) {
        let mountinfo = read(Path::new("/proc/self/mountinfo"));
        for path in mountinfo.lines().rev().filter_map(|line| line.split(' ').nth(4)) {
            if Path::new(path).starts_with(&self.work) {
                let _ = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
            }
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.clean();
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// Waits for a call that has been spawned; one that hangs is ended.
pub fn wait(child: &mut Child) -> Result<ExitStatus, String> {
    let deadline = Instant::now() + CALL_LIMIT;
    let mut pause = Duration::from_micros(200);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Err(err) => return Err(err.to_string()),
            Ok(None) if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("hung for {} s", CALL_LIMIT.as_secs()));
            }
            Ok(None) => sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// A file's text; nothing where there is no such file.
pub fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// A program by path, or by name in PATH.
fn find(program: &Path) -> Result<PathBuf> {
    if program.components().count() > 1 {
        return Ok(fs::canonicalize(program)?);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    Ok(fs::canonicalize(found.context("not in PATH")?)?)
}
