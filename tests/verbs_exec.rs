//! `exec`: its flags, its process document, its exit status and streams.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::os::fd::OwnedFd;
use test_support::*;

#[test]
fn exec_gives_every_status() {
    need_root!();
    let c = Container::running();
    for code in 0..=255 {
        c.exec(&["sh", "-c", &format!("exit {code}")]).exits(code);
    }
}

/// `--process` reads a pipe as by `<(...)` of a shell, a fifo, and standard input as `-`.
#[test]
fn exec_reads_its_process_from_a_pipe() {
    need_root!();
    let c = Container::running();
    let document = r#"{"args":["echo","from a pipe"],"cwd":"/","user":{"uid":0,"gid":0}}"#;
    let script = r#"exec "$@" --process <(printf %s "$DOCUMENT") "$ID""#;
    let exec = |script: &str| {
        let bash = c.sandbox.program("bash").args(["-c", script, "bash"]).arg(runtime());
        bash.args(["--root"]).arg(&c.sandbox.root).arg("exec").env("DOCUMENT", document).env("ID", &c.id)
    };
    assert_eq!(exec(script).out().ok().stdout, "from a pipe\n");
    for name in ["-", "/dev/stdin"] {
        let script = format!(r#"printf %s "$DOCUMENT" | "$@" --process {name} "$ID""#);
        assert_eq!(exec(&script).out().ok().stdout, "from a pipe\n", "{name}");
    }
}

/// As runc: 255 is a failure of the runtime, so that callers can tell it from a status of the program.
#[test]
fn exec_gives_255_for_failures_of_the_runtime() {
    need_root!();
    let c = Container::running();
    for (flags, args) in [
        (&[][..], &["no-such-program"][..]),
        (&[], &["/etc"]),
        (&["--no-such-flag"], &["true"]),
        (&["--user", "no-such-user"], &["true"]),
        (&["--process", "/no/such/file"], &[]),
        (&["--process"], &[]),
    ] {
        let out = c.exec_with(flags, args).out();
        assert_eq!(out.code, Some(255), "{out:#?}");
    }
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.exec(&["true"]).code, Some(255));
    c.verb("resume", &[]).out().ok();
    c.delete_force().ok();
    assert_eq!(c.exec(&["true"]).code, Some(255));
}

#[test]
fn exec_gives_128_plus_the_signal() {
    need_root!();
    let c = Container::running();
    for (signal, number) in [("KILL", 9), ("TERM", 15), ("INT", 2), ("HUP", 1)] {
        c.exec(&["sh", "-c", &format!("kill -{signal} $$; sleep 10")]).exits(128 + number);
    }
}

#[test]
fn exec_passes_streams() {
    need_root!();
    let c = Container::running();
    let out = c.exec_with(&[], &["sh", "-c", "cat; echo err >&2"]).stdin("in\n").out().ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("in\n", "err\n"));
}

#[test]
fn exec_is_inside_the_container() {
    need_root!();
    let c = Container::running();
    let out = c
        .exec(&[
            "sh",
            "-c",
            "hostname; ls /; grep -c . /proc/1/cmdline; for n in mnt pid net ipc uts cgroup; \
        do readlink /proc/self/ns/$n; done",
        ])
        .ok();
    assert!(out.stdout.starts_with("testbox\n") && !out.stdout.contains("work"), "{out:#?}");
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let ns = std::fs::read_link(format!("/proc/{}/ns/{kind}", c.pid())).unwrap();
        assert!(out.stdout.contains(ns.to_str().unwrap()), "{kind}: {ns:?} not in\n{}", out.stdout);
    }
}

