//! The verbs as an ordinary user with subordinate IDs.

use crate::user::User;
use test_support::{bundle, need_root, skip, wait_for};

/// Returns a user with an image `base`.
fn user() -> Option<User> {
    let user = User::new()?;
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    Some(user)
}

#[test]
fn an_ordinary_user_creates_starts_renames_and_removes() {
    need_root!();
    let Some(user) = user() else { skip!("no user has subordinate ids") };
    let mark = format!("CROCI_TEST={}", user.sandbox.token);
    let create = |name: &str, command: &[&str]| {
        let flags = ["create", "-i", "-e", &mark, "--name", name, "-v", "data:/data", "base"];
        user.corm(&[&flags, command].concat()).out().ok().text().to_owned()
    };
    let id = create("a", &["sh", "-c", "cat; exit 3"]);
    assert_eq!(user.corm(&["start", "-ai", "a"]).stdin("in").out().exits(3).stdout, "in");
    create("b", &["sh", "-c", "chown 33:44 /data; sleep 1000"]);
    create("c", &["sleep", "1000"]);
    assert_eq!(user.corm(&["start", "b", "c"]).out().ok().lines().len(), 2);
    user.corm(&["rename", "a", "z"]).out().ok();
    assert!(user.corm(&["ps", "-a"]).out().ok().stdout.contains(&id[..12]));
    wait_for("the program", || user.corm(&["exec", "c", "stat", "-c", "%u:%g", "/data"]).out().stdout == "33:44\n");
    let file = user.sandbox.write("home/file", "copied");
    user.corm(&["cp", file.to_str().unwrap(), "c:/data/"]).out().ok();
    user.corm(&["cp", file.to_str().unwrap(), "z:/etc/new"]).out().ok();
    let back = user.sandbox.path("home/back");
    for from in ["c:/data/file", "z:/etc/new"] {
        user.corm(&["cp", from, back.to_str().unwrap()]).out().ok();
        let meta = std::fs::metadata(&back).unwrap();
        assert_eq!((std::os::unix::fs::MetadataExt::uid(&meta), meta.len()), (user.id, 6), "{from}");
        std::fs::remove_file(&back).unwrap();
    }
    let top = user.corm(&["top", "c", "user", "pid", "comm"]).out().ok();
    assert_eq!(top.lines()[1].split_whitespace().collect::<Vec<_>>(), ["root", "1", "sleep"]);
    user.corm(&["start", "z"]).out().ok();
    assert_eq!(user.corm(&["attach", "z"]).stdin("attached").out().exits(3).stdout, "attached");
    assert_eq!(user.corm(&["restart", "-t", "0", "--running"]).out().ok().lines().len(), 2);
    user.corm(&["volume", "rm", "data"]).out().fails().stderr_contains("is being used");
    user.corm(&["stop", "-t", "0", "-a"]).out().ok();
    assert!(!user.corm(&["ps"]).out().ok().stdout.contains("running"));
    user.corm(&["rm", "-a", "-f"]).out().ok();
    assert_eq!(user.corm(&["ps", "-aq"]).out().ok().stdout, "");
    user.corm(&["volume", "rm", "data"]).out().ok();
    assert_eq!(user.corm(&["volume", "ls", "-q"]).out().ok().stdout, "");
    user.sandbox.nothing_left();
}

#[test]
fn an_ordinary_user_runs_bundles() {
    need_root!();
    let Some(user) = user() else { skip!("no user has subordinate ids") };
    let croci = |args: &[&str]| {
        let id = user.id.to_string();
        let me = user.sandbox.program("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        let me = me.env("XDG_RUNTIME_DIR", user.sandbox.path("run")).cwd(user.sandbox.path("home"));
        me.arg(user.sandbox.path("croci")).args(args).out()
    };
    let image = user.sandbox.path("image/rootfs");
    for (source, name) in [("base", "of-image"), (image.to_str().unwrap(), "of-directory")] {
        user.corm(&["bundle", source, name]).out().ok();
        let file = user.sandbox.path(&format!("home/{name}/config.json"));
        let text = std::fs::read_to_string(&file).unwrap();
        let mut config: test_support::Value = text.parse().unwrap();
        assert_eq!(config["linux"]["uidMappings"][0]["hostID"], user.id, "{text}");
        // as it is, without a terminal and with an empty input: the shell ends at once
        croci(&["run", "--bundle", name, &format!("{}-{name}", user.sandbox.token)]).ok();
        config["process"]["args"] = test_support::json!(["sh", "-c", "id -u; cat /etc/passwd | head -1; exit 7"]);
        std::fs::write(&file, config.to_string()).unwrap();
        let out = croci(&["run", "--bundle", name, &format!("{}-{name}", user.sandbox.token)]).exits(7);
        assert_eq!(out.lines(), ["0", "root:x:0:0:root:/root:/bin/sh"], "{out:?}");
        user.corm(&["unbundle", name]).out().ok();
        assert!(!file.exists());
    }
    user.sandbox.nothing_left();
}
