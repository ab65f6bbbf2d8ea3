//! The program: arguments, environment, user, limits, capabilities, descriptors (checklist parts 2 and 6).

use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Test;
use crate::container::{Container, parse_facts};
use crate::harness::{Harness, expect_value};
use crate::proc_facts::{OwnNamespace, expect};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "FD-1", title: "only descriptors 0, 1 and 2 reach the program", run: fd_1 },
    Test { id: "PR-1", title: "cwd is the working directory, and is created when it is missing", run: pr_1 },
    Test { id: "PR-1", title: "a relative or empty cwd is an error", run: pr_1_relative },
    Test {
        id: "PR-2",
        title: "the program is found in the PATH of its environment, arguments are kept as they are",
        run: pr_2,
    },
    Test { id: "PR-2", title: "no arguments, or an empty first one, is an error", run: pr_2_none },
    Test { id: "PR-3", title: "the environment is the configured one", run: pr_3 },
    Test { id: "PR-6", title: "user, group and exactly the additional groups", run: pr_6 },
    Test { id: "PR-6", title: "4294967295 and -1 are no user and no group", run: pr_6_minus_one },
    Test { id: "PR-7", title: "umask is set", run: pr_7 },
    Test { id: "PR-8", title: "rlimits are exactly the configured ones", run: pr_8 },
    Test { id: "PR-9", title: "two rlimits of one type are an error", run: pr_9 },
    Test { id: "PR-12", title: "the five capability sets are exactly the configured ones", run: pr_12 },
    Test { id: "PR-12", title: "without capabilities there are none, for root too", run: pr_12_none },
    Test { id: "PR-13", title: "an unknown capability is a warning", run: pr_13 },
    Test { id: "PR-13", title: "the warning of an unknown capability is shown by default", run: pr_13_shown },
    Test { id: "PR-14", title: "noNewPrivileges is set, or is not", run: pr_14 },
    Test { id: "PR-15", title: "oomScoreAdj is set", run: pr_15 },
    Test { id: "PR-16", title: "scheduler is set", run: pr_16 },
    Test { id: "PR-19", title: "hostname and domainname are set in a UTS namespace", run: pr_19 },
    Test { id: "PR-19", title: "hostname without a UTS namespace of its own is an error", run: pr_19_host },
];

fn fd_1(b: &Harness) -> Result<()> {
    let c = Container::probe(b, &[])?;
    c.write_config()?;
    // a descriptor that the runtime inherits without close-on-exec, as from real callers
    let inherited = std::fs::File::open(c.bundle.join("config.json"))?;
    nix::fcntl::fcntl(&inherited, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    c.create_as_it_is(&mut c.create_command()).ok()?;
    c.start().ok()?;
    c.wait_stopped()?;
    let open = &parse_facts(&c.output())?["fds"];
    let numbers: Vec<_> = open.as_object().into_iter().flat_map(|fds| fds.keys()).collect();
    expect_value(&format!("descriptors ({open})"), &json!(numbers), &json!(["0", "1", "2"]))
}

fn pr_1(b: &Harness) -> Result<()> {
    for cwd in ["/", "/tmp", "/made/by/the runtime"] {
        let mut c = Container::script(b, "pwd")?;
        c.config["process"]["cwd"] = json!(cwd);
        let out = c.run()?;
        ensure!(out.trim_end() == cwd, "{cwd}: it printed {out:?}");
    }
    Ok(())
}

fn pr_1_relative(b: &Harness) -> Result<()> {
    for cwd in [json!("tmp"), json!(""), json!(null)] {
        let mut c = Container::new(b)?;
        c.config["process"]["cwd"] = cwd.clone();
        c.must_be_refused().with_context(|| format!("cwd {cwd}"))?;
    }
    Ok(())
}

fn pr_2(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["args"] =
        json!(["sh", "-c", "for a; do echo \"<$a>\"; done", "name", "", "a b", "*", "$HOME", "é\n"]);
    c.config["process"]["env"] = json!(["PATH=/nowhere:/bin"]);
    let out = c.run()?;
    ensure!(out == "<>\n<a b>\n<*>\n<$HOME>\n<é\n>\n", "it printed {out:?}");
    Ok(())
}

fn pr_2_none(b: &Harness) -> Result<()> {
    for args in [json!([]), json!([""]), json!(null)] {
        let mut c = Container::new(b)?;
        c.config["process"]["args"] = args.clone();
        let created = c.create();
        let failed = if matches!(&created.status, Ok(status) if status.success()) { c.start() } else { created };
        failed.error().with_context(|| format!("args {args}"))?;
    }
    Ok(())
}

fn pr_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["args"] = json!(["/bin/env"]);
    c.config["process"]["env"] = json!(["PATH=/bin", "EMPTY=", "WORDS=a b = c", "HOME=/somewhere"]);
    c.write_config()?;
    c.create_as_it_is(c.create_command().env("OF_THE_RUNTIME", "1")).ok()?;
    c.start().ok()?;
    c.wait_stopped()?;
    let out = c.output();
    let mut lines: Vec<_> = out.lines().collect();
    lines.sort_unstable();
    ensure!(lines == ["EMPTY=", "HOME=/somewhere", "PATH=/bin", "WORDS=a b = c"], "it printed {out:?}");
    Ok(())
}

fn pr_6(b: &Harness) -> Result<()> {
    for groups in [json!([5, 6]), json!([])] {
        let mut c = Container::probe(b, &[])?;
        c.config["process"]["user"] = json!({"uid": 1000, "gid": 2000, "additionalGids": groups});
        let facts = c.facts()?;
        expect_value("real, effective and saved uid", &facts["uid"], &json!([1000, 1000, 1000]))?;
        expect_value("real, effective and saved gid", &facts["gid"], &json!([2000, 2000, 2000]))?;
        expect_value("groups", &facts["groups"], &groups)?;
    }
    Ok(())
}

