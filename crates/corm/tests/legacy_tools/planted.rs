//! Files that other users plant where corm reads, removes or keeps its store, and their use of a container's streams:
//! corm neither follows them nor waits for them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::container::Untouched;
use test_support::need_root;
use test_support::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

fn dir_with_mode(fixture: &CormFixture, name: &str, mode: u32) -> PathBuf {
    let dir = fixture.sandbox.mkdir(name);
    fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
    dir
}

/// Creates a directory that only root can write to, with files in it that look like a bundle.
fn private_bundle(fixture: &CormFixture) -> PathBuf {
    let private = dir_with_mode(fixture, "private", 0o700);
    fs::create_dir_all(private.join("made/rootfs/etc")).unwrap();
    fs::write(private.join("made/config.json"), "{}").unwrap();
    fs::write(private.join("made/rootfs/etc/kept"), "the host's").unwrap();
    private
}

#[test]
fn class_8_a_bundle_is_removed_through_no_symlink_of_others() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (open, private) = (dir_with_mode(fixture, "open", 0o777), private_bundle(fixture));
        let dir = fixture.sandbox.path("busybox/rootfs");
        let before = Untouched::watch(&private);
        for (name, from) in [("of-image", Path::new("base")), ("of-directory", &dir)] {
            let sub = open.join(name);
            fs::create_dir(&sub).unwrap();
            chown(&sub, Some(1000), Some(1000)).unwrap();
            let bundle = sub.join("made");
            fixture.corm(["bundle"]).arg(from).arg(&bundle).out().ok();
            // the owner of the directory above replaces it by a symlink
            let moved = open.join(format!("{name}-moved"));
            fs::rename(&sub, &moved).unwrap();
            symlink(&private, &sub).unwrap();
            let out = fixture.corm(["unbundle"]).arg(&bundle).limit(LIMIT).out();
            before.check();
            out.fails().stderr_contains("symlink in a directory that others may write to");
            // or replaces only the bundle itself
            fs::remove_file(&sub).unwrap();
            fs::rename(&moved, &sub).unwrap();
            fs::rename(&bundle, sub.join("real")).unwrap();
            symlink(private.join("made"), &bundle).unwrap();
            fixture.corm(["unbundle"]).arg(&bundle).limit(LIMIT).out().fails();
            before.check();
            fs::remove_file(&bundle).unwrap();
            // or moves another directory of root's there
            let other = sub.join("other");
            fs::create_dir(&other).unwrap();
            fs::write(other.join("kept"), "").unwrap();
            fs::rename(&other, &bundle).unwrap();
            fixture.corm(["unbundle"]).arg(&bundle).limit(LIMIT).out().fails().stderr_contains("is no bundle");
            assert!(bundle.join("kept").exists());
            fs::remove_dir_all(&bundle).unwrap();
            fs::rename(sub.join("real"), &bundle).unwrap();
            fixture.corm(["unbundle"]).arg(&bundle).out().ok();
            assert!(bundle.symlink_metadata().is_err());
        }
        fixture.no_container_left();
    });
}

#[test]
fn class_8_an_input_is_read_through_no_symlink_of_others() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (open, private) = (dir_with_mode(fixture, "open", 0o1777), private_bundle(fixture));
        let tar = private.join("tar");
        fixture.corm(["export", "base", "-o"]).arg(&tar).out().ok();
        let layout = private.join("layout");
        fixture.corm(["save", "base", "--format", "oci-dir", "-o"]).arg(&layout).out().ok();
        for (target, link) in [(&private, "private"), (&tar, "tar"), (&layout, "layout")] {
            symlink(target, open.join(link)).unwrap();
        }
        let planted = |path: &str| open.join(path);
        let bundle = fixture.sandbox.path("bundle");
        let calls = |dir: &Path, tar: &Path, layout: &Path| {
            vec![
                fixture.corm(["init"]).arg(dir).arg("x"),
                fixture.corm(["bundle"]).arg(dir).arg(&bundle),
                fixture.corm(["import"]).arg(tar).arg("x"),
                fixture.corm(["load"]).arg(layout).args(["--name", "x"]),
            ]
        };
        for (dir, tar, layout) in [("private", "tar", "layout"), ("private/made", "private/tar", "private/layout")] {
            for call in calls(&planted(dir), &planted(tar), &planted(layout)) {
                call.limit(LIMIT).out().fails().stderr_contains("symlink in a directory that others may write to");
                assert!(bundle.symlink_metadata().is_err());
            }
        }
        // accepted: a path without such symlinks, and one through a symlink that only root can have created
        symlink(&private, fixture.sandbox.path("mine")).unwrap();
        let mine = fixture.sandbox.path("mine");
        for from in [&private, &mine] {
            for call in calls(&from.join("made"), &from.join("tar"), &from.join("layout")) {
                call.limit(LIMIT).out().ok();
            }
            fixture.corm(["unbundle"]).arg(&bundle).out().ok();
        }
        fixture.corm(["load", "."]).cwd(&layout).args(["--name", "x"]).out().ok();
        fixture.corm(["init", ".", "x"]).cwd(private.join("made")).out().ok();
    });
}

