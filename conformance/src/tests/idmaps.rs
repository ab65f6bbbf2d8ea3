//! Every kind of namespace, new and joined, id maps, clocks (checklist part 7).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::net::UnixListener;

use anyhow::{Context as _, Result, ensure};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use super::Test;
use super::identity::in_user_namespace;
use crate::container::Container;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, expect, need_namespace, refuse_each};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "NS-1", title: "each type alone is new, the others are the runtime's", run: ns_1 },
    Test { id: "NS-1", title: "an unknown or empty type is an error", run: ns_1_unknown },
    Test { id: "NS-2", title: "a joined pid namespace: the program is another process in it", run: ns_2_pid },
    Test { id: "NS-2", title: "a joined cgroup namespace", run: ns_2_cgroup },
    Test { id: "NS-2", title: "a joined time namespace", run: ns_2_time },
    Test { id: "NS-2", title: "one namespace file may be joined by several containers", run: ns_2_shared },
    Test {
        id: "NS-3",
        title: "a socket, a fifo or a directory in a namespace's place is an error and no hang",
        run: ns_3_files,
    },
    Test { id: "NS-4", title: "every type given twice is an error", run: ns_4_all },
    Test { id: "NS-5", title: "without a mount namespace the program has the configured root", run: ns_5_root },
    Test { id: "NS-6", title: "joining namespaces that the runtime is in already is no error", run: ns_6 },
    Test { id: "NS-7", title: "a joined user namespace and those that belong to it", run: ns_7 },
    Test { id: "NS-7", title: "a new user namespace and a joined one of the host", run: ns_7_host },
    Test { id: "UM-1", title: "several ranges are mapped as they are listed", run: um_1_ranges },
    Test { id: "UM-1", title: "the program's user is mapped to the host", run: um_1_host },
    Test { id: "UM-1", title: "the root's owners are left as they are", run: um_1_owners },
    Test { id: "UM-1", title: "a mapping of one kind of ids alone is an error", run: um_1_half },
    Test { id: "UM-1", title: "ranges that overlap or run over the last id are errors", run: um_1_ranges_bad },
    Test { id: "TM-1", title: "a time namespace without offsets has the host's clocks", run: tm_1_none },
    Test { id: "TM-1", title: "offsets may be negative and have nanoseconds", run: tm_1_values },
    Test {
        id: "TM-1",
        title: "unknown clocks, a second of nanoseconds and a joined namespace are errors",
        run: tm_1_bad,
    },
];

/// The types in the configuration and the names in /proc of the namespaces that depend on no other.
const KINDS: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn own(file: &str) -> Result<String> {
    Ok(fs::read_link(format!("/proc/thread-self/ns/{file}"))?.to_string_lossy().into_owned())
}

/// Prepares a container with these namespaces, and no mount but proc.
fn with<'a>(b: &'a Harness, namespaces: Value) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    c.config["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    c.config["linux"]["namespaces"] = namespaces;
    Ok(c)
}

fn ns_1(b: &Harness) -> Result<()> {
    for (kind, file) in KINDS {
        if need_namespace(file).is_err() {
            continue; // older kernels have fewer
        }
        let mut list = vec![json!({"type": "mount"})];
        if kind != "mount" {
            list.push(json!({"type": kind}));
        }
        let c = with(b, json!(list))?;
        let facts = Facts::run(&c).with_context(|| format!("a {kind} namespace"))?;
        for (other, file) in KINDS {
            if need_namespace(file).is_err() {
                continue;
            }
            let new = facts.link(&format!("ns/{file}"))? != own(file)?;
            expect(&format!("with {kind}: the {other} namespace is new"), new, other == kind || other == "mount")?;
        }
        b.call(["delete", "--force", &c.id]).ok()?;
    }
    Ok(())
}

fn ns_1_unknown(b: &Harness) -> Result<()> {
    let list = |kind: Value| json!([{"type": "pid"}, {"type": "mount"}, {"type": kind}]);
    let path: &[&str] = &["linux", "namespaces"];
    refuse_each(
        b,
        &[(path, list(json!("nosuch"))), (path, list(json!(""))), (path, list(json!(null))), (path, json!([{}]))],
    )
}

