//! Flags about registries that many verbs have: each verb is seen to use them.

use std::sync::Arc;

use serde_json::json;
use test_support::{Out, Sandbox, need_root, skip};

use crate::corm;
use crate::fixture::{Fixture, tar_of};
use crate::manifests::arm;
use crate::real::{Registry, installed, load};

/// A registry that wants the login `user:hunter2`, and a store with images to push.
struct Scene {
    registry: Registry,
    sandbox: Arc<Sandbox>,
    /// A file with the login.
    authfile: String,
}

impl Scene {
    fn new() -> Scene {
        let (registry, sandbox) = (Registry::start(true, None), Sandbox::new());
        load(&sandbox, &Fixture::new(), "web:v1");
        let login = json!({"auths": {registry.address.as_str(): {"auth": "dXNlcjpodW50ZXIy"}}});
        let authfile = sandbox.write("mine.json", login.to_string()).display().to_string();
        Scene { registry, sandbox, authfile }
    }

    fn run(&self, words: &[&str]) -> Out {
        corm(&self.sandbox, words).out()
    }

    /// Runs a verb without a login, which fails, and with it in both forms; `undo` goes before the second.
    #[track_caller]
    fn needs_login(&self, verb: &[&str], rest: &[&str], undo: &[&str]) {
        let out = self.run(&[verb, rest].concat());
        assert!(out.code != Some(0) && out.stderr.contains("credentials"), "{out:?}");
        for (number, login) in [["--creds", "user:hunter2"], ["--authfile", &self.authfile]].iter().enumerate() {
            if number > 0 && !undo.is_empty() {
                self.run(undo).ok();
            }
            self.run(&[verb, login, rest].concat()).ok();
            let wrong = self.run(&[verb, &["--creds", "user:hunter3"], rest].concat());
            assert!(wrong.code != Some(0), "{wrong:?}");
        }
    }
}

#[test]
fn every_verb_on_registries_takes_the_login_of_its_flags() {
    need_root!();
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let scene = Scene::new();
    let name = scene.registry.name("team/web:v1");
    let repository = scene.registry.name("team/web");
    let remote = format!("docker://{name}");
    scene.needs_login(&["push", "-q"], &["web:v1", &name], &[]);
    scene.needs_login(&["pull", "-q"], &[&name], &[]);
    scene.needs_login(&["tags"], &[&repository], &[]);
    scene.needs_login(&["search", "--list-tags"], &[&repository], &[]);
    scene.needs_login(&["inspect"], &[&remote], &[]);
    scene.needs_login(&["create", "--name", "c", "--pull", "always"], &[&name], &["rm", "c"]);
    scene.run(&["rm", "c"]).ok();
    scene.needs_login(&["manifest", "inspect"], &[&remote], &[]);
    scene.needs_login(&["manifest", "create"], &["list:all", &remote], &["manifest", "rm", "list:all"]);
    scene.needs_login(&["manifest", "add"], &["list:all", &remote], &[]);
    let many = format!("docker://{}", scene.registry.name("team/many:all"));
    scene.needs_login(&["manifest", "push"], &["list:all", &many], &[]);
    // of both sides of a copy, together and each for itself
    let other = format!("docker://{}", scene.registry.name("other/web:v1"));
    scene.run(&["copy", "-q", &remote, &other]).fails().stderr_contains("credentials");
    scene.run(&["copy", "-q", "--authfile", &scene.authfile, &remote, &other]).ok();
    scene.run(&["copy", "-q", "--src-creds", "user:hunter2", &remote, &other]).fails();
    scene.run(&["copy", "-q", "--src-creds", "user:hunter2", "--dest-creds", "user:hunter2", &remote, &other]).ok();
    let layout = format!("oci:{}:v1", scene.sandbox.path("layout").display());
    let creds = "user:hunter2";
    for (from, to, login) in [
        (&remote, &layout, ["--src-creds", creds]),
        (&remote, &layout, ["--src-authfile", &scene.authfile]),
        (&layout, &other, ["--dest-creds", creds]),
        (&layout, &other, ["--dest-authfile", &scene.authfile]),
    ] {
        scene.run(&["copy", "-q", from, to]).fails();
        scene.run(&["copy", "-q", login[0], login[1], from, to]).ok();
    }
    // the login of one side is not that of the other
    scene.run(&["copy", "-q", "--src-creds", creds, &layout, &other]).fails();
    scene.run(&["delete", &name]).fails();
    scene.run(&["delete", "--creds", creds, &name]).ok();
    scene.run(&["delete", "--authfile", &scene.authfile, &scene.registry.name("other/web:v1")]).ok();
    scene.run(&["pull", "-q", "--creds", creds, &name]).fails().stderr_contains("404");
}

