//! Deleted names, in the form of each driver (item 4 of the malicious layers).

use crate::fixture::Want::{Error, Tree};
use crate::fixture::{case, check};
use crate::tar::{Header, Tar};

fn below() -> Vec<u8> {
    Tar::new().file("a", "old").file("b", "b").dir("d").file("d/x", "x").dir("d/e").file("d/e/y", "y").end()
}

#[test]
fn a_whiteout_hides_what_is_below() {
    check(&[
        case(
            "file",
            vec![below(), Tar::new().file(".wh.a", "").end()],
            Tree(&[("a", "none"), ("b", "file b"), (".wh.a", "none")]),
        ),
        case("directory", vec![below(), Tar::new().file(".wh.d", "").end()], Tree(&[("d", "none"), ("b", "file b")])),
        case(
            "in a directory",
            vec![below(), Tar::new().file("d/.wh.x", "").end()],
            Tree(&[("d/x", "none"), ("d/e/y", "file y")]),
        ),
        case(
            "what is not there",
            vec![below(), Tar::new().file(".wh.none", "").file("no/.wh.a", "").end()],
            Tree(&[("none", "none")]),
        ),
        case(
            "twice, and with content and a mode",
            vec![below(), Tar::new().file(".wh.a", "x").entry(Header::new(b'5', ".wh.a").mode(0o777), "").end()],
            Tree(&[("a", "none")]),
        ),
        case(
            "deleted, and created again by the third",
            vec![below(), Tar::new().file(".wh.d", "").end(), Tar::new().dir("d").file("d/z", "z").end()],
            Tree(&[("d/z", "file z"), ("d/x", "none"), ("d/e", "none")]),
        ),
    ]);
}

#[test]
fn a_whiteout_hides_nothing_of_its_own_layer() {
    let marker = |tar: Tar| tar.file(".wh.d", "");
    let dir = |tar: Tar| tar.dir("d").file("d/new", "new");
    let facts = [("d", "dir"), ("d/new", "file new"), ("d/x", "none"), ("d/e", "none")];
    check(&[
        case(
            "before a file",
            vec![below(), Tar::new().file(".wh.a", "").file("a", "new").end()],
            Tree(&[("a", "file new")]),
        ),
        case(
            "after a file",
            vec![below(), Tar::new().file("a", "new").file(".wh.a", "").end()],
            Tree(&[("a", "file new")]),
        ),
        case("before a directory", vec![below(), dir(marker(Tar::new())).end()], Tree(&facts)),
        case("after a directory", vec![below(), marker(dir(Tar::new())).end()], Tree(&facts)),
        case(
            "between a directory and what is in it",
            vec![below(), marker(Tar::new().dir("d")).file("d/new", "new").end()],
            Tree(&facts),
        ),
        case(
            "after a file in a directory without an entry",
            vec![below(), marker(Tar::new().file("d/new", "new")).end()],
            Tree(&facts),
        ),
        case(
            "a directory in place of a deleted file",
            vec![below(), Tar::new().file(".wh.a", "").dir("a").file("a/f", "f").end()],
            Tree(&[("a/f", "file f")]),
        ),
    ]);
}

#[test]
fn an_opaque_directory_shows_its_own_layer_only() {
    let opaque = |tar: Tar| tar.file("d/.wh..wh..opq", "");
    let facts = [("d", "dir"), ("d/new", "file new"), ("d/e/z", "file z"), ("d/x", "none"), ("d/e/y", "none")];
    let filled = |tar: Tar| tar.file("d/new", "new").dir("d/e").file("d/e/z", "z");
    check(&[
        case("before entries", vec![below(), filled(opaque(Tar::new().dir("d"))).end()], Tree(&facts)),
        case("after entries", vec![below(), opaque(filled(Tar::new().dir("d"))).end()], Tree(&facts)),
        case(
            "after entries of directories that have none",
            vec![below(), opaque(Tar::new().file("d/e/z", "z").file("d/new", "new")).end()],
            Tree(&facts),
        ),
        case("alone", vec![below(), opaque(Tar::new()).end()], Tree(&[("d", "dir"), ("d/x", "none"), ("d/e", "none")])),
        case(
            "with whiteouts before and after",
            vec![below(), opaque(Tar::new().dir("d").file("d/.wh.x", "")).file("d/.wh.e", "").end()],
            Tree(&[("d", "dir"), ("d/x", "none"), ("d/e", "none")]),
        ),
        case(
            "and a third layer on top",
            vec![below(), opaque(Tar::new().dir("d")).end(), Tar::new().file("d/x", "third").end()],
            Tree(&[("d/x", "file third"), ("d/e", "none")]),
        ),
    ]);
}

