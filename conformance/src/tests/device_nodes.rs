//! Device nodes, the default contents of /dev, and access to devices (checklist part 8).

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use serde_json::{Value, json};

use super::Test;
use super::identity::in_user_namespace;
use crate::container::Container;
use crate::harness::Harness;
use crate::proc_facts::{Facts, expect, refuse_each};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "DV-1", title: "a device may be anywhere, its directories are created", run: dv_1_anywhere },
    Test { id: "DV-1", title: "a fifo needs no numbers and ignores those that it has", run: dv_1_fifo },
    Test { id: "DV-1", title: "every type but a fifo needs both numbers", run: dv_1_numbers },
    Test { id: "DV-1", title: "a fileMode beyond 0777, and an owner that is none, are errors", run: dv_1_mode },
    Test { id: "DV-1", title: "in a user namespace the devices exist and can be used", run: dv_1_user },
    Test { id: "DV-1", title: "in a user namespace a device need be none of the host's", run: dv_1_user_new },
    Test {
        id: "DV-2",
        title: "a link, a fifo or another device in the place of a device is an error",
        run: dv_2_kinds,
    },
    Test { id: "DV-2", title: "an existing node of the same device is no error", run: dv_2_same },
    Test { id: "DV-3", title: "one device may have several paths", run: dv_3 },
    Test { id: "DV-4", title: "the default devices are created in an image's own /dev too", run: dv_4_image },
    Test { id: "DV-4", title: "the default devices work", run: dv_4_work },
    Test { id: "DV-4", title: "with a link as /dev nothing is created outside of the root", run: dv_4_link },
    Test { id: "DV-4", title: "without a terminal there is no /dev/console that is one", run: dv_4_console },
    Test { id: "DV-5", title: "what an image has in a link's place stays", run: dv_5_kept },
    Test { id: "DV-6", title: "of the rules that match the last one holds", run: dv_6_order },
    Test {
        id: "DV-6",
        title: "rules for reading and writing, and for characters and blocks, are separate",
        run: dv_6_access,
    },
    Test { id: "DV-6", title: "default devices and terminals are allowed whatever the list is", run: dv_6_default },
    Test { id: "DV-6", title: "rules of unknown type or access are errors", run: dv_6_bad },
];

/// Returns the metadata of a node in the program's root.
fn node(facts: &Facts, path: &str) -> Result<fs::Metadata> {
    let seen = facts.path("root").join(path.trim_start_matches('/'));
    fs::symlink_metadata(&seen).with_context(|| format!("{path} in the container"))
}

fn numbers(meta: &fs::Metadata) -> (u64, u64) {
    (major(meta.rdev()), minor(meta.rdev()))
}

fn dv_1_anywhere(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["devices"] = json!([
        {"path": "/dev/deep/er/one", "type": "c", "major": 10, "minor": 200},
        {"path": "/new/two", "type": "b", "major": 7, "minor": 1_048_575},
        {"path": "/etc/three", "type": "c", "major": 1, "minor": 3},
    ]);
    let facts = Facts::run(&c)?;
    let one = node(&facts, "/dev/deep/er/one")?;
    ensure!(one.file_type().is_char_device() && numbers(&one) == (10, 200), "one is {one:?}");
    let two = node(&facts, "/new/two")?;
    ensure!(two.file_type().is_block_device() && numbers(&two) == (7, 1_048_575), "two is {two:?}");
    expect("the mode of a directory that was created", node(&facts, "/new")?.mode() & 0o7777, 0o755)?;
    ensure!(numbers(&node(&facts, "/etc/three")?) == (1, 3), "three is {:?}", node(&facts, "/etc/three")?);
    Ok(())
}

fn dv_1_fifo(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["devices"] = json!([
        {"path": "/dev/plain", "type": "p"},
        {"path": "/dev/numbered", "type": "p", "major": 8, "minor": 1, "fileMode": 0o640, "uid": 3, "gid": 4},
    ]);
    let facts = Facts::run(&c)?;
    ensure!(node(&facts, "/dev/plain")?.file_type().is_fifo(), "/dev/plain is no fifo");
    let numbered = node(&facts, "/dev/numbered")?;
    ensure!(numbered.file_type().is_fifo(), "/dev/numbered is no fifo");
    let seen = (numbered.mode() & 0o7777, numbered.uid(), numbered.gid());
    expect("mode and owner of /dev/numbered", seen, (0o640, 3, 4))
}

fn devices(device: Value) -> (&'static [&'static str], Value) {
    (&["linux", "devices"], json!([device]))
}

fn dv_1_numbers(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[
            devices(json!({"path": "/dev/x", "type": "c", "major": 1})),
            devices(json!({"path": "/dev/x", "type": "b", "minor": 1})),
            devices(json!({"path": "/dev/x", "type": "u"})),
            devices(json!({"path": "/dev/x", "type": "c", "major": -1, "minor": 3})),
            devices(json!({"path": "/dev/x", "type": "c", "major": "1", "minor": 3})),
        ],
    )
}

