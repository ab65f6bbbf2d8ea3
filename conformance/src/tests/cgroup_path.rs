//! The container's cgroup: its path, its fitness, its owner, its removal (checklist part 10).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Test;
use crate::cgroup::{self, Group, PIDS};
use crate::checks::{exec, exec_prints, need_verb, refused, refused_or_created, with};
use crate::container::{Container, find_cgroup};
use crate::files::read;
use crate::harness::{Harness, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "CG-1", title: "an absolute cgroupsPath is that place below the cgroup mount point", run: absolute },
    Test {
        id: "CG-1",
        title: "the same relative cgroupsPath is the same place, wherever the caller is",
        run: relative,
    },
    Test { id: "CG-1", title: "without a cgroupsPath a container has a cgroup of its own", run: unset },
    Test { id: "CG-1", title: "a cgroupsPath never leaves the cgroup file system", run: never_leaves },
    Test {
        id: "CG-1",
        title: "a cgroupsPath that can be no cgroup is an error",
        run: |b| refused(b, &["linux", "cgroupsPath"], &[json!(7), json!(["x"]), json!("/with\nnewline")]),
    },
    Test { id: "CG-1", title: "the cgroup of an absolute path is removed by delete", run: removed },
    Test { id: "CG-2", title: "create in an existing empty cgroup succeeds", run: fit },
    Test { id: "CG-2", title: "create in a cgroup that has processes is an error and leaves them running", run: busy },
    Test { id: "CG-2", title: "create in a frozen cgroup is an error, not a hang", run: frozen },
    Test { id: "CG-2", title: "exec in a container whose cgroup is frozen is an error, not a hang", run: frozen_exec },
    Test {
        id: "CG-3",
        title: "the container is in a cgroup of its own for every controller that limits need",
        run: every,
    },
    Test { id: "CG-3", title: "limits below a cgroup that has no controllers yet are in force", run: enables },
    Test { id: "CG-3", title: "a memory limit below a threaded cgroup is an error", run: threaded },
    Test {
        id: "CG-3",
        title: "a place below a threaded cgroup is taken, or refused without a trace",
        run: threaded_place,
    },
    Test {
        id: "CG-4",
        title: "only the directory and the delegatable files are given to the program's user",
        run: owner,
    },
    Test {
        id: "CG-4",
        title: "a cgroup keeps its owner without a writable mount of it",
        run: |b| keeps_owner(b, "ro"),
    },
    Test {
        id: "CG-4",
        title: "a cgroup keeps its owner without a cgroup namespace",
        run: |b| keeps_owner(b, "shared"),
    },
    Test { id: "CG-4", title: "a cgroup v1 directory keeps its owner", run: |b| keeps_owner(b, "v1") },
    Test { id: "CG-5", title: "--systemd-cgroup without systemd is an error", run: no_systemd },
    Test { id: "CG-5", title: "--systemd-cgroup creates the scope of slice:prefix:name", run: scope },
    Test { id: "CG-6", title: "the program begins in its cgroup", run: begins },
    Test { id: "CG-6", title: "a process of exec begins in the container's cgroup", run: exec_begins },
    Test { id: "CG-7", title: "delete removes cgroups that the container nested in its own", run: nested },
    Test { id: "CG-7", title: "delete leaves a neighbouring cgroup and its processes alone", run: neighbour },
];

fn placed<'a>(b: &'a Harness, path: &str) -> Result<Container<'a>> {
    with(b, &["linux", "cgroupsPath"], &json!(path))
}

/// Returns a controller that the machine has, whose hierarchy then shows the path of the container's cgroup.
fn some_controller() -> Result<&'static str> {
    match ["pids", "memory", "cpu"].into_iter().find(|name| cgroup::has_controller(name)) {
        Some(name) => Ok(name),
        None => skip("no cgroup controllers in sight"),
    }
}

fn place(pid: Pid) -> Result<String> {
    cgroup::path_of(pid, some_controller()?)
}

fn absolute(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let path = format!("/{}/deep/er", c.id);
    c.config["linux"]["cgroupsPath"] = json!(path);
    c.create().ok()?;
    let now = place(c.pid()?)?;
    ensure!(now == path, "cgroupsPath {path}: the container is in {now}");
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    let controller = some_controller()?;
    ensure!(!cgroup::dir(controller, &path).exists(), "delete left the cgroup {path}");
    // the levels above may remain: they are shared by all containers that name them
    for level in [format!("/{}/deep", c.id), format!("/{}", c.id)] {
        for (mount, _) in cgroup::hierarchies() {
            let _ = fs::remove_dir(mount.join(level.trim_start_matches('/')));
        }
    }
    Ok(())
}