#[test]
fn an_opaque_directory_lists_only_what_exists() {
    let second =
        Tar::new().dir("d").file("d/.wh.x", "").file("d/.wh.none", "").file("d/.wh..wh..opq", "").file("d/f", "").end();
    crate::fixture::over_all(|fixture| {
        let layers = [fixture.layer(&below()), fixture.layer(&second)];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| {
            let names: Vec<_> = std::fs::read_dir(root.join("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["f"]);
        });
    });
}

#[test]
fn whiteouts_of_no_name_are_refused() {
    let with = |name: &str| vec![below(), Tar::new().file(name, "").end()];
    check(&[
        case("nothing", with(".wh."), Error(&["entry \".wh.\""])),
        case("itself", with("d/.wh.."), Error(&["entry \"d/.wh..\""])),
        case("above", with("d/.wh..."), Error(&["entry \"d/.wh...\""])),
        case(
            "a directory",
            vec![below(), Tar::new().dir(".wh.a").file(".wh.a/f", "").end()],
            Error(&["entry \".wh.a/f\""]),
        ),
    ]);
}

#[test]
fn the_files_of_aufs_are_left_out() {
    check(&[case(
        "plink, base and orphans",
        vec![
            below(),
            Tar::new()
                .dir(".wh..wh.plnk")
                .file(".wh..wh.plnk/12.34", "x")
                .file(".wh..wh.aufs", "")
                .dir(".wh..wh.orph")
                .file("d/.wh..wh..tmp", "")
                .end(),
        ],
        Tree(&[
            (".wh..wh.plnk", "none"),
            (".wh..wh.aufs", "none"),
            (".wh..wh.orph", "none"),
            ("d/x", "file x"),
            ("a", "file old"),
        ]),
    )]);
}

#[test]
fn overlays_own_whiteouts_cannot_be_smuggled_in() {
    let device = |flag: u8| Tar::new().entry(Header::new(flag, "a").device(0, 0), "").end();
    let xattr = |name: &str, value: &[u8]| Tar::new().pax(&[(&format!("SCHILY.xattr.{name}"), value)]).dir("d").end();
    check(&[
        case("device 0:0", vec![below(), device(b'3')], Error(&["entry \"a\"", "0:0"])),
        case("block device 0:0", vec![below(), device(b'4')], Tree(&[("a", "block 0:0")])),
        case(
            "opaque",
            vec![below(), xattr("trusted.overlay.opaque", b"y")],
            Tree(&[("d/x", "file x"), ("d?xattrs", "")]),
        ),
        case("opaque for users", vec![below(), xattr("user.overlay.opaque", b"y")], Tree(&[("d/x", "file x")])),
        case(
            "redirect",
            vec![below(), xattr("trusted.overlay.redirect", b"/d/e")],
            Tree(&[("d/x", "file x"), ("d/y", "none")]),
        ),
        case(
            "metacopy and redirect of a file",
            vec![
                below(),
                Tar::new()
                    .pax(&[
                        ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                        ("SCHILY.xattr.trusted.overlay.redirect", b"/b"),
                    ])
                    .file("a", "mine")
                    .end(),
            ],
            Tree(&[("a", "file mine"), ("a?xattrs", "")]),
        ),
        case(
            "whiteout as an attribute",
            vec![below(), Tar::new().pax(&[("SCHILY.xattr.trusted.overlay.whiteout", b"y")]).file("a", "").end()],
            Tree(&[("a", "file ")]),
        ),
    ]);
}
