//! Registries that differ from the usual: they move `/v2/`, refuse OCI manifests, ask for patience; and a login helper that
//! is not installed.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::corm;
use crate::fixture::Fixture;
use crate::server::{Request, Response, Server};
use test_support::{Sandbox, wait_for};

fn honest(fixture: &Fixture) -> impl Fn(&Request) -> Response + Send + Sync + 'static {
    let fixture = fixture.clone();
    move |request| fixture.answer(request)
}

#[test]
fn a_registry_that_moves_v2_is_followed_on_the_same_host() {
    let fixture = Fixture::new();
    let real = Server::new(honest(&fixture));
    for path in ["/v2/", "/v2"] {
        let place = format!("http://{}{path}", real.address);
        let moved = Server::new(move |request| match request.path.as_str() {
            "/v2/" => Response::new(301, &[("location", &place)], ""),
            _ => Response::new(404, &[], ""),
        });
        let before = real.count("/manifests/v1");
        let out = corm(&Sandbox::new(), &["pull", &moved.name("a/b:v1")]).out().ok();
        assert_eq!(out.stdout.trim(), fixture.id());
        assert_eq!((moved.requests().len(), real.count("/manifests/v1")), (1, before + 1));
    }
    // to another host the login would go too; to itself it would not end
    for place in ["http://localhost.example/v2/", "http://127.0.0.2/v2/", "/v2/", "file:///v2/", "/elsewhere"] {
        let moved = Server::new(move |_| Response::new(302, &[("location", place)], ""));
        let out = corm(&Sandbox::new(), &["pull", &moved.name("a/b:v1")]).out().exits(1).one_line();
        assert!(out.stderr.contains("HTTP status 302"), "{place}: {out:?}");
        assert_eq!(moved.count("/v2/"), 1, "{place}");
    }
}

#[test]
fn the_status_of_a_refusal_is_in_the_message() {
    for (status, header) in [(401, "Basic realm=\"x\""), (401, "Negotiate"), (403, ""), (404, ""), (418, "")] {
        let server = Server::new(move |request| match request.path.as_str() {
            "/v2/" => Response::new(200, &[], "{}"),
            _ => Response::new(status, &[("www-authenticate", header)], "<html>"),
        });
        let out = corm(&Sandbox::new(), &["pull", &server.name("a/b:v1")]).out().exits(1).one_line();
        assert!(out.stderr.contains(&format!("HTTP status {status}")), "{out:?}");
    }
}

#[test]
fn a_login_helper_that_is_not_installed_does_not_stop_a_pull_without_login() {
    let fixture = Fixture::new();
    let server = Server::new(honest(&fixture));
    let helpers =
        [json!({ "credsStore": "none-here" }), json!({ "credHelpers": { server.address.to_string(): "none-here" } })];
    for helper in helpers {
        let sandbox = Sandbox::new();
        let file = sandbox.write("auth.json", helper.to_string());
        let pull = |name: &str| corm(&sandbox, &["pull", name]).env("REGISTRY_AUTH_FILE", &file).out();
        let out = pull(&server.name("a/b:v1")).ok();
        assert_eq!(out.stdout.trim(), fixture.id());
        assert!(out.stderr.contains("docker-credential-none-here is not in $PATH"), "{out:?}");
    }
}

/// A registry that takes uploads, and manifests of one type only.
fn takes(media_type: &'static str, status: u16) -> Server {
    Server::new(move |request| match (request.method.as_str(), request.path.split('?').next().unwrap()) {
        ("GET", _) => Response::new(200, &[], "{}"),
        ("HEAD", _) => Response::new(404, &[], ""),
        ("POST", _) => Response::new(202, &[("location", "/v2/a/b/blobs/uploads/1")], ""),
        ("PATCH", path) => {
            let range = format!("0-{}", request.body.len() - 1);
            Response::new(202, &[("location", path), ("range", &range)], "")
        }
        ("PUT", path) if path.contains("/manifests/") && request.header("content-type") != Some(media_type) => {
            let text = r#"{"errors":[{"code":"MANIFEST_INVALID","message":"not this type"}]}"#;
            Response::new(status, &[], text)
        }
        _ => Response::new(201, &[], ""),
    })
}

fn loaded(fixture: &Fixture) -> Arc<Sandbox> {
    let sandbox = Sandbox::new();
    fixture.write_layout(&sandbox.path("web"), "v1");
    corm(&sandbox, &["load", sandbox.path("web").to_str().unwrap()]).out().ok();
    sandbox
}

#[test]
fn a_registry_that_refuses_oci_manifests_gets_dockers() {
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let fixture = Fixture::new();
    let sandbox = loaded(&fixture);
    for status in [400, 415] {
        let server = takes(DOCKER, status);
        let out = corm(&sandbox, &["push", "web:v1", &server.name("a/b:v1")]).out().ok();
        assert!(out.stderr.contains("refuses OCI manifests"), "{out:?}");
        let puts: Vec<Request> =
            server.requests().into_iter().filter(|request| request.path.contains("/manifests/")).collect();
        assert_eq!(puts.len(), 2);
        assert_eq!(out.stdout.trim(), corm::model::digest::Digest::of(&puts[1].body).to_string());
        let (before, docker): (Value, Value) =
            (fixture.json(&fixture.manifest), serde_json::from_slice(&puts[1].body).unwrap());
        assert_eq!((&docker["mediaType"], &docker["config"]["digest"]), (&json!(DOCKER), &before["config"]["digest"]));
        assert_eq!(docker["layers"][0]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
        assert_eq!(docker["layers"][2]["digest"], before["layers"][2]["digest"]);
    }
    // one that takes neither is an error with the reason, and by digest nothing else is tried
    let server = takes("application/x-none", 400);
    let out = corm(&sandbox, &["push", "web:v1", &server.name("a/b:v1")]).out().exits(1);
    assert!(out.stderr.contains("HTTP status 400, MANIFEST_INVALID: not this type"), "{out:?}");
    let server = takes(DOCKER, 400);
    corm(&sandbox, &["push", "web:v1", &server.name(&format!("a/b@{}", fixture.manifest))]).out().exits(1);
    // a server that fails is no refusal
    let server = takes(DOCKER, 403);
    corm(&sandbox, &["push", "web:v1", &server.name("a/b:v1")]).out().exits(1);
    assert_eq!(server.count("/manifests/"), 1);
}

#[test]
fn a_wait_of_more_than_a_minute_is_told_at_once() {
    let server = Server::new(|request| match request.path.as_str() {
        "/v2/" => Response::new(200, &[], "{}"),
        _ => Response::new(429, &[("retry-after", "3600")], ""),
    });
    let sandbox = Sandbox::new();
    let pull = corm(&sandbox, &["pull", &server.name("a/b:v1")]).spawn();
    wait_for("it says so", || {
        pull.stderr().contains("asks to wait 3600 seconds; corm waits 60 and tries 4 times more")
    });
    pull.signal(libc::SIGTERM);
    pull.wait();
}
