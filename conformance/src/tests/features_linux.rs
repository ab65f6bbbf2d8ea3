//! The `linux` object of the features document compared with the runtime's behaviour (FE-4): namespaces, capabilities,
//! seccomp, memory policies, cgroups.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use super::features::{features, listed, version};
use crate::cleanup;
use crate::container::{Container, parse_facts};
use crate::files::read;
use crate::harness::{Harness, expect_value, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "FE-4",
        title: "each listed namespace can be created; one that is not listed is an error",
        run: fe_4_namespaces,
    },
    Test {
        id: "FE-4",
        title: "all capabilities are listed, and granted as far as the machine has them",
        run: fe_4_capabilities,
    },
    Test { id: "FE-4", title: "each listed seccomp action does what its name means", run: fe_4_actions },
    Test { id: "FE-4", title: "each listed seccomp operator compares as its name means", run: fe_4_operators },
    Test {
        id: "FE-4",
        title: "each listed seccomp architecture of this machine is filtered, an unknown one is an error",
        run: fe_4_archs,
    },
    Test {
        id: "FE-4",
        title: "each seccomp flag that is known is accepted, and all that are supported are known",
        run: fe_4_flags,
    },
    Test { id: "FE-4", title: "each listed memory policy and flag is accepted", run: fe_4_memory_policy },
    Test {
        id: "FE-4",
        title: "this machine's cgroup version is declared exactly when containers get a cgroup",
        run: fe_4_cgroup,
    },
    Test { id: "FE-4", title: "a systemd driver that is declared as missing is an error", run: fe_4_systemd },
    Test { id: "FE-4", title: "no part of the linux object is left out", run: fe_4_complete },
];

fn fe_4_namespaces(b: &Harness) -> Result<()> {
    let kinds = listed(&features(b)?, "/linux/namespaces")?;
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
        let file = match kind {
            "mount" => "mnt",
            "network" => "net",
            other => other,
        };
        let mut c = Container::probe(b, &[])?;
        c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        // a user namespace that maps every ID to itself needs no preparation
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        let mut list = vec![json!({"type": "mount"}), json!({"type": "pid"})];
        if kind == "user" {
            c.config["linux"]["uidMappings"] = map.clone();
            c.config["linux"]["gidMappings"] = map;
        }
        if !["mount", "pid"].contains(&kind) {
            list.push(json!({"type": kind}));
        }
        c.config["linux"]["namespaces"] = list.into();
        if !kinds.iter().any(|listed| listed == kind) {
            c.must_be_refused().with_context(|| format!("{kind}, which is not listed"))?;
            continue;
        }
        let host = fs::read_link(format!("/proc/self/ns/{file}")).with_context(|| format!("the kernel's {kind}"))?;
        let inside = c.facts().with_context(|| format!("the listed namespace {kind}"))?["namespaces"][file].clone();
        ensure!(inside != host.to_string_lossy().as_ref(), "{kind}: the container is in the host's, {inside}");
    }
    Ok(())
}

/// The capabilities of version 1.3 of the specification, by number.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE \
     NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN \
     SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE \
     MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

fn fe_4_capabilities(b: &Harness) -> Result<()> {
    let names = listed(&features(b)?, "/linux/capabilities")?;
    let known: Vec<String> = CAPABILITIES.split_whitespace().map(|name| format!("CAP_{name}")).collect();
    let missing: Vec<_> = known.iter().filter(|name| !names.contains(name)).collect();
    ensure!(missing.is_empty(), "not listed: {missing:?}");
    let status = read(Path::new("/proc/self/status"));
    let host = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("no CapBnd")?;
    let host = u64::from_str_radix(host.trim(), 16)?;
    let (numbers, names): (Vec<usize>, Vec<&String>) =
        known.iter().enumerate().filter(|(number, _)| host >> number & 1 == 1).unzip();
    let mut c = Container::probe(b, &[])?;
    for set in ["bounding", "effective", "permitted"] {
        c.config["process"]["capabilities"][set] = json!(names);
    }
    let caps = &c.facts()?["caps"];
    for set in ["bounding", "effective", "permitted"] {
        expect_value(&format!("{set}, of all that the machine has,"), &caps[set], &json!(numbers))?;
    }
    Ok(())
}

/// Prepares a container whose program is the probe, under a profile that allows every call except by this rule.
fn under_rule<'a>(b: &'a Harness, rule: Value, acts: &[&str]) -> Result<Container<'a>> {
    let mut c = Container::probe(b, acts)?;
    c.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    Ok(c)
}

