//! The process that `exec` runs in a container, and its CPUs (checklist part 6).

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Test;
use super::identity::own;
use crate::container::Container;
use crate::harness::{Harness, skip, wait_until};
use crate::proc_facts::{Facts, expect, need_flag};
/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "PR-18", title: "execCPUAffinity is not the first process's", run: pr_18_init },
    Test { id: "PR-18", title: "execCPUAffinity binds what exec runs", run: pr_18_exec },
    Test { id: "PR-18", title: "an invalid CPU list is an error", run: pr_18_bad },
    Test {
        id: "PR-21",
        title: "exec joins namespaces, cgroup and root, with capabilities and user of its own",
        run: pr_21,
    },
    Test { id: "PR-21", title: "exec into a stopped container is an error", run: pr_21_status },
    Test { id: "PR-21", title: "user texts that are no user are errors of exec", run: pr_21_users },
];

/// Returns the list of this process' CPUs; skips the test where there is one CPU only.
fn need_cpus() -> Result<String> {
    let all = own().status("Cpus_allowed_list")?;
    if all.chars().all(|c| c.is_ascii_digit()) { skip("one CPU only") } else { Ok(all) }
}

fn pr_18_init(b: &Harness) -> Result<()> {
    let all = need_cpus()?;
    let mut c = Container::new(b)?;
    c.config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    expect("the first process's CPUs", Facts::run(&c)?.status("Cpus_allowed_list")?, all)
}

/// Runs a program in the container by `exec`, and returns its output.
fn exec(b: &Harness, c: &Container<'_>, flags: &[&str], args: &[&str]) -> Result<String> {
    need_flag(b, "exec", "exec")?;
    let words = ["exec"].iter().chain(flags).copied().chain([c.id.as_str()]).chain(args.iter().copied());
    let mut command = b.command(words);
    let done = b.call_to(&mut command, &c.bundle.join("exec.out"), &c.bundle.join("exec.err"));
    Ok(done.ok()?.out)
}

fn pr_18_exec(b: &Harness) -> Result<()> {
    need_cpus()?;
    let mut c = Container::new(b)?;
    c.config["process"]["execCPUAffinity"] = json!({"final": "0"});
    Facts::run(&c)?;
    let status = exec(b, &c, &[], &["grep", "Cpus_allowed_list", "/proc/self/status"])?;
    expect("the CPUs of what exec ran", status.split_whitespace().last(), Some("0"))
}

fn pr_18_bad(b: &Harness) -> Result<()> {
    for list in ["x", "0-", "3-1", "0;1", "-1"] {
        let mut c = Container::new(b)?;
        c.config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": list});
        // reported by create, or by the exec that would use the value
        if matches!(&c.create().status, Ok(status) if status.success()) {
            c.start().ok()?;
            b.call(["exec", &c.id, "true"]).error().with_context(|| format!("final {list:?}"))?;
        }
    }
    Ok(())
}

fn pr_21(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    let facts = Facts::run(&c)?;
    let script = "for n in mnt net ipc uts pid; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; \
                  grep -E '^(Uid|CapEff|NoNewPrivs)' /proc/self/status | tr -s '\\t ' ' '; readlink /proc/self/cwd";
    let seen = exec(b, &c, &["--user", "1000:1000", "--cwd", "/tmp"], &["sh", "-c", script])?;
    let mut wanted = String::new();
    for kind in ["mnt", "net", "ipc", "uts", "pid"] {
        wanted += &(facts.link(&format!("ns/{kind}"))? + "\n");
    }
    wanted += &facts.read("cgroup")?;
    wanted += "Uid: 1000 1000 1000 1000\nCapEff: 0000000000000000\nNoNewPrivs: 1\n/tmp\n";
    expect("namespaces, cgroups, user, capabilities, no_new_privs, directory", seen, wanted)
}

fn pr_21_status(b: &Harness) -> Result<()> {
    need_flag(b, "exec", "exec")?;
    let c = Container::stopped(b)?;
    b.call(["exec", &c.id, "true"]).error().context("exec into a stopped container")?;
    c.must_be("stopped")
}

fn pr_21_users(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    for user in ["", "4294967296", "4294967295", "-1", "0x0", "1 2", "0:-1", "0:", "no such user"] {
        let done = b.call(["exec", "--user", user, &c.id, "true"]);
        done.error().with_context(|| format!("user {user:?}"))?;
    }
    wait_until("the container still runs", || Ok((c.status()? == "running").then_some(())))
}
