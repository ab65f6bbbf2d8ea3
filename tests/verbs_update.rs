//! `update`, `events` and the limits given at create: the values of the cgroup files afterwards, v1 and v2 (part 22).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

const MIB: u64 = 1 << 20;

/// The files of a limit: controller, file of v1, file of v2.
struct File(&'static str, &'static str, &'static str);

const MEMORY: File = File("memory", "memory.limit_in_bytes", "memory.max");
const SWAP: File = File("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
const RESERVATION: File = File("memory", "memory.soft_limit_in_bytes", "memory.low");
const SHARES: File = File("cpu", "cpu.shares", "cpu.weight");
const QUOTA: File = File("cpu", "cpu.cfs_quota_us", "cpu.max");
const PERIOD: File = File("cpu", "cpu.cfs_period_us", "cpu.max");
const BURST: File = File("cpu", "cpu.cfs_burst_us", "cpu.max.burst");
const IDLE: File = File("cpu", "cpu.idle", "cpu.idle");
const PIDS: File = File("pids", "pids.max", "pids.max");
const CPUS: File = File("cpuset", "cpuset.cpus", "cpuset.cpus");
const MEMS: File = File("cpuset", "cpuset.mems", "cpuset.mems");
const RT_RUNTIME: File = File("cpu", "cpu.rt_runtime_us", "-");
const BLKIO: File = File("blkio", "blkio.bfq.weight", "io.bfq.weight");

impl File {
    fn read(&self, pid: i32) -> Option<String> {
        cgroup::read(pid, self.0, self.1, self.2)
    }

    #[track_caller]
    fn is(&self, pid: i32, v1: &str, v2: &str) {
        let want = if cgroup::is_v2() { v2 } else { v1 };
        assert_eq!(self.read(pid).as_deref(), Some(want), "{} or {}", self.1, self.2);
    }
}

#[track_caller]
fn limits(change: Value) -> Container {
    Container::new(&["sleep", "1000"]).edit(|config| config["linux"]["resources"] = change).up()
}

#[test]
fn me_1_memory_flags() {
    need_root!();
    let c = limits(json!({ "memory": { "limit": 64 * MIB } }));
    let pid = c.pid();
    MEMORY.is(pid, "67108864", "67108864");
    c.verb("update", &["--memory", "33554432"]).out().ok();
    MEMORY.is(pid, "33554432", "33554432");
    c.verb("update", &["--memory-reservation", "16777216"]).out().ok();
    RESERVATION.is(pid, "16777216", "16777216");
    if SWAP.read(pid).is_some() {
        c.verb("update", &["--memory", "33554432", "--memory-swap", "67108864"]).out().ok();
        SWAP.is(pid, "67108864", "33554432");
        // raising both needs the right order of writes on v1, because memsw must never be below the limit
        c.verb("update", &["--memory", "134217728", "--memory-swap", "268435456"]).out().ok();
        MEMORY.is(pid, "134217728", "134217728");
        SWAP.is(pid, "268435456", "134217728");
        c.verb("update", &["--memory", "33554432", "--memory-swap", "33554432"]).out().ok();
        SWAP.is(pid, "33554432", "0");
    }
    c.verb("update", &["--memory", "-1", "--memory-swap", "-1"]).out().ok();
    MEMORY.is(pid, "9223372036854771712", "max");
}

#[test]
fn sizes_take_suffixes() {
    need_root!();
    if !is_croci() {
        skip!("runc of this machine takes other suffixes");
    }
    let c = limits(json!({}));
    for (size, bytes) in [("32m", "33554432"), ("40960k", "41943040"), ("1g", "1073741824"), ("64M", "67108864")] {
        c.verb("update", &["--memory", size]).out().ok();
        MEMORY.is(c.pid(), bytes, bytes);
    }
}

#[test]
fn cp_cpu_flags() {
    need_root!();
    let c = limits(json!({}));
    let pid = c.pid();
    c.verb("update", &["--cpu-share", "512"]).out().ok();
    SHARES.is(pid, "512", "59");
    c.verb("update", &["--cpu-period", "100000", "--cpu-quota", "50000"]).out().ok();
    QUOTA.is(pid, "50000", "50000 100000");
    PERIOD.is(pid, "100000", "50000 100000");
    c.verb("update", &["--cpu-quota", "-1"]).out().ok();
    QUOTA.is(pid, "-1", "max 100000");
    for (flags, period) in [
        (["--cpu-period", "10000", "--cpu-quota", "3000"], "10000"),
        (["--cpu-period", "500000", "--cpu-quota", "4000"], "500000"),
    ] {
        c.verb("update", &flags).out().ok();
        QUOTA.is(pid, flags[3], &format!("{} {period}", flags[3]));
        PERIOD.is(pid, period, &format!("{} {period}", flags[3]));
    }
}

#[test]
fn cp_5_idle_and_burst_flags() {
    need_root!();
    if !is_croci() {
        skip!("runc of this machine is older than --cpu-burst");
    }
    let c = limits(json!({}));
    let pid = c.pid();
    if BURST.read(pid).is_some() {
        c.verb("update", &["--cpu-period", "100000", "--cpu-quota", "50000", "--cpu-burst", "20000"]).out().ok();
        BURST.is(pid, "20000", "20000");
    }
    if IDLE.read(pid).is_some() {
        c.verb("update", &["--cpu-idle", "1"]).out().ok();
        IDLE.is(pid, "1", "1");
        c.verb("update", &["--cpu-idle", "0"]).out().ok();
        IDLE.is(pid, "0", "0");
    }
}

#[test]
fn cp_3_real_time_flags() {
    need_root!();
    let c = limits(json!({}));
    if RT_RUNTIME.read(c.pid()).is_none() {
        skip!("no real-time group scheduling here (cgroup v2, or a kernel without it)");
    }
    let out = c.verb("update", &["--cpu-rt-period", "1000000", "--cpu-rt-runtime", "0"]).out();
    out.no_panic();
    // a cgroup gets no more than its parent has left
    c.verb("update", &["--cpu-rt-runtime", "999999999"]).out().fails().stderr_contains("rt");
}

#[test]
fn cp_4_cpuset_flags() {
    need_root!();
    let c = limits(json!({}));
    let pid = c.pid();
    if CPUS.read(pid).is_none() {
        skip!("no cpuset controller");
    }
    c.verb("update", &["--cpuset-cpus", "0", "--cpuset-mems", "0"]).out().ok();
    CPUS.is(pid, "0", "0");
    MEMS.is(pid, "0", "0");
    assert_eq!(c.exec(&["grep", "Cpus_allowed_list", "/proc/self/status"]).ok().text(), "Cpus_allowed_list:\t0");
    c.verb("update", &["--cpuset-cpus", "4000"]).out().fails().stderr_contains("4000");
    CPUS.is(pid, "0", "0");
}

#[test]
fn pi_1_pids_flag() {
    need_root!();
    let c = limits(json!({ "pids": { "limit": 100 } }));
    let pid = c.pid();
    PIDS.is(pid, "100", "100");
    c.verb("update", &["--pids-limit", "33"]).out().ok();
    PIDS.is(pid, "33", "33");
    c.verb("update", &["--pids-limit", "-1"]).out().ok();
    PIDS.is(pid, "max", "max");
}

#[test]
fn bl_1_blkio_weight_flag() {
    need_root!();
    let c = limits(json!({}));
    if BLKIO.read(c.pid()).is_none() {
        // croci must not ignore the flag, because the caller relies on the limit
        c.verb("update", &["--blkio-weight", "500"]).out().no_panic();
        skip!("no weight in the block I/O controller here");
    }
    c.verb("update", &["--blkio-weight", "500"]).out().ok();
    assert!(BLKIO.read(c.pid()).unwrap().ends_with("500"));
}

#[test]
fn kernel_memory_is_accepted_and_does_nothing() {
    need_root!();
    if !is_croci() {
        skip!("runc took these flags away");
    }
    let c = limits(json!({}));
    c.verb("update", &["--kernel-memory", "64m"]).out().ok();
    c.verb("update", &["--kernel-memory-tcp", "64m"]).out().ok();
}

#[test]
fn rdt_flags_without_resctrl_are_errors() {
    need_root!();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    if mounts.contains(" resctrl ") {
        skip!("this machine has resctrl");
    }
    let c = limits(json!({}));
    c.verb("update", &["--l3-cache-schema", "L3:0=f"]).out().fails();
    c.verb("update", &["--mem-bw-schema", "MB:0=10"]).out().fails();
}

/// Documents that containerd, Docker, Podman and CRI-O send (callers' list, parts 1 and 3.10).
#[test]
fn resources_documents_as_callers_send_them() {
    need_root!();
    let docker = json!({"memory": {"limit": 67_108_864, "reservation": 0, "swap": 67_108_864, "kernel": 0},
        "cpu": {"shares": 333, "quota": 0, "period": 0}, "pids": {"limit": 77}, "blockIO": {"weight": 0}});
    let c = limits(json!({}));
    let pid = c.pid();
    c.croci(["update", "--resources=-", &c.id]).stdin(docker.to_string()).out().ok();
    MEMORY.is(pid, "67108864", "67108864");
    SHARES.is(pid, "333", "42");
    PIDS.is(pid, "77", "77");
    let podman = json!({"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 55}});
    let file = c.sandbox.write("resources.json", podman.to_string());
    c.croci(["update", &format!("--resources={}", file.display()), &c.id]).out().ok();
    PIDS.is(pid, "55", "55");
    c.exec(&["sh", "-c", "echo > /dev/null"]).ok(); // devices of an update are ignored, else all would be gone
    MEMORY.is(pid, "67108864", "67108864");
    for form in [vec!["-r", "-"], vec!["--resources", "-"]] {
        c.croci(["update"]).args(form).arg(&c.id).stdin(r#"{"cpu":{"shares":1024}}"#).out().ok();
        SHARES.is(pid, "1024", "100");
    }
    // `--resources` takes precedence: the other flags are ignored
    c.croci(["update", "--pids-limit", "9", "--resources", "-", &c.id]).stdin(r#"{"cpu":{"shares":2}}"#).out().ok();
    SHARES.is(pid, "2", "1");
    PIDS.is(pid, "55", "55");
}

#[test]
fn up_1_a_refused_update_changes_nothing() {
    need_root!();
    let c = limits(json!({ "pids": { "limit": 100 }, "memory": { "limit": 64 * MIB }, "cpu": { "shares": 512 } }));
    let pid = c.pid();
    let bad = [
        json!({"pids": {"limit": 50}, "memory": {"limit": 128 * MIB}, "cpu": {"shares": 100, "cpus": "4000"}}),
        json!({"pids": {"limit": 50}, "cpu": {"shares": 100, "period": 5, "quota": 1000}}),
        json!({"pids": {"limit": 50}, "memory": {"limit": 128 * MIB, "swap": MIB}}),
        json!({"pids": {"limit": 50}, "hugepageLimits": [{"pageSize": "7MB", "limit": 1}]}),
    ];
    for resources in bad {
        c.croci(["update", "--resources", "-", &c.id]).stdin(resources.to_string()).out().fails().one_line();
        PIDS.is(pid, "100", "100");
        MEMORY.is(pid, "67108864", "67108864");
        SHARES.is(pid, "512", "59");
    }
}

#[test]
fn me_4_check_before_update() {
    need_root!();
    if !is_croci() {
        skip!("runc of this machine is older than checkBeforeUpdate on v1");
    }
    let c = Container::sh("dd if=/dev/zero of=/dev/shm/big bs=1M count=24 2>/dev/null; echo > /ready; exec sleep 1000")
        .edit(|config| config["linux"]["resources"] = json!({ "memory": { "limit": 128 * MIB } }));
    let c = c.up();
    c.wait_file("/ready");
    let low = json!({ "memory": { "limit": 8 * MIB, "swap": 8 * MIB, "checkBeforeUpdate": true } });
    c.croci(["update", "--resources", "-", &c.id])
        .stdin(low.to_string())
        .out()
        .fails()
        .one_line()
        .stderr_contains("memory");
    MEMORY.is(c.pid(), "134217728", "134217728");
    assert_eq!(c.status(), "running");
}

#[test]
fn bad_values_are_one_line() {
    need_root!();
    let c = limits(json!({}));
    for (flag, value) in [
        ("--memory", "much"),
        ("--cpu-quota", "x"),
        ("--pids-limit", "1.5"),
        ("--cpu-share", "-7"),
        ("--cpuset-cpus", "a-b"),
    ] {
        c.verb("update", &[flag, value]).out().fails();
    }
    for text in ["", "{", "[]", "null", r#"{"memory":{"limit":"x"}}"#, r#"{"cpu":{"shares":1.5}}"#] {
        c.croci(["update", "--resources", "-", &c.id]).stdin(text).out().fails().one_line();
    }
    c.croci(["update", "--resources", "/no/such/file", &c.id])
        .out()
        .fails()
        .one_line()
        .stderr_contains("/no/such/file");
}

#[test]
fn limits_given_at_create() {
    need_root!();
    let c = limits(json!({
        "memory": { "limit": 96 * MIB, "reservation": 48 * MIB },
        "cpu": { "shares": 2048, "quota": 20_000, "period": 50_000 },
        "pids": { "limit": 42 }
    }));
    let pid = c.pid();
    MEMORY.is(pid, "100663296", "100663296");
    RESERVATION.is(pid, "50331648", "50331648");
    SHARES.is(pid, "2048", "174");
    QUOTA.is(pid, "20000", "20000 50000");
    PIDS.is(pid, "42", "42");
}

#[test]
fn pi_1_a_limit_of_1_counts_the_container_only() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 1 } }));
    c.run().ok(); // FT-27: the limit does not count the runtime's own threads and children
    c.nothing_left();
}

#[test]
fn ft_27_the_pids_limit_holds() {
    need_root!();
    let c = Container::sh("for i in 1 2 3 4 5 6; do sleep 5 & done; echo done")
        .edit(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 3 } }));
    let out = c.run();
    assert!(out.stderr.contains("fork"), "{out:#?}");
    c.nothing_left();
}

