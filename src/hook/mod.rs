//! Running hooks: each has the container's state on standard input, its own environment, and a timeout that kills its
//! process tree.

mod output;
mod tree;

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::plan::hook::HookPlan;
use crate::plan::hook::HookState;
use crate::plan::hook::HooksPlan;
use base::signal_guard::SignalGuard;

pub(crate) use output::Output;
pub(crate) use tree::Procfs;

/// The hooks of a container, ready to run.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// The programs to run, by kind of hook.
    pub plan: HooksPlan,
    /// The files for their standard output and standard error.
    pub output: Output,
    /// The container's state, which hooks read from standard input.
    pub hook_state: HookState,
}

/// Bytes kept of a hook's output, the last ones.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// Characters of the output in an error message, the last ones.
const MAX_EXCERPT_CHARS: usize = 1024;

/// Runs the hooks in order, up to the first that fails.
///
/// A signal that `interrupt` blocks kills the running hook and stops the list. `procfs` lists the processes to kill.
///
/// # Errors
/// A hook cannot start, fails, is killed or exceeds its timeout: the error has kind and index in runc's words, path, status
/// and the end of its output.
pub(crate) fn run_all(
    hooks: &[HookPlan],
    output: &Output,
    state: &[u8],
    procfs: Procfs<'_>,
    interrupt: Option<&SignalGuard>,
) -> Result<()> {
    hooks.iter().try_for_each(|hook| run(hook, output, state, procfs, interrupt))
}

/// Runs one hook.
///
/// # Errors
/// As [`run_all`].
pub(crate) fn run(
    hook: &HookPlan,
    files: &Output,
    state: &[u8],
    procfs: Procfs<'_>,
    interrupt: Option<&SignalGuard>,
) -> Result<()> {
    let context = || format!("error running {}: {:?}", hook.name, hook.path);
    let child = spawn(hook, files).map_err(|err| explained(hook, err)).with_code(Code::HookFailed, context)?;
    let (status, output) =
        run_to_end(child, state, hook.timeout, procfs, interrupt).with_code(Code::HookFailed, context)?;
    if status == linux::process::ExitStatus::Exited(0) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output);
    let text = text.trim();
    let excerpt: String = text.chars().skip(text.chars().count().saturating_sub(MAX_EXCERPT_CHARS)).collect();
    Err(Failed { status, excerpt }).with_code(Code::HookFailed, context)
}

/// Adds why the program of a hook cannot be executed, where its file shows it.
fn explained(hook: &HookPlan, err: anyhow::Error) -> anyhow::Error {
    let Ok(found) = nix::sys::stat::stat(&hook.path) else { return err };
    let is_dir = found.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let reason = match err.errno() {
        Some(libc::ENOENT) => "the file is there, but its script interpreter or dynamic loader is missing",
        Some(libc::EACCES) if is_dir => "is a directory",
        Some(libc::EACCES) if found.st_mode & 0o111 == 0 => "is not executable",
        Some(libc::ENOEXEC) => "is neither a program for this machine nor a script that begins with #!",
        _ => return err,
    };
    err.context(reason)
}

/// The end of a hook that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Its status, which is not 0.
    pub status: linux::process::ExitStatus,
    /// The last of what it has printed.
    excerpt: String,
}

impl std::error::Error for Failed {}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Failed { status, excerpt } = self;
        // the words are runc's
        let bad = if *status == linux::process::ExitStatus::Killed(libc::SIGSYS) { " (bad system call)" } else { "" };
        write!(f, "{status}{bad}{}{excerpt}", if excerpt.is_empty() { "" } else { ", output: " })
    }
}

