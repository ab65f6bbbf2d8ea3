//! A container's status: computed from its init process and its cgroup, not stored.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::ffi::CStr;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::record::{ProcessId, Record};

/// The status of a container: those of the runtime specification, and runc's `paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// `create` is not complete yet.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The container's program runs.
    Running,
    /// The cgroup is frozen.
    Paused,
    /// The container's process has ended.
    Stopped,
}

impl Status {
    /// Returns the name that `state` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An action of a verb that is allowed only in some statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// `start`
    Start,
    /// `kill`
    Kill,
    /// `delete` without `--force`
    Delete,
    /// `exec`
    Exec,
    /// `exec --ignore-paused`
    ExecPaused,
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `update`
    Update,
    /// `events`
    Events,
    /// `checkpoint`
    Checkpoint,
    /// `mounts`
    Mounts,
}

/// Returns whether `action` is allowed in `status`. The test below has every pair.
pub(crate) fn allowed(action: Action, status: Status) -> bool {
    use Status::{Created, Paused, Running, Stopped};
    match action {
        Action::Start => status == Created,
        Action::Kill | Action::Update => matches!(status, Created | Running | Paused),
        Action::Delete => status == Stopped,
        Action::Exec => matches!(status, Created | Running),
        Action::ExecPaused => matches!(status, Created | Running | Paused),
        Action::Checkpoint | Action::Mounts => matches!(status, Running | Paused),
        Action::Pause => matches!(status, Created | Running),
        Action::Resume => status == Paused,
        Action::Events => status != Stopped,
    }
}

/// Checks that `action` is allowed in `status`.
///
/// # Errors
/// The action is not allowed: the message has the words that callers match (CL-20).
pub(crate) fn check(action: Action, status: Status, id: &str) -> Result<()> {
    if allowed(action, status) {
        return Ok(());
    }
    match (action, status) {
        (Action::Start, Status::Stopped) => {
            bail!(coded!(ContainerNotRunning, "cannot start container {id}: it has exited: container not running"))
        }
        (Action::Start, _) => {
            bail!(coded!(ContainerStatus, "cannot start container {id}: it is {status}, not created"))
        }
        (Action::Kill, _) => bail!(coded!(ContainerNotRunning, "cannot kill container {id}: container not running")),
        // the peers delete it, so that callers who come from them need a hint
        (Action::Delete, Status::Created) => bail!(coded!(
            ContainerNotStopped,
            "cannot delete container {id} that is not stopped: created \
             (by the runtime specification delete takes stopped containers only: use --force, or kill it first)"
        )),
        (Action::Delete, _) => {
            bail!(coded!(ContainerNotStopped, "cannot delete container {id} that is not stopped: {status}"))
        }
        (Action::Exec, Status::Paused) => {
            bail!(coded!(ContainerStatus, "cannot exec in a paused container (use --ignore-paused to override): {id}"))
        }
        (Action::Exec | Action::ExecPaused, _) => {
            bail!(coded!(ContainerNotRunning, "cannot exec in container {id}: container not running (it is {status})"))
        }
        (Action::Checkpoint, _) => bail!(coded!(
            ContainerNotRunning,
            "cannot checkpoint container {id}: container not running (it is {status})"
        )),
        (Action::Pause, Status::Paused) => bail!(coded!(ContainerStatus, "container {id} is already paused")),
        (Action::Resume, _) => {
            bail!(coded!(ContainerStatus, "cannot resume container {id}: container not paused (it is {status})"))
        }
        _ => bail!(coded!(ContainerNotRunning, "container not running: {id} is {status}")),
    }
}

/// The fields of `/proc/PID/stat` that croci reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcStat {
    /// Start time in clock ticks since boot.
    pub start_time: u64,
    /// State Z or X: the process has ended and is not reaped yet.
    pub zombie: bool,
    /// State R or S: it runs, or sleeps so that a signal wakes it.
    pub awake: bool,
    /// State T or t: stopped by a signal or a tracer, not by the cgroup freezer.
    pub stopped: bool,
    /// The process has not called exec since it was forked.
    pub before_exec: bool,
}

/// `PF_FORKNOEXEC` of the kernel's task flags, field 9: set by fork and cleared by exec; the process cannot change it.
const FORKED_WITHOUT_EXEC: u64 = 0x40;

/// Parses `/proc/PID/stat`; `None` for a text of another form.
pub(crate) fn parse_stat(text: &str) -> Option<ProcStat> {
    // the name in parentheses may hold blanks and parentheses; the fields after it start with the state, field 3
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some(ProcStat {
        start_time: fields.nth(12)?.parse().ok()?,
        zombie: matches!(state, "Z" | "X"),
        awake: matches!(state, "R" | "S"),
        stopped: matches!(state, "T" | "t"),
        before_exec: flags & FORKED_WITHOUT_EXEC != 0,
    })
}

