//! The power is cut at points spread over a verb and right after it: every image that is listed is whole, what was
//! reported as done is there, and the same verb works again. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod cases;
mod disk;
mod scene;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cases::Case;
use disk::Kind;
use scene::Scene;
use test_support::*;

/// Returns the number of points inside of a verb: `$POWERCUTS`, else 2, a quarter of it for a small one; one more is after
/// its end.
fn points(case: &Case) -> u32 {
    let points: u32 = std::env::var("POWERCUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    if case.small { points.div_ceil(4) } else { points }
}

/// Returns whether the verb is to be cut: `$POWERCUT_VERB` names one.
fn wanted(case: &Case) -> bool {
    std::env::var("POWERCUT_VERB").map_or(true, |name| name.is_empty() || name == case.name)
}

/// Sweeps over all verbs with the store on a file system of this kind.
fn sweep(kind: Kind) {
    need_root!();
    if let Some(reason) = kind.lacks() {
        skip!("{reason}");
    }
    let scene = Scene::new(kind);
    for case in cases::all(&scene).into_iter().filter(wanted) {
        let whole = scene.undisturbed(&case);
        let (mut reported, points) = (0, points(&case));
        for number in 0..=points {
            let delay = (number < points).then(|| whole * number / points);
            reported += u32::from(scene.cut(&case, delay));
        }
        scene.report(&format!("{}: {} points, {reported} after the report", case.name, points + 1));
    }
}

#[test]
fn nothing_reported_is_lost_on_ext4() {
    sweep(Kind::Ext4);
}

#[test]
fn nothing_reported_is_lost_on_xfs() {
    sweep(Kind::Xfs);
}

#[test]
fn nothing_reported_is_lost_on_btrfs() {
    sweep(Kind::Btrfs);
}

/// The cuts of the other tests lose what is not synced: a verb whose syncs do nothing loses what it has reported.
#[test]
fn what_is_not_synced_is_lost() {
    need_root!();
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        skip!("needs strace");
    }
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Btrfs] {
        if let Some(reason) = kind.lacks() {
            skip!("{reason}");
        }
        let scene = Scene::new(kind);
        for case in cases::all(&scene).into_iter().filter(|case| ["init", "tag"].contains(&case.name)) {
            let case = Case { syncs: false, ..case };
            let lost = catch_unwind(AssertUnwindSafe(|| scene.cut(&case, None))).expect_err(case.name);
            let lost = lost.downcast_ref::<String>().expect("a message");
            assert!(scene.has_lied(), "{}: corm syncs nothing", case.name);
            assert!(lost.contains("lost") || lost.contains("of image") || lost.contains("is listed"), "{lost}");
        }
    }
}