#[test]
fn class_8_an_input_waits_for_no_fifo_of_another_user() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let open = dir_with_mode(fixture, "open", 0o777);
        let fifo = open.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        chown(&fifo, Some(1000), Some(1000)).unwrap();
        for verb in ["import", "load"] {
            let out = fixture.corm([verb]).arg(&fifo).limit(LIMIT).out();
            out.fails().stderr_contains("another user's, in a directory that others may write to");
        }
        // accepted: a fifo of the caller's own
        let tar = fixture.sandbox.path("tar");
        fixture.corm(["export", "base", "-o"]).arg(&tar).out().ok();
        let mine = fixture.sandbox.path("mine");
        nix::unistd::mkfifo(&mine, nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| fs::write(&mine, fs::read(&tar).unwrap()).unwrap());
            fixture.corm(["import"]).arg(&mine).arg("handed").limit(LIMIT).out().ok();
        });
        let input = fs::File::open(&tar).unwrap();
        fixture.corm(["import", "/dev/stdin", "handed"]).stdin_from(input).limit(LIMIT).out().ok();
    });
}

#[test]
fn class_8_no_store_where_others_can_exchange_it() {
    need_root!();
    over_one(|fixture| {
        let private = private_bundle(fixture);
        let before = Untouched::watch(&private);
        let open = dir_with_mode(fixture, "open", 0o777);
        symlink(private.join("made"), open.join("planted")).unwrap();
        let sticky = dir_with_mode(fixture, "sticky", 0o1777);
        symlink(private.join("made"), sticky.join("planted")).unwrap();
        nix::unistd::fchownat(
            nix::fcntl::AT_FDCWD,
            &sticky.join("planted"),
            Some(1000.into()),
            Some(1000.into()),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )
        .unwrap();
        let theirs = dir_with_mode(fixture, "theirs", 0o755);
        fs::create_dir(theirs.join("deep")).unwrap();
        chown(&theirs, Some(1000), Some(1000)).unwrap();
        symlink(theirs.join("deep"), fixture.sandbox.path("into-theirs")).unwrap();
        let into = fixture.sandbox.path("into-theirs/store");
        for root in [
            open.join("planted"),
            open.join("planted/new"),
            open.join("store"),
            sticky.join("planted"),
            theirs.join("store"),
            theirs.join("deep/store"),
            into,
        ] {
            let out = fixture.corm(["--root"]).arg(&root).arg("images").out().fails().one_line();
            assert!(out.stderr.contains("store") && out.stderr.contains("others"), "{root:?}: {out:?}");
            before.check();
            assert!(!root.join("store.json").exists() && !root.join("blobs").exists(), "{root:?}");
        }
        // accepted: a directory of root's below one with the sticky bit, because others cannot exchange it
        fixture.corm(["--root"]).arg(sticky.join("store")).arg("images").out().ok();
    });
}

#[test]
fn a_container_ends_although_others_go_on_writing_to_its_output() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for tty in [false, true] {
            let flags: &[&str] = if tty { &["--name", "c", "-t"] } else { &["--name", "c"] };
            fixture.detached(flags, "base", &["sleep", "1000"]);
            // as a container can that received the descriptor by a socket in a volume of both
            let path = format!("/proc/{}/fd/1", fixture.pid("c"));
            let given = fs::File::options().write(true).open(&path).unwrap();
            let (end, written) = (AtomicBool::new(false), AtomicU64::new(0));
            std::thread::scope(|scope| {
                // several writers, with lines that are longer in the log, are faster than the log is written
                for _ in 0..4 {
                    scope.spawn(|| {
                        while !end.load(Ordering::Relaxed) {
                            match (&given).write(&[b'\n'; 65536]) {
                                Ok(count) => drop(written.fetch_add(count as u64, Ordering::Relaxed)),
                                Err(_) => break,
                            }
                        }
                    });
                }
                wait_for("the writer", || written.load(Ordering::Relaxed) > 1 << 20);
                let mut removal = fixture.corm(["rm", "-f", "c"]).spawn();
                let ended = (0..200).any(|_| {
                    std::thread::sleep(Duration::from_millis(100));
                    removal.ended()
                });
                end.store(true, Ordering::Relaxed);
                removal.wait().ok();
                assert!(ended, "tty {tty}: the end of the container was not noticed while others wrote");
            });
        }
        fixture.no_container_left();
    });
}

