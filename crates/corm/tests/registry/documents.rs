//! Documents as Go writes and reads them, odd media types, indexes of other tools, and foreign layers: all that Docker and
//! Podman take.

use std::sync::Arc;

use corm::model::digest::Digest;
use serde_json::{Value, json};

use crate::corm;
use crate::fixture::{CONFIG, Fixture, INDEX, LAYER, MANIFEST, describe, gzip, tar_of};
use crate::server::{Response, Server};
use test_support::{Out, Sandbox};

/// Returns a fixture whose manifest and configuration are changed; the new manifest has the tag `v1`.
pub(crate) fn changed(change: impl FnOnce(&mut Value, &mut Value)) -> Fixture {
    let mut fixture = Fixture::new();
    let (mut manifest, mut config) = (fixture.json(&fixture.manifest.clone()), fixture.json(&fixture.config.clone()));
    change(&mut manifest, &mut config);
    let config = config.to_string().into_bytes();
    let media_type = manifest["config"]["mediaType"].clone();
    manifest["config"] = describe(CONFIG, &config);
    manifest["config"]["mediaType"] = media_type;
    fixture.config = fixture.add(config);
    fixture.manifest = fixture.tag("v1", MANIFEST, manifest.to_string().into_bytes());
    fixture
}

/// Pulls the tag `v1` of a correct registry.
fn pull(fixture: &Fixture, more: &[&str]) -> (Out, Arc<Sandbox>) {
    let honest = fixture.clone();
    let server = Server::new(move |request| honest.answer(request));
    let sandbox = Sandbox::new();
    let out = corm(&sandbox, &[&["pull"], more, &[&*server.name("a/b:v1")]].concat()).out();
    assert!(server.count("/manifests/") > 0, "the registry was asked");
    (out, sandbox)
}

#[track_caller]
fn pulled(fixture: &Fixture) {
    let (out, sandbox) = pull(fixture, &[]);
    assert_eq!(out.ok().stdout.trim(), fixture.id());
    corm(&sandbox, &["fsck"]).out().ok();
    // and as a layout
    let sandbox = Sandbox::new();
    fixture.write_layout(&sandbox.path("web"), "v1");
    assert_eq!(corm(&sandbox, &["load", sandbox.path("web").to_str().unwrap()]).out().ok().stdout, "web:v1\n");
}

#[test]
fn a_configuration_with_a_media_type_that_names_nothing_is_one() {
    for media_type in [json!("application/octet-stream"), json!("application/json"), json!("text/html"), json!("")] {
        pulled(&changed(|manifest, _| manifest["config"]["mediaType"] = media_type));
    }
    pulled(&changed(|manifest, _| manifest["config"]["mediaType"] = json!(null)));
    pulled(&changed(|manifest, _| drop(manifest["config"].as_object_mut().unwrap().remove("mediaType"))));
}

#[test]
fn null_is_an_empty_list_or_text() {
    for layers in [json!(null), json!([])] {
        for diff_ids in [json!(null), json!([])] {
            pulled(&changed(|manifest, config| {
                manifest["layers"] = layers.clone();
                config["rootfs"]["diff_ids"] = diff_ids;
            }));
        }
    }
    pulled(&changed(|manifest, config| {
        manifest["layers"] = json!(null);
        config.as_object_mut().unwrap().remove("rootfs");
    }));
    for pointer in ["mediaType", "annotations", "artifactType", "subject", "manifests", "fsLayers"] {
        pulled(&changed(|manifest, _| manifest[pointer] = json!(null)));
    }
    for pointer in ["urls", "annotations", "platform", "data"] {
        pulled(&changed(|manifest, _| manifest["layers"][0][pointer] = json!(null)));
    }
    for pointer in ["config", "history", "author", "created", "variant", "architecture", "os"] {
        pulled(&changed(|_, config| config[pointer] = json!(null)));
    }
    for pointer in ["Env", "Cmd", "Entrypoint", "Labels", "Volumes", "ExposedPorts", "User", "WorkingDir", "StopSignal"]
    {
        pulled(&changed(|_, config| config["config"][pointer] = json!(null)));
    }
}

/// Returns a fixture whose tag `v1` is an index of these entries; one without a digest is of the image.
pub(crate) fn index_of(entries: &[Value]) -> Fixture {
    let mut fixture = Fixture::new();
    let image = describe(MANIFEST, &fixture.blobs[&fixture.manifest]);
    let full = |entry: &Value| {
        let mut full = image.clone();
        for (key, value) in entry.as_object().unwrap() {
            full[key] = value.clone();
        }
        full
    };
    let entries: Vec<Value> = entries.iter().map(full).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    fixture.tag("v1", INDEX, index.to_string().into_bytes());
    fixture
}

