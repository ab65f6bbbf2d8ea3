//! Limits of block devices, rules of devices, the cgroup and the execution domain.

use super::{prints, refused};
use crate::fixture::over_one;
use test_support::{cgroup, need_root, skip};

/// Returns a block device of the host, with its numbers.
fn block_device() -> Option<(String, String)> {
    let names = std::fs::read_dir("/sys/block").ok()?.flatten().map(|entry| entry.file_name().into_string().unwrap());
    names.into_iter().find_map(|name| {
        let path = format!("/dev/{name}");
        let numbers = std::fs::read_to_string(format!("/sys/block/{name}/dev")).ok()?;
        std::fs::metadata(&path).is_ok().then(|| (path, numbers.trim().to_owned()))
    })
}

#[test]
fn rates_of_a_block_device_are_limited() {
    need_root!();
    over_one(|fixture| {
        let Some((device, numbers)) = block_device() else { skip!("no block device") };
        fixture.image("base");
        let rates = [
            ("--device-read-bps", "1m"),
            ("--device-write-bps", "2m"),
            ("--device-read-iops", "30"),
            ("--device-write-iops", "40"),
        ];
        let flags = rates.map(|(name, rate)| format!("{name}={device}:{rate}"));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        fixture.detached(&[&["--name", "c"], flags.as_slice()].concat(), "base", &["sleep", "1000"]);
        let pid = fixture.pid("c");
        for (file, key, want) in [
            ("read_bps", "rbps", 1 << 20),
            ("write_bps", "wbps", 2 << 20),
            ("read_iops", "riops", 30),
            ("write_iops", "wiops", 40),
        ] {
            let of_v1 = format!("blkio.throttle.{file}_device");
            let Some(text) = cgroup::read(pid, "blkio", &of_v1, "io.max") else { skip!("no controller of block I/O") };
            let (v1, v2) = (format!("{numbers} {want}"), format!("{key}={want}"));
            assert!(text.contains(&v1) || text.contains(&numbers) && text.contains(&v2), "{file}: {text:?}");
        }
        fixture.corm(["rm", "-f", "c"]).out().ok();
        for bad in [format!("{device}:0"), device.clone(), "/dev/null:1m".to_owned(), "/no/such:1m".to_owned()] {
            refused(fixture, &["--device-read-bps", &bad], if bad.contains("null") { "/dev/null" } else { "" });
        }
        refused(fixture, &["--blkio-weight-device", &format!("{device}:5")], "--blkio-weight-device");
        fixture.no_container_left();
    });
}

#[test]
fn a_device_is_allowed_by_a_rule() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        // /dev/loop0, which no container may open by default; it need not exist
        let open = "mknod /loop b 7 0 && dd if=/loop of=/dev/null count=0 2>&1 | grep -c 'not permitted'";
        let closed = fixture.run(&["--rm"], "base", &["sh", "-c", open]).out();
        assert_eq!(closed.stdout, "1\n", "{closed:?}");
        let out = fixture.run(&["--rm", "--device-cgroup-rule", "b 7:0 rmw"], "base", &["sh", "-c", open]).out();
        assert_eq!(out.stdout, "0\n", "{out:?}");
        refused(fixture, &["--device-cgroup-rule", "c 1:11"], "--device-cgroup-rule");
        fixture.no_container_left();
    });
}

#[test]
fn the_cgroup_is_below_the_callers_and_its_namespace_chosen() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let parent = format!("/{}-parent", fixture.sandbox.token);
        let id = fixture.detached(&["--name", "c", "--cgroup-parent", &parent], "base", &["sleep", "1000"]);
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", fixture.pid("c"))).unwrap();
        assert!(text.lines().any(|line| line.ends_with(&format!(":{parent}/{id}"))), "{text}");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        for bad in ["relative", "/a/../b"] {
            refused(fixture, &["--cgroup-parent", bad], "--cgroup-parent");
        }
        let own = std::fs::read_link("/proc/self/ns/cgroup").unwrap().display().to_string();
        let seen = |mode: &str| prints(fixture, &["--cgroupns", mode], "readlink /proc/self/ns/cgroup");
        assert_eq!(seen("host"), own);
        assert_ne!(seen("private"), own);
        refused(fixture, &["--cgroupns", "other"], "--cgroupns");
        fixture.no_container_left();
    });
}

#[test]
fn the_execution_domain_is_that_of_the_flag() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let domain = |flags: &[&str]| prints(fixture, flags, "cat /proc/self/personality");
        assert_eq!(domain(&[]), "00000000");
        assert_eq!(domain(&["--personality", "LINUX32"]), "00000008");
        refused(fixture, &["--personality", "OTHER"], "--personality");
        fixture.no_container_left();
    });
}
