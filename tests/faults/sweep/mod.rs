//! Each verb with a fault at a system call, of the runtime or of a child: killed, or the call failed. Then the verb has
//! done its work or its message tells what failed, `delete --force` leaves nothing on the host, and what a program finds
//! in the container is what it finds without a fault.
//!
//! `SWEEP=all` takes every call of every verb (`make faults-full`) instead of a sample; `SWEEP_VERB=create` one verb.

mod cases;
mod inside;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use cases::{CASES, Case, Children, container, mark};
use test_support::faults::{self, FaultPoint, Wrong, names_nothing};
use test_support::trace::{Call, Fault, Faulted, Point, can_fail, fault_with};
use test_support::*;

/// Points of each verb in a sample.
const POINTS: usize = 30;
/// Longest time for a verb with a fault beyond its time under the tracer, and for `delete --force`; longer is a hang.
const LIMIT: Duration = Duration::from_secs(10);

/// A verb in its container, and what holds without a fault.
struct Sweep<'a> {
    case: &'a Case,
    c: Container,
    /// Names in the root file system before the first `create`.
    rootfs: BTreeSet<PathBuf>,
    /// What a program finds in the container.
    inside: Option<String>,
    /// Messages that the runtime sends until the container is complete.
    sends: usize,
    /// Its time under the tracer.
    whole: Duration,
}

impl<'a> Sweep<'a> {
    fn new(case: &'a Case) -> Sweep<'a> {
        let c = container(case.name);
        let rootfs = names(&c);
        Sweep { case, c, rootfs, inside: None, sends: 0, whole: Duration::ZERO }
    }

    /// Runs the verb with a fault, or without one.
    fn run(&self, point: Point, fault: Fault) -> Faulted {
        (self.case.prepare)(&self.c);
        let cmd = (self.case.command)(&self.c).limit(6 * LIMIT);
        let others = if self.case.children == Children::Init { vec![self.c.pid()] } else { Vec::new() };
        fault_with(cmd, &others, point, fault)
    }

    /// Deletes the container and what the verb has left in its bundle; returns what is wrong with that.
    fn clean_up(&self, fails: bool) -> Vec<(Wrong, String)> {
        let c = &self.c;
        let mut wrong = Vec::new();
        let delete = c.verb("delete", &["--force"]).limit(2 * LIMIT).spawn().wait_or_kill();
        if delete.code != Some(0) {
            wrong.push((Wrong::Other, format!("delete --force fails: {delete:?}")));
        }
        if delete.took > LIMIT {
            wrong.push((Wrong::Hang, format!("delete --force takes {:?}", delete.took)));
        }
        if catch_unwind(AssertUnwindSafe(|| c.nothing_left())).is_err() {
            wrong.push((Wrong::Left, format!("left behind: {:?}", c.sandbox.leftovers())));
        }
        // mount points stay when the program has run, also when a poststop hook fails after it
        let ran = c.file("facts").exists();
        for name in ["facts", "facts.new", "more", "more.new"] {
            let _ = std::fs::remove_file(c.file(name));
        }
        let left: Vec<_> = names(c).difference(&self.rootfs).cloned().collect();
        for path in left.iter().rev() {
            let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir(path));
        }
        let creates = ["create", "run", "run --detach"].contains(&self.case.name);
        if creates && fails && !ran && !left.is_empty() {
            wrong.push((Wrong::Left, format!("in the root file system: {left:?}")));
        }
        let _ = std::fs::remove_file(mark(c));
        wrong
    }

    /// Runs the verb without a fault, and returns the points that it has: a call and its fault.
    fn points(&mut self) -> Vec<FaultPoint> {
        let none = match self.case.children {
            Children::None => Point::Call(0),
            Children::Own | Children::Init => Point::Child(usize::MAX, 0),
        };
        let Faulted { seen, out, .. } = self.run(none, Fault::Kill);
        assert_eq!(out.code, Some(0), "{}: works under a tracer: {out:#?}", self.case.name);
        assert!((self.case.done)(&self.c, &out), "{}: its work is seen", self.case.name);
        self.inside = self.case.inside.map(|look| look(&self.c));
        self.sends = sends(&seen);
        self.whole = out.took;
        assert_eq!(self.clean_up(false), [], "{}", self.case.name);
        faults::points(self.case.name, &seen, POINTS)
    }

    /// Runs the verb with one fault, and returns what was wrong.
    fn try_once(&self, (call, fault): FaultPoint) -> Vec<(Wrong, String)> {
        let point = call.point;
        let run = self.run(point, fault);
        let Faulted { hit, out, .. } = &run;
        if fault != Fault::Kill && *hit != Some(call.number) {
            // the verb has made other calls than at first, and this one does not fail so
            return self.clean_up(false);
        }
        let killed = fault == Fault::Kill && hit.is_some();
        let mut wrong = Vec::new();
        let hangs = out.took > self.whole + LIMIT;
        wrong.extend(hangs.then(|| (Wrong::Hang, format!("takes {:?} instead of {:?}", out.took, self.whole))));
        if killed && matches!(point, Point::Call(_)) {
            wrong.extend(self.clean_up(!self.is_committed()));
        } else {
            wrong.extend(self.look_at(&run, killed));
            // a program that is killed before execve(2) counts as one that has run
            wrong.extend(self.clean_up(out.code != Some(0) && !(killed && out.code == Some(137))));
        }
        let what = format!("{}: {point:?} ({hit:?}), {fault:?}: {out:?}", self.case.name);
        wrong.into_iter().map(|(kind, text)| (kind, format!("{text}: {what}"))).collect()
    }

