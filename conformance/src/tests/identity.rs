//! The program's credentials and limits: user, groups, capabilities, rlimits, scheduling, labels, names (checklist part
//! 6).

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Test;
use crate::cgroup::is_v2;
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, OwnNamespace, expect, need_program, refuse_each};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "PR-6", title: "the caller's supplementary groups are never the program's", run: pr_6_caller },
    Test { id: "PR-6", title: "high ids are ids like others", run: pr_6_high },
    Test { id: "PR-6", title: "ids that the user namespace does not map are errors", run: pr_6_unmapped },
    Test { id: "PR-7", title: "a umask above 0777 is an error", run: pr_7_range },
    Test { id: "MT-3", title: "the caller's umask does not reach what the runtime creates", run: mt_3_umask },
    Test { id: "PR-8", title: "every type of limit is set", run: pr_8_all },
    Test { id: "PR-8", title: "the largest number is no limit", run: pr_8_unlimited },
    Test { id: "PR-8", title: "limits that are not configured are the caller's", run: pr_8_others },
    Test { id: "PR-8", title: "a limit without type, soft or hard is an error", run: pr_8_parts },
    Test { id: "PR-10", title: "an AppArmor profile that is not loaded is an error", run: pr_10 },
    Test { id: "PR-11", title: "an SELinux label without SELinux is an error", run: pr_11 },
    Test { id: "PR-12", title: "each set alone is applied", run: pr_12_each },
    Test { id: "PR-12", title: "every capability that the kernel has is known", run: pr_12_all },
    Test { id: "PR-13", title: "a capability that cannot be granted is a warning", run: pr_13_missing },
    Test { id: "PR-15", title: "without oomScoreAdj the program has the caller's", run: pr_15_unset },
    Test { id: "PR-15", title: "oomScoreAdj up to 1000, and not beyond", run: pr_15_range },
    Test { id: "PR-16", title: "policies OTHER, BATCH and IDLE, with their nice values", run: pr_16_policies },
    Test { id: "PR-16", title: "real-time policies, with their priorities", run: pr_16_realtime },
    Test { id: "PR-16", title: "parameters that do not fit the policy are errors", run: pr_16_bad },
    Test { id: "PR-17", title: "ioPriority is set", run: pr_17 },
    Test { id: "PR-17", title: "an ioPriority without class, or above 7, is an error", run: pr_17_bad },
    Test { id: "PR-19", title: "names of up to 64 bytes, and no longer ones", run: pr_19_length },
    Test { id: "PR-19", title: "without names a new UTS namespace keeps the caller's", run: pr_19_unset },
    Test { id: "PR-19", title: "domainname without a UTS namespace of its own is an error", run: pr_19_domain },
    Test { id: "PR-20", title: "the program has a session keyring of its own", run: pr_20 },
];

fn pr_6_caller(b: &Harness) -> Result<()> {
    let setpriv = need_program("setpriv")?;
    for groups in [json!(null), json!([]), json!([7])] {
        let mut c = Container::new(b)?;
        c.config["process"]["user"]["additionalGids"] = groups.clone();
        if groups.is_null() {
            c.remove(&["process", "user", "additionalGids"]);
        }
        c.write_config()?;
        let mut command = Command::new(&setpriv);
        command.args(["--groups", "4321,4322"]).arg(b.runtime()).arg("--root").arg(b.root());
        command.args(["create", "--bundle"]).arg(&c.bundle).arg(&c.id).stdin(std::process::Stdio::null());
        c.create_as_it_is(&mut command).ok()?;
        c.start().ok()?;
        let wanted = if groups == json!([7]) { "7" } else { "" };
        let seen = Facts::of_program(&c)?.status("Groups")?;
        expect(&format!("groups with additionalGids {groups}"), seen.as_str(), wanted)?;
    }
    Ok(())
}

fn pr_6_high(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let (uid, gid, more) = (2_147_483_648_u32, 4_294_967_294_u32, 3_000_000_000_u32);
    c.config["process"]["user"] = json!({"uid": uid, "gid": gid, "additionalGids": [more]});
    let facts = Facts::run(&c)?;
    expect("uids", facts.status("Uid")?, format!("{uid} {uid} {uid} {uid}"))?;
    expect("gids", facts.status("Gid")?, format!("{gid} {gid} {gid} {gid}"))?;
    expect("groups", facts.status("Groups")?, more.to_string())
}