fn spawn(hook: &HookPlan, output: &Output) -> Result<Child> {
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    if let Some(env) = &hook.env {
        command.env_clear();
        for pair in env {
            let pair = pair.as_bytes();
            if let Some(length) = pair.iter().position(|byte| *byte == b'=') {
                let (name, value) = pair.split_at(length);
                command.env(OsStr::from_bytes(name), OsStr::from_bytes(value.get(1..).unwrap_or_default()));
            }
        }
    }
    if let Some(dir) = &hook.dir {
        // the bundle may be gone when poststop hooks run, and root of a user namespace may not be allowed to enter it
        let enterable = nix::unistd::access(dir.as_path(), nix::unistd::AccessFlags::X_OK).is_ok();
        command.current_dir(if enterable { dir } else { Path::new("/") });
    }
    // a process group of its own, so that a timeout can kill its children too
    command.process_group(0);
    let (out, err) = (stream(output.stdout.as_ref())?, stream(output.stderr.as_ref())?);
    command.stdin(Stdio::piped()).stdout(out).stderr(err);
    // a hook inherits no descriptor that the caller left open; --preserve-fds is for the program alone (HK-10)
    linux::process::set_cloexec_from(3).context("close_range")?;
    Ok(command.spawn()?)
}

fn stream(file: Option<&File>) -> std::io::Result<Stdio> {
    file.map_or_else(|| Ok(Stdio::piped()), |file| Ok(file.try_clone()?.into()))
}

fn non_blocking(fd: &impl std::os::fd::AsFd) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("pipe")?;
    Ok(())
}

/// Writes the state to the hook, keeps its output and waits until the hook ends; returns its status and output. At the
/// timeout or a signal the hook's process tree is killed.
fn run_to_end(
    mut child: Child,
    state: &[u8],
    timeout: Option<Duration>,
    procfs: Procfs<'_>,
    interrupt: Option<&SignalGuard>,
) -> Result<(linux::process::ExitStatus, Vec<u8>)> {
    let pidfd = open_pidfd(&mut child, procfs)?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    // of the streams without a file
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut pipes: Vec<File> = pipes.into_iter().flatten().map(File::from).collect();
    let mut stdin = child.stdin.take();
    pipes.iter().try_for_each(non_blocking)?;
    if let Some(stdin) = &stdin {
        non_blocking(stdin)?;
    }
    let (mut rest, mut output) = (state, Vec::new());
    loop {
        if let Some(pipe) = &mut stdin {
            rest = feed(pipe, rest);
            if rest.is_empty() {
                stdin = None;
            }
        }
        pipes.retain_mut(|pipe| drain(pipe, &mut output));
        if let Some(status) = linux::process::wait(pidfd.as_fd(), false).context("wait for the hook")? {
            // what the hook wrote last; not until end of file, because a grandchild may keep the pipes open for ever
            pipes.retain_mut(|pipe| drain(pipe, &mut output));
            return Ok((status, output));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            tree::kill(&child, &pidfd, procfs)?;
            let seconds = timeout.unwrap_or_default().as_secs();
            bail!(coded!(HookTimeout, "took longer than its timeout of {seconds} s and was killed"));
        }
        if let Err(err) = interrupt.map_or(Ok(()), SignalGuard::check) {
            tree::kill(&child, &pidfd, procfs)?;
            return Err(err);
        }
        let mut set = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        set.extend(interrupt.map(|interrupt| PollFd::new(interrupt.fd(), PollFlags::POLLIN)));
        set.extend(pipes.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        if let Some(pipe) = &stdin {
            set.push(PollFd::new(pipe.as_fd(), PollFlags::POLLOUT));
        }
        let wait = match left {
            None => PollTimeout::NONE,
            // rounded up, because a poll that returns before the deadline would make this loop spin
            Some(left) => PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut set, wait) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(err) => return Err(err).context("poll"),
        }
    }
}

/// Opens a pidfd of the hook; on a failure kills the hook, because no process would wait for it.
fn open_pidfd(child: &mut Child, procfs: Procfs<'_>) -> Result<OwnedFd> {
    let pid = child.id() as i32;
    let opened = match procfs {
        Procfs::Runtime => linux::process::pidfd_open(pid),
        Procfs::Host(_) | Procfs::None => linux::process::pidfd_of_child(pid),
    };
    if opened.is_err() {
        let _ = child.kill().and_then(|()| child.wait());
    }
    opened.context("pidfd")
}

