//! Names of entries, the root's own entry, and files at the path of an entry (items 1, 5 and 6 of the malicious
//! layers).

use crate::fixture::Want::{Error, Tree};
use crate::fixture::{StoreFixture, case, check};
use crate::tar::{Header, Tar};

#[test]
fn names_that_leave_the_root_are_refused() {
    let outside = StoreFixture::outside();
    let up = "../".repeat(30) + outside.to_str().unwrap() + "/pwned";
    let names: [&str; 6] = ["../pwned", "a/../../pwned", "a/..", "..", "/../pwned", &up];
    let archives = names.map(|name| Tar::new().file("before", "").file(name, "x").end());
    let cases: Vec<_> =
        archives.into_iter().map(|tar| case("leaves", vec![tar], Error(&["entry \"", "\"..\""]))).collect();
    check(&cases);
}

#[test]
fn absolute_names_are_below_the_root() {
    let secret = StoreFixture::outside().join("secret");
    let secret = secret.to_str().unwrap();
    let inner = &secret[1..];
    check(&[
        case("absolute", vec![Tar::new().file("/pwned", "x").end()], Tree(&[("pwned", "file x")])),
        case("many slashes", vec![Tar::new().file("//a//./b/", "x").end()], Tree(&[("a/b", "file x")])),
        case("over a file outside", vec![Tar::new().file(secret, "changed").end()], Tree(&[(inner, "file changed")])),
    ]);
}

#[test]
fn odd_names_are_kept_or_refused_by_name() {
    let long = "n".repeat(256);
    let fits = "n".repeat(255);
    let path = "p/".repeat(2500);
    let deep = "d/".repeat(2000);
    check(&[
        case("empty", vec![Tar::new().file("", "x").end()], Error(&["entry \"\"", "empty"])),
        case("newline", vec![Tar::new().file("a\nb", "x").end()], Tree(&[("a\nb", "file x")])),
        case("escape", vec![Tar::new().file("\x1b[31mred", "x").end()], Tree(&[("\x1b[31mred", "file x")])),
        case("255 bytes", vec![Tar::new().long(b'L', &fits).file("short", "x").end()], Tree(&[(&fits, "file x")])),
        case("256 bytes", vec![Tar::new().long(b'L', &long).file("short", "x").end()], Error(&["entry \"nnn", "256"])),
        case("NUL", vec![Tar::new().pax(&[("path", b"a\0b")]).file("x", "").end()], Error(&["NUL", "path"])),
        case(
            "5000",
            vec![Tar::new().pax(&[("path", path.as_bytes())]).file("x", "").end()],
            Error(&["\"p/p/", "5000"]),
        ),
        case(
            "2000 deep",
            vec![Tar::new().pax(&[("path", deep.as_bytes())]).dir("x").end()],
            Error(&["\"d/d/", "2000"]),
        ),
    ]);
    crate::fixture::over_all(|fixture| {
        let layers = [fixture.layer(&Tar::new().file(b"bad\xffutf8", "x").end())];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| {
            let name = std::os::unix::ffi::OsStrExt::from_bytes(&b"bad\xffutf8"[..]);
            let name: &std::ffi::OsStr = name;
            assert_eq!(std::fs::read(root.join(name)).unwrap(), b"x");
        });
    });
}

#[test]
fn the_root_has_an_entry_of_its_own() {
    let root = |flag: u8| Tar::new().entry(Header::new(flag, "./").mode(0o711).owner(5, 6).link("/etc"), "").end();
    check(&[
        case(
            "directory",
            vec![root(b'5')],
            Tree(&[("?mode", "711"), ("?owner", "5:6"), ("?mtime", "1000000000.000000000")]),
        ),
        case("symlink", vec![root(b'2')], Error(&["entry \"./\"", "root"])),
        case("hard link", vec![root(b'1')], Error(&["entry \"./\"", "root"])),
        case("file", vec![Tar::new().entry(Header::new(b'0', "/"), "").end()], Error(&["entry \"/\"", "root"])),
        case("device", vec![Tar::new().entry(Header::new(b'3', ".").device(1, 3), "").end()], Error(&["root"])),
    ]);
}

#[test]
fn one_type_takes_the_place_of_another() {
    let below = || Tar::new().file("a", "old").dir("d").file("d/x", "x").symlink("l", "d").end();
    check(&[
        case(
            "file to directory and back",
            vec![below(), Tar::new().dir("a").file("a/b", "new").file("d", "now a file").dir("l").end()],
            Tree(&[("a", "dir"), ("a/b", "file new"), ("d", "file now a file"), ("l", "dir"), ("l/x", "none")]),
        ),
        case(
            "within one layer",
            vec![Tar::new().file("a", "1").dir("a").file("a/b", "2").file("a", "3").end()],
            Tree(&[("a", "file 3")]),
        ),
        case(
            "the last of the same name",
            vec![Tar::new().file("a", "1").symlink("a", "x").file("a", "2").end()],
            Tree(&[("a", "file 2")]),
        ),
        case(
            "a parent that is a file",
            vec![Tar::new().file("f", "").file("f/x", "").end()],
            Error(&["entry \"f/x\""]),
        ),
        case(
            "parents without entries",
            vec![Tar::new().file("a/b/c", "x").end()],
            Tree(&[
                ("a/b", "dir"),
                ("a/b?mode", "755"),
                ("a/b?owner", "0:0"),
                ("a/b?mtime", "0.000000000"),
                ("a/b/c", "file x"),
            ]),
        ),
        case(
            "a parent's entry after its own",
            vec![Tar::new().file("a/b", "x").entry(Header::new(b'5', "a").mode(0o700), "").end()],
            Tree(&[("a/b", "file x"), ("a?mode", "700"), ("a?mtime", "1000000000.000000000")]),
        ),
    ]);
}

#[test]
fn a_directory_without_an_entry_stays_as_the_layer_below_has_it() {
    let below = Tar::new().entry(Header::new(b'5', "tmp").mode(0o1777).owner(3, 4), "").end();
    check(&[case(
        "sticky",
        vec![below, Tar::new().file("tmp/new", "x").end()],
        Tree(&[
            ("tmp?mode", "1777"),
            ("tmp?owner", "3:4"),
            ("tmp?mtime", "1000000000.000000000"),
            ("tmp/new", "file x"),
        ]),
    )]);
}