/// Prepares a container with a user namespace of `size` ids, and with nothing that needs another namespace.
pub fn in_user_namespace<'a>(b: &'a Harness, size: u32) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    c.push(&["linux", "namespaces"], json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 20000, "size": size}]);
    c.config["linux"]["uidMappings"] = map.clone();
    c.config["linux"]["gidMappings"] = map;
    for dir in ["/", "/dev", "/etc"] {
        std::os::unix::fs::chown(c.path(dir), Some(20000), Some(20000))?;
    }
    Ok(c)
}

fn pr_6_unmapped(b: &Harness) -> Result<()> {
    for user in [
        json!({"uid": 500, "gid": 0}),
        json!({"uid": 0, "gid": 500}),
        json!({"uid": 0, "gid": 0, "additionalGids": [500]}),
    ] {
        let mut c = in_user_namespace(b, 500)?;
        c.config["process"]["user"] = user.clone();
        crate::proc_facts::create_or_start(&c).error().with_context(|| format!("user {user}"))?;
    }
    Ok(())
}

fn pr_7_range(b: &Harness) -> Result<()> {
    let umask: &[&str] = &["process", "user", "umask"];
    refuse_each(b, &[(umask, json!(0o1000)), (umask, json!(0o7777)), (umask, json!(-1)), (umask, json!("022"))])
}

fn mt_3_umask(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], json!({"destination": "/new/deep/dir", "type": "tmpfs", "source": "tmpfs"}));
    c.config["linux"]["devices"] =
        json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
    c.write_config()?;
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(b.runtime()).arg("--root").arg(b.root());
    command.args(["create", "--bundle"]).arg(&c.bundle).arg(&c.id).stdin(std::process::Stdio::null());
    c.create_as_it_is(&mut command).ok()?;
    let facts = Facts::of(&c)?;
    for (path, wanted) in [("new", 0o755), ("new/deep", 0o755), ("dev/mine", 0o666), ("dev/null", 0o666)] {
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(facts.path("root").join(path))?) & 0o7777;
        ensure!(mode == wanted, "/{path}: expected mode {wanted:o}, seen {mode:o}");
    }
    Ok(())
}

/// The names in the configuration, the names in /proc, and values that are below any usual limit.
const LIMITS: [(&str, &str, u64, u64); 16] = [
    ("RLIMIT_CPU", "Max cpu time", 3000, 4000),
    ("RLIMIT_FSIZE", "Max file size", 500_000_000, 600_000_000),
    ("RLIMIT_DATA", "Max data size", 500_000_000, 600_000_000),
    ("RLIMIT_STACK", "Max stack size", 1_000_000, 2_000_000),
    ("RLIMIT_CORE", "Max core file size", 0, 0),
    ("RLIMIT_RSS", "Max resident set", 500_000_000, 600_000_000),
    ("RLIMIT_NPROC", "Max processes", 500, 600),
    ("RLIMIT_NOFILE", "Max open files", 300, 400),
    ("RLIMIT_MEMLOCK", "Max locked memory", 32_768, 65_536),
    ("RLIMIT_AS", "Max address space", 5_000_000_000, 6_000_000_000),
    ("RLIMIT_LOCKS", "Max file locks", 50, 60),
    ("RLIMIT_SIGPENDING", "Max pending signals", 100, 200),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size", 1000, 2000),
    ("RLIMIT_NICE", "Max nice priority", 0, 0),
    ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
    ("RLIMIT_RTTIME", "Max realtime timeout", 10_000, 20_000),
];

fn pr_8_all(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for (kind, _, soft, hard) in LIMITS {
        c.push(&["process", "rlimits"], json!({"type": kind, "soft": soft, "hard": hard}));
    }
    let facts = Facts::run(&c)?;
    for (kind, name, soft, hard) in LIMITS {
        expect(kind, facts.limit(name)?, [soft.to_string(), hard.to_string()])?;
    }
    Ok(())
}