#[test]
fn ft_11_out_of_memory_kills_and_the_status_shows_it() {
    need_root!();
    let c = Container::sh("head -c 200000000 /dev/zero | tail -c 199999999 > /dev/null; exit $?")
        .edit(|config| config["linux"]["resources"] = json!({ "memory": { "limit": 16 * MIB, "swap": 16 * MIB } }));
    let out = c.run_with(&[]).out();
    assert_ne!(out.code, Some(0), "{out:#?}");
    c.nothing_left();
}

#[test]
fn ft_11_want_of_memory_is_named_as_the_cause_of_the_end() {
    need_root!();
    let limit = json!({ "memory": { "limit": 16 * MIB, "swap": 16 * MIB } });
    let hungry = "exec awk 'BEGIN { while (1) a[i++] = sprintf(\"%4096d\", i) }'";
    let out = Container::sh(hungry).edit(|config| config["linux"]["resources"] = limit.clone()).run().exits(137);
    // systemd may have removed the scope, and the count with it, before croci reads it
    assert!(cgroup::by_systemd() || out.stderr.contains("OOM killer"), "{out:?}");
    let c = limits(limit);
    let out = c.croci(["exec", &c.id, "sh", "-c", hungry]).out();
    assert!(out.code == Some(137) && out.stderr.contains("OOM killer"), "{out:?}");
    let out = c.croci(["exec", &c.id, "sh", "-c", "kill -9 $$"]).out();
    assert!(out.code == Some(137) && out.stderr.is_empty(), "another signal has another cause: {out:?}");
}

