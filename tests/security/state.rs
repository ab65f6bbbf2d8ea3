//! Class 21: every verb refuses state that another user can have written, and none runs a hook of it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use test_support::*;

/// The id of a user that is not root and has no entry in /etc/passwd.
const STRANGER: u32 = 54_329;

/// Starts a container with hooks that create a file when a verb runs them; returns it with the path of the file.
fn with_hooks() -> (Container, std::path::PathBuf) {
    let c = Container::new(&["sleep", "1000"]);
    let mark = c.sandbox.path("hook-ran");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\ncat > {}\n", mark.display()));
    let c = c.edit(|config| {
        let hook = json!([{ "path": hook, "env": ["PATH=/usr/bin:/bin"] }]);
        config["hooks"] = json!({ "poststart": hook, "poststop": hook });
    });
    (c, mark)
}

/// Returns a command of every verb that reads the state of a container.
fn verbs(c: &Container) -> Vec<Cmd> {
    let id = c.id.as_str();
    let images = c.sandbox.path("images");
    let mounts = c.sandbox.write("mounts.json", "[]");
    let words: [&[&str]; 15] = [
        &["state", id],
        &["list"],
        &["list", "--quiet"],
        &["start", id],
        &["kill", id, "KILL"],
        &["exec", id, "true"],
        &["ps", id],
        &["pause", id],
        &["resume", id],
        &["events", "--stats", id],
        &["update", "--pids-limit", "5", id],
        &["checkpoint", "--image-path", images.to_str().unwrap(), id],
        &["mounts", "add", id, mounts.to_str().unwrap()],
        &["delete", id],
        &["delete", "--force", id],
    ];
    words.iter().map(|words| c.croci(words.iter())).collect()
}

#[track_caller]
fn every_verb_refuses(c: &Container, mark: &Path, place: &Path) {
    for verb in verbs(c) {
        let out = verb.out().fails().stderr_contains(place.to_str().unwrap());
        assert!(out.stdout.is_empty(), "nothing of it is printed: {out:?}");
    }
    assert!(!mark.exists(), "a hook ran");
}

#[test]
fn class_21_a_root_of_another_user_is_refused_by_every_verb() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc does not look");
    }
    let (c, mark) = with_hooks();
    c.create().ok();
    let root = c.sandbox.root.clone();
    let mode = root.metadata().unwrap().permissions();
    chown(&root, Some(STRANGER), None).unwrap();
    every_verb_refuses(&c, &mark, &root);
    c.sandbox.croci(["create", "--bundle"]).arg(&c.bundle).arg("another").out().fails().stderr_contains("state root");
    chown(&root, Some(0), None).unwrap();
    for bits in [0o777, 0o1777, 0o773, 0o731, 0o1772] {
        std::fs::set_permissions(&root, PermissionsExt::from_mode(bits)).unwrap();
        every_verb_refuses(&c, &mark, &root);
        c.sandbox
            .croci(["create", "--bundle"])
            .arg(&c.bundle)
            .arg("another")
            .out()
            .fails()
            .stderr_contains("state root");
    }
    std::fs::set_permissions(&root, mode).unwrap();
    assert_eq!(c.status(), "created", "no verb has reached it");
    assert_eq!(test_support::sandbox::state_entries(&root), [c.id.as_str()], "nothing is left of what was refused");
    c.start().ok();
    assert!(mark.exists(), "the hook would have left its mark");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn class_21_a_container_directory_of_another_user_is_refused_by_every_verb() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc does not look");
    }
    let (c, mark) = with_hooks();
    c.create().ok();
    let dir = c.state_dir();
    let refuses = || {
        // `list` reads all containers: it must neither hide the others nor show the content of this one's record
        for verb in verbs(&c).into_iter().enumerate().filter(|(at, _)| ![1, 2].contains(at)).map(|(_, verb)| verb) {
            verb.out().fails().stderr_contains(dir.to_str().unwrap());
        }
        assert!(!mark.exists(), "a hook ran");
    };
    chown(&dir, Some(STRANGER), None).unwrap();
    refuses();
    chown(&dir, Some(0), None).unwrap();
    for bits in [0o777, 0o1777, 0o720] {
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(bits)).unwrap();
        refuses();
    }
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    let elsewhere = c.sandbox.path("elsewhere");
    std::fs::rename(&dir, &elsewhere).unwrap();
    host::symlink(&elsewhere, &dir);
    refuses();
    std::fs::remove_file(&dir).unwrap();
    std::fs::rename(&elsewhere, &dir).unwrap();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn class_21_a_missing_root_is_no_container() {
    need_root!();
    let c = Container::new(&["true"]);
    c.verb("state", &[]).out().fails().stderr_contains("does not exist");
    let out = c.croci(["list", "--quiet"]).out().fails().one_line().stderr_contains("no such file or directory");
    assert_eq!(out.text(), "");
}