fn fe_4_actions(b: &Harness) -> Result<()> {
    const CALL: &str = "syscall:getppid";
    for action in listed(&features(b)?, "/linux/seccomp/actions")? {
        let mut c = under_rule(b, json!({"names": ["getppid"], "action": action}), &[CALL])?;
        if action == "SCMP_ACT_NOTIFY" {
            // a receiver has to take the descriptor; the test does not check its answers
            let socket = c.bundle.join("listener");
            let _listener = UnixListener::bind(&socket)?;
            c.config["linux"]["seccomp"]["listenerPath"] = json!(socket);
            c.create().ok().context(action)?;
            continue;
        }
        // the probe calls getppid for its facts, too: killed there, it prints nothing
        let out = c.run().with_context(|| action.clone())?;
        let answer = parse_facts(&out).map(|facts| facts["did"][CALL].clone());
        let wanted = match action.as_str() {
            "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => Some(json!({"ok": 0})),
            "SCMP_ACT_ERRNO" => Some(json!({"errno": "EPERM"})),
            // no process traces it
            "SCMP_ACT_TRACE" => Some(json!({"errno": "ENOSYS"})),
            _ => None,
        };
        match (answer, wanted) {
            (Ok(answer), Some(wanted)) => expect_value(&format!("{action}:"), &answer, &wanted)?,
            (Err(err), Some(_)) => return Err(err.context(action)),
            (Ok(answer), None) => ensure!(false, "{action}: the program continued with {answer}"),
            (Err(_), None) => {}
        }
    }
    Ok(())
}

fn fe_4_operators(b: &Harness) -> Result<()> {
    for operator in listed(&features(b)?, "/linux/seccomp/operators")? {
        // the operands, and those of the arguments 5, 6 and 7 that match
        let (value, two, matching): (u64, u64, &[u64]) = match operator.as_str() {
            "SCMP_CMP_NE" => (6, 0, &[5, 7]),
            "SCMP_CMP_LT" => (6, 0, &[5]),
            "SCMP_CMP_LE" => (6, 0, &[5, 6]),
            "SCMP_CMP_EQ" => (6, 0, &[6]),
            "SCMP_CMP_GE" => (6, 0, &[6, 7]),
            "SCMP_CMP_GT" => (6, 0, &[7]),
            // the lowest bit alone is compared
            "SCMP_CMP_MASKED_EQ" => (1, 1, &[5, 7]),
            other => anyhow::bail!("{other} is no operator of the specification"),
        };
        let args = json!([{"index": 0, "value": value, "valueTwo": two, "op": operator}]);
        let rule = json!({"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": args});
        let acts = ["syscall:getpid,5", "syscall:getpid,6", "syscall:getpid,7"];
        let facts = under_rule(b, rule, &acts)?.facts().with_context(|| operator.clone())?;
        for (argument, act) in (5..).zip(acts) {
            let caught = facts["did"][act]["errno"] == "ENOSPC";
            expect_value(
                &format!("{operator} {value} matches {argument}:"),
                &json!(caught),
                &json!(matching.contains(&argument)),
            )?;
        }
    }
    Ok(())
}

/// Prepares a container whose profile has one more property.
fn with_profile<'a>(b: &'a Harness, key: &str, value: Value) -> Result<Container<'a>> {
    let mut c = under_rule(b, json!({"names": ["acct"], "action": "SCMP_ACT_ERRNO"}), &["syscall:acct"])?;
    c.config["linux"]["seccomp"][key] = value;
    Ok(c)
}

/// Returns whether this machine runs programs of the architecture.
fn is_native(arch: &str) -> bool {
    match std::env::consts::ARCH {
        "x86_64" => ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"].contains(&arch),
        "aarch64" => ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"].contains(&arch),
        other => arch == format!("SCMP_ARCH_{}", other.to_uppercase()),
    }
}

fn fe_4_archs(b: &Harness) -> Result<()> {
    let denied = json!({"errno": "EPERM"});
    for arch in listed(&features(b)?, "/linux/seccomp/archs")? {
        let c = with_profile(b, "architectures", json!([arch]))?;
        // a runtime may know the name of a foreign architecture without having a filter for it here
        if !is_native(&arch) && c.create().error().is_ok() {
            continue;
        }
        let c = with_profile(b, "architectures", json!([arch]))?;
        let facts = c.facts().with_context(|| format!("the listed {arch}"))?;
        expect_value(
            &format!("{arch}: the rule, for the native architecture too,"),
            &facts["did"]["syscall:acct"],
            &denied,
        )?;
    }
    with_profile(b, "architectures", json!(["SCMP_ARCH_NOSUCH"]))?.must_be_refused()?;
    Ok(())
}

