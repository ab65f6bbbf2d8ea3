//! `copy`, `inspect docker://`, `tags` and `delete`, beside skopeo.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{CONFIG, Fixture, INDEX, LAYER, MANIFEST, describe, tar_of};
use crate::interop::skopeo;
use crate::real::{Registry, installed, load};
use crate::server::{Response, Server};
use crate::{corm, hidden, images, killed_at_each_file, stored};
use test_support::{Sandbox, skip};

/// Returns the arguments of a place that a name may be copied to, with the file `FILE` of the sandbox.
fn at(sandbox: &Sandbox, place: &str) -> String {
    place.replace("FILE", sandbox.path("copied").to_str().unwrap())
}

/// Returns the fixture as an index for two platforms, with an attestation, and the digest of the index.
fn index() -> (Fixture, String) {
    let mut fixture = Fixture::new();
    let config = json!({
        "architecture": "arm64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] }, "config": {},
    });
    let config = config.to_string().into_bytes();
    let arm = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, &config), "layers": [] });
    let statement = br#"{"_type":"https://in-toto.io/Statement/v0.1"}"#.to_vec();
    let attestation = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": describe(CONFIG, b"{}"),
        "layers": [describe("application/vnd.in-toto+json", &statement)],
    });
    let mut entries = Vec::new();
    let (amd, arm) = (fixture.blobs[&fixture.manifest].clone(), arm.to_string().into_bytes());
    let attestation = attestation.to_string().into_bytes();
    for (bytes, os, architecture) in
        [(&amd, "linux", "amd64"), (&arm, "linux", "arm64"), (&attestation, "unknown", "unknown")]
    {
        let mut entry = describe(MANIFEST, bytes);
        entry["platform"] = json!({ "os": os, "architecture": architecture });
        entries.push(entry);
    }
    for bytes in [config, statement, b"{}".to_vec(), arm, attestation] {
        fixture.add(bytes);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes();
    let digest = fixture.tag("all", INDEX, index);
    (fixture, digest)
}

/// Writes a layout of an index under the tag `all`.
fn write_index(fixture: &Fixture, digest: &str, dir: &Path) {
    fixture.write_layout(dir, "v1");
    let mut entry = describe(INDEX, &fixture.blobs[digest]);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "all" });
    let mut index: Value = serde_json::from_slice(&std::fs::read(dir.join("index.json")).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().push(entry);
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn a_copy_to_a_layout_that_is_killed_leaves_nothing_behind_the_next_one() {
    let (sandbox, fixture) = (Sandbox::new(), Fixture::new());
    let (from, to) = (sandbox.path("from"), sandbox.path("to"));
    fixture.write_layout(&from, "v1");
    let copy = || corm(&sandbox, &["copy", &format!("oci:{}:v1", from.display()), &format!("oci:{}:v1", to.display())]);
    let blobs = to.join("blobs/sha256");
    let mut left = 0;
    killed_at_each_file(copy, |point| {
        left += hidden(&to).len() + hidden(&blobs).len();
        assert_eq!(copy().out().ok().stdout.trim(), fixture.manifest, "after {point}");
        assert_eq!((hidden(&to), hidden(&blobs)), (Vec::new(), Vec::new()), "after {point}");
        std::fs::remove_dir_all(&to).unwrap();
    });
    assert!(left > 0, "no kill has left an unfinished file");
}

#[test]
fn between_registries_no_blob_is_sent_twice_and_nothing_stays_here() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (from, to, sandbox, fixture) =
        (Registry::start(false, None), Registry::start(false, None), Sandbox::new(), Fixture::new());
    let layout = sandbox.path("layout");
    fixture.write_layout(&layout, "v1");
    let source = format!("docker://{}", from.name("a/web:v1"));
    let copy = |from: &str, to: &str| corm(&sandbox, &["copy", from, to]).out();
    assert_eq!(copy(&format!("oci:{}:v1", layout.display()), &source).ok().stdout.trim(), fixture.manifest);
    let target = format!("docker://{}", to.name("b/web:v2"));
    assert_eq!(copy(&source, &target).ok().stdout.trim(), fixture.manifest);
    assert_eq!(to.logged(&["PATCH"]), 4);
    assert_eq!(copy(&source, &format!("docker://{}", to.name("b/web:v3"))).ok().stdout.trim(), fixture.manifest);
    assert_eq!(to.logged(&["PATCH"]), 4, "what is there is not sent again");
    for layer in &fixture.layers {
        assert_eq!(from.logged(&["GET", layer]), 1, "what is there is not even fetched");
    }
    // in one registry the blobs are mounted from the other repository
    copy(&target, &format!("docker://{}", to.name("c/web:v1"))).ok();
    assert_eq!((to.logged(&["PATCH"]), to.logged(&["POST", "mount="])), (4, 4));
    assert_eq!(stored(&sandbox, "blobs/sha256"), [""; 0], "the store keeps nothing of it");
    assert_eq!(images(&sandbox).len(), 0);

    let out = corm(&sandbox, &["tags", &to.name("b/web")]).out().ok();
    assert_eq!(out.stdout, "v2\nv3\n");
    let json = corm(&sandbox, &["tags", "--format", "json", &to.name("b/web")]).out().ok().json();
    let inspect = ["inspect", &target];
    let mut ours = corm(&sandbox, &inspect).out().ok().json();
    assert_eq!(
        corm(&sandbox, &["inspect", "--raw", &target]).out().ok().stdout.as_bytes(),
        fixture.blobs[&fixture.manifest]
    );
    let raw = corm(&sandbox, &["inspect", "--raw", "--config", &target]).out().ok();
    assert_eq!(raw.stdout.as_bytes(), fixture.blobs[&fixture.config]);
    if installed("skopeo") {
        let tags = skopeo(&sandbox, &["list-tags", "--tls-verify=false", &format!("docker://{}", to.name("b/web"))]);
        assert_eq!(json, tags.out().ok().json());
        let theirs = skopeo(&sandbox, &["inspect", "--tls-verify=false", &target]).out().ok().json();
        assert_eq!(ours["LayersData"][0]["Digest"], fixture.layers[0].as_str());
        if theirs.get("LayersData").is_none() {
            // which skopeo has since 1.10
            ours.as_object_mut().unwrap().remove("LayersData");
        }
        assert_eq!(ours, theirs);
        let config = corm(&sandbox, &["inspect", "--config", &target]).out().ok().json();
        assert_eq!(config, fixture.json(&fixture.config));
    }
    let out = corm(&sandbox, &["delete", &target]).out().ok();
    assert_eq!(out.stdout.trim(), fixture.manifest);
    corm(&sandbox, &["inspect", &target]).out().exits(1).stderr_contains("HTTP status 404");
    corm(&sandbox, &["delete", &target]).out().exits(1);
}