#[test]
fn exec_joins_the_containers_cgroup() {
    need_root!();
    let c = Container::running();
    let file = c.sandbox.path("pid");
    c.exec_with(&["--detach", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"]).out().ok();
    let pid: i32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap(),
        std::fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap()
    );
}

#[test]
fn detach_and_pid_file() {
    need_root!();
    let c = Container::running();
    for flag in ["--detach", "-d"] {
        let file = c.sandbox.path("exec.pid");
        let out = c.exec_with(&[flag, "--pid-file", file.to_str().unwrap()], &["sh", "-c", "exit 9"]).out().ok();
        assert_eq!(out.stdout, "");
        let text = std::fs::read_to_string(&file).unwrap();
        let pid: i32 = text.parse().unwrap_or_else(|_| panic!("pid file {text:?}"));
        assert_eq!(Container::reap(pid), 9, "the caller's subreaper gets the status");
    }
}

#[test]
fn cwd_flag() {
    need_root!();
    let c = Container::running();
    assert_eq!(c.exec_with(&["--cwd", "/tmp"], &["pwd"]).out().ok().text(), "/tmp");
    assert_eq!(c.exec_with(&["--cwd=/usr"], &["pwd"]).out().ok().text(), "/usr");
    c.exec_with(&["--cwd", "relative"], &["pwd"]).out().fails().stderr_contains("cwd");
}

#[test]
fn env_flags_add_up() {
    need_root!();
    let c = Container::running();
    let out = c.exec_with(&["--env", "A=1", "-e", "B=2", "--env=C=x=y"], &["env"]).out().ok();
    for line in ["A=1", "B=2", "C=x=y", "PATH=/bin:/sbin:/usr/bin"] {
        assert!(out.lines().contains(&line), "{line} in {out:#?}");
    }
}

#[test]
fn user_flag() {
    need_root!();
    let c = Container::running();
    let id = "echo $(id -u):$(id -g)";
    for (user, want) in [("1000:1000", "1000:1000"), ("0:2000", "0:2000"), ("0", "0:0"), ("77:78", "77:78")] {
        assert_eq!(c.exec_with(&["--user", user], &["sh", "-c", id]).out().ok().text(), want, "user {user}");
    }
    assert_eq!(c.exec_with(&["-u", "5:6"], &["sh", "-c", id]).out().ok().text(), "5:6");
}

#[test]
fn user_flag_takes_names_of_the_containers_passwd() {
    need_root!();
    if !is_croci() {
        skip!("runc takes numbers only");
    }
    let c = Container::running();
    let id = "echo $(id -u):$(id -g)";
    for (user, want) in [("user", "1000:1000"), ("nobody", "65534:65534"), ("user:extra", "1000:2000")] {
        assert_eq!(c.exec_with(&["--user", user], &["sh", "-c", id]).out().ok().text(), want, "user {user}");
    }
    c.exec_with(&["--user", "stranger"], &["true"]).out().fails().stderr_contains("stranger");
}

#[test]
fn additional_gids_flag() {
    need_root!();
    let c = Container::running();
    let out =
        c.exec_with(&["-g", "2000", "--additional-gids", "3000"], &["grep", "Groups", "/proc/self/status"]).out().ok();
    assert_eq!(out.text().split_whitespace().collect::<Vec<_>>(), ["Groups:", "2000", "3000"]);
}

#[test]
fn no_new_privs_flag() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| config["process"]["noNewPrivileges"] = json!(false)).up();
    let show = ["grep", "NoNewPrivs", "/proc/self/status"];
    assert_eq!(c.exec_with(&["--no-new-privs"], &show).out().ok().text(), "NoNewPrivs:\t1");
    assert_eq!(c.exec(&show).ok().text(), "NoNewPrivs:\t0");
}

#[test]
fn cap_flags_add_up() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| config["process"]["capabilities"] = json!({})).up();
    let out = c.exec_with(&["--cap", "CAP_CHOWN", "-c", "CAP_KILL"], &["grep", "Cap", "/proc/self/status"]).out().ok();
    assert!(out.stdout.contains("CapEff:\t0000000000000021"), "{out:#?}");
    assert!(out.stdout.contains("CapInh:\t0000000000000000"), "{out:#?}");
}

/// As runc: a further capability takes none of the inheritable and ambient ones away, and becomes ambient where the
/// container has it as inheritable.
#[test]
fn cap_flags_keep_the_inheritable_and_ambient_sets() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        let process = &mut config["process"];
        process["noNewPrivileges"] = json!(true);
        process["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SYSLOG"], "effective": ["CAP_KILL"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_CHOWN", "CAP_SYSLOG"], "ambient": ["CAP_CHOWN"],
        });
    });
    let c = c.up();
    for (flags, sets) in [
        (&[][..], [("Inh", "400000001"), ("Prm", "21"), ("Bnd", "400000021"), ("Amb", "1")]),
        (
            &["--cap", "CAP_SYSLOG"],
            [("Inh", "400000001"), ("Prm", "400000021"), ("Bnd", "400000021"), ("Amb", "400000001")],
        ),
        (&["--cap", "CAP_NET_RAW"], [("Inh", "400000001"), ("Prm", "2021"), ("Bnd", "400002021"), ("Amb", "1")]),
    ] {
        let out = c.exec_with(flags, &["grep", "Cap", "/proc/self/status"]).out().ok();
        for (name, bits) in sets {
            assert!(out.stdout.contains(&format!("Cap{name}:\t{bits:0>16}")), "{name} {bits}: {out:#?}");
        }
    }
}