/// A state root on a path that another user controls is refused, whatever directory it leads to at the moment.
#[test]
fn class_21_a_root_on_a_path_of_another_user_is_refused() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc does not look");
    }
    let (c, mark) = with_hooks();
    c.create().ok();
    let parent = c.sandbox.mkdir("parent");
    let links = c.sandbox.mkdir("links");
    let root = parent.join("root");
    std::fs::rename(&c.sandbox.root, &root).unwrap();
    let words: [&[&str]; 4] = [&["state", &c.id], &["list"], &["start", &c.id], &["delete", "--force", &c.id]];
    let refused = |root: &Path, what: &str| {
        for words in words {
            let out =
                c.sandbox.bare(["--root"]).arg(root).args(words.iter()).out().fails().one_line().stderr_contains(what);
            assert!(out.stdout.is_empty() && out.stderr.contains("belongs to user 54329"), "{out:?}");
        }
        assert!(!mark.exists(), "a hook ran");
    };
    let good = |root: &Path| c.sandbox.bare(["--root"]).arg(root).args(["state", &c.id]).out().ok();
    chown(&parent, Some(STRANGER), None).unwrap();
    refused(&root, "the directory \"parent\"");
    refused(&links.join("../parent/root"), "the directory \"parent\"");
    chown(&parent, Some(0), None).unwrap();
    good(&root);
    host::symlink(&root, links.join("link"));
    host::symlink(&parent, links.join("parent"));
    for link in ["link", "parent"] {
        let way = if link == "link" { links.join("link") } else { links.join("parent/root") };
        good(&way);
        std::os::unix::fs::lchown(links.join(link), Some(STRANGER), None).unwrap();
        refused(&way, "the symlink");
    }
    std::fs::rename(&root, &c.sandbox.root).unwrap();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn class_21_a_record_that_another_user_can_have_written_is_refused() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc does not look");
    }
    let (c, mark) = with_hooks();
    c.create().ok();
    for name in ["record.json", "config.json"] {
        let file = c.state_dir().join(name);
        let kept = c.sandbox.path("kept");
        let outside = c.sandbox.path("outside");
        std::fs::copy(&file, &kept).unwrap();
        let restore = || {
            let _ = std::fs::remove_file(&file);
            std::fs::copy(&kept, &file).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        };
        let makers: [&dyn Fn(); 6] = [
            &|| chown(&file, Some(STRANGER), None).unwrap(),
            &|| std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap(),
            &|| std::fs::set_permissions(&file, PermissionsExt::from_mode(0o620)).unwrap(),
            &|| std::fs::hard_link(&file, &outside).unwrap(),
            &|| {
                std::fs::remove_file(&file).unwrap();
                nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
            },
            &|| {
                std::fs::remove_file(&file).unwrap();
                host::symlink(&kept, &file);
            },
        ];
        for (number, make) in makers.iter().enumerate() {
            make();
            let verbs: &[&str] = if name == "record.json" { &["state", "start", "kill"] } else { &["start"] };
            for verb in verbs {
                let out = c.verb(verb, &[]).limit(std::time::Duration::from_secs(10)).out();
                assert!(out.fails().stderr.contains(name), "{name}, {number}");
            }
            assert!(!mark.exists(), "a hook ran");
            let _ = std::fs::remove_file(&outside);
            restore();
        }
        assert_eq!(c.status(), "created");
    }
    c.delete_force().ok();
    c.nothing_left();
}
