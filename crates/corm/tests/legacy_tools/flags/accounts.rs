//! Users of the container: entries of /etc/passwd and /etc/group, and variables that come from the caller.

use super::{prints, refused};
use crate::fixture::over_all;
use crate::fixture::over_one;
use test_support::need_root;

#[test]
fn a_user_whom_the_image_does_not_know_has_an_entry_and_the_image_none() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let who = "id -un; grep -c . /etc/passwd; tail -n 1 /etc/passwd; tail -n 1 /etc/group";
        let known = prints(fixture, &[], "grep -c . /etc/passwd").parse::<u32>().unwrap();
        let one_more = known + 1;
        let entry = "4321:*:4321:987:container user:/tmp:/bin/sh\n987:x:987:4321";
        let flags = ["-u", "4321:987", "-w", "/tmp"];
        assert_eq!(prints(fixture, &flags, who), format!("4321\n{one_more}\n{entry}"));
        assert_eq!(prints(fixture, &flags, "cd; pwd"), "/tmp", "the home directory");
        // known users, and whoever does not want it
        assert_eq!(prints(fixture, &["-u", "user"], "grep -c . /etc/passwd"), known.to_string());
        let off = prints(fixture, &["--passwd=false", "-u", "4321"], "id -un 2>&1; grep -c . /etc/passwd");
        assert!(off.ends_with(&format!("\n{known}")) && off.contains("4321"), "{off}");
        let own = ["-u", "4321", "--passwd-entry", "me:x:$UID:$GID::/me:/bin/false"];
        assert_eq!(prints(fixture, &own, "id -un; tail -n 1 /etc/passwd"), "me\nme:x:4321:0::/me:/bin/false");
        let group = ["-u", "4321:987", "--group-entry", "us:x:$GID:$USERLIST"];
        assert_eq!(prints(fixture, &group, "id -gn; tail -n 1 /etc/group"), "us\nus:x:987:4321");
        // exec knows the entry, a commit has none of it
        let id = fixture.detached(&["--name", "c", "-u", "4321"], "base", &["sleep", "1000"]);
        assert_eq!(fixture.corm(["exec", "-u", "4321", &id, "id", "-un"]).out().ok().text(), "4321");
        fixture.corm(["commit", "c", "kept"]).out().ok();
        fixture.corm(["rm", "-f", "c"]).out().ok();
        let out = fixture.run(&["--rm", "-u", "0"], "kept", &["grep", "-c", ".", "/etc/passwd"]).out().ok();
        assert_eq!(out.text(), known.to_string());
        fixture.no_container_left();
    });
}

#[test]
fn users_of_the_host_and_bad_entries() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let of_host = std::fs::read_to_string("/etc/passwd").unwrap();
        let line = of_host.lines().find(|line| line.starts_with("daemon:")).unwrap();
        assert_eq!(prints(fixture, &["--hostuser", "daemon"], "grep ^daemon: /etc/passwd | tail -n 1"), line);
        refused(fixture, &["--hostuser", "nobody here"], "--hostuser");
        refused(fixture, &["--passwd-entry", "a:b"], "--passwd-entry");
        refused(fixture, &["--group-entry", "a:b\nc:d"], "--group-entry");
        // what the image has in the place of a file is left alone
        for script in ["rm /etc/passwd; mkfifo /etc/passwd", "rm /etc/passwd; ln -s /proc/self/environ /etc/passwd"] {
            fixture.run(&["--name", "c"], "base", &["sh", "-c", script]).out().ok();
            fixture.corm(["commit", "c", "odd"]).out().ok();
            fixture.corm(["rm", "c"]).out().ok();
            let seen = "[ -p /etc/passwd ] && echo fifo; readlink /etc/passwd; true";
            let out = fixture.run(&["--rm", "-u", "4321"], "odd", &["sh", "-c", seen]).out().ok();
            assert!(["fifo", "/proc/self/environ"].contains(&out.text()), "{out:?}");
        }
        fixture.no_container_left();
    });
}

#[test]
fn proxies_of_the_caller_are_passed_on_unless_unwanted() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let env = |flags: &[&str]| {
            let run = fixture.run(&[&["--rm"], flags].concat(), "base", &["env"]);
            let out = run.env("http_proxy", "http://p:1").env("NO_PROXY", "a,b").env("other", "x").out().ok();
            let mut lines: Vec<String> = out.lines().into_iter().map(str::to_owned).collect();
            lines.retain(|line| line.to_ascii_lowercase().contains("proxy") || line.starts_with("other"));
            lines.sort();
            lines
        };
        assert_eq!(env(&[]), ["NO_PROXY=a,b", "http_proxy=http://p:1"]);
        assert_eq!(env(&["-e", "http_proxy=mine", "--unsetenv", "NO_PROXY"]), ["http_proxy=mine"]);
        assert_eq!(env(&["--http-proxy=false"]), [""; 0]);
        fixture.no_container_left();
    });
}
