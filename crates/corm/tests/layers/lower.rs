//! Layers whose tree is decided by the layers below them: one image is one tree on every driver.

use crate::fixture::Want::{Error, Tree};
use crate::fixture::{case, check};
use crate::tar::{Header, Tar};

/// A file `top`, a directory with files, a symlink to it.
fn below() -> Vec<u8> {
    let dir = Header::new(b'5', "d").mode(0o751).owner(3, 4);
    Tar::new().file("top", "top").entry(dir, "").file("d/f", "f").dir("d/e").file("d/e/g", "g").symlink("s", "d").end()
}

#[test]
fn a_directory_in_place_of_a_deleted_one_needs_no_entry() {
    let facts = [("d/new/deep", "file x"), ("d/f", "none"), ("d/e", "none"), ("d?mode", "755"), ("s", "link d")];
    check(&[
        case(
            "deleted, then filled",
            vec![below(), Tar::new().file(".wh.d", "").file("d/new/deep", "x").end()],
            Tree(&facts),
        ),
        case(
            "filled, then deleted",
            vec![below(), Tar::new().file("d/new/deep", "x").file(".wh.d", "").end()],
            Tree(&[("d/new/deep", "file x"), ("d/f", "none"), ("d/e", "none")]),
        ),
        case(
            "through a symlink",
            vec![below(), Tar::new().file("s/.wh.e", "").file("s/e/h", "x").end()],
            Tree(&[("d/e/h", "file x"), ("d/e/g", "none"), ("d/f", "file f"), ("s", "link d")]),
        ),
        case(
            "a whiteout of a new file in a directory without an entry",
            vec![below(), Tar::new().file("d/new", "x").file(".wh.top", "").file("d/.wh.new", "").end()],
            Tree(&[("d/new", "file x"), ("d/f", "file f"), ("top", "none")]),
        ),
        case(
            "a file for a moment",
            vec![below(), Tar::new().file("d", "").dir("d").file("d/new", "x").end()],
            Tree(&[("d/new", "file x"), ("d/f", "none"), ("d/e", "none")]),
        ),
        case(
            "a file for a moment, in a deeper directory",
            vec![below(), Tar::new().dir("d").file("d/e", "").dir("d/e").end(), Tar::new().file("d/e/z", "z").end()],
            Tree(&[("d/e/z", "file z"), ("d/e/g", "none"), ("d/f", "file f")]),
        ),
    ]);
}

#[test]
fn a_hard_link_to_a_file_below_is_that_file() {
    check(&[
        case(
            "the next layer",
            vec![below(), Tar::new().link("h", "d/f").end()],
            Tree(&[("h", "file f"), ("d/f", "file f"), ("h?links", "2"), ("d?mode", "751"), ("d?owner", "3:4")]),
        ),
        case(
            "through a symlink",
            vec![below(), Tar::new().link("d/h", "s/f").end()],
            Tree(&[("d/h", "file f"), ("d/h?links", "2")]),
        ),
        case(
            "two layers below, and one on top",
            vec![
                below(),
                Tar::new().file("x", "").end(),
                Tar::new().link("h", "top").end(),
                Tar::new().file("top", "2").end(),
            ],
            Tree(&[("h", "file top"), ("top", "file 2")]),
        ),
        case("a symlink", vec![below(), Tar::new().link("h", "s").end()], Tree(&[("h", "link d")])),
        case("a directory", vec![below(), Tar::new().link("h", "d").end()], Error(&["entry \"h\"", "\"d\""])),
        case("nothing", vec![below(), Tar::new().link("h", "none").end()], Error(&["entry \"h\"", "\"none\""])),
    ]);
}

