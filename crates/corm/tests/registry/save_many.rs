//! `save` and `load` of several images, by files and by standard output and input, beside Podman; pulls of several.

use std::sync::Arc;

use serde_json::json;

use crate::fixture::{Fixture, tar_of};
use crate::interop::{podman, skopeo};
use crate::real::{Registry, installed, load};
use crate::{corm, images};
use test_support::{Cmd, Sandbox, need_root, skip};

/// Returns the command with its standard output in a file of the sandbox, because an archive is no text.
fn into(sandbox: &Arc<Sandbox>, file: &str, args: &[&str]) -> Cmd {
    let script = format!("exec \"$@\" > {}", sandbox.path(file).display());
    let shell = sandbox.program("/bin/sh").args(["-c", &script, "sh"]).arg(test_support::corm());
    let shell = shell.arg("--root").arg(sandbox.path("store")).args(["--driver", "copy"]).args(args);
    shell.env("HOME", &sandbox.dir).env("XDG_RUNTIME_DIR", &sandbox.dir)
}

/// Creates a sandbox whose store has two images with a common layer.
fn two() -> (Arc<Sandbox>, Fixture, Fixture) {
    let (sandbox, one) = (Sandbox::new(), Fixture::new());
    let tars = [tar_of(&[("etc/hello", b"hello\n"), ("etc/gone", b"x")]), tar_of(&[("own", b"own")])];
    let other = Fixture::of_layers(&tars, &json!({ "Cmd": ["own"] }));
    load(&sandbox, &one, "localhost/one:v1");
    load(&sandbox, &other, "localhost/other:v2");
    (sandbox, one, other)
}

#[test]
fn several_images_go_through_one_archive() {
    let (sandbox, one, other) = two();
    for format in ["oci-archive", "docker-archive"] {
        let save = ["save", "-q", "-m", "--format", format, "localhost/one:v1", "localhost/other:v2"];
        into(&sandbox, format, &save).out().ok();
        let bytes = std::fs::read(sandbox.path(format)).unwrap();
        let target = Sandbox::new();
        let out = corm(&target, &["load", "-q"]).stdin(&bytes).out().ok();
        assert_eq!(
            (out.stdout.as_str(), out.stderr.as_str()),
            ("localhost/one:v1\nlocalhost/other:v2\n", ""),
            "{format}"
        );
        let mut ids: Vec<String> =
            images(&target).iter().map(|image| format!("sha256:{}", image["Id"].as_str().unwrap())).collect();
        ids.sort();
        let mut want = vec![one.config.clone(), other.config.clone()];
        want.sort();
        assert_eq!(ids, want, "{format}");
        corm(&target, &["fsck"]).out().ok();
        // and from a file by -i
        let third = Sandbox::new();
        corm(&third, &["load", "-i"]).arg(sandbox.path(format)).out().ok();
        assert_eq!(images(&third).len(), 2);
        // the same bytes in a file
        let file = sandbox.path("file");
        corm(&sandbox, &save).args(["-o", file.to_str().unwrap()]).out().ok();
        assert_eq!(std::fs::read(file).unwrap(), bytes, "{format}");
    }
    let out = corm(&sandbox, &["save", "localhost/one:v1", "none:v1"]).out().exits(1);
    assert!(out.stdout.is_empty() && out.stderr.contains("No image named 'none:v1' exists"), "{out:?}");
    corm(&sandbox, &["save", "--format", "oci-dir", "localhost/one:v1"]).out().exits(1).stderr_contains("-o PATH");
    corm(&sandbox, &["load"]).stdin("").out().exits(1);
    corm(&sandbox, &["load", "-i", "/x", "/y"]).out().exits(1).stderr_contains("both given");
    // a full device is an error
    let full = sandbox.program("/bin/sh").args(["-c", "exec \"$@\" > /dev/full", "sh"]).arg(test_support::corm());
    let full = full.arg("--root").arg(sandbox.path("store")).args(["save", "localhost/one:v1"]).out().exits(1);
    assert!(full.stderr.contains("standard output"), "{full:?}");
    assert_eq!(std::fs::read_dir(sandbox.path("store/tmp")).unwrap().count(), 0);
}

