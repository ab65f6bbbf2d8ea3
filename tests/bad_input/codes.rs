//! The errors of provoked failures: one line, the cause with its field, the code, the status, what to do, and nothing
//! is left. `codes_of_verbs` has the failures of verbs.

use crate::HostState;
use crate::edit::*;
use test_support::*;

/// The output and the log of a failure.
pub(crate) struct Told {
    pub(crate) out: Out,
    pub(crate) record: Value,
}

impl Told {
    /// Runs `verb` with a JSON log; the command is made by `of` from the flags before the verb.
    pub(crate) fn by(sandbox: &Sandbox, of: impl FnOnce(&[&str]) -> Cmd) -> Told {
        let log = sandbox.path(&format!("log-{}", sandbox.id()));
        let out = of(&["--log", log.to_str().unwrap(), "--log-format", "json"]).out().no_panic();
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        Told { record: text.lines().last().map_or(Value::Null, |last| serde_json::from_str(last).unwrap()), out }
    }

    /// Checks the line, the code, the field (empty: any), and that it has what to do.
    pub(crate) fn check(&self, code: &str, field: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{what}: {} {}", self.out.stderr.trim(), self.record));
        let lines: Vec<&str> = self.out.stderr.lines().collect();
        let of_usage = code.starts_with("usage.");
        if lines.len() != 1 && !of_usage {
            return wrong("not one line");
        }
        let line = lines.first().copied().unwrap_or_default();
        if !line.starts_with("croci: error: ") || !line.ends_with(&format!(" [{code}]")) {
            return wrong(&format!("not the line of {code}"));
        }
        if self.record["code"] != code || self.record["level"] != "error" {
            return wrong(&format!("not the record of {code}"));
        }
        if !field.is_empty() && self.record["field"] != field {
            return wrong(&format!("not the field {field}"));
        }
        let message = self.record["msg"].as_str().unwrap_or_default();
        if !line.contains(message) {
            return wrong("line and record differ");
        }
        // the words by which a message without a hint has what must be done
        const ADVICE: &[&str] = &[
            "(",
            "must ",
            "expected ",
            "is required",
            "out of range",
            "needs ",
            "at most",
            "at least",
            "exactly",
            "is not ",
            "not a",
            "is above",
            "is below",
            "is empty",
            "twice",
            "beyond",
            "contains ",
            "cannot ",
            "allows nothing",
            "is the root",
            "not one line",
            "is neither",
            "is inside",
            "overlaps",
            "instead",
            "requires ",
            "is 0",
            "exclude",
        ];
        if self.record["hint"].is_null() && !ADVICE.iter().any(|words| message.contains(words)) {
            return wrong("nothing is said about what to do");
        }
        Ok(())
    }
}

/// A case: a change of the configuration, the code and the field.
type Case = (Change, &'static str, &'static str);

/// Checks that `create` fails as each case demands and changes nothing; fails with a list of all that do not.
#[track_caller]
fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (change, code, field) in cases {
        let c = Container::new(&["true"]).edit(change);
        c.write_config();
        let before = HostState::of(&c);
        let told = Told::by(&c.sandbox, |log| {
            c.croci(log.iter().copied().chain(["create", "--bundle"])).arg(&c.bundle).arg(&c.id)
        });
        let verdict = told.check(code, field);
        let status = if told.out.code == Some(1) { Ok(()) } else { Err(format!("status {:?}", told.out.code)) };
        wrong.extend(verdict.and(status).err());
        if told.out.code == Some(0) {
            c.delete_force().ok();
        }
        before.unchanged();
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
}