/// Returns the facts of the suite's own process.
pub fn own() -> Facts {
    Facts::of_pid(nix::unistd::Pid::this())
}

fn pr_8_unlimited(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let free: Vec<_> =
        LIMITS.into_iter().filter(|limit| own().limit(limit.1).is_ok_and(|[_, hard]| hard == "unlimited")).collect();
    if free.is_empty() {
        return skip("all limits of this process are bounded");
    }
    for (kind, ..) in &free {
        c.push(&["process", "rlimits"], json!({"type": kind, "soft": u64::MAX, "hard": u64::MAX}));
    }
    let facts = Facts::run(&c)?;
    for (kind, name, ..) in free {
        expect(kind, facts.limit(name)?, ["unlimited".to_owned(), "unlimited".into()])?;
    }
    Ok(())
}

fn pr_8_others(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 300, "hard": 400}]);
    let (facts, own) = (Facts::run(&c)?, own());
    for (kind, name, ..) in LIMITS {
        if kind != "RLIMIT_NOFILE" {
            expect(kind, facts.limit(name)?, own.limit(name)?)?;
        }
    }
    Ok(())
}

fn pr_8_parts(b: &Harness) -> Result<()> {
    let rlimits: &[&str] = &["process", "rlimits"];
    refuse_each(
        b,
        &[
            (rlimits, json!([{"soft": 0, "hard": 0}])),
            (rlimits, json!([{"type": "", "soft": 0, "hard": 0}])),
            (rlimits, json!([{"type": "RLIMIT_NOFILE", "soft": 100}])),
            (rlimits, json!([{"type": "RLIMIT_NOFILE", "soft": "100", "hard": 200}])),
            (rlimits, json!([{"type": "RLIMIT_NOFILE", "soft": 201, "hard": 200}])),
        ],
    )
}

fn pr_10(b: &Harness) -> Result<()> {
    if !read(Path::new("/sys/module/apparmor/parameters/enabled")).starts_with('Y') {
        return skip("AppArmor is not on");
    }
    let mut c = Container::new(b)?;
    c.config["process"]["apparmorProfile"] = json!("conformance-no-such-profile");
    crate::proc_facts::create_or_start(&c).error()?;
    Ok(())
}

fn pr_11(b: &Harness) -> Result<()> {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux is on");
    }
    let mut c = Container::new(b)?;
    c.config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c124,c675");
    c.must_be_refused()?;
    Ok(())
}

fn caps(facts: &Facts) -> Result<Vec<String>> {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].into_iter().map(|set| facts.status(set)).collect()
}

fn pr_12_each(b: &Harness) -> Result<()> {
    const ONE: &str = "0000000000000020";
    const NONE: &str = "0000000000000000";
    // as an ordinary user: execve recomputes root's sets
    for (sets, wanted) in [
        (&[] as &[&str], [NONE; 5]),
        (&["bounding"], [NONE, NONE, NONE, ONE, NONE]),
        (&["bounding", "permitted", "effective"], [NONE, NONE, NONE, ONE, NONE]),
        (&["bounding", "inheritable"], [ONE, NONE, NONE, ONE, NONE]),
        (&["bounding", "inheritable", "permitted"], [ONE, NONE, NONE, ONE, NONE]),
        (&["bounding", "inheritable", "permitted", "effective", "ambient"], [ONE; 5]),
    ] {
        let mut c = Container::new(b)?;
        c.config["process"]["capabilities"] = json!({});
        for set in sets {
            c.config["process"]["capabilities"][*set] = json!(["CAP_KILL"]);
        }
        c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        expect(&format!("the sets with {sets:?}"), caps(&Facts::run(&c)?)?, wanted.map(str::to_owned).to_vec())?;
    }
    Ok(())
}

/// The names of the capabilities, by their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Returns the mask of the capabilities that a child of this process can have, from the bounding set.
fn grantable() -> Result<u64> {
    Ok(u64::from_str_radix(&own().status("CapBnd")?, 16)?)
}