#[test]
fn all_images_of_an_index_keep_their_digests() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox, (fixture, digest)) = (Registry::start(false, None), Sandbox::new(), index());
    let layout = sandbox.path("layout");
    write_index(&fixture, &digest, &layout);
    let source = format!("oci:{}:all", layout.display());
    let name = format!("docker://{}", registry.name("a/web:all"));
    let all = |from: &str, to: &str| corm(&sandbox, &["copy", "--all", "--preserve-digests", from, to]).out();
    assert_eq!(all(&source, &name).ok().stdout.trim(), digest);
    for to in ["oci:FILE-dir:all", "oci-archive:FILE-tar:all", "dir:FILE-plain"] {
        let to = at(&sandbox, to);
        assert_eq!(all(&name, &to).ok().stdout.trim(), digest, "{to}");
        // and from there to a registry again
        let again = format!("docker://{}", registry.name("again/web:all"));
        assert_eq!(all(&to, &again).ok().stdout.trim(), digest, "{to}");
        if installed("skopeo") {
            let out = skopeo(&sandbox, &["inspect", "--raw", &to]).out().ok();
            assert_eq!(out.stdout.as_bytes(), fixture.blobs[&digest], "{to}");
            let copy = [
                "copy",
                "-q",
                "--all",
                "--dest-tls-verify=false",
                &to,
                &format!("docker://{}", registry.name("sk/web:all")),
            ];
            skopeo(&sandbox, &copy).out().ok();
        }
    }
    // without --all the image of one platform
    let one = |flags: &[&str], to: &str| corm(&sandbox, &[&["copy"], flags, &[&*name, to]].concat()).out();
    assert_eq!(
        one(&["--platform", "linux/amd64"], &at(&sandbox, "oci:FILE-one:x")).ok().stdout.trim(),
        fixture.manifest
    );
    let arm = one(&["--platform", "linux/arm64"], &at(&sandbox, "oci:FILE-one:y")).ok();
    assert_ne!(arm.stdout.trim(), fixture.manifest);
    one(&["--platform", "linux/s390x"], &at(&sandbox, "oci:FILE-one:z"))
        .exits(1)
        .stderr_contains("no image for linux/s390x");
    for (flags, to) in [
        (["--all"], "docker-archive:FILE-no"),
        (["--all"], "store:web"),
        (["--preserve-digests"], "docker-archive:FILE-no"),
    ] {
        one(&flags, &at(&sandbox, to)).exits(1);
    }
    assert!(!sandbox.path("copied-no").exists());
}

