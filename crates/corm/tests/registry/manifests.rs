//! `manifest …`: indexes that are made here, pushed, and read by other tools.

use serde_json::{Value, json};

use crate::fixture::{Fixture, tar_of};
use crate::interop::skopeo;
use crate::real::{Registry, installed, load};
use crate::{corm, images, stored};
use test_support::{Sandbox, skip};

/// Returns a small image for another architecture.
pub(crate) fn arm() -> Fixture {
    let mut fixture = Fixture::of_layers(&[tar_of(&[("arm", b"x")])], &json!({ "Cmd": ["arm"] }));
    let config = String::from_utf8(fixture.blobs[&fixture.config].clone()).unwrap().replace("amd64", "arm64");
    let mut manifest = fixture.json(&fixture.manifest);
    manifest["config"] = crate::fixture::describe(crate::fixture::CONFIG, config.as_bytes());
    fixture.config = fixture.add(config.into_bytes());
    fixture.manifest = fixture.tag("v1", crate::fixture::MANIFEST, manifest.to_string().into_bytes());
    fixture
}

#[test]
fn a_list_of_images_is_made_pushed_and_pulled_by_platform() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox, amd, arm) = (Registry::start(false, None), Sandbox::new(), Fixture::new(), arm());
    load(&sandbox, &amd, "amd:v1");
    load(&sandbox, &arm, "arm:v1");
    // one of them is in a registry only
    let remote = registry.name("single/arm:v1");
    corm(&sandbox, &["push", "-q", "arm:v1", &remote]).out().ok();
    corm(&sandbox, &["rmi", "arm:v1"]).out().ok();
    let run = |args: &[&str]| corm(&sandbox, &[&["manifest"], args].concat()).out();
    run(&["create", "--annotation", "made=here", "web:all", "amd:v1"]).ok();
    run(&["create", "web:all"]).exits(1).stderr_contains("exists");
    run(&["add", "--annotation", "a=b", "--variant", "v8", "web:all", &format!("docker://{remote}")]).ok();
    let index = run(&["inspect", "web:all"]).ok().json();
    assert_eq!(index["annotations"], json!({ "made": "here" }));
    assert_eq!(index["manifests"][0]["digest"], amd.manifest.as_str());
    assert_eq!(index["manifests"][0]["platform"], json!({ "architecture": "amd64", "os": "linux" }));
    assert_eq!(index["manifests"][1]["digest"], arm.manifest.as_str());
    assert_eq!(index["manifests"][1]["platform"], json!({ "architecture": "arm64", "os": "linux", "variant": "v8" }));
    assert_eq!(index["manifests"][1]["annotations"], json!({ "a": "b" }));
    run(&["annotate", "--os-version", "12", "web:all", "amd:v1"]).ok();
    // the list keeps what it needs
    corm(&sandbox, &["rmi", "amd:v1"]).out().ok();
    corm(&sandbox, &["system", "prune", "-a"]).out().ok();
    assert_eq!(images(&sandbox).len(), 0);
    corm(&sandbox, &["fsck"]).out().ok();
    let name = registry.name("multi/web:all");
    let digest = run(&["push", "--all", "web:all", &format!("docker://{name}")]).ok().stdout.trim().to_owned();
    let raw = corm(&sandbox, &["inspect", "--raw", &format!("docker://{name}")]).out().ok();
    let pushed: Value = serde_json::from_str(&raw.stdout).unwrap();
    assert_eq!(pushed["manifests"][0]["platform"]["os.version"], "12");
    assert_eq!(corm::model::digest::Digest::of(raw.stdout.as_bytes()).to_string(), digest);
    for (platform, fixture) in [("linux/amd64", &amd), ("linux/arm64", &arm)] {
        let target = Sandbox::new();
        let pull = ["pull", "-q", "--platform", platform, &name];
        assert_eq!(corm(&target, &pull).out().ok().stdout.trim(), fixture.id(), "{platform}");
    }
    if installed("skopeo") {
        let to = format!("oci:{}:x", sandbox.path("sk").display());
        skopeo(&sandbox, &["copy", "-q", "--all", "--src-tls-verify=false", &format!("docker://{name}"), &to])
            .out()
            .ok();
    }
    // an index of a registry, entry by entry
    run(&["create", "--all", "again:all", &format!("docker://{name}")]).ok();
    assert_eq!(run(&["inspect", "again:all"]).ok().json()["manifests"], pushed["manifests"]);
    run(&["remove", "again:all", &arm.manifest]).ok();
    assert_eq!(run(&["inspect", "again:all"]).ok().json()["manifests"].as_array().unwrap().len(), 1);
    run(&["remove", "again:all", &arm.manifest]).exits(1).stderr_contains("not in the list");
    run(&["exists", "again:all"]).ok();
    run(&["rm", "again:all", "web:all"]).ok();
    run(&["exists", "again:all"]).exits(1);
    run(&["rm", "again:all"]).exits(1).stderr_contains("No manifest list named");
    run(&["annotate", "--os", "x", "web:all", &arm.manifest]).exits(1).stderr_contains("No manifest list named");
    run(&["create", "--annotation", "x", "bad:all"]).exits(1).stderr_contains("must be K=V");
    assert_eq!(stored(&sandbox, "blobs/sha256"), [""; 0], "nothing of the lists is left");
}
