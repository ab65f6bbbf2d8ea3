//! A `create` that fails leaves the root file system as it was.

use test_support::trace::{Fault, Faulted, Point, fault_at, list};
use test_support::*;

/// Returns a container with a mount point and a working directory that its root file system does not have.
fn with_volume() -> Container {
    let c = Container::new(&["sleep", "1000"]);
    let source = c.sandbox.mkdir("volume");
    c.edit(|config| {
        bundle::add_mount(config, bundle::bind(&source, "/new/deep/volume", &[]));
        config["process"]["cwd"] = json!("/work/deep");
    })
}

/// Checks that no mount point is left after `create` has failed.
#[track_caller]
fn fails_and_leaves_nothing(c: &Container, flags: &[&str]) {
    let before = host::snapshot(&c.rootfs);
    c.create_with(flags).out().fails().one_line();
    c.nothing_left();
    assert_eq!(host::snapshot(&c.rootfs), before, "{flags:?}");
}

#[test]
fn op_3_a_create_that_fails_late_removes_its_mount_points() {
    need_croci!("other runtimes leave mount points");
    fails_and_leaves_nothing(&with_volume(), &["--pid-file", "/no/such/directory/pid"]);
    fails_and_leaves_nothing(&with_volume(), &["--pidfd-socket", "/no/such/socket"]);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let c = with_volume().edit(|config| config["hooks"] = json!({ kind: [{ "path": "/bin/false" }] }));
        fails_and_leaves_nothing(&c, &[]);
    }
    let c = with_volume().edit(|config| config["linux"]["sysctl"] = json!({ "net.ipv4.none_such": "1" }));
    fails_and_leaves_nothing(&c, &[]);
    let c = with_volume().edit(|config| config["process"]["args"] = json!(["/no/such/program"]));
    fails_and_leaves_nothing(&c, &[]);
}

/// Init cannot remove them itself when it was killed, or has given up its rights.
#[test]
fn op_3_no_mount_point_is_left_by_an_init_that_was_killed() {
    need_faults!();
    let c = with_volume();
    let before = host::snapshot(&c.rootfs);
    let calls: Vec<_> =
        list(c.create_with(&[])).seen.into_iter().filter(|call| call.number == libc::SYS_prctl).collect();
    c.delete_force().ok();
    std::fs::remove_dir_all(c.file("/new")).unwrap();
    std::fs::remove_dir_all(c.file("/work")).unwrap();
    let of_init: Vec<_> = calls.iter().filter(|call| matches!(call.point, Point::Child(1, _))).collect();
    for fault in [Fault::Kill, Fault::Fail(libc::EPERM)] {
        let Faulted { hit, out, .. } = fault_at(c.create_with(&[]), of_init[of_init.len() - 1].point, fault);
        assert_eq!(hit, Some(libc::SYS_prctl), "{fault:?}: {out:?}");
        out.fails().one_line();
        c.nothing_left();
        assert_eq!(host::snapshot(&c.rootfs), before, "{fault:?}");
    }
}

/// The runtime is killed while init works: `delete --force` finds the mount points in the journal.
#[test]
fn op_3_no_mount_point_is_left_by_a_runtime_that_was_killed() {
    need_faults!();
    let c = with_volume();
    let before = host::snapshot(&c.rootfs);
    let mut kills = 0;
    for nth in 1..6 {
        let Faulted { hit, .. } = fault_at(c.create_with(&[]), Point::Named(libc::SYS_recvmsg, nth), Fault::Kill);
        kills += usize::from(hit.is_some());
        c.delete_force().ok();
        c.nothing_left();
        if hit.is_some() {
            assert_eq!(host::snapshot(&c.rootfs), before, "message {nth}");
        }
    }
    assert!(kills > 2, "{kills} kills");
}

/// What was there before stays, and so does what another process has put there.
#[test]
fn op_3_a_failed_create_removes_only_what_it_made() {
    need_croci!("other runtimes leave mount points");
    let c = with_volume();
    std::fs::create_dir(c.file("/new")).unwrap();
    let file = c.file("/new/deep/volume/file");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\ntouch {}\nexit 1\n", file.display()));
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] }));
    c.create().fails().one_line();
    c.nothing_left();
    assert!(file.exists(), "the hook ran, and its file stays");
    std::fs::remove_dir_all(c.file("/new/deep")).unwrap();
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] }));
    c.create().fails().one_line();
    assert!(c.file("/new").exists() && !c.file("/new/deep").exists());
}
