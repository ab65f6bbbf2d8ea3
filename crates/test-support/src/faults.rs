//! What the sweeps of both programs share: the errors that fit a system call, the points of a sweep, and its numbers.

use super::trace::{Call, Fault, Point};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// Calls, and the errors with which they are failed.
type Table = &'static [(&'static [libc::c_long], &'static [i32])];

const ERRORS: Table = &[
    (&[libc::SYS_openat, libc::SYS_openat2], &[libc::EMFILE, libc::EINTR, libc::EACCES, libc::ENOMEM]),
    (
        &[libc::SYS_open_tree, libc::SYS_fsopen, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_memfd_create],
        &[libc::EMFILE, libc::ENOMEM, libc::EPERM],
    ),
    (
        &[
            libc::SYS_fsconfig,
            libc::SYS_move_mount,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_pivot_root,
            libc::SYS_umount2,
        ],
        &[libc::ENOMEM, libc::EPERM],
    ),
    (&[libc::SYS_read, libc::SYS_pread64], &[libc::EIO, libc::EINTR]),
    (&[libc::SYS_write, libc::SYS_pwrite64], &[libc::EIO, libc::EINTR, libc::ENOSPC]),
    (&[libc::SYS_flock], &[libc::ENOLCK, libc::EINTR]),
    (
        &[libc::SYS_mkdir, libc::SYS_mkdirat, libc::SYS_symlinkat, libc::SYS_linkat, libc::SYS_renameat],
        &[libc::ENOSPC, libc::EACCES],
    ),
    (&[libc::SYS_mknodat], &[libc::ENOSPC, libc::EPERM]),
    (&[libc::SYS_unlinkat, libc::SYS_rmdir, libc::SYS_unlink], &[libc::EBUSY, libc::EPERM]),
    (&[libc::SYS_clone3, libc::SYS_clone, libc::SYS_vfork, libc::SYS_fork], &[libc::EAGAIN, libc::ENOMEM]),
    (&[libc::SYS_setns, libc::SYS_unshare], &[libc::EPERM, libc::ENOMEM]),
    (&[libc::SYS_setresuid, libc::SYS_setresgid, libc::SYS_setuid, libc::SYS_setgid], &[libc::EPERM, libc::EAGAIN]),
    (
        &[libc::SYS_setgroups, libc::SYS_capset, libc::SYS_sethostname, libc::SYS_chroot, libc::SYS_setsid],
        &[libc::EPERM],
    ),
    (&[libc::SYS_prctl], &[libc::EPERM, libc::EINVAL]),
    (&[libc::SYS_seccomp], &[libc::ENOMEM, libc::EINVAL]),
    (&[libc::SYS_keyctl, libc::SYS_add_key], &[libc::EDQUOT, libc::EACCES]),
    (&[libc::SYS_bpf], &[libc::EPERM, libc::ENOMEM]),
    (
        &[
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_dup,
            libc::SYS_dup2,
            libc::SYS_dup3,
            libc::SYS_pidfd_open,
            libc::SYS_signalfd4,
        ],
        &[libc::EMFILE, libc::ENOMEM],
    ),
    (
        &[libc::SYS_inotify_init1, libc::SYS_timerfd_create, libc::SYS_eventfd2, libc::SYS_epoll_create1],
        &[libc::EMFILE],
    ),
    (&[libc::SYS_poll, libc::SYS_ppoll, libc::SYS_recvmsg], &[libc::EINTR, libc::ENOMEM]),
    (&[libc::SYS_waitid, libc::SYS_wait4, libc::SYS_recvfrom], &[libc::EINTR]),
    (&[libc::SYS_sendmsg, libc::SYS_sendto], &[libc::EINTR, libc::ENOBUFS]),
    (&[libc::SYS_connect], &[libc::ECONNREFUSED]),
    (&[libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_send_signal], &[libc::EPERM]),
    (&[libc::SYS_getdents64, libc::SYS_statfs, libc::SYS_fstatfs], &[libc::EIO, libc::ENOMEM]),
    (
        &[
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_readlinkat,
            libc::SYS_readlink,
            libc::SYS_access,
            libc::SYS_faccessat,
        ],
        &[libc::EACCES, libc::EIO],
    ),
    (&[libc::SYS_fstat], &[libc::EIO]),
    (&[libc::SYS_chdir, libc::SYS_fchdir], &[libc::EACCES]),
    (&[libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_fchmod, libc::SYS_fchmodat], &[libc::EPERM, libc::EIO]),
    // those that cannot fail so, and those that the standard library makes before croci's own code
    (
        &[
            libc::SYS_brk,
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_madvise,
            libc::SYS_arch_prctl,
            libc::SYS_set_tid_address,
            libc::SYS_set_robust_list,
            libc::SYS_rseq,
            libc::SYS_prlimit64,
            libc::SYS_getrandom,
            libc::SYS_execve,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_sigaltstack,
            libc::SYS_sched_getaffinity,
            libc::SYS_getpid,
            libc::SYS_gettid,
            libc::SYS_getppid,
            libc::SYS_geteuid,
            libc::SYS_getuid,
            libc::SYS_getegid,
            libc::SYS_getgid,
            libc::SYS_umask,
            libc::SYS_close,
            libc::SYS_clock_nanosleep,
            libc::SYS_clock_gettime,
            libc::SYS_gettimeofday,
            libc::SYS_time,
            libc::SYS_futex,
            libc::SYS_lseek,
            libc::SYS_fcntl,
        ],
        &[],
    ),
];