fn pr_12_all(b: &Harness) -> Result<()> {
    let mask = grantable()?;
    let names: Vec<_> = NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| mask & (1 << bit) != 0)
        .map(|(_, name)| format!("CAP_{name}"))
        .collect();
    let mask = NAMES.iter().enumerate().fold(0, |sum, (bit, _)| sum | mask & (1 << bit));
    let mut c = Container::new(b)?;
    c.config["process"]["capabilities"] = json!({"bounding": names, "permitted": names, "effective": names});
    let sets = caps(&Facts::run(&c)?)?;
    let (all, none) = (format!("{mask:016x}"), "0".repeat(16));
    expect("the sets", sets, vec![none.clone(), all.clone(), all.clone(), all, none])
}

fn pr_13_missing(b: &Harness) -> Result<()> {
    let mask = grantable()?;
    let Some((_, missing)) = NAMES.iter().enumerate().find(|(bit, _)| mask & (1 << bit) == 0) else {
        return skip("this process may have every capability");
    };
    let mut c = Container::new(b)?;
    let set = json!(["CAP_KILL", format!("CAP_{missing}")]);
    c.config["process"]["capabilities"] = json!({"bounding": set, "permitted": set, "effective": set});
    let facts = Facts::run(&c).with_context(|| format!("CAP_{missing} is not in this process's bounding set"))?;
    expect("the bounding set", facts.status("CapBnd")?.as_str(), "0000000000000020")
}

fn pr_15_unset(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    expect("oom_score_adj", Facts::run(&c)?.read("oom_score_adj")?, own().read("oom_score_adj")?)
}

fn pr_15_range(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["oomScoreAdj"] = json!(1000);
    expect("oom_score_adj", Facts::run(&c)?.read("oom_score_adj")?.as_str(), "1000\n")?;
    let adj: &[&str] = &["process", "oomScoreAdj"];
    refuse_each(b, &[(adj, json!(1001)), (adj, json!(-1001)), (adj, json!("5")), (adj, json!(4_294_967_296_u64))])
}

fn pr_16_policies(b: &Harness) -> Result<()> {
    // SCHED_IDLE has no nice value of its own: the kernel keeps the caller's
    let stat = read(Path::new("/proc/self/stat"));
    let own = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(16)?.parse().ok()).unwrap_or(0);
    for (policy, nice, seen, number) in
        [("SCHED_OTHER", 5, 5, 0), ("SCHED_BATCH", 19, 19, 3), ("SCHED_OTHER", 0, 0, 0), ("SCHED_IDLE", 0, own, 5)]
    {
        let mut c = Container::new(b)?;
        c.config["process"]["scheduler"] = json!({"policy": policy, "nice": nice});
        let facts = Facts::run(&c).with_context(|| format!("{policy}, nice {nice}"))?;
        expect(&format!("nice and number of {policy}"), (facts.stat(19)?, facts.stat(41)?), (seen, number))?;
    }
    Ok(())
}

/// Returns whether a process in a new cgroup may be real-time: CONFIG_RT_GROUP_SCHED requires a share for it, which v2
/// cannot give.
fn realtime_in_cgroup(chrt: &Path, name: &str) -> Result<bool> {
    let dir = Path::new("/sys/fs/cgroup").join(name);
    std::fs::create_dir(&dir)?;
    let script = format!("echo $$ >{}/cgroup.procs && exec {} -f 7 true", dir.display(), chrt.display());
    let done = Command::new("/bin/sh").args(["-c", &script]).output();
    std::fs::remove_dir(&dir)?;
    Ok(done?.status.success())
}

fn pr_16_realtime(b: &Harness) -> Result<()> {
    let chrt = need_program("chrt")?;
    if !Command::new(&chrt).args(["-f", "7", "true"]).output()?.status.success() {
        return skip("real-time policies are not available here");
    }
    if is_v2() && !realtime_in_cgroup(&chrt, &b.fresh_name())? {
        return skip("this kernel gives real-time to the root cgroup alone");
    }
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let mut c = Container::new(b)?;
        c.config["process"]["scheduler"] = json!({"policy": policy, "priority": 7});
        if Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
            // a cgroup has no share of real-time unless it is given one
            c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
            c.config["linux"]["resources"]["cpu"] = json!({"realtimePeriod": 1_000_000, "realtimeRuntime": 10_000});
        }
        let facts = Facts::run(&c).context(policy)?;
        expect(&format!("priority and number of {policy}"), (facts.stat(40)?, facts.stat(41)?), (7, number))?;
    }
    Ok(())
}

