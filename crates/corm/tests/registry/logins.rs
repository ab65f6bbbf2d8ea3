//! Names, passwords and tokens: sent only to their own registry, and requested a bounded number of times.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::corm;
use crate::fixture::Fixture;
use crate::server::{Request, Response, Server};
use test_support::{Cmd, Sandbox};

/// The credentials `user:hunter2` in base64.
const BASIC: &str = "dXNlcjpodW50ZXIy";

fn basic_only(fixture: Fixture) -> impl Fn(&Request) -> Response + Send + Sync {
    move |request| match request.header("authorization") {
        Some(header) if header == format!("Basic {BASIC}") => fixture.answer(request),
        _ => Response::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    }
}

fn logged_in(sandbox: &Arc<Sandbox>, registry: &str, args: &[&str]) -> Cmd {
    let file = sandbox.write("auth.json", format!(r#"{{"auths":{{"{registry}":{{"auth":"{BASIC}"}}}}}}"#));
    corm(sandbox, args).env("REGISTRY_AUTH_FILE", file)
}

#[test]
fn basic_authentication_and_nothing_to_log_in_with() {
    let fixture = Fixture::new();
    let server = Server::new(basic_only(fixture.clone()));
    let (sandbox, registry, name) = (Sandbox::new(), server.address.to_string(), server.name("a/b:v1"));
    let out = corm(&sandbox, &["pull", &name]).out().exits(1);
    assert!(out.stderr.contains("no credentials"), "{out:?}");
    assert_eq!(logged_in(&sandbox, &registry, &["pull", &name]).out().ok().stdout.trim(), fixture.id());
    // the other files of logins, and a credential helper
    for (dir, text) in [
        ("containers/auth.json", format!(r#"{{"auths":{{"{name}":{{"auth":"{BASIC}"}}}}}}"#).replace(":v1", "")),
        (".config/containers/auth.json", format!(r#"{{"auths":{{"http://{registry}/v2/":{{"auth":"{BASIC}"}}}}}}"#)),
        (".docker/config.json", format!(r#"{{"credHelpers":{{"{registry}":"test"}}}}"#)),
        (".docker/config.json", r#"{"credsStore":"test"}"#.to_owned()),
    ] {
        let sandbox = Sandbox::new();
        sandbox.mkdir(dir.rsplit_once('/').unwrap().0);
        sandbox.write(dir, text);
        sandbox.mkdir("bin");
        let answer = "read server; [ \"$1\" = get ] && echo \"{\\\"ServerURL\\\":\\\"$server\\\",\\\"Username\\\":\\\"user\\\",\\\"Secret\\\":\\\"hunter2\\\"}\"";
        let helper = sandbox.write("bin/docker-credential-test", format!("#!/bin/sh\n{answer}\n"));
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
        let out = corm(&sandbox, &["pull", &name]).env("PATH", path).out();
        assert_eq!(out.ok().stdout.trim(), fixture.id(), "{dir}");
    }
}

#[test]
fn item_13_a_password_is_not_sent_after_a_redirect() {
    let fixture = Fixture::new();
    let elsewhere = fixture.clone();
    let other = Server::new(move |request| elsewhere.answer(request));
    let (inner, layer, place) = (basic_only(fixture.clone()), fixture.layers[1].clone(), other.address);
    let server = Server::new(move |request| match inner(request) {
        Response::WellFormed { status: 200, .. } if request.path.ends_with(&layer) => {
            Response::new(307, &[("location", &format!("http://{place}{}?sig=s3cret", request.path))], "")
        }
        answer => answer,
    });
    let sandbox = Sandbox::new();
    let registry = server.address.to_string();
    logged_in(&sandbox, &registry, &["pull", &server.name("a/b:v1")]).out().ok();
    let requests = other.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("authorization"), None);
    // corm does not send its login to the target of a redirect that requires one
    let greedy = Server::new(|_| Response::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""));
    let (inner, place) = (basic_only(fixture), greedy.address);
    let server = Server::new(move |request| match inner(request) {
        Response::WellFormed { status: 200, .. } if request.path.contains("/blobs/") => {
            Response::new(302, &[("location", &format!("http://{place}/x?sig=s3cret"))], "")
        }
        answer => answer,
    });
    let sandbox = Sandbox::new();
    let registry = server.address.to_string();
    let out = logged_in(&sandbox, &registry, &["pull", &server.name("a/b:v1")]).out().exits(1);
    assert!(!out.stderr.contains("s3cret") && !out.stderr.contains("hunter2"), "{out:?}");
    assert!(greedy.requests().iter().all(|request| request.header("authorization").is_none()));
}

/// Starts a token server and registry that requires its tokens; `taken` decides which of them it accepts.
fn with_tokens(fixture: Fixture, realm: &str, taken: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    let issued = AtomicUsize::new(0);
    let realm = realm.to_owned();
    Server::new(move |request| {
        let host = request.header("host").unwrap_or_default();
        if request.path.starts_with("/token") {
            let number = issued.fetch_add(1, Ordering::SeqCst);
            return Response::new(200, &[], format!(r#"{{"token":"t0ken-{number}","expires_in":60}}"#));
        }
        match request.header("authorization").and_then(|header| header.strip_prefix("Bearer ")) {
            Some(token) if taken(token) => fixture.answer(request),
            _ => {
                let realm = realm.replace("HOST", host);
                let challenge = format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:other:push\"");
                Response::new(401, &[("www-authenticate", &challenge)], "")
            }
        }
    })
}

#[test]
fn a_token_is_fetched_once_for_each_command() {
    let fixture = Fixture::new();
    let server = with_tokens(fixture, "http://HOST/token", |_| true);
    let (sandbox, registry) = (Sandbox::new(), server.address.to_string());
    logged_in(&sandbox, &registry, &["pull", &server.name("a/b:v1")]).out().ok();
    let requests: Vec<Request> =
        server.requests().into_iter().filter(|request| request.path.starts_with("/token")).collect();
    assert_eq!(requests.len(), 1);
    assert!(
        requests[0].path.contains("service=s") && requests[0].path.contains("scope=repository%3Aa%2Fb%3Apull"),
        "{requests:?}"
    );
    assert!(!requests[0].path.contains("push"), "a scope that the registry wants is not ours");
    assert_eq!(requests[0].header("authorization"), Some(&*format!("Basic {BASIC}")));
    // without a login, as uid 65534
    let sandbox = Sandbox::new();
    corm(&sandbox, &["pull", &server.name("a/b:v1")]).out().ok();
    let last = server.requests().into_iter().rfind(|request| request.path.starts_with("/token")).unwrap();
    assert_eq!(last.header("authorization"), None);
}

#[test]
fn a_token_that_expires_is_replaced() {
    let fixture = Fixture::new();
    let uses = AtomicUsize::new(0);
    let server = with_tokens(fixture.clone(), "http://HOST/token", move |token| {
        token != "t0ken-0" || uses.fetch_add(1, Ordering::SeqCst) < 2
    });
    assert_eq!(corm(&Sandbox::new(), &["pull", &server.name("a/b:v1")]).out().ok().stdout.trim(), fixture.id());
    assert_eq!(server.count("/token"), 2);
}

#[test]
fn item_13_logins_that_never_work_end() {
    let server = with_tokens(Fixture::new(), "http://HOST/token", |_| false);
    let (sandbox, registry) = (Sandbox::new(), server.address.to_string());
    let out = logged_in(&sandbox, &registry, &["--log-level", "debug", "pull", &server.name("a/b:v1")]).out().exits(1);
    assert!(out.stderr.contains("login was not accepted"), "{out:?}");
    assert!(!out.stderr.contains("t0ken") && !out.stderr.contains("hunter2") && !out.stderr.contains(BASIC), "{out:?}");
    assert!(server.requests().len() < 10, "{}", server.requests().len());
    // a wrong password
    let server = Server::new(|_| Response::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""));
    let registry = server.address.to_string();
    let out = logged_in(&sandbox, &registry, &["pull", &server.name("a/b:v1")]).out().exits(1);
    assert!(out.stderr.contains("not accepted") && !out.stderr.contains(BASIC), "{out:?}");
    assert!(server.requests().len() < 6);
}

#[test]
fn item_13_a_realm_is_a_place_to_ask_and_answers_with_a_token() {
    let table = [
        ("file:///etc/passwd", "not a URL"),
        ("ftp://HOST/x", "neither http nor https"),
        ("not a url", "not a URL"),
        ("http://u:p@HOST/token", "a user's name"),
    ];
    for (realm, want) in table {
        let server = with_tokens(Fixture::new(), realm, |_| true);
        let out = corm(&Sandbox::new(), &["pull", &server.name("a/b:v1")]).out().exits(1);
        assert!(out.stderr.contains(want), "{out:?}");
    }
    for answer in ["", "[]", "{}", r#"{"token":""}"#, r#"{"token":"s3cret\r\nx: y"}"#, r#"{"token":["s3cret"]}"#] {
        let server = Server::new(move |request| {
            let challenge = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            match request.path.starts_with("/token") {
                true => Response::new(200, &[], answer),
                false => Response::new(401, &[("www-authenticate", &challenge)], ""),
            }
        });
        let out = corm(&Sandbox::new(), &["pull", &server.name("a/b:v1")]).out().exits(1);
        assert!(out.stderr.contains("get a token") && !out.stderr.contains("s3cret"), "{out:?}");
    }
}