fn relative(b: &Harness) -> Result<()> {
    let name = b.fresh_name();
    let mut places = Vec::new();
    for cwd in ["/", "/tmp"] {
        let c = placed(b, &name)?;
        c.write_config()?;
        c.create_as_it_is(c.create_command().current_dir(cwd)).ok()?;
        places.push(place(c.pid()?)?);
    }
    let inside = places.iter().all(|place| place.ends_with(&format!("/{name}")));
    ensure!(places.first() == places.last() && inside, "cgroupsPath {name}: the containers were in {places:?}");
    Ok(())
}

fn unset(b: &Harness) -> Result<()> {
    let own = place(Pid::this())?;
    let (one, two) = (Container::created(b)?, Container::created(b)?);
    let (first, second) = (place(one.pid()?)?, place(two.pid()?)?);
    ensure!(
        first != second && first != own && second != own,
        "containers in {first} and {second}, the caller in {own}"
    );
    Ok(())
}

fn never_leaves(b: &Harness) -> Result<()> {
    for prefix in ["../../../../", "/../", "/a/../../", "..", "a/../../../"] {
        let mut c = Container::new(b)?;
        c.config["linux"]["cgroupsPath"] = json!(format!("{prefix}/{}", c.id));
        let created = refused_or_created(&c).with_context(|| prefix.to_owned())?;
        if created {
            let found = find_cgroup(Path::new("/sys/fs/cgroup"), &c.id, 4);
            ensure!(found.is_some(), "{prefix}: its cgroup is not below /sys/fs/cgroup");
        }
        for outside in ["/sys", "/", "/sys/fs"] {
            // removed at once, because the test must leave nothing on the machine
            let created = fs::remove_dir_all(Path::new(outside).join(&c.id)).is_ok();
            ensure!(!created, "{prefix}: created a directory in {outside}");
        }
    }
    Ok(())
}

fn removed(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    c.create().ok()?;
    let there = find_cgroup(Path::new("/sys/fs/cgroup"), &c.id, 2);
    ensure!(there.is_some(), "create created no cgroup of that name");
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    c.must_be_gone()
}

fn fit(b: &Harness) -> Result<()> {
    let group = Group::new(&b.fresh_name())?;
    let c = placed(b, &group.path)?;
    c.create().ok()?;
    let now = place(c.pid()?)?;
    ensure!(now == group.path, "the container is in {now}, not in {}", group.path);
    Ok(())
}

fn busy(b: &Harness) -> Result<()> {
    let mut group = Group::new(&b.fresh_name())?;
    let bystander = group.occupy()?;
    let c = placed(b, &group.path)?;
    let refused = c.create().error();
    b.call(["delete", "--force", &c.id]);
    let state = read(Path::new(&format!("/proc/{bystander}/stat")));
    ensure!(!state.is_empty() && !state.contains(") Z "), "the process that was there has been killed");
    refused?;
    ensure!(group.exists(), "the cgroup with the bystander has been removed");
    Ok(())
}

fn frozen(b: &Harness) -> Result<()> {
    let group = Group::new(&b.fresh_name())?;
    group.freeze(true)?;
    let c = placed(b, &group.path)?;
    c.create().error()?;
    Ok(())
}

fn frozen_exec(b: &Harness) -> Result<()> {
    need_verb(b, "exec")?;
    let mut c = Container::new(b)?;
    let path = format!("/{}", c.id);
    c.config["linux"]["cgroupsPath"] = json!(path);
    c.create().ok()?;
    c.start().ok()?;
    cgroup::freeze(&path, true)?;
    let done = exec(b, &c, &["true"]);
    cgroup::freeze(&path, false)?;
    done?.error()?;
    exec(b, &c, &["true"])?.ok().context("after the thaw")?;
    Ok(())
}

