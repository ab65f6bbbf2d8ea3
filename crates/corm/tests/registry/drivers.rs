//! What registries and archives of other tools have, on every driver: the image has one ID and one tree.

use std::collections::BTreeMap;

use corm::model::digest::Digest;
use serde_json::{Value, json};
use test_support::{Cmd, Sandbox, need_root};

use crate::archives::both;
use crate::documents::{changed, index_of};
use crate::fixture::{Fixture, LAYER, describe, gzip, tar_of};
use crate::server::Server;
use crate::store_fixture::{Place, drivers};

/// A kind of image, and whether it is loaded as an archive in the place of being pulled.
type Kind = (&'static str, Fixture, Option<Vec<u8>>);

/// Returns one image of each kind that other tools make and that was once refused.
fn kinds() -> Vec<Kind> {
    let odd = json!({
        "Entrypoint": [null], "Cmd": ["sh"], "Env": ["FOO"], "User": "33:", "WorkingDir": "/a/../tmp", "Labels": {"a": null},
        "Volumes": {"/d": null}, "ExposedPorts": {"80/tcp": null},
    });
    let foreign = json!({
        "digest": format!("sha512:{}", "ab".repeat(64)), "platform": {"os": "linux", "architecture": "amd64"},
    });
    let attestation = json!({
        "digest": Digest::of(b"other").to_string(), "size": 7, "platform": {"os": "unknown", "architecture": "unknown"},
    });
    let mut all: Vec<Kind> = vec![
        ("media type", changed(|manifest, _| manifest["config"]["mediaType"] = json!("text/html")), None),
        ("null", changed(|_, config| config["config"]["Env"] = json!(null)), None),
        ("odd values", changed(|_, config| config["config"] = odd), None),
        ("an entry without a platform", index_of(&[attestation, json!({})]), None),
        ("a foreign digest", index_of(&[foreign, json!({"platform": {"os": "linux", "architecture": "amd64"}})]), None),
        ("no layers", changed(without_layers), None),
    ];
    let image = Fixture::new();
    let archive = both(&image, &image, "r.io/web:v2");
    all.push(("an archive with two indexes", image, Some(archive)));
    let tar = tar_of(&[("etc/hello", b"hello\n"), ("data/link", b"x")]);
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    let plain = "application/vnd.oci.image.layer.v1.tar";
    for (name, media_type, bytes) in
        [("gzip as plain", plain, gzip(&tar)), ("plain as gzip", LAYER, tar.clone()), ("zstd as gzip", LAYER, zstd)]
    {
        let mut fixture = changed(|manifest, config| {
            manifest["layers"] = json!([describe(media_type, &bytes)]);
            config["rootfs"]["diff_ids"] = json!([Digest::of(&tar).to_string()]);
        });
        fixture.add(bytes);
        all.push((name, fixture, None));
    }
    all
}

fn without_layers(manifest: &mut Value, config: &mut Value) {
    manifest["layers"] = json!(null);
    config["rootfs"]["diff_ids"] = json!(null);
}

#[test]
fn every_kind_of_image_is_the_same_with_every_driver() {
    need_root!();
    let kinds = kinds();
    let mut trees: BTreeMap<&str, (String, Vec<u8>)> = BTreeMap::new();
    for (kind, disk) in drivers() {
        let all = &kinds;
        let of_driver = std::thread::scope(|scope| {
            let pulled = scope.spawn(move || {
                let place = Place::new(disk);
                drop(place.store(kind));
                let sandbox = Sandbox::new();
                let corm = |args: &[&str]| -> Cmd {
                    let corm = sandbox.program(test_support::corm()).arg("--root").arg(place.root());
                    corm.args(args).env("HOME", &sandbox.dir).env("XDG_RUNTIME_DIR", &sandbox.dir)
                };
                all.iter().map(|one| (one.0, tree_of(one, (&sandbox, &corm)))).collect::<Vec<_>>()
            });
            pulled.join()
        });
        let of_driver = of_driver.unwrap_or_else(|_| panic!("over {kind} on {disk:?}"));
        for (name, tar) in of_driver {
            let (first, wanted) = trees.entry(name).or_insert_with(|| (format!("{kind} on {disk:?}"), tar.clone()));
            assert!(*wanted == tar, "{name}: {kind} on {disk:?} has another tree than {first}");
        }
    }
    assert_eq!(trees.len(), kinds.len());
}

/// The directory of a test, and how it calls corm.
type Caller<'a> = (&'a Sandbox, &'a dyn Fn(&[&str]) -> Cmd);

/// Takes an image into the store, checks its ID, and returns its exported tree.
#[track_caller]
fn tree_of((name, image, archive): &Kind, (sandbox, corm): Caller<'_>) -> Vec<u8> {
    if let Some(bytes) = archive {
        let file = sandbox.path("archive.tar");
        std::fs::write(&file, bytes).unwrap();
        corm(&["load", "-q", "-i", file.to_str().unwrap()]).out().ok();
    } else {
        let honest = image.clone();
        let server = Server::new(move |request| honest.answer(request));
        let out = corm(&["pull", "-q", &*server.name("a/b:v1")]).out().ok();
        assert_eq!(out.text(), image.id(), "{name}");
    }
    let file = sandbox.path("exported.tar");
    corm(&["export", image.id(), "-o", file.to_str().unwrap()]).out().ok();
    corm(&["fsck"]).out().ok();
    let tar = std::fs::read(&file).unwrap();
    assert!(tar.len() >= 1024, "{name}");
    tar
}