#[test]
fn a_build_takes_the_login_of_its_flags_and_the_newest_image() {
    need_root!();
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let scene = Scene::new();
    let name = scene.registry.name("team/web:v1");
    let context = scene.sandbox.mkdir("context");
    std::fs::write(context.join("Containerfile"), format!("FROM {name}\nLABEL a=b\n")).unwrap();
    let dir = context.display().to_string();
    scene.run(&["push", "-q", "--creds", "user:hunter2", "web:v1", &name]).ok();
    scene.needs_login(&["build", "-q", "-t", "built", "--pull=always"], &[&dir], &[]);
    let layers = || scene.run(&["inspect", "-f", "{{len .RootFS.Layers}}", "built"]).ok().text().to_owned();
    assert_eq!(layers(), "3");
    let small = Fixture::of_layers(&[tar_of(&[("small", b"x")])], &json!({"Cmd": ["small"]}));
    load(&scene.sandbox, &small, "small:v1");
    scene.run(&["push", "-q", "--creds", "user:hunter2", "small:v1", &name]).ok();
    let build = |pull: &str| {
        scene.run(&["build", "-q", "-t", "built", "--authfile", &scene.authfile, pull, &dir]).ok();
        layers()
    };
    // the push made no change here
    assert_eq!(build("--pull=missing"), "3");
    assert_eq!(build("--pull=never"), "3");
    assert_eq!(build("--pull=always"), "1");
    scene.run(&["build", "-q", "--pull=sometimes", &dir]).fails().stderr_contains("--pull");
}

#[test]
fn files_of_digests_levels_and_architectures() {
    need_root!();
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox) = (Registry::start(false, None), Sandbox::new());
    load(&sandbox, &Fixture::new(), "web:v1");
    load(&sandbox, &arm(), "arm:v1");
    let run = |words: &[&str]| corm(&sandbox, words).out();
    let file = sandbox.path("digest");
    let file = file.to_str().unwrap();
    let (web, many) = (registry.name("team/web:v1"), registry.name("team/many:all"));
    let (remote, remote_many) = (format!("docker://{web}"), format!("docker://{many}"));
    let written = |out: Out| {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::remove_file(file).unwrap();
        assert_eq!(out.ok().text(), text.trim());
        text
    };
    // levels of gzip
    let level = |level: &str| {
        let flags = ["--compression-format", "gzip", "--compression-level", level, "--digestfile", file];
        written(run(&[&["push", "-q"], &flags[..], &["web:v1", &web]].concat()))
    };
    assert_ne!(level("1"), level("9"));
    run(&["push", "--compression-level", "99", "web:v1", &web]).fails().stderr_contains("--compression-level");
    let layout = format!("oci:{}:v1", sandbox.path("layout").display());
    written(run(&["copy", "--digestfile", file, &remote, &layout]));
    // a list that is made twice is amended
    run(&["manifest", "create", "list:all", "web:v1"]).ok();
    run(&["manifest", "create", "list:all", "arm:v1"]).fails().stderr_contains("exists");
    run(&["manifest", "create", "--amend", "list:all", "arm:v1"]).ok();
    let entry = |number: usize| run(&["manifest", "inspect", "list:all"]).ok().json()["manifests"][number].clone();
    assert_eq!(entry(1)["platform"]["architecture"], "arm64");
    let flags = ["--arch", "riscv64", "--os-features", "one", "--os-version", "7"];
    run(&[&["manifest", "add"], &flags[..], &["list:all", &remote]].concat()).ok();
    let platform = entry(2)["platform"].clone();
    assert_eq!((&platform["architecture"], &platform["os.features"]), (&json!("riscv64"), &json!(["one"])));
    assert_eq!(platform["os.version"], "7");
    let digest = entry(2)["digest"].as_str().unwrap().to_owned();
    run(&["manifest", "annotate", "--arch", "s390x", "--os-features", "two", "list:all", &digest]).ok();
    let platform = entry(2)["platform"].clone();
    assert_eq!((&platform["architecture"], &platform["os.features"]), (&json!("s390x"), &json!(["two"])));
    written(run(&["manifest", "push", "-q", "--digestfile", file, "list:all", &remote_many]));
    // one of the list by its architecture, to pull and to create
    assert_eq!(run(&["pull", "-q", "--arch", "arm64", &many]).ok().text(), arm().id());
    run(&["rmi", "-f", &many]).ok();
    run(&["create", "--name", "c", "--arch", "arm64", "--os", "linux", &many]).ok();
    assert_eq!(run(&["inspect", "-f", "{{.Image}}", "c"]).ok().text().trim_start_matches("sha256:"), arm().id());
    run(&["rm", "c"]).ok();
    // a registry without TLS is no one for a caller who wants it
    for verb in [&["search", "--list-tags"][..], &["tags"], &["pull", "-q"]] {
        let term = registry.name("team/web");
        let name = if verb[0] == "pull" { web.as_str() } else { &term };
        run(&[verb, &["--tls-verify=true", name]].concat()).fails();
        run(&[verb, &["--tls-verify=false", name]].concat()).ok();
    }
}
