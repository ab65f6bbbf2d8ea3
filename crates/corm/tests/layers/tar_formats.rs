//! The forms of tar (item 10 of the malicious layers).

use crate::fixture::Want::{Error, Tree};
use crate::fixture::{case, check};
use crate::tar::{BLOCK, Header, Tar};

#[test]
fn long_names_in_every_form() {
    let long = format!("{}/{}", "d".repeat(120), "n".repeat(130));
    let target = "t".repeat(200);
    let link = format!("link {target}");
    let facts = [(&*long, "file x")];
    let mut prefixed = Header::new(b'0', "n".repeat(90)).size(1);
    prefixed.bytes(345, "p".repeat(150));
    let prefixed_name = format!("{}/{}", "p".repeat(150), "n".repeat(90));
    check(&[
        case("GNU", vec![Tar::new().long(b'L', &long).file("short", "x").end()], Tree(&facts)),
        case("pax", vec![Tar::new().pax(&[("path", long.as_bytes())]).file("short", "x").end()], Tree(&facts)),
        case("ustar's prefix", vec![Tar::new().entry(prefixed, "x").end()], Tree(&[(&prefixed_name, "file x")])),
        case("GNU link", vec![Tar::new().long(b'K', &target).symlink("l", "short").end()], Tree(&[("l", &link)])),
        case(
            "pax link",
            vec![Tar::new().pax(&[("linkpath", target.as_bytes())]).symlink("l", "s").end()],
            Tree(&[("l", &link)]),
        ),
        case(
            "both, for one entry only",
            vec![Tar::new().long(b'L', &long).long(b'K', &target).symlink("s", "s").file("next", "x").end()],
            Tree(&[(&long, &link), ("next", "file x")]),
        ),
        case(
            "GNU wins over pax, as in Go's reader",
            vec![Tar::new().long(b'L', "gnu").pax(&[("path", b"pax")]).file("s", "x").end()],
            Tree(&[("gnu", "file x"), ("pax", "none")]),
        ),
        case(
            "exactly 100 bytes",
            vec![Tar::new().file("n".repeat(100), "x").end()],
            Tree(&[(&"n".repeat(100), "file x")]),
        ),
        case(
            "an empty value takes a record back",
            vec![Tar::new().pax(&[("path", b"other"), ("path", b"")]).file("s", "x").end()],
            Tree(&[("s", "file x")]),
        ),
    ]);
}

#[test]
fn headers_about_headers_are_bounded() {
    let huge = |flag: u8| Tar::new().entry(Header::new(flag, "huge").size(1 << 33), "").end();
    let lies = Tar::new().raw(Header::new(b'x', "h").size(20).done()).raw([b'9'; BLOCK]).file("f", "").end();
    check(&[
        case("a pax header of 8 GiB", vec![huge(b'x')], Error(&["8589934592 bytes"])),
        case("a name of 8 GiB", vec![huge(b'L')], Error(&["8589934592 bytes"])),
        case("a link of 8 GiB", vec![huge(b'K')], Error(&["8589934592 bytes"])),
        case("records that are none", vec![lies], Error(&["pax"])),
        case("a header for nothing", vec![Tar::new().pax(&[("path", b"x")]).end()], Tree(&[("x", "none")])),
    ]);
}

#[test]
fn a_size_in_pax_is_the_size() {
    let smuggled = Tar::new().file("inner", "x").0;
    let size = smuggled.len().to_string();
    check(&[
        case(
            "larger than in the header: what follows is data",
            vec![
                Tar::new()
                    .pax(&[("size", size.as_bytes())])
                    .entry(Header::new(b'0', "f"), &smuggled)
                    .file("g", "g")
                    .end(),
            ],
            Tree(&[("f?size", &size), ("inner", "none"), ("g", "file g")]),
        ),
        case(
            "smaller than in the header",
            vec![Tar::new().pax(&[("size", b"0")]).raw(Header::new(b'0', "f").size(512).done()).file("g", "g").end()],
            Tree(&[("f", "file "), ("g", "file g")]),
        ),
        case("negative", vec![Tar::new().pax(&[("size", b"-1")]).file("f", "").end()], Error(&["size"])),
        case(
            "beyond all files",
            vec![Tar::new().pax(&[("size", b"9223372036854775807")]).file("f", "").end()],
            Error(&["entry \"f\""]),
        ),
        case(
            "no number",
            vec![Tar::new().pax(&[("size", b"99999999999999999999")]).file("f", "").end()],
            Error(&["size"]),
        ),
        case(
            "of a directory and a link, which have no data",
            vec![
                Tar::new()
                    .raw(Header::new(b'5', "d").size(512).done())
                    .raw(Header::new(b'2', "l").link("x").size(99).done())
                    .file("f", "f")
                    .end(),
            ],
            Tree(&[("d", "dir"), ("l", "link x"), ("f", "file f")]),
        ),
    ]);
}

