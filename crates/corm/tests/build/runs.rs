//! `RUN`: shells, here-documents, users, networks, limits and mounts.

use crate::fixture::{over_all, over_one};
use crate::{built, prints};
use test_support::need_root;

#[test]
fn commands_run_in_their_forms() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN [\"sh\", \"-c\", \"echo $0 > /exec\", \"zero\"]\nRUN echo a \\\n  # comment\n  b > /joined\n\
                    RUN <<EOF\necho one > /doc\necho $0 >> /doc\nEOF\nRUN <<X cat > /fed\nfed $HOME\nX\n\
                    RUN <<S\n#!/bin/sh -e\necho \"$0\" > /script\nS\nSHELL [\"/bin/sh\", \"-xc\"]\nRUN echo $- > /flags\n\
                    WORKDIR /w\nUSER 5:6\nRUN pwd > /tmp/pwd; id -u >> /tmp/pwd; id -g >> /tmp/pwd\n";
        built(fixture, text, &[], &[]).ok();
        let script = "cat /exec /joined /doc /fed /script /flags /tmp/pwd";
        let found = fixture.run(&["--rm", "-u", "0"], "x", &["sh", "-c", script]).out().ok();
        let lines = found.lines();
        assert_eq!(lines[..2], ["zero", "a b"]);
        assert_eq!(lines[2..6], ["one", "/bin/sh", "fed /root", "/dev/pipes/S"]);
        assert!(lines[6].contains('x') && lines[7..] == ["/w", "5", "6"], "{lines:?}");
    });
}

#[test]
fn a_command_sees_its_container_alone() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN test $$ -lt 20 && hostname > /name && ls /sys/class/net > /net && ls -d /secret 2>&1 | wc -l > /n\n\
                    RUN test \"$(stat -f -c %T /)\" != none; mount | grep -c ' / ' > /mounts\n";
        built(fixture, text, &[], &[]).ok();
        assert_eq!(prints(fixture, "cat /name /net"), "build\nlo");
        // the files that are mounted for the command are not of the image, nor are their places
        assert_eq!(prints(fixture, "ls -A /dev/shm /proc/1 > /dev/null && echo ok"), "ok");
        let tree = fixture.sandbox.path("tree");
        crate::exported(fixture, &tree);
        for gone in ["proc", "sys", "dev", "etc/resolv.conf", "run/secrets"] {
            let base = fixture.sandbox.path("busybox/rootfs").join(gone);
            assert_eq!(tree.join(gone).exists(), base.exists(), "{gone}");
        }
        fixture.no_container_left();
    });
}

#[test]
fn networks_are_the_callers_to_give() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let host = "FROM base\nRUN --network=host ls /sys/class/net\n";
        let out = built(fixture, host, &[], &[]).fails();
        assert!(out.stderr.contains("needs --network=host of the build"), "{out:?}");
        built(fixture, host, &[], &["--network", "host"]).ok();
        built(
            fixture,
            "FROM base\nRUN --network=none test \"$(ls /sys/class/net)\" = lo\n",
            &[],
            &["--network", "host"],
        )
        .ok();
        let out = built(fixture, "FROM base\nRUN wget http://example.invalid\n", &[], &[]).fails();
        assert!(out.stderr.contains("it has no network: see --network"), "{out:?}");
        built(fixture, "FROM base\nRUN --security=insecure true\n", &[], &[]).fails();
    });
}

#[test]
fn limits_and_names_hold_for_commands() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let flags = ["--ulimit", "nofile=77:88", "--add-host", "there:10.1.2.3", "--shm-size", "1m"];
        let text = "FROM base\nRUN ulimit -n > /n; grep there /etc/hosts > /h; df -k /dev/shm | tail -1 > /s\n";
        built(fixture, text, &[], &flags).ok();
        let found = prints(fixture, "cat /n /h; grep -c 1024 /s");
        assert_eq!(found.split_whitespace().collect::<Vec<_>>(), ["77", "10.1.2.3", "there", "1"]);
    });
}

#[test]
fn limits_of_the_cgroup_hold_for_commands() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let flags = [
            "--memory=64m",
            "--memory-swap=128m",
            "--cpu-shares=512",
            "--cpu-period=50000",
            "--cpu-quota=20000",
            "--cpuset-cpus=0",
            "--cpuset-mems=0",
            "--no-cache",
        ];
        let read =
            |v2: &str, v1: &str| format!("(cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}) >> /l");
        let commands = [
            read("memory.max", "memory/memory.limit_in_bytes"),
            read("cpu.max", "cpu/cpu.cfs_quota_us"),
            read("cpuset.cpus", "cpuset/cpuset.cpus"),
            read("cpuset.mems", "cpuset/cpuset.mems"),
            read("cpu.weight", "cpu/cpu.shares"),
        ];
        let text = format!("FROM base\nRUN {}\n", commands.join("; "));
        built(fixture, &text, &[], &flags).ok();
        let found = prints(fixture, "cat /l");
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!((lines[0], lines[2], lines[3]), ("67108864", "0", "0"), "{found}");
        assert!(lines[1].starts_with("20000") && ["512", "20"].contains(&lines[4]), "{found}");
        let out = built(fixture, &text, &[], &["--memory=64m", "--memory-swap=32m"]).fails();
        assert!(out.stderr.contains("--memory-swap"), "{out:?}");
        let out = built(fixture, &text, &[], &["--progress=quiet", "--no-cache"]).ok();
        assert_eq!((out.stderr.as_str(), out.lines().len()), ("", 1));
        assert!(!built(fixture, &text, &[], &["--progress=plain", "--no-cache"]).ok().stderr.is_empty());
        built(fixture, &text, &[], &["--progress=loud"]).fails().stderr_contains("--progress");
        fixture.no_container_left();
    });
}

