//! config.json: the values that are accepted, those that are refused, and the time at which it is read (checklist part
//! 1).

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;

use super::Test;
use crate::container::Container;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "CF-1",
        title: "a bundle without config.json, or with a directory in its place, is an error",
        run: cf_1,
    },
    Test { id: "CF-2", title: "malformed documents are errors, never a crash", run: cf_2 },
    Test { id: "CF-3", title: "ociVersion has to be a SemVer of 1.x", run: cf_3 },
    Test { id: "CF-4", title: "unknown properties are ignored", run: cf_4 },
    Test { id: "CF-5", title: "values that the specification does not know are errors", run: cf_5 },
    Test { id: "CF-6", title: "a change to config.json after create has no effect", run: cf_6 },
    Test { id: "CF-8", title: "a NUL in a string is an error", run: cf_8 },
    Test { id: "RT-1", title: "a root that is missing, or no directory, is an error", run: rt_1 },
    Test { id: "AN-1", title: "annotations are strings with names", run: an_1 },
];

fn cf_1(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.create_as_it_is(&mut c.create_command()).error()?;
    fs::create_dir(c.bundle.join("config.json"))?;
    c.create_as_it_is(&mut c.create_command()).error()?;
    c.must_be_gone()
}

fn cf_2(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let good = fs::read(c.bundle.join("config.json"))?;
    let cut = good.get(..good.len() - 20).unwrap_or_default().to_vec();
    let mut trailing = good.clone();
    trailing.extend(b"{}");
    let duplicate = [b"{\"ociVersion\": \"1.0.0\", " as &[u8], good.get(1..).unwrap_or_default()].concat();
    let cases: [(&str, Vec<u8>); 12] = [
        ("empty", vec![]),
        ("a brace", b"{".into()),
        ("null", b"null".into()),
        ("a list", b"[]".into()),
        ("an empty object", b"{}".into()),
        ("not UTF-8", b"{\"ociVersion\": \"\xff\"}".into()),
        ("a version that is a number", b"{\"ociVersion\": 1, \"root\": {\"path\": \"rootfs\"}}".into()),
        ("200000 brackets", b"[".repeat(200_000)),
        ("100000 nested objects", b"{\"a\":".repeat(100_000)),
        ("cut off", cut),
        ("trailing data", trailing),
        ("a key twice", duplicate),
    ];
    for (name, text) in cases {
        fs::write(c.bundle.join("config.json"), text)?;
        c.create_as_it_is(&mut c.create_command()).error().map_err(|err| err.context(name))?;
        c.must_be_gone().map_err(|err| err.context(name))?;
    }
    Ok(())
}

fn cf_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for version in [json!("9.9.9"), json!("garbage"), json!("1."), json!("1.0.x"), json!(""), json!(null)] {
        c.config["ociVersion"] = version.clone();
        c.must_be_refused().map_err(|err| err.context(format!("version {version}")))?;
    }
    c.config["ociVersion"] = json!("1.0.0");
    c.create().ok()?;
    Ok(())
}

fn cf_4(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "echo fine")?;
    c.config["orgExampleUnknown"] = json!({"a": [1, 2]});
    c.config["process"]["orgExampleUnknown"] = json!(true);
    c.config["linux"]["orgExampleUnknown"] = json!("x");
    let out = c.run()?;
    ensure!(out == "fine\n", "it printed {out:?}");
    Ok(())
}

fn cf_5(b: &Harness) -> Result<()> {
    let cases = [
        (vec!["linux", "namespaces"], json!([{"type": "pid"}, {"type": "mount"}, {"type": "nosuch"}])),
        (vec!["process", "rlimits"], json!([{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}])),
        (vec!["process", "oomScoreAdj"], json!(1001)),
        (vec!["process", "user"], json!({"uid": "0", "gid": 0})),
        (vec!["process", "args"], json!([])),
        (vec!["process", "args"], json!("sh")),
        (vec!["linux", "rootfsPropagation"], json!("nosuch")),
        (vec!["linux", "seccomp"], json!({"defaultAction": "SCMP_ACT_NOSUCH"})),
        (vec!["linux", "personality"], json!({"domain": "NOSUCH"})),
        (vec!["process", "scheduler"], json!({"policy": "SCHED_NOSUCH"})),
        (vec!["process", "ioPriority"], json!({"class": "IOPRIO_CLASS_NOSUCH", "priority": 0})),
    ];
    for (path, value) in cases {
        let mut c = Container::new(b)?;
        c.set(&path, value.clone());
        c.must_be_refused().map_err(|err| err.context(format!("{} = {value}", path.join("."))))?;
    }
    Ok(())
}

fn cf_6(b: &Harness) -> Result<()> {
    let c = Container::script(b, "echo as created")?;
    c.create().ok()?;
    fs::write(c.bundle.join("config.json"), "{\"ociVersion\": \"1.0.0\"}")?;
    c.start().ok()?;
    c.wait_stopped()?;
    ensure!(c.output() == "as created\n", "it printed {:?}", c.output());
    c.delete().ok()?;
    Ok(())
}

fn cf_8(b: &Harness) -> Result<()> {
    let cases = [
        (vec!["process", "args"], json!(["sh\0x"])),
        (vec!["process", "args"], json!(["echo", "a\0b"])),
        (vec!["process", "env"], json!(["PATH=/bin", "A=b\0c"])),
        (vec!["process", "cwd"], json!("/\0x")),
        (vec!["hostname"], json!("name\0x")),
        (vec!["mounts"], json!([{"destination": "/tmp\0x", "type": "tmpfs", "source": "tmpfs"}])),
        (vec!["mounts"], json!([{"destination": "/tmp", "type": "bind", "source": "/etc\0x", "options": ["bind"]}])),
    ];
    for (path, value) in cases {
        let mut c = Container::new(b)?;
        c.set(&path, value.clone());
        c.must_be_refused().map_err(|err| err.context(format!("{} = {value}", path.join("."))))?;
    }
    Ok(())
}

fn rt_1(b: &Harness) -> Result<()> {
    for path in ["missing", "config.json", "", "rootfs/bin/busybox"] {
        let mut c = Container::new(b)?;
        c.config["root"] = json!({"path": path});
        c.must_be_refused().map_err(|err| err.context(format!("root.path {path:?}")))?;
    }
    let mut c = Container::new(b)?;
    c.remove(&["root"]);
    c.must_be_refused()?;
    let mut c = Container::script(b, "echo absolute")?;
    c.config["root"]["path"] = json!(c.path("/"));
    let out = c.run()?;
    ensure!(out == "absolute\n", "it printed {out:?}");
    Ok(())
}

fn an_1(b: &Harness) -> Result<()> {
    for annotations in [json!({"a": 1}), json!({"": "x"}), json!(["x"])] {
        let mut c = Container::new(b)?;
        c.config["annotations"] = annotations.clone();
        c.must_be_refused().map_err(|err| err.context(format!("annotations {annotations}")))?;
    }
    Ok(())
}
