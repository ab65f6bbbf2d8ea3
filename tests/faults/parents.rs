//! The parent cgroups that croci creates: containers share them, create and delete them at the same time, and the last
//! container takes them with it.

use crate::below;
use test_support::trace::{Fault, Point, fault_at};
use test_support::*;

#[test]
fn containers_below_one_parent_are_created_and_deleted_at_once() {
    need_croci!("other runtimes leave the parent");
    need_own_cgroups!();
    let first = Container::new(&["true"]);
    for round in 0..6 {
        let all: Vec<Container> = (0..4).map(|_| below(&first, &format!("race{round}/deep"))).collect();
        std::thread::scope(|scope| {
            for c in &all {
                scope.spawn(|| {
                    for _ in 0..8 {
                        c.create().ok();
                        c.delete_force().ok();
                    }
                });
            }
        });
        first.nothing_left();
    }
}

#[test]
fn the_last_container_removes_the_parent_whoever_created_it() {
    need_croci!("other runtimes leave the parent");
    need_own_cgroups!();
    let first = Container::new(&["true"]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        let all: Vec<Container> = (0..3).map(|_| below(&first, "order/deep")).collect();
        all.iter().for_each(|c| drop(c.create().ok()));
        for number in order {
            all[number].delete_force().ok();
        }
        first.nothing_left();
    }
    // a parent that existed before stays
    let c = below(&first, "mine");
    let dirs = cgroup::create(&format!("/{}-mine", first.sandbox.token));
    c.create().ok();
    c.delete_force().ok();
    assert!(dirs.iter().all(|dir| dir.exists()), "{dirs:?}");
    cgroup::remove_all(&format!("{}-mine", first.sandbox.token));
    first.nothing_left();
}

#[test]
fn a_damaged_record_leaves_no_parent() {
    need_croci!("it is croci's state");
    need_own_cgroups!();
    let first = Container::new(&["true"]);
    for damage in ["", "[]", "{\"format\":2}"] {
        let c = below(&first, "damaged/deep").up();
        let pid = c.pid();
        std::fs::write(c.state_dir().join("record.json"), damage).unwrap();
        c.delete_force().ok();
        wait_for("the process dies", || !host::alive(pid));
        first.nothing_left();
    }
}

/// A parent that cannot be removed for a moment is tried again; one that stays busy is an error, and `delete` can be
/// repeated.
#[test]
fn a_busy_parent_is_tried_again_and_told() {
    need_faults!();
    need_own_cgroups!();
    let c = below(&Container::new(&["true"]), "busy");
    c.create().ok();
    // the first rmdir(2) that follows those of the container's own cgroups
    let own = cgroup::dirs_with(&c.id).len();
    let out =
        fault_at(c.verb("delete", &["--force"]), Point::Named(libc::SYS_rmdir, own + 1), Fault::Fail(libc::EBUSY));
    assert_eq!(out.hit, Some(libc::SYS_rmdir), "{out:#?}");
    out.out.ok();
    c.nothing_left();

    c.create().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    let out = fault_at(c.verb("delete", &[]), Point::Named(libc::SYS_rmdir, 0), Fault::Fail(libc::EPERM));
    out.out.fails().stderr_contains("cgroup").stderr_contains("operation not permitted");
    c.delete().ok();
    c.nothing_left();
}
