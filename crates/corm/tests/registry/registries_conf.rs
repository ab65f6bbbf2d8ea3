//! registries.conf: mirrors, other places, blocked registries and short names, with registries that count who asks.

use std::sync::Arc;

use crate::fixture::Fixture;
use crate::server::{Response, Server};
use crate::{corm, images};
use test_support::{Cmd, Sandbox};

/// Returns a command of corm that reads this registries.conf.
fn with_conf(sandbox: &Arc<Sandbox>, conf: &str, args: &[&str]) -> Cmd {
    let file = sandbox.write("registries.conf", conf);
    corm(sandbox, args).env("CONTAINERS_REGISTRIES_CONF", file)
}

fn serving(fixture: &Fixture) -> Server {
    let fixture = fixture.clone();
    Server::new(move |request| fixture.answer(request))
}

#[test]
fn another_location_is_read_and_the_name_stays() {
    let fixture = Fixture::new();
    let (server, sandbox) = (serving(&fixture), Sandbox::new());
    let conf = format!("[[registry]]\nprefix = 'r.invalid/team'\nlocation = '{}/moved'\n", server.address);
    let out = with_conf(&sandbox, &conf, &["pull", "r.invalid/team/web:v1"]).out().ok();
    assert_eq!(out.stdout.trim(), fixture.id());
    assert_eq!(server.count("/v2/moved/web/manifests/v1"), 1);
    assert_eq!(images(&sandbox)[0]["Names"][0], "r.invalid/team/web:v1");
    // a file below the user's own directory is read after it
    sandbox.mkdir(".config/containers/registries.conf.d");
    let blocked = "[[registry]]\nprefix = 'r.invalid/team'\nlocation = 'r.invalid'\nblocked = true\n";
    sandbox.write(".config/containers/registries.conf.d/10-block.conf", blocked);
    let out = with_conf(&sandbox, &conf, &["pull", "r.invalid/team/web:v1"]).out().exits(1);
    assert!(out.stderr.contains("registries.conf blocks"), "{out:?}");
    let out = with_conf(&sandbox, &conf, &["push", "r.invalid/team/web:v1"]).out().exits(1);
    assert!(out.stderr.contains("registries.conf blocks"), "{out:?}");
}

#[test]
fn mirrors_come_first_and_get_no_credentials_of_the_registry() {
    let fixture = Fixture::new();
    let registry = serving(&fixture);
    let empty = Server::new(|request| match request.path.as_str() {
        "/v2/" => Response::new(200, &[], "{}"),
        _ => Response::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    });
    let (mirror, sandbox) = (serving(&fixture), Sandbox::new());
    let (own, other) = (registry.address, empty.address);
    let conf = |mirrors: &str| format!("[[registry]]\nlocation = '{own}'\n{mirrors}");
    let one = |address: &str, more: &str| format!("[[registry.mirror]]\nlocation = '{address}/m'\n{more}\n");
    let name = registry.name("a/b:v1");
    // one that does not have it, then one that does
    let both = conf(&(one(&other.to_string(), "") + &one(&mirror.address.to_string(), "")));
    let out = with_conf(&sandbox, &both, &["pull", "--creds", "user:hunter2", &name]).out().ok();
    assert_eq!(out.stdout.trim(), fixture.id());
    assert!(out.stderr.contains("warning") && out.stderr.contains(&other.to_string()), "{out:?}");
    assert_eq!((mirror.count("/v2/m/a/b/manifests/v1"), registry.requests().len()), (1, 0));
    assert!(empty.requests().iter().any(|request| request.path.contains("/manifests/")), "it was asked");
    for request in empty.requests().iter().chain(&mirror.requests()) {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
    // no mirror has it, and the registry itself answers
    let (sandbox, dead) = (Sandbox::new(), conf(&one(&other.to_string(), "")));
    with_conf(&sandbox, &dead, &["pull", &name]).out().ok();
    assert_eq!(registry.count("/v2/a/b/manifests/v1"), 1);
    // a mirror for digests is not asked for a tag
    let before = mirror.requests().len();
    let sandbox = Sandbox::new();
    let digests = conf(&one(&mirror.address.to_string(), "pull-from-mirror = 'digest-only'"));
    with_conf(&sandbox, &digests, &["pull", &name]).out().ok();
    assert_eq!(mirror.requests().len(), before);
    let by_digest = registry.name(&format!("a/b@{}", fixture.manifest));
    with_conf(&sandbox, &digests, &["pull", &by_digest]).out().ok();
    assert!(mirror.requests().len() > before);
}

#[test]
fn short_names_are_found_in_the_store_as_they_were_pulled() {
    let fixture = Fixture::new();
    let (server, sandbox) = (serving(&fixture), Sandbox::new());
    let address = server.address;
    let search = format!("unqualified-search-registries = ['{address}']\n");
    with_conf(&sandbox, &search, &["pull", "web:v1"]).out().ok();
    assert_eq!(server.count("/v2/web/manifests/v1"), 1);
    assert_eq!(images(&sandbox)[0]["Names"][0], format!("{address}/web:v1"));
    with_conf(&sandbox, &search, &["history", "web:v1"]).out().ok();
    let alias = format!("[aliases]\n'app' = '{address}/team/web'\n");
    with_conf(&sandbox, &alias, &["pull", "app:v1"]).out().ok();
    assert_eq!(server.count("/v2/team/web/manifests/v1"), 1);
    with_conf(&sandbox, &alias, &["history", "app:v1"]).out().ok();
    // corm does not guess among several
    let two = format!("unqualified-search-registries = ['127.0.0.1:1', '{address}']\n");
    let out = with_conf(&sandbox, &two, &["pull", "other:v1"]).out().exits(1);
    assert!(out.stderr.contains("127.0.0.1:1") && out.stderr.contains("full name"), "{out:?}");
    let permissive = two + "short-name-mode = 'permissive'\n";
    let out = with_conf(&sandbox, &permissive, &["pull", "other:v1"]).out().ok();
    assert!(out.stderr.contains("warning"), "{out:?}");
    assert_eq!(server.count("/v2/other/manifests/v1"), 1);
    for bad in ["[registries.search]\nregistries = []", "x = [", "short-name-mode = 'loud'"] {
        let out = with_conf(&sandbox, bad, &["pull", "web:v1"]).out().exits(1);
        assert!(out.stderr.contains("registries.conf"), "{out:?}");
    }
}
