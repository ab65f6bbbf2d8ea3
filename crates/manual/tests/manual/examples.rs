//! The example of each verb, as `--help` and the man pages have it, run in a scene with what it needs.

use crate::scene::Scene;
use test_support::report_skip;

/// Examples that are not run, with the reason.
const NOT_RUN: &[(&str, &str)] = &[
    ("croci checkpoint", "needs a CRIU that knows the kernel; tests/checkpoint runs it"),
    ("croci restore", "needs a CRIU that knows the kernel; tests/checkpoint runs it"),
    ("corm network connect", "needs Podman's netavark; tests/legacy_tools/network.rs runs it"),
    ("corm network disconnect", "needs Podman's netavark; tests/legacy_tools/network.rs runs it"),
];

/// What runs before the example of a verb of corm.
const BEFORE: &[(&[&str], &str)] = &[
    (&["delete"], "corm push busybox localhost:5000/me/busybox:1"),
    (&["logout"], "echo secret | corm login --username me --password-stdin localhost:5000"),
    (&["import"], "corm export --output rootfs.tar busybox"),
    (&["load"], "corm save --output busybox.tar busybox"),
    (&["untag", "rmi"], "corm tag busybox mine:1"),
    (&["unbundle"], "corm bundle busybox ./b"),
    (&["manifest add", "manifest inspect", "manifest rm", "manifest exists"], "corm manifest create all:1"),
    (&["manifest annotate", "manifest push", "manifest remove"], "corm manifest create all:1 busybox"),
    (&["volume inspect", "volume rm", "volume exists", "volume export"], "corm volume create data"),
    (&["network inspect", "network rm", "network exists"], "corm network create back"),
    (&["volume import"], "corm volume create data; corm volume export --output data.tar data"),
    (&["wait", "attach"], "corm run --detach --name sleeper busybox sleep 3"),
    (&["unpause"], "corm run --detach --name web busybox sleep 1000; corm pause web"),
    (&["start"], "corm create --name web busybox sleep 1000"),
    (
        &[
            "diff",
            "exec",
            "logs",
            "stop",
            "kill",
            "restart",
            "top",
            "stats",
            "update",
            "cp",
            "rename",
            "pause",
            "rm",
            "container exists",
            "commit",
            "port",
        ],
        "corm run --detach --name web busybox sleep 1000",
    ),
];

/// Verbs whose examples need a registry.
const REGISTRY: &[&str] = &["pull", "push", "copy", "search", "tags", "login", "logout", "delete", "manifest push"];

/// Returns whether an example is run; prints why it is not.
fn is_run(name: &str) -> bool {
    let reason = NOT_RUN.iter().find(|(of, _)| *of == name).map(|(_, reason)| *reason);
    reason.inspect(|reason| println!("not run: {name}: {reason}")).is_none()
}

/// Runs the examples of all verbs, and reports all that fail.
fn run(program: &str, verbs: &[base::cli_parser::manual::Verb], scene: impl Fn(&str) -> (Scene, &'static str)) {
    let (mut ran, mut failed) = (0, Vec::new());
    for verb in verbs.iter().filter(|verb| is_run(&format!("{program} {}", verb.name))) {
        let (scene, before) = scene(verb.name);
        if !before.is_empty() {
            scene.shell(before).ok();
        }
        let out = scene.shell(verb.example);
        if out.code != Some(0) {
            failed.push(format!("{}: {out:?}", verb.name));
        }
        ran += 1;
    }
    println!("{ran} examples of {program} ran");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_examples_of_croci() {
    run("croci", &croci::cli::manual().verbs, |verb| {
        let program = if matches!(verb, "run" | "create" | "restore") { "true" } else { "exec sleep 1000" };
        let program = if verb == "wait" { "exec sleep 1" } else { program };
        let before = match verb {
            "start" => "croci create --bundle bundle hello >/dev/null 2>&1",
            "resume" => "croci run --detach --bundle bundle hello >/dev/null 2>&1; croci pause hello",
            "create" | "run" | "spec" | "features" | "validate" | "plan" | "explain" => "",
            _ => "croci run --detach --bundle bundle hello >/dev/null 2>&1",
        };
        (Scene::new().bundle(program), before)
    });
}

#[test]
fn the_examples_of_corm() {
    let has_registry =
        ["/usr/bin/docker-registry", "/usr/sbin/docker-registry"].iter().any(|p| std::path::Path::new(p).exists());
    if !has_registry {
        report_skip("no docker-registry: the examples with a registry");
    }
    let verbs: Vec<_> =
        corm::cli::manual().verbs.into_iter().filter(|verb| has_registry || !REGISTRY.contains(&verb.name)).collect();
    run("corm", &verbs, |verb| {
        let scene = Scene::new().image();
        let scene = if REGISTRY.contains(&verb) { scene.with_registry() } else { scene };
        let before = BEFORE.iter().find(|(verbs, _)| verbs.contains(&verb)).map_or("", |(_, before)| before);
        (scene, before)
    });
}
