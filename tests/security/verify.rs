//! The self-check (class 15): croci compares the kernel's state of a container with the configuration, before the
//! program runs and by `state --verify`; a difference is an error that names it.

use test_support::*;

/// Returns a filter that allows all system calls, but lets those of `names` return 0 without executing them.
fn pretending(names: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 0 }]
    })
}

/// Returns the calls that a filter does not execute, the process that needs them, and the field that is then not as
/// configured.
fn pretences() -> Vec<(&'static [&'static str], Value, &'static str)> {
    let user = |uid: u32, gid: u32, groups: &[u32]| json!({ "uid": uid, "gid": gid, "additionalGids": groups });
    let few = json!({ "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": [], "inheritable": ["CAP_CHOWN"],
                      "ambient": ["CAP_CHOWN"] });
    let none = json!({});
    vec![
        (&["setresuid"], json!({ "user": user(1000, 1000, &[]), "capabilities": none }), "process.user.uid"),
        (&["setresgid"], json!({ "user": user(0, 1000, &[]), "capabilities": none }), "process.user.gid"),
        (&["setgroups"], json!({ "user": user(0, 0, &[1234]), "capabilities": none }), "process.user.additionalGids"),
        (&["capset"], json!({ "user": user(0, 0, &[]), "capabilities": none }), "process.capabilities.permitted"),
        (&["prctl"], json!({ "user": user(0, 0, &[]), "capabilities": few }), "process.capabilities.ambient"),
        (
            &["setresuid", "setresgid", "setgroups", "capset", "prctl"],
            json!({ "user": user(1000, 1000, &[5]), "capabilities": none }),
            "process.user.uid",
        ),
    ]
}

fn change(process: &mut Value, changes: &Value) {
    for (key, value) in changes.as_object().unwrap() {
        process[key] = value.clone();
    }
    process["noNewPrivileges"] = json!(false); // else the filter is loaded after the ids are set
}

/// Creates a container with such a filter, whose program creates a file in a world-writable directory.
fn marking(names: &[&str], process: &Value) -> Container {
    let c = Container::sh("echo ran > /mark/it; id").edit(|config| {
        change(&mut config["process"], process);
        config["linux"]["seccomp"] = pretending(names);
    });
    let dir = c.sandbox.mkdir("mark");
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    c.mount(bundle::bind(&dir, "/mark", &[]))
}

#[test]
fn a_filter_that_pretends_does_not_keep_the_ids_of_root() {
    need_root!();
    for (names, process, field) in pretences() {
        let c = marking(names, &process);
        let mark = c.sandbox.path("mark/it");
        c.run().fails().one_line().stderr_contains("self-check").stderr_contains(field);
        c.create().fails().one_line().stderr_contains("self-check").stderr_contains(field);
        c.nothing_left();
        assert!(!mark.exists(), "{names:?}: the program ran");
        // the container runs without the check, so the check is what stopped it
        let out = c.run_with(&["--no-verify"]).out().ok();
        assert!(mark.exists(), "{names:?}: {out:?}");
    }
}

#[test]
fn a_filter_that_swallows_what_init_reports_is_an_error_and_no_hang() {
    need_root!();
    let c = marking(&["write"], &json!({}));
    c.run_with(&[]).limit(std::time::Duration::from_secs(10)).out().fails().one_line();
    c.nothing_left();
    assert!(!c.sandbox.path("mark/it").exists(), "the program ran");
}

#[test]
fn nor_in_an_exec() {
    need_root!();
    for (names, process, field) in pretences() {
        // with no_new_privs all is set before the filter is loaded: the container is as configured
        let c = marking(names, &json!({})).edit(|config| {
            config["process"]["noNewPrivileges"] = json!(true);
            config["process"]["args"] = json!(["sleep", "1000"]);
            let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = json!(all);
            }
        });
        let c = c.up();
        let mark = c.sandbox.path("mark/it");
        let exec = |flags: &[&str]| {
            c.exec_process(flags, |document| {
                change(document, &process);
                document["args"] = json!(["sh", "-c", "echo ran > /mark/it"]);
            })
        };
        exec(&[]).out().fails().one_line().stderr_contains("self-check").stderr_contains(field);
        exec(&["--detach"]).out().fails().stderr_contains("self-check").stderr_contains(field);
        assert!(!mark.exists(), "{names:?}: the program ran");
        exec(&["--no-verify"]).out().ok();
        assert!(mark.exists(), "{names:?}");
        assert_eq!(c.status(), "running");
    }
}

/// Runs the runtime under strace(1), which lets system calls return 0 without executing them. Returns `None` where
/// strace is not installed.
fn faked(c: &Container, calls: &str, words: &[&str]) -> Option<Out> {
    std::process::Command::new("strace").arg("-V").output().ok().filter(|out| out.status.success())?;
    c.write_config();
    let log = c.sandbox.path("strace.out");
    let strace =
        c.sandbox.program("strace").args(["-f", "-qq", "-o"]).arg(&log).arg("-e").arg(format!("trace={calls}"));
    let strace = strace.arg("-e").arg(format!("inject={calls}:retval=0")).arg(runtime());
    let out = strace.arg("--root").arg(&c.sandbox.root).args(words).out();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("INJECTED"), "no call of {calls} was faked: {text}");
    Some(out)
}