#[test]
fn files_of_users_are_not_what_the_kernel_shows() {
    need_root!();
    over_one(|fixture| {
        let dir = fixture.busybox_dir("linked");
        fs::create_dir_all(dir.join("etc")).unwrap();
        for name in ["passwd", "group"] {
            let _ = fs::remove_file(dir.join("etc").join(name));
            symlink("/proc/kmsg", dir.join("etc").join(name)).unwrap();
        }
        fixture.corm(["init"]).arg(&dir).arg("linked").out().ok();
        fixture.detached(&["--name", "up"], "linked", &["sleep", "1000"]);
        // reading it would take the messages from the machine's own reader
        let status = ["cat", "/proc/self/status"];
        for user in ["somebody", "5:somebody"] {
            let out = fixture.corm(["exec", "-u", user, "up"]).args(status).limit(LIMIT).out();
            out.exits(125).stderr_contains("is a file that the kernel makes");
        }
        fixture.corm(["exec", "-u", "5", "up"]).args(status).limit(LIMIT).out().ok();
        fixture.corm(["rm", "-f", "up"]).out().ok();
        fixture.no_container_left();
    });
}

/// Creates nested directories in the root of a container, as one of its programs can.
fn create_nested_directories(fixture: &CormFixture, container: &str, depth: usize) {
    let root = fs::File::open(format!("/proc/{}/root", fixture.pid(container))).unwrap();
    let (mut dir, name) = (std::os::fd::OwnedFd::from(root), "d".repeat(200));
    let flags = nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    for _ in 0..depth {
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o755);
        nix::sys::stat::mkdirat(&dir, name.as_str(), mode).unwrap();
        dir = nix::fcntl::openat(&dir, name.as_str(), flags, mode).unwrap();
    }
}

#[test]
fn directories_without_end_of_a_container_cost_no_other_container_anything() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "deep"], "base", &["sleep", "1000"]);
        fixture.detached(&["--name", "other"], "base", &["sh", "-c", "echo > /changed; sleep 1000"]);
        create_nested_directories(fixture, "deep", 3000);
        for files in [1024, 20_000] {
            let limited = |args: &[&str]| {
                let memory = 400 << 20;
                fixture
                    .corm(args)
                    .rlimit(libc::RLIMIT_NOFILE, files)
                    .rlimit(libc::RLIMIT_AS, memory)
                    .limit(LIMIT)
                    .out()
                    .no_panic()
            };
            for verb in [&["diff", "deep"][..], &["commit", "deep", "x"], &["export", "deep", "-o", "/dev/null"]] {
                let out = limited(verb).fails().one_line().stderr_contains("directories inside of each other");
                assert!(out.stderr.len() < 8192, "a message of {} bytes", out.stderr.len());
            }
            for verb in [&["system", "df"][..], &["diff", "other"], &["ps", "-a"], &["fsck"], &["system", "prune"]] {
                limited(verb).ok();
            }
        }
        fixture.corm(["rm", "-f", "deep", "other"]).rlimit(libc::RLIMIT_NOFILE, 256).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn saved_files_have_the_mode_that_the_umask_allows() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        for (umask, file, dir) in [(0o077, 0o600, 0o700), (0o027, 0o640, 0o750), (0o022, 0o644, 0o755)] {
            for (number, output) in
                [&["export", "base"][..], &["save", "base"], &["save", "base", "--format", "oci-dir"]]
                    .into_iter()
                    .enumerate()
            {
                let path = fixture.sandbox.path(&format!("output-{number}-{umask}"));
                let masked = fixture.corm(output).arg("-o").arg(&path).before_exec(move || {
                    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
                    Ok(())
                });
                masked.out().ok();
                assert_eq!(mode(&path), if path.is_dir() { dir } else { file }, "{output:?} umask {umask:o}");
            }
        }
    });
}

#[test]
fn class_8_a_volume_stays_what_it_was_when_the_container_was_created() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (theirs, private) = (dir_with_mode(fixture, "theirs", 0o755), private_bundle(fixture));
        let before = Untouched::watch(&private);
        let data = theirs.join("data");
        fs::create_dir(&data).unwrap();
        for dir in [&theirs, &data] {
            chown(dir, Some(1000), Some(1000)).unwrap();
        }
        let volume = format!("{}:/v", data.display());
        let script = "ls /v; echo > /v/written";
        fixture.run(&["--name", "c", "-v", &volume], "base", &["sh", "-c", script]).out().ok();
        assert!(data.join("written").exists());
        // changes that the owner can make while the container is stopped
        fs::rename(&data, theirs.join("moved")).unwrap();
        symlink(&private, &data).unwrap();
        fixture.corm(["start", "c"]).out().fails().one_line().stderr_contains("a symlink");
        before.check();
        fixture.corm(["commit", "--include-volumes", "c", "x"]).out().fails().one_line().stderr_contains("a symlink");
        fs::remove_file(&data).unwrap();
        fs::rename(theirs.join("moved"), &data).unwrap();
        fixture.corm(["commit", "--include-volumes", "c", "x"]).out().ok();
        fixture.corm(["start", "c"]).out().ok();
        fixture.corm(["wait", "c"]).out();
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}
