//! The same containers through other runtimes: crun and runc, where the machine has them.

use std::path::Path;

use crate::fixture::{World, over_one};
use test_support::{need_root, skip};

fn through(world: &World, runtime: &str) {
    world.image("base");
    let name = Path::new(runtime).file_name().unwrap().to_str().unwrap();
    let corm = |args: &[&str]| world.corm(["--runtime", runtime]).args(args);
    let out = corm(&["run", "--rm", "base", "sh", "-c", "echo out; echo err >&2; exit 4"]).out();
    if out.stderr.contains("hybrid mode not supported") {
        skip!("{name} does not support this machine's cgroups");
    }
    let out = out.exits(4);
    assert_eq!((out.text(), out.stderr.trim()), ("out", "err"), "{name}");
    assert_eq!(corm(&["run", "--rm", "base", "no-such-program"]).out().code, Some(127), "{name}");
    assert_eq!(corm(&["run", "--rm", "base", "/etc/passwd"]).out().code, Some(126), "{name}");
    let out = corm(&["run", "-d", "--name", name, "--memory", "64m", "base", "sleep", "1000"]).out().ok();
    // its runtime is remembered
    assert_eq!(world.corm(["exec", "-u", "user", name, "id", "-u"]).out().ok().text(), "1000");
    world.corm(["exec", out.text(), "touch", "/new"]).out().ok();
    world.corm(["commit", name, &format!("of-{name}")]).out().ok();
    assert_eq!(world.status(name), "running");
    world.corm(["stop", "-t", "0", name]).out().ok();
    assert_eq!(world.corm(["wait", name]).out().ok().text(), "137");
    world.corm(["start", name]).out().ok();
    world.corm(["rm", "-f", name]).out().ok();
    world.no_container_left();
}

#[test]
fn crun_runs_them() {
    need_root!();
    over_one(|world| match which("crun") {
        Some(path) => through(world, &path),
        None => skip!("no crun"),
    });
}

#[test]
fn runc_runs_them() {
    need_root!();
    over_one(|world| match which("runc") {
        Some(path) => through(world, &path),
        None => skip!("no runc"),
    });
}

#[test]
fn croci_runs_the_bundle_of_an_image() {
    need_root!();
    crate::fixture::over_all(|world| {
        world.image("base");
        let bundle = world.sandbox.path("b");
        world.corm(["config", "base", "say", "--cmd", "[\"echo\", \"hello there\"]"]).out().ok();
        world.corm(["bundle", "say"]).arg(&bundle).out().ok();
        let id = world.sandbox.id();
        let out = world.sandbox.croci(["run", "-b"]).arg(&bundle).arg(&id).out().ok();
        assert_eq!(out.text().trim(), "hello there");
        world.corm(["unbundle"]).arg(&bundle).out().ok();
        world.no_container_left();
    });
}

fn which(name: &str) -> Option<String> {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|dir| format!("{dir}/{name}"))
        .into_iter()
        .find(|path| Path::new(path).exists())
}