fn pr_6_minus_one(b: &Harness) -> Result<()> {
    for user in [
        json!({"uid": 4_294_967_295_u32, "gid": 0}),
        json!({"uid": 0, "gid": 4_294_967_295_u32}),
        json!({"uid": -1, "gid": 0}),
    ] {
        let mut c = Container::new(b)?;
        c.config["process"]["user"] = user.clone();
        c.must_be_refused().with_context(|| format!("user {user}"))?;
    }
    Ok(())
}

fn pr_7(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &["create:/made"])?;
    c.config["process"]["user"]["umask"] = json!(0o137);
    expect_value("umask", &c.facts()?["umask"], &json!("0137"))?;
    let mode = std::fs::metadata(c.path("/made"))?.permissions().mode() & 0o777;
    expect_value("mode of a new file", &json!(format!("{mode:o}")), &json!("640"))
}

fn pr_8(b: &Harness) -> Result<()> {
    let wanted = [
        ("RLIMIT_NOFILE", 300, 400),
        ("RLIMIT_CORE", 0, 0),
        ("RLIMIT_STACK", 1_048_576, 2_097_152),
        ("RLIMIT_CPU", 1000, u64::MAX),
        ("RLIMIT_MSGQUEUE", 4096, 8192),
    ];
    let mut c = Container::probe(b, &[])?;
    c.config["process"]["rlimits"] =
        wanted.iter().map(|(kind, soft, hard)| json!({"type": kind, "soft": soft, "hard": hard})).collect();
    let facts = c.facts()?;
    for (kind, soft, hard) in wanted {
        expect_value(kind, &facts["rlimits"][kind], &json!([soft, hard]))?;
    }
    Ok(())
}

fn pr_9(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 300, "hard": 400});
    c.config["process"]["rlimits"] = json!([limit, limit]);
    c.must_be_refused()?;
    let mut c = Container::new(b)?;
    c.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 400}]);
    c.must_be_refused().context("soft above hard")?;
    Ok(())
}

/// Returns the probe's form of the sets that consist of these capabilities' numbers.
fn sets(bounding: &[u32], others: &[u32], ambient: &[u32]) -> serde_json::Value {
    json!({"bounding": bounding, "permitted": others, "effective": others, "inheritable": ambient, "ambient": ambient})
}

fn pr_12(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &[])?;
    c.config["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    });
    // not root, because execve would give root all of the bounding set
    c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    // for an ordinary user execve keeps the ambient set: permitted and effective become that set
    expect_value("an ordinary user's sets", &c.facts()?["caps"], &sets(&[0, 5, 13], &[5], &[5]))?;
    let mut c = Container::probe(b, &[])?;
    let set = ["CAP_CHOWN", "CAP_KILL"];
    c.config["process"]["capabilities"] = json!({"bounding": set, "permitted": set, "effective": set});
    expect_value("root's sets", &c.facts()?["caps"], &sets(&[0, 5], &[0, 5], &[]))
}

fn pr_12_none(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &[])?;
    c.remove(&["process", "capabilities"]);
    expect_value("sets", &c.facts()?["caps"], &sets(&[], &[], &[]))
}

fn pr_13(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &[])?;
    for set in ["bounding", "effective", "permitted"] {
        c.push(&["process", "capabilities", set], json!("CAP_NOSUCH"));
    }
    expect_value("sets", &c.facts()?["caps"], &sets(&[5], &[5], &[]))
}

fn pr_13_shown(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["process", "capabilities", "bounding"], json!("CAP_NOSUCH"));
    let shown = c.create().ok()?.err;
    ensure!(shown.contains("CAP_NOSUCH"), "the warning does not name CAP_NOSUCH: {shown:?}");
    Ok(())
}

fn pr_14(b: &Harness) -> Result<()> {
    for (value, wanted) in [(json!(true), true), (json!(false), false), (json!(null), false)] {
        let mut c = Container::probe(b, &[])?;
        c.config["process"]["noNewPrivileges"] = value.clone();
        if value.is_null() {
            c.remove(&["process", "noNewPrivileges"]);
        }
        expect_value(&format!("with noNewPrivileges {value}"), &c.facts()?["no_new_privs"], &json!(wanted))?;
    }
    Ok(())
}

fn pr_15(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &[])?;
    c.config["process"]["oomScoreAdj"] = json!(321);
    expect_value("oom_score_adj", &c.facts()?["oom_score_adj"], &json!(321))
}

fn pr_16(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &[])?;
    c.config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    let facts = c.facts()?;
    expect_value("policy", &facts["scheduler"]["policy"], &json!("SCHED_BATCH"))?;
    expect_value("nice", &facts["scheduler"]["nice"], &json!(7))
}

fn pr_19(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "hostname; cat /proc/sys/kernel/domainname")?;
    c.config["hostname"] = json!("crocodile");
    c.config["domainname"] = json!("river.example");
    let out = c.run()?;
    ensure!(out == "crocodile\nriver.example\n", "it printed {out:?}");
    Ok(())
}

fn pr_19_host(b: &Harness) -> Result<()> {
    let _names = OwnNamespace::names()?;
    let before = nix::sys::utsname::uname()?.nodename().to_owned();
    let mut c = Container::new(b)?;
    c.config["hostname"] = json!("crocodile");
    c.config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "mount"}]);
    let refused = c.must_be_refused();
    expect("the caller's name", nix::sys::utsname::uname()?.nodename(), before.as_os_str())?;
    refused.map(drop)
}