#[test]
fn files_are_mounted_and_not_kept() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let files = [("src/a", "A\n"), ("one", "1\n")];
        let text = "FROM base AS s\nRUN echo S > /made\nFROM base\nWORKDIR /w\n\
                    RUN --mount=target=/m cat /m/src/a > /a && ! touch /m/x\n\
                    RUN --mount=type=bind,source=src,target=rel,rw cat rel/a > /b && echo new > rel/a && cat rel/a >> /b\n\
                    RUN --mount=from=s,source=/made,target=/mnt/file cat /mnt/file > /c\n\
                    RUN --mount=from=base,target=/img ls /img/bin/busybox > /d\n\
                    RUN --mount=type=tmpfs,target=/t,size=1m echo x > /t/f && df -k /t | tail -1 | grep -c 1024 > /e\n";
        built(fixture, text, &files, &[]).ok();
        let found = prints(fixture, "cat /a /b /c /d /e; ls -d /m /mnt /img /t /w/rel 2>/dev/null; echo end");
        assert_eq!(found, "A\nA\nnew\nS\n/img/bin/busybox\n1\nend");
        let text = std::fs::read_to_string(fixture.sandbox.path("context/src/a")).unwrap();
        assert_eq!(text, "A\n", "the context is unchanged");
        fixture.no_container_left();
    });
}

#[test]
fn caches_are_kept_between_builds() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = |number: u32| {
            format!(
                "FROM base\nRUN --mount=type=cache,target=/c,id=my,uid=3,mode=700 echo {number} >> /c/f; cat /c/f > /f; stat -c %u:%a /c > /s\n"
            )
        };
        built(fixture, &text(1), &[], &[]).ok();
        built(fixture, &text(2), &[], &[]).ok();
        assert_eq!(prints(fixture, "cat /f /s; ls -d /c 2>&1 | wc -l"), "1\n2\n3:700\n1");
        assert_eq!(fixture.corm(["volume", "ls", "-q"]).out().ok().lines().len(), 1);
        built(
            fixture,
            "FROM base\nRUN --mount=type=cache,target=/c,id=my,uid=3,mode=700,ro cat /c/f && ! touch /c/x\n",
            &[],
            &[],
        )
        .ok();
        built(fixture, "FROM base\nRUN --mount=type=cache,target=/c,id=lock,sharing=locked touch /c/x\n", &[], &[])
            .ok();
        built(fixture, "FROM base\nRUN --mount=type=cache,target=/c,id=own,sharing=private touch /c/x\n", &[], &[])
            .ok();
        fixture.corm(["volume", "prune", "-f"]).out().ok();
        assert_eq!(fixture.entries("volumes"), Vec::<String>::new());
    });
}

#[test]
fn options_of_mounts_have_variables_but_for_their_stage() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nARG kind=cache where=/c\nENV name=my dir=sub\n\
                    RUN --mount=type=$kind,id=$name,target=${where} echo 1 > /c/f\n\
                    RUN --mount=type=cache,id=my,target=/other test -f /other/f\n\
                    RUN --mount=source=$dir,target=/m test -f /m/g\n";
        built(fixture, text, &[("sub/g", "G\n")], &[]).ok();
        let out = built(fixture, "FROM base AS s\nFROM base\nENV f=s\nRUN --mount=from=$f,target=/m true\n", &[], &[]);
        assert!(out.fails().stderr.contains("has no variables"));
        let out = built(fixture, "FROM base\nENV t=none\nRUN --mount=type=$t,target=/m true\n", &[], &[]).fails();
        assert!(out.stderr.contains("type=\"none\"") && out.stderr.contains("Containerfile:3"), "{out:?}");
    });
}

#[test]
fn secrets_are_in_no_layer_and_no_history() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let file = fixture.sandbox.write("the-secret", "s3cr3t-value\n");
        let text = "FROM base\nRUN --mount=type=secret,id=a,required test $(wc -c < /run/secrets/a) = 13 && stat -c %a:%u /run/secrets/a > /mode\n\
                    RUN --mount=type=secret,id=a,env=TOKEN test ${#TOKEN} = 13\n\
                    RUN --mount=type=secret,id=a,target=/etc/s,mode=0444,uid=4 stat -c %a:%u /etc/s > /mode2\n\
                    RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n";
        let flag = format!("id=a,src={}", file.display());
        built(fixture, text, &[], &["--secret", &flag]).ok();
        assert_eq!(
            prints(fixture, "cat /mode /mode2; find /run /etc/s 2>/dev/null | grep -v '^/run$'; echo end"),
            "400:0\n444:4\nend"
        );
        let store = fixture.root();
        let found = fixture.sandbox.program("grep").args(["-rl", "s3cr3t-value"]).arg(&store).arg("/run/corm").out();
        assert_eq!(found.stdout, "", "the secret is in the store");
        let missing = built(fixture, text, &[], &["--no-cache"]).fails();
        assert!(missing.stderr.contains("secret \"a\": is required"), "{missing:?}");
        fixture.no_container_left();
    });
}

#[test]
fn an_agent_is_reached_by_its_socket() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let path = fixture.sandbox.path("agent");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let flag = format!("default={}", path.display());
        let text =
            "FROM base\nRUN --mount=type=ssh,required test -S \"$SSH_AUTH_SOCK\"\nRUN test -z \"$SSH_AUTH_SOCK\"\n";
        built(fixture, text, &[], &["--ssh", &flag]).ok();
        let out = built(fixture, text, &[], &["--no-cache"]).fails();
        assert!(out.stderr.contains("agent \"default\": is required"), "{out:?}");
    });
}
