//! `search`, against servers with the search of version 1, with a catalog of several pages, and Debian's registry.

use crate::corm;
use crate::fixture::Fixture;
use crate::real::{Registry, installed, load};
use crate::server::{Response, Server};
use test_support::{Sandbox, skip};

#[test]
fn a_search_prints_podmans_columns() {
    let server = Server::new(|request| match request.path.as_str() {
        "/v2/" => Response::new(200, &[], "{}"),
        path if path.starts_with("/v1/search?q=web%20x&n=") => {
            let long = "word ".repeat(20);
            let results = serde_json::json!({"results": [
                {"name": "team/web", "description": long, "star_count": 7, "is_official": true},
                {"name": "other/web", "description": "small", "star_count": 1, "is_automated": true},
            ]});
            Response::new(200, &[], results.to_string())
        }
        _ => Response::new(404, &[], "{}"),
    });
    let sandbox = Sandbox::new();
    let term = server.name("web x");
    let search = |flags: &[&str]| corm(&sandbox, &["search"]).args(flags).arg(&term).out().ok().stdout;
    let table = search(&[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["NAME", "DESCRIPTION"]);
    assert!(lines[1].starts_with(&server.name("team/web")) && lines[1].ends_with("..."), "{table}");
    assert!(search(&["--no-trunc"]).lines().nth(1).unwrap().len() > 100);
    assert!(search(&["--compatible"]).lines().next().unwrap().ends_with("AUTOMATED"));
    let name = ["--format", "{{.Name}} {{.Stars}}"];
    assert_eq!(search(&[&name[..], &["-f", "stars=5"]].concat()), format!("{} 7\n", server.name("team/web")));
    assert_eq!(
        search(&[&name[..], &["-f", "is-official=false"]].concat()),
        format!("{} 1\n", server.name("other/web"))
    );
    assert_eq!(search(&[&name[..], &["--limit", "1"]].concat()).lines().count(), 1);
    let rows: serde_json::Value = serde_json::from_str(&search(&["--format", "json"])).unwrap();
    assert_eq!(rows[1]["Description"], "small");
    let out = corm(&sandbox, &["search", "-f", "none=1"]).arg(&term).out().exits(1);
    assert!(out.stderr.contains("--filter"), "{out:?}");
}

#[test]
fn a_registry_without_a_search_is_searched_by_its_catalog() {
    let server = Server::new(|request| match request.path.as_str() {
        "/v2/" => Response::new(200, &[], "{}"),
        "/v2/_catalog" => {
            let link = [("link", "</v2/_catalog?last=b&n=2>; rel=\"next\"")];
            Response::new(200, &link, r#"{"repositories":["a/web","b"]}"#)
        }
        "/v2/_catalog?last=b&n=2" => Response::new(200, &[], r#"{"repositories":["c/webs","d"]}"#),
        path if path.starts_with("/v1/search") => Response::new(200, &[], "<html>a page for people</html>"),
        _ => Response::new(404, &[], "{}"),
    });
    let sandbox = Sandbox::new();
    let names = |term: &str| {
        let format = ["search", "--format", "{{.Name}}"];
        corm(&sandbox, &format).arg(server.name(term)).out().ok().stdout
    };
    assert_eq!(names("web"), format!("{}\n{}\n", server.name("a/web"), server.name("c/webs")));
    assert_eq!(names("").lines().count(), 4);
    assert_eq!(names("nothing"), "");
    // a term without a registry is looked for in those of the configuration
    let conf = sandbox.write("registries.conf", format!("unqualified-search-registries = [\"{}\"]\n", server.address));
    let command = corm(&sandbox, &["search", "--format", "{{.Name}}", "web"]);
    let out = command.env("CONTAINERS_REGISTRIES_CONF", &conf).out().ok();
    assert_eq!(out.stdout.lines().count(), 2);
    let refusing = Server::new(|request| match request.path.as_str() {
        "/v2/" => Response::new(200, &[], "{}"),
        _ => Response::new(404, &[], "{}"),
    });
    let out = corm(&sandbox, &["search"]).arg(refusing.name("web")).out().exits(1).one_line();
    assert!(out.stderr.contains("search 127.0.0.1"), "{out:?}");
}

#[test]
fn debians_registry_is_searched() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let registry = Registry::start(false, None);
    let sandbox = Sandbox::new();
    load(&sandbox, &Fixture::new(), "local:latest");
    for name in ["team/web:1", "team/web:2", "team/db:1"] {
        corm(&sandbox, &["push", "-q", "local"]).arg(registry.name(name)).out().ok();
    }
    let found = corm(&sandbox, &["search", "--format", "{{.Name}}"]).arg(registry.name("web")).out().ok();
    assert_eq!(found.text(), registry.name("team/web"));
    let tags = corm(&sandbox, &["search", "--list-tags"]).arg(registry.name("team/web")).out().ok();
    // in the registry's order, which is none
    let mut lines: Vec<_> = tags.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    lines.sort_unstable();
    let name = registry.name("team/web");
    assert_eq!(lines, [[&*name, "1"], [&name, "2"], ["NAME", "TAG"]]);
}
