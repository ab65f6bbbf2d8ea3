//! Failed operations, which have to change nothing, and warnings, which have to stop nothing (checklist part 2, OP).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::container::{Container, find_cgroup};
use crate::files::read;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, expect, parse_mounts};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "OP-2",
        title: "all operations work from any directory and without environment for the user that created the container",
        run: op_2,
    },
    Test {
        id: "OP-2",
        title: "with another state directory a runtime does not know the container, and leaves it unchanged",
        run: op_2_other,
    },
    Test { id: "OP-3", title: "a create that fails at a mount leaves no mount point in the root", run: op_3_mount },
    Test { id: "OP-3", title: "a create that fails at a device leaves no node in the root", run: op_3_device },
    Test {
        id: "OP-3",
        title: "a create that fails at the program or its directory leaves nothing in the root",
        run: op_3_late,
    },
    Test {
        id: "OP-3",
        title: "a create that fails at a hook leaves no process, mount, cgroup or pid file",
        run: op_3_hook,
    },
    Test { id: "OP-3", title: "a create that fails at a sysctl leaves nothing", run: op_3_sysctl },
    Test {
        id: "OP-3",
        title: "a failing start, delete or kill leaves the state and the process as they were",
        run: op_3_verbs,
    },
    Test { id: "OP-3", title: "the ID and the bundle can be used again after a create that failed", run: op_3_again },
    Test { id: "OP-3", title: "create, start, kill and delete leave the host's mounts as they were", run: op_3_life },
    Test { id: "OP-4", title: "a condition that deserves only a warning stops no operation", run: op_4 },
];

/// Returns everything below a directory, without following links.
fn tree(below: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![below.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// Returns the host's mounts in the bundle.
fn mounts_in(bundle: &Path) -> Result<Vec<String>> {
    let all = parse_mounts(&read(Path::new("/proc/self/mountinfo")))?;
    Ok(all.into_iter().map(|m| m.place).filter(|place| Path::new(place).starts_with(bundle)).collect())
}

/// Returns the processes whose mountinfo has the container's root.
fn processes_of(c: &Container<'_>) -> Vec<String> {
    let root = format!("/{}/rootfs", c.id);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if read(&entry.path().join("mountinfo")).contains(&root) {
            found.push(format!(
                "{} {}",
                entry.path().display(),
                read(&entry.path().join("cmdline")).replace('\0', " ")
            ));
        }
    }
    found
}

/// Fails unless `create` fails and leaves the root, the host's mounts and the processes unchanged.
fn refused_without_trace(c: &Container<'_>) -> Result<()> {
    let before = tree(&c.path("/"));
    c.must_be_refused()?;
    let after = tree(&c.path("/"));
    let new: Vec<_> = after.difference(&before).collect();
    ensure!(new.is_empty(), "left in the root: {new:?}");
    let lost: Vec<_> = before.difference(&after).collect();
    ensure!(lost.is_empty(), "gone from the root: {lost:?}");
    expect("mounts of the host in the bundle", mounts_in(&c.bundle)?, Vec::<String>::new())?;
    expect("processes of the container", processes_of(c), Vec::<String>::new())
}

fn op_2(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.create().ok()?;
    let away = |verb: &[&str]| {
        let mut command = b.command(verb);
        command.current_dir("/").env_clear();
        b.call_to(&mut command, &c.bundle.join("away.out"), &c.bundle.join("away.err"))
    };
    let state: Value = serde_json::from_str(&away(&["state", &c.id]).ok()?.out)?;
    expect("the status", &state["status"], &json!("created"))?;
    away(&["start", &c.id]).ok()?;
    away(&["kill", &c.id, "KILL"]).ok()?;
    c.wait_stopped()?;
    away(&["delete", &c.id]).ok()?;
    c.must_be_gone()
}

fn op_2_other(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    let other = c.bundle.join("other-root");
    fs::create_dir(&other)?;
    for verb in [vec!["state"], vec!["start"], vec!["kill"], vec!["delete"]] {
        let mut command = std::process::Command::new(b.runtime());
        command.arg("--root").arg(&other).args(&verb).arg(&c.id).stdin(std::process::Stdio::null());
        let done = b.call_to(&mut command, &c.bundle.join("other.out"), &c.bundle.join("other.err"));
        done.error().with_context(|| format!("{verb:?} with another state directory"))?;
    }
    c.must_be("running")
}

fn op_3_mount(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::write(c.bundle.join("file"), "")?;
    let file = c.bundle.join("file");
    c.push(&["mounts"], json!({"destination": "/new/deep/dir", "type": "tmpfs", "source": "tmpfs"}));
    c.push(&["mounts"], json!({"destination": "/new/file", "type": "bind", "source": file, "options": ["bind"]}));
    c.push(
        &["mounts"],
        json!({"destination": "/last", "type": "bind", "source": "/nonexistent/source", "options": ["bind"]}),
    );
    refused_without_trace(&c)?;
    // the runtime has created the mount points before the kernel refuses the last file system
    let mounts = c.config["mounts"].as_array_mut().context("mounts")?;
    mounts.pop();
    c.push(&["mounts"], json!({"destination": "/last", "type": "nosuchfs", "source": "none"}));
    refused_without_trace(&c).context("an unknown file system")
}

fn op_3_device(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::write(c.path("/etc/taken"), "a file\n")?;
    c.config["linux"]["devices"] = json!([
        {"path": "/new/null", "type": "c", "major": 1, "minor": 3},
        {"path": "/etc/taken", "type": "c", "major": 1, "minor": 3},
    ]);
    refused_without_trace(&c)?;
    expect("the file in the device's place", read(&c.path("/etc/taken")), "a file\n")
}

fn op_3_late(b: &Harness) -> Result<()> {
    let mut at_create = 0;
    for (key, value) in
        [("cwd", json!("/etc/passwd")), ("args", json!(["/bin/none"])), ("apparmorProfile", json!("none"))]
    {
        let mut c = Container::new(b)?;
        c.config["process"][key] = value.clone();
        c.config["root"]["readonly"] = json!(key == "args");
        c.config["linux"]["devices"] = json!([{"path": "/new/null", "type": "c", "major": 1, "minor": 3}]);
        c.push(&["mounts"], json!({"destination": "/new/dir", "type": "tmpfs", "source": "tmpfs"}));
        let before = tree(&c.path("/"));
        let done = c.create();
        if matches!(&done.status, Ok(status) if status.success()) {
            continue; // reported by start, so that there is a container to delete
        }
        done.error()?;
        at_create += 1;
        let after = tree(&c.path("/"));
        let new: Vec<_> = after.difference(&before).collect();
        ensure!(new.is_empty(), "{key} = {value}: left in the root: {new:?}");
        c.must_be_gone()?;
    }
    if at_create == 0 { skip("this runtime reports none of these at create") } else { Ok(()) }
}

fn op_3_hook(b: &Harness) -> Result<()> {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut c = Container::new(b)?;
        c.config["hooks"] = json!({kind: [{"path": c.path("/bin/busybox"), "args": ["false"]}]});
        c.push(&["mounts"], json!({"destination": "/new/dir", "type": "tmpfs", "source": "tmpfs"}));
        c.write_config()?;
        let file = c.bundle.join("pid");
        let bundle = c.bundle.to_string_lossy();
        let mut command = b.command(["create", "--bundle", &bundle, "--pid-file", &file.to_string_lossy(), &c.id]);
        c.create_as_it_is(&mut command).error().context(kind)?;
        ensure!(!file.exists(), "{kind}: the pid file is left");
        refused_without_trace(&c).context(kind)?;
    }
    Ok(())
}

