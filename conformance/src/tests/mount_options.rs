//! Mount options: flags, recursive flags, propagation, data, and id-mapped mounts (checklist part 5).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::mount::MsFlags;
use serde_json::json;

use super::Test;
use super::mounts::{bind, tmpfs};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, HostMount, Mount, expect};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "MT-8", title: "options for mount(8) alone are not the file system's", run: mt_8 },
    Test { id: "MT-9", title: "flags of a new file system are those asked for", run: mt_9_new },
    Test { id: "MT-9", title: "a flag and its counterpart: the later holds", run: mt_9_order },
    Test { id: "MT-9", title: "times: noatime, nodiratime, relatime, strictatime", run: mt_9_times },
    Test { id: "MT-9", title: "nosymfollow, on a new file system and on a bind mount", run: mt_9_symfollow },
    Test { id: "MT-9", title: "flags of the file system: sync, dirsync, lazytime", run: mt_9_super },
    Test {
        id: "MT-9",
        title: "flags without a mark are taken: defaults, loud, silent, iversion, mand and opposites",
        run: mt_9_unmarked,
    },
    Test { id: "MT-9", title: "a bind mount that asks for nothing keeps its source's flags", run: mt_9_inherited },
    Test { id: "MT-9", title: "rw, suid, dev and exec clear what a bind mount's source has", run: mt_9_cleared },
    Test { id: "MT-9", title: "in a user namespace: locked flags stay, to clear one is an error", run: mt_9_locked },
    Test { id: "MT-9", title: "bind with remount changes the existing mount", run: mt_9_remount },
    Test { id: "MT-9", title: "flags of a bind mount leave the source as it is", run: mt_9_source },
    Test { id: "MT-9", title: "recursive flags hold for the whole tree", run: mt_9_tree },
    Test { id: "MT-9", title: "flags that are not recursive hold for the top of the tree alone", run: mt_9_top },
    Test { id: "MT-9", title: "recursive opposites clear flags in the whole tree", run: mt_9_tree_cleared },
    Test { id: "MT-9", title: "recursive flags hold for a new file system too", run: mt_9_recursive_new },
    Test { id: "MT-9", title: "propagation of a mount: private, slave, shared, unbindable", run: mt_9_propagation },
    Test { id: "MT-9", title: "recursive propagation reaches the mounts below", run: mt_9_propagation_tree },
    Test { id: "MT-9", title: "tmpcopyup starts a tmpfs with a copy of what it covers", run: mt_9_copyup },
    Test { id: "MI-1", title: "gidMappings of a mount without uidMappings is an error", run: mi_1_gid },
    Test { id: "MI-2", title: "an id-mapped bind mount shows and takes owners through its mapping", run: mi_2_idmap },
    Test { id: "MI-2", title: "mappings without an option are those of idmap", run: mi_2_implied },
    Test { id: "MI-2", title: "idmap maps the one mount, ridmap the whole tree", run: mi_2_tree },
    Test {
        id: "MI-3",
        title: "idmap without mappings takes the user namespace's; without one it is an error",
        run: mi_3,
    },
    Test { id: "MI-4", title: "a file system that cannot be id-mapped is an error", run: mi_4 },
];

/// Returns the mounts of new file systems with these options, all in one container.
fn mounted(b: &Harness, lists: &[&[&str]]) -> Result<Vec<Mount>> {
    let mut c = Container::new(b)?;
    for (number, options) in lists.iter().enumerate() {
        c.push(&["mounts"], tmpfs(&format!("/m{number}"), options));
    }
    let facts = Facts::run(&c).with_context(|| format!("mounts with one of the options {lists:?}"))?;
    (0..lists.len()).map(|number| facts.mount(&format!("/m{number}"))).collect()
}

/// Fails unless a new file system with one of these options has that flag and none of the others.
fn each_alone(b: &Harness, options: &[&str], flags: &[&str]) -> Result<()> {
    let lists: Vec<_> = options.iter().map(std::slice::from_ref).collect();
    for ((mount, flag), option) in mounted(b, &lists)?.into_iter().zip(flags).zip(options) {
        let others: Vec<_> = flags.iter().copied().filter(|other| other != flag).collect();
        mount.must_have(&[flag], &others).with_context(|| format!("option {option}"))?;
    }
    Ok(())
}

fn mt_8(b: &Harness) -> Result<()> {
    let options =
        ["nofail", "noauto", "user", "_netdev", "comment=x", "X-mount.mkdir", "x-systemd.automount", "size=64k"];
    for mount in mounted(b, &[&options])? {
        ensure!(mount.data.iter().any(|option| option == "size=64k"), "size=64k is not there: {mount:?}");
    }
    Ok(())
}

