//! corm or its runtime is killed at system calls spread over a verb: no later verb hangs, and the next removal finds
//! all that was left. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod failing;
mod full_disk;
mod many;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corm::model::digest::Digest;
use test_support::trace::{Fault, Point, Traced, can_fail, fault_at, kill_at};
use test_support::*;

/// Longest time that a verb may take when its runtime fails.
const LIMIT: Duration = Duration::from_secs(10);

/// Returns the number of system calls at which each verb is killed: `$KILLS`, else 20.
fn points() -> usize {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// A store with an image `base`, and a runtime that is croci but for calls that a test chooses.
struct Fixture {
    sandbox: Arc<Sandbox>,
    runtime: PathBuf,
}

impl Fixture {
    fn new() -> Fixture {
        let sandbox = Sandbox::new();
        let root = bundle::make_rootfs(&sandbox.mkdir("tree"));
        // counts its calls; one of them does what `how` says in the place of the call
        let body = format!(
            "#!/bin/sh\ncd {}\nn=$(($(cat count) + 1))\necho $n >count\nif [ $n = $(cat at) ]; then\n  echo >reached\n  \
             eval \"$(cat how)\"\nfi\nexec {} \"$@\"",
            sandbox.dir.display(),
            runtime().display()
        );
        let runtime = sandbox.script("runtime", &body);
        let fixture = Fixture { sandbox, runtime };
        fixture.at_call(0, "");
        fixture.corm(&["init", root.to_str().unwrap(), "base"]).out().ok();
        fixture
    }

    fn corm(&self, args: &[&str]) -> Cmd {
        let corm = self.sandbox.program(test_support::corm()).arg("--root").arg(self.sandbox.path("store"));
        corm.args(["--driver", "overlay", "--log-level", "error", "--runtime"]).arg(&self.runtime).args(args)
    }

    /// Lets the runtime do `how` at its n-th call from now on, in the place of the call; 0 is never.
    fn at_call(&self, n: usize, how: &str) {
        let _ = std::fs::remove_file(self.sandbox.path("reached"));
        self.sandbox.write("count", "0");
        self.sandbox.write("at", n.to_string());
        self.sandbox.write("how", how);
    }

    fn start(&self) {
        self.corm(&["run", "-d", "--name", "c", "base", "sleep", "1000"]).out().ok();
    }

    /// Removes the container again, if it is still there.
    #[track_caller]
    fn remove(&self, point: &str) {
        let out = self.corm(&["rm", "-f", "c"]).limit(LIMIT * 2).out();
        let gone = out.code == Some(0) || out.stderr.contains("No container named 'c' exists");
        assert!(gone, "rm after {point}: {out:#?}");
    }

    /// Fails if something of a container is left: a record, run-time files, a mount, a process.
    #[track_caller]
    fn is_clean(&self, point: &str) {
        let out = self.corm(&["ps", "-aq"]).out().ok();
        assert_eq!(out.stdout, "", "containers after {point}");
        let root = self.sandbox.path("store");
        let key = Digest::of(root.as_os_str().as_encoded_bytes());
        let run = PathBuf::from("/run/corm").join(&key.hex()[..16]);
        let names = |dir: &PathBuf| -> Vec<String> {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.file_name().into_string().unwrap())
                .filter(|name| !name.starts_with('.'))
                .collect()
        };
        let mut left = names(&run);
        left.retain(|name| name != "runtime");
        left.extend(names(&run.join("runtime")));
        assert!(left.is_empty(), "run-time files after {point}: {left:?}");
        assert_eq!(host::mounts_below(&self.sandbox.dir), Vec::<String>::new(), "mounts after {point}");
        assert_eq!(names(&root.join("trees")), Vec::<String>::new(), "trees after {point}");
        assert_eq!(names(&root.join("tmp")), Vec::<String>::new(), "unfinished entries after {point}");
    }

    /// Kills the verb at system calls from its first to its last, and calls `after` after each kill.
    #[track_caller]
    fn sweep(&self, args: &[&str], prepare: impl Fn(), after: impl Fn(&str)) {
        prepare();
        let Traced::Ended { calls, code: 0 } = kill_at(self.corm(args), 0) else { panic!("{args:?} without a kill") };
        after("no kill");
        let mut killed = 0;
        for n in 0..points() {
            prepare();
            let call = 1 + calls * n / points();
            killed += usize::from(kill_at(self.corm(args), call) == Traced::Killed);
            after(&format!("{args:?} was killed at call {call} of {calls}"));
        }
        assert!(killed > points() / 2, "killed {killed} times of {}", points());
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.at_call(0, "");
        self.corm(&["rm", "-f", "c"]).out();
    }
}