fn dv_1_mode(b: &Harness) -> Result<()> {
    let with = |key: &str, value: Value| {
        let mut device = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
        device[key] = value;
        devices(device)
    };
    refuse_each(
        b,
        &[
            with("fileMode", json!(0o1000)),
            with("fileMode", json!(0o100_666)),
            with("fileMode", json!(-1)),
            with("fileMode", json!("0666")),
            with("uid", json!(-1)),
            with("gid", json!(4_294_967_296_u64)),
            with("path", json!("")),
        ],
    )
}

fn dv_1_user(b: &Harness) -> Result<()> {
    let mut c = in_user_namespace(b, 1000)?;
    c.push(&["mounts"], json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}));
    c.config["process"]["args"] = json!(["sh", "-c", "head -c 3 /dev/zero >/dev/null && echo works; sleep 1000"]);
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("works\n")?;
    let facts = Facts::of(&c)?;
    for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        expect(&format!("numbers of /dev/{name}"), numbers(&node(&facts, &format!("/dev/{name}"))?), (1, minor))?;
    }
    Ok(())
}

fn dv_1_user_new(b: &Harness) -> Result<()> {
    let mut c = in_user_namespace(b, 1000)?;
    c.push(&["mounts"], json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}));
    c.config["linux"]["devices"] = json!([
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o606, "uid": 5, "gid": 6}
    ]);
    c.config["process"]["args"] =
        json!(["sh", "-c", "stat -c '%t:%T %a' /dev/mine; echo x >/dev/mine && echo works; sleep 1000"]);
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("works\n")?;
    expect("numbers and mode", c.output().lines().next().unwrap_or_default(), "1:3 606")
}

fn dv_2_kinds(b: &Harness) -> Result<()> {
    for there in ["link", "fifo", "other"] {
        let mut c = Container::new(b)?;
        let place = c.path("/node");
        match there {
            "link" => symlink("/dev/null", &place)?,
            "fifo" => nix::unistd::mkfifo(&place, Mode::S_IRWXU)?,
            _ => mknod(&place, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5))?,
        }
        c.config["linux"]["devices"] = json!([{"path": "/node", "type": "c", "major": 1, "minor": 3}]);
        c.must_be_refused().with_context(|| format!("a {there} in its place"))?;
        let kept = fs::symlink_metadata(&place)?;
        ensure!(there != "other" || numbers(&kept) == (1, 5), "the image's device has changed: {kept:?}");
    }
    Ok(())
}

fn dv_2_same(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    mknod(&c.path("/node"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3))?;
    c.config["linux"]["devices"] = json!([{"path": "/node", "type": "c", "major": 1, "minor": 3}]);
    let facts = Facts::run(&c)?;
    expect("its numbers", numbers(&node(&facts, "/node")?), (1, 3))
}

fn dv_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let device = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 7, "fileMode": 0o600});
    c.config["linux"]["devices"] = json!([device("/dev/one"), device("/dev/two")]);
    let facts = Facts::run(&c)?;
    for path in ["/dev/one", "/dev/two"] {
        expect(path, numbers(&node(&facts, path)?), (1, 7))?;
    }
    Ok(())
}

fn dv_4_image(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let facts = Facts::run(&c)?;
    for (name, wanted) in
        [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))]
    {
        let meta = node(&facts, &format!("/dev/{name}"))?;
        expect(&format!("numbers of /dev/{name}"), numbers(&meta), wanted)?;
        expect(&format!("the mode of /dev/{name}"), meta.mode() & 0o7777, 0o666)?;
    }
    Ok(())
}

fn dv_4_work(b: &Harness) -> Result<()> {
    let script = "echo gone >/dev/null && echo null; head -c 5 /dev/zero | tr '\\0' z; echo; echo x >/dev/full || echo full; \
                  test $(head -c 16 /dev/urandom | dd bs=1 2>&1 >/dev/null | grep -c 16) && echo random";
    let mut c = Container::script(b, script)?;
    // as an ordinary user, so that the modes decide on access
    c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let out = c.run()?;
    for word in ["null\n", "zzzzz\n", "full\n", "random\n"] {
        ensure!(out.contains(word), "no {word:?}: it printed {out:?}");
    }
    Ok(())
}

fn dv_4_link(b: &Harness) -> Result<()> {
    for absolute in [true, false] {
        let mut c = Container::new(b)?;
        let outside = c.bundle.join("outside");
        fs::create_dir(&outside)?;
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o777))?;
        c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        fs::remove_dir(c.path("/dev"))?;
        if absolute {
            symlink(&outside, c.path("/dev"))?
        } else {
            symlink("../outside", c.path("/dev"))?
        }
        c.config["linux"]["devices"] = json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}]);
        // refused or confined: both leave the host unchanged
        if matches!(&c.create().status, Ok(status) if status.success()) {
            c.start().ok()?;
        }
        let created: Vec<_> = fs::read_dir(&outside)?.flatten().map(|entry| entry.file_name()).collect();
        ensure!(created.is_empty(), "created outside of the root: {created:?}");
    }
    Ok(())
}