fn mt_9_new(b: &Harness) -> Result<()> {
    let flags = ["ro", "nosuid", "nodev", "noexec"];
    each_alone(b, &flags, &flags)
}

fn mt_9_order(b: &Harness) -> Result<()> {
    let mounts = mounted(
        b,
        &[
            &["ro", "nosuid", "nodev", "noexec", "rw", "suid", "dev", "exec"],
            &["rw", "suid", "dev", "exec", "ro", "nosuid", "nodev", "noexec"],
        ],
    )?;
    let strict = ["ro", "nosuid", "nodev", "noexec"];
    for (mount, (present, absent)) in mounts.iter().zip([(&["rw"] as &[&str], &strict as &[&str]), (&strict, &["rw"])])
    {
        mount.must_have(present, absent)?;
    }
    Ok(())
}

fn mt_9_times(b: &Harness) -> Result<()> {
    let mounts = mounted(b, &[&["noatime"], &["strictatime"], &["relatime"], &["nodiratime"]])?;
    let wanted: [(&[&str], &[&str]); 4] = [
        (&["noatime"], &["relatime"]),
        (&[], &["noatime", "relatime"]),
        (&["relatime"], &["noatime"]),
        (&["nodiratime"], &["noatime"]),
    ];
    mounts.iter().zip(wanted).try_for_each(|(mount, (present, absent))| mount.must_have(present, absent))
}

fn mt_9_symfollow(b: &Harness) -> Result<()> {
    let mounts = mounted(b, &[&["nosymfollow"], &["nosymfollow", "symfollow"]])?;
    for (mount, there) in mounts.iter().zip([true, false]) {
        expect("nosymfollow", mount.has("nosymfollow"), there)?;
    }
    bound(b, MsFlags::empty(), &["bind", "nosymfollow"])?.must_have(&["nosymfollow"], &[])
}

fn mt_9_super(b: &Harness) -> Result<()> {
    let flags = ["sync", "dirsync", "lazytime"];
    let mounts = mounted(b, &[&["sync"], &["dirsync"], &["lazytime"], &["async", "nolazytime"]])?;
    for (number, mount) in mounts.iter().enumerate() {
        for (at, flag) in flags.iter().enumerate() {
            let there = mount.data.iter().any(|have| have == flag);
            ensure!(there == (at == number), "{flag} of {}: {:?}", mount.place, mount.data);
        }
    }
    Ok(())
}

fn mt_9_unmarked(b: &Harness) -> Result<()> {
    let flags =
        ["defaults", "silent", "loud", "iversion", "noiversion", "mand", "nomand", "diratime", "atime", "norelatime"];
    let lists: Vec<_> = flags.iter().map(|flag| [*flag, "size=64k"]).collect();
    for mount in mounted(b, &lists.iter().map(|list| list as &[&str]).collect::<Vec<_>>())? {
        ensure!(mount.data.iter().any(|option| option == "size=64k"), "size=64k is not there: {mount:?}");
    }
    Ok(())
}

/// Returns the mount of a tmpfs of the host that has these flags and is bound to /tmp with these options.
fn bound(b: &Harness, flags: MsFlags, options: &[&str]) -> Result<Mount> {
    let mut c = Container::new(b)?;
    let place = c.bundle.join("source");
    let _mount = HostMount::tmpfs(&place, flags)?;
    c.push(&["mounts"], bind(&place.to_string_lossy(), "/tmp", options));
    Facts::run(&c).and_then(|facts| facts.mount("/tmp")).with_context(|| format!("options {options:?}"))
}

fn strict() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

fn mt_9_inherited(b: &Harness) -> Result<()> {
    bound(b, strict(), &["bind"])?.must_have(&["nosuid", "nodev", "noexec"], &[])?;
    bound(b, MsFlags::empty(), &["bind"])?.must_have(&["rw"], &["nosuid", "nodev", "noexec"])
}

fn mt_9_cleared(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let place = c.bundle.join("source");
    let mount = HostMount::tmpfs(&place, strict())?;
    mount.set_flags(strict() | MsFlags::MS_RDONLY)?;
    c.push(&["mounts"], bind(&place.to_string_lossy(), "/tmp", &["bind", "rw", "suid", "dev", "exec"]));
    Facts::run(&c)?.mount("/tmp")?.must_have(&["rw"], &["ro", "nosuid", "nodev", "noexec"])
}

