//! Tests of prefixes, mirrors and short names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;

fn of(files: &[&str]) -> Result<Registries> {
    let mut all = Registries::default();
    for text in files {
        all.add(toml::from_str(text)?)?;
    }
    Ok(all)
}

fn places(all: &Registries, name: &str) -> Vec<String> {
    let endpoints = all.to_read(&Reference::parse(name).unwrap()).unwrap();
    let shown = |one: &Endpoint| {
        format!(
            "{}/{}{}{}",
            one.registry,
            one.path,
            if one.insecure { " insecure" } else { "" },
            if one.named { "" } else { " moved" }
        )
    };
    endpoints.iter().map(shown).collect()
}

const FILE: &str = r#"
unqualified-search-registries = ["one.io", "two.io"]
short-name-mode = "permissive"
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.io:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.io"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.io"
pull-from-mirror = "tag-only"
[[registry]]
prefix = "a.io/team"
location = "b.io/other"
insecure = true
[[registry]]
prefix = "a.io/team/secret"
location = "a.io"
blocked = true
[[registry]]
prefix = "*.corp.io"
[[registry]]
location = "c.io"
mirror-by-digest-only = true
mirror = [{ location = "d.io" }]
[aliases]
fedora = "registry.fedoraproject.org/fedora"
"team/app" = "x.io/app"
"#;

#[test]
fn the_longest_prefix_decides_and_mirrors_come_first() {
    let all = of(&[FILE]).unwrap();
    let digest = format!("sha256:{}", "a".repeat(64));
    let table: &[(&str, &[&str])] = &[
        (
            "busybox",
            &[
                "mirror.io:5000/hub/library/busybox insecure moved",
                "tags.io/library/busybox moved",
                "docker.io/library/busybox",
            ],
        ),
        (
            &format!("busybox@{digest}"),
            &[
                "mirror.io:5000/hub/library/busybox insecure moved",
                "digests.io/library/busybox moved",
                "docker.io/library/busybox",
            ],
        ),
        ("a.io/team/x:1", &["b.io/other/x insecure moved"]),
        ("a.io/teams/x:1", &["a.io/teams/x"]),
        ("r.corp.io/x", &["r.corp.io/x"]),
        ("c.io/x", &["c.io/x"]),
        (&format!("c.io/x@{digest}"), &["d.io/x moved", "c.io/x"]),
    ];
    for (name, want) in table {
        assert_eq!(places(&all, name), *want, "{name}");
    }
    let blocked = Reference::parse("a.io/team/secret/x").unwrap();
    assert!(all.to_read(&blocked).is_err() && all.to_write(&blocked).is_err());
    // what is written goes to the place of its name
    let own = all.to_write(&Reference::parse("a.io/team/x").unwrap()).unwrap();
    assert_eq!((own.registry.as_str(), own.path.as_str(), own.insecure), ("a.io", "team/x", true));
}

#[test]
fn short_names_have_aliases_then_the_search_list_then_docker() {
    let names = |all: &Registries, text: &str| -> Vec<String> {
        all.references(text).unwrap().iter().map(Reference::name).collect()
    };
    let all = of(&[FILE]).unwrap();
    assert_eq!(names(&all, "fedora:40"), ["registry.fedoraproject.org/fedora:40"]);
    assert_eq!(names(&all, "team/app"), ["x.io/app:latest"]);
    assert_eq!(names(&all, "web"), ["one.io/web:latest", "two.io/web:latest"]);
    assert_eq!(names(&all, "localhost/web:1"), ["localhost/web:1"]);
    assert_eq!(names(&all, "q.io/web"), ["q.io/web:latest"]);
    assert_eq!(names(&Registries::default(), "web"), ["docker.io/library/web:latest"]);
    let strict = of(&[FILE, "short-name-mode = \"enforcing\""]).unwrap();
    assert!(format!("{:#}", strict.references("web").unwrap_err()).contains("one.io, two.io"));
    assert_eq!(names(&strict, "fedora"), ["registry.fedoraproject.org/fedora:latest"]);
    // a later file replaces the list, a registry of the same prefix, and removes aliases
    let later = "unqualified-search-registries = [\"three.io\"]\n[aliases]\nfedora = \"\"\n[[registry]]\nprefix = \"docker.io\"\nlocation = \"e.io\"";
    let all = of(&[FILE, later]).unwrap();
    assert_eq!(names(&all, "fedora"), ["three.io/fedora:latest"]);
    assert_eq!(places(&all, "docker.io/library/busybox"), ["e.io/library/busybox moved"]);
    assert_eq!(all.default_registry(), "three.io");
}

#[test]
fn files_of_another_form_are_refused() {
    for (text, want) in [
        ("[registries.search]\nregistries = ['docker.io']", "version 1"),
        ("short-name-mode = 'loud'", "short-name-mode"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ("[[registry]]\nprefix = 'a.io'", "location: is missing"),
        (
            "[[registry]]\nlocation = 'a.io'\nmirror = [{ location = 'b.io', pull-from-mirror = 'x' }]",
            "pull-from-mirror",
        ),
        ("unqualified-search-registries = 'docker.io'", "invalid type"),
    ] {
        let error = format!("{:#}", of(&[text]).unwrap_err());
        assert!(error.contains(want), "{error}");
    }
    let odd = of(&["[[registry]]\nprefix = 'a.io'\nlocation = 'nohost'"]).unwrap();
    assert!(odd.to_read(&Reference::parse("a.io/x").unwrap()).is_err());
}
