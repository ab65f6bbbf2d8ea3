//! Registries that send wrong data: each is refused with one line, and nothing of the image is stored.

use std::io::Write as _;

use corm::model::digest::Digest;
use serde_json::json;

use crate::fixture::{Fixture, INDEX, MANIFEST, describe};
use crate::server::{Request, Response, Server};
use crate::{corm, images, stored};
use test_support::{Out, Sandbox};

/// Pulls from a registry that sends correct responses, except for the requests that `lie` answers.
#[track_caller]
fn pull_with(fixture: &Fixture, lie: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> (Out, Server) {
    let honest = fixture.clone();
    let server = Server::new(move |request| lie(request).unwrap_or_else(|| honest.answer(request)));
    let sandbox = Sandbox::new();
    let out = corm(&sandbox, &["pull", &server.name("a/b:v1")]).out();
    if out.code != Some(0) {
        assert_eq!(out.stdout, "", "{out:?}");
        assert_eq!(out.stderr.lines().filter(|line| is_error(line)).count(), 1, "{out:?}");
        assert!(!out.stderr.contains("panicked"), "{out:?}");
        assert_eq!(images(&sandbox).len(), 0, "{out:?}");
        assert_eq!(stored(&sandbox, "tmp"), [""; 0], "{out:?}");
        assert_eq!(stored(&sandbox, "trees"), [""; 0], "{out:?}");
    }
    (out, server)
}

/// Returns whether the line is corm's last one, and no warning of a try that failed.
fn is_error(line: &str) -> bool {
    line.starts_with("corm: ") && !line.starts_with("corm: warning: ")
}

#[track_caller]
fn refused(
    fixture: &Fixture,
    want: &str,
    lie: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> Server {
    let (out, server) = pull_with(fixture, lie);
    assert_eq!(out.code, Some(1), "{out:?}");
    assert!(out.stderr.contains(want), "{want:?} is not in {out:?}");
    server
}

/// Returns a closure that answers the requests whose path ends with `path`.
fn to<F: Fn() -> Response + Send + Sync + 'static>(
    path: &str,
    answer: F,
) -> impl Fn(&Request) -> Option<Response> + Send + Sync + use<F> {
    let path = path.to_owned();
    move |request| request.path.ends_with(&path).then(&answer)
}

#[test]
fn an_honest_registry_is_pulled_from_once() {
    let fixture = Fixture::new();
    let honest = fixture.clone();
    let server = Server::new(move |request| honest.answer(request));
    let sandbox = Sandbox::new();
    let name = server.name("a/b:v1");
    assert_eq!(corm(&sandbox, &["pull", &name]).out().ok().stdout.trim(), fixture.id());
    let first = server.requests().len();
    assert_eq!(corm(&sandbox, &["pull", &name]).out().ok().stdout.trim(), fixture.id());
    let second: Vec<String> = server.requests()[first..].iter().map(|request| request.path.clone()).collect();
    assert_eq!(second, ["/v2/", "/v2/a/b/manifests/v1"]);
    assert_eq!(images(&sandbox).len(), 1);
    assert_eq!(stored(&sandbox, "partial"), [""; 0]);
}

#[test]
fn item_11_content_is_compared_with_its_digest() {
    let fixture = Fixture::new();
    let layer = fixture.layers[1].clone();
    let other = || Response::new(200, &[], crate::fixture::noise(100));
    refused(&fixture, "what came is 100 bytes", to(&fixture.config, other));
    let size = fixture.blobs[&layer].len();
    refused(&fixture, "the digest", to(&layer, move || Response::new(200, &[], vec![0; size])));
    refused(&fixture, "100 bytes are announced", to(&layer, other));
    let header = || Response::new(200, &[("docker-content-digest", &Digest::of(b"x").to_string())], "{}");
    refused(&fixture, "the digest", to("/v1", header));
    // pulls by digest, whatever digest a header has
    let sandbox = Sandbox::new();
    let server = Server::new(move |_| Response::new(200, &[], "{}"));
    let name = server.name(&format!("a/b@{}", fixture.manifest));
    let out = corm(&sandbox, &["pull", &name]).out().exits(1);
    assert!(out.stderr.contains("instead of"), "{out:?}");
}

#[test]
fn item_11_manifests_are_checked_before_anything_is_fetched() {
    let fixture = Fixture::new();
    let manifest = fixture.json(&fixture.manifest);
    let table = [
        ("/config/digest", json!("sha256:../../../../etc/passwd"), "digest"),
        ("/layers/0/digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e"), "digest"),
        ("/layers/0/size", json!(-1), "manifest"),
        ("/manifests", json!([]), "both a manifest and an index"),
        ("/layers/0/mediaType", json!("application/x-tar"), "not a layer"),
        ("/config/mediaType", json!("application/vnd.cncf.helm.config.v1+json"), "an artifact"),
    ];
    for (pointer, value, want) in table {
        let mut bad = manifest.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[key] = value;
        let answer = move || Response::new(200, &[("content-type", MANIFEST)], bad.to_string());
        let server = refused(&fixture, want, to("/v1", answer));
        assert_eq!(server.count("/blobs/"), 0, "{pointer}");
    }
    let fewer = json!({ "schemaVersion": 2, "config": manifest["config"], "layers": [manifest["layers"][0]] });
    refused(&fixture, "1 layers in the manifest, 3 in", to("/v1", move || Response::new(200, &[], fewer.to_string())));
    let mut wrong = manifest.clone();
    wrong["layers"] = json!([manifest["layers"][0], manifest["layers"][2], manifest["layers"][1]]);
    refused(&fixture, "its image has", to("/v1", move || Response::new(200, &[], wrong.to_string())));
}

