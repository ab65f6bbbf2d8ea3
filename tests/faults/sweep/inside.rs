//! What a program finds in its container, compared with an undisturbed run: credentials, filter, limits, mounts,
//! devices, namespaces, and the limits of its cgroup.

use std::path::PathBuf;

use test_support::*;

/// Prints what the program finds.
const SCRIPT: &str = "grep -E '^(Cap|NoNewPrivs|Seccomp|Uid|Gid|Groups|Umask|SigBlk|SigIgn)' /proc/self/status; \
    cat /proc/self/limits /proc/self/oom_score_adj /proc/self/cgroup /proc/sys/kernel/msgmax; \
    cut -d' ' -f4- /proc/self/mountinfo; stat -c '%n %F %a %u:%g %t,%T' /dev/* /dev/pts/ptmx; \
    ls /proc/self/fd | wc -l; hostname; pwd; env; cat /sys/class/net/lo/flags; wc -c /proc/kcore";

/// Returns the command that writes what it finds to the file `name` in the root directory, and then runs `then`.
pub(super) fn command(name: &str, then: &str) -> Vec<String> {
    // renamed, so that the file appears as a whole
    let script = format!("{{ {SCRIPT}; }} >/{name}.new 2>&1; mv /{name}.new /{name}; {then}");
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

/// Returns what the program has written to the file `name`, and removes it; `None`: it has not.
pub(super) fn take(c: &Container, name: &str) -> Option<String> {
    let file: PathBuf = c.file(name);
    let text = std::fs::read_to_string(&file).ok()?;
    std::fs::remove_file(file).unwrap();
    Some(text)
}

/// Returns what the program of a container that runs finds, and what the host sees of it.
pub(super) fn of_running(c: &Container) -> String {
    let inside = wait_until("the program has looked around", || take(c, "facts"));
    let pid = c.pid();
    let namespaces = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let own = i32::try_from(std::process::id()).unwrap();
    let shared: Vec<_> = namespaces.into_iter().filter(|kind| Container::same_ns(pid, own, kind)).collect();
    let limits = [
        cgroup::read(pid, "pids", "pids.max", "pids.max"),
        cgroup::read(pid, "memory", "memory.limit_in_bytes", "memory.max"),
    ];
    // on v1 in every hierarchy a cgroup of its own
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().replace(&c.id, "ID");
    format!("{inside}shared {shared:?}\nlimits {limits:?}\n{text}")
}

/// Returns the lines in which two texts differ.
pub(super) fn difference(wanted: &str, got: &str) -> String {
    let missing = wanted.lines().filter(|line| !got.lines().any(|other| other == *line)).map(|line| format!("-{line}"));
    let more = got.lines().filter(|line| !wanted.lines().any(|other| other == *line)).map(|line| format!("+{line}"));
    missing.chain(more).collect::<Vec<_>>().join("\n")
}
