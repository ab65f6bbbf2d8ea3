//! Flags of `build` for the containers of `RUN`: each seen by a command.

use std::path::Path;

use crate::fixture::over_one;
use crate::user::User;
use crate::{build, built, context, prints};
use test_support::{bundle, need_root};

/// A flag with its value, a command of the shell, and the beginning or a part of what it prints.
type Case<'a> = (&'a [&'a str], &'a str, &'a str);

/// What commands see of flags, with root and without.
const SEEN: &[Case<'static>] = &[
    (&["--cap-drop", "ALL"], "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
    (&["--cap-drop", "all", "--cap-add", "KILL"], "grep CapEff /proc/self/status", "CapEff:\t0000000000000020"),
    (&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    (&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
    (&["--device", "/dev/null:/dev/mine"], "test -c /dev/mine && echo device", "device"),
    (&["--ulimit", "nofile=77:78"], "ulimit -Sn; ulimit -Hn", "77\n78"),
    (&["--shm-size", "1m"], "df -k /dev/shm | tail -n 1 | awk '{print $2}'", "1024"),
    (&["--add-host", "some.name:10.0.0.1"], "cat /etc/hosts", "10.0.0.1\tsome.name"),
    (
        &["--dns", "10.9.8.7", "--dns-search", "s.x", "--dns-option", "ndots:3"],
        "cat /etc/resolv.conf",
        "nameserver 10.9.8.7",
    ),
    (&["--dns", "10.9.8.7", "--dns-search", "s.x", "--dns-option", "ndots:3"], "cat /etc/resolv.conf", "search s.x"),
    (
        &["--dns", "10.9.8.7", "--dns-search", "s.x", "--dns-option", "ndots:3"],
        "cat /etc/resolv.conf",
        "options ndots:3",
    ),
    (&[], "echo p=$http_proxy", "p=http://proxy.example:3128"),
    (&["--http-proxy=false"], "echo p=$http_proxy.", "p=."),
    (&["--build-arg", "http_proxy=http://other:1"], "echo p=$http_proxy", "p=http://other:1"),
];

#[test]
fn commands_have_what_the_flags_give() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for (flags, command, wanted) in SEEN {
            context(fixture, &[("Containerfile", &format!("FROM base\nRUN {command}\n"))]);
            let out = build(fixture, &[&["--no-cache"], *flags].concat())
                .env("http_proxy", "http://proxy.example:3128")
                .out()
                .ok();
            let seen: Vec<&str> =
                out.stderr.lines().filter_map(|line| line.split_once("] | ")).map(|(_, l)| l).collect();
            assert!(seen.join("\n").contains(wanted), "{flags:?}: {out:?}");
        }
    });
}

#[test]
fn commands_have_what_the_flags_give_without_root() {
    need_root!();
    let Some(user) = User::new() else { return };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("busybox"));
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    let dir = user.sandbox.mkdir("context");
    for (flags, command, wanted) in SEEN {
        std::fs::write(dir.join("Containerfile"), format!("FROM base\nRUN {command}\n")).unwrap();
        let build =
            user.corm(&["build", "--no-cache"]).args(*flags).arg(&dir).env("http_proxy", "http://proxy.example:3128");
        let out = build.out().ok();
        let seen: Vec<&str> = out.stderr.lines().filter_map(|line| line.split_once("] | ")).map(|(_, l)| l).collect();
        assert!(seen.join("\n").contains(wanted), "{flags:?}: {out:?}");
    }
}

#[test]
fn a_volume_is_there_for_commands_and_not_in_the_image() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = fixture.sandbox.mkdir("volume");
        std::fs::write(dir.join("f"), "V\n").unwrap();
        let flag = format!("{}:/v:ro", dir.display());
        built(fixture, "FROM base\nRUN cat /v/f > /g; ! touch /v/x\n", &[], &["-v", &flag]).ok();
        assert_eq!(prints(fixture, "cat /g; ls -d /v 2>&1 | grep -c 'No such'"), "V\n1");
        assert!(!dir.join("x").exists());
    });
}