#[test]
fn every_place_is_written_for_skopeo_and_read_from_it() {
    if !installed("skopeo") {
        skip!("skopeo is not installed");
    }
    let (sandbox, fixture) = (Sandbox::new(), Fixture::new());
    load(&sandbox, &fixture, "web:v1");
    for place in
        ["oci:FILE-1:v1", "oci-archive:FILE-2:v1", "docker-archive:FILE-3:docker.io/library/web:v1", "dir:FILE-4"]
    {
        let (ours, theirs) = (at(&sandbox, place), at(&sandbox, &place.replace("FILE", "FILE-sk")));
        corm(&sandbox, &["copy", "web:v1", &ours]).out().ok();
        let config = skopeo(&sandbox, &["inspect", "--config", "--raw", &ours]).out().ok();
        assert_eq!(config.stdout.trim_end().as_bytes(), fixture.blobs[&fixture.config], "{place}");
        skopeo(&sandbox, &["copy", "-q", &ours, &theirs]).out().ok();
        let other = Sandbox::new();
        corm(&other, &["copy", "-q", &theirs, "store:back:v1"]).out().ok();
        assert_eq!(images(&other)[0]["Id"], json!(fixture.config.trim_start_matches("sha256:")), "{place}");
        assert_eq!(images(&other)[0]["Names"], json!(["back:v1"]), "{place}");
        corm(&other, &["fsck"]).out().ok();
    }
    // another image in the same directory stays
    let layout = at(&sandbox, "FILE-1");
    corm(&sandbox, &["copy", "web:v1", &format!("oci:{layout}:v2")]).out().ok();
    corm(&sandbox, &["copy", "web:v1", &format!("oci:{layout}:v2")]).out().ok();
    for tag in ["v1", "v2"] {
        skopeo(&sandbox, &["inspect", &format!("oci:{layout}:{tag}")]).out().ok();
    }
    if installed("umoci") {
        let out = sandbox.program("umoci").args(["ls", "--layout", &layout]).out().ok();
        assert_eq!(out.stdout, "v1\nv2\n");
    }
    let out = corm(&sandbox, &["copy", &format!("oci:{layout}"), "store:x"]).out().ok();
    assert!(!out.stdout.is_empty(), "both tags are of one image");
    corm(&sandbox, &["copy", &format!("oci:{layout}:v3"), "store:x"])
        .out()
        .exits(1)
        .stderr_contains("no image has the tag");
    let full = sandbox.mkdir("full");
    sandbox.write("full/x", "x");
    let to = format!("oci:{}:v1", full.display());
    corm(&sandbox, &["copy", "web:v1", &to]).out().exits(1).stderr_contains("not empty, and no OCI layout");
}