/// Reads `/proc/PID/stat`; `None`: the process does not exist.
///
/// # Errors
/// As open(2) and read(2); the file cannot be parsed.
pub(crate) fn read_stat(pid: i32) -> Result<Option<ProcStat>> {
    // without the heap, because `list` looks at thousands of processes in two threads
    let (mut path, mut text) = ([0; 24], [0; 4096]);
    write!(path.as_mut_slice(), "/proc/{pid}/stat")?;
    let path = CStr::from_bytes_until_nul(&path)?;
    match linux::file::read_into(path, &mut text).map(String::from_utf8_lossy) {
        Ok(text) => parse_stat(&text).map(Some).with_context(|| format!("/proc/{pid}/stat: {text:?}")),
        // ESRCH: the process ended between open and read
        Err(err) if is_none(&err) => Ok(None),
        Err(err) => Err(err).with_context(|| format!("read /proc/{pid}/stat")),
    }
}

/// Returns whether the read of a file of a process in procfs failed because there is no such process.
fn is_none(err: &io::Error) -> bool {
    err.kind() == io::ErrorKind::NotFound || err.raw_os_error() == Some(libc::ESRCH)
}

/// Reads `/proc/PID/stat` of the process `id`; `None` when it has ended, also if its pid has been reused.
///
/// # Errors
/// As [`read_stat`].
pub(crate) fn alive(id: ProcessId) -> Result<Option<ProcStat>> {
    Ok(read_stat(id.pid)?.filter(|stat| stat.start_time == id.start_time && !stat.zombie))
}

/// Returns whether the process has ended or will: a SIGKILL is pending.
///
/// # Errors
/// As [`read_stat`].
pub(crate) fn dying(id: ProcessId) -> Result<bool> {
    if alive(id)?.is_none() {
        return Ok(true);
    }
    let path = format!("/proc/{}/status", id.pid);
    match std::fs::File::open(&path).and_then(linux::file::read_text) {
        Ok(text) => Ok(kill_pending(&text)),
        Err(err) if is_none(&err) => Ok(true),
        Err(err) => Err(err).with_context(|| format!("read {path}")),
    }
}

fn kill_pending(status: &str) -> bool {
    let pending = |line: &str| -> Option<u64> {
        let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    status.lines().filter_map(pending).any(|mask| mask >> (libc::SIGKILL - 1) & 1 == 1)
}

/// Opens a pidfd of the process `id`, and never of a later process with the same pid. `None`: the process has ended.
///
/// # Errors
/// As pidfd_open(2) and [`read_stat`].
pub(crate) fn open_pidfd(id: ProcessId) -> Result<Option<OwnedFd>> {
    let pidfd = match linux::process::pidfd_open(id.pid) {
        Ok(pidfd) => pidfd,
        Err(err) if err.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
        Err(err) => return Err(err).with_context(|| format!("open a pidfd of process {}", id.pid)),
    };
    // checked after the open, because the pid may have been reused before it
    Ok(alive(id)?.map(|_| pidfd))
}

/// Returns the identity of this process.
///
/// # Errors
/// procfs is not mounted.
pub(crate) fn myself() -> Result<ProcessId> {
    process_id(std::process::id() as i32)
}

/// Returns the identity of the process `pid`.
///
/// # Errors
/// The process does not exist; as [`read_stat`].
pub(crate) fn process_id(pid: i32) -> Result<ProcessId> {
    let stat = read_stat(pid)?.with_code(Code::ContainerNotRunning, || format!("process {pid} does not exist"))?;
    Ok(ProcessId { pid, start_time: stat.start_time })
}

/// Reads the boot ID of the running kernel, once; empty where the procfs has processes only (`ProcSubset=pid`).
///
/// # Errors
/// As open(2) and read(2), but for a file that does not exist.
pub(crate) fn boot_id() -> Result<&'static str> {
    static ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = ID.get() {
        return Ok(id);
    }
    let path = "/proc/sys/kernel/random/boot_id";
    let id = match linux::file::read_whole(path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("read {path}"))?.trim_end().to_owned(),
    };
    Ok(ID.get_or_init(|| id))
}

/// Returns whether `recorded`, by [`boot_id`], is of this boot. True where one of the two is not known: pid and start
/// time have to be the same then, too.
///
/// # Errors
/// As [`boot_id`].
pub(crate) fn is_this_boot(recorded: &str) -> Result<bool> {
    let own = boot_id()?;
    Ok(recorded.is_empty() || own.is_empty() || recorded == own)
}