fn mt_9_locked(b: &Harness) -> Result<()> {
    for (options, is_error) in
        [(&["bind"][..], false), (&["bind", "ro"], false), (&["bind", "exec"], true), (&["bind", "relatime"], true)]
    {
        let mut c = Container::new(b)?;
        let place = c.bundle.join("source");
        let mount = HostMount::tmpfs(&place, MsFlags::empty())?;
        mount.set_flags(strict() | MsFlags::MS_NOATIME)?;
        let map = json!([{"containerID": 0, "hostID": 30000, "size": 1000}]);
        c.push(&["linux", "namespaces"], json!({"type": "user"}));
        c.config["linux"]["uidMappings"] = map.clone();
        c.config["linux"]["gidMappings"] = map;
        c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        for dir in ["/", "/dev"] {
            chown(c.path(dir), Some(30000), Some(30000))?;
        }
        c.push(&["mounts"], bind(&place.to_string_lossy(), "/tmp", options));
        if is_error {
            c.must_be_refused().with_context(|| format!("options {options:?}"))?;
            continue;
        }
        let flags = ["nosuid", "nodev", "noexec", "noatime"];
        Facts::run(&c)?.mount("/tmp")?.must_have(&flags, &[]).with_context(|| format!("options {options:?}"))?;
    }
    Ok(())
}

fn mt_9_remount(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], tmpfs("/tmp", &["size=64k"]));
    c.push(&["mounts"], bind("/tmp", "/tmp", &["bind", "remount", "ro", "nosuid"]));
    let facts = Facts::run(&c)?;
    expect("mounts at /tmp", facts.mounts()?.iter().filter(|m| m.place == "/tmp").count(), 1)?;
    facts.mount("/tmp")?.must_have(&["ro", "nosuid"], &[])
}

fn mt_9_source(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let source = c.bundle.join("source");
    let _mount = HostMount::tmpfs(&source, MsFlags::empty())?;
    c.push(&["mounts"], bind(&source.to_string_lossy(), "/tmp", &["bind", "ro", "nosuid"]));
    Facts::run(&c)?.mount("/tmp")?.must_have(&["ro"], &[])?;
    fs::write(source.join("file"), "").context("write to the source, on the host")?;
    let host = crate::proc_facts::parse_mounts(&read(Path::new("/proc/thread-self/mountinfo")))?;
    let own = host.iter().find(|m| Path::new(&m.place) == source).context("the source's own mount")?;
    own.must_have(&["rw"], &["ro", "nosuid"])
}

/// Binds a tree of two mounts of the host with each of these lists of options; returns the top and the inner mount of
/// each.
fn trees(b: &Harness, flags: MsFlags, lists: &[&[&str]]) -> Result<Vec<[Mount; 2]>> {
    let mut c = Container::new(b)?;
    let place = c.bundle.join("tree");
    let _outer = HostMount::tmpfs(&place, flags)?;
    let _inner = HostMount::tmpfs(&place.join("inner"), flags)?;
    for (number, options) in lists.iter().enumerate() {
        c.push(&["mounts"], bind(&place.to_string_lossy(), &format!("/t{number}"), options));
    }
    let facts = Facts::run(&c).with_context(|| format!("mounts with one of the options {lists:?}"))?;
    (0..lists.len()).map(|n| Ok([facts.mount(&format!("/t{n}"))?, facts.mount(&format!("/t{n}/inner"))?])).collect()
}

fn mt_9_tree(b: &Harness) -> Result<()> {
    let options = ["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnodiratime", "rnosymfollow"];
    let lists: Vec<_> = options.iter().map(|option| ["rbind", *option]).collect();
    let lists: Vec<_> = lists.iter().map(|list| list as &[&str]).collect();
    for (mounts, option) in trees(b, MsFlags::empty(), &lists)?.iter().zip(options) {
        for mount in mounts {
            mount
                .must_have(&[option.strip_prefix('r').unwrap_or(option)], &[])
                .with_context(|| format!("option {option}"))?;
        }
    }
    Ok(())
}

fn mt_9_top(b: &Harness) -> Result<()> {
    for [top, inner] in trees(b, MsFlags::empty(), &[&["rbind", "ro", "nosuid"]])? {
        top.must_have(&["ro", "nosuid"], &[])?;
        inner.must_have(&["rw"], &["ro", "nosuid"])?;
    }
    Ok(())
}

fn mt_9_tree_cleared(b: &Harness) -> Result<()> {
    for mount in trees(b, strict(), &[&["rbind", "rsuid", "rdev", "rexec"]])?.iter().flatten() {
        mount.must_have(&[], &["nosuid", "nodev", "noexec"])?;
    }
    for mount in trees(b, MsFlags::MS_NOATIME, &[&["rbind", "rstrictatime"]])?.iter().flatten() {
        mount.must_have(&[], &["noatime", "relatime"])?;
    }
    Ok(())
}