#[test]
fn a_removal_does_not_hang_when_a_call_of_the_runtime_fails_or_is_killed() {
    need_root!();
    let fixture = Fixture::new();
    for how in ["kill -9 $$", "exit 1"] {
        let mut reached = 0;
        for n in 1..=5 {
            fixture.at_call(0, "");
            fixture.start();
            fixture.at_call(n, how);
            let point = format!("{how:?} in the place of call {n}");
            let out = fixture.corm(&["rm", "-f", "c"]).limit(LIMIT).out();
            assert!(out.code == Some(0) || !out.stderr.is_empty(), "{point}: {out:#?}");
            reached += u32::from(fixture.sandbox.path("reached").exists());
            fixture.at_call(0, "");
            fixture.remove(&point);
            fixture.corm(&["system", "prune"]).out().ok();
            fixture.is_clean(&point);
        }
        assert!(reached >= 3, "{how:?} was reached {reached} times");
    }
}

#[test]
fn a_removal_does_not_wait_for_ever_for_a_runtime_that_does_not_end() {
    need_root!();
    let fixture = Fixture::new();
    fixture.start();
    fixture.at_call(1, "exec sleep 1000");
    let out = fixture.corm(&["rm", "-f", "c"]).limit(LIMIT * 3).out();
    assert!(out.code == Some(1) && out.stderr.contains("has not ended within"), "{out:#?}");
    assert!(fixture.sandbox.path("reached").exists());
    fixture.at_call(0, "");
    fixture.remove("a runtime that does not end");
    fixture.is_clean("a runtime that does not end");
}

/// The supervisor of a start goes on without it.
#[test]
fn a_removal_ends_a_container_whose_start_was_killed_and_goes_on() {
    need_root!();
    let fixture = Fixture::new();
    for verb in [&["rm", "-f", "c"][..], &["rm", "-f", "-t", "0", "c"], &["stop", "-t", "0", "c"]] {
        fixture.corm(&["create", "--name", "c", "base", "sleep", "1000"]).out().ok();
        // the first call is the start's own
        fixture.at_call(2, "until [ -e go ]; do sleep 0.05; done");
        let start = fixture.corm(&["start", "c"]).spawn();
        wait_for("the supervisor starts the container", || fixture.sandbox.path("reached").exists());
        start.signal(libc::SIGKILL);
        let out = start.wait_or_kill();
        assert_eq!(out.signal, Some(libc::SIGKILL), "the start was killed: {out:#?}");
        let removal = fixture.corm(verb).limit(LIMIT * 3).spawn();
        // it has seen a container that does not run, and waits for the supervisor
        wait_for("the removal waits", || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", removal.pid())).unwrap_or_default();
            let number = call.split(' ').next().and_then(|number| number.parse().ok());
            number.is_some_and(|number| [libc::SYS_poll, libc::SYS_ppoll, libc::SYS_clock_nanosleep].contains(&number))
        });
        fixture.sandbox.write("go", "");
        let out = removal.wait();
        assert!(out.code == Some(0) && out.stderr.is_empty(), "{verb:?}: {out:#?}");
        let running = fixture.corm(&["ps", "-q"]).out().ok();
        assert_eq!(running.stdout, "", "{verb:?}");
        std::fs::remove_file(fixture.sandbox.path("go")).unwrap();
        fixture.at_call(0, "");
        fixture.remove("the removal");
        fixture.is_clean("the removal");
    }
}

#[test]
fn what_a_killed_removal_left_is_found_by_the_next() {
    need_root!();
    let fixture = Fixture::new();
    let prepare = || fixture.start();
    fixture.sweep(&["rm", "-f", "c"], prepare, |point| {
        fixture.remove(point);
        fixture.corm(&["system", "prune"]).out().ok();
        fixture.is_clean(point);
    });
}

#[test]
fn what_a_killed_run_left_is_found_by_prune_and_its_name_is_free() {
    need_root!();
    let fixture = Fixture::new();
    let args = ["run", "-d", "--name", "c", "base", "sleep", "1000"];
    fixture.sweep(
        &args,
        || {},
        |point| {
            // a supervisor that was forked before the kill starts the container all the same
            wait_until(point, || {
                fixture.corm(&["system", "prune"]).out().ok();
                let out = fixture.corm(&["ps", "-a", "--format", "json"]).out().ok().stdout.to_lowercase();
                (!out.contains("\"c\"") || out.contains("running")).then_some(())
            });
            fixture.remove(point);
            fixture.is_clean(point);
            fixture.start();
            fixture.remove(point);
            fixture.is_clean(point);
        },
    );
}