#[test]
fn values_of_the_configuration() {
    need_root!();
    check(&[
        (|c| drop(c.as_object_mut().unwrap().remove("ociVersion")), "config.version", "ociVersion"),
        (|c| set(c, "/ociVersion", json!("9.0.0")), "config.version", "ociVersion"),
        (|c| drop(c.as_object_mut().unwrap().remove("root")), "config.required", "root"),
        (|c| set(c, "/root/path", json!("nowhere")), "rootfs.missing", "root.path"),
        (|c| set(c, "/root/path", json!(7)), "config.type", "root.path"),
        (|c| set(c, "/hostname", json!("h".repeat(65))), "config.invalid", "hostname"),
        (|c| set(c, "/annotations", json!({ "a": 1 })), "config.type", "annotations.a"),
        (|c| set(c, "/process/args", json!([])), "config.invalid", "process.args"),
        (|c| drop(c["process"].as_object_mut().unwrap().remove("args")), "config.required", "process.args"),
        (|c| set(c, "/process/args", json!([""])), "exec.not_found", "process.args[0]"),
        (|c| set(c, "/process/cwd", json!("tmp")), "process.cwd", "process.cwd"),
        (|c| set(c, "/process/env", json!(["JUST_A_NAME"])), "config.invalid", "process.env[0]"),
        (|c| set(c, "/process/user/uid", json!(-1)), "process.user", "process.user.uid"),
        (
            |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_CROE", "soft": 0, "hard": 0}])),
            "config.unknown_value",
            "process.rlimits[0].type",
        ),
        (|c| set(c, "/process/oomScoreAdj", json!(1001)), "config.invalid", "process.oomScoreAdj"),
        (
            |c| set(c, "/process/scheduler", json!({"policy": "SCHED_X"})),
            "config.unknown_value",
            "process.scheduler.policy",
        ),
        (|c| set(c, "/process/ioPriority", json!({"class": "X"})), "config.unknown_value", "process.ioPriority.class"),
        (|c| set(c, "/process/selinuxLabel", json!("u:r:t:s0")), "lsm.failed", "process.selinuxLabel"),
    ]);
}

/// Mounts that the kernel or the root file system refuses.
#[test]
fn mounts() {
    need_root!();
    check(&[
        (
            |c| mount(c, json!({"destination": "/etc/passwd", "source": "/etc", "options": ["bind"]})),
            "mount.destination",
            "",
        ),
        (
            |c| mount(c, json!({"destination": "/etc/passwd/x", "type": "tmpfs", "source": "tmpfs"})),
            "mount.destination",
            "",
        ),
        (
            |c| mount(c, json!({"destination": "/a", "source": "/no/such/source", "options": ["bind"]})),
            "mount.source_missing",
            "",
        ),
        (|c| mount(c, json!({"destination": "/a", "type": "frobfs", "source": "x"})), "mount.unknown_fs", ""),
        (
            |c| mount(c, json!({"destination": "/a", "type": "tmpfs", "source": "x", "options": ["sizes=1m"]})),
            "mount.options",
            "",
        ),
    ]);
}