/// Before those of the other table, for children: the runtime makes these calls for its own start.
const OF_CHILDREN: Table = &[
    (&[libc::SYS_fcntl], &[libc::EMFILE]),
    (&[libc::SYS_execve], &[libc::ENOMEM, libc::EACCES]),
    (&[libc::SYS_prlimit64, libc::SYS_setrlimit, libc::SYS_setpriority], &[libc::EPERM]),
];

/// Returns the errors with which a call is failed: those of `$SWEEP_ERRORS` (numbers with commas) in the place of those
/// that fit, where any fits.
fn errors_of(number: libc::c_long, of_child: bool) -> Vec<i32> {
    let fitting = errors(number, of_child);
    match std::env::var("SWEEP_ERRORS") {
        Ok(others) if !fitting.is_empty() => others.split(',').filter_map(|errno| errno.parse().ok()).collect(),
        _ => fitting.to_vec(),
    }
}

/// Returns the errors with which a call is failed.
pub fn errors(number: libc::c_long, of_child: bool) -> &'static [i32] {
    let find = |table: Table| table.iter().find(|(calls, _)| calls.contains(&number)).map(|(_, errors)| *errors);
    let found = if of_child { find(OF_CHILDREN) } else { None };
    // a process that is stopped outside of a call has none
    let other: &[i32] = if number < 0 { &[] } else { &[libc::ENOMEM] };
    found.or_else(|| find(ERRORS)).unwrap_or(other)
}

/// Returns whether a message is nothing but the text of an errno: it names neither call nor object.
pub fn names_nothing(program: &str, stderr: &str) -> bool {
    let line = stderr.lines().last().unwrap_or_default().to_lowercase();
    // the standard library adds a number to the text
    let texts = (1..=133).map(|errno| std::io::Error::from_raw_os_error(errno).to_string().to_lowercase());
    let mut bare = texts.flat_map(|text| [text.split(" (os error").next().unwrap_or_default().to_owned(), text]);
    bare.any(|text| line == format!("{program}: {text}") || line == format!("{program}: error: {text}"))
}

/// What a fault led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// Something is on the host after the verbs that clean up.
    Left,
    /// The verb, or one that cleans up, takes too long.
    Hang,
    /// The verb exits with 0 and has not done its work.
    Silent,
    /// A panic, a signal, no message or one that names nothing, a failure of a verb that cleans up.
    Other,
}

/// A system call of a verb, and what it meets there.
pub type FaultPoint = (Call, Fault);