fn mt_9_recursive_new(b: &Harness) -> Result<()> {
    let options = ["rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rnosymfollow"];
    each_alone(b, &options, &options.map(|option| option.strip_prefix('r').unwrap_or(option)))
}

const PROPAGATION: [(&str, &str); 4] =
    [("private", ""), ("slave", "master:"), ("shared", "shared:"), ("unbindable", "unbindable")];

/// Fails unless the fields of mountinfo match; a slave of a private mount is private.
fn propagates(mount: &Mount, kind: &str, mark: &str) -> Result<()> {
    let seen = &mount.propagation;
    let fits = match kind {
        "private" => seen.is_empty(),
        "slave" => seen.is_empty() || seen.starts_with(mark),
        _ => seen.contains(mark),
    };
    ensure!(fits, "the mount at {} with {kind}: expected {mark:?}, seen {seen:?}", mount.place);
    Ok(())
}

fn mt_9_propagation(b: &Harness) -> Result<()> {
    let mounts = mounted(b, &[&["private"], &["slave"], &["shared"], &["unbindable"]])?;
    mounts.iter().zip(PROPAGATION).try_for_each(|(mount, (kind, mark))| propagates(mount, kind, mark))?;
    propagates(&bound(b, MsFlags::empty(), &["bind", "shared"])?, "shared", "shared:")
}

fn mt_9_propagation_tree(b: &Harness) -> Result<()> {
    let lists: [&[&str]; 4] =
        [&["rbind", "rprivate"], &["rbind", "rslave"], &["rbind", "rshared"], &["rbind", "runbindable"]];
    for (mounts, (kind, mark)) in trees(b, MsFlags::empty(), &lists)?.iter().zip(PROPAGATION) {
        mounts.iter().try_for_each(|mount| propagates(mount, kind, mark))?;
    }
    for [top, inner] in trees(b, MsFlags::empty(), &[&["rbind", "shared"]])? {
        propagates(&top, "shared", "shared:")?;
        propagates(&inner, "private", "")?;
    }
    Ok(())
}

fn mt_9_copyup(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "echo changed >/data/file; rm /data/gone; sleep 1000")?;
    fs::create_dir_all(c.path("/data/sub"))?;
    fs::write(c.path("/data/file"), "first\n")?;
    fs::write(c.path("/data/gone"), "there\n")?;
    fs::set_permissions(c.path("/data/sub"), fs::Permissions::from_mode(0o750))?;
    chown(c.path("/data/sub"), Some(12), Some(34))?;
    c.push(&["mounts"], tmpfs("/data", &["tmpcopyup"]));
    let created = c.create();
    if !matches!(&created.status, Ok(status) if status.success()) {
        // optional: a runtime without it has to refuse it
        created.error()?;
        return skip("this runtime has no tmpcopyup");
    }
    let facts = Facts::of(&c)?;
    expect("the type of the mount", facts.mount("/data")?.kind.as_str(), "tmpfs")?;
    expect("a copied file", read(&facts.path("root/data/file")), "first\n")?;
    let sub = fs::metadata(facts.path("root/data/sub"))?;
    expect("mode and owner of a copied directory", (sub.mode() & 0o7777, sub.uid(), sub.gid()), (0o750, 12, 34))?;
    c.start().ok()?;
    crate::harness::wait_until("the program writes", || Ok((!facts.path("root/data/gone").exists()).then_some(())))?;
    expect("the image's file", read(&c.path("/data/file")), "first\n")?;
    expect("the image's other file", read(&c.path("/data/gone")), "there\n")
}

