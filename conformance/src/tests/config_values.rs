//! Values of config.json that a runtime has to refuse, property by property, and those that it has to accept (checklist
//! part 1).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::container::Container;
use crate::harness::Harness;
use crate::proc_facts::{Facts, expect, refuse_each};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "CF-1",
        title: "a bundle given by a relative path is found, and is absolute in the state",
        run: cf_1_relative,
    },
    Test { id: "CF-1", title: "a bundle that is missing or is a file is an error", run: cf_1_no_directory },
    Test { id: "CF-2", title: "JSON may have any space, order and escapes; text is UTF-8", run: cf_2_json },
    Test {
        id: "CF-2",
        title: "bytes that are no JSON of UTF-8 are errors: a mark in front, bad escapes, bad numbers",
        run: cf_2_bytes,
    },
    Test {
        id: "CF-3",
        title: "versions up to the runtime's own are accepted, with pre-release and build parts",
        run: cf_3_versions,
    },
    Test { id: "CF-3", title: "the version has to be a whole SemVer, whatever it begins with", run: cf_3_whole },
    Test {
        id: "CF-4",
        title: "unknown properties inside lists, and of unknown kinds of hooks, are ignored",
        run: cf_4_lists,
    },
    Test { id: "CF-5", title: "a property of the wrong JSON type is an error: top level", run: cf_5_top },
    Test { id: "CF-5", title: "a property of the wrong JSON type is an error: process", run: cf_5_process },
    Test { id: "CF-5", title: "a property of the wrong JSON type is an error: linux", run: cf_5_linux },
    Test { id: "CF-5", title: "a property of the wrong JSON type is an error: mounts and hooks", run: cf_5_entries },
    Test { id: "CF-5", title: "numbers that are negative, too large or no integers are errors", run: cf_5_numbers },
    Test { id: "CF-5", title: "words that are none of the known ones are errors", run: cf_5_words },
    Test { id: "CF-5", title: "known words in another case are errors", run: cf_5_case },
    Test {
        id: "CF-6",
        title: "start, kill, delete and poststop hooks do without the bundle's config.json",
        run: cf_6_gone,
    },
    Test {
        id: "CF-8",
        title: "a NUL in a string of hooks, mounts, devices or namespaces is an error",
        run: cf_8_entries,
    },
    Test { id: "CF-8", title: "other control characters and any letters are kept as they are", run: cf_8_kept },
];

fn cf_1_relative(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    let (above, name) = (c.bundle.parent().context("a bundle has a parent")?, c.bundle.file_name().unwrap_or_default());
    let name = name.to_string_lossy();
    let mut command = b.command(["create", "--bundle", &format!("./{name}"), &c.id]);
    c.create_as_it_is(command.current_dir(above)).ok()?;
    let state = c.state()?;
    expect("the state's bundle", state["bundle"].as_str(), c.bundle.to_str())?;
    c.start().ok()?;
    c.must_be("running")
}

fn cf_1_no_directory(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.write_config()?;
    for place in ["none", "config.json", "config.json/none"] {
        let place = c.bundle.join(place);
        let mut command = b.command(["create", "--bundle", &place.to_string_lossy(), &c.id]);
        c.create_as_it_is(&mut command).error().with_context(|| format!("bundle {}", place.display()))?;
        c.must_be_gone()?;
    }
    Ok(())
}

