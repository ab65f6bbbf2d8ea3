//! Devices of a container with a user namespace: the runtime makes the nodes, and init binds them.

use super::*;

fn devices(list: Value, script: &str) -> Container {
    let c = Container::sh(script).edit(bundle::with_userns).edit(|config| config["linux"]["devices"] = list);
    open_to_all(&c, true);
    c
}

#[test]
fn dv_1_nodes_that_are_none_of_the_host() {
    need_root!();
    let list = json!([
        { "path": "/dev/foo", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6 },
        { "path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o604 },
        { "path": "/dev/dir/block", "type": "b", "major": 7, "minor": 201, "fileMode": 0o660, "uid": 70_000 },
        { "path": "/dev/pipe", "type": "p", "fileMode": 0o622 },
        { "path": "/dev/slash/", "type": "c", "major": 1, "minor": 9 },
    ]);
    let script = "stat -c '%n %t:%T %a %u:%g' /dev/foo /dev/zero /dev/dir/block /dev/pipe /dev/slash; echo x >/dev/foo; \
                  head -c 3 /dev/zero | wc -c; grep -E ' /dev/(foo|dir/block) ' /proc/mounts";
    let c = devices(list, script);
    let out = c.run().ok();
    let lines = out.lines();
    let nodes = [
        "/dev/foo 1:3 640 5:6",
        "/dev/zero 1:5 604 0:0",
        "/dev/dir/block 7:c9 660 65534:0",
        "/dev/pipe 0:0 622 0:0",
        "/dev/slash 1:9 666 0:0",
        "3",
    ];
    assert_eq!(lines[..6], nodes, "{out:?}");
    assert_eq!(lines.len(), 8, "{out:?}");
    for line in &lines[6..] {
        assert!(line.contains("nosuid,noexec") && !line.contains("nodev"), "{out:?}");
    }
    assert!(host::mounts_below(&c.rootfs).is_empty());
    c.nothing_left();
}

/// The tmpfs of the nodes is not to be seen, and the container can reach no other node by it.
#[test]
fn the_nodes_are_all_that_is_there() {
    need_root!();
    let list = json!([{ "path": "/dev/foo", "type": "c", "major": 1, "minor": 3 }]);
    let c = devices(list, "ls /dev; grep -c '^[^ ]* /dev ' /proc/mounts");
    let out = c.run().ok();
    let lines = out.lines();
    assert!(lines.contains(&"foo") && lines.contains(&"null") && !lines.contains(&"6"), "{out:?}");
    assert_eq!(lines.last(), Some(&"1"), "{out:?}");
}

/// As crun: root alone is mapped, to the caller.
#[test]
fn a_new_user_namespace_without_mappings() {
    need_root!();
    let c = Container::sh("cat /proc/self/uid_map /proc/self/gid_map; id -u; ls /dev/null").edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    });
    let out = c.run().ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "1", "0", "0", "1", "0", "/dev/null"], "{out:?}");
    c.nothing_left();
}