fn ns_2_pid(b: &Harness) -> Result<()> {
    let holder = Container::running(b)?;
    let pid = holder.pid()?;
    let c = with(b, json!([{"type": "mount"}, {"type": "pid", "path": format!("/proc/{pid}/ns/pid")}]))?;
    let facts = Facts::run(&c)?;
    expect("the pid namespace", facts.link("ns/pid")?, Facts::of(&holder)?.link("ns/pid")?)?;
    let inside = facts.status("NSpid")?;
    ensure!(inside.split(' ').nth(1).is_some_and(|pid| pid != "1"), "pids of the program: {inside}");
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    holder.must_be("running")
}

/// Fails unless a container can be created in the namespace of this kind that another container has created.
fn joins(b: &Harness, kind: &str, file: &str) -> Result<()> {
    need_namespace(file)?;
    let mut list = vec![json!({"type": "pid"})];
    if kind != "mount" {
        list.push(json!({"type": "mount"}));
    }
    let mut held = list.clone();
    held.push(json!({"type": kind}));
    let holder = with(b, json!(held))?;
    let holder_facts = Facts::run(&holder)?;
    list.push(json!({"type": kind, "path": holder_facts.path(&format!("ns/{file}"))}));
    let c = with(b, json!(list))?;
    let facts = Facts::run(&c)?;
    let link = format!("ns/{file}");
    expect(&format!("the {kind} namespace"), facts.link(&link)?, holder_facts.link(&link)?)
}

fn ns_2_cgroup(b: &Harness) -> Result<()> {
    joins(b, "cgroup", "cgroup")
}

fn ns_2_time(b: &Harness) -> Result<()> {
    joins(b, "time", "time")
}

fn ns_2_shared(b: &Harness) -> Result<()> {
    let holder = Container::running(b)?;
    let path = Facts::of(&holder)?.path("ns/net");
    let namespaces = json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": path}]);
    let (one, two) = (with(b, namespaces.clone())?, with(b, namespaces)?);
    let (first, second) = (Facts::run(&one)?, Facts::run(&two)?);
    expect("the network namespaces", first.link("ns/net")?, second.link("ns/net")?)?;
    ensure!(first.link("ns/mnt")? != second.link("ns/mnt")?, "the mount namespace is shared too");
    Ok(())
}

fn ns_3_files(b: &Harness) -> Result<()> {
    for name in ["socket", "fifo", "directory"] {
        let mut c = Container::new(b)?;
        let path = c.bundle.join(name);
        let _listener = match name {
            "socket" => Some(UnixListener::bind(&path)?),
            "fifo" => nix::unistd::mkfifo(&path, Mode::S_IRWXU).map(|()| None)?,
            _ => fs::create_dir(&path).map(|()| None)?,
        };
        c.config["linux"]["namespaces"] =
            json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": path}]);
        c.must_be_refused().context(name)?;
    }
    Ok(())
}

fn ns_4_all(b: &Harness) -> Result<()> {
    for kind in ["pid", "ipc", "uts", "mount", "cgroup"] {
        let mut c = Container::new(b)?;
        c.config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}, {"type": kind}]);
        c.must_be_refused().with_context(|| format!("{kind} twice"))?;
    }
    Ok(())
}

fn ns_5_root(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    // no mounts, because they would be made on the host
    c.config["mounts"] = json!([]);
    c.config["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}]);
    let facts = Facts::run(&c)?;
    expect("the mount namespace", facts.link("ns/mnt")?, own("mnt")?)?;
    let (root, wanted) = (fs::metadata(facts.path("root/."))?, fs::metadata(c.path("/"))?);
    expect("the program's root", (root.dev(), root.ino()), (wanted.dev(), wanted.ino()))
}

fn ns_6(b: &Harness) -> Result<()> {
    let mut list = vec![json!({"type": "mount"}), json!({"type": "pid"})];
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        list.push(json!({"type": kind, "path": format!("/proc/{}/ns/{file}", std::process::id())}));
    }
    let c = with(b, json!(list))?;
    let facts = Facts::run(&c)?;
    for file in ["net", "ipc", "uts"] {
        let suite = fs::read_link(format!("/proc/{}/ns/{file}", std::process::id()))?;
        expect(file, facts.link(&format!("ns/{file}"))?, suite.to_string_lossy().into_owned())?;
    }
    Ok(())
}

