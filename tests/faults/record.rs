//! A record that was changed, and other types of files in the place of the state's.

use crate::bystander;
use test_support::*;

use std::time::Duration;

/// A record whose cgroup is the root of a hierarchy kills no process. The hierarchy of this test is a cgroup of its own, so
/// that a runtime that obeys the record kills only the bystander.
#[test]
fn a_record_with_the_root_cgroup_kills_no_process() {
    need_croci!("it is croci's record");
    need_own_cgroups!();
    let outer = Container::new(&["true"]);
    let name = format!("/{}-outer", outer.sandbox.token);
    let (bystander, dirs) = bystander(&outer, &name);
    for path in ["", "/", "//", "/.", "/..", "/x/../"] {
        let c = Container::within(&outer.sandbox, &["sleep", "1000"]);
        c.create().ok();
        let pid = c.pid();
        let file = c.state_dir().join("record.json");
        let mut record: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        record["cgroup"]["path"] = json!(path);
        for dir in record["cgroup"]["dirs"].as_array_mut().unwrap() {
            dir["mount"] = json!(format!("{}{name}", dir["mount"].as_str().unwrap()));
            dir["created_depth"] = json!(1);
        }
        std::fs::write(&file, record.to_string()).unwrap();
        for (verb, args) in [("kill", &["--all"][..]), ("pause", &[]), ("delete", &[])] {
            c.verb(verb, args).out().fails();
        }
        assert!(host::alive(bystander.pid()), "{path:?}");
        c.delete_force().ok();
        assert!(host::alive(bystander.pid()), "{path:?}");
        wait_for("the container's process dies", || !host::alive(pid));
        assert!(!c.state_dir().exists());
    }
    drop(bystander);
    wait_for("the cgroup is empty", || dirs.iter().all(|dir| std::fs::remove_dir(dir).is_ok() || !dir.exists()));
    outer.nothing_left();
}

/// Puts another type of file in the place of `path`.
fn replace(path: &std::path::Path, kind: &str) {
    let _ = std::fs::remove_file(path);
    match kind {
        "fifo" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "device" => host::mknod(path, libc::S_IFCHR | 0o600, libc::makedev(1, 5)),
        "symlink to a device" => host::symlink("/dev/zero", path),
        "symlink to a fifo" => {
            let fifo = path.with_file_name("other");
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
            host::symlink(&fifo, path);
        }
        "directory" => std::fs::create_dir(path).unwrap(),
        _ => std::fs::write(path, "").unwrap(),
    }
}

#[test]
fn no_type_of_file_in_the_state_lets_a_verb_hang() {
    need_croci!("it is croci's state");
    let first = Container::new(&["true"]);
    let limit = Duration::from_secs(10);
    for file in ["record.json", "record.json.new", "config.json", "exec.fifo"] {
        for kind in ["fifo", "socket", "device", "symlink to a device", "symlink to a fifo", "directory", "file"] {
            let c = Container::within(&first.sandbox, &["sleep", "1000"]);
            c.create().ok();
            let pid = c.pid();
            replace(&c.state_dir().join(file), kind);
            for (verb, before, after) in [
                ("state", &[][..], &[][..]),
                ("state", &["--verify"], &[]),
                ("ps", &[], &[]),
                ("update", &["--pids-limit", "20"], &[]),
                ("exec", &[], &["true"]),
                ("start", &[], &[]),
                ("kill", &[], &["TERM"]),
                ("delete", &[], &[]),
            ] {
                let out = c.verb(verb, before).args(after).limit(limit).out().no_panic();
                let quiet = out.code == Some(0) || !out.stderr.is_empty() || verb == "state";
                assert!(quiet, "{kind} as {file}: {out:#?}");
            }
            c.croci(["list"]).limit(limit).out().ok();
            c.verb("delete", &["--force"]).limit(limit).out().ok();
            wait_for(&format!("{kind} as {file}: the process dies"), || !host::alive(pid));
            first.nothing_left();
        }
    }
}
