//! Symlinks and entries below them, hard links (items 2 and 3 of the malicious layers).

use crate::fixture::Want::{Error, Tree};
use crate::fixture::{StoreFixture, case, check};
use crate::tar::{Header, Tar};

/// Returns targets that lead outside when they are resolved from the host's root.
fn targets_outside() -> [String; 3] {
    let outside = StoreFixture::outside();
    let absolute = outside.to_str().unwrap();
    [absolute.to_owned(), format!("{}{absolute}", "../".repeat(40)), format!("dir/..{absolute}/../{absolute}")]
}

#[test]
fn entries_below_a_symlink_stay_inside() {
    crate::fixture::over_all(|fixture| {
        for way in targets_outside() {
            let link = Tar::new().symlink("l", &way);
            for tar in below(&link) {
                // both entries in one layer, and the symlink in the layer below
                let (first, second) = tar.split_at(link.0.len());
                for archives in [vec![&*tar], vec![first, second]] {
                    let layers: Vec<_> = archives.into_iter().map(|tar| fixture.layer(tar)).collect();
                    // a result and an error are both correct, because this tests only that nothing outside changes,
                    // which `over_all` checks
                    if let Err(text) = fixture.unpack(&layers) {
                        assert!(text.contains("entry \"l"), "{text}");
                    }
                }
            }
        }
    });
}

/// Returns archives with each kind of entry below a symlink `l`.
fn below(link: &Tar) -> Vec<Vec<u8>> {
    let link = || link.clone();
    let archives = [
        link().file("l/pwned", "x"),
        link().dir("l/dir"),
        link().entry(Header::new(b'5', "l/dir").mode(0o777), ""),
        link().entry(Header::new(b'3', "l/null").device(1, 3), ""),
        link().symlink("l/secret", "x"),
        link().file("f", "x").link("l/pwned", "f"),
        link().file("l/.wh.secret", ""),
        link().file("l/.wh..wh..opq", ""),
        link().file("l/dir/.wh.inside", ""),
        link().pax(&[("SCHILY.xattr.user.pwned", b"1")]).file("l/secret", "x"),
        link().entry(Header::new(b'5', "l/").mode(0o777), "").file("l/pwned", "x"),
    ];
    archives.into_iter().map(Tar::end).collect()
}

#[test]
fn a_symlink_leads_where_it_would_if_the_root_were_the_root() {
    check(&[
        case(
            "absolute",
            vec![Tar::new().dir("real").symlink("l", "/real").file("l/f", "x").end()],
            Tree(&[("real/f", "file x"), ("l", "link /real")]),
        ),
        case(
            "upwards",
            vec![Tar::new().dir("a").dir("real").symlink("a/l", "../../../real").file("a/l/f", "x").end()],
            Tree(&[("real/f", "file x")]),
        ),
        case(
            "nowhere",
            vec![Tar::new().symlink("l", "/none").file("l/f", "x").end()],
            Error(&["entry \"l/f\"", "\"l\""]),
        ),
        case(
            "loop",
            vec![Tar::new().symlink("a", "b").symlink("b", "a").file("a/f", "x").end()],
            Error(&["entry \"a/f\""]),
        ),
        case("itself", vec![Tar::new().symlink("a", "a/b").file("a/f", "x").end()], Error(&["entry \"a/f\""])),
        case(
            "turned into a directory, then filled",
            vec![Tar::new().dir("real").symlink("l", "real").end(), Tar::new().dir("l").file("l/f", "x").end()],
            Tree(&[("l", "dir"), ("l/f", "file x"), ("real/f", "none")]),
        ),
        case(
            "replaced while it is in use",
            vec![
                Tar::new()
                    .dir("one")
                    .dir("two")
                    .symlink("l", "one")
                    .file("l/a", "1")
                    .symlink("l", "two")
                    .file("l/a", "2")
                    .end(),
            ],
            Tree(&[("one/a", "file 1"), ("two/a", "file 2")]),
        ),
        case(
            "a directory replaced by a symlink while it is in use",
            vec![Tar::new().dir("d").file("d/a", "1").dir("e").symlink("d", "e").file("d/b", "2").end()],
            Tree(&[("d", "link e"), ("e/b", "file 2"), ("e/a", "none")]),
        ),
    ]);
}