/// Writes as much as the pipe holds and returns the rest: empty when all is written or the hook has closed its end. A
/// hook need not read its input.
fn feed<'a>(pipe: &mut std::process::ChildStdin, rest: &'a [u8]) -> &'a [u8] {
    match pipe.write(rest) {
        Ok(written) => rest.get(written..).unwrap_or_default(),
        Err(err) if matches!(err.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => rest,
        Err(_) => &[],
    }
}

/// Reads what the pipe holds and keeps the last [`MAX_OUTPUT_BYTES`]; returns false at end of file.
fn drain(pipe: &mut impl std::io::Read, output: &mut Vec<u8>) -> bool {
    let mut chunk = [0u8; 4096];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return false,
            Ok(length) => {
                output.extend_from_slice(chunk.get(..length).unwrap_or_default());
                if output.len() > MAX_OUTPUT_BYTES {
                    output.drain(..output.len() - MAX_OUTPUT_BYTES);
                }
            }
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return err.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::PathBuf;

    fn shell(script: &str, timeout: Option<u64>) -> HookPlan {
        HookPlan {
            name: "prestart hook #3".to_owned(),
            path: PathBuf::from("/bin/sh"),
            args: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            env: Some(vec!["A=b c".into()]),
            dir: Some(PathBuf::from("/no/such/bundle")),
            timeout: timeout.map(Duration::from_secs),
        }
    }

    #[test]
    fn hk_1_failures_name_kind_index_path_status_and_output() {
        let text = |hook: &HookPlan| {
            base::error::describe(&run(hook, &Output::default(), b"{}", Procfs::Runtime, None).unwrap_err())
        };
        assert_eq!(
            text(&shell("echo why >&2; exit 3", None)),
            "error running prestart hook #3: \"/bin/sh\": exit status 3, output: why"
        );
        assert_eq!(text(&shell("kill -9 $$", None)), "error running prestart hook #3: \"/bin/sh\": killed by signal 9");
        let missing = HookPlan { path: PathBuf::from("/no/such"), ..shell("", None) };
        let err = base::error::describe(&run(&missing, &Output::default(), b"", Procfs::Runtime, None).unwrap_err());
        assert_eq!(err, "error running prestart hook #3: \"/no/such\": no such file or directory");
    }

    #[test]
    fn hk_2_a_hook_gets_the_state_and_need_not_read_it() {
        run(
            &shell(r#"read -r line; test "$line" = '{"id":"x"}'"#, None),
            &Output::default(),
            b"{\"id\":\"x\"}\n",
            Procfs::Runtime,
            None,
        )
        .unwrap();
        let big = vec![b'x'; 1 << 20];
        run(&shell("exec <&-; exit 0", None), &Output::default(), &big, Procfs::Runtime, None).unwrap();
        run(&shell("exit 0", None), &Output::default(), &big, Procfs::Runtime, None).unwrap();
        run(&shell(r#"test "$(wc -c)" -eq 1048576"#, None), &Output::default(), &big, Procfs::Runtime, None).unwrap();
    }

    #[test]
    fn hk_9_the_environment_is_the_hooks_own_and_the_directory_the_root_without_a_bundle() {
        run(
            &shell(r#"test "$A" = "b c" && test -z "$CARGO" && test "$(pwd)" = /"#, None),
            &Output::default(),
            b"",
            Procfs::Runtime,
            None,
        )
        .unwrap();
    }

    #[test]
    fn hk_8_a_timeout_kills_the_whole_tree() {
        let start = Instant::now();
        let mark = format!("{}7", std::process::id());
        let err = run(
            &shell(&format!("setsid sleep {mark} & sleep {mark}"), Some(1)),
            &Output::default(),
            b"",
            Procfs::Runtime,
            None,
        )
        .unwrap_err();
        assert!(base::error::describe(&err).contains("timeout of 1 s"), "{err:#}");
        assert!(start.elapsed() < Duration::from_secs(4));
        let left = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == format!("sleep\0{mark}\0").as_bytes())
        });
        assert!(!left, "a grandchild is still there");
    }

    #[test]
    fn hk_8_a_grandchild_that_keeps_the_pipes_open_is_not_waited_for() {
        let start = Instant::now();
        run(&shell("sleep 3 & exit 0", None), &Output::default(), b"", Procfs::Runtime, None).unwrap();
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
