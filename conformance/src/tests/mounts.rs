//! Root and mounts, masked and read-only paths (checklist parts 4, 5 and 17).

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::container::Container;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "RT-2", title: "root.readonly makes / read-only and leaves the mounts on it as they are", run: rt_2 },
    Test { id: "MT-1", title: "mounts are mounted in order, a later one inside an earlier one", run: mt_1 },
    Test {
        id: "MT-2",
        title: "a destination never leaves the root, neither by .. nor by a symlink of the image",
        run: mt_2,
    },
    Test { id: "MT-3", title: "a missing destination is created: a directory, or a file for a file", run: mt_3 },
    Test { id: "MT-4", title: "a missing source, and a directory onto a file, are errors", run: mt_4 },
    Test { id: "MT-5", title: "bind and rbind create a bind mount, whatever the type is", run: mt_5 },
    Test { id: "MT-7", title: "options that are no flags are the file system's data", run: mt_7 },
    Test { id: "MT-7", title: "an unknown option is an error, on a bind mount too", run: mt_7_unknown },
    Test { id: "MT-9", title: "flags of a bind mount are those asked for", run: mt_9 },
    Test { id: "MT-9", title: "rro makes a whole tree read-only", run: mt_9_recursive },
    Test { id: "LX-1", title: "rootfsPropagation is the propagation of /", run: lx_1 },
    Test { id: "LX-2", title: "masked files and directories show nothing, missing ones are no error", run: lx_2 },
    Test { id: "LX-3", title: "read-only paths refuse writes, missing ones are no error", run: lx_3 },
    Test { id: "LX-6", title: "relative masked paths are errors", run: lx_6 },
    Test { id: "MI-1", title: "uidMappings of a mount without gidMappings is an error", run: mi_1 },
];

/// Returns a tmpfs for the configuration.
pub fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// Returns a bind mount for the configuration.
pub fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

/// Returns the fields of the mount at `path` in a container's mountinfo: its own options, and the propagation fields.
fn mount_line<'t>(mountinfo: &'t str, path: &str) -> Result<(&'t str, &'t str)> {
    let line = mountinfo.lines().rev().find(|line| line.split(' ').nth(4) == Some(path));
    let line = line.with_context(|| format!("no mount at {path} in:\n{mountinfo}"))?;
    let (own, _) = line.split_once(" - ").context("mountinfo without a separator")?;
    let (head, optional) = own.match_indices(' ').nth(5).map_or((own, ""), |(at, _)| own.split_at(at));
    Ok((head.split(' ').nth(5).unwrap_or_default(), optional.trim()))
}

fn rt_2(b: &Harness) -> Result<()> {
    let script = "touch /file 2>&1; touch /tmp/file && echo /tmp is writable; touch /dev/shm/x && echo shm is writable";
    let mut c = Container::script(b, script)?;
    c.config["root"]["readonly"] = json!(true);
    c.push(&["mounts"], tmpfs("/tmp", &[]));
    let out = c.run()?;
    ensure!(out.contains("Read-only file system") && !c.path("/file").exists(), "/ is writable: {out}");
    ensure!(out.contains("/tmp is writable") && out.contains("shm is writable"), "a mount is read-only: {out}");
    Ok(())
}

fn mt_1(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "cat /proc/self/mountinfo; test -d /tmp/inner/deeper && echo nested")?;
    for destination in ["/tmp", "/tmp/inner", "/tmp/inner/deeper"] {
        c.push(&["mounts"], tmpfs(destination, &[]));
    }
    let out = c.run()?;
    let places: Vec<_> = out.lines().filter_map(|l| l.split(' ').nth(4)).filter(|p| p.starts_with("/tmp")).collect();
    ensure!(places == ["/tmp", "/tmp/inner", "/tmp/inner/deeper"], "mounts: {places:?}");
    ensure!(out.contains("nested"), "the inner mounts are hidden: {out}");
    Ok(())
}

fn mt_2(b: &Harness) -> Result<()> {
    for (link, destination) in [("", "/../../../../outside"), ("lnk", "/lnk/sub/dir")] {
        let mut c = Container::script(b, "echo ran")?;
        let outside = c.bundle.join("outside");
        fs::create_dir(&outside)?;
        if !link.is_empty() {
            symlink(&outside, c.path(link))?;
        }
        c.push(&["mounts"], tmpfs(destination, &[]));
        // refused or confined: both leave the host unchanged
        if matches!(&c.create().status, Ok(status) if status.success()) {
            c.start().ok()?;
            c.wait_stopped()?;
        }
        ensure!(fs::read_dir(&outside)?.next().is_none(), "{destination}: created something outside of the root");
    }
    Ok(())
}

fn mt_3(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "stat -c '%n %F' /a/b/dir /a/c/file; cat /a/c/file; stat -c %a /a")?;
    let source = c.bundle.join("source");
    fs::create_dir(&source)?;
    fs::write(source.join("file"), "content\n")?;
    let source = source.to_string_lossy().into_owned();
    c.push(&["mounts"], bind(&source, "/a/b/dir", &["bind"]));
    c.push(&["mounts"], bind(&format!("{source}/file"), "/a/c/file", &["bind"]));
    let out = c.run()?;
    ensure!(out == "/a/b/dir directory\n/a/c/file regular file\ncontent\n755\n", "it printed {out:?}");
    Ok(())
}