fn dv_4_console(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    let facts = Facts::run(&c)?;
    ensure!(facts.mount("/dev/console").is_err(), "something is mounted at /dev/console");
    Ok(())
}

fn dv_5_kept(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    fs::write(c.path("/dev/stdin"), "a file\n")?;
    symlink("elsewhere", c.path("/dev/stdout"))?;
    let facts = Facts::run(&c)?;
    expect("the image's /dev/stdin", crate::files::read(&facts.path("root/dev/stdin")).as_str(), "a file\n")?;
    expect("the image's /dev/stdout", facts.link("root/dev/stdout")?.as_str(), "elsewhere")?;
    expect("/dev/stderr", facts.link("root/dev/stderr")?.as_str(), "/proc/self/fd/2")
}

/// Returns whether a device without a driver, 240:7, can be opened under these rules, for reading and for writing.
fn opened(b: &Harness, rules: Value) -> Result<[bool; 2]> {
    let mut c = Container::script(b, "cat /dev/mine; echo written >/dev/mine")?;
    c.config["linux"]["devices"] =
        json!([{"path": "/dev/mine", "type": "c", "major": 240, "minor": 7, "fileMode": 0o666}]);
    c.config["linux"]["resources"]["devices"] = rules.clone();
    let out = c.run().with_context(|| format!("rules {rules}"))?;
    let (reading, writing) = out.split_once('\n').with_context(|| format!("it printed {out:?}"))?;
    let allowed = |line: &str| -> Result<bool> {
        // where the list allows it, opening fails later, because there is no driver
        let denied = line.contains("Operation not permitted");
        ensure!(denied || line.contains("No such device or address"), "opening the device printed {line:?}");
        Ok(!denied)
    };
    Ok([allowed(reading)?, allowed(writing)?])
}

fn dv_6_order(b: &Harness) -> Result<()> {
    let rule =
        |allow: bool, minor: Value| json!({"allow": allow, "type": "c", "major": 240, "minor": minor, "access": "rwm"});
    let none = json!({"allow": false, "access": "rwm"});
    let all = |minor: u32| json!({"allow": true, "type": "c", "major": 240, "minor": minor, "access": "rwm"});
    expect("denied, then allowed", opened(b, json!([none, all(7)]))?, [true, true])?;
    expect("allowed, then all denied", opened(b, json!([all(7), none]))?, [false, false])?;
    expect("another number allowed", opened(b, json!([none, all(8)]))?, [false, false])?;
    let any = json!({"allow": true, "type": "c", "major": 240, "access": "rwm"});
    expect("all numbers allowed", opened(b, json!([none, any]))?, [true, true])?;
    // where the files of cgroup v1 cannot express the rules, an error is correct
    match opened(b, json!([none, any, rule(false, json!(7))])) {
        Err(_) if Path::new("/sys/fs/cgroup/devices/devices.allow").exists() => Ok(()),
        seen => expect("allowed, then this one denied", seen?, [false, false]),
    }?;
    expect(
        "this one allowed, then all denied",
        opened(b, json!([none, all(7), rule(false, json!(null))]))?,
        [false, false],
    )
}

fn dv_6_access(b: &Harness) -> Result<()> {
    let none = json!({"allow": false, "access": "rwm"});
    let rule =
        |kind: &str, access: &str| json!({"allow": true, "type": kind, "major": 240, "minor": 7, "access": access});
    expect("reading allowed", opened(b, json!([none, rule("c", "r")]))?, [true, false])?;
    expect("writing allowed", opened(b, json!([none, rule("c", "w")]))?, [false, true])?;
    expect("making allowed", opened(b, json!([none, rule("c", "m")]))?, [false, false])?;
    expect("the block device allowed", opened(b, json!([none, rule("b", "rwm")]))?, [false, false])
}

fn dv_6_default(b: &Harness) -> Result<()> {
    let script = "cd /dev; echo x >null && head -c 1 zero >null && head -c 1 urandom >null && echo devices; : <>ptmx && echo ptmx";
    let mut c = Container::script(b, script)?;
    c.config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}]);
    let out = c.run()?;
    expect("what it printed", out.as_str(), "devices\nptmx\n")
}

fn dv_6_bad(b: &Harness) -> Result<()> {
    let rules: &[&str] = &["linux", "resources", "devices"];
    refuse_each(
        b,
        &[
            (rules, json!([{"allow": true, "type": "z", "access": "rwm"}])),
            (rules, json!([{"allow": true, "type": "c", "access": "rwx"}])),
            (rules, json!([{"allow": "yes", "type": "c", "access": "rwm"}])),
        ],
    )
}