#[test]
fn a_symlink_below_is_followed_inside_the_root() {
    check(&[
        case(
            "a file",
            vec![below(), Tar::new().file("s/new", "x").end()],
            Tree(&[("s", "link d"), ("d/new", "file x"), ("d/f", "file f"), ("d?mode", "751"), ("d?owner", "3:4")]),
        ),
        case(
            "a whiteout",
            vec![below(), Tar::new().file("s/.wh.f", "").end()],
            Tree(&[("s", "link d"), ("d/f", "none"), ("d/e/g", "file g")]),
        ),
        case(
            "a whiteout by a symlink of its own layer",
            vec![below(), Tar::new().symlink("t", "/d").file("t/.wh.f", "").end()],
            Tree(&[("t", "link /d"), ("d/f", "none"), ("d/e/g", "file g")]),
        ),
        case(
            "an opaque directory",
            vec![below(), Tar::new().symlink("t", "d/../d").file("t/.wh..wh..opq", "").end()],
            Tree(&[("d", "dir"), ("d/f", "none"), ("d/e", "none"), ("d?mode", "751")]),
        ),
        case(
            "an absolute one",
            vec![
                Tar::new().dir("usr").dir("usr/bin").file("usr/bin/a", "a").symlink("bin", "/usr/bin").end(),
                Tar::new().file("bin/b", "b").file("bin/.wh.a", "").end(),
            ],
            Tree(&[("bin", "link /usr/bin"), ("usr/bin/b", "file b"), ("usr/bin/a", "none")]),
        ),
    ]);
}

#[test]
fn a_file_below_is_no_directory() {
    check(&[
        case("a file", vec![below(), Tar::new().file("top/x", "").end()], Error(&["entry \"top/x\""])),
        case("a directory", vec![below(), Tar::new().dir("d/f/x").end()], Error(&["entry \"d/f/x\""])),
        case(
            "unless an entry makes it one",
            vec![below(), Tar::new().dir("top").file("top/x", "x").end()],
            Tree(&[("top/x", "file x")]),
        ),
    ]);
}

#[test]
fn an_opaque_root_hides_all_layers_below() {
    check(&[
        case(
            "before entries",
            vec![below(), Tar::new().file(".wh..wh..opq", "").file("new", "x").end()],
            Tree(&[("new", "file x"), ("top", "none"), ("d", "none"), ("s", "none")]),
        ),
        case(
            "after entries",
            vec![below(), Tar::new().file("d/new", "x").file(".wh..wh..opq", "").end()],
            Tree(&[("d/new", "file x"), ("d/f", "none"), ("d/e", "none"), ("top", "none"), ("s", "none")]),
        ),
    ]);
}

#[test]
fn whiteouts_that_hide_nothing_are_no_names() {
    let ghosts = |layers: Vec<Vec<u8>>, dir: &'static str, wanted: &'static [&'static str]| {
        crate::fixture::over_all(move |fixture| {
            let layers: Vec<_> = layers.iter().map(|tar| fixture.layer(tar)).collect();
            fixture.unpack(&layers).unwrap();
            fixture.look(&layers, |root| {
                let mut names: Vec<_> =
                    std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().file_name()).collect();
                names.sort();
                assert_eq!(names, wanted, "{dir}");
                for name in names {
                    std::fs::symlink_metadata(root.join(dir).join(name)).unwrap();
                }
                assert_eq!(crate::fixture::fact(root, &format!("{dir}?mtime")), "1000000000.000000000");
            });
        });
    };
    let new = || Tar::new().dir("new").file("new/.wh.gone", "").file("new/f", "");
    ghosts(vec![below(), new().end()], "new", &["f"]);
    ghosts(vec![new().end()], "new", &["f"]);
    ghosts(vec![below(), new().end(), Tar::new().file("new/z", "").end()], "new", &["f", "z"]);
    ghosts(vec![below(), Tar::new().dir("top").file("top/.wh.gone", "").end()], "top", &[]);
    ghosts(vec![below(), Tar::new().dir("d").file("d/.wh.f", "").file("d/.wh.none", "").end()], "d", &["e"]);
    ghosts(vec![below(), Tar::new().dir("d").file("d/.wh.x", "").file("d/x", "").end()], "d", &["e", "f", "x"]);
}
