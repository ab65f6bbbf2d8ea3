//! Containers without a mount namespace: their mounts are in one tree on the root directory, which `delete` unmounts.

use super::*;

/// Returns a container in the caller's mount namespace, with a tmpfs as its only mount.
fn container() -> Container {
    Container::sh("exec sleep 600").edit(|config| {
        config["linux"]["namespaces"] = json!([{ "type": "pid" }]);
        for list in ["maskedPaths", "readonlyPaths"] {
            config["linux"].as_object_mut().unwrap().remove(list);
        }
        config.as_object_mut().unwrap().remove("hostname");
        config["mounts"] = json!([{ "destination": "/own", "type": "tmpfs", "source": "own" }]);
    })
}

/// Runs the shell commands in a new mount namespace whose mounts are shared among themselves, as on most hosts; `$R` is
/// the runtime with its state root, `$ID` the container, `$D` its root directory. `points` prints the mounts on and below.
fn within(c: &Container, commands: &str) -> Out {
    c.write_config();
    std::fs::create_dir_all(c.file("host")).unwrap();
    let script = format!(
        "set -e; R='{} --root {}'; ID={}; D={}; cd {}
         points() {{ echo \"$1: $(awk -v d=$D 'index($5, d) == 1 {{ printf \"%s \", substr($5, length(d) + 1) \"/\" }}' /proc/self/mountinfo)\"; }}
         {commands}",
        test_support::runtime().display(),
        c.sandbox.root.display(),
        c.id,
        c.bundle.join("rootfs").display(),
        c.bundle.display(),
    );
    c.sandbox.program("unshare").args(["-m", "--propagation", "shared", "sh", "-c", &script]).out()
}

#[test]
fn ns_5_delete_unmounts_the_containers_tree_and_nothing_of_the_host() {
    need_root!();
    let c = container();
    let out = within(
        &c,
        "mount -t tmpfs below $D/host; points before; $R create $ID; points created; $R start $ID
         $R delete --force $ID; points deleted; umount $D/host
         mount --bind $D $D; $R create $ID; $R delete --force $ID; points mounted",
    )
    .ok();
    assert_eq!(
        out.lines(),
        ["before: /host/", "created: /host/ / /host/ /own/", "deleted: /host/", "mounted: /"],
        "{out:?}"
    );
    c.nothing_left();
}

#[test]
fn ns_5_a_tree_that_the_caller_has_unmounted_or_a_failed_create_leave_nothing() {
    need_root!();
    let c = container();
    let out = within(&c, "$R create $ID; umount -l $D; $R kill $ID KILL; $R delete --force $ID; points unmounted").ok();
    assert_eq!(out.lines(), ["unmounted:"], "{out:?}");
    c.nothing_left();

    let c = container().mount(json!({ "destination": "/bad", "type": "tmpfs", "source": "x", "options": ["size=no"] }));
    let out = within(&c, "! $R create $ID; points failed").ok();
    assert!(out.stderr.contains("size"), "the create failed for another reason: {out:?}");
    assert_eq!(out.lines(), ["failed:"], "{out:?}");
    assert!(!c.file("own").exists() && !c.file("bad").exists(), "mount points are left");
    c.nothing_left();
}