fn ns_7(b: &Harness) -> Result<()> {
    let holder = in_user_namespace(b, 1000)?;
    let held = Facts::run(&holder)?;
    let mut c = in_user_namespace(b, 1000)?;
    let mut list = vec![json!({"type": "mount"}), json!({"type": "pid"})];
    let joined = [("user", "user"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")];
    for (kind, file) in joined {
        list.push(json!({"type": kind, "path": held.path(&format!("ns/{file}"))}));
    }
    c.config["linux"]["namespaces"] = json!(list);
    c.remove(&["linux", "uidMappings"]);
    c.remove(&["linux", "gidMappings"]);
    let facts = Facts::run(&c)?;
    for (kind, file) in joined {
        let link = format!("ns/{file}");
        expect(&format!("the {kind} namespace"), facts.link(&link)?, held.link(&link)?)?;
    }
    expect("the user on the host", facts.status("Uid")?.as_str(), "20000 20000 20000 20000")
}

fn ns_7_host(b: &Harness) -> Result<()> {
    let holder = Container::running(b)?;
    let path = Facts::of(&holder)?.path("ns/net");
    let mut c = in_user_namespace(b, 1000)?;
    c.config["linux"]["namespaces"] =
        json!([{"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "network", "path": path}]);
    let facts = Facts::run(&c)?;
    expect("the network namespace", facts.link("ns/net")?, Facts::of(&holder)?.link("ns/net")?)?;
    ensure!(facts.link("ns/user")? != own("user")?, "the user namespace is the runtime's");
    Ok(())
}

/// Returns the numbers of a map, line by line.
fn map(facts: &Facts, file: &str) -> Result<Vec<Vec<u32>>> {
    let line = |line: &str| line.split_whitespace().map(|number| Ok(number.parse()?)).collect::<Result<Vec<u32>>>();
    facts.read(file)?.lines().map(line).collect()
}

fn um_1_ranges(b: &Harness) -> Result<()> {
    let mut c = in_user_namespace(b, 1000)?;
    let range = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    c.config["linux"]["uidMappings"] = json!([range(0, 20000, 10), range(10, 0, 1), range(1000, 50000, 500)]);
    c.config["linux"]["gidMappings"] = json!([range(0, 20000, 10), range(100, 4_000_000_000, 294_967_295)]);
    let facts = Facts::run(&c)?;
    expect("uid_map", map(&facts, "uid_map")?, vec![vec![0, 20000, 10], vec![10, 0, 1], vec![1000, 50000, 500]])?;
    expect("gid_map", map(&facts, "gid_map")?, vec![vec![0, 20000, 10], vec![100, 4_000_000_000, 294_967_295]])
}

fn um_1_host(b: &Harness) -> Result<()> {
    let mut c = in_user_namespace(b, 1000)?;
    c.config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9, 10]});
    let facts = Facts::run(&c)?;
    expect("uids on the host", facts.status("Uid")?.as_str(), "20007 20007 20007 20007")?;
    expect("gids on the host", facts.status("Gid")?.as_str(), "20008 20008 20008 20008")?;
    expect("groups on the host", facts.status("Groups")?.as_str(), "20009 20010")
}

fn um_1_owners(b: &Harness) -> Result<()> {
    let c = in_user_namespace(b, 1000)?;
    let files = [("/etc/passwd", 0, 0), ("/bin", 20005, 20006), ("/tmp", 60000, 60001)];
    for (file, uid, gid) in files {
        chown(c.path(file), Some(uid), Some(gid))?;
    }
    Facts::run(&c)?;
    for (file, uid, gid) in files {
        let meta = fs::metadata(c.path(file))?;
        expect(&format!("the owner of {file} on the host"), (meta.uid(), meta.gid()), (uid, gid))?;
    }
    Ok(())
}

fn um_1_half(b: &Harness) -> Result<()> {
    for missing in ["uidMappings", "gidMappings"] {
        let mut c = in_user_namespace(b, 1000)?;
        c.remove(&["linux", missing]);
        c.must_be_refused().with_context(|| format!("without {missing}"))?;
    }
    Ok(())
}

fn um_1_ranges_bad(b: &Harness) -> Result<()> {
    let range = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    for ranges in [
        json!([range(0, 20000, 10), range(5, 30000, 10)]),
        json!([range(0, 20000, 10), range(10, 20005, 10)]),
        json!([range(0, 4_294_967_290, 10)]),
        json!([range(4_294_967_290, 20000, 10)]),
        json!([{"containerID": 0, "hostID": -1, "size": 10}]),
        json!((0..400).map(|n| range(n, 20000 + 2 * n, 1)).collect::<Vec<_>>()),
    ] {
        let mut c = in_user_namespace(b, 1000)?;
        c.config["linux"]["uidMappings"] = ranges.clone();
        c.must_be_refused().with_context(|| format!("uidMappings {ranges:.100}"))?;
    }
    Ok(())
}

/// Returns the offsets of the namespace that the program is in.
fn offsets(facts: &Facts) -> Result<Vec<Vec<String>>> {
    let text = facts.read("timens_offsets")?;
    Ok(text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
}

fn with_clocks<'a>(b: &'a Harness, offsets: Value) -> Result<Container<'a>> {
    if need_namespace("time").is_err() {
        return skip("this kernel has no time namespaces");
    }
    let mut c = with(b, json!([{"type": "mount"}, {"type": "pid"}, {"type": "time"}]))?;
    c.config["linux"]["timeOffsets"] = offsets;
    Ok(c)
}

fn tm_1_none(b: &Harness) -> Result<()> {
    for given in [json!(null), json!({})] {
        let mut c = with_clocks(b, given.clone())?;
        if given.is_null() {
            c.remove(&["linux", "timeOffsets"]);
        }
        let facts = Facts::run(&c)?;
        ensure!(facts.link("ns/time")? != own("time")?, "the time namespace is the runtime's");
        let wanted = [["monotonic", "0", "0"], ["boottime", "0", "0"]].map(|line| line.map(str::to_owned).to_vec());
        expect("the offsets", offsets(&facts)?, wanted.to_vec())?;
    }
    Ok(())
}

fn tm_1_values(b: &Harness) -> Result<()> {
    let c = with_clocks(b, json!({"monotonic": {"secs": -1, "nanosecs": 999_999_999}, "boottime": {"nanosecs": 5}}))?;
    let facts = Facts::run(&c)?;
    let wanted =
        [["monotonic", "-1", "999999999"], ["boottime", "0", "5"]].map(|line| line.map(str::to_owned).to_vec());
    expect("the offsets", offsets(&facts)?, wanted.to_vec())
}

fn tm_1_bad(b: &Harness) -> Result<()> {
    for given in [
        json!({"realtime": {"secs": 1}}),
        json!({"monotonic": {"secs": 1, "nanosecs": 1_000_000_000}}),
        json!({"boottime": {"secs": "1"}}),
    ] {
        let c = with_clocks(b, given.clone())?;
        c.must_be_refused().with_context(|| given.to_string())?;
    }
    let mut c = with_clocks(b, json!({"monotonic": {"secs": 1}}))?;
    c.config["linux"]["namespaces"] =
        json!([{"type": "mount"}, {"type": "pid"}, {"type": "time", "path": "/proc/self/ns/time"}]);
    c.must_be_refused().context("a joined namespace")?;
    Ok(())
}