#[test]
fn ignore_paused_flag() {
    need_root!();
    let c = Container::running();
    c.verb("pause", &[]).out().ok();
    c.exec(&["true"]).fails().stderr_contains("paused");
    let file = c.sandbox.path("pid");
    let exec = c.exec_with(&["--ignore-paused", "--pid-file", file.to_str().unwrap()], &["sh", "-c", "exit 3"]).spawn();
    c.verb("resume", &[]).out().ok();
    exec.wait().exits(3);
}

#[test]
fn preserve_fds_flag() {
    need_root!();
    let c = Container::running();
    let file: OwnedFd = std::fs::File::open(c.sandbox.write("third", "third\n")).unwrap().into();
    let out = c.exec_with(&["--preserve-fds", "1"], &["sh", "-c", "cat <&3"]).inherit(file, 3).out().ok();
    assert_eq!(out.text(), "third");
    c.exec_with(&["--preserve-fds", "40"], &["true"]).out().fails();
}

#[test]
fn process_flag_takes_everything_from_the_file() {
    need_root!();
    let c = Container::running();
    let exec = c.exec_process(&[], |process| {
        process["args"] = json!([
            "sh",
            "-c",
            "pwd; echo $X; echo $(id -u):$(id -g):$(id -G); umask; ulimit -n; grep CapEff /proc/self/status"
        ]);
        process["cwd"] = json!("/tmp");
        process["env"] = json!(["PATH=/bin", "X=from-file"]);
        process["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [2000], "umask": 63 });
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 100, "hard": 100 }]);
        process["capabilities"] = json!({});
    });
    let out = exec.out().ok();
    assert_eq!(out.lines(), ["/tmp", "from-file", "1000:1000:1000 2000", "0077", "100", "CapEff:\t0000000000000000"]);
    for flag in ["--process", "-p"] {
        let file = c.sandbox.write(
            "p.json",
            json!({"args": ["sh", "-c", "exit 8"], "cwd": "/", "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0}})
            .to_string(),
        );
        c.croci(["exec", flag]).arg(file).arg(&c.id).out().exits(8);
    }
}

/// As runc: what the document is silent about is the container's.
#[test]
fn process_flag_takes_what_the_file_lacks_from_the_container() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        let process = &mut config["process"];
        let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
        process["capabilities"] = json!({ "bounding": caps, "effective": caps, "permitted": caps });
        process["oomScoreAdj"] = json!(123);
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 100 }]);
    });
    let c = c.up();
    let script = "grep -E 'Cap(Eff|Bnd)' /proc/self/status; cat /proc/self/oom_score_adj; ulimit -n";
    let run = |more: Value| {
        let mut document = json!({ "args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"] });
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let file = c.sandbox.write("silent.json", document.to_string());
        let out = c.croci(["exec", "--process"]).arg(file).arg(&c.id).out().ok();
        out.stdout.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let own = ["CapEff:", "0000000000000021", "CapBnd:", "0000000000000021", "123", "99"];
    assert_eq!(run(json!({})), own);
    let limit = json!([{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 50 }]);
    let named = run(json!({ "capabilities": {}, "oomScoreAdj": 7, "rlimits": limit }));
    assert_eq!(named, ["CapEff:", "0000000000000000", "CapBnd:", "0000000000000000", "7", "50"]);
}

#[test]
fn pr_18_exec_cpu_affinity() {
    need_root!();
    if !is_croci() {
        skip!("runc of this machine is older than execCPUAffinity");
    }
    let c = Container::running();
    let out = c.exec_process(&[], |process| {
        process["args"] = json!(["grep", "Cpus_allowed_list", "/proc/self/status"]);
        process["execCPUAffinity"] = json!({ "initial": "0", "final": "0" });
    });
    assert_eq!(out.out().ok().text(), "Cpus_allowed_list:\t0");
}

