//! Extended attributes, devices, set-id files (items 7 and 8 of the malicious layers).

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use corm::layer;
use corm::layer::Compression;
use corm::layer::Limits;
use corm::layer::Target;
use corm::model::digest::Digest;
use corm::model::layer::WhiteoutFormat;

use crate::fixture::Want::{Error, Tree};
use crate::fixture::{case, check, fact};
use crate::store_fixture::{Disk, Place};
use crate::tar::{Header, Tar};
use test_support::tree;

/// The value of `security.capability` for `cap_net_raw+ep`, as the kernel stores it.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn attributes_of_the_file_are_kept() {
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.text", b"a\nb\0c"), ("SCHILY.xattr.security.capability", CAPABILITY)])
        .entry(Header::new(b'0', "ping").mode(0o755).owner(7, 8), "")
        .pax(&[("LIBARCHIVE.xattr.user.%6e%61me", b"dmFsdWU=")])
        .dir("d")
        .pax(&[("SCHILY.xattr.trusted.mine", b"t")])
        .symlink("l", "x")
        .end();
    crate::fixture::over_all(|fixture| {
        let layers = [fixture.layer(&tar)];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| {
            let wanted =
                [("security.capability".to_owned(), CAPABILITY.to_vec()), ("user.text".into(), b"a\nb\0c".to_vec())];
            assert_eq!(tree::xattrs(&root.join("ping")), wanted);
            assert_eq!(fact(root, "ping?owner"), "7:8");
            assert_eq!(fact(root, "d?xattrs"), "user.name=value");
            assert_eq!(fact(root, "l?xattrs"), "trusted.mine=t");
        });
    });
}

#[test]
fn attributes_of_the_machine_are_left_out() {
    let names = [
        "security.selinux",
        "security.evm",
        "trusted.overlay.origin",
        "trusted.overlay.upper",
        "user.overlay.opaque",
        "trusted.overlay.overlay.opaque",
    ];
    let tar = names.iter().fold(Tar::new(), |tar, name| {
        tar.pax(&[(&format!("SCHILY.xattr.{name}"), b"y")]).file(format!("of {name}"), "")
    });
    let paths = names.map(|name| format!("of {name}?xattrs"));
    let facts: Vec<_> = paths.iter().map(|path| (&**path, "")).collect();
    check(&[
        case("left out", vec![tar.end()], Tree(&facts)),
        case(
            "user attributes on what has none",
            vec![Tar::new().pax(&[("SCHILY.xattr.user.x", b"1")]).symlink("l", "x").end()],
            Tree(&[("l", "link x"), ("l?xattrs", "")]),
        ),
    ]);
}

#[test]
fn attributes_that_no_kernel_takes_are_refused() {
    let long = format!("SCHILY.xattr.user.{}", "n".repeat(256));
    let large = vec![b'v'; (64 << 10) + 1];
    let one = |key: &str, value: &[u8]| vec![Tar::new().pax(&[(key, value)]).file("f", "").end()];
    check(&[
        case("no name", one("SCHILY.xattr.", b"x"), Error(&["SCHILY.xattr."])),
        case("long name", one(&long, b"x"), Error(&["SCHILY.xattr.user.n"])),
        case("large value", one("SCHILY.xattr.user.x", &large), Error(&["SCHILY.xattr.user.x", "65537"])),
        case("no namespace", one("SCHILY.xattr.nothing", b"x"), Tree(&[("f?xattrs", "")])),
        case("broken capability", one("SCHILY.xattr.security.capability", b"x"), Error(&["entry \"f\"", "capability"])),
        case("not base64", one("LIBARCHIVE.xattr.user.x", b"%%%"), Error(&["base64"])),
    ]);
}

#[test]
fn a_directorys_attributes_are_those_of_its_last_entry() {
    let first = Tar::new().pax(&[("SCHILY.xattr.user.old", b"1")]).dir("d").file("d/f", "").end();
    let second = Tar::new().pax(&[("SCHILY.xattr.user.new", b"2")]).entry(Header::new(b'5', "d").mode(0o700), "").end();
    check(&[case(
        "replaced",
        vec![first, second],
        Tree(&[("d?xattrs", "user.new=2"), ("d?mode", "700"), ("d/f", "file ")]),
    )]);
}

fn specials() -> Tar {
    Tar::new()
        .entry(Header::new(b'3', "null").device(1, 3).mode(0o666), "")
        .entry(Header::new(b'4', "disk").device(8, 0).mode(0o660), "")
        .entry(Header::new(b'6', "fifo").mode(0o600), "")
        .entry(Header::new(b'0', "su").mode(0o4755).owner(9, 9), "")
        .entry(Header::new(b'5', "sticky").mode(0o3777).owner(1, 2), "")
        .entry(Header::new(b'0', "closed").mode(0).owner(9, 9), "")
        .entry(Header::new(b'5', "shut").mode(0), "")
}

#[test]
fn special_files_are_roots() {
    check(&[case(
        "all kinds",
        vec![specials().file("shut/in", "x").end()],
        Tree(&[
            ("null", "char 1:3"),
            ("null?mode", "666"),
            ("disk", "block 8:0"),
            ("fifo", "fifo"),
            ("su?mode", "4755"),
            ("su?owner", "9:9"),
            ("sticky?mode", "3777"),
            ("closed?mode", "0"),
            ("shut?mode", "0"),
            ("shut/in", "file x"),
        ]),
    )]);
}

#[test]
fn without_privileges_devices_are_left_out_and_owners_stay() {
    let tar = specials().end();
    let result = std::thread::spawn(move || {
        let place = Place::new(Disk::Tmpfs);
        let (dir, blob) = (place.mkdir("root"), place.path().join("blob"));
        fs::write(&blob, &tar).unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        std::os::unix::fs::chown(&dir, Some(4321), Some(4321)).unwrap();
        let target = Target {
            root: OwnedFd::from(fs::File::open(&dir).unwrap()),
            whiteouts: WhiteoutFormat::Delete,
            unprivileged: true,
        };
        let blob = fs::File::open(&blob).unwrap();
        // changes only this thread, and those that it starts
        nix::unistd::setfsgid(4321.into());
        nix::unistd::setfsuid(4321.into());
        let media_type = Compression::None.media_type();
        let applied = layer::unpack(blob, media_type, &Digest::of(&tar), &target, &Limits::default(), &|_| {});
        nix::unistd::setfsuid(0.into());
        nix::unistd::setfsgid(0.into());
        assert_eq!(applied.unwrap().dropped, 2);
        for (path, wanted) in [
            ("null", "none"),
            ("disk", "none"),
            ("fifo", "fifo"),
            ("su?mode", "4755"),
            ("su?owner", "4321:4321"),
            ("closed?mode", "0"),
            ("shut?mode", "0"),
        ] {
            assert_eq!(fact(&dir, path), wanted, "{path}");
        }
        assert_eq!(fs::metadata(&dir).unwrap().uid(), 4321);
    });
    result.join().unwrap();
}