#[test]
fn times_and_owners_at_their_ends() {
    let with = |key: &str, value: &str| vec![Tar::new().pax(&[(key, value.as_bytes())]).file("f", "").end()];
    let mut binary = Header::new(b'0', "f");
    binary.bytes(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0").bytes(108, b"\x80\0\0\0\0\x01\x11\x70");
    let mut beyond = Header::new(b'0', "f");
    beyond.bytes(108, b"\x80\0\0\x01\0\0\0\0");
    let mut negative = Header::new(b'0', "f");
    negative.bytes(108, b"\xff\xff\xff\xff\xff\xff\xff\xff");
    let mut endless = Header::new(b'0', "f");
    endless.bytes(136, b"\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    check(&[
        case("nanoseconds", with("mtime", "1234567890.123456789"), Tree(&[("f?mtime", "1234567890.123456789")])),
        case("before 1970", with("mtime", "-1.25"), Tree(&[("f?mtime", "-2.750000000")])),
        case("not a time", with("mtime", "soon"), Error(&["mtime"])),
        case(
            "base-256",
            vec![Tar::new().entry(binary, "").end()],
            Tree(&[("f?mtime", "-16.000000000"), ("f?owner", "70000:0")]),
        ),
        case("mtime beyond the kernel", vec![Tar::new().entry(endless, "").end()], Error(&["entry \"f\"", "mtime"])),
        case("uid of 31 bits", with("uid", "4294967294"), Tree(&[("f?owner", "4294967294:0")])),
        case("uid -1", with("uid", "-1"), Error(&["entry \"f\"", "uid -1"])),
        case("uid that is -1", with("uid", "4294967295"), Error(&["entry \"f\"", "uid 4294967295"])),
        case("gid beyond 32 bits", with("gid", "4294967296"), Error(&["entry \"f\"", "gid 4294967296"])),
        case("uid beyond 32 bits in base-256", vec![Tar::new().entry(beyond, "").end()], Error(&["uid 4294967296"])),
        case("uid -1 in base-256", vec![Tar::new().entry(negative, "").end()], Error(&["uid -1"])),
    ]);
    crate::fixture::over_all(|fixture| {
        // the kernel limits a time that the file system cannot store to the nearest that it can
        let layers = [fixture.layer(&with("mtime", "9223372036854775807")[0])];
        fixture.unpack(&layers).unwrap();
    });
}

#[test]
fn types_that_are_none_are_refused() {
    let typed = |flag: u8| vec![Tar::new().entry(Header::new(flag, "odd"), "").end()];
    let unknown = [b'D', b'M', b'N', b'V', b'A', b'8', b'X', 0xff];
    check(&unknown.map(|flag| case("unknown", typed(flag), Error(&["entry \"odd\"", "not supported"]))));
    check(&[
        case(
            "of the oldest form",
            vec![Tar::new().entry(Header::new(0, "d/"), "").entry(Header::new(0, "f"), "").end()],
            Tree(&[("d", "dir"), ("f", "file ")]),
        ),
        case("contiguous", vec![Tar::new().entry(Header::new(b'7', "c").size(1), "x").end()], Tree(&[("c", "file x")])),
        case("no tar", vec![vec![b'A'; 4096]], Error(&["checksum"])),
        case("an empty archive", vec![Tar::new().end()], Tree(&[("", "dir")])),
        case("nothing at all", vec![Vec::new()], Tree(&[("", "dir")])),
    ]);
}

#[test]
fn global_headers_change_nothing() {
    let global = |records: &[(&str, &[u8])]| {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| crate::tar::record(key, value)).collect();
        Tar::new().entry(Header::new(b'g', "pax_global_header").size(data.len() as u64), data).file("f", "x").end()
    };
    check(&[
        case("a comment", vec![global(&[("comment", b"0123456789abcdef")])], Tree(&[("f", "file x")])),
        case("a path for all", vec![global(&[("path", b"../pwned")])], Error(&["global header"])),
        case("a size for all", vec![global(&[("size", b"512")])], Error(&["global header"])),
    ]);
}

/// Returns a sparse file in GNU's old form: a map in the header, and more of it in the blocks `extra` that follow.
fn old_sparse(pieces: &[(u64, u64)], extra: &[Vec<(u64, u64)>], size: u64, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new(b'S', "s").gnu().size(data.len() as u64);
    for (index, (offset, length)) in pieces.iter().enumerate() {
        header.bytes(386 + index * 24, format!("{offset:011o}")).bytes(398 + index * 24, format!("{length:011o}"));
    }
    header.bytes(483, format!("{size:011o}"));
    header.0[482] = u8::from(!extra.is_empty());
    let mut tar = Tar::new().raw(header.done());
    for (number, pieces) in extra.iter().enumerate() {
        let mut block = Header([0; BLOCK]);
        for (index, (offset, length)) in pieces.iter().enumerate() {
            block.bytes(index * 24, format!("{offset:011o}")).bytes(index * 24 + 12, format!("{length:011o}"));
        }
        block.0[504] = u8::from(number + 1 < extra.len());
        tar = tar.raw(block.0);
    }
    let mut tar = tar.raw(data);
    tar.0.resize(tar.0.len().next_multiple_of(BLOCK), 0);
    tar.file("after", "a").end()
}