fn cf_2_json(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["annotations"] = json!({"org.example.key": "PLACE", "org.example.text": "ÄÖ€𝄞"});
    c.config["process"]["args"] = json!(["sleep", "1000"]);
    let text = serde_json::to_string_pretty(&c.config)?;
    let text = text.replace("PLACE", r"\u0041\ud834\udd1e\/\t").replace("\"args\"", r#""ar\u0067s""#);
    fs::write(c.bundle.join("config.json"), format!("\r\n\t {} \n\n", text.replace(": ", "\t:\r\n ")))?;
    c.create_as_it_is(&mut c.create_command()).ok()?;
    let annotations = c.state()?["annotations"].clone();
    expect("an annotation with escapes", &annotations["org.example.key"], &json!("A𝄞/\t"))?;
    expect("an annotation in UTF-8", &annotations["org.example.text"], &json!("ÄÖ€𝄞"))?;
    c.start().ok()?;
    Facts::of_program(&c)?;
    Ok(())
}

fn cf_2_bytes(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    let good = serde_json::to_string(&c.config)?;
    let with = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    let cases = [
        ("a byte order mark", [b"\xef\xbb\xbf" as &[u8], good.as_bytes()].concat()),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("an unknown escape", with("sleep", r"sl\xeep")),
        ("a newline in a string", with("sleep", "sl\neep")),
        ("a number with a leading zero", with("\"uid\":0", "\"uid\":00")),
        ("a number without end", with("\"uid\":0", &format!("\"uid\":1{}", "0".repeat(5000)))),
        ("a comma too many", with("\"uid\":0", "\"uid\":0,")),
        ("a comment", with("{", "{ /* comment */ ")),
    ];
    for (name, text) in cases {
        ensure!(text != good.as_bytes(), "the case {name} is the good document");
        fs::write(c.bundle.join("config.json"), text)?;
        c.create_as_it_is(&mut c.create_command()).error().context(name)?;
        c.must_be_gone().context(name)?;
    }
    Ok(())
}

fn cf_3_versions(b: &Harness) -> Result<()> {
    let own = Container::created(b)?.state()?["ociVersion"].as_str().unwrap_or_default().to_owned();
    let minor: u32 = own.split('.').nth(1).and_then(|minor| minor.parse().ok()).context("the state's ociVersion")?;
    let mut versions = vec![own, "1.0.0".into(), "1.0.2-dev".into(), "1.0.0-rc5+build.7".into()];
    versions.extend((1..=minor).map(|minor| format!("1.{minor}.0")));
    for version in versions {
        let mut c = Container::new(b)?;
        c.config["ociVersion"] = json!(version);
        c.create().ok().with_context(|| format!("version {version}"))?;
    }
    Ok(())
}

fn cf_3_whole(b: &Harness) -> Result<()> {
    let versions = ["1.0.0.0", "v1.0.0", "1.0.0-", "01.0.0", "1.0.0 ", "2.0.0", "0.5.0", "1.0.0-a..b"];
    refuse_each(b, &versions.map(|version| (&["ociVersion"] as &[&str], json!(version))))
}

fn cf_4_lists(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for entry in [("mounts", 0), ("mounts", 1)] {
        c.config[entry.0][entry.1]["orgExampleUnknown"] = json!([{}]);
    }
    c.config["linux"]["namespaces"][0]["orgExampleUnknown"] = json!(7);
    c.config["linux"]["resources"]["orgExampleUnknown"] = json!({"limit": 7});
    c.config["root"]["orgExampleUnknown"] = json!(null);
    c.config["process"]["user"]["orgExampleUnknown"] = json!("x");
    c.config["hooks"] = json!({"orgExampleUnknown": [{"path": "/nonexistent"}]});
    c.config["annotations"] = json!({"org.opencontainers.unknown": "x"});
    Facts::run(&c)?;
    Ok(())
}

fn cf_5_top(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[
            (&["root"], json!("rootfs")),
            (&["root", "path"], json!(["rootfs"])),
            (&["root", "readonly"], json!("true")),
            (&["mounts"], json!({})),
            (&["process"], json!([])),
            (&["linux"], json!("x")),
            (&["hooks"], json!([])),
            (&["hostname"], json!(5)),
            (&["annotations"], json!("x")),
        ],
    )
}

fn cf_5_process(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[
            (&["process", "terminal"], json!("yes")),
            (&["process", "user"], json!("root")),
            (&["process", "user", "additionalGids"], json!(5)),
            (&["process", "args"], json!(["sleep", 1000])),
            (&["process", "env"], json!({"PATH": "/bin"})),
            (&["process", "cwd"], json!(["/"])),
            (&["process", "capabilities"], json!(["CAP_KILL"])),
            (&["process", "rlimits"], json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0})),
            (&["process", "noNewPrivileges"], json!(1)),
        ],
    )
}

fn cf_5_linux(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[
            (&["linux", "namespaces"], json!({"type": "pid"})),
            (&["linux", "namespaces"], json!(["pid", "mount"])),
            (&["linux", "uidMappings"], json!({"containerID": 0, "hostID": 0, "size": 1})),
            (&["linux", "devices"], json!("/dev/null")),
            (&["linux", "maskedPaths"], json!("/proc/kcore")),
            (&["linux", "sysctl"], json!(["net.ipv4.ip_forward=1"])),
            (&["linux", "resources"], json!([])),
            (&["linux", "cgroupsPath"], json!(["/x"])),
        ],
    )
}

fn cf_5_entries(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[
            (&["mounts"], json!(["/tmp"])),
            (&["mounts"], json!([{"destination": 5, "type": "tmpfs"}])),
            (&["mounts"], json!([{"destination": "/tmp", "type": "tmpfs", "options": "ro"}])),
            (&["mounts"], json!([{"type": "tmpfs", "source": "tmpfs"}])),
            (&["hooks"], json!({"poststop": {"path": "/bin/true"}})),
            (&["hooks"], json!({"poststop": ["/bin/true"]})),
            (&["hooks"], json!({"poststop": [{"path": "/bin/true", "args": "true"}]})),
            (&["hooks"], json!({"poststop": [{"path": "/bin/true", "timeout": "5"}]})),
        ],
    )
}

