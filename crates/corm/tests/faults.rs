//! corm is killed at points spread over its work: the next command works, no image is incomplete, `fsck` finds nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::time::Instant;
use test_support::trace::{Fault, Faulted, Point, can_fail, fault_at};
use test_support::*;

/// Returns the number of points at which each verb is killed: `$KILLS`, else 25. The requirement is 200.
fn points() -> u32 {
    std::env::var("KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// A store with an image `base`, and a layout of it to load again.
struct CormFixture {
    sandbox: Arc<Sandbox>,
}

impl CormFixture {
    fn new() -> CormFixture {
        let sandbox = Sandbox::new();
        let root = bundle::make_rootfs(&sandbox.mkdir("tree"));
        // many files, so that the kill interrupts the writing of them
        for n in 0..300 {
            std::fs::create_dir_all(root.join(format!("data/{}", n % 17))).unwrap();
            std::fs::write(root.join(format!("data/{}/{n}", n % 17)), vec![b'x'; 3000 * (n % 7)]).unwrap();
        }
        let fixture = CormFixture { sandbox };
        fixture.corm(&["init", root.to_str().unwrap(), "base"]).out().ok();
        fixture
    }

    fn corm(&self, args: &[&str]) -> Cmd {
        let corm = self.sandbox.program(test_support::corm()).arg("--root").arg(self.sandbox.path("store"));
        let croci = runtime();
        corm.args(["--driver", "overlay", "--log-level", "error", "--runtime"]).arg(croci).args(args)
    }

    fn ids(&self, args: &[&str]) -> Vec<String> {
        self.corm(args).out().ok().stdout.split_whitespace().map(str::to_owned).collect()
    }

    /// Checks the store after a kill: every image and container that it lists is complete.
    #[track_caller]
    fn is_sound(&self, point: &str) {
        let out = self.corm(&["fsck"]).out();
        assert!(out.code == Some(0) && out.stdout.is_empty(), "fsck after {point}: {out:#?}");
        for image in self.ids(&["images", "-q"]) {
            let bundle = self.sandbox.path("whole");
            let bundle = bundle.to_str().unwrap();
            let out = self.corm(&["bundle", &image, bundle]).out();
            assert_eq!(out.code, Some(0), "image {image} after {point}: {out:#?}");
            self.corm(&["unbundle", bundle]).out().ok();
        }
    }

    /// Kills the command that `make` returns at points from its beginning to its end, and calls `after` after each
    /// kill.
    #[track_caller]
    fn sweep(&self, what: &str, make: impl Fn() -> Cmd, prepare: impl Fn(), after: impl Fn(&str)) {
        prepare();
        let started = Instant::now();
        make().out().ok();
        let whole = started.elapsed();
        after(what);
        for n in 0..points() {
            prepare();
            let delay = whole * n / points();
            let run = make().spawn();
            let end = Instant::now() + delay;
            // the delay is the fault itself
            while Instant::now() < end && host::alive(run.pid()) {
                std::hint::spin_loop();
            }
            run.signal(libc::SIGKILL);
            drop(run.wait());
            let point = format!("{what}, killed after {delay:?} of {whole:?}");
            self.is_sound(&point);
            after(&point);
        }
    }
}

impl Drop for CormFixture {
    fn drop(&mut self) {
        for id in self.ids(&["ps", "-aq"]) {
            self.corm(&["rm", "-f", &id]).out();
        }
    }
}

#[test]
fn killed_pulls_leave_the_store_sound() {
    need_root!();
    let fixture = CormFixture::new();
    let (server, address) = registry::start(&fixture.sandbox, &fixture.sandbox.mkdir("registry"));
    let name = format!("{address}/base:1");
    fixture.corm(&["push", "--tls-verify=false", "base", &name]).out().ok();
    let remove = || {
        let all = fixture.ids(&["images", "-q"]);
        let all: Vec<&str> = ["rmi", "-f"].into_iter().chain(all.iter().map(String::as_str)).collect();
        fixture.corm(&all).out();
        fixture.corm(&["system", "prune", "-a"]).out().ok();
    };
    let pull = || fixture.corm(&["pull", "--tls-verify=false", &name]);
    fixture.sweep("pull", pull, remove, |point| {
        let out = pull().out();
        assert_eq!(out.code, Some(0), "pull again after {point}: {out:#?}");
        fixture.corm(&["run", "--rm", &name, "test", "-d", "/data/3"]).out().ok();
    });
    server.signal(libc::SIGKILL);
    server.wait();
}

#[test]
fn killed_commits_leave_the_old_image_or_the_new_one() {
    need_root!();
    let fixture = CormFixture::new();
    fixture.corm(&["run", "-d", "--name", "c", "base", "sh", "-c", "echo new >/new; sleep 1000"]).out().ok();
    wait_for("the change", || fixture.corm(&["diff", "c"]).out().ok().stdout.contains("A /new"));
    fixture.corm(&["tag", "base", "made"]).out().ok();
    let commit = || fixture.corm(&["commit", "c", "made"]);
    fixture.sweep(
        "commit",
        commit,
        || {},
        |point| {
            // the container is not left frozen, whichever step the kill interrupted
            wait_for("the container runs on", || {
                let out = fixture.corm(&["ps", "--format", "json"]).out().ok();
                out.stdout.to_lowercase().contains("running")
            });
            let out = fixture.corm(&["run", "--rm", "made", "ls", "/"]).out();
            assert_eq!(out.code, Some(0), "the image after {point}: {out:#?}");
        },
    );
    fixture.corm(&["rm", "-f", "c"]).out().ok();
}

#[test]
fn killed_removals_can_be_done_again() {
    need_root!();
    let fixture = CormFixture::new();
    let create = || {
        fixture.corm(&["rm", "-f", "c"]).out();
        fixture.corm(&["run", "-d", "--name", "c", "base", "sleep", "1000"]).out().ok();
    };
    let remove = || fixture.corm(&["rm", "-f", "c"]);
    fixture.sweep("rm", remove, create, |point| {
        let out = fixture.corm(&["rm", "-f", "c"]).out();
        let gone = out.code == Some(0) || out.stderr.contains("No container named 'c' exists");
        assert!(gone, "rm again after {point}: {out:#?}");
        assert!(fixture.ids(&["ps", "-aq"]).is_empty(), "after {point}");
        assert!(host::mounts_below(&fixture.sandbox.dir).is_empty(), "after {point}");
    });
}

#[test]
fn fsck_finds_no_damage_in_what_a_container_has_committed() {
    need_root!();
    let fixture = CormFixture::new();
    let changes = "rm -r /data/1; mkdir /data/1; echo n >/data/1/new; mkfifo /fifo; ln /data/2/2 /data/3/link; \
                   chmod 700 /data/4; mv /data/5 /moved; rm /data/6/6; ln -s nowhere /link; mkdir -p /a/b; echo q >/a/b/c";
    fixture.corm(&["run", "--name", "c", "base", "sh", "-c", changes]).out().ok();
    fixture.corm(&["commit", "c", "made"]).out().ok();
    fixture.is_sound("a commit");
    // without their marks, as a killed commit leaves them, they are compared and kept
    let mut marks = 0;
    for layer in std::fs::read_dir(fixture.sandbox.path("store/layers")).unwrap() {
        marks += u32::from(std::fs::remove_file(layer.unwrap().path().join("durable")).is_ok());
    }
    assert_eq!(marks, 2, "layers with a mark");
    let out = fixture.corm(&["run", "--rm", "made", "cat", "/a/b/c"]).out().ok();
    assert_eq!(out.stdout, "q\n");
    fixture.corm(&["rm", "c"]).out().ok();
}

/// The kernel refuses a thread or process, or the wait for what another program prints fails: the verb does its work with
/// fewer, or its message says why not; it never panics.
#[test]
fn a_thread_that_cannot_be_started_is_no_panic() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = CormFixture::new();
    let (registry, address) = registry::start(&fixture.sandbox, &fixture.sandbox.mkdir("registry"));
    let name = format!("{address}/base:1");
    fixture.corm(&["push", "--tls-verify=false", "base", &name]).out().ok();
    let context = fixture.sandbox.mkdir("context");
    std::fs::write(context.join("Containerfile"), "FROM base\nRUN echo some words\nFROM base\nRUN true\n").unwrap();
    let layout = fixture.sandbox.path("layout.tar");
    let archive = format!("oci-archive:{}:base", layout.display());
    let context = context.to_str().unwrap().to_owned();
    let pushed = format!("{address}/other:1");
    let verbs: [&[&str]; 5] = [
        &["push", "--tls-verify=false", "base", &pushed],
        &["pull", "--tls-verify=false", &name],
        &["copy", "store:base", &archive],
        &["build", "--no-cache", "-t", "built", &context],
        &["info"],
    ];
    let mut failed = 0;
    for verb in verbs {
        let calls =
            [(libc::SYS_clone3, libc::EAGAIN, 12), (libc::SYS_poll, libc::ENOMEM, 12), (libc::SYS_read, libc::EIO, 40)];
        for (number, errno, most) in calls {
            for nth in 1..=most {
                let Faulted { hit, out, .. } =
                    fault_at(fixture.corm(verb), Point::Named(number, nth), Fault::Fail(errno));
                if hit.is_none() {
                    break;
                }
                failed += 1;
                let out = out.no_panic();
                assert!(out.code == Some(0) || !out.stderr.is_empty(), "call {nth} of {number}: {out:#?}");
                fixture.corm(&["rmi", &name]).out();
                let _ = std::fs::remove_file(&layout);
            }
        }
    }
    assert!(failed > 30, "{failed} calls failed");
    registry.signal(libc::SIGKILL);
    fixture.corm(&["system", "prune"]).out().ok();
    fixture.is_sound("calls that failed");
}

/// The configuration of a container depends on the host's cgroups, so a failure to look at them is no answer.
#[test]
fn cgroups_that_cannot_be_looked_at_are_an_error() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = CormFixture::new();
    let tree = fixture.sandbox.path("tree/rootfs");
    let bundle = fixture.sandbox.path("bundle");
    for verb in [&["info"][..], &["bundle", tree.to_str().unwrap(), bundle.to_str().unwrap()]] {
        let Faulted { hit, out, .. } =
            fault_at(fixture.corm(verb), Point::Named(libc::SYS_statfs, 0), Fault::Fail(libc::EIO));
        assert_eq!(hit, Some(libc::SYS_statfs), "{out:#?}");
        assert!(out.code == Some(1) && out.stderr.contains("/sys/fs/cgroup"), "{out:#?}");
    }
}