#[test]
fn what_does_not_match_its_digest_is_not_copied() {
    let (sandbox, fixture) = (Sandbox::new(), Fixture::new());
    let layout = sandbox.path("layout");
    fixture.write_layout(&layout, "v1");
    let blob = layout.join("blobs/sha256").join(&fixture.layers[1]["sha256:".len()..]);
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let uploads = Server::new(|request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v2/") => Response::new(200, &[], "{}"),
        ("HEAD", _) => Response::new(404, &[], ""),
        ("POST", _) => Response::new(202, &[("location", "/v2/a/web/blobs/uploads/1")], ""),
        ("PATCH", _) => Response::new(202, &[("location", "/v2/a/web/blobs/uploads/1")], ""),
        _ => Response::new(201, &[], ""),
    });
    let source = format!("oci:{}:v1", layout.display());
    for to in [
        format!("docker://{}", uploads.name("a/web:v1")),
        at(&sandbox, "oci:FILE-1:v1"),
        at(&sandbox, "oci-archive:FILE-2:v1"),
        at(&sandbox, "dir:FILE-3"),
        "store:web".to_owned(),
    ] {
        let out = corm(&sandbox, &["copy", &source, &to]).out().exits(1);
        assert!(out.stderr.contains(&fixture.layers[1]), "{to}: {out:?}");
    }
    assert_eq!(uploads.count("/manifests/"), 0, "no name was changed");
    assert!(!sandbox.path("copied-2").exists() && !sandbox.path("copied-3").exists());
    assert_eq!(images(&sandbox).len(), 0);
    let index: Value = serde_json::from_slice(&std::fs::read(sandbox.path("copied-1/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"], json!([]));
    // a layout that another user made with links to elsewhere
    let (evil, outside) = (sandbox.mkdir("evil"), sandbox.mkdir("outside"));
    std::fs::write(evil.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(evil.join("index.json"), r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    std::os::unix::fs::symlink(&outside, evil.join("blobs")).unwrap();
    load(&sandbox, &Fixture::of_layers(&[tar_of(&[("x", b"x")])], &json!({})), "small:v1");
    corm(&sandbox, &["copy", "small:v1", &format!("oci:{}:v1", evil.display())]).out().exits(1);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn layers_get_another_compression() {
    let (sandbox, fixture) = (Sandbox::new(), Fixture::new());
    load(&sandbox, &fixture, "web:v1");
    let media_types = |place: &str| -> Vec<String> {
        let layout = at(&sandbox, place);
        let index: Value = serde_json::from_slice(&std::fs::read(format!("{layout}/index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap()["sha256:".len()..].to_owned();
        let bytes = std::fs::read(format!("{layout}/blobs/sha256/{digest}")).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(manifest["config"]["digest"], fixture.config.as_str());
        let layers = manifest["layers"].as_array().unwrap().clone();
        layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
    };
    let zstd = LAYER.replace("gzip", "zstd");
    let to = at(&sandbox, "oci:FILE-z:v1");
    corm(&sandbox, &["copy", "--compression-format", "zstd", "--compression-level", "19", "web:v1", &to]).out().ok();
    assert_eq!(media_types("FILE-z"), [zstd.as_str(); 3]);
    let dir = at(&sandbox, "FILE-s");
    corm(&sandbox, &["save", "--format", "oci-dir", "--compression-format=zstd", "-o", &dir, "web:v1"]).out().ok();
    assert_eq!(media_types("FILE-s"), [zstd.as_str(); 3]);
    // back again: the image is the same
    let back = at(&sandbox, "oci:FILE-g:v1");
    corm(&sandbox, &["copy", "--compression-level", "9", &to, &back]).out().ok();
    assert_eq!(media_types("FILE-g"), [LAYER; 3]);
    let other = Sandbox::new();
    corm(&other, &["copy", "-q", &to, "store:z:v1"]).out().ok();
    assert_eq!(images(&other)[0]["Id"], json!(fixture.config.trim_start_matches("sha256:")));
    corm(&other, &["fsck"]).out().ok();
    for (flags, want) in [
        (&["--compression-format", "zstd:chunked"][..], "is not built"),
        (&["--compression-format", "lz4"], "must be gzip or zstd"),
        (&["--compression-level", "10"], "must be 1 to 9"),
        (&["--compression-format", "zstd", "--compression-level", "23"], "must be 1 to 20"),
        (&["--compression-format", "zstd", "--preserve-digests"], "--preserve-digests"),
    ] {
        let out = corm(&sandbox, &[&["copy"], flags, &["web:v1", &*at(&sandbox, "oci:FILE-n:v1")]].concat()).out();
        out.exits(1).stderr_contains(want);
    }
    corm(&sandbox, &["fsck"]).out().ok();
}

#[test]
fn item_13_lists_of_tags_end_and_stay_on_their_server() {
    let elsewhere = Server::new(|_| Response::new(200, &[], r#"{"tags":["stolen"]}"#));
    let other = elsewhere.address;
    for (link, want) in [
        (format!("<http://{other}/v2/a/tags/list>; rel=\"next\""), "on another server"),
        ("</v2/a/b/tags/list>; rel=\"next\"".to_owned(), "the same one"),
        ("<ftp://x/y>; rel=\"next\"".to_owned(), "neither http nor https"),
    ] {
        let server = Server::new(move |request| match request.path.as_str() {
            "/v2/" => Response::new(200, &[], "{}"),
            _ => Response::new(200, &[("link", &link)], r#"{"tags":["v1"]}"#),
        });
        corm(&Sandbox::new(), &["tags", &server.name("a/b")]).out().exits(1).stderr_contains(want);
    }
    assert_eq!(elsewhere.requests().len(), 0);
    // pages
    let server = Server::new(|request| match request.path.as_str() {
        "/v2/" => Response::new(200, &[], "{}"),
        "/v2/a/b/tags/list" => {
            Response::new(200, &[("link", "</v2/a/b/tags/list?last=v1>; rel=\"next\"")], r#"{"tags":["v1"]}"#)
        }
        _ => Response::new(200, &[], r#"{"tags":["v2"]}"#),
    });
    assert_eq!(corm(&Sandbox::new(), &["tags", &server.name("a/b")]).out().ok().stdout, "v1\nv2\n");
    let out = corm(&Sandbox::new(), &["tags", &server.name("a/b:v1")]).out().exits(1);
    assert!(out.stderr.contains("no tag"), "{out:?}");
    let endless = Server::new(|request| {
        let next = request.path.len();
        let link = format!("</v2/a/b/tags/list?{}>; rel=\"next\"", "x".repeat(next % 4000));
        Response::new(200, &[("link", &link)], r#"{"tags":[]}"#)
    });
    let out = corm(&Sandbox::new(), &["tags", &endless.name("a/b")]).out().exits(1);
    assert!(out.stderr.contains("more than 1000 pages"), "{out:?}");
}
