//! A `create` that fails leaves the root file system as it was.

use test_support::*;

/// Checks that no mount point is left after `create` has failed.
#[track_caller]
fn fails_and_leaves_nothing(c: &Container, flags: &[&str]) {
    let before = host::snapshot(&c.rootfs);
    c.create_with(flags).out().fails().one_line();
    c.nothing_left();
    assert_eq!(host::snapshot(&c.rootfs), before, "{flags:?}");
}

#[test]
fn op_3_a_create_that_fails_late_removes_its_mount_points() {
    need_root!();
    if !is_croci() {
        skip!("other runtimes leave mount points");
    }
    let with_volume = || {
        let c = Container::new(&["sleep", "1000"]);
        let source = c.sandbox.mkdir("volume");
        c.edit(|config| bundle::add_mount(config, bundle::bind(&source, "/new/deep/volume", &[])))
    };
    fails_and_leaves_nothing(&with_volume(), &["--pid-file", "/no/such/directory/pid"]);
    fails_and_leaves_nothing(&with_volume(), &["--pidfd-socket", "/no/such/socket"]);
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let c = with_volume().edit(|config| config["hooks"] = json!({ kind: [{ "path": "/bin/false" }] }));
        fails_and_leaves_nothing(&c, &[]);
    }
    let c = with_volume().edit(|config| config["linux"]["sysctl"] = json!({ "net.ipv4.none_such": "1" }));
    fails_and_leaves_nothing(&c, &[]);
    let c = with_volume().edit(|config| config["process"]["args"] = json!(["/no/such/program"]));
    fails_and_leaves_nothing(&c, &[]);
}