#[test]
fn what_a_killed_create_left_is_found_by_prune() {
    need_root!();
    let fixture = Fixture::new();
    let args = ["create", "--name", "c", "-v", "v:/etc", "base", "sleep", "1000"];
    let prepare = || drop(fixture.corm(&["volume", "rm", "-f", "v"]).out());
    fixture.sweep(&args, prepare, |point| {
        // a part of a container is removed, a whole one can be started
        fixture.corm(&["system", "prune"]).out().ok();
        if fixture.corm(&["container", "exists", "c"]).out().code == Some(0) {
            fixture.corm(&["start", "c"]).out().ok();
        }
        fixture.remove(point);
        // all or nothing of the image's content
        let out = fixture.corm(&["run", "--rm", "-v", "v:/etc", "base", "cat", "/etc/passwd"]).out();
        assert!(out.code == Some(0), "{point}: {out:#?}");
        fixture.corm(&["system", "prune"]).out().ok();
        fixture.is_clean(point);
    });
}

#[test]
fn a_created_container_survives_a_killed_start() {
    need_root!();
    let fixture = Fixture::new();
    let prepare = || drop(fixture.corm(&["create", "--name", "c", "base", "sleep", "1000"]).out().ok());
    fixture.sweep(&["start", "c"], prepare, |point| {
        // a supervisor that was forked before the kill starts the container all the same
        wait_until(point, || {
            fixture.corm(&["system", "prune"]).out().ok();
            let out = fixture.corm(&["start", "c"]).out();
            (out.code == Some(0) || out.stderr.contains("is running already")).then_some(())
        });
        wait_until(point, || (fixture.corm(&["exec", "c", "true"]).out().code == Some(0)).then_some(()));
        fixture.remove(point);
        fixture.is_clean(point);
    });
}

#[test]
fn a_container_keeps_a_name_when_its_rename_or_restart_is_killed() {
    need_root!();
    let fixture = Fixture::new();
    for args in [&["rename", "c", "other"][..], &["restart", "-t", "0", "c"]] {
        let prepare = || fixture.start();
        fixture.sweep(args, prepare, |point| {
            fixture.corm(&["rename", "other", "c"]).out();
            wait_until(point, || {
                let out = fixture.corm(&["start", "c"]).out();
                (out.code == Some(0) || out.stderr.contains("is running already")).then_some(())
            });
            fixture.remove(point);
            fixture.corm(&["system", "prune"]).out().ok();
            fixture.is_clean(point);
        });
    }
}

#[test]
fn what_a_killed_volume_verb_left_is_found_by_prune() {
    need_root!();
    let fixture = Fixture::new();
    let volumes = || fixture.corm(&["volume", "ls", "-q"]).out().ok().stdout;
    for verb in ["create", "rm"] {
        let prepare = || {
            fixture.corm(&["volume", "rm", "-f", "v"]).out().ok();
            if verb == "rm" {
                fixture.corm(&["volume", "create", "v"]).out().ok();
            }
        };
        fixture.sweep(&["volume", verb, "v"], prepare, |point| {
            assert!(["", "v\n"].contains(&volumes().as_str()), "{point}");
            fixture.corm(&["system", "prune"]).out().ok();
            fixture.is_clean(point);
            fixture.corm(&["volume", "create", "--ignore", "v"]).out().ok();
            fixture.corm(&["volume", "rm", "v"]).out().ok();
        });
    }
}

#[test]
fn a_killed_copy_leaves_nothing_that_the_next_verb_does_not_remove() {
    need_root!();
    let fixture = Fixture::new();
    let file = fixture.sandbox.write("file", "text");
    let prepare = || {
        fixture.corm(&["rm", "-i", "c"]).out().ok();
        fixture.corm(&["create", "--name", "c", "base", "sleep", "1000"]).out().ok();
    };
    fixture.sweep(&["cp", file.to_str().unwrap(), "c:/etc/new"], prepare, |point| {
        // the container is as good as before: another copy, a start and a removal work
        fixture.corm(&["cp", file.to_str().unwrap(), "c:/etc/new"]).out().ok();
        fixture.corm(&["start", "c"]).out().ok();
        assert_eq!(fixture.corm(&["exec", "c", "cat", "/etc/new"]).out().ok().stdout, "text", "{point}");
        fixture.remove(point);
        fixture.corm(&["system", "prune"]).out().ok();
        fixture.is_clean(point);
        fixture.corm(&["create", "--name", "c", "base", "true"]).out().ok();
    });
}

