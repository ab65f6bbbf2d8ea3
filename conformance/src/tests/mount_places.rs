//! The root, the destinations and the sources of mounts (checklist parts 4 and 5).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use anyhow::{Context as _, Result, ensure};
use nix::mount::MsFlags;
use serde_json::json;

use super::Test;
use super::mounts::{bind, tmpfs};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, HostMount, expect, refuse_each};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "RT-1",
        title: "root.path is relative to the bundle, or absolute, and may lead through links",
        run: rt_1_paths,
    },
    Test { id: "RT-1", title: "a root.path that resolves to no directory is an error", run: rt_1_dangling },
    Test { id: "RT-2", title: "without readonly / is writable, with it it is a read-only mount", run: rt_2_flags },
    Test {
        id: "RT-2",
        title: "a read-only root gets its mount points and devices, and stays writable on the host",
        run: rt_2_host,
    },
    Test { id: "RT-3", title: "a user namespace takes a read-only root from a nosuid, nodev mount", run: rt_3 },
    Test { id: "MT-1", title: "a later mount covers an earlier one below it", run: mt_1_covers },
    Test { id: "MT-1", title: "two mounts at one place are both mounted, the later on top", run: mt_1_twice },
    Test { id: "MT-2", title: "a relative destination is taken from /", run: mt_2_relative },
    Test { id: "MT-2", title: "an absolute link of the image is followed inside the root", run: mt_2_link },
    Test { id: "MT-2", title: "a mount without destination, or with an empty one, is an error", run: mt_2_none },
    Test { id: "MT-3", title: "an existing mount point is kept as it is", run: mt_3_kept },
    Test { id: "MT-4", title: "a bind of a single file shows that file, also when it is written", run: mt_4_file },
    Test { id: "MT-4", title: "a file onto a directory, and a file system onto a file, are errors", run: mt_4_kinds },
    Test { id: "MT-5", title: "type bind without the option bind is an error", run: mt_5_type },
    Test { id: "MT-5", title: "bind takes the one mount, rbind the mounts below it too", run: mt_5_recursive },
    Test { id: "MT-6", title: "proc, sysfs, tmpfs, devpts and mqueue are mounted as such", run: mt_6_kinds },
    Test { id: "MT-6", title: "a file system that the kernel does not have is an error", run: mt_6_unknown },
    Test { id: "MT-6", title: "the type cgroup gives a view of cgroups", run: mt_6_cgroup },
    Test { id: "MT-6", title: "proc is not mounted through a link of the image", run: mt_6_link },
    Test { id: "MT-7", title: "overlay takes its directories as data", run: mt_7_overlay },
    Test { id: "MT-7", title: "overlay takes as many lower directories as the kernel does", run: mt_7_overlay_many },
    Test { id: "MT-2", title: "`..` of a destination is taken from its text", run: mt_2_dots },
    Test { id: "MT-10", title: "nothing is mounted that the configuration does not name", run: mt_10 },
];

fn rt_1_paths(b: &Harness) -> Result<()> {
    for path in ["./rootfs", "rootfs/../rootfs/", "link", "inner/link"] {
        let mut c = Container::new(b)?;
        symlink("rootfs", c.bundle.join("link"))?;
        fs::create_dir(c.bundle.join("inner"))?;
        symlink(c.path("/"), c.bundle.join("inner/link"))?;
        c.config["root"]["path"] = json!(path);
        let facts = Facts::run(&c).with_context(|| format!("root.path {path:?}"))?;
        let (seen, wanted) = (fs::metadata(facts.path("root/."))?, fs::metadata(c.path("/"))?);
        expect(&format!("the root by {path:?}"), (seen.dev(), seen.ino()), (wanted.dev(), wanted.ino()))?;
    }
    Ok(())
}

fn rt_1_dangling(b: &Harness) -> Result<()> {
    for to in ["none", "/nonexistent/root", "dangling", "config.json"] {
        let mut c = Container::new(b)?;
        symlink(to, c.bundle.join("dangling"))?;
        c.config["root"]["path"] = json!("dangling");
        c.must_be_refused().with_context(|| format!("a link to {to:?}"))?;
    }
    refuse_each(b, &[(&["root"], json!({})), (&["root"], json!({"path": null}))])
}