#[test]
fn namespaces_of_the_host_are_shared_where_the_caller_says() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let own = |kind: &str| std::fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap().display().to_string();
        for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net")] {
            let text = format!("FROM base\nRUN echo {kind}; readlink /proc/self/ns/{kind}\n");
            let out = built(fixture, &text, &[], &["--no-cache", flag, "host"]).ok();
            assert!(out.stderr.contains(&own(kind)), "{flag}: {out:?}");
            let out = built(fixture, &text, &[], &["--no-cache"]).ok();
            assert!(!out.stderr.contains(&own(kind)), "{flag}: {out:?}");
        }
        // that of the image, which has none
        let hosts = "FROM base\nRUN cat /etc/hosts 2>&1 || true\n";
        let out = built(fixture, hosts, &[], &["--no-hosts"]).ok();
        assert!(out.stderr.contains("| cat: can't open '/etc/hosts'"), "{out:?}");
        let out = built(fixture, hosts, &[], &[]).ok();
        assert!(out.stderr.contains("| 127.0.0.1"), "{out:?}");
    });
}

#[test]
fn the_cgroup_of_commands_is_below_the_parent() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let parent = format!("/{}-parent", fixture.sandbox.token);
        let text = "FROM base\nRUN cat /proc/self/cgroup\n";
        let out = built(fixture, text, &[], &["--cgroup-parent", &parent, "--cgroupns", "host"]).ok();
        assert!(out.stderr.contains(&format!("{parent}/")), "{out:?}");
    });
}

#[test]
fn instructions_have_privileges_only_where_the_caller_allows_them() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text =
            "FROM base\nRUN --security=insecure grep CapEff /proc/self/status\nRUN grep CapEff /proc/self/status\n";
        let out = built(fixture, text, &[], &[]).fails();
        assert!(out.stderr.contains("needs --allow security.insecure"), "{out:?}");
        let out = built(fixture, text, &[], &["--allow", "security.insecure"]).ok();
        let sets: Vec<&str> =
            out.stderr.lines().filter_map(|line| line.split_once("| CapEff:\t")).map(|(_, l)| l).collect();
        assert_eq!(sets.len(), 2, "{out:?}");
        let bits = |text: &str| u64::from_str_radix(text, 16).unwrap().count_ones();
        assert!(bits(sets[0]) > bits(sets[1]), "{sets:?}");
        let text = "FROM base\nRUN --network=host readlink /proc/self/ns/net\n";
        built(fixture, text, &[], &[]).fails();
        let out = built(fixture, text, &[], &["--allow", "network.host"]).ok();
        let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
        assert!(out.stderr.contains(&own), "{out:?}");
    });
}

#[test]
fn the_cache_depends_on_what_commands_may_do() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN echo 1 > /f\n";
        built(fixture, text, &[], &[]).ok();
        for (flags, is_cached) in [
            (&[][..], true),
            (&["--memory", "64m", "--http-proxy=false"], true),
            (&["--cap-drop", "KILL"], false),
            (&["--cap-drop", "KILL"], true),
            (&["--device", "/dev/null:/dev/mine"], false),
            (&["--dns", "10.0.0.1"], false),
            (&["--pid", "host"], false),
            (&["-v", "/etc:/v"], false),
            (&[], true),
        ] {
            let out = built(fixture, text, &[], flags).ok();
            assert_eq!(out.stderr.contains("] cached"), is_cached, "{flags:?}: {out:?}");
        }
    });
}

#[test]
fn limits_of_memory_and_processors_hold_for_commands() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let flags = "--memory 64m --memory-swap 128m --cpu-shares 512 --cpu-period 50000 --cpu-quota 25000 --cpuset-cpus 0 \
                     --cpuset-mems 0";
        // the files of cgroup v1, or those of v2
        let text = "FROM base\nRUN cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; \
                    cat cpu*/cpu.cfs_quota_us cpu*/cpu.cfs_period_us cpu.max 2>/dev/null; cat cpu*/cpu.shares cpu.weight 2>/dev/null; \
                    grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status\n";
        let out = built(fixture, text, &[], &flags.split_whitespace().collect::<Vec<_>>()).ok();
        let seen: Vec<&str> = out.stderr.lines().filter_map(|line| line.split_once("] | ")).map(|(_, l)| l).collect();
        let seen = seen.join(" ");
        let v2 = seen.contains("25000 50000") && !seen.contains(" 512 ");
        assert!(seen.starts_with("67108864 25000 50000 ") && (v2 || seen.contains(" 512 ")), "{seen}");
        assert!(seen.ends_with("Cpus_allowed_list:\t0 Mems_allowed_list:\t0"), "{seen}");
    });
}