/// What a record has of a container's processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processes<'a> {
    /// Boot ID at `create`.
    pub boot_id: &'a str,
    /// The croci process that creates the container.
    pub runtime: ProcessId,
    /// The container's first process.
    pub init: Option<ProcessId>,
    /// CRIU restored it.
    pub restored: bool,
}

/// Computes the status of the container of `record`; also returns its init process if that has not ended.
///
/// # Errors
/// procfs or the cgroup cannot be read.
pub(crate) fn of_record(record: &Record) -> Result<(Status, Option<ProcessId>)> {
    let Record { boot_id, runtime, init, restored, .. } = record;
    let processes = Processes { boot_id, runtime: *runtime, init: *init, restored: *restored };
    of_processes(processes, |_| crate::cgroup::is_frozen(&record.cgroup))
}

/// Computes the status of a container; also returns its init process if that has not ended. `is_frozen` is called with
/// the state of an init that has not.
///
/// # Errors
/// procfs or the cgroup cannot be read.
pub(crate) fn of_processes(
    processes: Processes<'_>,
    is_frozen: impl FnOnce(&ProcStat) -> Result<bool>,
) -> Result<(Status, Option<ProcessId>)> {
    let same_boot = is_this_boot(processes.boot_id)?;
    let Some(init) = processes.init else {
        let busy = same_boot && alive(processes.runtime)?.is_some();
        return Ok((if busy { Status::Creating } else { Status::Stopped }, None));
    };
    let Some(stat) = (if same_boot { alive(init)? } else { None }) else {
        return Ok((Status::Stopped, None));
    };
    let frozen = match is_frozen(&stat) {
        // the freezer cannot be read now; without an errno the host has none
        Err(err) if err.errno().is_some() => return Err(err),
        frozen => frozen.unwrap_or(false),
    };
    let status = match (frozen, stat.before_exec && !processes.restored) {
        (true, _) => Status::Paused,
        (false, true) => Status::Created,
        (false, false) => Status::Running,
    };
    Ok((status, Some(init)))
}

/// Waits until the process of `pidfd` has ended, at most `milliseconds`; returns false when it has not.
///
/// # Errors
/// As poll(2).
pub(crate) fn wait_ended(pidfd: &OwnedFd, milliseconds: u16) -> Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    let deadline = Instant::now() + Duration::from_millis(milliseconds.into());
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut set = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match linux::event::poll(&mut set, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Err(nix::Error::EINTR) => {}
            ready => return Ok(ready.context("wait for the end of the process")? > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn st_2_the_stat_line_is_read_behind_the_last_parenthesis() {
        let line = "42 (a) R (b) S 1 42 42 0 -1 4194368 97 0 0 0 0 0 0 0 20 0 1 0 8675309 2 3";
        assert_eq!(
            parse_stat(line),
            Some(ProcStat { start_time: 8_675_309, zombie: false, awake: true, stopped: false, before_exec: true })
        );
        let line = "42 (x) Z 1 42 42 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 1 0 7 2 3";
        assert_eq!(
            parse_stat(line),
            Some(ProcStat { start_time: 7, zombie: true, awake: false, stopped: false, before_exec: false })
        );
        for broken in ["", "42 (x", "42 (x)", "42 (x) S 1 2"] {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_waiting_kill_is_seen() {
        assert!(kill_pending("Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"));
        assert!(!kill_pending("SigPnd:\t0000000000000000\nShdPnd:\t0000000000004000\nSigCgt:\t0000000000000100\n"));
    }

    #[test]
    fn every_pair_of_verb_and_status() {
        use Action::*;
        use Status::*;
        let all = [Creating, Created, Running, Paused, Stopped];
        let table: [(Action, &[Status]); 11] = [
            (Start, &[Created]),
            (Kill, &[Created, Running, Paused]),
            (Delete, &[Stopped]),
            (Exec, &[Created, Running]),
            (ExecPaused, &[Created, Running, Paused]),
            (Pause, &[Created, Running]),
            (Resume, &[Paused]),
            (Update, &[Created, Running, Paused]),
            (Checkpoint, &[Running, Paused]),
            (Mounts, &[Running, Paused]),
            (Events, &[Creating, Created, Running, Paused]),
        ];
        for (action, good) in table {
            for status in all {
                assert_eq!(allowed(action, status), good.contains(&status), "{action:?} in {status}");
                assert_eq!(check(action, status, "x").is_ok(), good.contains(&status));
            }
        }
    }

    #[test]
    fn st_2_a_stranger_with_the_same_pid_is_not_the_process() {
        let me = myself().ok();
        assert!(me.is_some_and(|id| matches!(alive(id), Ok(Some(_)))));
        assert!(me.is_some_and(|id| matches!(alive(ProcessId { start_time: id.start_time + 1, ..id }), Ok(None))));
    }
}
