//! A call of corm fails once: the verb repeats it, or undoes what it made and names the file.

use super::Fixture;
use test_support::faults::names_nothing;
use test_support::trace::{Call, Fault, Faulted, Point, can_fail, fault_at, list};
use test_support::*;

/// Fails each call `number` of a verb, one in a run, and returns how many there were; `after` looks at each run.
fn fail_each(fixture: &Fixture, number: libc::c_long, errno: i32, args: &[&str], mut after: impl FnMut(&Out)) -> usize {
    for nth in 1.. {
        let run = fault_at(fixture.corm(args), Point::Named(number, nth), Fault::Fail(errno));
        after(&run.out);
        if run.hit.is_none() {
            return nth - 1;
        }
    }
    0
}

#[test]
fn an_open_that_a_signal_interrupts_is_repeated() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let output = fixture.sandbox.mkdir("outputs").join("bundle");
    let output = output.to_str().unwrap();
    for number in [libc::SYS_openat, libc::SYS_openat2] {
        let opens = fail_each(&fixture, number, libc::EINTR, &["bundle", "base", output], |out| {
            assert_eq!(out.code, Some(0), "{out:#?}");
            fixture.corm(&["unbundle", output]).out().ok();
        });
        assert!(opens > 3, "{opens} calls");
    }
}

#[test]
fn a_bundle_that_fails_leaves_nothing_beside_its_place() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let dir = fixture.sandbox.mkdir("outputs");
    let output = dir.join("bundle");
    let mut failed = 0;
    for (number, errno) in
        [(libc::SYS_openat, libc::EMFILE), (libc::SYS_flock, libc::ENOLCK), (libc::SYS_newfstatat, libc::EIO)]
    {
        fail_each(&fixture, number, errno, &["bundle", "base", output.to_str().unwrap()], |out| {
            failed += usize::from(out.code != Some(0));
            // whole, also where its name could not be written to the device
            if output.exists() {
                fixture.corm(&["unbundle", output.to_str().unwrap()]).out().ok();
            }
            let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(names.is_empty(), "{names:?} after {out:#?}");
        });
    }
    assert!(failed > 10, "{failed} failed");
}

#[test]
fn a_repair_does_not_take_what_cannot_be_read_for_damage() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let mut failed = 0;
    for (number, errno) in [
        (libc::SYS_openat, libc::EMFILE),
        (libc::SYS_openat2, libc::EMFILE),
        (libc::SYS_read, libc::EIO),
        (libc::SYS_statx, libc::EACCES),
    ] {
        // also the first ones of a later check, which is of records and blobs
        for nth in (1..40).chain((40..).step_by(29)) {
            let point = Point::Named(number, nth);
            let run = fault_at(fixture.corm(&["fsck", "--repair"]), point, Fault::Fail(errno));
            failed += usize::from(run.out.code != Some(0));
            let out = fixture.corm(&["images", "-q"]).out().ok();
            assert_ne!(out.stdout, "", "{point:?}: {:#?}", run.out);
            if run.hit.is_none() {
                break;
            }
        }
    }
    assert!(failed > 20, "{failed} failed");
    assert_eq!(fixture.corm(&["fsck"]).out().ok().stdout, "");
}

#[test]
fn a_registry_whose_name_cannot_be_resolved_for_want_of_threads_is_an_error() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let pull: &[&str] = &["pull", "--tls-verify=false", "localhost:1/new:1"];
    let mut failed = 0;
    for number in [libc::SYS_clone3, libc::SYS_clone] {
        failed += fail_each(&fixture, number, libc::EAGAIN, pull, |out| {
            assert!(out.code == Some(1) && !out.stderr.contains("panicked"), "{out:#?}");
        });
    }
    assert!(failed > 0, "no thread was made");
}

#[test]
fn a_read_that_fails_names_the_file() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let tar = fixture.sandbox.path("tree.tar");
    let tree = fixture.sandbox.path("tree/rootfs");
    fixture.sandbox.program("tar").arg("-C").arg(tree).arg("-czf").arg(&tar).arg("etc").out().ok();
    let import: &[&str] = &["import", tar.to_str().unwrap(), "new"];
    let config: &[&str] = &["config", "--env", "a=b", "base", "new"];
    for (args, number, errno) in [
        (import, libc::SYS_read, libc::EIO),
        (config, libc::SYS_read, libc::EIO),
        (config, libc::SYS_pread64, libc::EIO),
        (config, libc::SYS_pread64, libc::EINTR),
    ] {
        let mut failed = 0;
        fail_each(&fixture, number, errno, args, |out| {
            failed += usize::from(out.code != Some(0));
            assert!(!names_nothing("corm", &out.stderr), "{out:#?}");
        });
        assert!(failed > 0 || errno == libc::EINTR, "{args:?}");
    }
}

