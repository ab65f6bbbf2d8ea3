//! `mounts add` and `mounts remove` on running containers (docs/reference/cli.md).

use super::*;

fn mounts(c: &Container, word: &str, list: &Value) -> Cmd {
    let file = c.sandbox.write(&format!("{}.json", c.sandbox.id()), list.to_string());
    c.croci(["mounts", word, &c.id]).arg(file)
}

fn table(c: &Container) -> String {
    std::fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap()
}

fn start(change: impl FnOnce(&mut Value)) -> Container {
    let c = Container::new(&["sleep", "1000"]).edit(change);
    for dir in [&c.sandbox.dir, &c.bundle, &c.rootfs] {
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    c.up()
}

/// Runs the test on a container without and on one with a user namespace.
fn with_and_without_userns(test: impl Fn(&Container)) {
    for change in [|_: &mut Value| (), bundle::with_userns as fn(&mut Value)] {
        let c = start(change);
        test(&c);
        c.delete_force().ok();
        c.nothing_left();
    }
}

#[test]
fn added_mounts_are_there_and_removed_ones_gone() {
    need_root!();
    with_and_without_userns(|c| {
        let (dir, before) = (c.host_dir("shared"), table(c));
        let list = json!([
            bundle::bind(&dir, "/data", &["ro"]),
            bundle::bind(&dir.join("marker"), "/data-file", &[]),
            { "destination": "/scratch/deep", "type": "tmpfs", "source": "scratch", "options": ["size=64k", "nodev", "ro"] },
            { "destination": "/proc-again", "type": "proc", "source": "proc" },
        ]);
        mounts(c, "add", &list).out().ok().silent();
        let script = "cat /data/marker /data-file; touch /data/x 2>&1; touch /scratch/deep/x 2>&1; \
                      cat /proc-again/1/cmdline | tr '\\0' ' '; grep -c scratch /proc/mounts";
        let out = c.exec(&["sh", "-c", script]).ok();
        let lines = out.lines();
        assert_eq!(lines.get(..2), Some(&["host-marker"; 2][..]), "{out:#?}");
        assert!(lines[2].contains("Read-only") && lines[3].contains("Read-only"), "{out:#?}");
        // a procfs that was added shows the processes of the container
        assert!(lines[4].contains("sleep 1000"), "{out:#?}");
        assert!(host::mounts_below(&c.rootfs).is_empty(), "nothing reaches the host");
        mounts(c, "remove", &list).out().ok().silent();
        assert_eq!(table(c), before);
        mounts(c, "remove", &list).out().fails().one_line().stderr_contains("nothing is mounted there");
    });
}

#[test]
fn a_failure_removes_the_mounts_before_it() {
    need_root!();
    with_and_without_userns(|c| {
        let (dir, before) = (c.host_dir("shared"), table(c));
        std::fs::write(c.file("tmp/a-file"), "").unwrap();
        let list = json!([
            bundle::bind(&dir, "/one", &[]),
            bundle::bind(&dir.join("marker"), "/two", &[]),
            bundle::bind(&dir, "/tmp/a-file", &[]),
        ]);
        mounts(c, "add", &list).out().fails().one_line().stderr_contains("mounts[2]: destination \"/tmp/a-file\"");
        assert_eq!(table(c), before);
        assert!(!c.file("one").exists() && !c.file("two").exists(), "nor are there mount points");
        // one of several mounts does not exist: none is removed
        mounts(c, "add", &json!([bundle::bind(&dir, "/one", &[])])).out().ok();
        let with_one = table(c);
        mounts(c, "remove", &list).out().fails().stderr_contains("mounts[1]");
        assert_eq!(table(c), with_one);
    });
}

#[test]
fn symlinks_of_the_container_lead_nowhere_else() {
    need_root!();
    let c = start(|_| ());
    let (dir, target) = (c.host_dir("shared"), c.host_dir("target"));
    let untouched = container::Untouched::watch(&target);
    host::symlink(&target, c.file("out"));
    host::symlink("/tmp", c.file("inside"));
    mounts(&c, "add", &json!([bundle::bind(&dir, "/inside/here", &[])])).out().ok();
    assert_eq!(c.exec(&["cat", "/tmp/here/marker"]).ok().text(), "host-marker");
    // the mount point is created inside the root, or not at all
    mounts(&c, "add", &json!([bundle::bind(&dir, "/out/x", &[])])).out().ok();
    untouched.check();
    assert!(host::mounts_below(&target).is_empty());
    host::symlink("/proc", c.file("p"));
    mounts(&c, "add", &json!([bundle::bind(&dir.join("marker"), "/p/uptime", &[])]))
        .out()
        .fails()
        .stderr_contains("inside a procfs");
}

#[test]
fn what_is_impossible_is_refused_by_name() {
    need_root!();
    let c = start(|_| ());
    let before = table(&c);
    let dir = c.host_dir("shared");
    for (list, error) in [
        (
            json!([{ "destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"] }]),
            "/no/such",
        ),
        (json!([{ "destination": "/", "type": "tmpfs", "source": "t" }]), "root"),
        (json!([{ "destination": "/proc/sys", "type": "tmpfs", "source": "t" }]), "/proc"),
        (json!([{ "destination": "/x", "type": "no-such-fs", "source": "t" }]), "no-such-fs"),
        (json!([{ "type": "tmpfs", "source": "t" }]), "destination"),
        (json!({ "mount": [] }), "mounts"),
        (json!("x"), ""),
    ] {
        mounts(&c, "add", &list).out().fails().one_line().stderr_contains(error);
        assert_eq!(table(&c), before, "{list}");
    }
    c.croci(["mounts", "add", &c.id, "/no/such/file"]).out().fails().stderr_contains("\"/no/such/file\"");
    let list = json!([bundle::bind(&dir, "/x", &[])]);
    c.kill("KILL").ok();
    c.wait_status("stopped");
    mounts(&c, "add", &list).out().fails().stderr_contains("container not running");
    c.delete().ok();
    mounts(&c, "add", &list).out().fails().stderr_contains("does not exist");
    c.nothing_left();
}

