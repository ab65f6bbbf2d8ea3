//! `run` of an image that is not in the store, and the files that it reads and writes.

use crate::corm;
use crate::fixture::Fixture;
use crate::server::Server;
use serde_json::json;
use test_support::{Sandbox, bundle, need_root};

/// Returns an image of busybox.
pub(crate) fn busybox(sandbox: &Sandbox) -> Fixture {
    let rootfs = bundle::make_rootfs(&sandbox.mkdir("busybox"));
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", rootfs).unwrap();
    Fixture::of_layers(&[tar.into_inner().unwrap()], &json!({ "Cmd": ["echo", "of the image"] }))
}

#[test]
fn run_pulls_what_is_missing() {
    need_root!();
    let sandbox = Sandbox::new();
    let fixture = busybox(&sandbox);
    let server = Server::new(move |request| fixture.answer(request));
    let name = server.name("a/b:v1");
    let run = |flags: &[&str], command: &[&str]| {
        corm(&sandbox, &[&["run", "--rm"], flags, &[&*name], command].concat()).out()
    };
    let out = run(&["--pull", "never"], &[]).exits(125).one_line();
    assert!(out.stderr.contains("No image named") && server.requests().is_empty(), "{out:?}");
    assert_eq!(run(&["-q"], &[]).ok().stdout, "of the image\n");
    assert_eq!(server.count("/manifests/"), 1);
    assert_eq!(run(&[], &["echo", "again"]).ok().stdout, "again\n");
    assert_eq!(server.count("/manifests/"), 1, "it is in the store");
    assert_eq!(run(&["--pull=always"], &[]).ok().stdout, "of the image\n");
    assert_eq!(server.count("/manifests/"), 2);
    assert_eq!(run(&["-d"], &[]).ok().text().len(), 64);
    let missing = server.name("a/none:v2");
    let out = corm(&sandbox, &["run", &missing]).out().exits(125).one_line();
    assert!(out.stderr.contains("cannot be pulled") && out.stderr.contains("HTTP status 404"), "{out:?}");
}

#[test]
fn variables_of_a_file_and_a_file_for_the_id() {
    need_root!();
    let sandbox = Sandbox::new();
    let fixture = busybox(&sandbox);
    fixture.write_layout(&sandbox.path("web"), "v1");
    corm(&sandbox, &["load", sandbox.path("web").to_str().unwrap()]).out().ok();
    let file = sandbox.write("env", "# a comment\n\nA=of the file\nB=2\n  C=3\nFROM_CALLER\n");
    let flags = ["run", "--name", "c", "--env-file", file.to_str().unwrap(), "-e", "B=flag", "--cidfile"];
    let id = sandbox.path("id");
    let script = ["web:v1", "sh", "-c", "echo $A $B $C $FROM_CALLER"];
    let run = || corm(&sandbox, &flags).arg(&id).args(script).env("FROM_CALLER", "4").out();
    assert_eq!(run().ok().stdout, "of the file flag 3 4\n");
    let written = std::fs::read_to_string(&id).unwrap();
    let listed = corm(&sandbox, &["ps", "-a", "--format", "json"]).out().ok().json();
    assert_eq!(listed[0]["Id"], written.as_str());
    // the file is not overwritten, and nothing is left of that container
    run().exits(125).one_line();
    assert_eq!(corm(&sandbox, &["ps", "-aq"]).out().ok().lines().len(), 1);
    for bad in ["=x", "\0"] {
        let bad = sandbox.write("bad", bad);
        corm(&sandbox, &["run", "--env-file", bad.to_str().unwrap(), "web:v1"]).out().exits(125).one_line();
    }
    let out = corm(&sandbox, &["wait", "c", "none", "c"]).out().exits(1);
    assert_eq!(out.stdout, "0\n0\n");
    corm(&sandbox, &["rm", "c"]).out().ok();
}
