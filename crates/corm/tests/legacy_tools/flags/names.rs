//! Environment, hosts, name servers, time zone, umask, init program, stop signal, annotations, replacement.

use std::time::{Duration, Instant};

use super::{prints, refused};
use crate::fixture::over_one;
use test_support::{Value, need_root};

#[test]
fn the_environment_says_where_the_program_is() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        assert_eq!(prints(fixture, &["--hostname", "web"], "echo $container $HOSTNAME; hostname"), "corm web\nweb");
        let own = prints(fixture, &[], "echo $HOSTNAME; hostname; cat /etc/hostname");
        let lines: Vec<&str> = own.lines().collect();
        assert!(lines[0].len() == 12 && lines[0] == lines[1] && lines[1] == lines[2], "{own}");
        assert_eq!(prints(fixture, &["-e", "HOSTNAME=mine"], "echo $HOSTNAME"), "mine");
        fixture.corm(["config", "--env", "A=1", "--env", "B=2", "base", "with-env"]).out().ok();
        let flags = ["--unsetenv", "A", "-e", "B=3"];
        let env = |flags: &[&str]| fixture.run(&[&["--rm"], flags].concat(), "with-env", &["env"]).out().ok().stdout;
        assert!(!env(&flags).contains("A=1") && env(&flags).contains("B=3"), "{}", env(&flags));
        let bare = env(&["--unsetenv-all"]);
        assert!(!bare.contains("A=1") && !bare.contains("container=") && !bare.contains("PATH="), "{bare}");
        let hosts = fixture.run(&["--rm", "--env-host"], "base", &["env"]).env("SEEN_OUTSIDE", "yes").out().ok();
        assert!(hosts.stdout.contains("SEEN_OUTSIDE=yes"), "{hosts:?}");
        let labels = fixture.sandbox.write("labels", "# comment\none=1\ntwo\n");
        fixture
            .run(&["--name", "c", "--label-file"], labels.to_str().unwrap(), &["-l", "one=2", "base", "true"])
            .out()
            .ok();
        fixture.corm(["commit", "c", "labelled"]).out().ok();
        let config = fixture.json(&["inspect", "labelled"]).to_string();
        assert!(config.contains(r#""one":"2""#) && config.contains(r#""two":"""#), "{config}");
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn hosts_and_name_servers_are_the_callers() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let seen = prints(fixture, &["--add-host", "db:10.0.0.7", "--add-host=six:fe80::1"], "cat /etc/hosts");
        assert!(seen.contains("10.0.0.7\tdb") && seen.contains("fe80::1\tsix") && seen.contains("localhost"), "{seen}");
        let flags = ["--dns", "192.0.2.1", "--dns-search", "example.test", "--dns-option", "ndots:3"];
        let script = "cat /etc/resolv.conf";
        let wanted = "search example.test\nnameserver 192.0.2.1\noptions ndots:3";
        assert_eq!(prints(fixture, &flags, script), wanted);
        // also after another start
        fixture.run(&[&["--name", "c"], &flags[..]].concat(), "base", &["sh", "-c", script]).out().ok();
        fixture.corm(["start", "c"]).out().ok();
        fixture.corm(["wait", "c"]).out().ok();
        assert_eq!(fixture.corm(["logs", "c"]).out().ok().text(), format!("{wanted}\n{wanted}"));
        fixture.corm(["rm", "c"]).out().ok();
        let mounted =
            "grep -c ' /etc/hosts ' /proc/self/mountinfo; grep -c ' /etc/resolv.conf ' /proc/self/mountinfo; true";
        assert_eq!(prints(fixture, &["--no-hosts", "--dns", "none"], mounted), "0\n0");
        assert_eq!(prints(fixture, &[], mounted), "1\n1");
        refused(fixture, &["--add-host", "db"], "--add-host");
        refused(fixture, &["--add-host", "db:1.2.3.4", "--no-hosts"], "--no-hosts");
        refused(fixture, &["--dns", "nowhere"], "--dns");
        fixture.no_container_left();
    });
}

