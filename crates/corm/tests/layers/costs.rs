//! Layers whose cost is more than linear: attributes that are compared with each other, directories that only symlinks
//! reach.

use crate::fixture::over_all;
use crate::tar::Tar;

#[test]
fn an_entry_has_no_attributes_without_end() {
    let names: Vec<String> = (0..24_000).map(|number| format!("SCHILY.xattr.trusted.overlay.{number:05}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b"1"[..])).collect();
    let mut tar = Tar::new();
    for number in 0..40 {
        tar = tar.pax(&records).file(format!("f{number}"), "x");
    }
    let tar = tar.end();
    over_all(|fixture| {
        let text = fixture.unpack(&[fixture.layer(&tar)]).unwrap_err();
        assert!(text.contains("extended attributes"), "{text}");
    });
}

/// Returns an archive of nested directories, in which each symlink leads to the end of the path before it.
fn deep(times: usize) -> Tar {
    let path = "a/".repeat(1000);
    let first = format!("d/{path}");
    let mut tar = Tar::new().long(b'L', &first).dir("short").long(b'K', &first).symlink("s0", "short");
    for number in 0..times {
        let next = format!("s{number}/{path}");
        tar = tar.long(b'L', &next).dir("short").long(b'K', &next).symlink(format!("s{}", number + 1), "short");
    }
    tar
}

#[test]
fn symlinks_lead_no_deeper_than_paths() {
    over_all(|fixture| {
        let removals = [deep(36).file("d", "in its place"), deep(36).file(".wh.d", "")];
        for tar in removals {
            let text = fixture.unpack(&[fixture.layer(&tar.end())]).unwrap_err();
            assert!(text.contains("directories deep"), "{text}");
        }
        let layers = [deep(36).end(), Tar::new().file(".wh.d", "").end()].map(|tar| fixture.layer(&tar));
        let text = fixture.unpack(&layers).unwrap_err();
        assert!(text.contains("directories deep"), "{text}");
        fixture.unpack(&[fixture.layer(&deep(0).end())]).unwrap();
    });
}
