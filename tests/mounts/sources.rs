//! Sources of binds that earlier mounts of the same configuration make.

use super::*;

/// Returns a container with a tree of binds, of which later ones have sources in the container's root: `/final` is a bind of
/// `ROOTFS/mnt`, in which other binds are.
fn tree(userns: bool, idmap: bool) -> Container {
    let mut c = Container::sh("cat /final/x/y/z/z/x/y/z/x/file; stat -c %u /final/file-of-a");
    if userns {
        c = c.edit(bundle::with_userns);
    }
    open_to_all(&c, true);
    let host = c.sandbox.mkdir("host");
    for (dir, link) in [("a/x", "link-a"), ("b/y", "link-b"), ("c/z", "link-c")] {
        std::fs::create_dir_all(host.join(dir)).unwrap();
        std::fs::write(host.join(dir).join("file"), dir).unwrap();
        host::symlink(&dir[..1], host.join(link));
    }
    std::fs::write(host.join("a/file-of-a"), "").unwrap();
    // only root of the host reaches the sources
    std::fs::set_permissions(&host, Permissions::from_mode(0o750)).unwrap();
    let (mnt, end) = (c.rootfs.join("mnt"), c.rootfs.join("final"));
    for dir in [&mnt, &end] {
        std::fs::create_dir_all(dir).unwrap();
    }
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bind = |source: PathBuf, destination: PathBuf, idmap: bool| {
        let mut mount = bundle::bind(&source, destination.to_str().unwrap(), &["rprivate"]);
        if idmap {
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map.clone();
        }
        mount
    };
    c.mount(bind(host.join("a"), "/mnt".into(), false))
        .mount(bind(host.join("link-b"), "/mnt/x".into(), false))
        .mount(bind(host.join("c"), "/mnt/x/y".into(), false))
        .mount(bind(host.join("link-a"), "/mnt/x/y/z".into(), false))
        // as runc takes them: a destination below the root's path is one in the container
        .mount(bind(mnt.join("x"), mnt.join("x/y/z/x"), idmap))
        .mount(bind(mnt.join("x/y"), mnt.join("x/y/z"), idmap))
        .mount(bind(mnt, end, idmap))
}

use std::path::PathBuf;

#[test]
fn mt_1_a_source_below_the_root_is_resolved_in_its_turn() {
    need_root!();
    for (userns, idmap, owner) in
        [(false, false, "0"), (true, false, "65534"), (false, true, "100000"), (true, true, "0")]
    {
        let c = tree(userns, idmap);
        let out = c.run().ok();
        assert_eq!(out.text(), format!("a/x{owner}"), "userns {userns}, idmap {idmap}: {out:?}");
        c.nothing_left();
    }
}

/// The image is hostile: its symlinks lead to its own files, and not to those of the host.
#[test]
fn a_source_below_the_root_follows_symlinks_inside_the_root() {
    need_root!();
    let c = Container::sh("cat /data/marker");
    let secret = c.host_dir("secret");
    host::symlink(&secret, c.file("link"));
    let inside = c.rootfs.join(secret.strip_prefix("/").unwrap());
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(inside.join("marker"), "of the image").unwrap();
    let source = c.rootfs.join("link");
    let c = c.mount(bundle::bind(&source, "/data", &[]));
    assert_eq!(c.run().ok().text(), "of the image");
    c.nothing_left();
}

#[test]
fn a_missing_source_below_the_root_is_an_error_and_leaves_nothing() {
    need_root!();
    for userns in [false, true] {
        let mut c = Container::new(&["true"]);
        if userns {
            c = c.edit(bundle::with_userns);
        }
        let source = c.rootfs.join("none/such");
        let c = c.mount(json!({ "destination": "/tmp/made/first", "type": "tmpfs", "source": "t" }));
        let c = c.mount(bundle::bind(&source, "/tmp/data", &[]));
        let out = c.create().fails().one_line();
        assert!(out.stderr.contains("none/such") && out.stderr.contains("o such file"), "{out:?}");
        assert!(!c.file("tmp/made").exists() && !c.file("tmp/data").exists());
        c.nothing_left();
        let mut optional = Container::within(&c.sandbox, &["true"]);
        let source = optional.rootfs.join("none/such");
        optional = optional.mount(bundle::bind(&source, "/tmp/data", &["nofail", "ro"]));
        optional.run().ok();
    }
}

/// /proc is of the container: nothing else of its root may be bound on it.
#[test]
fn a_source_below_the_root_does_not_replace_proc() {
    need_root!();
    let c = Container::new(&["true"]);
    std::fs::create_dir_all(c.file("fake")).unwrap();
    for (source, destination) in [("fake", "/proc"), ("fake", "/proc/sys"), ("fake", "/proc/self")] {
        let new = Container::within(&c.sandbox, &["true"]);
        std::fs::create_dir_all(new.file("fake")).unwrap();
        let (source, destination) = (new.rootfs.join(source), new.rootfs.join(destination.trim_start_matches('/')));
        let new = new.mount(bundle::bind(&source, destination.to_str().unwrap(), &[]));
        new.create().fails().one_line().stderr_contains("/proc");
        new.nothing_left();
    }
}

#[test]
fn a_file_below_the_root_is_a_source() {
    need_root!();
    let c = Container::sh("cat /etc/copy; (echo x >/etc/copy) 2>&1");
    std::fs::write(c.file("etc/original"), "original\n").unwrap();
    let own = c.rootfs.join("etc/original");
    let c = c.mount(bundle::bind(&own, "/etc/copy", &["ro"]));
    let out = c.run();
    assert!(out.stdout.starts_with("original\n") && out.stdout.contains("Read-only"), "{out:?}");
    assert_eq!(std::fs::read_to_string(c.file("etc/original")).unwrap(), "original\n");
    c.nothing_left();
}
