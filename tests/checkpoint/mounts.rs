//! Binds of a restored container.

use super::*;

/// A destination that is itself a symlink, a bind in a bind, in a tmpfs and of the container's own mount; exec after it.
#[test]
fn links_and_nested_binds() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    let (dir, inner) = (c.host_dir("shared"), c.host_dir("inner"));
    let file = dir.join("marker");
    std::fs::create_dir_all(c.file("real/dir")).unwrap();
    std::fs::create_dir_all(c.file("run/names")).unwrap();
    std::fs::write(c.file("run/names/resolv.conf"), "image\n").unwrap();
    std::fs::create_dir(dir.join("deep")).unwrap();
    host::symlink("/real/dir", c.file("to-dir"));
    host::symlink("../run/names/resolv.conf", c.file("etc/resolv.conf"));
    host::symlink("../run/names/missing", c.file("etc/to-missing"));
    let own = c.rootfs.join("data/deep");
    let c = c
        .mount(bundle::bind(&dir, "/to-dir", &[]))
        .mount(bundle::bind(&file, "/etc/resolv.conf", &["ro"]))
        .mount(bundle::bind(&file, "/etc/to-missing", &[]))
        .mount(bundle::bind(&dir, "/data", &["rprivate"]))
        .mount(bundle::bind(&inner, "/data/deep", &["ro", "rprivate"]))
        .mount(json!({ "destination": "/scratch", "type": "tmpfs", "source": "t" }))
        .mount(bundle::bind(&inner, "/scratch/inner", &[]))
        .mount(bundle::bind(&file, "/scratch/file", &[]))
        .mount(bundle::bind(&own, "/own", &["rprivate"]))
        .up();
    continues_from(&c, 0);
    let script = "cat /to-dir/marker /etc/resolv.conf /etc/to-missing /data/marker /data/deep/marker /scratch/inner/marker \
                  /scratch/file /own/marker; touch /data/deep/x 2>&1; readlink /etc/resolv.conf";
    let before = c.exec(&["sh", "-c", script]).ok();
    assert_eq!(before.lines().get(..8), Some(&["host-marker"; 8][..]), "{before:#?}");
    restored_twice(&c, criu, script, before.text());
}

/// Relative sources, as callers write them, and mount points that are gone at the restore, as on another machine. In a mount
/// namespace with shared mounts, as systemd has them: the binds are slaves, whose peer groups CRIU restores from the
/// sources.
#[test]
fn relative_sources_and_missing_mount_points() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    std::fs::create_dir_all(c.file("real/conf")).unwrap();
    host::symlink("/real/conf", c.file("conf"));
    for name in ["one", "two"] {
        std::fs::create_dir(c.bundle.join(name)).unwrap();
    }
    std::fs::write(c.bundle.join("two/file"), "two\n").unwrap();
    let bind =
        |source: &str, destination: &str| json!({ "destination": destination, "source": source, "options": ["bind"] });
    let c = c.mount(bind(".", "/conf")).mount(bind("./one/.", "/test")).mount(bind("one/../two/.", "/test/for/nested"));
    c.write_config();
    let script = format!(
        "set -e; mount --make-rshared /; croci() {{ {runtime} --root {root} \"$@\"; }}; cd {bundle}
         croci run -d --bundle . {id} </dev/null >out 2>&1
         for time in first second; do
             croci --criu {criu} checkpoint --image-path {images} --manage-cgroups-mode ignore {id}
             rm -rf one/for
             croci --criu {criu} restore -d --bundle . --image-path {images} --manage-cgroups-mode ignore {id} </dev/null >out 2>&1 || {{ cat out; exit 1; }}
             croci exec {id} sh -c 'ls /conf/config.json; cat /test/for/nested/file; readlink /conf'
         done
         croci delete --force {id}",
        runtime = runtime().display(),
        root = c.sandbox.root.display(),
        bundle = c.bundle.display(),
        images = images(&c).display(),
        id = c.id,
    );
    let out = c.sandbox.program("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script]).out();
    let once = ["/conf/config.json", "two", "/real/conf"];
    assert_eq!(out.ok().lines(), [once, once].concat());
    c.nothing_left();
}

/// A recursive bind of a directory that has the container's own root has its mounts, too: CRIU binds them again, as with
/// runc, because the host has none of them.
#[test]
fn a_recursive_bind_that_has_the_containers_own_root() {
    let criu = need_criu!();
    let c = Container::sh(COUNTER);
    let source = c.bundle.clone();
    let c = c.mount(json!({ "destination": "/host", "source": source, "options": ["rbind", "rprivate"] })).up();
    continues_from(&c, 0);
    let below = c.rootfs.strip_prefix(&source).unwrap();
    let script = format!("ls /host/config.json; grep -c ' /host/{}/proc ' /proc/self/mountinfo", below.display());
    let before = c.exec(&["sh", "-c", &script]).ok();
    assert_eq!(before.lines(), ["/host/config.json", "1"], "the container's own mounts are in the bind");
    restored_twice(&c, criu, &script, before.text());
}

/// Saves and restores a container that runs, twice, because a restored one can be saved again; `script` prints the same
/// inside each time. Deletes the container.
fn restored_twice(c: &Container, criu: &str, script: &str, expected: &str) {
    for _ in 0..2 {
        checkpoint(c, criu, &[]).out().ok();
        is_gone(c);
        let saved = count(c);
        restore(c, criu, &["--detach"]).out().ok();
        continues_from(c, saved);
        assert_eq!(c.exec(&["sh", "-c", script]).ok().text(), expected);
        assert_eq!(c.exec(&["sh", "-c", "exit 3"]).code, Some(3));
    }
    c.delete_force().ok();
    c.nothing_left();
}
