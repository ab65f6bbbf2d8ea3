//! Settings that the kernel applies: sysctl, seccomp, personality (checklist parts 15 to 17).

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Test;
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "SY-1", title: "sysctl values are set in the container's namespaces", run: sy_1 },
    Test { id: "SY-2", title: "a sysctl that is the host's is an error and is not written", run: sy_2 },
    Test { id: "SE-1", title: "a seccomp rule with ERRNO gives its errno to the program", run: se_1 },
    Test { id: "SE-2", title: "errnoRet with an action that has none is an error", run: se_2 },
    Test { id: "SE-5", title: "a system call that this machine does not have is skipped", run: se_5 },
    Test { id: "SE-8", title: "listenerMetadata without listenerPath is an error", run: se_8 },
    Test { id: "LX-5", title: "personality LINUX32 shows a 32-bit machine", run: lx_5 },
];

fn sy_1(b: &Harness) -> Result<()> {
    let mut c = Container::script(
        b,
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni /proc/sys/net/ipv4/conf/lo/rp_filter",
    )?;
    c.config["linux"]["sysctl"] =
        json!({"net.ipv4.ip_forward": "1", "kernel.shmmni": "1234", "net/ipv4/conf/lo/rp_filter": "2"});
    let out = c.run()?;
    ensure!(out == "1\n1234\n2\n", "it printed {out:?}");
    Ok(())
}

fn sy_2(b: &Harness) -> Result<()> {
    let watched = ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sys/fs/file-max"];
    let before: Vec<_> = watched.iter().map(|path| read(Path::new(path))).collect();
    let keys = [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net/../kernel/core_pattern",
        "vm.swappiness",
        "fs.file-max",
        "net..x",
        "",
    ];
    for key in keys {
        let mut c = Container::new(b)?;
        c.config["linux"]["sysctl"] = json!({key: "7777"});
        c.must_be_refused().with_context(|| format!("sysctl {key:?}"))?;
    }
    let mut c = Container::new(b)?;
    c.config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}]);
    c.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    c.must_be_refused().context("net.* in the host's network namespace")?;
    let after: Vec<_> = watched.iter().map(|path| read(Path::new(path))).collect();
    ensure!(before == after, "the host changed: {before:?}, now {after:?}");
    Ok(())
}

fn se_1(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "mkdir /made 2>&1; grep Seccomp: /proc/self/status | cut -f2")?;
    c.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        // 28 is ENOSPC, which no other cause would give here
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
    ]});
    let out = c.run()?;
    ensure!(out.contains("No space left on device") && out.trim_end().ends_with('2'), "it printed {out:?}");
    ensure!(!c.path("/made").exists(), "mkdir succeeded");
    Ok(())
}

fn se_2(b: &Harness) -> Result<()> {
    for profile in [
        json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1}]}),
        json!({"syscalls": []}),
    ] {
        let mut c = Container::new(b)?;
        c.config["linux"]["seccomp"] = profile.clone();
        c.must_be_refused().with_context(|| profile.to_string())?;
    }
    Ok(())
}

fn se_5(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "echo ran")?;
    let names = ["no_such_call", "breakpoint", "mkdir"];
    c.config["linux"]["seccomp"] =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO"}]});
    let out = c.run()?;
    ensure!(out == "ran\n", "it printed {out:?}");
    Ok(())
}

fn se_8(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"});
    c.must_be_refused()?;
    Ok(())
}

fn lx_5(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["personality"] = json!({"domain": "LINUX", "flags": ["NOSUCH"]});
    c.must_be_refused()?;
    // User Mode Linux shows one machine to all personalities
    let shown = std::process::Command::new("setarch").args(["linux32", "uname", "-m"]).output()?;
    let wanted = String::from_utf8_lossy(&shown.stdout).into_owned();
    if !shown.status.success() || wanted == "x86_64\n" {
        return skip("this kernel shows the same machine to every personality");
    }
    let mut c = Container::script(b, "uname -m")?;
    c.config["linux"]["personality"] = json!({"domain": "LINUX32"});
    let out = c.run()?;
    ensure!(out == wanted, "it printed {out:?}, setarch gives {wanted:?}");
    Ok(())
}
