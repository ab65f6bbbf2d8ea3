//! A system call of init fails: a privileged `run` takes no fallback that would show more of the host, or less of the
//! configuration, than it says.

use test_support::trace::{Fault, Faulted, Point, fault_at};
use test_support::*;

/// Runs a container under strace(1) once for each N up to `most`, whose N-th call in each process fails. Returns the
/// outputs of those runs in which a call failed.
#[track_caller]
fn failing(c: &Container, call: &str, errno: &str, most: usize) -> Vec<Out> {
    c.write_config();
    let mut outs = Vec::new();
    for nth in 1..=most {
        let log = c.sandbox.path("strace.out");
        let strace = c.sandbox.program("strace").args(["-f", "-qq", "-o"]).arg(&log);
        let strace = strace.args(["-e", &format!("trace={call}"), "-e"]);
        let strace = strace.arg(format!("inject={call}:error={errno}:when={nth}")).arg(runtime()).arg("--root");
        let out = strace.arg(&c.sandbox.root).args(["run", "--no-verify", "--bundle"]).arg(&c.bundle);
        let out = out.arg(&c.id).out().no_panic();
        let text = std::fs::read_to_string(&log).unwrap();
        if text.contains("INJECTED") {
            outs.push(out);
        }
        c.delete_force();
    }
    c.nothing_left();
    assert!(!outs.is_empty(), "{call} failed in no run");
    outs
}

#[test]
fn no_session_of_its_own_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for out in failing(&c, "setsid", "EPERM", 1) {
        out.fails().stderr_contains("session");
    }
}

#[test]
fn a_device_node_that_root_may_not_create_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for out in failing(&c, "mknodat", "EPERM", 3) {
        out.fails().stderr_contains("mknod").stderr_contains("/dev/");
    }
}

#[test]
fn a_sysfs_that_root_may_not_create_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for out in failing(&c, "fsopen", "EPERM", 10) {
        out.fails();
    }
}

#[test]
fn home_is_that_of_the_passwd_file_or_an_error() {
    need_strace!();
    let c = Container::sh("echo $HOME");
    for out in failing(&c, "openat2", "EMFILE", 70) {
        if out.code == Some(0) {
            assert_eq!(out.stdout, "/root\n", "{out:#?}");
        } else {
            out.fails();
        }
    }
}

/// A name of /dev is there, or a message tells why it is not; the same of all that init looks at by its name.
#[test]
fn a_file_that_init_cannot_look_at_is_an_error() {
    need_strace!();
    let c = Container::new(&["true"]);
    for errno in ["EIO", "ENOMEM"] {
        for out in failing(&c, "newfstatat", errno, 12) {
            assert!(out.code != Some(0) || !out.stderr.is_empty(), "newfstatat fails with {errno}: {out:#?}");
        }
    }
}

/// The host's cgroups below a bind of the host's sysfs are read-only also when init is short of descriptors.
#[test]
fn the_hosts_cgroups_stay_read_only_below_a_bind_of_sysfs() {
    need_strace!();
    let script = "while read -r _ _ _ _ at options _; do case $at:$options in \
        /sys/fs/cgroup*:ro*) echo read-only;; /sys/fs/cgroup*) echo \"writable $at\";; esac; done </proc/self/mountinfo";
    let c = Container::sh(script).edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/sys"));
        mounts.push(bundle::bind(std::path::Path::new("/sys"), "/sys", &["rbind"]));
    });
    let whole = c.run().ok();
    assert!(whole.stdout.contains("read-only") && !whole.stdout.contains("writable"), "without a fault: {whole:#?}");
    for out in failing(&c, "openat2", "EMFILE", 70) {
        assert!(out.code != Some(0) || out.stdout == whole.stdout, "{out:#?}");
    }
}

/// A user namespace that does not own the network namespace gets no sysfs of its own.
#[test]
fn the_hosts_sysfs_in_a_user_namespace_is_a_warning() {
    need_croci!("it is croci's warning");
    let c = Container::new(&["true"]).edit(|config| {
        bundle::with_userns(config);
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "network");
    });
    let out = c.run().ok();
    assert!(out.stderr.contains("sysfs") && out.stderr.contains("the host's is bound"), "{out:#?}");
    c.nothing_left();
}

#[test]
fn a_passwd_file_that_is_not_read_is_a_warning() {
    need_croci!("it is croci's warning");
    let c = Container::sh("echo $HOME");
    std::fs::remove_file(c.file("/etc/passwd")).unwrap();
    nix::unistd::mkfifo(&c.file("/etc/passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let out = c.run().ok();
    assert_eq!(out.stdout, "/\n");
    assert!(out.stderr.contains("/etc/passwd of the container: is a fifo"), "{out:#?}");
    c.create().ok();
    c.start().ok();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_hierarchy_that_cannot_be_looked_at_is_an_error() {
    need_faults!();
    need_own_cgroups!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    let all = cgroup::dirs_with(&c.id).len();
    c.delete_force().ok();
    let mut failed = 0;
    for nth in 1..=16 {
        let Faulted { hit, out, .. } =
            fault_at(c.create_with(&[]), Point::Named(libc::SYS_statfs, nth), Fault::Fail(libc::EIO));
        if out.code == Some(0) {
            assert_eq!(cgroup::dirs_with(&c.id).len(), all, "call {nth}, {hit:?}");
        } else {
            failed += 1;
            out.fails().one_line();
        }
        c.delete_force().ok();
    }
    assert!(failed > 0, "a call failed");
    c.nothing_left();
}

/// The pid file appears as a whole, and a kill at any moment leaves nothing beside it.
#[test]
fn a_kill_leaves_nothing_beside_the_pid_file() {
    need_faults!();
    let c = Container::new(&["sleep", "1000"]);
    let dir = c.sandbox.mkdir("pids");
    let (file, flag) = (dir.join("pid"), format!("--pid-file={}", dir.join("pid").display()));
    let mut kills = 0;
    for exists in [false, true] {
        for (number, most) in [(libc::SYS_renameat, 3), (libc::SYS_linkat, 3), (libc::SYS_unlinkat, 2)] {
            for nth in 1..=most {
                let _ = std::fs::remove_file(&file);
                if exists {
                    std::fs::write(&file, "old").unwrap();
                }
                let Faulted { hit, .. } = fault_at(c.create_with(&[&flag]), Point::Named(number, nth), Fault::Kill);
                kills += usize::from(hit.is_some());
                c.delete_force().ok();
                let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                assert!(names.iter().all(|name| name == "pid"), "{names:?}");
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                assert!(text.is_empty() || text == "old" || text.parse::<i32>().is_ok(), "{text:?}");
                c.nothing_left();
            }
        }
    }
    assert!(kills > 3, "{kills} kills");
    c.create_with(&[&flag]).out().ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), c.pid().to_string());
    c.delete_force().ok();
}
