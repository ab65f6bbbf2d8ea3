//! The same containers with other runtimes: crun and runc, where they are installed.

use std::path::Path;

use crate::fixture::{CormFixture, over_one};
use test_support::{need_root, skip};

fn through(fixture: &CormFixture, runtime: &str) {
    fixture.image("base");
    let name = Path::new(runtime).file_name().unwrap().to_str().unwrap();
    let corm = |args: &[&str]| fixture.corm(["--runtime", runtime]).args(args);
    let out = corm(&["run", "--rm", "base", "sh", "-c", "echo out; echo err >&2; exit 4"]).out();
    if out.stderr.contains("hybrid mode not supported") {
        skip!("{name} does not support this machine's cgroups");
    }
    let out = out.exits(4);
    assert_eq!((out.text(), out.stderr.trim()), ("out", "err"), "{name}");
    assert_eq!(corm(&["run", "--rm", "base", "no-such-program"]).out().code, Some(127), "{name}");
    assert_eq!(corm(&["run", "--rm", "base", "/etc/passwd"]).out().code, Some(126), "{name}");
    let out = corm(&["run", "-d", "--name", name, "--memory", "64m", "base", "sleep", "1000"]).out().ok();
    // the container's record keeps its runtime
    assert_eq!(fixture.corm(["exec", "-u", "user", name, "id", "-u"]).out().ok().text(), "1000");
    fixture.corm(["exec", out.text(), "touch", "/new"]).out().ok();
    for (program, status) in [("no-such-program", 127), ("/etc/passwd", 126), ("false", 1)] {
        assert_eq!(fixture.corm(["exec", name, program]).out().code, Some(status), "{name}: {program}");
    }
    fixture.corm(["commit", name, &format!("of-{name}")]).out().ok();
    assert_eq!(fixture.status(name), "running");
    fixture.corm(["stop", "-t", "0", name]).out().ok();
    assert_eq!(fixture.corm(["wait", name]).out().ok().text(), "137");
    fixture.corm(["start", name]).out().ok();
    fixture.corm(["rm", "-f", name]).out().ok();
    fixture.no_container_left();
}

#[test]
fn crun_runs_them() {
    need_root!();
    over_one(|fixture| match which("crun") {
        Some(path) => through(fixture, &path),
        None => skip!("no crun"),
    });
}

#[test]
fn runc_runs_them() {
    need_root!();
    over_one(|fixture| match which("runc") {
        Some(path) => through(fixture, &path),
        None => skip!("no runc"),
    });
}

#[test]
fn croci_runs_the_bundle_of_an_image() {
    need_root!();
    crate::fixture::over_all(|fixture| {
        fixture.image("base");
        let bundle = fixture.sandbox.path("b");
        fixture.corm(["config", "base", "hello", "--cmd", "[\"echo\", \"hello there\"]"]).out().ok();
        fixture.corm(["bundle", "hello"]).arg(&bundle).out().ok();
        let id = fixture.sandbox.id();
        let out = fixture.sandbox.croci(["run", "-b"]).arg(&bundle).arg(&id).out().ok();
        assert_eq!(out.text().trim(), "hello there");
        fixture.corm(["unbundle"]).arg(&bundle).out().ok();
        fixture.no_container_left();
    });
}

/// The bundle of a shell ends in a script, where its input is empty and there is no terminal for it.
#[test]
fn the_bundle_of_a_shell_ends_in_a_script() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (plain, interactive) = (fixture.sandbox.path("plain"), fixture.sandbox.path("interactive"));
        let (directory, source) = (fixture.sandbox.path("directory"), fixture.sandbox.mkdir("source"));
        fixture.corm(["bundle", "base"]).arg(&plain).out().ok();
        fixture.corm(["bundle", "-t", "base"]).arg(&interactive).out().ok();
        fixture.corm(["bundle"]).args([&source, &directory]).out().ok();
        let has_terminal = |bundle: &Path| {
            let config = std::fs::read_to_string(bundle.join("config.json")).unwrap();
            serde_json::from_str::<serde_json::Value>(&config).unwrap()["process"]["terminal"].clone()
        };
        assert_eq!([&plain, &interactive, &directory].map(|bundle| has_terminal(bundle)), [false, true, false]);
        fixture.sandbox.croci(["run", "-b"]).arg(&plain).arg(fixture.sandbox.id()).out().ok();
        for bundle in [&plain, &interactive] {
            fixture.corm(["unbundle"]).arg(bundle).out().ok();
        }
        fixture.no_container_left();
    });
}

fn which(name: &str) -> Option<String> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|dir| format!("{dir}/{name}"))
        .into_iter()
        .find(|path| Path::new(path).exists())
}