#[test]
fn item_11_indexes_lead_to_one_image_or_to_an_error() {
    let mut fixture = Fixture::new();
    let mut entry = describe(MANIFEST, &fixture.blobs[&fixture.manifest]);
    entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
    let other = json!({
        "mediaType": MANIFEST, "size": 7, "digest": Digest::of(b"other").to_string(),
        "platform": { "os": "linux", "architecture": "arm64", "variant": "v8" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [other, entry] }).to_string();
    fixture.tag("v1", INDEX, index.clone().into_bytes());
    let (out, server) = pull_with(&fixture, |_| None);
    assert_eq!(out.ok().stdout.trim(), fixture.id());
    assert_eq!(server.count(&Digest::of(b"other").to_string()), 0);
    let sandbox = Sandbox::new();
    let out = corm(&sandbox, &["pull", "--platform", "linux/s390x", &server.name("a/b:v1")]).out().exits(1);
    assert!(out.stderr.contains("has no image for linux/s390x"), "{out:?}");
    corm(&sandbox, &["pull", "--platform", "nonsense", &server.name("a/b:v1")]).out().exits(1);

    // an index 100 levels deep
    let mut deep = index;
    for _ in 0..100 {
        let mut entry = describe(INDEX, deep.as_bytes());
        entry["platform"] = json!({ "os": "linux", "architecture": "amd64" });
        fixture.add(deep.into_bytes());
        deep = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    }
    fixture.tag("v1", INDEX, deep.into_bytes());
    let server = refused(&fixture, "indexes inside of each other", |_| None);
    assert!(server.count("/manifests/") <= 6);

    // an index cannot contain its own digest: this one has a wrong digest for itself
    let own = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": INDEX, "size": 300, "digest": Digest::of(b"own").to_string(),
        "platform": { "os": "linux", "architecture": "amd64" },
    }]});
    refused(&fixture, "instead of", move |request| {
        request.path.contains("/manifests/").then(|| Response::new(200, &[("content-type", INDEX)], own.to_string()))
    });
}

#[test]
fn item_13_a_redirect_leads_only_to_http_and_not_for_ever() {
    let fixture = Fixture::new();
    for place in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "unix:/run/x.sock",
        "gopher://x/",
        "http://u:p@127.0.0.1/",
        "http://",
    ] {
        let answer = move || Response::new(307, &[("location", place)], "");
        let server = refused(&fixture, "redirect from", to(&fixture.layers[0], answer));
        assert_eq!(server.count(&fixture.layers[0]), 1, "{place}");
    }
    refused(&fixture, "no location header", to("/v1", || Response::new(302, &[], "")));
    let around = |request: &Request| {
        let location = format!("{}x", request.path);
        request.path.contains("/manifests/").then(|| Response::new(302, &[("location", &location)], ""))
    };
    let server = refused(&fixture, "redirects", around);
    assert_eq!(server.count("/manifests/"), 6);
}

#[test]
fn item_13_bodies_without_end_are_left() {
    let fixture = Fixture::new();
    let endless = || {
        Response::raw(|stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
            let chunk = [b"10000\r\n".as_slice(), &[b' '; 65536], b"\r\n"].concat();
            // ends when corm closes the connection
            loop {
                stream.write_all(&chunk)?;
            }
        })
    };
    refused(&fixture, "more than 4194304 bytes", to("/v1", endless));
    refused(&fixture, "more than", to(&fixture.config, endless));
    refused(&fixture, "longer than the manifest says", to(&fixture.layers[1], endless));
    let too_long = || Response::new(200, &[("content-length", "99999999999")], "");
    refused(&fixture, "are announced", to(&fixture.layers[1], too_long));
    refused(&fixture, "content-length", to(&fixture.layers[1], || Response::new(200, &[("content-length", "x")], "")));
}

#[test]
fn item_13_error_pages_are_short_and_printable() {
    let fixture = Fixture::new();
    let page = || Response::new(404, &[], r#"{"errors":[{"code":"NO\u001b[2J","message":"gone\nline"}]}"#);
    let (out, _server) = pull_with(&fixture, to("/v1", page));
    assert!(out.clone().exits(1).stderr.contains("NO[2J: goneline"), "{out:?}");
    let (out, _server) = pull_with(&fixture, to("/v1", || Response::new(404, &[], vec![b'x'; 1 << 20])));
    assert!(out.clone().exits(1).stderr.len() < 500, "{out:?}");
}

#[test]
fn a_name_that_does_not_exist_is_an_error() {
    let sandbox = Sandbox::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let out = corm(&sandbox, &["pull", &format!("{free}/a:v1")]).out().exits(1);
    assert!(out.stderr.contains("connection refused"), "{out:?}");
    for bad in ["", "../x", "http://x/y", "A", "x@sha256:00"] {
        let out = corm(&sandbox, &["pull", bad]).out().exits(1);
        assert!(out.stderr.contains("image name"), "{out:?}");
    }
}