#[test]
fn a_start_whose_supervisor_cannot_prepare_is_an_error() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    fixture.corm(&["create", "--name", "c", "base", "sleep", "1000"]).out().ok();
    let seen = list(fixture.corm(&["start", "c"])).seen;
    fixture.corm(&["stop", "-t", "0", "c"]).out().ok();
    let of_supervisor = |call: &&Call| matches!(call.point, Point::Child(..)) && call.number == libc::SYS_signalfd4;
    let points: Vec<_> = seen.iter().filter(of_supervisor).map(|call| call.point).collect();
    assert!(!points.is_empty(), "the supervisor calls signalfd4");
    let mut failed = 0;
    for point in points {
        let run = fault_at(fixture.corm(&["start", "c"]), point, Fault::Fail(libc::ENOMEM));
        if run.hit == Some(libc::SYS_signalfd4) {
            failed += 1;
            let told = run.out.code == Some(1) && run.out.stderr.contains("signalfd");
            assert!(told, "{point:?}: {:#?}", run.out);
        }
        fixture.corm(&["stop", "-t", "0", "c"]).out();
    }
    assert!(failed > 0, "no call failed");
    fixture.remove("starts that failed");
    fixture.is_clean("starts that failed");
}

#[test]
fn a_start_whose_supervisor_cannot_report_does_not_hang_and_no_container_runs() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    fixture.corm(&["create", "--name", "c", "base", "sleep", "1000"]).out().ok();
    let seen = list(fixture.corm(&["start", "c"])).seen;
    fixture.corm(&["stop", "-t", "0", "c"]).out().ok();
    let child = |call: &Call| if let Point::Child(child, _) = call.point { Some(child) } else { None };
    let supervisor = seen.iter().find(|call| call.number == libc::SYS_signalfd4).and_then(child);
    let is_write = |call: &&Call| child(call) == supervisor && call.number == libc::SYS_write;
    let points: Vec<_> = seen.iter().filter(is_write).map(|call| call.point).collect();
    let mut failed = 0;
    for point in points {
        let run = fault_at(fixture.corm(&["start", "c"]).limit(super::LIMIT * 2), point, Fault::Fail(libc::EIO));
        if run.out.code != Some(0) {
            failed += 1;
            assert!(run.out.code.is_some() && !run.out.stderr.is_empty(), "{point:?}: {:#?}", run.out);
            wait_for("the container does not run", || fixture.corm(&["ps", "-q"]).out().ok().stdout.is_empty());
        }
        fixture.corm(&["stop", "-t", "0", "c"]).out().ok();
    }
    assert!(failed > 0, "no start failed");
    fixture.remove("starts that failed");
    fixture.is_clean("starts that failed");
}

#[test]
fn a_tree_that_cannot_be_unmounted_keeps_its_container_for_the_next_removal() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let run = ["run", "--rm", "--name", "c", "base", "true"];
    let mut failed = 0;
    for nth in 1..20 {
        let Faulted { hit, .. } =
            fault_at(fixture.corm(&run), Point::Named(libc::SYS_umount2, nth), Fault::Fail(libc::EPERM));
        if hit.is_none() {
            break;
        }
        failed += 1;
        fixture.remove("a tree that was not unmounted");
        fixture.corm(&["system", "prune"]).out().ok();
        fixture.is_clean("a tree that was not unmounted");
    }
    assert!(failed > 0, "no unmount failed");
}

/// What a program prints or is given is whole, or a message tells that it is not.
#[test]
fn a_stream_that_cannot_be_read_is_an_error() {
    need_root!();
    if !can_fail() {
        skip!("needs the registers of x86-64");
    }
    let fixture = Fixture::new();
    let run = ["run", "--rm", "-i", "base", "sh", "-c", "read -r line; echo got $line"];
    let mut told = 0;
    for nth in 1.. {
        let corm = fixture.corm(&run).stdin("it\n");
        let Faulted { hit, out, .. } = fault_at(corm, Point::Named(libc::SYS_read, nth), Fault::Fail(libc::EIO));
        if hit.is_none() {
            break;
        }
        told += usize::from(out.stderr.contains("standard "));
        assert!(out.stdout == "got it\n" || !out.stderr.is_empty(), "call {nth}: {out:#?}");
    }
    assert!(told > 0, "no read of a stream failed");
}