fn mi_1_gid(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut mount = bind("/etc", "/tmp", &["bind", "idmap"]);
    mount["gidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    c.push(&["mounts"], mount);
    c.must_be_refused()?;
    Ok(())
}

/// Skips the test where the kernel is older than id-mapped mounts of the file system that is used here.
fn need_idmap() -> Result<()> {
    let release = read(Path::new("/proc/sys/kernel/osrelease"));
    let mut numbers = release.split(['.', '-']).map_while(|number| number.trim().parse::<u32>().ok());
    // tmpfs supports them since 6.3
    if (numbers.next(), numbers.next()) >= (Some(6), Some(3)) {
        return Ok(());
    }
    skip(&format!("Linux {} has no id-mapped mounts of a tmpfs", release.trim()))
}

/// Prepares a container with a tmpfs of the host, and another one in it, id-mapped to /tmp: owner 0 is 1000, 5 is 1005.
fn idmapped<'a>(b: &'a Harness, options: &[&str]) -> Result<(Container<'a>, [HostMount; 2])> {
    need_idmap()?;
    let mut c = Container::new(b)?;
    let place = c.bundle.join("tree");
    let mounts =
        [HostMount::tmpfs(&place, MsFlags::empty())?, HostMount::tmpfs(&place.join("inner"), MsFlags::empty())?];
    for (name, owner) in [("zero", 0), ("five", 5), ("stranger", 5000), ("inner/zero", 0)] {
        fs::write(place.join(name), "")?;
        chown(place.join(name), Some(owner), Some(owner))?;
    }
    let mut mount = bind(&place.to_string_lossy(), "/tmp", options);
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    c.push(&["mounts"], mount);
    Ok((c, mounts))
}

fn owner(facts: &Facts, file: &str) -> Result<(u32, u32)> {
    let path = facts.path("root").join(file);
    let meta = fs::metadata(&path).with_context(|| format!("{}", path.display()))?;
    Ok((meta.uid(), meta.gid()))
}

fn mi_2_idmap(b: &Harness) -> Result<()> {
    let (mut c, _mounts) = idmapped(b, &["bind", "idmap"])?;
    c.config["process"]["args"] = json!(["sh", "-c", "touch /tmp/new; sleep 1000"]);
    c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    fs::set_permissions(c.bundle.join("tree"), fs::Permissions::from_mode(0o777))?;
    c.create().ok()?;
    c.start().ok()?;
    let facts = Facts::of(&c)?;
    expect("the owner of a file of 0:0", owner(&facts, "tmp/zero")?, (1000, 1000))?;
    expect("the owner of a file of 5:5", owner(&facts, "tmp/five")?, (1005, 1005))?;
    expect("the owner of a file outside of the mapping", owner(&facts, "tmp/stranger")?, (65534, 65534))?;
    let new = c.bundle.join("tree/new");
    crate::harness::wait_until("the program creates a file", || Ok(new.exists().then_some(())))?;
    let meta = fs::metadata(&new)?;
    expect("the owner on the host of a file that 1000:1000 created", (meta.uid(), meta.gid()), (0, 0))
}

fn mi_2_implied(b: &Harness) -> Result<()> {
    let (c, _mounts) = idmapped(b, &["bind"])?;
    expect("the owner of a file of 0:0", owner(&Facts::run(&c)?, "tmp/zero")?, (1000, 1000))
}

fn mi_2_tree(b: &Harness) -> Result<()> {
    for (option, inner) in [("idmap", 0), ("ridmap", 1000)] {
        let (c, _mounts) = idmapped(b, &["rbind", option])?;
        let facts = Facts::run(&c).context(option)?;
        expect(&format!("{option}: the owner at the top"), owner(&facts, "tmp/zero")?, (1000, 1000))?;
        expect(&format!("{option}: the owner in the mount below"), owner(&facts, "tmp/inner/zero")?, (inner, inner))?;
    }
    Ok(())
}

fn mi_3(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], bind("/etc", "/tmp", &["bind", "idmap"]));
    c.must_be_refused().context("idmap without mappings and without a user namespace")?;
    let (mut c, _mounts) = idmapped(b, &["bind", "idmap"])?;
    if let Some(mount) = c.config["mounts"].as_array_mut().and_then(|list| list.pop()) {
        let bare = bind(mount["source"].as_str().unwrap_or_default(), "/tmp", &["bind", "idmap"]);
        c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}, bare]);
    }
    let map = json!([{"containerID": 0, "hostID": 30000, "size": 1000}]);
    c.push(&["linux", "namespaces"], json!({"type": "user"}));
    c.config["linux"]["uidMappings"] = map.clone();
    c.config["linux"]["gidMappings"] = map;
    for dir in ["/", "/dev"] {
        chown(c.path(dir), Some(30000), Some(30000))?;
    }
    let facts = Facts::run(&c)?;
    expect("the owner of a file of 0:0, seen from the host", owner(&facts, "tmp/zero")?, (30000, 30000))
}

fn mi_4(b: &Harness) -> Result<()> {
    need_idmap()?;
    let mut c = Container::new(b)?;
    // no kernel supports id-mapped mounts of procfs
    let mut mount = bind("/proc/sys", "/tmp", &["bind", "idmap"]);
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    mount["uidMappings"] = map.clone();
    mount["gidMappings"] = map;
    c.push(&["mounts"], mount);
    c.must_be_refused()?;
    Ok(())
}