#[test]
fn exec_of_a_bad_process_document_is_one_line() {
    need_root!();
    let c = Container::running();
    for (text, error) in [
        ("", "process"),
        ("[]", "process"),
        ("{", "process"),
        (r#"{"args":[],"cwd":"/","user":{"uid":0,"gid":0}}"#, "args"),
        (r#"{"args":["true"],"cwd":"x","user":{"uid":0,"gid":0}}"#, "cwd"),
        (r#"{"args":["true"],"cwd":"/","user":{"uid":4294967295,"gid":0}}"#, "uid"),
        (
            r#"{"args":["true"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0},"rlimits":[{"type":"RLIMIT_X","soft":1,"hard":1}]}"#,
            "rlimit",
        ),
    ] {
        let file = c.sandbox.write("bad-process.json", text);
        c.croci(["exec", "--process"]).arg(&file).arg(&c.id).out().fails().one_line().stderr_contains(error);
    }
    c.croci(["exec", "--process", "/missing/file", &c.id]).out().fails().one_line().stderr_contains("/missing/file");
}

#[test]
fn exec_of_programs_that_cannot_run() {
    need_root!();
    let c = Container::running();
    let table = [
        ("missing-program", "executable file not found"),
        ("/missing/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ];
    for (program, text) in table {
        c.exec(&[program]).fails().one_line().stderr_contains("exec failed: ").stderr_contains(text);
        // callers derive 126 and 127 from the error of a detached exec, too
        c.exec_with(&["--detach"], &[program]).out().fails().one_line().stderr_contains(text);
    }
    c.exec(&["/etc"]).fails().one_line();
    assert_eq!(c.status(), "running");
}

#[test]
fn exec_needs_a_command() {
    need_root!();
    let c = Container::running();
    c.croci(["exec", &c.id]).out().fails();
    c.croci(["exec"]).out().fails();
}

#[test]
fn exec_flags_end_at_the_command() {
    need_root!();
    let c = Container::running();
    assert_eq!(c.exec(&["echo", "--user", "-x", "--", "--help"]).ok().text(), "--user -x -- --help");
}

#[test]
fn cgroup_flag_joins_a_sub_cgroup() {
    need_root!();
    let c = Container::running();
    let controller = if cgroup::is_v2() { "" } else { "pids" };
    let sub = cgroup::dir(controller, &c.cgroup()).join("sub");
    std::fs::create_dir(&sub).unwrap();
    let spec = if cgroup::is_v2() { "sub".to_owned() } else { "pids:sub".to_owned() };
    let file = c.sandbox.path("pid");
    c.exec_with(&["--cgroup", &spec, "-d", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"]).out().ok();
    let pid: i32 = std::fs::read_to_string(file).unwrap().parse().unwrap();
    assert!(cgroup::procs(&sub).contains(&pid), "{pid} is in {}", sub.display());
    c.exec_with(&["--cgroup", "missing-sub"], &["true"]).out().fails();
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn lsm_flags_without_the_lsm_are_errors() {
    need_root!();
    let c = Container::running();
    let lsm = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if !lsm.contains("apparmor") {
        c.exec_with(&["--apparmor", "some-profile"], &["true"]).out().fails().stderr_contains("apparmor");
    }
    if !lsm.contains("selinux") {
        c.exec_with(&["--process-label", "system_u:system_r:svirt_t:s0"], &["true"])
            .out()
            .fails()
            .stderr_contains("selinux");
    }
}

#[test]
fn pr_21_exec_runs_under_the_containers_seccomp_profile() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }]
        });
    });
    let c = c.up();
    c.exec(&["mkdir", "/tmp/x"]).exits(1).stderr_contains("not supported");
    assert_eq!(c.exec(&["grep", "Seccomp:", "/proc/self/status"]).ok().text(), "Seccomp:\t2");
}

#[test]
fn ft_20_exec_while_the_init_exits_neither_hangs_nor_panics() {
    need_root!();
    for round in 0..8 {
        let c = Container::running();
        let execs: Vec<_> = (0..4).map(|_| c.exec_with(&[], &["true"]).spawn()).collect();
        c.kill("KILL").ok();
        for exec in execs {
            exec.wait().no_panic();
        }
        let out = c.exec(&["true"]);
        assert!(out.code.is_some_and(|code| code != 0), "round {round}: {out:#?}");
        c.delete_force().ok();
    }
}

#[test]
fn an_exec_needs_room_for_one_process() {
    need_root!();
    if !cgroup::has_controller("pids") {
        skip!("no pids controller");
    }
    let c = Container::new(&["sleep", "1000"]);
    let c = c.edit(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 2 } })).up();
    c.exec(&["true"]).ok();
    c.exec_with(&["--detach"], &["sleep", "1000"]).out().ok();
    let controller = if cgroup::is_v2() { "" } else { "pids" };
    let dir = cgroup::dir(controller, &c.cgroup());
    assert_eq!(cgroup::procs(&dir).len(), 2);
    c.exec(&["true"]).fails().one_line().stderr_contains("pids limit");
    // a container that joins the pid namespace of another needs no more either
    let member = Container::within(&c.sandbox, &["sleep", "1000"]).edit(|config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 1 } });
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "pid");
        list.push(json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", c.pid()) }));
    });
    let member = member.up();
    assert_eq!(cgroup::procs(&cgroup::dir(controller, &member.cgroup())), [member.pid()]);
    member.delete_force().ok();
    c.delete_force().ok();
    c.nothing_left();
}
