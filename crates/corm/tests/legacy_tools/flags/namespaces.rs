//! Namespaces of the host and of other containers.

use super::{prints, refused};
use crate::fixture::over_one;
use test_support::need_root;

/// Returns a namespace of this process.
fn own(kind: &str) -> String {
    std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string()
}

#[test]
fn namespaces_of_the_host_are_shared() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for kind in ["pid", "ipc", "uts"] {
            let flag = format!("--{kind}");
            let read = format!("readlink /proc/self/ns/{kind}");
            assert_eq!(prints(fixture, &[&flag, "host"], &read), own(kind), "{kind}");
            assert_ne!(prints(fixture, &[&flag, "private"], &read), own(kind), "{kind}");
            let path = format!("ns:/proc/{}/ns/{kind}", std::process::id());
            assert_eq!(prints(fixture, &[&flag, &path], &read), own(kind), "{kind}");
            refused(fixture, &[&flag, "ns:/no/such/file"], &flag);
            refused(fixture, &[&flag, "other"], &flag);
        }
        let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
        assert_eq!(
            prints(fixture, &["--uts", "host"], "hostname; echo $HOSTNAME; cat /etc/hostname"),
            [&*name; 3].join("\n")
        );
        assert_eq!(prints(fixture, &["--ipc", "none"], "grep -c /dev/shm /proc/self/mountinfo; true"), "0");
        refused(fixture, &["--uts", "host", "--hostname", "x"], "--hostname");
        refused(fixture, &["--pid", "host", "--init"], "--init");
        prints(fixture, &["--userns", "host"], "true");
        fixture.no_container_left();
    });
}

#[test]
fn namespaces_of_another_container_are_joined_at_each_start() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "a", "--hostname", "first"], "base", &["sleep", "1000"]);
        let flags = ["--pid", "container:a", "--ipc", "container:a", "--uts", "container:a"];
        let script = "cat /proc/1/comm; hostname; echo $HOSTNAME; readlink /proc/self/ns/ipc";
        let of = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/ipc")).unwrap().display().to_string();
        let wanted = |pid: i32| format!("sleep\nfirst\nfirst\n{}", of(pid));
        let out = fixture.run(&[&["--name", "b"], &flags[..]].concat(), "base", &["sh", "-c", script]).out().ok();
        let first = wanted(fixture.pid("a"));
        assert_eq!(out.text(), first);
        // the other one has a new process after its own start
        fixture.corm(["stop", "-t", "0", "a"]).out().ok();
        let out = fixture.corm(["start", "b"]).out().fails().one_line();
        assert!(out.stderr.contains("'a' is not running"), "{out:?}");
        fixture.corm(["start", "a"]).out().ok();
        fixture.corm(["start", "b"]).out().ok();
        fixture.corm(["wait", "b"]).out().ok();
        assert_eq!(fixture.corm(["logs", "b"]).out().ok().text(), format!("{first}\n{}", wanted(fixture.pid("a"))));
        refused(fixture, &["--pid", "container:nothing"], "--pid");
        fixture.corm(["rm", "-f", "a", "b"]).out().ok();
        fixture.no_container_left();
    });
}