/// Returns the points of a verb that has made these calls: with `SWEEP=all` each call with each fault that fits, or
/// `$SWEEP_POINTS` spread over them; else `count` of them (`$SWEEP_POINTS`), as many kinds of call and fault as possible.
/// Each kind has its place in an order that depends on its name alone (and on `$SWEEP_START`), so that a machine on which
/// a verb makes some calls more has the same sample.
#[track_caller]
pub fn points(verb: &str, seen: &[Call], count: usize) -> Vec<FaultPoint> {
    assert!(seen.len() > 10, "only {} calls", seen.len());
    let faults = |call: &Call| {
        let errors = errors_of(call.number, matches!(call.point, Point::Child(..)));
        let call = *call;
        errors.into_iter().map(Fault::Fail).chain([Fault::Kill]).map(move |fault| (call, fault))
    };
    let all = seen.iter().flat_map(faults);
    let (most, start) = (number("SWEEP_POINTS"), start());
    if std::env::var("SWEEP").is_ok_and(|sweep| sweep == "all") {
        return spread(verb, start, &all.collect::<Vec<_>>(), most.unwrap_or(usize::MAX));
    }
    let count = most.unwrap_or(count);
    let mut kinds: BTreeMap<(bool, libc::c_long, String), Vec<FaultPoint>> = BTreeMap::new();
    for (call, fault) in all {
        let kind = (matches!(call.point, Point::Child(..)), call.number, format!("{fault:?}"));
        kinds.entry(kind).or_default().push((call, fault));
    }
    let placed = |(kind, points)| (place(&format!("{verb} {start} {kind:?}")), points);
    let mut order: Vec<(u64, Vec<FaultPoint>)> = kinds.into_iter().map(placed).collect();
    order.sort_by_key(|(place, _)| *place);
    let most = order.iter().map(|(_, points)| points.len()).max().unwrap_or_default();
    // round after round one of each kind, as long as it has another
    let of_round = |round: usize| {
        let has_more = order.iter().filter(move |(_, points)| round < points.len());
        has_more.map(move |(place, points)| points[(usize::try_from(place >> 32).unwrap() + round) % points.len()])
    };
    (0..most).flat_map(of_round).take(count).collect()
}

/// Returns `most` of all points, which depend on the verb and the start alone, in the order of the calls.
fn spread(verb: &str, start: usize, all: &[FaultPoint], most: usize) -> Vec<FaultPoint> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|number| place(&format!("{number} {verb} {start}")));
    order.truncate(most);
    order.sort_unstable();
    order.into_iter().map(|number| all[number]).collect()
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Returns the number from which the choice of a sample follows.
fn start() -> usize {
    number("SWEEP_START").unwrap_or(0)
}

/// Prints how the same sample is taken again.
#[expect(clippy::print_stdout, reason = "a reader of a failure needs it")]
pub fn print_start() {
    println!("the points of this sample are those of SWEEP_START={}", start());
}

/// Returns the place of a name in an order that looks random (FNV-1a).
fn place(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Held for reading while a point is tried, for writing while one is that no other may take time from.
static TURN: RwLock<()> = RwLock::new(());
/// How often a point that takes too long is tried again, alone.
const REPEATS: usize = 2;

/// Does what `try_once` does at each point, and `at_end` after the last; prints what was wrong and how many of each kind,
/// and returns the former. A point that takes too long is tried again while no other is, because what waits for ever does
/// so each time, and on a busy machine another process may have taken the time.
#[expect(clippy::print_stdout, reason = "the numbers are the result")]
pub fn sweep(
    verb: &str,
    points: &[FaultPoint],
    mut try_once: impl FnMut(FaultPoint) -> Vec<(Wrong, String)>,
    at_end: impl FnOnce() -> Vec<(Wrong, String)>,
) -> Vec<String> {
    let (mut all, mut kinds) = (Vec::new(), Vec::new());
    let mut report = |(kind, text): (Wrong, String)| {
        let text = format!("{kind:?}: {text}");
        println!("wrong: {text}");
        kinds.push(kind);
        all.push(text);
    };
    for point in points {
        let turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
        let mut wrong = try_once(*point);
        drop(turn);
        for _ in 0..REPEATS {
            let Some((_, text)) = wrong.iter().find(|(kind, _)| *kind == Wrong::Hang) else { break };
            println!("slow, and tried again alone: {text}");
            let _alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
            wrong = try_once(*point);
        }
        wrong.into_iter().for_each(&mut report);
    }
    at_end().into_iter().for_each(&mut report);
    let count = |kind| kinds.iter().filter(|found| **found == kind).count();
    let children = points.iter().filter(|(call, _)| matches!(call.point, Point::Child(..))).count();
    let [left, hang, silent, other] = [Wrong::Left, Wrong::Hang, Wrong::Silent, Wrong::Other].map(count);
    // scripts/reliability.py reads it
    println!(
        "sweep: {verb}: {} points, {children} of children, {left} left, {hang} hangs, {silent} silent, {other} other",
        points.len(),
    );
    all
}
