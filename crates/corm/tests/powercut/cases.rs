//! The verbs that are cut, and what must be there once they have reported their end.

use std::path::Path;

use crate::scene::{Scene, same_files};

/// A verb that is cut.
pub(crate) struct Case {
    /// What it is called in messages.
    pub(crate) name: &'static str,
    pub(crate) args: Vec<String>,
    /// What is done before it.
    pub(crate) before: Vec<Vec<String>>,
    /// Whether it writes records alone, so that a few points are enough.
    pub(crate) small: bool,
    /// Whether the kernel does what its calls of fsync(2) and the like ask for.
    pub(crate) syncs: bool,
    /// Whether its result is there, once it was reported.
    pub(crate) done: Box<dyn Fn(&Scene) -> bool>,
}

/// Returns the verbs.
pub(crate) fn all(scene: &Scene) -> Vec<Case> {
    let mut all = of_images(scene);
    all.extend(of_records(scene).into_iter().map(|case| Case { small: true, ..case }));
    all
}

fn case(name: &'static str, args: &[&str], done: fn(&Scene) -> bool) -> Case {
    let args = owned(args);
    Case { name, args, before: Vec::new(), small: false, syncs: true, done: Box::new(done) }
}

fn owned(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}

impl Case {
    /// Does this before the verb.
    fn after(mut self, args: &[&str]) -> Case {
        self.before.push(owned(args));
        self
    }
}

/// Returns verbs that write trees, blobs and archives.
fn of_images(scene: &Scene) -> Vec<Case> {
    let pulled = format!("{}/new:1", scene.address);
    let (saved, copied) = (scene.on_disk("saved.tar"), format!("oci-archive:{}:base", scene.on_disk("copied.tar")));
    vec![
        case("init", &["init", &scene.tree("new"), "new"], |scene| scene.has("new")),
        case("import", &["import", &scene.memory("plain.tar"), "new"], |scene| scene.has("new")),
        case("load", &["load", "--name", "new", &scene.memory("new.tar")], |scene| scene.has("new")),
        case("pull", &["pull", "--tls-verify=false", &pulled], |scene| scene.has("/new:1")),
        case("commit", &["commit", "kept", "commit"], |scene| scene.has("commit")),
        case("build", &["build", "-q", "-t", "commit-built", &scene.memory("context")], |scene| {
            scene.has("commit-built")
        }),
        case("tag", &["tag", "base", "base-too"], |scene| scene.has("base-too")),
        case("save", &["save", "base", "-o", &saved], |scene| loads(scene, "saved.tar")),
        case("copy", &["copy", "store:base", &copied], |scene| loads(scene, "copied.tar")),
        case("export", &["export", "base", "-o", &scene.on_disk("exported.tar")], |scene| {
            let archive = scene.on_disk("exported.tar");
            Path::new(&archive).exists() && scene.same("base", &scene.extracted(&archive)).is_none()
        }),
        case("bundle", &["bundle", "base", &scene.on_disk("bundle")], bundled),
        case("cp into", &["cp", &format!("{}/data/.", scene.tree("new")), "kept:/copied"], |scene| {
            let found = scene.memory("found");
            let _ = std::fs::remove_dir_all(&found);
            let out = scene.corm(&["cp", "kept:/copied", &found]).out();
            out.code == Some(0) && same_files(&format!("{}/data", scene.tree("new")), Path::new(&found)).is_none()
        }),
        case("cp from", &["cp", "kept:/data/.", &scene.on_disk("copied")], |scene| {
            same_files(&format!("{}/data", scene.tree("commit")), Path::new(&scene.on_disk("copied"))).is_none()
        }),
        case("rm", &["rm", "kept"], |scene| scene.corm(&["ps", "-aq"]).out().ok().stdout.is_empty()),
        case("rmi", &["rmi", "base-unused"], |scene| !scene.has("base-unused")).after(&["tag", "base", "base-unused"]),
    ]
}