fn mt_4(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], bind("/nonexistent/source", "/tmp", &["bind"]));
    c.must_be_refused()?.error_saying("no such file or directory")?;
    let mut c = Container::new(b)?;
    c.push(&["mounts"], bind("/etc", "/etc/passwd", &["bind"]));
    c.must_be_refused()?.error_saying("not a directory")?;
    let mut c = Container::script(b, "ls /tmp")?;
    fs::create_dir(c.bundle.join("beside"))?;
    fs::write(c.bundle.join("beside/found"), "")?;
    c.push(&["mounts"], bind("beside", "/tmp", &["bind"]));
    let out = c.run()?;
    ensure!(out == "found\n", "a relative source is one of the bundle; it printed {out:?}");
    Ok(())
}

fn mt_5(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "ls /tmp")?;
    fs::create_dir(c.bundle.join("source"))?;
    fs::write(c.bundle.join("source/found"), "")?;
    let source = c.bundle.join("source").to_string_lossy().into_owned();
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "tmpfs", "source": source, "options": ["rbind"]}));
    let out = c.run()?;
    ensure!(out == "found\n", "it printed {out:?}");
    Ok(())
}

fn mt_7(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "grep ' /tmp ' /proc/self/mountinfo; stat -c %a /tmp")?;
    c.push(&["mounts"], tmpfs("/tmp", &["nosuid", "size=64k", "mode=1711"]));
    let out = c.run()?;
    ensure!(out.contains("size=64k") && out.contains("nosuid") && out.trim_end().ends_with("1711"), "it printed {out}");
    Ok(())
}

fn mt_7_unknown(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("/tmp", &["nosuchoption"]));
    c.must_be_refused()?;
    let mut c = Container::new(b)?;
    c.push(&["mounts"], bind("/etc", "/tmp", &["bind", "nosuchoption"]));
    c.must_be_refused()?;
    Ok(())
}

fn mt_9(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "cat /proc/self/mountinfo")?;
    let source = c.bundle.join("source");
    fs::create_dir(&source)?;
    let source = source.to_string_lossy().into_owned();
    c.push(&["mounts"], bind(&source, "/plain", &["bind"]));
    c.push(&["mounts"], bind(&source, "/strict", &["bind", "ro", "nosuid", "nodev", "noexec", "noatime"]));
    let out = c.run()?;
    let (plain, _) = mount_line(&out, "/plain")?;
    let (strict, _) = mount_line(&out, "/strict")?;
    ensure!(plain.split(',').any(|flag| flag == "rw"), "/plain is {plain}");
    for flag in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
        ensure!(strict.split(',').any(|have| have == flag), "/strict lacks {flag}: {strict}");
        ensure!(flag == "noatime" || !plain.split(',').any(|have| have == flag), "/plain has {flag}: {plain}");
    }
    Ok(())
}

fn mt_9_recursive(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "grep ' /tree' /proc/self/mountinfo")?;
    // the one tree with mounts in it that every machine has: cgroups are mounted below /sys
    c.push(&["mounts"], bind("/sys", "/tree", &["rbind", "rro"]));
    let out = c.run()?;
    ensure!(out.lines().count() > 1, "no tree with mounts in it at /tree: {out:?}");
    for line in out.lines() {
        ensure!(line.split(' ').nth(5).is_some_and(|f| f.split(',').any(|f| f == "ro")), "not read-only: {line}");
    }
    Ok(())
}

fn lx_1(b: &Harness) -> Result<()> {
    for (propagation, mark) in
        [("private", ""), ("slave", "master:"), ("shared", "shared:"), ("unbindable", "unbindable")]
    {
        let mut c = Container::script(b, "cat /proc/self/mountinfo")?;
        c.config["linux"]["rootfsPropagation"] = json!(propagation);
        let out = c.run().context(propagation)?;
        let (_, optional) = mount_line(&out, "/")?;
        // a slave of a private mount is private: whether there is a master depends on the host's own propagation
        let fits = match propagation {
            "private" => optional.is_empty(),
            "slave" => optional.is_empty() || optional.contains(mark),
            _ => optional.contains(mark),
        };
        ensure!(fits, "{propagation}: the root has {optional:?}");
    }
    Ok(())
}

fn lx_2(b: &Harness) -> Result<()> {
    let mut c =
        Container::script(b, "cat /secret; ls /secrets; touch /secrets/x 2>/dev/null && echo writable; echo end")?;
    fs::write(c.path("/secret"), "seen\n")?;
    fs::create_dir(c.path("/secrets"))?;
    fs::write(c.path("/secrets/file"), "")?;
    c.config["linux"]["maskedPaths"] = json!(["/secret", "/secrets", "/none", "/proc/kcore", "/sys/firmware"]);
    let out = c.run()?;
    ensure!(out == "end\n", "it printed {out:?}");
    Ok(())
}

fn lx_3(b: &Harness) -> Result<()> {
    let script = "for f in /file /dir/x /proc/sys/kernel/domainname; do echo y 2>/dev/null >$f && echo wrote $f; done; cat /file; ls /dir";
    let mut c = Container::script(b, script)?;
    fs::write(c.path("/file"), "kept\n")?;
    fs::create_dir(c.path("/dir"))?;
    c.config["linux"]["readonlyPaths"] = json!(["/file", "/dir", "/none", "/proc/sys"]);
    let out = c.run()?;
    ensure!(
        out.replace("sh: can't create", "").lines().last() == Some("kept") && !out.contains("wrote"),
        "it printed {out:?}"
    );
    Ok(())
}

fn lx_6(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["maskedPaths"] = json!(["proc/kcore"]);
    c.must_be_refused().map(drop)
}

fn mi_1(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut mount = bind("/etc", "/tmp", &["bind", "idmap"]);
    mount["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    c.push(&["mounts"], mount);
    c.must_be_refused()?;
    Ok(())
}