#[test]
fn an_entry_that_is_not_chosen_does_not_spoil_the_others() {
    let other = Digest::of(b"other").to_string();
    let amd64 = json!({ "platform": { "os": "linux", "architecture": "amd64" } });
    let attestation = json!({ "digest": other, "size": 7, "platform": { "os": "unknown", "architecture": "unknown" } });
    let foreign = json!({
        "digest": format!("sha512:{}", "ab".repeat(64)), "platform": { "os": "linux", "architecture": "amd64" },
    });
    for entries in [
        vec![json!({}), attestation.clone()],
        vec![attestation, json!({ "platform": null })],
        vec![foreign.clone(), amd64.clone()],
        vec![amd64.clone(), foreign.clone()],
        vec![json!({ "digest": "blake3:0a1b" }), amd64],
    ] {
        let fixture = index_of(&entries);
        assert_eq!(pull(&fixture, &[]).0.ok().stdout.trim(), fixture.id(), "{entries:?}");
    }
    let out = pull(&index_of(&[foreign]), &[]).0.exits(1);
    assert!(out.stderr.contains("sha512") && out.stderr.contains("no other algorithm"), "{out:?}");
}

#[test]
fn arm_is_its_usual_variant() {
    let arm = |variant: &str, more: Value| {
        let mut entry = json!({ "platform": { "os": "linux", "architecture": "arm", "variant": variant } });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let other = json!({ "digest": Digest::of(b"other").to_string(), "size": 7 });
    let fixture = index_of(&[arm("v6", other), arm("v7", json!({}))]);
    let (out, _sandbox) = pull(&fixture, &["--platform", "linux/arm"]);
    assert_eq!(out.ok().stdout.trim(), fixture.id());
}

/// The layer types of other tools, and the bytes that they may have.
#[test]
fn the_bytes_of_a_layer_decide_how_it_is_unpacked() {
    let tar = tar_of(&[("etc/hello", b"hello\n")]);
    let packed = [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 3).unwrap()];
    for (at, bytes) in packed.iter().enumerate() {
        for media_type in [
            LAYER,
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ] {
            let mut fixture = changed(|manifest, config| {
                manifest["layers"] = json!([describe(media_type, bytes)]);
                config["rootfs"]["diff_ids"] = json!([Digest::of(&tar).to_string()]);
            });
            fixture.add(bytes.clone());
            let (out, sandbox) = pull(&fixture, &[]);
            assert_eq!(out.ok().stdout.trim(), fixture.id(), "{media_type} {at}");
            let id = fixture.id();
            let out = corm(&sandbox, &["export", id, "-o", sandbox.path("x.tar").to_str().unwrap()]).out();
            out.ok();
            let exported = std::fs::read(sandbox.path("x.tar")).unwrap();
            assert!(exported.windows(6).any(|bytes| bytes == b"hello\n"), "{media_type} {at}");
        }
    }
}

#[test]
fn a_layer_that_the_registry_lacks_is_fetched_from_its_urls() {
    let tar = tar_of(&[("etc/hello", b"hello\n")]);
    let bytes = gzip(&tar);
    let content = bytes.clone();
    let elsewhere = Server::new(move |request| match request.path.as_str() {
        "/layer" => Response::new(200, &[], content.clone()),
        _ => Response::new(404, &[], ""),
    });
    let place = elsewhere.address;
    let with_urls = |urls: Value| {
        changed(|manifest, config| {
            let mut layer = describe("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &bytes);
            layer["urls"] = urls;
            manifest["layers"] = json!([layer]);
            config["rootfs"]["diff_ids"] = json!([Digest::of(&tar).to_string()]);
        })
    };
    let good = json!(["file:///etc/passwd", format!("http://{place}/none"), format!("http://{place}/layer")]);
    let fixture = with_urls(good.clone());
    assert_eq!(pull(&fixture, &[]).0.ok().stdout.trim(), fixture.id());
    assert_eq!(elsewhere.count("/layer"), 1);
    // the registry's own copy is preferred
    let mut fixture = with_urls(good);
    fixture.add(bytes.clone());
    assert_eq!(pull(&fixture, &[]).0.ok().stdout.trim(), fixture.id());
    assert_eq!(elsewhere.count("/layer"), 1);
    let out = pull(&with_urls(json!([format!("http://{place}/none"), "file:///etc/passwd"])), &[]).0.exits(1);
    assert!(out.stderr.contains("HTTP status 404"), "{out:?}");
}

#[test]
fn odd_values_of_a_configuration_are_taken() {
    let fixture = changed(|_, config| {
        config["config"] = json!({
            "Entrypoint": [null], "Cmd": ["sh"], "Env": ["FOO", "A=1"], "User": "33:", "WorkingDir": "/a/../tmp",
            "Labels": {"a": null}, "Volumes": {"/d": null}, "ExposedPorts": {"80/tcp": null},
        });
    });
    pulled(&fixture);
    let (_, sandbox) = pull(&fixture, &[]);
    corm(&sandbox, &["bundle", fixture.id()]).arg(sandbox.path("bundle")).out().ok();
    let config: Value = serde_json::from_slice(&std::fs::read(sandbox.path("bundle/config.json")).unwrap()).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["process"]["cwd"], "/tmp");
    assert_eq!(config["process"]["user"]["uid"], 33);
    let env = config["process"]["env"].to_string();
    assert!(env.contains("A=1") && !env.contains("FOO"), "{env}");
    corm(&sandbox, &["unbundle"]).arg(sandbox.path("bundle")).out().ok();
}
