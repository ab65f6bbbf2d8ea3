//! Class 21: state that another user can have written is believed by no verb, and no hook of it runs.

use crate::common::*;
use crate::need_root;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// A user that is neither root nor known here.
const STRANGER: u32 = 54_329;

/// A running container with hooks that leave a mark when a verb runs them.
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

/// Every verb that reads the state of a container.
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
        let out = verb.out().fails().says(place.to_str().unwrap());
        assert!(out.stdout.is_empty(), "nothing of it is printed: {out:?}");
    }
    assert!(!mark.exists(), "a hook ran");
}

#[test]
fn class_21_a_root_of_another_user_is_refused_by_every_verb() {
    need_root!();
    if !is_croci() {
        crate::skip!("runc does not look");
    }
    let (c, mark) = with_hooks();
    c.create().ok();
    let root = c.sandbox.root.clone();
    let mode = root.metadata().unwrap().permissions();
    chown(&root, Some(STRANGER), None).unwrap();
    every_verb_refuses(&c, &mark, &root);
    c.sandbox.croci(["create", "--bundle"]).arg(&c.bundle).arg("another").out().fails().says("state root");
    chown(&root, Some(0), None).unwrap();
    for bits in [0o777, 0o1777, 0o773, 0o731, 0o1772] {
        std::fs::set_permissions(&root, PermissionsExt::from_mode(bits)).unwrap();
        every_verb_refuses(&c, &mark, &root);
        c.sandbox.croci(["create", "--bundle"]).arg(&c.bundle).arg("another").out().fails().says("state root");
    }
    std::fs::set_permissions(&root, mode).unwrap();
    assert_eq!(c.status(), "created", "no verb has reached it");
    assert_eq!(crate::common::sandbox::state_entries(&root), [c.id.as_str()], "nothing is left of what was refused");
    c.start().ok();
    assert!(mark.exists(), "the hook would have left its mark");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn class_21_a_container_directory_of_another_user_is_refused_by_every_verb() {
    need_root!();
    if !is_croci() {
        crate::skip!("runc does not look");
    }
    let (c, mark) = with_hooks();
    c.create().ok();
    let dir = c.state_dir();
    let refuses = || {
        // `list` goes over all containers: it must not hide the others, nor show what is in this one
        for verb in verbs(&c).into_iter().enumerate().filter(|(at, _)| ![1, 2].contains(at)).map(|(_, verb)| verb) {
            verb.out().fails().says(dir.to_str().unwrap());
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
    c.verb("state", &[]).out().fails().says("does not exist");
    let out = c.croci(["list", "--quiet"]).out().ok();
    assert_eq!(out.text(), "");
}
