//! Each verb of corm with a fault at a system call, of corm or of a process or thread that it makes: killed, or the call
//! failed. Then the verb has done its work or its message tells what failed, and `rm -f`, `prune` and `fsck --repair` leave
//! the host and the store as they were before.
//!
//! `SWEEP=all` takes every call of every verb (`make faults-full`), `SWEEP=sample` some of each (`make faults`); else there
//! are few (`make test`). `SWEEP_POINTS=100`: so many of each verb, `SWEEP_START=1`: others; `SWEEP_VERB=commit`: one verb.
//! Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cases;
mod saved;
mod scene;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use cases::Case;
use saved::Saved;
use scene::{Scene, Snapshot};
use test_support::faults::{self, FaultPoint, Wrong, names_nothing};
use test_support::trace::{Fault, Faulted, Point, can_fail, fault_at};
use test_support::*;

/// Points of each verb in a sample, and without `SWEEP`.
const POINTS: usize = 8;
const FEW: usize = 2;
/// Longest time for a verb that cleans up, and for one with a fault beyond its time under the tracer; longer is a hang.
const LIMIT: Duration = Duration::from_secs(10);

/// A verb in its scene, and what holds without a fault.
struct Sweep<'a> {
    scene: &'a Scene,
    case: &'a Case,
    /// What the verb needs is made, and was so.
    ready: Option<Snapshot>,
    /// The store with what the verb needs, where that is files only.
    prepared: Option<Saved>,
    /// Its time under the tracer.
    whole: Duration,
}

impl Sweep<'_> {
    /// Runs the verb with a fault, or without one.
    fn run(&mut self, point: Point, fault: Fault) -> Faulted {
        if self.ready.is_none() {
            match &mut self.prepared {
                Some(prepared) => prepared.restore(self.scene.names()),
                None => (self.case.prepare)(self.scene),
            }
            let ready = self.scene.snapshot(None);
            if self.case.again && self.prepared.is_none() && ready.is_files_only() {
                self.prepared = Some(Saved::take(self.scene.names()));
            }
            self.ready = Some(ready);
        }
        fault_at((self.case.command)(self.scene).limit(LIMIT * 6), point, fault)
    }

    /// Removes what the verb has made, if there is anything; returns what is wrong then. `done`: it was not disturbed.
    fn clean_up(&mut self, done: bool) -> Vec<(Wrong, String)> {
        let Sweep { scene, case, ready, prepared, .. } = self;
        let now = scene.snapshot(ready.as_ref());
        if case.again && *ready == Some(now) {
            return Vec::new();
        }
        *ready = None;
        // byte for byte what the verb needs, where the clean-up after the last point begins
        if prepared.as_ref().is_some_and(|prepared| scene.is(prepared)) && scene.runs_nothing() {
            return Vec::new();
        }
        clean_up(scene, done)
    }

    /// Runs the verb without a fault, and returns its points: a call and its fault.
    fn points(&mut self) -> Vec<FaultPoint> {
        let Faulted { seen, out, .. } = self.run(Point::Child(usize::MAX, 0), Fault::Kill);
        let name = self.case.name;
        assert_eq!(out.code, Some(self.case.code), "{name}: works under a tracer: {out:#?}");
        assert!((self.case.done)(self.scene, &out), "{name}: its work is seen: {out:#?}");
        assert_eq!(self.clean_up(false), [], "{name}");
        self.whole = out.took;
        faults::points(name, &seen, if std::env::var_os("SWEEP").is_none() { FEW } else { POINTS })
    }

    /// Runs the verb with one fault, and returns what was wrong.
    fn try_once(&mut self, (call, fault): FaultPoint) -> Vec<(Wrong, String)> {
        let point = call.point;
        let Faulted { hit, out, .. } = self.run(point, fault);
        if fault != Fault::Kill && hit != Some(call.number) {
            // threads made other calls than at first, and this one does not fail so
            return self.clean_up(false);
        }
        // a thread's death is that of the process; a child's is corm's to report
        let killed = fault == Fault::Kill && hit.is_some();
        let (mut wrong, mut complete) = (Vec::new(), false);
        let hangs = out.took > self.whole + LIMIT;
        wrong.extend(hangs.then(|| (Wrong::Hang, format!("takes {:?} instead of {:?}", out.took, self.whole))));
        if !killed {
            // fsck lists what it finds on standard output
            let silent = out.stderr.is_empty() && out.stdout.is_empty();
            let mut other = |is: bool, text: &str| wrong.extend(is.then(|| (Wrong::Other, text.to_owned())));
            other(out.signal.is_some() && !hangs, "died of a signal");
            other(out.stderr.contains("panicked"), "panicked");
            other(names_nothing("corm", &out.stderr), "the message names nothing");
            other(out.code != Some(0) && out.code != Some(self.case.code) && silent, "no message");
        }
        if out.code == Some(self.case.code) && !(killed && out.code != Some(0)) {
            let done = catch_unwind(AssertUnwindSafe(|| (self.case.done)(self.scene, &out))).unwrap_or(false);
            // a warning is not silent: the program of a run has its own exit status
            let silent = !done && out.stderr.is_empty();
            let text = || format!("exit status 0, and the work is not done; changed: {:?}", self.scene.left());
            wrong.extend(silent.then(|| (Wrong::Silent, text())));
            complete = done && !killed;
        }
        wrong.extend(self.clean_up(complete));
        // of containers whose supervisor was killed; no status of theirs is asked for
        test_support::reaper::forget_inits();
        let what = format!("{}: {point:?} ({hit:?}), {fault:?}: {out:?}", self.case.name);
        wrong.into_iter().map(|(kind, text)| (kind, format!("{text}: {what}"))).collect()
    }
}