fn fe_4_flags(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let known = listed(&features, "/linux/seccomp/knownFlags")?;
    let supported = listed(&features, "/linux/seccomp/supportedFlags")?;
    for flag in &supported {
        ensure!(known.contains(flag), "{flag} is supported and not known");
        let mut c = with_profile(b, "flags", json!([flag]))?;
        let socket = c.bundle.join("listener");
        let _listener = UnixListener::bind(&socket)?;
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            // the flag needs a listener and a rule with NOTIFY
            c.config["linux"]["seccomp"]["listenerPath"] = json!(socket);
            c.push(&["linux", "seccomp", "syscalls"], json!({"names": ["reboot"], "action": "SCMP_ACT_NOTIFY"}));
        }
        c.create().ok().with_context(|| format!("the supported {flag}"))?;
    }
    for flag in known.iter().filter(|flag| !supported.contains(flag)) {
        with_profile(b, "flags", json!([flag]))?
            .must_be_refused()
            .with_context(|| format!("{flag}, which is not supported"))?;
    }
    with_profile(b, "flags", json!(["SECCOMP_FILTER_FLAG_NOSUCH"]))?.must_be_refused()?;
    Ok(())
}

fn fe_4_memory_policy(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let (modes, flags) =
        (listed(&features, "/linux/memoryPolicy/modes")?, listed(&features, "/linux/memoryPolicy/flags")?);
    if Container::probe(b, &[])?.facts()?["memory_policy"].is_null() {
        return skip("the kernel has no memory policies (CONFIG_NUMA)");
    }
    let plain = ["MPOL_DEFAULT", "MPOL_LOCAL"];
    for mode in modes {
        let nodes = if plain.contains(&mode.as_str()) { "" } else { "0" };
        let mut c = Container::new(b)?;
        c.config["linux"]["memoryPolicy"] = json!({"mode": mode, "nodes": nodes});
        c.create().ok().with_context(|| format!("the listed {mode}"))?;
    }
    for flag in flags {
        let mut c = Container::new(b)?;
        // each flag is valid with this mode
        c.config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]});
        c.create().ok().with_context(|| format!("the listed {flag}"))?;
    }
    Ok(())
}

fn fe_4_cgroup(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let cgroup = &features["linux"]["cgroup"];
    let version = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1" };
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    let works = c.create().ok().is_ok() && !cleanup::cgroups_below(Path::new("/sys/fs/cgroup"), &c.id, 3).is_empty();
    expect_value(&format!("on this machine, cgroup.{version}"), &cgroup[version], &json!(works))?;
    Ok(())
}

fn fe_4_systemd(b: &Harness) -> Result<()> {
    if features(b)?["linux"]["cgroup"]["systemd"] != false {
        return skip("the systemd driver is declared; what it does is a question for tests with systemd");
    }
    let c = Container::new(b)?;
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy();
    b.call(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]).error()?;
    c.must_be_gone()
}

fn fe_4_complete(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let minor = version(&features, "ociVersionMax")?.get(1).copied().unwrap_or_default();
    let mut pointers = vec![
        "namespaces",
        "capabilities",
        "cgroup/v1",
        "cgroup/v2",
        "cgroup/systemd",
        "cgroup/systemdUser",
        "seccomp/enabled",
        "seccomp/actions",
        "seccomp/operators",
        "seccomp/archs",
        "apparmor/enabled",
        "selinux/enabled",
    ];
    let since: [(u64, &[&str]); 3] = [
        (1, &["cgroup/rdma", "seccomp/knownFlags", "seccomp/supportedFlags"]),
        (2, &["intelRdt/enabled", "mountExtensions/idmap/enabled"]),
        (
            3,
            &[
                "intelRdt/schemata",
                "intelRdt/monitoring",
                "memoryPolicy/modes",
                "memoryPolicy/flags",
                "netDevices/enabled",
            ],
        ),
    ];
    since.into_iter().filter(|(version, _)| *version <= minor).for_each(|(_, more)| pointers.extend(more));
    let missing: Vec<_> = pointers
        .into_iter()
        .filter(|pointer| features["linux"].pointer(&format!("/{pointer}")).is_none_or(Value::is_null))
        .collect();
    ensure!(missing.is_empty(), "ociVersionMax is {}, and linux lacks {missing:?}", features["ociVersionMax"]);
    Ok(())
}