fn sparse_10(map: &str, size: &str, data: &[u8]) -> Vec<u8> {
    let mut stored = map.as_bytes().to_vec();
    stored.resize(stored.len().next_multiple_of(BLOCK), 0);
    stored.extend_from_slice(data);
    Tar::new()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ])
        .file("GNUSparseFile.0/s", stored)
        .file("after", "a")
        .end()
}

#[test]
fn sparse_files_in_every_form() {
    let content = "file \0\0\0\0\0\0\0\0ab\0\0\0\0cd\0\0";
    let facts = [("s", content), ("after", "file a")];
    let extended = old_sparse(&[(8, 2)], &[vec![(14, 1)], vec![(15, 1)]], 18, b"abcd");
    check(&[
        case("old", vec![old_sparse(&[(8, 2), (14, 2)], &[], 18, b"abcd")], Tree(&facts)),
        case("old, in several blocks", vec![extended], Tree(&facts)),
        case(
            "0.0",
            vec![
                Tar::new()
                    .pax(&[
                        ("GNU.sparse.size", b"18"),
                        ("GNU.sparse.numblocks", b"2"),
                        ("GNU.sparse.offset", b"8"),
                        ("GNU.sparse.numbytes", b"2"),
                        ("GNU.sparse.offset", b"14"),
                        ("GNU.sparse.numbytes", b"2"),
                    ])
                    .file("s", "abcd")
                    .file("after", "a")
                    .end(),
            ],
            Tree(&facts),
        ),
        case(
            "0.1",
            vec![
                Tar::new()
                    .pax(&[("GNU.sparse.size", b"18"), ("GNU.sparse.name", b"s"), ("GNU.sparse.map", b"8,2,14,2")])
                    .file("GNUSparseFile.0/s", "abcd")
                    .file("after", "a")
                    .end(),
            ],
            Tree(&facts),
        ),
        case("1.0", vec![sparse_10("2\n8\n2\n14\n2\n", "18", b"abcd")], Tree(&facts)),
        case("1.0 without data", vec![sparse_10("1\n18\n0\n", "18", b"")], Tree(&[("s?size", "18")])),
    ]);
}

#[test]
fn wrong_sparse_maps_are_refused() {
    let many = (0..40).map(|number| vec![(number, 0); 21]).collect::<Vec<_>>();
    check(&[
        case(
            "beyond the end",
            vec![old_sparse(&[(8, 20)], &[], 18, &[b'x'; 20])],
            Error(&["entry \"s\"", "sparse map"]),
        ),
        case(
            "overlapping",
            vec![sparse_10("2\n4\n4\n6\n4\n", "18", b"abcdefgh")],
            Error(&["entry \"s\"", "sparse map"]),
        ),
        case("backwards", vec![sparse_10("2\n8\n2\n0\n2\n", "18", b"abcd")], Error(&["entry \"s\"", "sparse map"])),
        case(
            "more data than pieces",
            vec![sparse_10("1\n8\n2\n", "18", b"abcd")],
            Error(&["entry \"s\"", "sparse map"]),
        ),
        case(
            "less data than pieces",
            vec![sparse_10("1\n8\n9\n", "18", b"abcd")],
            Error(&["entry \"s\"", "sparse map"]),
        ),
        case(
            "so many pieces that they overflow",
            vec![sparse_10("2\n1\n9223372036854775807\n9223372036854775806\n2\n", "18", b"")],
            Error(&["sparse map"]),
        ),
        case("a count without end", vec![sparse_10("99999999\n1\n1\n", "18", b"")], Error(&["entry \"s\"", "pieces"])),
        case("a map without end", vec![sparse_10("9\n1\n1\n", "18", b"")], Error(&["entry \"s\"", "sparse map"])),
        case("no number", vec![sparse_10("x\n", "18", b"")], Error(&["entry \"s\"", "sparse map"])),
        case("unsorted blocks", vec![old_sparse(&[], &many[..], 18, b"")], Error(&["entry \"s\""])),
        case(
            "form 2.0",
            vec![Tar::new().pax(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")]).file("s", "").end()],
            Error(&["sparse form"]),
        ),
        case("8 EiB", vec![sparse_10("0\n", "9223372036854775807", b"")], Error(&["entry \"s\"", "bytes together"])),
    ]);
}

#[test]
fn a_huge_sparse_file_costs_nothing() {
    crate::fixture::over_all(|fixture| {
        let layers = [fixture.layer(&sparse_10("1\n1099511627774\n2\n", "1099511627776", b"ab"))];
        match fixture.unpack(&layers) {
            Ok(()) => fixture.look(&layers, |root| {
                use std::os::unix::fs::MetadataExt as _;
                let meta = std::fs::metadata(root.join("s")).unwrap();
                assert_eq!(meta.len(), 1 << 40);
                assert!(meta.blocks() < 1000);
            }),
            // a file system with a smaller maximum size of a file
            Err(text) => assert!(text.contains("entry \"s\""), "{text}"),
        }
    });
}
