//! Archives of podman, skopeo and umoci that corm reads, and archives of corm that they read.

use std::path::Path;
use std::sync::Arc;

use crate::fixture::Fixture;
use crate::real::installed;
use crate::{corm, stored};
use test_support::skip;
use test_support::{Cmd, Sandbox};

const FORMATS: [&str; 3] = ["oci-archive", "oci-dir", "docker-archive"];

pub(crate) fn podman(sandbox: &Arc<Sandbox>, args: &[&str]) -> Cmd {
    let (root, run) = (sandbox.path("podman"), sandbox.path("podman-run"));
    let podman = sandbox.program("podman").arg("--root").arg(root).arg("--runroot").arg(run);
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]).args(args).env("HOME", &sandbox.dir)
}

pub(crate) fn skopeo(sandbox: &Arc<Sandbox>, args: &[&str]) -> Cmd {
    sandbox.program("skopeo").args(["--insecure-policy"]).args(args).env("HOME", &sandbox.dir)
}

/// Creates a sandbox whose store has the fixture as `localhost/web:v1`.
fn with_image(fixture: &Fixture) -> Arc<Sandbox> {
    let sandbox = Sandbox::new();
    let layout = sandbox.path("layout");
    fixture.write_layout(&layout, "v1");
    corm(&sandbox, &["load", layout.to_str().unwrap(), "--name", "localhost/web:v1"]).out().ok();
    sandbox
}

fn save(sandbox: &Arc<Sandbox>, format: &str) -> String {
    let path = sandbox.path(format).to_str().unwrap().to_owned();
    corm(sandbox, &["save", "localhost/web:v1", "--format", format, "-o", &path]).out().ok();
    path
}

/// Loads an archive into a new store, and checks that the image is the fixture.
#[track_caller]
fn loads(fixture: &Fixture, path: &Path, name: &str) {
    let sandbox = Sandbox::new();
    assert_eq!(corm(&sandbox, &["load", path.to_str().unwrap()]).out().ok().stdout, name, "{path:?}");
    assert!(stored(&sandbox, "blobs/sha256").contains(&fixture.id().to_owned()), "{path:?}");
    corm(&sandbox, &["fsck"]).out().ok();
}

#[test]
fn skopeo_reads_ours_and_we_read_its() {
    if !installed("skopeo") {
        skip!("skopeo is not installed");
    }
    let fixture = Fixture::new();
    let sandbox = with_image(&fixture);
    for format in FORMATS {
        let path = save(&sandbox, format);
        let (name, want) = match format {
            "oci-archive" => (format!("oci-archive:{path}"), Some(&fixture.manifest)),
            "oci-dir" => (format!("oci:{path}:v1"), Some(&fixture.manifest)),
            _ => (format!("docker-archive:{path}"), None),
        };
        let out = skopeo(&sandbox, &["inspect", "--format", "{{.Digest}}", &name]).out().ok();
        if let Some(want) = want {
            assert_eq!(out.stdout.trim(), want, "{format}");
        }
        // the id of an image is the digest of its configuration
        let config = skopeo(&sandbox, &["inspect", "--config", "--raw", &name]).out().ok();
        assert_eq!(config.stdout.trim_end().as_bytes(), fixture.blobs[&fixture.config], "{format}");
    }
    let from = format!("oci:{}:v1", sandbox.path("layout").display());
    for (to, file, name) in [
        ("oci:FILE:v2", "sk", "sk:v2\n"),
        ("oci-archive:FILE:localhost/web:v3", "sk.tar", "localhost/web:v3\n"),
        ("docker-archive:FILE:docker.io/library/web:v4", "sk-docker.tar", "docker.io/library/web:v4\n"),
    ] {
        let path = sandbox.path(file);
        skopeo(&sandbox, &["copy", &from, &to.replace("FILE", path.to_str().unwrap())]).out().ok();
        loads(&fixture, &path, name);
    }
}

#[test]
fn umoci_reads_ours_and_we_read_its() {
    if !installed("umoci") {
        skip!("umoci is not installed");
    }
    let fixture = Fixture::new();
    let sandbox = with_image(&fixture);
    let image = format!("{}:v1", save(&sandbox, "oci-dir"));
    let bundle = sandbox.path("bundle");
    let umoci = |args: &[&str]| sandbox.program("umoci").args(args).env("HOME", &sandbox.dir).out().ok();
    umoci(&["unpack", "--image", &image, bundle.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(bundle.join("rootfs/etc/more")).unwrap(), "more\n");
    assert!(!bundle.join("rootfs/etc/gone").exists());
    std::fs::write(bundle.join("rootfs/etc/new"), "new\n").unwrap();
    umoci(&["repack", "--image", &format!("{}:v2", sandbox.path("oci-dir").display()), bundle.to_str().unwrap()]);
    let other = Sandbox::new();
    // the layout has an image for each of both tags
    let out = corm(&other, &["load", sandbox.path("oci-dir").to_str().unwrap()]).out().ok();
    let mut names = out.lines();
    names.sort_unstable();
    assert_eq!(names, ["localhost/web:v1", "oci-dir:v2"]);
}

#[test]
fn podman_reads_ours_and_we_read_its() {
    if !installed("podman") {
        skip!("podman is not installed");
    }
    let fixture = Fixture::new();
    let sandbox = with_image(&fixture);
    for format in ["oci-archive", "docker-archive"] {
        let path = save(&sandbox, format);
        let out = podman(&sandbox, &["load", "-q", "-i", &path]).out().ok();
        assert!(out.stdout.contains("localhost/web:v1"), "{out:?}");
        let id = podman(&sandbox, &["images", "-q", "--no-trunc"]).out().ok();
        assert_eq!(id.stdout.trim(), fixture.config, "{format}");
    }
    for format in FORMATS {
        let path = sandbox.path(&format!("podman-{format}"));
        podman(&sandbox, &["save", "-q", "--format", format, "-o", path.to_str().unwrap(), "localhost/web:v1"])
            .out()
            .ok();
        let name = if format == "oci-dir" { None } else { Some("localhost/web:v1\n") };
        let other = Sandbox::new();
        let out = corm(&other, &["load", path.to_str().unwrap()]).out().ok();
        if let Some(name) = name {
            assert_eq!(out.stdout, name, "{format}");
        }
        corm(&other, &["fsck"]).out().ok();
    }
}