fn every(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let path = format!("/{}", c.id);
    c.config["linux"]["cgroupsPath"] = json!(path);
    let mut resources = json!({});
    let limits: [(&str, Value); 3] = [
        ("memory", json!({"limit": 67_108_864})),
        ("pids", json!({"limit": 77})),
        ("cpu", json!({"quota": 50_000, "period": 100_000})),
    ];
    let known: Vec<_> = limits.into_iter().filter(|(name, _)| cgroup::has_controller(name)).collect();
    for (name, value) in &known {
        resources[*name] = value.clone();
    }
    c.config["linux"]["resources"] = resources;
    c.create().ok()?;
    for (name, _) in known {
        let now = cgroup::path_of(c.pid()?, name)?;
        ensure!(now == path, "in the hierarchy of {name} the container is in {now}");
    }
    Ok(())
}

fn enables(b: &Harness) -> Result<()> {
    cgroup::need_controller("pids")?;
    let group = Group::new(&b.fresh_name())?;
    let mut c = placed(b, &format!("{}/a/b", group.path))?;
    c.config["linux"]["resources"] = json!({"pids": {"limit": 77}});
    c.create().ok()?;
    let read = PIDS.must_be(c.pid()?, "77", "77");
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    for (mount, _) in cgroup::hierarchies() {
        let top = mount.join(group.path.trim_start_matches('/'));
        let _ = (fs::remove_dir(top.join("a/b")), fs::remove_dir(top.join("a")));
    }
    read
}

fn threaded(b: &Harness) -> Result<()> {
    cgroup::need_v2()?;
    let group = Group::new(&b.fresh_name())?;
    let inner = Group::new(&format!("{}/threads", group.path))?;
    fs::write(cgroup::dir("", &inner.path).join("cgroup.type"), "threaded").context("make a threaded cgroup")?;
    let mut c = placed(b, &format!("{}/{}", inner.path, b.fresh_name()))?;
    c.config["linux"]["resources"]["memory"] = json!({"limit": 67_108_864});
    c.must_be_refused()?;
    Ok(())
}

fn threaded_place(b: &Harness) -> Result<()> {
    cgroup::need_v2()?;
    let group = Group::new(&b.fresh_name())?;
    let inner = Group::new(&format!("{}/threads", group.path))?;
    fs::write(cgroup::dir("", &inner.path).join("cgroup.type"), "threaded").context("make a threaded cgroup")?;
    let place = format!("{}/{}", inner.path, b.fresh_name());
    let c = placed(b, &place)?;
    if !matches!(&c.create().status, Ok(status) if status.success()) {
        return c.must_be_gone();
    }
    let own = cgroup::path_of(c.pid()?, "")?;
    ensure!(own == place, "the container is in {own}, not in {place}");
    b.call(["delete", "--force", &c.id]).ok()?;
    c.must_be_gone()
}

/// Prepares a container of an ordinary user with its own writable view of its cgroup.
fn delegated<'a>(b: &'a Harness) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("/{}", c.id));
    c.config["process"]["user"] = json!({"uid": 1234, "gid": 1234});
    c.push(&["linux", "namespaces"], json!({"type": "cgroup"}));
    c.push(
        &["mounts"],
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev"]}),
    );
    Ok(c)
}