#[test]
fn a_call_without_effect_is_found_before_the_program_runs() {
    need_root!();
    let seccomp = |config: &mut Value| config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    let tree = |config: &mut Value| {
        config["linux"]["readonlyPaths"] = json!([]);
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] == "/proc");
        bundle::add_mount(
            config,
            json!({ "destination": "/t", "source": "/etc", "type": "bind", "options": ["rbind", "rro"] }),
        );
    };
    let root = |config: &mut Value| {
        config["root"]["readonly"] = json!(true);
        config["linux"]["readonlyPaths"] = json!([]);
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["options"].as_array().is_none());
    };
    let plain = |_: &mut Value| {};
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Edit<'_>, &str); 5] = [
        ("mount_setattr", &plain, "linux.readonlyPaths[0]"),
        ("mount_setattr", &tree, "destination \"/t\" is rw, not ro"),
        ("mount_setattr", &root, "root.readonly is rw, not ro"),
        ("unshare", &plain, "linux.namespaces: cgroup"),
        ("seccomp", &seccomp, "linux.seccomp: Seccomp is 0"),
    ];
    for (call, edit, field) in cases {
        let c = Container::sh("echo ran").edit(edit);
        let words = ["run", "--bundle", c.bundle.to_str().unwrap(), &c.id];
        let Some(out) = faked(&c, call, &words) else { skip!("needs strace") };
        assert!(!out.stdout.contains("ran"), "{call}: the program ran: {out:?}");
        let out = out.fails();
        // below a shared root the call that makes all mounts slaves fails first
        if call != "mount_setattr" || !out.stderr.contains("pivot_root") {
            out.stderr_contains("self-check").stderr_contains(field);
        }
        c.nothing_left();
        c.run().ok();
    }
}

#[test]
fn a_masked_path_that_is_not_covered_is_seen() {
    need_root!();
    let mut seen = 0;
    // in each round another mount is not created
    for number in 1..40 {
        let c = Container::sh("echo ran; cat /secret").edit(|config| {
            config["linux"]["maskedPaths"] = json!(["/secret", "/hidden", "/proc/keys"]);
            config["linux"]["readonlyPaths"] = json!([]);
        });
        std::fs::write(c.file("/secret"), "secret-content\n").unwrap();
        std::fs::create_dir(c.file("/hidden")).unwrap();
        std::fs::write(c.file("/hidden/file"), "").unwrap();
        c.write_config();
        let log = c.sandbox.path("strace.out");
        let strace = c.sandbox.program("strace").args(["-f", "-qq", "-e", "trace=move_mount", "-o"]).arg(&log);
        let strace = strace.arg("-e").arg(format!("inject=move_mount:retval=0:when={number}")).arg(runtime());
        if std::process::Command::new("strace").arg("-V").output().is_err() {
            skip!("needs strace");
        }
        let out = strace.arg("--root").arg(&c.sandbox.root).args(["run", "--bundle"]).arg(&c.bundle).arg(&c.id).out();
        assert!(!out.stdout.contains("secret-content"), "mount {number}: {out:?}");
        if !std::fs::read_to_string(&log).unwrap().contains("INJECTED") {
            out.ok();
            break;
        }
        // by the self-check; below many mounts of the host the second mask may fail before, without the first
        seen += usize::from(out.stderr.contains("linux.maskedPaths"));
    }
    assert!(seen >= 3, "each of the three masks, not {seen}");
}

#[test]
fn an_exec_that_is_not_in_the_containers_namespaces_is_seen() {
    need_root!();
    let c = Container::running();
    let Some(out) = faked(&c, "setns", &["exec", &c.id, "echo", "ran"]) else { skip!("needs strace") };
    assert!(!out.stdout.contains("ran"), "{out:?}");
    out.fails().stderr_contains("self-check: linux.namespaces");
    c.exec(&["true"]).ok();
}

/// Returns the document of `state --verify`, and checks its exit status.
fn verified(c: &Container, code: i32) -> Value {
    c.verb("state", &["--verify"]).out().exits(code).json()
}

/// Returns the names of the checks that show a difference.
fn different(report: &Value) -> Vec<&str> {
    let wrong = report["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == json!(false));
    wrong.map(|check| check["name"].as_str().unwrap()).collect()
}

fn named<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {report}"))
}