#[test]
fn a_file_takes_the_place_of_a_symlink_and_of_a_hard_link() {
    let secret = StoreFixture::outside().join("secret");
    let secret = secret.to_str().unwrap();
    check(&[
        case("symlink", vec![Tar::new().symlink("l", secret).file("l", "x").end()], Tree(&[("l", "file x")])),
        case(
            "hard link to a symlink, then written",
            vec![Tar::new().symlink("l", secret).link("h", "l").file("h", "x").end()],
            Tree(&[("l", &format!("link {secret}")), ("h", "file x")]),
        ),
        case(
            "one of two names",
            vec![Tar::new().file("a", "both").link("b", "a").file("b", "other").end()],
            Tree(&[("a", "file both"), ("b", "file other")]),
        ),
    ]);
}

#[test]
fn hard_links_are_of_this_layer_and_inside() {
    let secret = StoreFixture::outside().join("secret");
    let secret = secret.to_str().unwrap();
    let up = "../".repeat(40) + secret;
    let linked = |target: &str| vec![Tar::new().file("a", "x").link("h", target).end()];
    check(&[
        case("upwards", linked(&up), Error(&["entry \"h\"", "\"..\""])),
        case("absolute outside", linked(secret), Error(&["entry \"h\"", "hard link"])),
        case("absolute inside", linked("/a"), Tree(&[("h", "file x"), ("a?links", "2")])),
        case("forward", vec![Tar::new().link("h", "a").file("a", "x").end()], Error(&["entry \"h\"", "\"a\""])),
        case("itself", vec![Tar::new().file("a", "x").link("a", "a").end()], Tree(&[("a", "file x")])),
        case("a directory", vec![Tar::new().dir("a").link("h", "a").end()], Error(&["entry \"h\"", "\"a\""])),
        case("the root", linked("/"), Error(&["entry \"h\"", "hard link"])),
        case("a whiteout", linked(".wh.a"), Error(&["entry \"h\"", "hard link"])),
        case(
            "through a symlink that leads outside",
            vec![Tar::new().symlink("l", StoreFixture::outside().to_str().unwrap()).link("h", "l/secret").end()],
            Error(&["entry \"h\"", "l/secret"]),
        ),
        case(
            "through a symlink inside",
            vec![Tar::new().dir("d").file("d/a", "x").symlink("l", "/d").link("h", "l/a").end()],
            Tree(&[("h", "file x"), ("d/a?links", "2")]),
        ),
        case(
            "to a symlink, which is not followed",
            vec![Tar::new().symlink("l", secret).link("h", "l").end()],
            Tree(&[("h", &format!("link {secret}"))]),
        ),
        case(
            "to what this layer deleted",
            vec![Tar::new().file("a", "x").end(), Tar::new().file(".wh.a", "").link("h", "a").end()],
            Error(&["entry \"h\"", "\"a\""]),
        ),
        case(
            "over the directory that holds its target",
            vec![Tar::new().dir("d").file("d/a", "x").link("d", "d/a").end()],
            Error(&["entry \"d\"", "d/a"]),
        ),
    ]);
}

#[test]
fn a_hard_link_into_a_lower_layer_is_its_file_or_an_error() {
    crate::fixture::over_all(|fixture| {
        let layers = [fixture.layer(&Tar::new().file("a", "x").end()), fixture.layer(&Tar::new().link("h", "a").end())];
        match fixture.unpack(&layers) {
            // a driver that stores whole trees has the file
            Ok(()) => fixture.look(&layers, |root| assert_eq!(crate::fixture::fact(root, "h"), "file x")),
            Err(text) => assert!(text.contains("entry \"h\": hard link to \"a\""), "{text}"),
        }
    });
}
