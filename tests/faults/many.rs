//! Many runtimes at once, and limits of descriptors for each verb.

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
    need_root!();
    need_own_cgroups!();
    if !is_croci() {
        skip!("other runtimes leave the parent");
    }
    let first = Container::new(&["sleep", "1000"]);
    let below = |c: Container| {
        let path = format!("/{}-parent/{}", c.sandbox.token, c.id);
        c.edit(|config| config["linux"]["cgroupsPath"] = json!(path))
    };
    let all: Vec<_> = (0..2 * MANY).map(|_| below(Container::within(&first.sandbox, &["sleep", "1000"]))).collect();
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

/// Each verb with few descriptors does its work or names what it could not open.
#[test]
fn each_verb_with_few_descriptors_works_or_names_what_failed() {
    need_root!();
    if !is_croci() {
        skip!("other runtimes need more descriptors");
    }
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