#[test]
fn state_verify_of_a_container_as_it_should_be() {
    need_root!();
    for userns in [false, true] {
        let c = Container::new(&["sleep", "1000"]).edit(|config| {
            if userns {
                bundle::with_userns(config);
            }
            config["root"]["readonly"] = json!(true);
            config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        });
        if userns {
            for path in host::snapshot(&c.rootfs).into_keys().filter(|path| path.is_dir() && !path.is_symlink()) {
                std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).unwrap();
            }
        }
        c.create().ok();
        let report = verified(&c, 0);
        assert_eq!((report["ok"].as_bool(), report["status"].as_str()), (Some(true), Some("created")));
        c.start().ok();
        let report = verified(&c, 0);
        assert_eq!((&report["id"], &report["ok"]), (&json!(c.id), &json!(true)));
        let unsure = report["checks"].as_array().unwrap().iter().filter(|check| check["ok"] != json!(true));
        assert_eq!(unsure.collect::<Vec<_>>(), Vec::<&Value>::new(), "userns {userns}");
        for name in [
            "process.user.uid",
            "process.capabilities.bounding",
            "linux.seccomp",
            "linux.namespaces: pid",
            "root.readonly",
            "linux.maskedPaths[1]: \"/proc/keys\"",
            "linux.readonlyPaths[3]: \"/proc/sys\"",
            "mounts[5]: destination \"/sys\"",
        ] {
            assert_eq!(named(&report, name)["ok"], json!(true), "{report}");
        }
        assert!(report.to_string().contains("linux.cgroupsPath"), "{report}");
    }
    let c = Container::new(&["true"]);
    c.create().ok();
    c.start().ok();
    c.wait_status("stopped");
    c.verb("state", &["--verify"]).out().fails().one_line().stderr_contains("not running");
}

#[test]
fn capabilities_that_the_program_changed_are_a_note_and_no_difference() {
    need_root!();
    let c = Container::running();
    assert_eq!(named(&verified(&c, 0), "process.capabilities.effective").get("note"), None);
    let d = Container::new(&["sleep", "1000"]);
    let d = d.edit(|config| config["process"]["capabilities"]["effective"] = json!([])).up();
    // an execve by root raises the set to the bounding set, not above it
    let report = verified(&d, 0);
    let effective = named(&report, "process.capabilities.effective");
    assert_ne!(effective["actual"], effective["expected"], "{report}");
    assert_eq!((&effective["ok"], &effective["note"]), (&json!(true), &json!("changed by the program")));
}

#[test]
fn state_verify_names_what_was_changed_from_outside() {
    need_root!();
    let tampered: [(&[&str], &str); 4] = [
        (&["umount", "/proc/keys"], "linux.maskedPaths[1]: \"/proc/keys\""),
        (&["umount", "/sys/firmware"], "linux.maskedPaths[6]: \"/sys/firmware\""),
        (&["mount", "-o", "remount,rw,bind", "/proc/sys"], "linux.readonlyPaths[3]: \"/proc/sys\""),
        (&["mount", "-o", "remount,rw,bind", "/"], "root.readonly"),
    ];
    for (words, name) in tampered {
        let c = readonly();
        verified(&c, 0);
        let enter = c.sandbox.program("nsenter").args(["-t", &c.pid().to_string(), "-m", "-p", "-r", "-w", "--"]);
        enter.arg("/bin/busybox").args(words).out().ok();
        let report = verified(&c, 1);
        assert_eq!((different(&report), &report["ok"]), (vec![name], &json!(false)), "{report}");
    }
    let c = Container::running();
    for top in cgroup::hierarchies() {
        std::fs::write(top.join("cgroup.procs"), c.pid().to_string()).unwrap();
    }
    let report = verified(&c, 1);
    let names = different(&report);
    assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("linux.cgroupsPath")), "{report}");
    assert_eq!(names.len(), cgroup::hierarchies().len());
    // lets the container be deleted
    c.kill("KILL").ok();
}

/// Creates a container that joins the uts namespace of `holder`.
fn joining(holder: &Container, script: &str) -> Container {
    let path = format!("/proc/{}/ns/uts", holder.pid());
    let c = Container::within(&holder.sandbox, &["sh", "-c", script]);
    let c = c.edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "uts");
        list.push(json!({ "type": "uts", "path": path }));
        config.as_object_mut().unwrap().remove("hostname");
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
        }
    });
    c.up()
}

#[test]
fn a_joined_namespace_is_compared_with_that_of_its_path() {
    need_root!();
    let holder = Container::running();
    let stays = joining(&holder, "exec sleep 1000");
    assert_eq!(named(&verified(&stays, 0), "linux.namespaces: uts")["ok"], json!(true));
    let leaves = joining(&holder, "exec /bin/busybox unshare -u sleep 1000");
    wait_for("it leaves", || !Container::same_ns(leaves.pid(), holder.pid(), "uts"));
    assert_eq!(different(&verified(&leaves, 1)), ["linux.namespaces: uts"]);
    // the path no longer exists, but the namespace was recorded
    holder.delete_force().ok();
    assert_eq!(named(&verified(&stays, 0), "linux.namespaces: uts")["ok"], json!(true));
}

/// Starts a container with a read-only root.
fn readonly() -> Container {
    Container::new(&["sleep", "1000"]).edit(|config| config["root"]["readonly"] = json!(true)).up()
}
