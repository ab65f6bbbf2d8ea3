//! Many runtimes at once, and limits of descriptors for each verb.

use crate::below;
use crate::concurrent::one_winner;
use test_support::*;

/// Number of runtimes at once.
const MANY: usize = 64;

#[test]
fn many_creates_of_one_id_have_one_winner() {
    need_root!();
    one_winner(MANY);
}

#[test]
fn many_containers_below_one_new_parent_while_as_many_are_deleted() {
    need_croci!("other runtimes leave the parent");
    need_own_cgroups!();
    let first = Container::new(&["sleep", "1000"]);
    let all: Vec<_> = (0..2 * MANY).map(|_| below(&first, "parent")).collect();
    let (old, new) = all.split_at(MANY);
    for c in old {
        c.create().ok();
    }
    let deletes: Vec<_> = old.iter().map(|c| c.verb("delete", &["--force"]).spawn()).collect();
    let creates: Vec<_> = new.iter().map(|c| c.create_with(&[]).spawn()).collect();
    for proc in deletes.into_iter().chain(creates) {
        proc.wait().ok();
    }
    assert!(new.iter().all(|c| c.status() == "created"));
    let deletes: Vec<_> = new.iter().map(|c| c.verb("delete", &["--force"]).spawn()).collect();
    for proc in deletes {
        proc.wait().ok();
    }
    first.nothing_left();
}

/// Number of runtimes that are killed.
const KILLED: u64 = 300;

#[test]
fn runtimes_killed_at_random_leave_nothing() {
    need_root!();
    let first = Container::new(&["sleep", "1000"]);
    let begin = std::time::Instant::now();
    first.run_with(&["--detach"]).out().ok();
    let whole = begin.elapsed();
    first.delete_force().ok();
    let seed = std::process::id();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let c = Container::within(&first.sandbox, &["sleep", "1000"]);
            scope.spawn(move || {
                let mut random = u64::from(seed) + worker;
                for round in 0..KILLED / 4 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let verb = if round % 2 == 0 { c.create_with(&[]) } else { c.run_with(&["--detach"]) };
                    let verb = verb.spawn();
                    crate::interrupt::kill_after(verb.pid(), whole.mul_f64((random >> 40) as f64 / f64::from(1 << 24)));
                    verb.wait();
                    c.delete_force().ok();
                }
                c.create().ok();
                c.delete_force().ok();
            });
        }
    });
    first.nothing_left();
}

/// Each verb with few descriptors does its work or names what it could not open.
#[test]
fn each_verb_with_few_descriptors_works_or_names_what_failed() {
    need_croci!("other runtimes need more descriptors");
    let c = Container::new(&["sleep", "1000"]);
    let mut refused = 0;
    for limit in 3..=48 {
        let few = |cmd: Cmd| {
            let out = cmd.rlimit(libc::RLIMIT_NOFILE, limit).out().no_panic();
            let named =
                out.stderr.contains("too many open files") && !out.stderr.contains("croci: error: too many open files");
            assert!(out.code == Some(0) || named, "RLIMIT_NOFILE {limit}: {out:#?}");
            out.code == Some(0)
        };
        if !few(c.create_with(&[])) {
            refused += 1;
            c.nothing_left();
            c.create().ok();
        }
        if !few(c.verb("start", &[])) {
            refused += 1;
            // the order may have been given
            c.delete_force().ok();
            c.create().ok();
            c.start().ok();
        }
        let done = few(c.exec_with(&[], &["touch", "/mark"]));
        assert_eq!(std::fs::remove_file(c.file("/mark")).is_ok(), done, "RLIMIT_NOFILE {limit}");
        assert_eq!(few(c.verb("pause", &[])), c.status() == "paused", "RLIMIT_NOFILE {limit}");
        let paused = c.status() == "paused";
        assert!(few(c.verb("resume", &[])) || !paused || c.status() == "paused", "RLIMIT_NOFILE {limit}");
        few(c.verb("state", &[]));
        few(c.croci(["list"]));
        let deleted = few(c.verb("delete", &["--force"]));
        assert_eq!(c.state_dir().exists(), !deleted, "RLIMIT_NOFILE {limit}");
        c.delete_force().ok();
        c.nothing_left();
    }
    assert!(refused > 0, "the limits were low enough");
}