/// The mounts that protect a container are not removed, whatever path leads to them, because `mounts add` did not add
/// them.
#[test]
fn only_what_was_added_is_removed() {
    need_root!();
    let c = start(|_| ());
    let dir = c.host_dir("shared");
    mounts(&c, "add", &json!([bundle::bind(&dir, "/added", &[])])).out().ok();
    let before = table(&c);
    for (link, target) in
        [("sys", "/proc/sys"), ("keys", "/proc/keys"), ("whole", "/proc"), ("firmware", "/sys/firmware")]
    {
        host::symlink(target, c.file(&format!("to-{link}")));
        for destination in [format!("/to-{link}"), target.to_owned()] {
            let list = json!([{ "destination": destination, "type": "bind", "source": dir, "options": ["bind"] }]);
            let out = mounts(&c, "remove", &list).out().fails().one_line();
            assert_eq!(table(&c), before, "{destination}: {out:?}");
        }
    }
    let dev = json!([{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs" }]);
    mounts(&c, "remove", &dev).out().fails().one_line().stderr_contains("was not added by `mounts add`");
    c.exec(&["sh", "-c", "(echo x > /proc/sys/vm/swappiness) 2>&1 | grep -q Read-only"]).ok();
    mounts(&c, "remove", &json!([bundle::bind(&dir, "/added", &[])])).out().ok();
    mounts(&c, "remove", &json!([bundle::bind(&dir, "/added", &[])])).out().fails();
}

/// A remount in a running and in a new container follows no symlink of the image, and does not change procfs and sysfs.
#[test]
fn a_remount_leaves_the_protections_alone() {
    need_root!();
    let remount = |destination: &str| json!({ "destination": destination, "type": "bind", "source": "none", "options": ["remount", "bind", "rw"] });
    let c = start(|_| ());
    let before = table(&c);
    host::symlink("/proc/sys", c.file("to-sys"));
    host::symlink("/dev/shm", c.file("to-shm"));
    for destination in ["/to-sys", "/proc/sys", "/sys", "/proc", "/to-shm"] {
        mounts(&c, "add", &json!([remount(destination)])).out().fails().one_line().stderr_contains("destination");
        assert_eq!(table(&c), before, "{destination}");
        let new = Container::within(&c.sandbox, &["true"]).mount(remount(destination));
        host::symlink("/proc/sys", new.file("to-sys"));
        host::symlink("/dev/shm", new.file("to-shm"));
        new.run().fails().one_line().stderr_contains("destination");
    }
    mounts(
        &c,
        "add",
        &json!([{ "destination": "/dev/shm", "type": "bind", "source": "none",
                                "options": ["remount", "bind", "ro"] }]),
    )
    .out()
    .ok();
    c.exec(&["sh", "-c", "(touch /dev/shm/x) 2>&1 | grep -q Read-only"]).ok();
}