#[test]
fn what_a_killed_save_left_beside_its_output_is_removed_by_a_repair() {
    need_root!();
    let fixture = Fixture::new();
    let dir = fixture.sandbox.mkdir("outputs");
    for format in ["oci-archive", "oci-dir"] {
        let output = dir.join(format);
        let args = ["save", "--format", format, "base", "-o", output.to_str().unwrap()];
        let prepare = || {
            let _ = std::fs::remove_dir_all(&output);
            let _ = std::fs::remove_file(&output);
        };
        fixture.sweep(&args, prepare, |point| {
            fixture.corm(&["fsck", "--repair"]).out().ok();
            let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(names.iter().all(|name| name == format), "{point}: {names:?}");
            fixture.is_clean(point);
        });
        // the last kill may come after the rename
        prepare();
    }
}

#[test]
fn what_a_killed_bundle_left_is_removed_by_a_repair() {
    need_root!();
    let fixture = Fixture::new();
    let dir = fixture.sandbox.mkdir("outputs");
    let output = dir.join("bundle");
    let tree = fixture.sandbox.path("tree/rootfs");
    for source in ["base", tree.to_str().unwrap()] {
        let args = ["bundle", source, output.to_str().unwrap()];
        let prepare = || {
            if output.exists() {
                fixture.corm(&["unbundle", output.to_str().unwrap()]).out().ok();
            }
        };
        fixture.sweep(&args, prepare, |point| {
            prepare();
            fixture.corm(&["fsck", "--repair"]).out().ok();
            let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(names.is_empty(), "{point}: {names:?}");
            fixture.is_clean(point);
        });
    }
}

#[test]
fn what_a_killed_unbundle_left_is_removed_by_a_repair() {
    need_root!();
    let fixture = Fixture::new();
    let output = fixture.sandbox.mkdir("outputs").join("bundle");
    let output = output.to_str().unwrap();
    let prepare = || {
        fixture.corm(&["bundle", "base", output]).out().ok();
    };
    fixture.sweep(&["unbundle", output], prepare, |point| {
        if std::path::Path::new(output).exists() {
            fixture.corm(&["unbundle", output]).out().ok();
        }
        fixture.corm(&["fsck", "--repair"]).out().ok();
        fixture.is_clean(point);
    });
}

#[test]
fn a_lock_that_cannot_be_taken_or_released_is_no_panic() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let mut failed = 0;
    for number in 1.. {
        let point = Point::Named(libc::SYS_flock, number);
        let run = fault_at(fixture.corm(&["tag", "base", "other"]), point, Fault::Fail(libc::ENOLCK));
        if run.hit.is_none() {
            break;
        }
        failed += 1;
        let said = run.out.code == Some(0) || run.out.stderr.contains("locks available");
        assert!(run.out.signal.is_none() && said, "call {number} of flock: {:#?}", run.out);
    }
    assert!(failed >= 4, "{failed} calls of flock failed");
}

#[test]
fn a_pid_file_that_cannot_be_read_is_an_error_and_not_a_container_that_has_ended() {
    need_root!();
    let fixture = Fixture::new();
    fixture.start();
    let id = fixture.corm(&["ps", "-q"]).out().ok();
    let key = Digest::of(fixture.sandbox.path("store").as_os_str().as_encoded_bytes());
    let run = PathBuf::from("/run/corm").join(&key.hex()[..16]);
    let of_it = |name: &std::ffi::OsString| name.to_str().unwrap().starts_with(id.text());
    let name = std::fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).find(of_it).unwrap();
    let pid = run.join(name).join("pid");
    std::fs::rename(&pid, pid.with_extension("kept")).unwrap();
    std::fs::create_dir(&pid).unwrap();
    let out = fixture.corm(&["rm", "-f", "c"]).limit(LIMIT * 3).out();
    assert!(out.took < LIMIT && out.code == Some(1) && out.stderr.contains("pid"), "{out:#?}");
    std::fs::remove_dir(&pid).unwrap();
    std::fs::rename(pid.with_extension("kept"), &pid).unwrap();
    fixture.remove("a pid file that could not be read");
    fixture.is_clean("a pid file that could not be read");
}

#[test]
fn what_the_runtime_cannot_delete_at_the_end_of_a_run_is_found_by_the_next_removal() {
    need_root!();
    let fixture = Fixture::new();
    let mut reached = 0;
    for n in 1..=6 {
        fixture.at_call(n, "exit 1");
        fixture.corm(&["run", "--rm", "--name", "c", "base", "true"]).limit(LIMIT * 2).out();
        reached += u32::from(fixture.sandbox.path("reached").exists());
        fixture.at_call(0, "");
        fixture.corm(&["system", "prune"]).out().ok();
        fixture.remove("a call of the runtime failed");
        fixture.is_clean(&format!("call {n} of the runtime failed"));
    }
    assert!(reached >= 2, "{reached} calls were reached");
}
