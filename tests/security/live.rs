//! Mounts of a running container that `mounts add`, `mounts remove` and `remount` must not change.

use test_support::bundle::{add_mount, bind, with_userns};
use test_support::cmd::Cmd;
use test_support::*;

fn mounts(c: &Container, word: &str, list: &Value) -> Cmd {
    let file = c.sandbox.write(&format!("{}.json", c.sandbox.id()), list.to_string());
    c.croci(["mounts", word, &c.id]).arg(file)
}

fn table(c: &Container) -> String {
    std::fs::read_to_string(format!("/proc/{}/mountinfo", c.pid())).unwrap()
}

/// Checks that a process of the container cannot write a kernel setting, and that `/proc/keys` is masked.
#[track_caller]
fn check_protected(c: &Container) {
    let out = c.exec(&["sh", "-c", "(echo 1 >/proc/sys/vm/drop_caches) 2>&1; cat /proc/keys; echo end"]).ok();
    assert!(out.stdout.contains("Read-only file system"), "{out:?}");
    assert_eq!(out.lines().len(), 2, "{out:?}");
}

fn victim(change: impl FnOnce(&mut Value)) -> Container {
    let c = Container::new(&["sleep", "1000"]);
    for (link, text) in
        [("lnk", "/proc/sys"), ("keys", "proc/keys"), ("sys-lnk", "/sys"), ("dir", "/proc"), ("p", "/proc")]
    {
        host::symlink(text, c.file(link));
    }
    let c = c.edit(|config| {
        change(config);
        config["linux"]["maskedPaths"] = json!(["/proc/keys"]);
        config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    });
    for dir in [&c.sandbox.dir, &c.bundle, &c.rootfs] {
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    c.up()
}

#[test]
fn remove_takes_away_only_what_add_has_mounted() {
    need_root!();
    for change in [|_: &mut Value| (), with_userns as fn(&mut Value)] {
        let c = victim(change);
        let dir = c.host_dir("shared");
        let before = table(&c);
        for place in
            ["/lnk", "/proc/sys", "/keys", "/proc/keys", "/sys-lnk", "/sys", "/proc", "/dir", "/dir/sys", "/dev"]
        {
            let list = json!([bind(&dir, place, &[])]);
            let message = if place.starts_with("/proc") { "/proc" } else { "was not added by" };
            mounts(&c, "remove", &list).out().fails().one_line().stderr_contains(message);
            assert_eq!(table(&c), before, "{place}");
        }
        check_protected(&c);
        c.delete_force().ok();
        c.nothing_left();
    }
}

/// The container replaces the path of an added mount by a symlink to a protected path, or to another added mount.
#[test]
fn remove_through_a_symlink_that_came_later() {
    need_root!();
    let c = victim(|_| ());
    let dir = c.host_dir("shared");
    let before = table(&c);
    let place = |name: &str| json!([bind(&dir, name, &[])]);
    mounts(&c, "add", &place("/way/here")).out().ok();
    mounts(&c, "add", &place("/cover")).out().ok();
    let with_both = table(&c);
    assert_ne!(with_both, before);
    c.exec(&["sh", "-c", "mv /way /away; mkdir /way; ln -s /proc/sys /way/here"]).ok();
    mounts(&c, "remove", &place("/way/here")).out().fails().one_line().stderr_contains("was not added by");
    c.exec(&["sh", "-c", "rm /way/here; ln -s /cover /way/here"]).ok();
    mounts(&c, "remove", &place("/way/here")).out().fails().one_line().stderr_contains("was not added by");
    check_protected(&c);
    // the mount is found again after it is back at its path
    c.exec(&["sh", "-c", "rm /way/here; rmdir /way; mv /away /way"]).ok();
    mounts(&c, "remove", &json!([bind(&dir, "/cover/", &[]), bind(&dir, "/x/way/./here", &[])])).out().fails();
    mounts(&c, "remove", &json!([bind(&dir, "/cover/", &[]), bind(&dir, "/x/../way/./here", &[])])).out().ok().silent();
    assert_eq!(table(&c), before);
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_stack_of_added_mounts_is_removed_from_the_top() {
    need_root!();
    let c = victim(|_| ());
    let dir = c.host_dir("shared");
    let before = table(&c);
    let one = json!([bind(&dir, "/data", &[])]);
    mounts(&c, "add", &one).out().ok();
    let below = table(&c);
    mounts(&c, "add", &one).out().ok();
    mounts(&c, "remove", &one).out().ok();
    assert_eq!(table(&c), below);
    mounts(&c, "remove", &one).out().ok();
    assert_eq!(table(&c), before);
    mounts(&c, "remove", &one).out().fails().one_line().stderr_contains("nothing is mounted there");
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_live_remount_touches_no_protection() {
    need_root!();
    let c = victim(|_| ());
    let before = table(&c);
    for (place, message) in [
        ("/lnk", "destination"),
        ("/dir/sys", "destination"),
        ("/sys-lnk", "destination"),
        ("/p", "destination"),
        ("/proc/sys", "inside /proc"),
        ("/proc", "/proc"),
        ("/sys", "cannot be changed"),
    ] {
        for options in
            [json!(["remount", "bind", "rw"]), json!(["remount", "rw"]), json!(["bind", "remount", "rrw", "exec"])]
        {
            let list = json!([{ "destination": place, "type": "none", "source": "none", "options": options }]);
            mounts(&c, "add", &list).out().fails().one_line().stderr_contains(message);
            assert_eq!(table(&c), before, "{list}");
        }
    }
    check_protected(&c);
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_remount_of_the_configuration_follows_no_symlink() {
    need_root!();
    for (place, message) in [("/sys-lnk", "destination"), ("/up/sys", "destination"), ("/proc/sys", "inside /proc")] {
        let c = Container::new(&["true"]);
        host::symlink("/sys", c.file("sys-lnk"));
        host::symlink("/", c.file("up"));
        let c = c.edit(|config| {
            let options = ["remount", "bind", "rw"];
            add_mount(config, json!({ "destination": place, "type": "none", "source": "none", "options": options }));
        });
        c.run().fails().one_line().stderr_contains(message);
        c.nothing_left();
    }
}