#[test]
fn zone_umask_and_annotations_are_set() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        assert_eq!(prints(fixture, &["--umask", "077"], "umask; touch /f; stat -c %a /f"), "0077\n600");
        refused(fixture, &["--umask", "9"], "--umask");
        let zone = std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo");
        if zone.exists() {
            let size = zone.metadata().unwrap().len().to_string();
            assert_eq!(prints(fixture, &["--tz", "Asia/Tokyo"], "stat -Lc %s /etc/localtime"), size);
        }
        for bad in ["No/Such/Zone", "../../../etc/passwd", "/etc/passwd", ""] {
            refused(fixture, &["--tz", bad], "--tz");
        }
        fixture.run(&["--name", "c", "--annotation", "a.b=c d"], "base", &["true"]).out().ok();
        let id = fixture.shown("c")["Id"].as_str().unwrap().to_owned();
        let config = std::fs::read(fixture.root().join("containers").join(id).join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["annotations"]["a.b"], "c d");
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn an_init_program_is_the_first_process() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let first = "cat /proc/1/comm; echo $$";
        if ["/usr/bin/catatonit", "/usr/bin/tini-static"].iter().any(|path| std::path::Path::new(path).exists()) {
            let seen = prints(fixture, &["--init"], first);
            assert!(!seen.starts_with("sh\n") && !seen.ends_with("\n1"), "{seen}");
            let out = fixture.run(&["--rm", "--init"], "base", &["sh", "-c", "exit 7"]).out();
            assert_eq!(out.code, Some(7), "{out:?}");
        }
        assert_eq!(prints(fixture, &[], first), "sh\n1");
        let nothing = fixture.run(&["--init"], "base", &["true"]).env("PATH", "/nowhere");
        if !std::path::Path::new("/usr/libexec/podman/catatonit").exists() {
            let out = nothing.out().exits(125);
            assert!(out.stderr.contains("Debian package"), "{out:?}");
        }
        refused(fixture, &["--init", "--init-path", "/no/such/program"], "--init-path");
        fixture.no_container_left();
    });
}

#[test]
fn stop_uses_the_containers_signal_and_patience() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "trap 'echo got; exit 0' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let wait = |name: &str| {
            test_support::wait_for("it runs", || fixture.corm(["logs", name]).out().ok().stdout.contains("ready"));
        };
        fixture.detached(&["--name", "c", "--stop-signal", "USR1"], "base", &["sh", "-c", script]);
        wait("c");
        fixture.corm(["stop", "c"]).out().ok();
        assert_eq!(fixture.corm(["logs", "c"]).out().ok().text(), "ready\ngot");
        fixture.corm(["rm", "c"]).out().ok();
        fixture.detached(&["--name", "c", "--stop-timeout", "0"], "base", &["sh", "-c", script]);
        wait("c");
        let before = Instant::now();
        fixture.corm(["stop", "c"]).out().ok();
        assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
        fixture.corm(["rm", "c"]).out().ok();
        refused(fixture, &["--stop-signal", "NOTHING"], "--stop-signal");
        fixture.no_container_left();
    });
}

#[test]
fn a_container_of_the_same_name_is_replaced() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let old = fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        fixture.run(&["-d", "--name", "c"], "base", &["true"]).out().exits(125);
        // what fails before leaves the old one
        refused(fixture, &["--replace", "--name", "c", "--tz", "No/Such"], "--tz");
        assert_eq!(fixture.status("c"), "running");
        let new = fixture.detached(&["--replace", "--name", "c"], "base", &["sleep", "1000"]);
        assert!(old != new && fixture.shown("c")["Id"] == new.as_str());
        refused(fixture, &["--replace"], "--name");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_container_that_create_made_has_the_settings() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let create = |flags: &[&str], script: &str| {
            let command = [&["create", "--name", "c"], flags, &["base", "sh", "-c", script]].concat();
            fixture.corm(command).out()
        };
        let old = create(&["--umask", "077", "--tmpfs", "/t"], "umask; stat -f -c %T /t").ok();
        assert_eq!(fixture.corm(["start", "-a", "c"]).out().ok().text(), "0077\ntmpfs");
        create(&[], "true").exits(125);
        // restart has the container's timeout, too
        let new = create(&["--replace", "--stop-timeout", "0"], "trap '' TERM; sleep 1000 & wait; wait").ok();
        assert!(old.text() != new.text() && fixture.shown("c")["Id"] == new.text());
        fixture.corm(["start", "c"]).out().ok();
        let before = Instant::now();
        fixture.corm(["restart", "c"]).out().ok();
        assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
        assert_eq!(fixture.status("c"), "running");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}