fn rt_2_flags(b: &Harness) -> Result<()> {
    for (readonly, flag, other) in [(json!(true), "ro", "rw"), (json!(false), "rw", "ro"), (json!(null), "rw", "ro")] {
        let mut c = Container::new(b)?;
        c.config["root"]["readonly"] = readonly.clone();
        if readonly.is_null() {
            c.remove(&["root", "readonly"]);
        }
        Facts::run(&c)?.mount("/")?.must_have(&[flag], &[other]).with_context(|| format!("readonly {readonly}"))?;
    }
    Ok(())
}

fn rt_2_host(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["root"]["readonly"] = json!(true);
    c.push(&["mounts"], tmpfs("/new/place", &[]));
    c.config["linux"]["devices"] = json!([{"path": "/new/null", "type": "c", "major": 1, "minor": 3}]);
    let facts = Facts::run(&c)?;
    facts.mount("/")?.must_have(&["ro"], &[])?;
    facts.mount("/new/place")?.must_have(&["rw"], &[])?;
    ensure!(facts.path("root/new/null").exists(), "there is no device /new/null");
    fs::write(c.path("/from-the-host"), "").context("write to the root from the host")
}

fn rt_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let place = c.bundle.join("strict");
    let _mount = HostMount::tmpfs(&place, MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    for dir in ["bin", "proc", "dev"] {
        fs::create_dir_all(place.join("rootfs").join(dir))?;
    }
    fs::copy(c.path("/bin/busybox"), place.join("rootfs/bin/busybox"))?;
    symlink("busybox", place.join("rootfs/bin/sleep"))?;
    c.config["root"] = json!({"path": "strict/rootfs", "readonly": true});
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    c.push(&["linux", "namespaces"], json!({"type": "user"}));
    c.config["linux"]["uidMappings"] = map.clone();
    c.config["linux"]["gidMappings"] = map;
    Facts::run(&c)?.mount("/")?.must_have(&["ro", "nosuid", "nodev"], &[])
}

fn mt_1_covers(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for destination in ["/tmp/inner", "/tmp"] {
        c.push(&["mounts"], tmpfs(destination, &[]));
    }
    let facts = Facts::run(&c)?;
    let places: Vec<_> = facts.mounts()?.into_iter().map(|m| m.place).filter(|p| p.starts_with("/tmp")).collect();
    expect("the mounts in their order", places, ["/tmp/inner", "/tmp"].map(str::to_owned).to_vec())?;
    ensure!(!facts.path("root/tmp/inner").exists(), "the earlier mount is to be seen below the later one");
    Ok(())
}

fn mt_1_twice(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("/tmp", &["size=64k"]));
    c.push(&["mounts"], tmpfs("/tmp", &["size=128k"]));
    let facts = Facts::run(&c)?;
    expect("mounts at /tmp", facts.mounts()?.iter().filter(|m| m.place == "/tmp").count(), 2)?;
    let top = facts.mount("/tmp")?;
    ensure!(top.data.iter().any(|option| option == "size=128k"), "the upper one is {top:?}");
    Ok(())
}

fn mt_2_relative(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("tmp", &["size=64k"]));
    c.push(&["mounts"], tmpfs("new/deep", &["size=64k"]));
    let facts = Facts::run(&c)?;
    for place in ["/tmp", "/new/deep"] {
        expect(&format!("the type of the mount at {place}"), facts.mount(place)?.kind.as_str(), "tmpfs")?;
    }
    Ok(())
}

fn mt_2_link(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::create_dir(c.path("/real"))?;
    symlink("/real", c.path("/link"))?;
    c.push(&["mounts"], tmpfs("/link/below", &[]));
    let facts = Facts::run(&c)?;
    expect("the type of the mount at /real/below", facts.mount("/real/below")?.kind.as_str(), "tmpfs")?;
    ensure!(fs::symlink_metadata(c.path("/link"))?.is_symlink(), "the image's link is gone");
    Ok(())
}

fn mt_2_none(b: &Harness) -> Result<()> {
    refuse_each(
        b,
        &[(&["mounts"], json!([{"type": "tmpfs", "source": "tmpfs"}])), (&["mounts"], json!([tmpfs("", &[])]))],
    )
}