/// Removes what a verb has made, by the verbs that are for it; returns what is wrong then. What `complete` verbs have made
/// is removed by name first. No further verb runs when the store is byte for byte what it was before all, because these
/// verbs are seen to find nothing there.
fn clean_up(scene: &Scene, complete: bool) -> Vec<(Wrong, String)> {
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
    remove_outputs(scene, &mut verb);
    if !scene.is_as_before() {
        verb(&["rm", "-f", "c"], "No container named");
    }
    if scene.stores("containers/*") {
        verb(&["rm", "-f", "--all"], "");
    }
    for repair in [!complete, true] {
        if scene.is_as_before() && scene.runs_nothing() {
            return wrong;
        }
        if repair {
            verb(&["fsck", "--repair"], "");
        }
        for name in ["new", &scene.remote("new")] {
            if scene.names_image(name) {
                verb(&["rmi", name], "No image named");
            }
        }
        for (group, name, file) in [("volume", "vol", "volumes/*"), ("network", "net", "networks/net.json")] {
            if scene.stores(file) {
                verb(&[group, "rm", name], "o volume named");
            }
        }
        if scene.has_list("list") {
            verb(&["manifest", "rm", "list"], "");
        }
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

/// Removes what a verb has written outside of the store.
fn remove_outputs(scene: &Scene, verb: &mut dyn FnMut(&[&str], &str) -> String) {
    // complete ones are no leftovers; those that are not have other names
    if scene.output("bundle") {
        verb(&["unbundle", &scene.path("outputs/bundle")], "");
    }
    // the next change of the credentials removes what was left of one
    if scene.output("auth.json") || scene.hidden_output() {
        verb(
            &["login", "--tls-verify=false", "-u", "me", "-p", "secret", "--authfile", &scene.auth(), &scene.address],
            "",
        );
    }
    scene.remove_outputs();
}

/// Sweeps over one verb, and returns what was wrong.
fn sweep(scene: &Scene, case: &Case) -> Vec<String> {
    let mut sweep = Sweep { scene, case, ready: None, prepared: None, whole: Duration::ZERO };
    let points = sweep.points();
    faults::sweep(case.name, &points, |point| sweep.try_once(point), || clean_up(scene, false))
}

#[test]
fn every_verb_with_a_fault_at_a_system_call() {
    need_root!();
    if !can_fail() || !is_croci() {
        skip!("needs croci, and the registers of x86-64");
    }
    faults::print_start();
    let only = std::env::var("SWEEP_VERB").unwrap_or_default();
    let todo = Mutex::new(cases::all().filter(|case| only.is_empty() || case.name == only));
    let wrong = Mutex::new(Vec::new());
    let work = || {
        let scene = Scene::new();
        loop {
            let Some(case) = todo.lock().unwrap().next() else { break };
            let found = catch_unwind(AssertUnwindSafe(|| sweep(&scene, case)));
            let found = found.unwrap_or_else(|_| {
                clean_up(&scene, false);
                vec![format!("{}: does not work without a fault", case.name)]
            });
            wrong.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| (0..if only.is_empty() { 2 } else { 1 }).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong: {}", wrong.len(), wrong.join("\n"));
}