fn pr_16_bad(b: &Harness) -> Result<()> {
    let scheduler: &[&str] = &["process", "scheduler"];
    refuse_each(
        b,
        &[
            (scheduler, json!({})),
            (scheduler, json!({"policy": ""})),
            (scheduler, json!({"nice": 5})),
            (scheduler, json!({"policy": "SCHED_OTHER", "nice": 20})),
            (scheduler, json!({"policy": "SCHED_BATCH", "nice": -21})),
            (scheduler, json!({"policy": "SCHED_OTHER", "priority": 5})),
            (scheduler, json!({"policy": "SCHED_FIFO", "priority": 500})),
            (scheduler, json!({"policy": "SCHED_OTHER", "runtime": 1_000_000})),
            (
                scheduler,
                json!({"policy": "SCHED_DEADLINE", "runtime": 30_000_000, "deadline": 10_000_000, "period": 20_000_000}),
            ),
        ],
    )
}

fn pr_17(b: &Harness) -> Result<()> {
    for (class, shown) in [("IOPRIO_CLASS_BE", "best-effort: prio 6"), ("IOPRIO_CLASS_IDLE", "idle")] {
        let mut c = Container::new(b)?;
        c.config["process"]["ioPriority"] = json!({"class": class, "priority": 6});
        let facts = Facts::run(&c).context(class)?;
        let ionice = Command::new(c.path("/bin/busybox")).args(["ionice", "-p", &facts.pid().to_string()]).output()?;
        if !ionice.status.success() {
            return skip(&format!("this busybox has no ionice: {}", String::from_utf8_lossy(&ionice.stderr).trim()));
        }
        let seen = String::from_utf8_lossy(&ionice.stdout).trim().to_owned();
        ensure!(seen.starts_with(shown), "{class}: expected {shown:?}, seen {seen:?}");
    }
    Ok(())
}

fn pr_17_bad(b: &Harness) -> Result<()> {
    let priority: &[&str] = &["process", "ioPriority"];
    refuse_each(
        b,
        &[
            (priority, json!({})),
            (priority, json!({"priority": 3})),
            (priority, json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
            (priority, json!({"class": "IOPRIO_CLASS_BE", "priority": -1})),
        ],
    )
}

fn pr_19_length(b: &Harness) -> Result<()> {
    let name = "n".repeat(64);
    let mut c = Container::script(b, "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname")?;
    c.config["hostname"] = json!(name);
    c.config["domainname"] = json!(name);
    expect("hostname and domainname", c.run()?, format!("{name}\n{name}\n"))?;
    refuse_each(b, &[(&["hostname"], json!("n".repeat(65))), (&["domainname"], json!("n".repeat(65)))])
}

fn pr_19_unset(b: &Harness) -> Result<()> {
    let c = Container::script(b, "cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname")?;
    let host = ["hostname", "domainname"].map(|name| read(&Path::new("/proc/sys/kernel").join(name))).concat();
    expect("hostname and domainname", c.run()?, host)
}

fn pr_19_domain(b: &Harness) -> Result<()> {
    let _names = OwnNamespace::names()?;
    let before = nix::sys::utsname::uname()?.domainname().to_owned();
    let mut c = Container::new(b)?;
    c.config["domainname"] = json!("conformance.example");
    c.config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}]);
    let refused = c.must_be_refused();
    expect("the caller's domainname", nix::sys::utsname::uname()?.domainname(), before.as_os_str())?;
    refused.map(drop)
}

fn pr_20(b: &Harness) -> Result<()> {
    let keys = Path::new("/proc/keys");
    if !keys.exists() {
        return skip("this kernel has no key management");
    }
    let keyrings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains(" keyring "));
        lines.filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    let before = keyrings(&read(keys));
    let c = Container::script(b, "cat /proc/keys")?;
    let seen = keyrings(&c.run()?);
    ensure!(seen.iter().any(|key| !before.contains(key)), "no new keyring: before {before:?}, inside {seen:?}");
    Ok(())
}