#[test]
fn dv_6_the_device_list_holds() {
    need_root!();
    // 1:11 is the kernel log, 7:0 a loop device; opening them may fail for other reasons than the device cgroup
    let refused = "head -c 1 /tmp/d 2>&1 | grep -qi 'not permitted'";
    let default = "echo x > /dev/null && head -c 1 /dev/zero > /dev/null && head -c 1 /dev/urandom > /dev/null";
    let c = Container::sh(&format!("mknod /tmp/d b 7 0 && {refused} && {default}"))
        .edit(|config| config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
    c.run().ok();
    let c = Container::sh(&format!("mknod /tmp/d b 7 0 && ! {refused} && {default}")).edit(|config| {
        config["linux"]["resources"] = json!({ "devices": [{ "allow": false, "access": "rwm" },
            { "allow": true, "type": "b", "major": 7, "minor": 0, "access": "r" }] });
    });
    c.run().ok();
    c.nothing_left();
}

#[test]
fn events_stats_is_one_line_of_numbers() {
    need_root!();
    let c = limits(json!({ "memory": { "limit": 64 * MIB }, "pids": { "limit": 12 } }));
    // a kernel may count CPU time in ticks of its clock
    c.exec(&["sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"]).ok();
    let out = c.verb("events", &["--stats"]).out().ok();
    assert_eq!(out.stdout.trim().lines().count(), 1, "{out:#?}");
    let event = out.json();
    assert_eq!(event["type"], "stats");
    assert_eq!(event["id"], json!(c.id));
    let data = &event["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{data}");
    assert_eq!(data["pids"]["limit"], 12);
    assert_eq!(data["pids"]["current"], 1);
    assert_eq!(data["memory"]["usage"]["limit"], json!(64 * MIB));
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0);
}