fn mt_3_kept(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::write(c.bundle.join("source"), "source\n")?;
    fs::write(c.path("/file"), "first\n")?;
    fs::set_permissions(c.path("/file"), fs::Permissions::from_mode(0o640))?;
    fs::create_dir(c.path("/dir"))?;
    fs::write(c.path("/dir/inside"), "")?;
    fs::set_permissions(c.path("/dir"), fs::Permissions::from_mode(0o1750))?;
    c.push(&["mounts"], bind(&c.bundle.join("source").to_string_lossy(), "/file", &["bind"]));
    c.push(&["mounts"], tmpfs("/dir", &[]));
    let facts = Facts::run(&c)?;
    expect("the file inside", read(&facts.path("root/file")), "source\n")?;
    expect("the file below the mount", read(&c.path("/file")), "first\n")?;
    expect("its mode", fs::metadata(c.path("/file"))?.mode() & 0o7777, 0o640)?;
    expect("the directory's mode", fs::metadata(c.path("/dir"))?.mode() & 0o7777, 0o1750)?;
    ensure!(c.path("/dir/inside").exists(), "what was in the directory is gone");
    Ok(())
}

fn mt_4_file(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "cat /new/file; echo written >/new/file")?;
    let source = c.bundle.join("source");
    fs::write(&source, "source\n")?;
    c.push(&["mounts"], bind("source", "/new/file", &["bind"]));
    expect("what the program read", c.run()?.as_str(), "source\n")?;
    expect("the source after it", read(&source), "written\n")
}

fn mt_4_kinds(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::write(c.bundle.join("source"), "")?;
    c.push(&["mounts"], bind("source", "/tmp", &["bind"]));
    c.must_be_refused().context("a file onto a directory")?.error_saying("not a directory")?;
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("/etc/passwd", &[]));
    c.must_be_refused().context("a tmpfs onto a file")?;
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("/etc/passwd/below", &[]));
    c.must_be_refused().context("below a file")?;
    Ok(())
}

fn mt_5_type(b: &Harness) -> Result<()> {
    for options in [json!([]), json!(["ro"]), json!(null)] {
        let mut c = Container::new(b)?;
        fs::create_dir(c.bundle.join("source"))?;
        let source = c.bundle.join("source");
        c.push(&["mounts"], json!({"destination": "/tmp", "type": "bind", "source": source, "options": options}));
        c.must_be_refused().with_context(|| format!("options {options}"))?;
    }
    Ok(())
}

fn mt_5_recursive(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let tree = c.bundle.join("tree");
    let _outer = HostMount::tmpfs(&tree, MsFlags::empty())?;
    let _inner = HostMount::tmpfs(&tree.join("inner"), MsFlags::empty())?;
    fs::write(tree.join("inner/file"), "")?;
    let source = tree.to_string_lossy().into_owned();
    c.push(&["mounts"], bind(&source, "/flat", &["bind"]));
    c.push(&["mounts"], bind(&source, "/deep", &["rbind"]));
    let facts = Facts::run(&c)?;
    ensure!(facts.path("root/flat/inner").exists(), "bind shows nothing");
    ensure!(!facts.path("root/flat/inner/file").exists(), "bind took the mount below too");
    ensure!(facts.path("root/deep/inner/file").exists(), "rbind left the mount below");
    facts.mount("/deep/inner")?;
    Ok(())
}

fn mt_6_kinds(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut wanted =
        vec![("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs"), ("/sys", "sysfs")];
    if read(std::path::Path::new("/proc/filesystems")).contains("\tmqueue\n") {
        c.push(
            &["mounts"],
            json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid"]}),
        );
        wanted.push(("/dev/mqueue", "mqueue"));
    }
    let facts = Facts::run(&c)?;
    for (place, kind) in wanted {
        expect(&format!("the type of the mount at {place}"), facts.mount(place)?.kind, kind)?;
    }
    // the proc of the container's own pid namespace
    ensure!(read(&facts.path("root/proc/1/cmdline")).starts_with("sleep"), "/proc is of another pid namespace");
    Ok(())
}

fn mt_6_unknown(b: &Harness) -> Result<()> {
    let mount = |kind: &str| json!([{"destination": "/tmp", "type": kind, "source": "none"}]);
    refuse_each(b, &[(&["mounts"], mount("nosuchfs")), (&["mounts"], mount("ext4 "))])
}