/// Returns the names in a cgroup that user 1234 owns; `.` is the directory.
fn given_away(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if fs::metadata(dir)?.uid() == 1234 {
        found.push(".".to_owned());
    }
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.metadata()?.uid() == 1234 {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn owner(b: &Harness) -> Result<()> {
    cgroup::need_v2()?;
    let c = delegated(b)?;
    c.create().ok()?;
    let dir = cgroup::dir("", &place(c.pid()?)?);
    let found = given_away(&dir)?;
    if found.is_empty() {
        return skip("the runtime hands no cgroup over, as it may");
    }
    let list = read(Path::new("/sys/kernel/cgroup/delegate"));
    let list = if list.is_empty() { "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned() } else { list };
    let mut wanted: Vec<String> = list.lines().filter(|name| dir.join(name).exists()).map(str::to_owned).collect();
    wanted.push(".".to_owned());
    wanted.sort_unstable();
    ensure!(found == wanted, "handed over: {found:?}, it has to be {wanted:?}");
    Ok(())
}

fn keeps_owner(b: &Harness, kind: &str) -> Result<()> {
    if kind == "v1" {
        cgroup::need_v1()?
    } else {
        cgroup::need_v2()?
    }
    let mut c = delegated(b)?;
    match kind {
        "ro" => {
            if let Some(mount) = c.config["mounts"].as_array_mut().and_then(|list| list.last_mut()) {
                mount["options"] = json!(["ro", "nosuid"]);
            }
        }
        "shared" => {
            if let Some(list) = c.config["linux"]["namespaces"].as_array_mut() {
                list.pop();
            }
        }
        _ => {}
    }
    c.create().ok()?;
    let controller = some_controller()?;
    let found = given_away(&cgroup::dir(controller, &cgroup::path_of(c.pid()?, controller)?))?;
    ensure!(found.is_empty(), "handed over: {found:?}");
    Ok(())
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn no_systemd(b: &Harness) -> Result<()> {
    if systemd_runs() {
        return skip("systemd runs here");
    }
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("system.slice:cf:{}", c.id));
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy().into_owned();
    b.call(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]).error()?;
    c.must_be_gone()
}

fn scope(b: &Harness) -> Result<()> {
    if !systemd_runs() {
        return skip("no systemd runs here");
    }
    let help = b.call(["--help"]).out;
    if !help.contains("--systemd-cgroup") {
        return skip("the runtime has no --systemd-cgroup");
    }
    let mut c = Container::new(b)?;
    c.config["linux"]["cgroupsPath"] = json!(format!("system.slice:cf:{}", c.id));
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy().into_owned();
    b.call(["--systemd-cgroup", "create", "--bundle", &bundle, &c.id]).ok()?;
    let (now, wanted) = (place(c.pid()?)?, format!("/system.slice/cf-{}.scope", c.id));
    ensure!(now.starts_with(&wanted), "the container is in {now}, it has to be in {wanted}");
    Ok(())
}

fn begins(b: &Harness) -> Result<()> {
    let controller = some_controller()?;
    let mut c = Container::new(b)?;
    c.config["process"]["args"] = json!(["cat", "/proc/self/cgroup"]);
    let path = format!("/{}", c.id);
    c.config["linux"]["cgroupsPath"] = json!(path);
    let out = c.run()?;
    let now = cgroup::path_in(&out, controller);
    ensure!(now.as_deref() == Some(&path), "{controller}: the program began in {now:?}, it has to begin in {path}");
    Ok(())
}

fn exec_begins(b: &Harness) -> Result<()> {
    let controller = some_controller()?;
    let mut c = Container::new(b)?;
    let path = format!("/{}", c.id);
    c.config["linux"]["cgroupsPath"] = json!(path);
    c.create().ok()?;
    c.start().ok()?;
    let out = exec_prints(b, &c, &["cat", "/proc/self/cgroup"])?;
    let now = cgroup::path_in(&out, controller);
    ensure!(now.as_deref() == Some(&path), "{controller}: it began in {now:?}, it has to begin in {path}");
    Ok(())
}

fn nested(b: &Harness) -> Result<()> {
    let c = Container::running(b)?;
    let mut dirs = Vec::new();
    let below = place(c.pid()?)?;
    for (mount, names) in cgroup::hierarchies() {
        let dir = match names.first() {
            Some(name) => cgroup::dir(name, &cgroup::path_of(c.pid()?, name)?),
            None => mount.join(below.trim_start_matches('/')),
        };
        if dir.is_dir() && dir != mount {
            fs::create_dir_all(dir.join("nest/ed")).with_context(|| format!("make a cgroup in {dir:?}"))?;
            dirs.push(dir);
        }
    }
    ensure!(!dirs.is_empty(), "the container is in no cgroup of its own");
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    let deleted = c.delete().ok();
    let left: Vec<_> = dirs.iter().filter(|dir| dir.exists()).collect();
    for dir in &left {
        let _ = (fs::remove_dir(dir.join("nest/ed")), fs::remove_dir(dir.join("nest")), fs::remove_dir(dir));
    }
    ensure!(left.is_empty(), "delete left {left:?}");
    deleted?;
    Ok(())
}

fn neighbour(b: &Harness) -> Result<()> {
    let mut group = Group::new(&b.fresh_name())?;
    let bystander = group.occupy()?;
    let parent = Group::new(&b.fresh_name())?;
    let c = placed(b, &format!("{}/{}", parent.path, b.fresh_name()))?;
    c.create().ok()?;
    b.call(["delete", "--force", &c.id]).ok()?;
    ensure!(group.exists(), "delete removed a cgroup that the runtime did not create");
    ensure!(parent.exists(), "delete removed a cgroup that was there before create");
    let state = read(Path::new(&format!("/proc/{bystander}/stat")));
    if state.is_empty() || state.contains(") Z ") {
        bail!("delete killed a process that was not the container's");
    }
    Ok(())
}