fn op_3_sysctl(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["sysctl"] = json!({"net.ipv4.no_such_key": "1"});
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    refused_without_trace(&c)
}

/// Returns the state, the start time of the init, and whether there is a cgroup.
fn seen(c: &Container<'_>) -> Result<(Value, i64, bool)> {
    let facts = Facts::of(c)?;
    // field 22 is the start time, which differs for another process with the same pid
    Ok((c.state()?, facts.stat(22)?, find_cgroup(Path::new("/sys/fs/cgroup"), &c.id, 4).is_some()))
}

fn op_3_verbs(b: &Harness) -> Result<()> {
    let c = Container::created(b)?;
    let before = seen(&c)?;
    c.kill("NOSUCHSIGNAL").error()?;
    c.create_as_it_is(&mut c.create_command()).error()?;
    expect("the created container after failed verbs", seen(&c)?, before)?;
    c.start().ok()?;
    Facts::of_program(&c)?;
    let before = seen(&c)?;
    c.start().error()?;
    c.delete().error()?;
    c.kill("NOSUCHSIGNAL").error()?;
    expect("the running container after failed verbs", seen(&c)?, before)
}

fn op_3_again(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let good = c.config["mounts"].clone();
    c.push(&["mounts"], json!({"destination": "/x", "type": "nosuchfs", "source": "none"}));
    c.must_be_refused()?;
    c.config["mounts"] = good;
    Facts::run(&c)?;
    Ok(())
}

fn op_3_life(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    expect("the host's mounts before", mounts_in(&c.bundle)?, Vec::<String>::new())?;
    c.create().ok()?;
    expect("the host's mounts when created", mounts_in(&c.bundle)?, Vec::<String>::new())?;
    c.start().ok()?;
    expect("the host's mounts when running", mounts_in(&c.bundle)?, Vec::<String>::new())?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    expect("the host's mounts after", mounts_in(&c.bundle)?, Vec::<String>::new())?;
    c.must_be_gone()
}

fn op_4(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["process", "capabilities", "bounding"], json!("CAP_NOSUCH"));
    // a relative destination is deprecated, and is resolved from /
    c.push(&["mounts"], json!({"destination": "tmp", "type": "tmpfs", "source": "tmpfs"}));
    c.config["orgExampleUnknown"] = json!(true);
    let facts = Facts::run(&c)?;
    expect("the type of the mount at /tmp", facts.mount("/tmp")?.kind.as_str(), "tmpfs")?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    Ok(())
}