    /// Returns whether the container was created before its runtime was killed: then its mount points stay.
    fn is_committed(&self) -> bool {
        let record = std::fs::read(self.c.state_dir().join("record.json")).unwrap_or_default();
        // `run` has deleted it already when its program has ended
        let has_run = !self.c.state_dir().exists() && self.c.file("facts").exists();
        has_run || serde_json::from_slice::<Value>(&record).is_ok_and(|record| record["init"].is_object())
    }

    /// Looks at the result of a verb that was not killed itself.
    fn look_at(&self, run: &Faulted, killed: bool) -> Vec<(Wrong, String)> {
        let Faulted { hit, out, seen } = run;
        let mut wrong = Vec::new();
        wrong.extend(out.signal.filter(|_| out.took < LIMIT).map(|_| (Wrong::Other, "died of a signal".to_owned())));
        let mut other = |is: bool, text: &str| wrong.extend(is.then(|| (Wrong::Other, text.to_owned())));
        other(out.stderr.contains("panicked"), "panicked");
        other(names_nothing("croci", &out.stderr), "the message names nothing");
        // 137 is that of the program, as which the child that was killed counts
        let as_program = killed && out.code == Some(137);
        // one that was ended for taking too long is a hang, and nothing else
        other(out.code.is_some_and(|code| code != 0) && out.stderr.is_empty() && !as_program, "no message");
        if out.code != Some(0) {
            return wrong;
        }
        // init, which was killed or could not wait when the runtime had done its part: the container has stopped, which
        // `state` tells
        let complete = sends(seen) >= self.sends || *hit == Some(libc::SYS_execve);
        let ended = killed || self.case.name == "create";
        if ended && complete && self.c.state_dir().exists() && self.c.status() == "stopped" {
            return wrong;
        }
        let look = catch_unwind(AssertUnwindSafe(|| {
            if !(self.case.done)(&self.c, out) {
                // a poststop hook that fails is a warning, and the verb has worked
                if out.stderr.contains("warning: error running poststop hook") {
                    return None;
                }
                return Some("exit status 0, and the work is not done".to_owned());
            }
            let found = self.case.inside.map(|look| look(&self.c));
            let (Some(wanted), Some(found)) = (&self.inside, &found) else { return None };
            // a warning is not silent
            (wanted != found && out.stderr.is_empty())
                .then(|| format!("another container:\n{}", inside::difference(wanted, found)))
        }));
        let look = look.unwrap_or_else(|_| Some("exit status 0, and its work is not to be seen".to_owned()));
        wrong.extend(look.map(|text| (Wrong::Silent, text)));
        wrong
    }
}

/// Returns how many messages the runtime has sent.
fn sends(seen: &[Call]) -> usize {
    seen.iter().filter(|call| matches!(call.point, Point::Call(_)) && call.number == libc::SYS_sendmsg).count()
}

/// Returns the names in a container's root file system.
fn names(c: &Container) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    let mut todo = vec![c.rootfs.clone()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            }
            all.insert(entry.path());
        }
    }
    all
}

/// Sweeps over one verb, prints its numbers, and returns what was wrong.
fn sweep(case: &Case) -> Vec<String> {
    let mut sweep = Sweep::new(case);
    let points = sweep.points();
    let keys_left = || {
        let keys = (0..100).map(|_| sweep.c.sandbox.keys_left()).find(|keys| {
            std::thread::sleep(Duration::from_millis(if keys.is_empty() { 0 } else { 50 })); // the kernel collects them later
            keys.is_empty()
        });
        let text = || format!("{}: left behind: {:?}", case.name, sweep.c.sandbox.keys_left());
        keys.is_none().then(|| (Wrong::Left, text())).into_iter().collect()
    };
    faults::sweep(case.name, &points, |point| sweep.try_once(point), keys_left)
}

#[test]
fn every_verb_with_a_fault_at_a_system_call() {
    need_root!();
    if !can_fail() || !is_croci() {
        skip!("needs croci, and the registers of x86-64");
    }
    faults::print_start();
    let only = std::env::var("SWEEP_VERB").unwrap_or_default();
    let criu = std::process::Command::new("criu").arg("--version").output().is_ok();
    let chosen = |case: &&Case| (only.is_empty() || case.name == only) && (criu || case.name != "checkpoint");
    let todo = Mutex::new(CASES.iter().filter(chosen));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(case) = todo.lock().unwrap().next() else { break };
                    let found = sweep(case);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} wrong: {}", wrong.len(), wrong.join("\n"));
}
