//! Class 8: files that croci writes in directories that others may write to. croci neither follows nor writes what they
//! have planted there, and does not wait for it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_support::container::Untouched;
use test_support::*;

/// Modes of world-writable directories, without and with the sticky bit, because fs.protected_symlinks protects only
/// those with it, and only against symlinks of other users.
pub(crate) const OPEN: [u32; 2] = [0o777, 0o1777];

pub(crate) fn open_dir(c: &Container, mode: u32) -> PathBuf {
    let dir = c.sandbox.mkdir(&format!("open-{mode:o}"));
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
    dir
}

/// Runs the runtime under the pid of a shell, which has planted symlinks at the names that a temporary file of this pid
/// may have.
fn with_planted(c: &Container, dir: &Path, target: &Path, words: &[&str]) -> Out {
    let script = "for name in pid .pid; do for pid in '' .$$ -$$ .tmp .new; do \
        [ $name$pid = pid ] || ln -s \"$TARGET\" \"$DIR/$name$pid\"; done; done; exec \"$@\"";
    let sh = c.sandbox.program("sh").env("TARGET", target).env("DIR", dir).args(["-c", script, "sh"]);
    sh.arg(runtime()).arg("--root").arg(&c.sandbox.root).args(words).out()
}

#[test]
fn class_8_a_planted_temporary_name_of_the_pid_file_is_not_followed() {
    need_root!();
    for mode in OPEN {
        let c = Container::new(&["sleep", "1000"]);
        c.write_config();
        let (host, dir) = (c.host_dir("host"), open_dir(&c, mode));
        let before = Untouched::watch(&host);
        let (pid, exec_pid) = (dir.join("pid"), dir.join("exec"));
        // a target that exists, and one that would be created
        for target in ["marker", "new"] {
            let words = ["create", "--bundle", c.bundle.to_str().unwrap(), "--pid-file", pid.to_str().unwrap(), &c.id];
            with_planted(&c, &dir, &host.join(target), &words).ok();
            assert_eq!(std::fs::read_to_string(&pid).unwrap(), c.pid().to_string());
            before.check();
            c.start().ok();
            let words = ["exec", "--detach", "--pid-file", exec_pid.to_str().unwrap(), &c.id, "sleep", "1000"];
            let script = "ln -s \"$TARGET\" \"$DIR/.exec.$$\"; exec \"$@\"";
            let sh = c.sandbox.program("sh").env("TARGET", host.join(target)).env("DIR", &dir);
            let sh = sh.args(["-c", script, "sh"]).arg(runtime()).arg("--root").arg(&c.sandbox.root);
            sh.args(words).out().ok();
            assert!(std::fs::read_to_string(&exec_pid).unwrap().parse::<i32>().is_ok());
            before.check();
            c.delete_force().ok();
            std::fs::remove_dir_all(&dir).unwrap();
            open_dir(&c, mode);
        }
        let left = c.sandbox.mkdir("kept");
        c.create_with(&["--pid-file", left.join("pid").to_str().unwrap()]).out().ok();
        assert_eq!(std::fs::read_dir(&left).unwrap().count(), 1, "nothing beside the pid file");
        let meta = left.join("pid").metadata().unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o644);
    }
}

#[test]
fn class_8_the_pid_file_itself_may_be_a_planted_symlink() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let (host, dir) = (c.host_dir("host"), open_dir(&c, 0o777));
    let before = Untouched::watch(&host);
    host::symlink(host.join("marker"), dir.join("pid"));
    c.create_with(&["--pid-file", dir.join("pid").to_str().unwrap()]).out().ok();
    c.start().ok();
    before.check();
    assert_eq!(std::fs::read_to_string(dir.join("pid")).unwrap(), c.pid().to_string());
    // nor is a symlink of another user followed as a directory of the path
    host::symlink(&host, dir.join("run"));
    let out = c.exec_with(&["--detach", "--pid-file", dir.join("run/pid").to_str().unwrap()], &["true"]).out();
    if is_croci() {
        out.fails().stderr_contains("symlink in a directory that others may write to");
        before.check();
    }
}

#[test]
fn class_8_a_log_follows_no_symlink_of_others() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc follows it");
    }
    for mode in OPEN {
        let c = Container::new(&["true"]);
        let (host, dir) = (c.host_dir("host"), open_dir(&c, mode));
        let before = Untouched::watch(&host);
        host::symlink(host.join("marker"), dir.join("there"));
        host::symlink(host.join("new"), dir.join("dangling"));
        host::symlink(&host, dir.join("dir"));
        std::fs::hard_link(host.join("marker"), dir.join("hard")).unwrap();
        let private = c.sandbox.mkdir("private");
        host::symlink(dir.join("there"), private.join("two-steps"));
        for name in ["there", "dangling", "dir/marker", "dir/new", "hard", "../private/two-steps"] {
            let log = dir.join(name);
            // an error for the log: `state` of a container that does not exist
            let out = c.croci(["--debug", "--log", log.to_str().unwrap(), "state", "none"]).out().fails();
            assert!(out.stderr.contains("--log"), "{name}: {out:?}");
            before.check();
        }
        // a symlink in a directory that only root can write to is the caller's own
        host::symlink(c.sandbox.path("own-log"), private.join("link"));
        for log in [private.join("link"), dir.join("fresh"), dir.join("fresh")] {
            let out = c.croci(["--log", log.to_str().unwrap(), "state", "none"]).out().fails();
            assert!(!out.stderr.contains("--log"), "{log:?}: {out:?}");
            assert!(std::fs::read_to_string(&log).unwrap().contains("does not exist"));
        }
    }
}

