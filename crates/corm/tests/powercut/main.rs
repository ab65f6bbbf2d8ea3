//! The power is cut at points spread over a verb and right after it: every image that is listed is whole, what was
//! reported as done is there, and the same verb works again. Needs root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod disk;
mod scene;

use disk::Kind;
use scene::Scene;
use test_support::*;

/// Returns the number of points inside of each verb: `$POWERCUTS`, else 2; one more is after its end.
fn points() -> u32 {
    std::env::var("POWERCUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Sweeps over all verbs with the store on a file system of this kind.
fn sweep(kind: Kind) {
    need_root!();
    if let Some(reason) = kind.lacks() {
        skip!("{reason}");
    }
    let scene = Scene::new(kind);
    for case in scene.cases() {
        let whole = scene.undisturbed(&case);
        let mut reported = 0;
        for number in 0..=points() {
            let delay = (number < points()).then(|| whole * number / points());
            reported += u32::from(scene.cut(&case, delay));
        }
        scene.report(&format!("{}: {} points, {reported} after the report", case.name, points() + 1));
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
