//! Each verb of corm with a fault at a system call, of corm or of a process or thread that it makes: killed, or the call
//! failed. Then the verb has done its work or its message tells what failed, and `rm -f`, `prune` and `fsck --repair` leave
//! the host and the store as they were before.
//!
//! `SWEEP=all` takes every call of every verb (`make faults-full`) instead of a sample, `SWEEP_POINTS=100` so many of each;
//! `SWEEP_VERB=commit` one verb. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cases;
mod scene;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cases::{CASES, Case};
use scene::Scene;
use test_support::faults::{self, FaultPoint, Wrong, names_nothing};
use test_support::trace::{Fault, Faulted, Point, can_fail, fault_at};
use test_support::*;

/// Points of each verb in a sample.
const POINTS: usize = 4;
/// Longest time for a verb that cleans up, and for one with a fault beyond its time under the tracer; longer is a hang.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs the verb with a fault, or without one.
fn run(scene: &Scene, case: &Case, point: Point, fault: Fault) -> Faulted {
    (case.prepare)(scene);
    fault_at((case.command)(scene).limit(LIMIT * 6), point, fault)
}

/// Removes what a verb has made, by the verbs that are for it; returns what is wrong then.
fn clean_up(scene: &Scene) -> Vec<(Wrong, String)> {
    let mut wrong = Vec::new();
    let mut verb = |args: &[&str], may_fail: &str| {
        let out = scene.corm(args).limit(LIMIT * 2).spawn().wait_or_kill();
        if out.took > LIMIT {
            wrong.push((Wrong::Hang, format!("{args:?} takes {:?}", out.took)));
        } else if out.code != Some(0) && (may_fail.is_empty() || !out.stderr.contains(may_fail)) {
            wrong.push((Wrong::Other, format!("{args:?} fails: {out:?}")));
        }
        out.stdout
    };
    // complete ones are no leftovers; those that are not have other names
    if scene.output("bundle") {
        verb(&["unbundle", &scene.path("outputs/bundle")], "");
    }
    for name in ["base.tar", "tree.tar"] {
        let _ = std::fs::remove_file(scene.path(&format!("outputs/{name}")));
    }
    verb(&["rm", "-f", "c"], "No container named");
    verb(&["fsck", "--repair"], "");
    for name in ["new", &format!("{}/new:1", scene.address)] {
        verb(&["rmi", name], "No image named");
    }
    verb(&["system", "prune"], "");
    let found = verb(&["fsck"], "");
    if !found.is_empty() {
        wrong.push((Wrong::Other, format!("fsck after the repair: {found}")));
    }
    let left = scene.left();
    if !left.is_empty() {
        wrong.push((Wrong::Left, format!("{left:?}")));
        scene.restore();
    }
    wrong
}

/// Runs the verb without a fault, and returns its time and its points: a call and its fault.
fn points(scene: &Scene, case: &Case) -> (Duration, Vec<FaultPoint>) {
    let Faulted { seen, out, .. } = run(scene, case, Point::Child(usize::MAX, 0), Fault::Kill);
    assert_eq!(out.code, Some(case.code), "{}: works under a tracer: {out:#?}", case.name);
    assert!((case.done)(scene, &out), "{}: its work is seen: {out:#?}", case.name);
    assert_eq!(clean_up(scene), [], "{}", case.name);
    (out.took, faults::points(&seen, POINTS))
}

/// Runs the verb with one fault, and returns what was wrong; `whole` is its time without.
fn try_once(scene: &Scene, case: &Case, whole: Duration, (call, fault): FaultPoint) -> Vec<(Wrong, String)> {
    let point = call.point;
    let Faulted { hit, out, .. } = run(scene, case, point, fault);
    if fault != Fault::Kill && hit != Some(call.number) {
        // threads made other calls than at first, and this one does not fail so
        return clean_up(scene);
    }
    // a thread's death is that of the process; a child's is corm's to report
    let killed = fault == Fault::Kill && hit.is_some();
    let mut wrong = Vec::new();
    let hangs = out.took > whole + LIMIT;
    wrong.extend(hangs.then(|| (Wrong::Hang, format!("takes {:?} instead of {whole:?}", out.took))));
    if !killed {
        // fsck lists what it finds on standard output
        let silent = out.stderr.is_empty() && out.stdout.is_empty();
        let mut other = |is: bool, text: &str| wrong.extend(is.then(|| (Wrong::Other, text.to_owned())));
        other(out.signal.is_some() && !hangs, "died of a signal");
        other(out.stderr.contains("panicked"), "panicked");
        other(names_nothing("corm", &out.stderr), "the message names nothing");
        other(out.code != Some(0) && out.code != Some(case.code) && silent, "no message");
    }
    if out.code == Some(case.code) && !(killed && out.code != Some(0)) {
        let done = catch_unwind(AssertUnwindSafe(|| (case.done)(scene, &out))).unwrap_or(false);
        // a warning is not silent: the program of a run has its own exit status
        let silent = !done && out.stderr.is_empty();
        wrong.extend(silent.then(|| (Wrong::Silent, "exit status 0, and the work is not done".to_owned())));
    }
    wrong.extend(clean_up(scene));
    let what = format!("{}: {point:?} ({hit:?}), {fault:?}: {out:?}", case.name);
    wrong.into_iter().map(|(kind, text)| (kind, format!("{text}: {what}"))).collect()
}

/// Sweeps over one verb, and returns what was wrong.
fn sweep(scene: &Scene, case: &Case) -> Vec<String> {
    let (whole, points) = points(scene, case);
    faults::sweep(case.name, &points, |point| try_once(scene, case, whole, point), || None)
}

#[test]
fn every_verb_with_a_fault_at_a_system_call() {
    need_root!();
    if !can_fail() || !is_croci() {
        skip!("needs croci, and the registers of x86-64");
    }
    if std::env::var_os("SWEEP").is_none() {
        skip!("make faults runs it, which finds points that are still open");
    }
    let only = std::env::var("SWEEP_VERB").unwrap_or_default();
    let scene = Scene::new();
    let chosen = CASES.iter().filter(|case| only.is_empty() || case.name == only);
    let caught = |case| catch_unwind(AssertUnwindSafe(|| sweep(&scene, case)));
    let broken = |case: &Case| vec![format!("{}: does not work without a fault", case.name)];
    let wrong: Vec<String> = chosen.flat_map(|case| caught(case).unwrap_or_else(|_| broken(case))).collect();
    assert!(wrong.is_empty(), "{} wrong: {}", wrong.len(), wrong.join("\n"));
}
