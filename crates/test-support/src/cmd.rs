//! A run of the runtime: its command line, environment and result. Output is written to files, because a pipe would
//! stay open as long as the container that inherits it.

use super::{patience, runtime};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A command to run within a sandbox.
pub struct Cmd {
    pub command: Command,
    dir: PathBuf,
    what: String,
    limit: Duration,
    own_stdio: bool,
}

/// A running command; killed and reaped when dropped.
pub struct Proc {
    child: Child,
    files: Option<(PathBuf, PathBuf)>,
    what: String,
    started: Instant,
    limit: Duration,
}

/// The result of a command: exit status and output.
#[derive(Clone)]
pub struct Out {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub what: String,
    pub took: Duration,
}

impl Cmd {
    /// Prepares `program`; output files are created in `dir`, `token` marks the process and its children.
    pub fn new(program: impl AsRef<OsStr>, dir: &Path, token: &str) -> Cmd {
        let mut command = Command::new(&program);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("CROCI_TEST", token).stdin(Stdio::null());
        let what = program.as_ref().to_string_lossy().into_owned();
        Cmd { command, dir: dir.to_owned(), what, limit: patience() * 2, own_stdio: false }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.what = format!("{} {}", self.what, arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(self, args: I) -> Cmd {
        args.into_iter().fold(self, Cmd::arg)
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.command.env(key, value);
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Cmd {
        self.command.current_dir(dir);
        self
    }

    /// Gives `bytes` on standard input (through a file, so that no process has to write to a pipe).
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Cmd {
        let path = self.fresh("in");
        std::fs::write(&path, bytes).unwrap();
        self.command.stdin(File::open(path).unwrap());
        self
    }

    pub fn stdin_from(mut self, stdio: impl Into<Stdio>) -> Cmd {
        self.command.stdin(stdio);
        self
    }

    /// Sets all three streams to a descriptor of the caller, e.g. a terminal; nothing is captured.
    pub fn stdio(mut self, fd: BorrowedFd<'_>) -> Cmd {
        for set in [Command::stdin, Command::stdout, Command::stderr] {
            set(&mut self.command, Stdio::from(fd.try_clone_to_owned().unwrap()));
        }
        self.own_stdio = true;
        self
    }

    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// Runs `act` between fork and exec, where only system calls are allowed.
    pub fn before_exec(mut self, act: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static) -> Cmd {
        linux::testing::child::before_exec(&mut self.command, act);
        self
    }

    /// Closes standard streams of the command.
    pub fn close_streams(mut self, numbers: &'static [RawFd]) -> Cmd {
        linux::testing::child::close_streams(&mut self.command, numbers).unwrap();
        self
    }

    /// Lets the command inherit `given` as the descriptor `number`.
    pub fn inherit(mut self, given: OwnedFd, number: RawFd) -> Cmd {
        linux::testing::child::inherit_as(&mut self.command, given, number).unwrap();
        self
    }

    /// Sets the soft and hard limit of a resource in the command.
    pub fn rlimit(self, resource: libc::__rlimit_resource_t, value: u64) -> Cmd {
        self.before_exec(move || linux::sched::set_limit(resource, value, value))
    }

    fn fresh(&self, kind: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        self.dir.join(format!("{kind}.{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    #[track_caller]
    pub fn spawn(mut self) -> Proc {
        let files = (!self.own_stdio).then(|| (self.fresh("out"), self.fresh("err")));
        if let Some((out, err)) = &files {
            self.command.stdout(File::create(out).unwrap()).stderr(File::create(err).unwrap());
        }
        let started = Instant::now();
        let child = self.command.spawn().unwrap_or_else(|err| panic!("{}: {err}", self.what));
        Proc { child, files, what: self.what, started, limit: self.limit }
    }

    #[track_caller]
    pub fn out(self) -> Out {
        self.spawn().wait()
    }
}

impl Proc {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn signal(&self, signal: i32) {
        let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal);
    }

    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn stdout(&self) -> String {
        self.files.as_ref().map_or_else(String::new, |(out, _)| text(out))
    }

    pub fn stderr(&self) -> String {
        self.files.as_ref().map_or_else(String::new, |(_, err)| text(err))
    }

    #[track_caller]
    pub fn wait(mut self) -> Out {
        if !self.ends_in_time() {
            let (stdout, stderr) = (self.stdout(), self.stderr());
            let short = |text: String| text.chars().take(3000).collect::<String>();
            let (stdout, stderr) = (short(stdout), short(stderr));
            panic!("hangs for {:?}: {}\nstdout: {stdout}\nstderr: {stderr}", self.limit, self.what);
        }
        self.end()
    }

    /// As [`Proc::wait`]; a command that hangs is killed, for a caller that looks at the time that it took.
    pub fn wait_or_kill(mut self) -> Out {
        if !self.ends_in_time() {
            self.child.kill().unwrap();
        }
        self.end()
    }

    fn ends_in_time(&self) -> bool {
        wait_pid_ready(self.pid(), self.limit.saturating_sub(self.started.elapsed()))
    }

    fn end(&mut self) -> Out {
        let status = self.child.wait().unwrap();
        Out {
            code: status.code(),
            signal: status.signal(),
            stdout: self.stdout(),
            stderr: self.stderr(),
            what: self.what.clone(),
            took: self.started.elapsed(),
        }
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl std::fmt::Debug for Out {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: &str| text.chars().take(3000).collect::<String>();
        writeln!(f, "{}\n  status {:?}, signal {:?}, {:?}", short(&self.what), self.code, self.signal, self.took)?;
        writeln!(f, "  stdout: {:?}\n  stderr: {:?}", short(&self.stdout), short(&self.stderr))
    }
}

impl Out {
    /// Checks for success.
    #[track_caller]
    pub fn ok(self) -> Out {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Out {
        assert_eq!(self.code, Some(code), "exit status\n{self:#?}");
        self
    }

    /// Checks for an error of the runtime itself: status 1, of `exec` 255, a message, no panic.
    #[track_caller]
    pub fn fails(self) -> Out {
        let runtime = super::runtime();
        let after = self.what.split(' ').skip_while(|word| *word != runtime.as_os_str());
        let status = if after.skip(1).any(|word| word == "exec") { 255 } else { 1 };
        assert_eq!(self.code, Some(status), "must fail\n{self:#?}");
        assert!(!self.stderr.trim().is_empty(), "must have an error text\n{self:#?}");
        self.no_panic()
    }

    #[track_caller]
    pub fn no_panic(self) -> Out {
        assert!(self.signal.is_none(), "died of a signal\n{self:#?}");
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("goroutine"), "panicked\n{self:#?}");
        self
    }

    /// Checks that the error is one line.
    #[track_caller]
    pub fn one_line(self) -> Out {
        assert_eq!(self.stderr.trim_end_matches('\n').lines().count(), 1, "one line on stderr\n{self:#?}");
        self
    }

    /// Checks that standard error contains `text`, whatever the case.
    #[track_caller]
    pub fn stderr_contains(self, text: &str) -> Out {
        assert!(self.stderr.to_lowercase().contains(&text.to_lowercase()), "stderr must contain {text:?}\n{self:#?}");
        self
    }

    #[track_caller]
    pub fn silent(self) -> Out {
        assert!(self.stdout.is_empty() && self.stderr.is_empty(), "must be silent\n{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> super::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|err| panic!("{err}\n{self:#?}"))
    }

    /// Returns standard output without trailing newlines.
    pub fn text(&self) -> &str {
        self.stdout.trim_end_matches(['\n', '\r'])
    }

    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().map(str::trim_end).collect()
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Waits until a process has ended (it may still be a zombie); returns false when the limit passes.
pub fn wait_pid_ready(pid: i32, limit: Duration) -> bool {
    let Ok(fd) = linux::process::pidfd_open(pid) else { return true };
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut polled = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLIN)];
        let timeout = u16::try_from(left.as_millis().min(60_000)).unwrap_or(u16::MAX);
        match linux::event::poll(&mut polled, timeout) {
            Ok(0) if Instant::now() >= end => return false,
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return true,
            Err(err) => panic!("poll: {err}"),
        }
    }
}

/// Prepares a call of the runtime with the given state root.
pub fn croci(dir: &Path, token: &str, root: &Path) -> Cmd {
    let cmd = Cmd::new(runtime(), dir, token).arg("--root").arg(root);
    if super::cgroup::by_systemd() { cmd.arg("--systemd-cgroup") } else { cmd }
}

/// Writes a file and makes it executable.
pub fn script(path: &Path, body: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = File::create(path).unwrap();
    file.write_all(body.as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
}