/// Each kill is an event, also where the kernel announces on v1 that the memory has run out before it counts the kill.
#[test]
fn events_tell_each_oom_kill() {
    need_root!();
    let c = limits(json!({ "memory": { "limit": 32 * MIB, "swap": 32 * MIB } }));
    let events = c.verb("events", &["--interval", "100ms"]).spawn();
    wait_for("the first statistics", || events.stdout().contains("\"stats\""));
    let oom = |text: &str| text.matches("{\"type\":\"oom\"").count();
    let file = if cgroup::is_v2() { "memory.events" } else { "memory.oom_control" };
    let file = cgroup::dir_of(c.pid(), "memory").unwrap().join(file);
    let counted = || -> usize {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    };
    for kills in 1..=3 {
        c.exec(&["sh", "-c", "test=$(dd if=/dev/urandom ibs=5120k 2>/dev/null)"]).exits(137);
        wait_for("an event for the kill", || oom(&events.stdout()) >= kills);
    }
    // the kernel may have killed both processes of an exec
    let kills = counted();
    wait_for("an event for each kill", || oom(&events.stdout()) >= kills);
    c.kill("KILL").ok();
    let out = events.wait().ok();
    assert_eq!(oom(&out.stdout), kills, "{out:#?}");
}

#[test]
fn events_repeat_until_the_container_ends() {
    need_root!();
    let c = limits(json!({}));
    let events = c.verb("events", &["--interval", "50ms"]).spawn();
    wait_for("three lines of statistics", || events.stdout().matches("\"stats\"").count() >= 3);
    c.kill("KILL").ok();
    let out = events.wait().no_panic();
    for line in out.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["type"] == "stats" || event["type"] == "oom", "{line}");
    }
    c.verb("events", &["--interval", "never"]).out().fails();
}

