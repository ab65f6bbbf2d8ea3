//! Files and directories that corm writes at paths of its caller where others may write, too: corm does not follow
//! symlinks that they plant there, or exchange while it writes.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use crate::fixture::{CormFixture, over_one};
use test_support::container::Untouched;
use test_support::need_root;
use test_support::{Out, host};

/// Creates a directory that all users may write to.
fn open_dir(fixture: &CormFixture, name: &str) -> PathBuf {
    let dir = fixture.sandbox.mkdir(name);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// Creates a directory that only root can write to, with a file in it.
fn private_dir(fixture: &CormFixture) -> PathBuf {
    let dir = fixture.sandbox.mkdir("private");
    fs::write(dir.join("marker"), "host-marker\n").unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

/// Returns the commands that write a file for the user.
fn outputs(fixture: &CormFixture) -> Vec<Vec<&'static str>> {
    fixture.image("base");
    vec![
        vec!["export", "base", "-o"],
        vec!["save", "base", "-o"],
        vec!["save", "base", "--format", "docker-archive", "-o"],
    ]
}

#[test]
fn class_8_an_output_follows_no_symlink_that_others_can_have_planted() {
    need_root!();
    over_one(|fixture| {
        let (open, private) = (open_dir(fixture, "open"), private_dir(fixture));
        let fifo = private.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = fs::File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
        let before = Untouched::watch(&private);
        symlink(&fifo, open.join("fifo")).unwrap();
        symlink(private.join("marker"), open.join("file")).unwrap();
        symlink(private.join("new"), open.join("dangling")).unwrap();
        symlink(&private, open.join("dir")).unwrap();
        for output in outputs(fixture) {
            for name in ["fifo", "file", "dangling", "dir/new", "dir/marker"] {
                let out = fixture.corm(&output).arg(open.join(name)).limit(Duration::from_secs(20)).out();
                out.fails().stderr_contains("symlink in a directory that others may write to");
                before.check();
                assert!(reader.read(&mut [0; 16]).is_err(), "{output:?} {name}: the fifo was written to");
            }
        }
        let bundle = fixture.corm(["bundle", "base"]).arg(open.join("dir/bundle")).out();
        bundle.fails().stderr_contains("symlink in a directory that others may write to");
        before.check();
    });
}

#[test]
fn class_8_an_output_waits_for_no_fifo_of_another_user() {
    need_root!();
    over_one(|fixture| {
        let open = open_dir(fixture, "open");
        let fifo = open.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::chown(&fifo, Some(1000), Some(1000)).unwrap();
        for output in outputs(fixture) {
            let out = fixture.corm(&output).arg(&fifo).limit(Duration::from_secs(20)).out();
            assert!(out.fails().stderr.contains("fifo"));
        }
    });
}

#[test]
fn an_output_follows_links_of_the_caller_and_is_written_to_descriptors() {
    need_root!();
    over_one(|fixture| {
        let private = private_dir(fixture);
        let is_tar = |path: &Path| fs::read(path).unwrap().get(257..262) == Some(b"ustar");
        for output in outputs(fixture) {
            symlink("target", private.join("link")).unwrap();
            fixture.corm(&output).arg(private.join("link")).out().ok();
            assert!(private.join("link").symlink_metadata().unwrap().is_symlink() && is_tar(&private.join("target")));
            for name in ["link", "target"] {
                fs::remove_file(private.join(name)).unwrap();
            }
            assert_eq!(host::snapshot(&private).len(), 2, "{output:?}: something beside it");
        }
        let out = fixture.corm(["export", "base", "-o", "/proc/self/fd/1"]).out().ok();
        assert!(out.stdout.contains("ustar"));
    });
}

/// Exchanges each hidden directory that appears in `dir` with a symlink to `target` until it is stopped.
fn exchange(dir: &Path, target: &Path, end: &AtomicBool, exchanged: &AtomicU32) {
    let mut number = 0;
    while !end.load(Ordering::Relaxed) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let name = entry.file_name();
            let hidden = name.as_encoded_bytes().starts_with(b".") && !name.to_string_lossy().contains("taken");
            if !hidden || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            number += 1;
            if fs::rename(entry.path(), dir.join(format!(".taken-{number}"))).is_ok() {
                let _ = symlink(target, entry.path());
                exchanged.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn class_7_a_directory_that_is_exchanged_while_it_is_filled_leads_nowhere() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (open, private) = (open_dir(fixture, "open"), private_dir(fixture));
        let before = Untouched::watch(&private);
        let mode = || private.metadata().unwrap().permissions().mode() & 0o7777;
        let dir = fixture.sandbox.path("busybox/rootfs");
        let (end, exchanged) = (AtomicBool::new(false), AtomicU32::new(0));
        let run = |number: u32| -> Vec<Out> {
            let to = |name: &str| open.join(format!("{name}-{number}"));
            vec![
                fixture.corm(["bundle"]).arg(&dir).arg(to("copy")).out(),
                fixture.corm(["bundle", "base"]).arg(to("bundle")).out(),
                fixture.corm(["save", "base", "--format", "oci-dir", "-o"]).arg(to("layout")).out(),
            ]
        };
        std::thread::scope(|scope| {
            scope.spawn(|| exchange(&open, &private, &end, &exchanged));
            let end_it = EndOnDrop(&end);
            for number in 0..10 {
                run(number);
                before.check();
                assert_eq!(mode(), 0o700);
            }
            drop(end_it);
        });
        assert!(exchanged.load(Ordering::Relaxed) >= 10, "the attacker exchanged too little: {exchanged:?}");
    });
}

/// A guard that ends the attacker also when a check fails, because the scope waits for its thread.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