/// Returns verbs that write records alone.
fn of_records(scene: &Scene) -> Vec<Case> {
    let auth = scene.on_disk("auth.json");
    let login = ["login", "--tls-verify=false", "-u", "me", "-p", "secret", "--authfile", &auth, &scene.address];
    vec![
        case("config", &["config", "--env", "a=b", "base", "base-changed"], |scene| scene.has("base-changed")),
        case("untag", &["untag", "base", "base-unused"], |scene| !scene.has("base-unused")).after(&[
            "tag",
            "base",
            "base-unused",
        ]),
        case("create", &["create", "--name", "other", "base", "true"], starts),
        case("run", &["run", "--name", "other", "base", "true"], starts),
        case("run -d", &["run", "-d", "--name", "other", "base", "true"], starts),
        case("rename", &["rename", "kept", "other"], |scene| {
            exists(scene, "container", "other") && !exists(scene, "container", "kept")
        }),
        case("volume create", &["volume", "create", "v"], |scene| exists(scene, "volume", "v")),
        case("volume rm", &["volume", "rm", "v"], |scene| !exists(scene, "volume", "v"))
            .after(&["volume", "create", "v"]),
        case("network create", &["network", "create", "n"], |scene| exists(scene, "network", "n")),
        case("network rm", &["network", "rm", "n"], |scene| !exists(scene, "network", "n"))
            .after(&["network", "create", "n"]),
        case("manifest create", &["manifest", "create", "list", "base"], |scene| listed(scene).contains("sha256:")),
        case("manifest annotate", &["manifest", "annotate", "--annotation", "some=thing", "list", "base"], |scene| {
            listed(scene).contains("thing")
        })
        .after(&["manifest", "create", "list", "base"]),
        case("manifest rm", &["manifest", "rm", "list"], |scene| listed(scene).is_empty())
            .after(&["manifest", "create", "list", "base"]),
        case("unbundle", &["unbundle", &scene.on_disk("bundle")], |scene| {
            !Path::new(&scene.on_disk("bundle")).exists()
        })
        .after(&["bundle", "base", &scene.on_disk("bundle")]),
        case("login", &login, |scene| {
            std::fs::read_to_string(scene.on_disk("auth.json")).is_ok_and(|text| text.contains(&scene.address))
        }),
    ]
}

/// Returns whether the container `other` is there and runs.
fn starts(scene: &Scene) -> bool {
    if !exists(scene, "container", "other") {
        return false;
    }
    let out = scene.corm(&["start", "-a", "other"]).out();
    assert!(out.code == Some(0) || out.stderr.contains("is running"), "a container that is there: {out:#?}");
    true
}

fn exists(scene: &Scene, kind: &str, name: &str) -> bool {
    scene.corm(&[kind, "exists", name]).out().code == Some(0)
}

fn listed(scene: &Scene) -> String {
    scene.corm(&["manifest", "inspect", "list"]).out().stdout
}

/// Returns whether an archive on the disk is an image that can be loaded.
fn loads(scene: &Scene, name: &str) -> bool {
    if !Path::new(&scene.on_disk(name)).exists() {
        return false;
    }
    let out = scene.corm(&["load", "--name", "loaded", &scene.on_disk(name)]).out();
    assert!(out.code == Some(0), "the saved image: {out:#?}");
    scene.corm(&["rmi", "loaded"]).out().ok();
    true
}

/// Returns whether the bundle has the tree of the image.
fn bundled(scene: &Scene) -> bool {
    let dir = scene.on_disk("bundle");
    if !Path::new(&dir).exists() {
        return false;
    }
    let config = std::fs::read(Path::new(&dir).join("config.json")).unwrap();
    let config: test_support::Value = serde_json::from_slice(&config).expect("the configuration of the bundle");
    let of_bundle = scene.corm(&["ps", "-aq"]).out().ok();
    // mounted again, as after each boot
    for id in of_bundle.stdout.split_whitespace() {
        let _ = scene.corm(&["start", id]).out();
    }
    let root = config["root"]["path"].as_str().unwrap();
    scene.same("base", Path::new(root)).is_none()
}
