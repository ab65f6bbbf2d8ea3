//! Trees and changes that are written as a layer and read back are the same.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use corm::build;
use corm::layer::pack;
use corm::model::change::Change;
use corm::model::change::ChangeKind;
use corm::model::digest::Digest;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;

use crate::fixture::{fact, over_all};
use test_support::tree;

/// Fills a directory with each kind of file that a layer can hold.
fn fill(root: &Path) {
    for dir in ["bin", "etc/deep/er", "empty", "var/tmp", "a b"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let long = "n".repeat(200);
    for (name, text) in
        [("bin/su", "#!"), ("etc/a", ""), ("etc/deep/er/b", "b"), ("a b/c\nd", "odd"), (&long, "long"), (".dot", "")]
    {
        fs::write(root.join(name), text).unwrap();
    }
    fs::write(root.join("var/large"), (0..600_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    fs::hard_link(root.join("bin/su"), root.join("etc/deep/same")).unwrap();
    fs::hard_link(root.join("bin/su"), root.join(&long[..150])).unwrap();
    symlink("/etc/a", root.join("etc/link")).unwrap();
    symlink("x".repeat(300), root.join("etc/dangling")).unwrap();
    fs::hard_link(root.join("etc/link"), root.join("link2")).unwrap();
    for (name, kind, device) in [
        ("null", SFlag::S_IFCHR, makedev(1, 3)),
        ("loop", SFlag::S_IFBLK, makedev(7, 1_000)),
        ("fifo", SFlag::S_IFIFO, 0),
    ] {
        mknod(&root.join(name), kind, Mode::from_bits_truncate(0o620), device).unwrap();
    }
    chown(root.join("bin/su"), Some(12), Some(34)).unwrap();
    chown(root.join("etc"), Some(3_000_000_000), Some(4_000_000)).unwrap();
    std::os::unix::fs::lchown(root.join("etc/link"), Some(5), Some(6)).unwrap();
    for (name, mode) in [("bin/su", 0o4755), ("var/tmp", 0o1777), ("etc/a", 0), ("empty", 0o2711)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    attribute(root, "etc/a", c"user.text", b"line\nand\0NUL");
    attribute(root, "bin/su", c"security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    attribute(root, "var", c"trusted.mine", b"");
    sparse(root);
    for (name, seconds, nanoseconds) in
        [("etc/a", 1, 1), ("etc/deep/er", -5, 250_000_000), ("etc/dangling", 12_345_678_901, 5), ("", 77, 7)]
    {
        let time = TimeSpec::new(seconds, nanoseconds);
        utimensat(AT_FDCWD, &root.join(name), &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
    }
}

fn sparse(root: &Path) {
    for (name, size, at) in
        [("var/small-hole", 8 << 20, 4 << 20), ("var/large-hole", 200 << 20, 150 << 20), ("var/lastlog", 3u64 << 30, 0)]
    {
        let file = File::create(root.join(name)).unwrap();
        file.set_len(size).unwrap();
        if at > 0 {
            file.write_all_at(b"in the middle", at).unwrap();
        }
    }
}

fn attribute(root: &Path, name: &str, attribute: &std::ffi::CStr, value: &[u8]) {
    let path = std::ffi::CString::new(root.join(name).into_os_string().into_encoded_bytes()).unwrap();
    linux::file::set_xattr(&path, attribute, value).unwrap();
}

fn dir(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Returns the archive of a tree.
fn packed(root: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    pack::tree(dir(root).as_fd(), &mut tar).unwrap();
    tar
}

#[test]
fn a_tree_that_was_packed_and_unpacked_is_the_tree() {
    over_all(|fixture| {
        let root = fixture.place.mkdir("tree");
        fill(&root);
        let wanted = tree::read(&root);
        let (layer, size) = build::write_blob(&fixture.store, |out| pack::tree(dir(&root).as_fd(), out)).unwrap();
        assert!(size < 8 << 20, "holes are not stored: {size}");
        let layers = [layer];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| tree::assert_same(&wanted, &tree::read(root)));
    });
}

#[test]
fn equal_trees_give_equal_bytes() {
    over_all(|fixture| {
        let (one, other) = (fixture.place.mkdir("one"), fixture.place.mkdir("other"));
        fill(&one);
        base::fs::copy::fill_tree(&one, dir(&other), &base::fs::copy::Options::default()).unwrap();
        assert!(packed(&one) == packed(&other), "the archives differ");
        let blob = || build::write_blob(&fixture.store, |out| pack::tree(dir(&one).as_fd(), out)).unwrap();
        assert_eq!(blob(), blob());
    });
}

#[test]
fn what_no_layer_can_hold_is_named() {
    over_all(|fixture| {
        let packed = |name: &str, make: &dyn Fn(&Path)| {
            let root = fixture.place.mkdir(name);
            fs::create_dir(root.join("in")).unwrap();
            make(&root.join("in"));
            base::error::describe(&pack::tree(dir(&root).as_fd(), &mut std::io::sink()).unwrap_err())
        };
        let whiteout = packed("whiteout", &|dir| fs::write(dir.join(".wh.a"), "").unwrap());
        assert!(whiteout.contains("in/.wh.a"), "{whiteout}");
        let mounted = packed("mount", &|dir| {
            nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
        });
        assert!(mounted.contains("\"in\": is a mount point"), "{mounted}");
        // a socket is left out, because its process is not in the image, and a device 0:0, because it is a whiteout
        let root = fixture.place.mkdir("socket");
        let _socket = std::os::unix::net::UnixListener::bind(root.join("s")).unwrap();
        mknod(&root.join("c"), SFlag::S_IFCHR, Mode::S_IRUSR, 0).unwrap();
        let mut tar = Vec::new();
        pack::tree(dir(&root).as_fd(), &mut tar).unwrap();
        let entries = tar.chunks(512).filter(|block| block[257..262] == *b"ustar" && block[156] != b'x').count();
        assert_eq!(entries, 1, "the root alone");
    });
}

#[test]
fn changes_become_a_layer_that_repeats_them() {
    over_all(|fixture| {
        let root = fixture.place.mkdir("tree");
        fill(&root);
        let (base, _) = build::write_blob(&fixture.store, |out| pack::tree(dir(&root).as_fd(), out)).unwrap();
        // changes as a container makes them and its driver lists them
        fs::remove_file(root.join("etc/deep/er/b")).unwrap();
        fs::remove_dir_all(root.join("a b")).unwrap();
        fs::write(root.join("etc/new"), "new").unwrap();
        fs::hard_link(root.join("etc/new"), root.join("etc/new2")).unwrap();
        fs::remove_dir(root.join("empty")).unwrap();
        fs::write(root.join("empty"), "now a file").unwrap();
        fs::remove_file(root.join("null")).unwrap();
        fs::create_dir(root.join("null")).unwrap();
        fs::write(root.join("null/inside"), "").unwrap();
        fs::remove_dir_all(root.join("var")).unwrap();
        fs::create_dir(root.join("var")).unwrap();
        fs::write(root.join("var/only"), "").unwrap();
        let changes = [
            ("", ChangeKind::Changed),
            ("a b", ChangeKind::Deleted),
            ("empty", ChangeKind::Deleted),
            ("empty", ChangeKind::Added),
            ("etc", ChangeKind::Changed),
            ("etc/deep/er", ChangeKind::Changed),
            ("etc/deep/er/b", ChangeKind::Deleted),
            ("etc/new", ChangeKind::Added),
            ("etc/new2", ChangeKind::Added),
            ("null", ChangeKind::Deleted),
            ("null", ChangeKind::Added),
            ("null/inside", ChangeKind::Added),
            ("var", ChangeKind::Deleted),
            ("var", ChangeKind::Added),
            ("var/only", ChangeKind::Added),
        ]
        .map(|(path, kind)| Change { path: path.into(), kind });
        let wanted = tree::read(&root);
        let (top, _) =
            build::write_blob(&fixture.store, |out| pack::changes(dir(&root).as_fd(), &changes, out)).unwrap();
        let layers = [base, top];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| tree::assert_same(&wanted, &tree::read(root)));
    });
}

#[test]
fn directories_above_a_change_come_with_it() {
    over_all(|fixture| {
        let root = fixture.place.mkdir("tree");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o711)).unwrap();
        fs::write(root.join("a/b/c"), "c").unwrap();
        let changes = [
            Change { path: "a/b/c".into(), kind: ChangeKind::Changed },
            Change { path: "a/b/gone".into(), kind: ChangeKind::Deleted },
        ];
        let mut tar = Vec::new();
        pack::changes(dir(&root).as_fd(), &changes, &mut tar).unwrap();
        let names: Vec<String> = tar
            .chunks(512)
            .filter(|block| block[257..262] == *b"ustar" && block[156] != b'x')
            .map(|block| String::from_utf8_lossy(block[..100].split(|&byte| byte == 0).next().unwrap()).into_owned())
            .collect();
        assert_eq!(names, ["a/", "a/b/", "a/b/c", "a/b/.wh.gone"]);
        let layers = [fixture.layer(&tar)];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| assert_eq!(fact(root, "a?mode"), "711"));
    });
}

#[test]
fn a_part_of_a_debian_system_survives() {
    let source = Path::new("/usr/share");
    over_all(|fixture| {
        let root = fixture.place.mkdir("tree");
        for part in ["perl", "doc/base-files", "zoneinfo/Europe", "terminfo", "misc"]
            .iter()
            .filter(|part| source.join(part).is_dir())
        {
            let to = root.join(part);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            base::fs::copy::copy_tree(&source.join(part), &to).unwrap();
        }
        let wanted = tree::read(&root);
        assert!(wanted.len() > 100, "{} files", wanted.len());
        let layers = [build::write_blob(&fixture.store, |out| pack::tree(dir(&root).as_fd(), out)).unwrap().0];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| {
            tree::assert_same(&wanted, &tree::read(root));
            let mut again = Vec::new();
            pack::tree(dir(root).as_fd(), &mut again).unwrap();
            assert_eq!(Digest::of(&again), layers[0].diff_id, "packed again it is the same layer");
        });
    });
}