#[test]
fn class_8_a_log_to_a_fifo_or_a_standard_stream_does_not_hang() {
    need_root!();
    let c = Container::new(&["true"]);
    let dir = open_dir(&c, 0o1777);
    nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let log = |path: &str| c.croci(["--log", path, "state", "none"]).limit(Duration::from_secs(10)).out().fails();
    log(dir.join("fifo").to_str().unwrap());
    let out = log("/dev/stderr");
    assert!(out.stderr.matches("does not exist").count() >= 2, "the log and the message: {out:?}");
    log("/dev/null").one_line();
    log("/proc/self/fd/2");
}

#[test]
fn class_8_output_of_hooks_follows_no_symlink_of_others() {
    need_root!();
    if !is_croci() {
        test_support::skip!("an annotation that crun and croci have");
    }
    for mode in OPEN {
        for name in ["there", "dangling", "fifo"] {
            let c = Container::new(&["true"]);
            let (host, dir) = (c.host_dir("host"), open_dir(&c, mode));
            let before = Untouched::watch(&host);
            host::symlink(host.join("marker"), dir.join("there"));
            host::symlink(host.join("new"), dir.join("dangling"));
            nix::unistd::mkfifo(&dir.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
            for stream in ["stdout", "stderr"] {
                let hook = c.sandbox.script("hook", "#!/bin/sh\ncat > /dev/null; echo out; echo err >&2\n");
                let mut config = c.config.clone();
                config["hooks"] = json!({ "createRuntime": [{ "path": hook, "env": ["PATH=/usr/bin:/bin"] }] });
                config["annotations"] = json!({ (format!("run.oci.hooks.{stream}")): dir.join(name) });
                std::fs::write(c.bundle.join("config.json"), config.to_string()).unwrap();
                let out = c.croci(["run", "--bundle"]).arg(&c.bundle).arg(&c.id).limit(Duration::from_secs(10)).out();
                out.fails().stderr_contains(&format!("run.oci.hooks.{stream}"));
                before.check();
            }
            c.nothing_left();
        }
    }
}

#[test]
fn class_8_spec_writes_over_nothing() {
    need_root!();
    let c = Container::new(&["true"]);
    let (host, dir) = (c.host_dir("host"), open_dir(&c, 0o777));
    let before = Untouched::watch(&host);
    host::symlink(host.join("new"), dir.join("config.json"));
    c.sandbox.bare(["spec", "--bundle", dir.to_str().unwrap()]).out().fails();
    before.check();
    host::symlink(&host, dir.join("bundle"));
    let out = c.sandbox.bare(["spec", "--bundle", dir.join("bundle").to_str().unwrap()]).out();
    if is_croci() {
        out.fails().stderr_contains("symlink");
        before.check();
    }
}

#[test]
fn class_8_a_socket_of_others_gets_no_terminal_and_no_listener() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc follows it");
    }
    for mode in OPEN {
        let c = Container::new(&["true"]);
        let dir = open_dir(&c, mode);
        let private = c.sandbox.mkdir("private");
        let listen = |path: &Path| {
            let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let elsewhere = listen(&private.join("socket"));
        host::symlink(private.join("socket"), dir.join("link"));
        host::symlink(&private, dir.join("dir"));
        let strangers = listen(&dir.join("stranger"));
        std::os::unix::fs::chown(dir.join("stranger"), Some(54_329), None).unwrap();
        for name in ["link", "dir/socket", "stranger"] {
            let path = dir.join(name);
            let refused = |out: Out, field: &str| {
                out.fails().one_line().stderr_contains(field).stderr_contains("that others may write to")
            };
            let terminal = Container::within(&c.sandbox, &["true"]);
            let terminal = terminal.edit(|config| config["process"]["terminal"] = json!(true));
            refused(terminal.create_with(&["--console-socket", path.to_str().unwrap()]).out(), "--console-socket");
            refused(c.create_with(&["--pidfd-socket", path.to_str().unwrap()]).out(), "pidfd");
            let filtered = Container::within(&c.sandbox, &["true"]).edit(|config| {
                config["linux"]["seccomp"] = json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "listenerPath": path,
                    "syscalls": [{ "names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY" }]
                });
            });
            refused(filtered.create(), "linux.seccomp.listenerPath");
        }
        assert!(elsewhere.accept().is_err() && strangers.accept().is_err(), "no process has connected");
        // accepted: the caller's own socket in such a directory, and a symlink in a directory that only root can write
        // to
        let own = listen(&dir.join("own"));
        host::symlink(dir.join("own"), private.join("link"));
        for path in [dir.join("own"), private.join("link"), private.join("socket")] {
            c.create_with(&["--pidfd-socket", path.to_str().unwrap()]).out().ok();
            c.delete_force().ok();
        }
        assert!(own.accept().is_ok() && own.accept().is_ok() && elsewhere.accept().is_ok());
        c.nothing_left();
    }
}