/// Seccomp filters that refuse what init itself needs, at once or by ending it.
#[test]
fn filters_under_which_nothing_starts() {
    fn filter(config: &mut Value, name: &str, action: &str) {
        let rules = json!([{"names": [name], "action": action}]);
        set(config, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        set(config, "/process/noNewPrivileges", json!(false));
    }
    need_root!();
    check(&[
        (|c| filter(c, "read", "SCMP_ACT_ERRNO"), "seccomp.exec", "linux.seccomp"),
        (|c| filter(c, "write", "SCMP_ACT_KILL_PROCESS"), "seccomp.exec", "linux.seccomp"),
        (|c| filter(c, "execve", "SCMP_ACT_ERRNO"), "seccomp.exec", "linux.seccomp"),
        (|c| filter(c, "setresuid", "SCMP_ACT_ERRNO"), "seccomp.exec", "linux.seccomp"),
        (|c| filter(c, "setresgid", "SCMP_ACT_KILL_PROCESS"), "seccomp.exec", "linux.seccomp"),
    ]);
}

/// Files that cannot be made in the root file system.
#[test]
fn paths_in_the_root() {
    need_root!();
    check(&[(
        |c| set(c, "/linux/devices", json!([{"path": "/etc/passwd/x", "type": "c", "major": 1, "minor": 3}])),
        "device.failed",
        "linux.devices[0]",
    )]);
}

#[test]
fn values_of_linux() {
    need_root!();
    check(&[
        (|c| push_ns(c, json!({"type": "netwrok"})), "config.unknown_value", "linux.namespaces[6].type"),
        (|c| push_ns(c, json!({"type": "network"})), "config.invalid", ""),
        (|c| replace_ns(c, json!({"type": "network", "path": "/no/such/ns"})), "namespace.join", ""),
        (|c| replace_ns(c, json!({"type": "network", "path": "/etc/passwd"})), "namespace.join", ""),
        (
            |c| maps(c, json!([{"containerID": 0, "hostID": 100_000, "size": 0}])),
            "config.invalid",
            "linux.uidMappings[0].size",
        ),
        (
            |c| set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALOW"})),
            "config.unknown_value",
            "linux.seccomp.defaultAction",
        ),
        (
            |c| set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOTIFY"})),
            "seccomp.invalid",
            "linux.seccomp.defaultAction",
        ),
        (
            |c| {
                set(
                    c,
                    "/linux/seccomp",
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_46"]}),
                )
            },
            "config.unknown_value",
            "linux.seccomp.architectures[0]",
        ),
        (|c| set(c, "/linux/rootfsPropagation", json!("shard")), "config.unknown_value", "linux.rootfsPropagation"),
        (
            |c| set(c, "/linux/personality", json!({"domain": "BSD"})),
            "config.unknown_value",
            "linux.personality.domain",
        ),
        // no process could report it: such a filter forbids the report and the exit too
        (|c| set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO"})), "seccomp.exec", "linux.seccomp"),
        (|c| set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_KILL"})), "seccomp.exec", "linux.seccomp"),
        (
            |c| {
                let rule = json!({"names": ["execve"], "action": "SCMP_ACT_TRAP"});
                set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
            },
            "seccomp.exec",
            "linux.seccomp",
        ),
        (|c| set(c, "/linux/maskedPaths", json!(["proc/kcore"])), "config.invalid", "linux.maskedPaths[0]"),
        (|c| set(c, "/linux/netDevices", json!({"nosuchdev0": {}})), "network.device", ""),
        (
            |c| set(c, "/linux/sysctl", json!({"kernel.core_pattern": current("kernel/core_pattern")})),
            "config.invalid",
            "",
        ),
        (|c| set(c, "/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"})), "sysctl.failed", ""),
    ]);
}

#[test]
fn values_of_resources() {
    need_root!();
    check(&[
        (|c| resources(c, json!({"memory": {"swap": 67_108_864}})), "config.required", "linux.resources.memory.swap"),
        (|c| resources(c, json!({"memory": {"limit": "64m"}})), "config.type", "linux.resources.memory.limit"),
        (
            |c| resources(c, json!({"cpu": {"period": 1, "quota": 1000}})),
            "config.invalid",
            "linux.resources.cpu.period",
        ),
        (|c| resources(c, json!({"cpu": {"cpus": "zero"}})), "config.type", "linux.resources.cpu.cpus"),
        (|c| resources(c, json!({"cpu": {"cpus": "4000"}})), "cgroup.value", "linux.resources.cpu.cpus"),
        (
            |c| resources(c, json!({"devices": [{"allow": true, "access": "xyz"}]})),
            "config.unknown_value",
            "linux.resources.devices[0].access",
        ),
        (|c| resources(c, json!({"unified": {"nosuchcontroller.max": "1"}})), "cgroup.controller", ""),
        (|c| set(c, "/linux/cgroupsPath", json!("/../../x")), "config.invalid", "linux.cgroupsPath"),
    ]);
}

#[test]
fn mounts_devices_and_hooks() {
    need_root!();
    check(&[
        (
            |c| mount(c, json!({"destination": "/a", "source": "/no/such/source", "options": ["bind"]})),
            "mount.source_missing",
            "",
        ),
        (|c| mount(c, json!({"destination": "/a", "type": "nosuchfs", "source": "x"})), "mount.unknown_fs", ""),
        (|c| mount(c, json!({"destination": "/a", "type": "tmpfs", "options": ["nosuchoption"]})), "mount.options", ""),
        (
            |c| mount(c, json!({"destination": "/a", "source": "/etc", "options": ["bind", "noexce"]})),
            "mount.options",
            "",
        ),
        (|c| mount(c, json!({"destination": "/a", "options": ["bind"]})), "config.required", "mounts[0].source"),
        (|c| mount(c, json!({"destination": "", "type": "tmpfs"})), "mount.destination", "mounts[0].destination"),
        (|c| mount(c, json!({"type": "tmpfs"})), "config.required", "mounts[0].destination"),
        (|c| mount(c, json!({"destination": "/proc/self", "type": "tmpfs"})), "mount.destination", ""),
        (|c| mount(c, json!({"destination": "/", "type": "tmpfs"})), "mount.destination", ""),
        (
            |c| mount(c, json!({"destination": "/a", "type": "tmpfs", "options": "ro"})),
            "config.type",
            "mounts[0].options",
        ),
        (
            |c| device(c, json!({"path": "/dev/x", "type": "z", "major": 1, "minor": 3})),
            "config.unknown_value",
            "linux.devices[0].type",
        ),
        (|c| device(c, json!({"type": "c", "major": 1, "minor": 3})), "config.required", "linux.devices[0].path"),
        (|c| hook(c, "prestart", json!({"path": "bin/true"})), "config.invalid", "hooks.prestart[0].path"),
        (|c| hook(c, "prestart", json!({"args": ["x"]})), "config.required", "hooks.prestart[0].path"),
        (
            |c| hook(c, "prestart", json!({"path": "/bin/true", "timeout": 0})),
            "config.invalid",
            "hooks.prestart[0].timeout",
        ),
        (|c| hook(c, "prestart", json!({"path": "/no/such/hook"})), "hook.missing", ""),
        (|c| hook(c, "createRuntime", json!({"path": "/etc/passwd"})), "hook.missing", ""),
        (|c| hook(c, "createRuntime", json!({"path": "/bin/false"})), "hook.failed", ""),
        (
            |c| hook(c, "prestart", json!({"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1})),
            "hook.timeout",
            "",
        ),
    ]);
}

#[test]
fn the_program() {
    need_root!();
    check(&[
        (|c| set(c, "/process/args", json!(["no-such-program"])), "exec.not_found", ""),
        (|c| set(c, "/process/args", json!(["/no/such/program"])), "exec.not_found", ""),
        (|c| set(c, "/process/args", json!(["/etc/passwd"])), "exec.denied", ""),
        (|c| set(c, "/process/args", json!(["/etc"])), "exec.directory", ""),
        (|c| set(c, "/process/cwd", json!("/etc/passwd")), "process.cwd", ""),
        (
            |c| set(c, "/process/capabilities", json!({"ambient": "CAP_CHOWN"})),
            "config.type",
            "process.capabilities.ambient",
        ),
        (
            |c| set(c, "/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 4}])),
            "config.invalid",
            "",
        ),
        (|c| set(c, "/process/terminal", json!(true)), "terminal.missing", ""),
    ]);
}

/// What `run` adds on standard error when the program has failed for a reason that croci knows.
#[test]
fn a_foreground_run_tells_why_its_program_ended() {
    need_root!();
    let c = Container::sh("for i in 1 2 3 4 5 6; do sleep 1 & done; wait; exit 3").edit(|config| {
        config["linux"]["resources"]["pids"] = json!({"limit": 3});
    });
    let out = c.run().no_panic();
    assert_ne!(out.code, Some(0));
    let line = out.stderr.lines().last().unwrap_or_default();
    assert!(
        line.starts_with("croci: error: linux.resources.pids.limit: ") && line.contains("the limit of 3 was"),
        "{line}"
    );
    assert!(line.ends_with(" [cgroup.pids_limit]"), "{line}");
    let c = Container::within(&c.sandbox, &["mkdir", "/x"]).edit(|config| {
        let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"});
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    });
    let out = c.run().no_panic().one_line();
    assert_eq!(out.code, Some(128 + libc::SIGSYS));
    assert!(
        out.stderr.contains("linux.seccomp: killed by SIGSYS") && out.stderr.contains("[seccomp.killed]"),
        "{out:?}"
    );
    // as seccomp, but nothing is configured
    let plain = Container::within(&c.sandbox, &["sh", "-c", "kill -SYS $$; exec sleep 0"]);
    assert_eq!(plain.run().no_panic().stderr, "");
    c.nothing_left();
}

/// The words of refusals whose errno alone misleads.
#[test]
fn refusals_name_their_cause() {
    need_root!();
    let c = Container::new(&["/script"]);
    std::fs::write(c.file("/script"), "#!/bin/sh\n").unwrap();
    c.run().fails().one_line().stderr_contains("mode 0644 of user 0 and group 0: permission denied");
    let c = Container::within(&c.sandbox, &["true"]).edit(|config| {
        maps(config, json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]));
        mount(config, json!({"destination": "/a", "type": "ext4", "source": "/dev/loop0"}));
    });
    // its mount point cannot be made by the mapped root
    std::fs::create_dir(c.file("/a")).unwrap();
    c.run().fails().one_line().stderr_contains("\"ext4\" cannot be mounted in a user namespace");
    c.nothing_left();
}
