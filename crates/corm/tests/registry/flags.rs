//! Flags about registries that many verbs have: each verb is seen to use them.

use std::sync::Arc;

use serde_json::json;
use test_support::{Out, Sandbox, need_root, skip};

use crate::corm;
use crate::fixture::{Fixture, tar_of};
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