fn cf_5_numbers(b: &Harness) -> Result<()> {
    let limit = |soft: Value| json!([{"type": "RLIMIT_CORE", "soft": soft, "hard": 18_446_744_073_709_551_615_u64}]);
    refuse_each(
        b,
        &[
            (&["process", "user", "uid"], json!(4_294_967_296_u64)),
            (&["process", "user", "gid"], json!(-5)),
            (&["process", "user", "uid"], json!(1.5)),
            (&["process", "user", "additionalGids"], json!([-1])),
            (&["process", "rlimits"], limit(json!(-1))),
            (&["process", "rlimits"], limit(json!(18_446_744_073_709_551_616.0_f64))),
            (&["process", "oomScoreAdj"], json!(-1001)),
            (&["hooks"], json!({"poststop": [{"path": "/bin/true", "timeout": 1.5}]})),
        ],
    )
}

fn cf_5_words(b: &Harness) -> Result<()> {
    let seccomp = |key: &str, value: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", key: value});
    let rule = json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NO"}]}]);
    refuse_each(
        b,
        &[
            (&["linux", "seccomp"], seccomp("architectures", json!(["SCMP_ARCH_NOSUCH"]))),
            (&["linux", "seccomp"], seccomp("flags", json!(["SECCOMP_FILTER_FLAG_NOSUCH"]))),
            (&["linux", "seccomp"], seccomp("syscalls", rule)),
            (&["linux", "devices"], json!([{"path": "/dev/x", "type": "nosuch", "major": 1, "minor": 3}])),
            (&["process", "scheduler"], json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NOSUCH"]})),
        ],
    )
}

fn cf_5_case(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[
            (&["linux", "namespaces"], json!([{"type": "PID"}, {"type": "mount"}])),
            (&["process", "rlimits"], json!([{"type": "rlimit_core", "soft": 0, "hard": 0}])),
            (&["process", "rlimits"], json!([{"type": "CORE", "soft": 0, "hard": 0}])),
            (&["linux", "seccomp"], json!({"defaultAction": "scmp_act_allow"})),
            (&["linux", "devices"], json!([{"path": "/dev/x", "type": "C", "major": 1, "minor": 3}])),
        ],
    )
}

fn cf_6_gone(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let log = c.path("/log");
    let script = format!("echo poststop >{}", log.display());
    let hook = json!({"path": c.path("/bin/busybox"), "args": ["sh", "-c", script], "env": []});
    c.config["hooks"] = json!({"poststop": [hook]});
    c.create().ok()?;
    fs::remove_file(c.bundle.join("config.json"))?;
    c.start().ok()?;
    c.must_be("running")?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    expect("what the poststop hook wrote", crate::files::read(&log), "poststop\n")
}

fn cf_8_entries(b: &Harness) -> Result<()> {
    let tmpfs = |key: &str, value: Value| {
        let mut mount = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"});
        mount[key] = value;
        json!([mount])
    };
    refuse_each(
        b,
        &[
            (&["mounts"], tmpfs("type", json!("tmpfs\0x"))),
            (&["mounts"], tmpfs("source", json!("tmpfs\0x"))),
            (&["mounts"], tmpfs("options", json!(["ro\0x"]))),
            (&["hooks"], json!({"poststop": [{"path": "/bin/true\0x"}]})),
            (&["hooks"], json!({"poststop": [{"path": "/bin/true", "args": ["true", "a\0b"]}]})),
            (&["hooks"], json!({"poststop": [{"path": "/bin/true", "env": ["A=b\0c"]}]})),
            (&["linux", "devices"], json!([{"path": "/dev/x\0y", "type": "c", "major": 1, "minor": 3}])),
            (&["root", "path"], json!("rootfs\0x")),
        ],
    )
}

fn cf_8_kept(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let odd = "\u{1}\t\n\u{7f}é𝄞\\\"'$*";
    c.config["process"]["args"] = json!(["sh", "-c", "read forever </dev/ptmx; sleep 1000", odd]);
    c.push(&["process", "env"], json!(format!("ODD={odd}")));
    let facts = Facts::run(&c)?;
    expect("the program's last argument", facts.words("cmdline")?.last().map(String::as_str), Some(odd))?;
    let wanted = format!("ODD={odd}");
    ensure!(
        facts.words("environ")?.contains(&wanted),
        "the environment lacks {wanted:?}: {:?}",
        facts.words("environ")?
    );
    Ok(())
}