#[test]
fn podman_loads_what_we_save_and_we_what_it_saves() {
    need_root!();
    if !installed("podman") {
        skip!("podman is not installed");
    }
    let (sandbox, one, other) = two();
    into(&sandbox, "all.tar", &["save", "--format", "docker-archive", "localhost/one:v1", "localhost/other:v2"])
        .out()
        .ok();
    let bytes = std::fs::read(sandbox.path("all.tar")).unwrap();
    podman(&sandbox, &["load", "-q"]).stdin(&bytes).out().ok();
    for (name, fixture) in [("localhost/one:v1", &one), ("localhost/other:v2", &other)] {
        let id = podman(&sandbox, &["image", "inspect", "--format", "{{.Id}}", name]).out().ok();
        assert_eq!(id.stdout.trim(), fixture.id(), "{name}");
    }
    let theirs = sandbox.path("theirs.tar");
    let save = ["save", "-q", "-m", "-o", theirs.to_str().unwrap(), "localhost/one:v1", "localhost/other:v2"];
    podman(&sandbox, &save).out().ok();
    let target = Sandbox::new();
    let out = corm(&target, &["load", "-i", theirs.to_str().unwrap()]).out().ok();
    assert_eq!(out.stdout, "localhost/one:v1\nlocalhost/other:v2\n");
    // a directory as `podman save --format docker-dir` writes it
    let dir = sandbox.path("dir");
    corm(&sandbox, &["save", "--format", "docker-dir", "-o", dir.to_str().unwrap(), "localhost/one:v1"]).out().ok();
    if installed("skopeo") {
        let place = format!("dir:{}", dir.display());
        let raw = skopeo(&sandbox, &["inspect", "--raw", &place]).out().ok().json();
        assert_eq!(raw["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
        let copied = format!("oci:{}:v1", sandbox.path("copied").display());
        skopeo(&sandbox, &["copy", "-q", &place, &copied]).out().ok();
    }
}

#[test]
fn several_pulls_and_pushes_by_name() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, (sandbox, one, other)) = (Registry::start(false, None), two());
    let names = [registry.name("a/one:v1"), registry.name("a/one:v2")];
    corm(&sandbox, &["tag", "localhost/one:v1", &names[0]]).out().ok();
    // the name is the destination; another one beside it
    let digest = sandbox.path("digest");
    corm(&sandbox, &["push", "-q", "--digestfile", digest.to_str().unwrap(), &names[0]]).out().ok();
    assert_eq!(std::fs::read_to_string(&digest).unwrap(), one.manifest);
    corm(&sandbox, &["push", "localhost/other:v2", &format!("docker://{}", names[1])]).out().ok();
    let out = corm(&sandbox, &["push", &one.id()[..12]]).out().exits(1);
    assert!(!out.stderr.is_empty());

    let target = Sandbox::new();
    let out = corm(&target, &["pull", "-q", &names[0], &names[1]]).out().ok();
    assert_eq!((out.stdout, out.stderr.as_str()), (format!("{}\n{}\n", one.id(), other.id()), ""));
    // one that fails does not stop the others
    let target = Sandbox::new();
    let out = corm(&target, &["pull", &registry.name("a/none:v1"), &names[1]]).out().exits(1);
    assert_eq!(out.stdout.trim(), other.id());
    let target = Sandbox::new();
    corm(&target, &["pull", "--all-tags", &registry.name("a/one")]).out().ok();
    let mut pulled: Vec<String> =
        images(&target).iter().map(|image| image["Names"][0].as_str().unwrap().to_owned()).collect();
    pulled.sort();
    assert_eq!(pulled, names);
    corm(&target, &["pull", "--all-tags", &names[0]]).out().exits(1).stderr_contains("without a tag");
    // another compression in the registry
    corm(&sandbox, &["push", "--compression-format", "zstd", "localhost/one:v1", &registry.name("a/zstd:v1")])
        .out()
        .ok();
    let raw =
        corm(&sandbox, &["inspect", "--raw", &format!("docker://{}", registry.name("a/zstd:v1"))]).out().ok().json();
    assert!(
        raw["layers"].as_array().unwrap().iter().all(|layer| layer["mediaType"].as_str().unwrap().ends_with("+zstd"))
    );
    corm(&sandbox, &["fsck"]).out().ok();
    let target = Sandbox::new();
    assert_eq!(corm(&target, &["pull", "-q", &registry.name("a/zstd:v1")]).out().ok().stdout.trim(), one.id());
}