/// As runc: every negative quota is no limit, in the configuration and in `update`.
#[test]
fn cp_2_any_negative_quota_is_no_limit() {
    need_root!();
    if !cgroup::has_controller("cpu") {
        skip!("no cpu controller");
    }
    let quota = |pid| cgroup::read(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").unwrap();
    let none = if cgroup::is_v2() { "max 100000" } else { "-1" };
    let c = Container::new(&["sleep", "1000"]);
    let c = c.edit(|config| config["linux"]["resources"] = json!({ "cpu": { "quota": -9999 } })).up();
    assert_eq!(quota(c.pid()), none);
    c.verb("update", &["--cpu-quota", "50000"]).out().ok();
    assert!(quota(c.pid()).starts_with("50000"));
    c.verb("update", &["--cpu-quota", "-9999"]).out().ok();
    assert_eq!(quota(c.pid()), none);
    c.delete_force().ok();
}

/// As runc: `pids.limit` 0 is written as 1.
#[test]
fn pi_1_a_limit_of_0_is_written_as_1() {
    need_root!();
    if !cgroup::has_controller("pids") {
        skip!("no pids controller");
    }
    let c = Container::new(&["sleep", "1000"]);
    let c = c.edit(|config| config["linux"]["resources"] = json!({ "pids": { "limit": 0 } })).up();
    assert_eq!(cgroup::read(c.pid(), "pids", "pids.max", "pids.max").unwrap(), "1");
    c.exec(&["true"]).fails().stderr_contains("pids limit");
    c.delete_force().ok();
}