fn mt_6_cgroup(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["linux", "namespaces"], json!({"type": "cgroup"}));
    c.push(
        &["mounts"],
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}),
    );
    if !std::path::Path::new("/sys/fs/cgroup").exists() {
        return skip("no /sys/fs/cgroup on this machine");
    }
    let facts = Facts::run(&c)?;
    let mounts = facts.mounts()?;
    // v1 has one mount for each controller; the tmpfs that contains them has no options of its own
    let there: Vec<_> = mounts.iter().filter(|m| m.kind.starts_with("cgroup")).collect();
    ensure!(!there.is_empty(), "no cgroup file system among {mounts:?}");
    for mount in there {
        ensure!(mount.place.starts_with("/sys/fs/cgroup"), "a cgroup file system at {}", mount.place);
        mount.must_have(&["ro", "nosuid"], &[])?;
    }
    Ok(())
}

fn mt_6_link(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    fs::remove_dir(c.path("/proc"))?;
    symlink("/tmp", c.path("/proc"))?;
    // refused, or the link's target unchanged
    if matches!(&c.create().status, Ok(status) if status.success()) {
        let mounts = Facts::of(&c)?.mounts()?;
        ensure!(
            !mounts.iter().any(|m| m.place == "/tmp" && m.kind == "proc"),
            "proc is mounted through the image's link"
        );
    }
    Ok(())
}

fn mt_7_overlay(b: &Harness) -> Result<()> {
    if !read(std::path::Path::new("/proc/filesystems")).contains("\toverlay\n") {
        return skip("this kernel has no overlay file system");
    }
    let mut c = Container::new(b)?;
    let place = c.bundle.join("layers");
    // on a tmpfs, because few file systems can hold an overlay's upper directory
    let _mount = HostMount::tmpfs(&place, MsFlags::empty())?;
    for dir in ["lower", "upper", "work"] {
        fs::create_dir(place.join(dir))?;
    }
    fs::write(place.join("lower/file"), "lower\n")?;
    let option = |name: &str, dir: &str| format!("{name}={}", place.join(dir).display());
    let options = [option("lowerdir", "lower"), option("upperdir", "upper"), option("workdir", "work"), "nodev".into()];
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "overlay", "source": "overlay", "options": options}));
    let facts = Facts::run(&c)?;
    expect("the type of the mount at /tmp", facts.mount("/tmp")?.kind.as_str(), "overlay")?;
    facts.mount("/tmp")?.must_have(&["nodev"], &[])?;
    expect("a file of the lower directory", read(&facts.path("root/tmp/file")), "lower\n")
}

fn mt_7_overlay_many(b: &Harness) -> Result<()> {
    if !read(std::path::Path::new("/proc/filesystems")).contains("\toverlay\n") {
        return skip("this kernel has no overlay file system");
    }
    // the text is longer than the 256 bytes of fsconfig(2), and fits in the page of mount(2)
    for count in [12, 60] {
        let mut c = Container::new(b)?;
        let place = c.bundle.join("l");
        let mut lower = Vec::new();
        for number in 0..count {
            let dir = place.join(number.to_string());
            fs::create_dir_all(&dir)?;
            fs::write(dir.join(format!("file{number}")), "")?;
            lower.push(dir.display().to_string());
        }
        let lower = format!("lowerdir={}", lower.join(":"));
        ensure!(lower.len() > 256 && lower.len() < 4000, "the option has {} bytes", lower.len());
        let overlay = json!({"destination": "/tmp", "type": "overlay", "source": "overlay", "options": [lower, "ro"]});
        c.push(&["mounts"], overlay);
        let facts = Facts::run(&c).with_context(|| format!("{count} lower directories"))?;
        expect("the files of all directories", fs::read_dir(facts.path("root/tmp"))?.count(), count)?;
    }
    Ok(())
}

fn mt_2_dots(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("/none/../new/./place/", &["size=64k"]));
    let facts = Facts::run(&c)?;
    expect("the type of the mount at /new/place", facts.mount("/new/place")?.kind.as_str(), "tmpfs")?;
    ensure!(!c.path("/none").exists(), "/none was created");
    Ok(())
}

fn mt_10(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}, tmpfs("/dev", &[])]);
    let facts = Facts::run(&c)?;
    // devices may be bound one by one
    let extra: Vec<_> =
        facts.mounts()?.into_iter().map(|m| m.place).filter(|p| p.split('/').nth(1) != Some("dev")).collect();
    expect("mounts outside of /dev", extra, ["/", "/proc"].map(str::to_owned).to_vec())?;
    for place in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        ensure!(facts.mount(place).is_err(), "something is mounted at {place}");
    }
    Ok(())
}
