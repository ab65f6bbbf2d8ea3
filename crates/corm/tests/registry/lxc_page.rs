//! The commands of docs/user/copying.md: what callers of skopeo and umoci do, with corm.

use std::path::Path;

use test_support::{Sandbox, need_root, skip};

use crate::corm;
use crate::real::{Registry, installed};

#[test]
fn the_commands_of_the_page_do_what_it_promises() {
    need_root!();
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/user/copying.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (registry, sandbox) = (Registry::start(false, None), Sandbox::new());
    crate::runs::busybox(&sandbox).write_layout(&sandbox.path("first"), "latest");
    let docker = format!("docker://{}", registry.name("busybox:1"));
    let (dir, archive) = (sandbox.path("oci").display().to_string(), sandbox.path("x.tar").display().to_string());
    let run = |verb: &str, args: &[&str]| {
        // a command that the page no longer has needs no test, and one that it has runs here
        assert!(page.contains(&format!("corm {verb}")), "{verb}");
        let words: Vec<&str> = verb.split(' ').chain(args.iter().copied()).collect();
        corm(&sandbox, &words).out().ok()
    };
    run("copy", &[&format!("oci:{}:latest", sandbox.path("first").display()), &docker]);
    run("copy", &[&docker, &format!("oci:{dir}:latest")]);
    run("copy", &[&docker, &format!("docker://{}", registry.name("mirror/x:1"))]);
    run("copy --all --preserve-digests", &[&docker, &format!("docker://{}", registry.name("mirror/y:1"))]);
    run("copy --platform linux/arm64", &[&docker, &format!("oci:{dir}:arm")]);
    run("copy", &[&docker, &format!("docker-archive:{archive}:x:1")]);
    run("copy --compression-format zstd", &[&docker, &format!("oci:{dir}:zstd")]);
    run("inspect", &[&docker]);
    run("inspect --raw", &[&docker]);
    assert_eq!(run("tags", &[&registry.name("mirror/x")]).stdout, "1\n");
    run("delete", &[&format!("docker://{}", registry.name("mirror/x:1"))]);
    // unpack, change, and back into the layout
    run("copy", &[&format!("oci:{dir}:latest"), "store:x"]);
    let bundle = sandbox.path("bundle");
    run("bundle", &["x", bundle.to_str().unwrap()]);
    assert!(bundle.join("rootfs/bin/sh").exists() && bundle.join("config.json").exists());
    run("config --cmd sh", &["x", "x:2"]);
    corm(&sandbox, &["run", "--name", "c", "x", "sh", "-c", "echo new > /new"]).out().ok();
    run("commit", &["c", "x:3"]);
    run("copy", &["x:3", &format!("oci:{dir}:3")]);
    if installed("umoci") {
        let out = sandbox.program("umoci").args(["ls", "--layout", &dir]).out().ok();
        assert_eq!(out.stdout, "latest\narm\nzstd\n3\n");
    }
    // what lxc's template does with a file system
    let (tar, rootfs) = (sandbox.path("fs.tar"), sandbox.mkdir("fs"));
    run("export", &["x", "-o", tar.to_str().unwrap()]);
    sandbox.program("tar").args(["-x", "-C", rootfs.to_str().unwrap(), "-f", tar.to_str().unwrap()]).out().ok();
    assert!(rootfs.join("bin/sh").exists());
}
