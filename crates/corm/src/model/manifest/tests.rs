//! The documents that are taken and refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use serde_json::json;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": A, "size": 7 })
}

fn image() -> Value {
    let config = descriptor("application/vnd.oci.image.config.v1+json");
    json!({ "schemaVersion": 2, "config": config, "layers": [descriptor(OCI_LAYER), descriptor(OCI_LAYER)] })
}

fn images() -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(OCI_MANIFEST)] })
}

/// Returns `document` with the value at `pointer` replaced, or added.
fn with(mut document: Value, pointer: &str, value: Value) -> Vec<u8> {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(object) => drop(object.insert(key.to_owned(), value)),
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
    document.to_string().into_bytes()
}

#[track_caller]
fn refused(bytes: &[u8], want: &str) {
    let error = format!("{:#}", parse(bytes, None).unwrap_err());
    assert!(error.contains(want), "{error:?} should hold {want:?}");
}

#[test]
fn documents_of_oci_and_docker_are_taken() {
    let docker = json!({
        "schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG), "layers": [descriptor("application/vnd.docker.image.rootfs.diff.tar.gzip")],
    });
    for manifest in [image(), docker] {
        let bytes = manifest.to_string().into_bytes();
        assert_eq!(parse_manifest(&bytes).unwrap().config().size(), 7);
        assert!(parse_index(&bytes).is_err());
    }
    let list = with(images(), "/mediaType", json!(DOCKER_LIST));
    for index in [images().to_string().into_bytes(), list] {
        assert_eq!(parse_index(&index).unwrap().manifests().len(), 1);
        assert!(parse_manifest(&index).is_err());
    }
}

