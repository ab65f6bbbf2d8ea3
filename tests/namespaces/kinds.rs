//! Time and cgroup namespaces, and the fields that are refused without the namespace that they need.

use super::*;
use test_support::bundle::with_userns;
use test_support::need_root;

const DAY: i64 = 86_400;

fn seconds(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn host_uptime() -> f64 {
    seconds(&std::fs::read_to_string("/proc/uptime").unwrap())
}

fn with_offsets(config: &mut Value, monotonic: i64, boottime: i64) {
    add_namespace(config, "time");
    config["linux"]["timeOffsets"] = json!({
        "monotonic": { "secs": monotonic, "nanosecs": 500 }, "boottime": { "secs": boottime, "nanosecs": 0 }
    });
}

#[track_caller]
fn is_later(inside: f64, days: i64) {
    let ahead = inside - host_uptime() - (days * DAY) as f64;
    assert!(ahead.abs() < 60.0, "uptime differs by {ahead} s from what was asked");
}

#[test]
fn tm_1_the_program_and_exec_see_the_offsets() {
    need_root!();
    for user in [false, true] {
        let c = Container::new(&["sleep", "1000"]).edit(|config| with_offsets(config, 3 * DAY, 10 * DAY));
        let c = if user { c.edit(with_userns) } else { c }.up();
        assert_ne!(namespace(c.pid(), "time"), namespace(std::process::id() as i32, "time"));
        is_later(seconds(c.exec(&["cat", "/proc/uptime"]).ok().text()), 10);
        let offsets = std::fs::read_to_string(format!("/proc/{}/timens_offsets", c.pid())).unwrap();
        let words: Vec<_> = offsets.split_whitespace().collect();
        assert_eq!(words, ["monotonic", &(3 * DAY).to_string(), "500", "boottime", &(10 * DAY).to_string(), "0"]);
        check_namespaces_of_exec(&c);
        c.delete_force().ok();
        c.nothing_left();
    }
}

#[test]
fn tm_1_the_program_itself() {
    need_root!();
    let c = Container::new(&["cat", "/proc/uptime"]).edit(|config| with_offsets(config, 0, 100 * DAY));
    is_later(seconds(c.run().ok().text()), 100);
}

#[test]
fn tm_2_a_time_before_the_boot_is_refused_with_the_field() {
    need_root!();
    let c = Container::sh("true").edit(|config| with_offsets(config, -100_000 * DAY, 0));
    c.create().fails().one_line().stderr_contains("linux.timeOffsets");
    c.nothing_left();
}

#[test]
fn tm_1_a_time_namespace_is_joined() {
    need_root!();
    let holder = Container::new(&["sleep", "1000"]).edit(|config| with_offsets(config, DAY, 5 * DAY)).up();
    let c = Container::within(&holder.sandbox, &["cat", "/proc/uptime"]).edit(|config| {
        join(config, holder.pid(), &["time"]);
    });
    is_later(seconds(c.run().ok().text()), 5);
}

#[test]
fn tm_1_offsets_in_a_joined_pid_namespace_with_a_user_namespace() {
    need_root!();
    let holder = Container::new(&["sleep", "1000"]).edit(with_userns).up();
    let c = Container::within(&holder.sandbox, &["cat", "/proc/uptime"]).edit(|config| {
        join(config, holder.pid(), &["user", "pid"]);
        with_offsets(config, 0, 20 * DAY);
    });
    is_later(seconds(c.run().ok().text()), 20);
}

#[test]
fn cg_the_cgroup_namespace_begins_at_the_containers_cgroup() {
    need_root!();
    for user in [false, true] {
        let c = Container::new(&["sleep", "1000"]);
        let c = if user { c.edit(with_userns) } else { c }.up();
        for line in c.exec(&["cat", "/proc/1/cgroup", "/proc/self/cgroup"]).ok().lines() {
            assert!(line.ends_with(":/"), "user namespace {user}: {line}");
        }
        let host = std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
        assert!(host.lines().any(|line| line.ends_with(&cgroup::place(&c.cgroup()))), "{host}");
    }
}

#[test]
fn cg_without_a_cgroup_namespace_the_path_is_the_hosts() {
    need_root!();
    let c = Container::new(&["cat", "/proc/self/cgroup"]).edit(|config| remove_namespace(config, "cgroup"));
    let out = c.run().ok();
    assert!(out.lines().iter().any(|line| line.ends_with(&cgroup::place(&c.cgroup()))), "{out:?}");
}

#[test]
fn cg_a_cgroup_mount_in_a_user_namespace() {
    need_root!();
    for own_cgroup in [true, false] {
        let c =
            Container::sh("ls /sys/fs/cgroup | head -3; cat /proc/self/cgroup; grep -c /sys/fs/cgroup /proc/mounts")
                .edit(with_userns)
                .mount(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }));
        let c = if own_cgroup { c } else { c.edit(|config| remove_namespace(config, "cgroup")) };
        let out = c.run().ok();
        assert!(out.lines().last().unwrap().parse::<u32>().unwrap() > 0, "{out:?}");
        c.nothing_left();
    }
}

#[test]
fn ns_4_a_missing_namespace_is_the_runtimes() {
    need_root!();
    let own = std::process::id() as i32;
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        let (_, file) = NAMESPACES.iter().find(|(name, _)| *name == kind).unwrap();
        let c = Container::new(&["sleep", "1000"]).edit(|config| {
            remove_namespace(config, kind);
            if kind == "uts" {
                config.as_object_mut().unwrap().remove("hostname");
            }
        });
        let c = c.up();
        assert_eq!(namespace(c.pid(), file), namespace(own, file), "{kind}");
        check_namespaces_of_exec(&c);
        c.delete_force().ok();
        c.nothing_left();
    }
}
