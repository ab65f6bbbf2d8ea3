//! Standard streams of the caller: a device or a directory of the host keeps its owner.

use std::fs::OpenOptions;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use test_support::*;

#[test]
fn streams_that_are_not_the_containers_keep_their_owner() {
    need_root!();
    let sandbox = Sandbox::new();
    let zero = sandbox.path("zero");
    let block = sandbox.path("block");
    host::mknod(&zero, libc::S_IFCHR, libc::makedev(1, 5));
    // a loop device of a number that is never set up: open(2) succeeds, or fails because there is no driver
    host::mknod(&block, libc::S_IFBLK, libc::makedev(7, 250));
    let dir = sandbox.mkdir("dir");
    let log = sandbox.write("log", "");
    let null = sandbox.path("null");
    host::mknod(&null, libc::S_IFCHR, libc::makedev(1, 3));
    let mut seen = Vec::new();
    for path in [&zero, &null, &block, &dir, &log] {
        let c = Container::within(&sandbox, &["sh", "-c", "echo ran >/tmp/ran"]).edit(|config| {
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        });
        let write = path != &dir;
        let Ok(stream) = OpenOptions::new().read(true).write(write).open(path) else { continue };
        let out = c.run_with(&[]).stdio(stream.as_fd()).out();
        assert_eq!(out.code, Some(0), "{path:?}: {out:?}");
        assert_eq!(c.wait_file("/tmp/ran"), "ran\n");
        let given = std::fs::metadata(path).unwrap().uid() == 1000;
        assert_eq!(given, path == &log, "{path:?}");
        seen.push(path);
    }
    for path in [&zero, &null, &dir, &log] {
        assert!(seen.contains(&path), "{path:?} was tried");
    }
}