#[test]
fn digests_and_sizes_of_descriptors_are_checked() {
    let digests = [
        "sha256:../../../../etc/passwd",
        "../x",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "",
        "sha256:",
        &A[..70],
        &A.replace('a', "A"),
        &format!("sha512:{}", "a".repeat(128)),
        &format!("{A}\0"),
        &format!("{A}a"),
    ];
    for pointer in ["/config/digest", "/layers/1/digest"] {
        for digest in digests {
            assert!(parse(&with(image(), pointer, json!(digest)), None).is_err(), "{pointer} {digest:?}");
        }
    }
    for digest in digests {
        let document = with(images(), "/manifests/0/digest", json!(digest));
        let foreign = digest.starts_with("md5:") || digest.starts_with("sha512:");
        assert_eq!(parse(&document, None).is_ok(), foreign, "{digest:?}");
    }
    for size in [json!(-1), json!(1.5), json!("7"), json!(null), json!(u64::MAX), json!(MAX_BLOB + 1)] {
        assert!(parse(&with(image(), "/layers/0/size", size.clone()), None).is_err(), "layer of {size}");
        assert!(parse(&with(image(), "/config/size", size.clone()), None).is_err(), "config of {size}");
        assert!(parse(&with(images(), "/manifests/0/size", size.clone()), None).is_err(), "manifest of {size}");
    }
    refused(&with(image(), "/config/size", json!(MAX_DOCUMENT + 1)), "config: size");
    parse(&with(image(), "/layers/0/size", json!(MAX_BLOB)), None).unwrap();
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    refused(&with(image(), "/manifests", json!([])), "both a manifest and an index");
    refused(&with(images(), "/layers", json!([])), "both a manifest and an index");
    refused(&with(images(), "/config", descriptor(OCI_LAYER)), "both a manifest and an index");
    refused(&with(image(), "/fsLayers", json!([])), "schema 1");
    refused(&with(image(), "/mediaType", json!(OCI_INDEX)), "says index, the content is manifest");
    refused(&with(images(), "/mediaType", json!(OCI_MANIFEST)), "says manifest, the content is index");
    refused(&with(image(), "/mediaType", json!(7)), "mediaType: not a string");
    refused(&with(image(), "/mediaType", json!("application/json")), "not a manifest of an image");
    refused(&with(image(), "/Layers", json!([])), "spelled unlike \"layers\"");
    refused(&with(image(), "/config/Digest", json!(A)), "config: \"Digest\": spelled unlike");
    refused(&with(image(), "/layers/1/SIZE", json!(1)), "layers[1]: \"SIZE\": spelled unlike");
    refused(&with(images(), "/manifests/0/mediatype", json!("x")), "manifests[0]");
    refused(br#"{"schemaVersion":2,"layers":[],"layers":[]}"#, "duplicate key");
    refused(format!(r#"{{"schemaVersion":2,"config":{{"digest":"{A}","digest":"{A}"}}}}"#).as_bytes(), "duplicate");
    let bytes = image().to_string().into_bytes();
    for declared in [OCI_INDEX, DOCKER_LIST, "application/vnd.oci.image.config.v1+json", "text/html"] {
        assert!(parse(&bytes, Some(declared)).is_err(), "{declared}");
    }
    for declared in [OCI_MANIFEST, DOCKER_MANIFEST, "application/json; charset=utf-8", "text/plain"] {
        assert!(parse(&bytes, Some(declared)).is_ok(), "{declared}");
    }
}

#[test]
fn documents_without_end_and_of_other_kinds_are_refused() {
    let huge = format!("{{\"schemaVersion\":2{}}}", " ".repeat(MAX_DOCUMENT as usize));
    refused(huge.as_bytes(), "larger than");
    refused("{\"layers\":".repeat(100_000).as_bytes(), "recursion limit");
    refused(b"", "empty document");
    refused(b"[]", "expected an object");
    refused(b"{}", "schemaVersion: not 2");
    refused(b"{\"schemaVersion\":2}", "neither layers nor manifests");
    refused(&with(image(), "/schemaVersion", json!(1)), "schema 1");
    refused(&with(image(), "/schemaVersion", json!("2")), "schemaVersion: not 2");
    refused(&with(image(), "/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json")), "an artifact");
    refused(&with(image(), "/layers/0/mediaType", json!("application/octet-stream")), "layers[0]: mediaType");
    refused(&with(image(), "/layers/0/mediaType", json!(format!("{OCI_LAYER}+encrypted"))), "encrypted");
    refused(&with(image(), "/layers", json!(vec![descriptor(OCI_LAYER); MAX_LAYERS + 1])), "at most 500");
    refused(&with(image(), "/layers", json!({})), "manifest");
    refused(br#"{"schemaVersion":2,"layers":null}"#, "neither layers nor manifests");
}

#[test]
fn null_and_absent_values_are_gos_zero_values() {
    let no_layers = parse_manifest(&with(image(), "/layers", json!(null))).unwrap();
    assert!(no_layers.layers().is_empty());
    for index in
        [&br#"{"schemaVersion":2,"manifests":null,"mediaType":null}"#[..], b"{\"schemaVersion\":2,\"manifests\":[]}"]
    {
        assert!(parse_index(index).unwrap().manifests().is_empty());
    }
    let pointers = ["/config/urls", "/config/annotations", "/manifests", "/annotations", "/subject", "/mediaType"];
    for pointer in pointers.into_iter().chain(["/layers/0/urls", "/layers/0/platform", "/artifactType"]) {
        parse_manifest(&with(image(), pointer, json!(null))).unwrap_or_else(|err| panic!("{pointer}: {err:#}"));
    }
    let platform = with(images(), "/manifests/0/platform", json!({ "os": null, "architecture": "amd64" }));
    parse_index(&platform).unwrap();
    for config in ["{}", r#"{"rootfs":null,"config":null,"history":null}"#, r#"{"rootfs":{"diff_ids":null}}"#] {
        let config = parse_config(config.as_bytes()).unwrap();
        assert!(diff_ids(&config).unwrap().is_empty());
        assert_eq!(layers(&no_layers, &config).unwrap(), []);
    }
    let odd =
        r#"{"config":{"Entrypoint":[null],"Labels":{"a":null},"Volumes":{"/d":null},"ExposedPorts":{"80/tcp":null}}}"#;
    let config = parse_config(odd.as_bytes()).unwrap().config().clone().unwrap();
    assert_eq!(config.entrypoint().as_deref().unwrap(), [""]);
    assert_eq!(config.volumes().as_deref().unwrap(), ["/d"]);
    assert_eq!(config.labels().as_ref().unwrap()["a"], "");
}

#[test]
fn a_configuration_may_have_a_type_that_names_nothing() {
    for media_type in ["", "application/octet-stream", "application/json", "text/html"] {
        parse_manifest(&with(image(), "/config/mediaType", json!(media_type))).unwrap();
    }
    parse_manifest(&with(image(), "/config/mediaType", json!(null))).unwrap();
    refused(&with(image(), "/config/mediaType", json!("application/x-other")), "an artifact");
}

#[test]
fn layers_of_docker_are_layers_of_oci() {
    let table = [
        ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_LAYER),
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", OCI_LAYER),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_LAYER),
    ];
    for (docker, oci) in table {
        assert_eq!(layer_type(&MediaType::from(docker)).unwrap().as_ref(), oci);
    }
    assert!(layer_type(&MediaType::from("application/vnd.docker.image.rootfs.diff.tar.bz2")).is_err());
}

#[test]
fn configurations_are_checked() {
    let good = json!({
        "architecture": "amd64", "os": "linux", "config": { "Env": null, "Cmd": ["sh"], "Volumes": { "/data": {} } },
        "rootfs": { "type": "layers", "diff_ids": [A] }, "container": "docker writes more than the standard",
    });
    let config = parse_config(good.to_string().as_bytes()).unwrap();
    assert_eq!(diff_ids(&config).unwrap(), [Digest::parse(A).unwrap()]);
    let table = [
        ("/rootfs/type", json!("tree"), "\"layers\""),
        ("/rootfs/diff_ids", json!(["sha256:../x"]), "rootfs.diff_ids[0]"),
        ("/rootfs/diff_ids", json!([A, "sha512:00"]), "rootfs.diff_ids[1]"),
        ("/rootfs/diff_ids", json!(vec![A; MAX_LAYERS + 1]), "at most 500"),
        ("/rootfs/Diff_IDs", json!([]), "rootfs: \"Diff_IDs\": spelled unlike"),
        ("/config/env", json!(["A=B"]), "config: \"env\": spelled unlike"),
        ("/Rootfs", json!({}), "spelled unlike"),
        ("/rootfs", json!([]), "image configuration"),
        ("/config/Cmd", json!("sh"), "image configuration"),
    ];
    for (pointer, value, want) in table {
        let error = format!("{:#}", parse_config(&with(good.clone(), pointer, value)).unwrap_err());
        assert!(error.contains(want), "{pointer}: {error:?} should hold {want:?}");
    }
    assert!(parse_config(b"[]").is_err());
    assert!(parse_config(&vec![b' '; MAX_DOCUMENT as usize + 1]).is_err());
}
