//! Tests against the kernel: cgroups with unique names, created on this machine's v1, hybrid or v2 layout and removed
//! by `Drop`. Run as root; otherwise each test prints why it is skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use oci_spec::runtime::{Linux, LinuxResources};

use super::*;
use crate::cgroup::plan::CgroupOptions;
use crate::cgroup::plan::OnPermissionDenied;
use crate::cgroup::plan::plan;
use base::error::describe;

/// A cgroup of a test, or one that a test created as an obstacle.
struct Guard(Cgroup);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.thaw();
        let _ = self.0.destroy();
    }
}

struct Process(Child);

impl Process {
    fn sleeping() -> Process {
        Process(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn wait_dead(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_alive() {
            assert!(Instant::now() < deadline, "process {} lives on", self.pid());
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("croci-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The machine's layout, or `None` with the reason printed.
fn layout() -> Option<layout::Layout> {
    if !nix::unistd::geteuid().is_root() {
        linux::testing::report_skip("needs root");
        return None;
    }
    match layout::detect().unwrap() {
        layout::Layout::None => {
            linux::testing::report_skip("no cgroups here");
            None
        }
        layout => Some(layout),
    }
}

fn planned(layout: &layout::Layout, path: &str, resources: &str) -> CgroupPlan {
    let json = format!(r#"{{"cgroupsPath":{path:?},"resources":{resources}}}"#);
    let linux: Linux = serde_json::from_str(&json).unwrap();
    let mut plan = plan(Some(&linux), "id", layout, &CgroupOptions::default()).unwrap();
    probe_existing(&mut plan).unwrap();
    plan
}

fn created(layout: &layout::Layout, path: &str, resources: &str) -> Guard {
    Guard(create(&planned(layout, path, resources), &mut |_| Ok(())).map_err(|err| describe(&err)).unwrap())
}

fn value(cgroup: &Cgroup, controller: &str, v1: &str, v2: &str) -> String {
    let path = match cgroup.record.is_pure_v2() {
        true => format!("{}/{v2}", cgroup.unified_path().unwrap()),
        false => format!("{}/{v1}", cgroup.controller_path(controller).unwrap()),
    };
    files::read(&path).unwrap().trim().to_owned()
}

fn has_memory(layout: &layout::Layout) -> bool {
    match layout {
        layout::Layout::Legacy(list) => list.iter().any(|h| h.controllers.iter().any(|name| name == "memory")),
        _ => files::read("/sys/fs/cgroup/cgroup.controllers").unwrap().contains("memory"),
    }
}

#[test]
fn de_2_only_created_cgroups_are_removed() {
    let Some(layout) = layout() else { return };
    let top = name();
    let outer = created(&layout, &format!("/{top}"), "{}");
    let inner = created(&layout, &format!("{top}/a/b/c"), "{}");
    let paths: Vec<String> = inner.0.paths().collect();
    assert!(paths.iter().all(|path| Path::new(path).is_dir()), "{paths:?}");
    assert!(inner.0.record().dirs.iter().all(|dir| dir.created_depth == 3));
    inner.0.destroy().unwrap();
    assert!(outer.0.paths().all(|path| Path::new(&path).is_dir() && !Path::new(&format!("{path}/a")).exists()));
    inner.0.destroy().unwrap(); // gone already: no error
    outer.0.destroy().unwrap();
    assert!(outer.0.paths().all(|path| !Path::new(&path).exists()));
}

#[test]
fn part_11_limits_reach_their_files() {
    let Some(layout) = layout() else { return };
    if !has_memory(&layout) {
        return linux::testing::report_skip("no memory controller");
    }
    let resources = r#"{"memory":{"limit":16777216,"swap":16777216,"reservation":8388608},"cpu":{"shares":1024,
        "quota":50000,"period":100000,"burst":10000},"pids":{"limit":7}}"#;
    let guard = created(&layout, &name(), resources);
    for (controller, v1, v2, in_v1, in_v2) in [
        ("memory", "memory.limit_in_bytes", "memory.max", "16777216", "16777216"),
        ("memory", "memory.soft_limit_in_bytes", "memory.low", "8388608", "8388608"),
        ("cpu", "cpu.shares", "cpu.weight", "1024", "100"),
        ("cpu", "cpu.cfs_quota_us", "cpu.max", "50000", "50000 100000"),
        ("cpu", "cpu.cfs_burst_us", "cpu.max.burst", "10000", "10000"),
        ("pids", "pids.max", "pids.max", "7", "7"),
    ] {
        let expected = if guard.0.record.is_pure_v2() { in_v2 } else { in_v1 };
        assert_eq!(value(&guard.0, controller, v1, v2), expected, "{v2}");
    }
}

#[test]
fn op_3_a_refused_limit_leaves_nothing_and_is_named() {
    let Some(layout) = layout() else { return };
    let path = format!("/{}/x", name());
    let resources = if matches!(layout, layout::Layout::Unified) {
        r#"{"unified":{"cgroup.max.depth":"nonsense"}}"#
    } else {
        r#"{"cpu":{"cpus":"9-1"}}"#
    };
    let plan = planned(&layout, &path, resources);
    let err = describe(&create(&plan, &mut |_| Ok(())).unwrap_err());
    assert!(err.starts_with("linux.resources.") && err.contains("write ") && err.contains("invalid argument"), "{err}");
    let (parent, _) = path.rsplit_once('/').unwrap();
    assert!(plan.record.dirs.iter().all(|dir| !Path::new(&format!("{}{parent}", dir.mount)).exists()));
}

#[test]
fn cg_2_a_busy_cgroup_is_refused_and_its_process_survives() {
    let Some(layout) = layout() else { return };
    let path = format!("/{}", name());
    let guard = created(&layout, &path, "{}");
    let mut bystander = Process::sleeping();
    guard.0.join_pid(bystander.pid()).unwrap();
    let plan = planned(&layout, &path, "{}");
    assert!(plan.record.dirs.iter().all(|dir| dir.created_depth == 0));
    let err = describe(&create(&plan, &mut |_| Ok(())).unwrap_err());
    assert!(
        err.contains("container's cgroup is not empty: 1 process(es) found")
            && err.contains(&bystander.pid().to_string()),
        "{err}"
    );
    Cgroup::open(&plan.record()).destroy().unwrap(); // what `delete --force` of the failed container does
    assert!(bystander.is_alive());
    assert_eq!(guard.0.pids().unwrap(), [bystander.pid()]);
}

#[test]
fn cg_2_a_frozen_cgroup_is_refused_also_when_it_is_the_parent() {
    let Some(layout) = layout() else { return };
    let path = format!("/{}", name());
    let guard = created(&layout, &path, "{}");
    guard.0.freeze().unwrap();
    for path in [path.clone(), format!("{path}/below")] {
        let err = describe(&create(&planned(&layout, &path, "{}"), &mut |_| Ok(())).unwrap_err());
        assert!(err.contains("container's cgroup unexpectedly frozen"), "{path}: {err}");
    }
    assert!(guard.0.paths().all(|path| !Path::new(&format!("{path}/below")).exists()));
}

#[test]
fn cg_2_a_cgroup_created_by_another_process_meanwhile_is_refused() {
    let Some(layout) = layout() else { return };
    let path = format!("/{}", name());
    let plan = planned(&layout, &path, "{}");
    let guard = created(&layout, &path, "{}");
    let err = describe(&create(&plan, &mut |_| Ok(())).unwrap_err());
    assert!(err.contains("file exists"), "{err}");
    assert!(guard.0.paths().all(|path| Path::new(&path).is_dir()));
}

#[test]
fn ki_2_kill_reaches_all_processes_also_of_a_frozen_container() {
    let Some(layout) = layout() else { return };
    let guard = created(&layout, &name(), "{}");
    let mut processes = [Process::sleeping(), Process::sleeping()];
    processes.iter().for_each(|process| guard.0.join_pid(process.pid()).unwrap());
    assert_eq!(guard.0.pids().unwrap().len(), 2);
    assert!(!guard.0.is_frozen().unwrap());
    guard.0.freeze().unwrap();
    assert!(guard.0.is_frozen().unwrap());
    guard.0.kill(libc::SIGCONT).unwrap();
    assert!(guard.0.is_frozen().unwrap() && processes[0].is_alive());
    guard.0.kill(libc::SIGKILL).unwrap();
    processes.iter_mut().for_each(Process::wait_dead);
    assert!(guard.0.pids().unwrap().is_empty());
}

#[test]
fn ki_2_other_signals_reach_all_processes() {
    let Some(layout) = layout() else { return };
    let guard = created(&layout, &name(), "{}");
    let mut processes = [Process::sleeping(), Process::sleeping()];
    processes.iter().for_each(|process| guard.0.join_pid(process.pid()).unwrap());
    guard.0.kill(libc::SIGRTMIN()).unwrap();
    processes.iter_mut().for_each(Process::wait_dead);
    assert!(!guard.0.is_frozen().unwrap());
}

#[test]
fn cg_7_nested_cgroups_with_processes_are_removed() {
    let Some(layout) = layout() else { return };
    let guard = created(&layout, &name(), "{}");
    let mut process = Process::sleeping();
    for path in guard.0.paths() {
        let nested = format!("{path}/in/deeper");
        fs::create_dir_all(&nested).unwrap();
        if path.contains("/cpuset/") {
            for (dir, file) in ["in", "in/deeper"].iter().flat_map(|dir| [(dir, "cpuset.cpus"), (dir, "cpuset.mems")]) {
                files::write(&format!("{path}/{dir}/{file}"), &files::read(&format!("{path}/{file}")).unwrap())
                    .unwrap();
            }
        }
        files::write(&format!("{nested}/cgroup.procs"), &process.pid().to_string()).unwrap();
    }
    assert_eq!(guard.0.pids().unwrap(), [process.pid()]);
    guard.0.destroy().unwrap();
    assert!(guard.0.paths().all(|path| !Path::new(&path).exists()));
    process.wait_dead();
}

#[test]
fn cg_7_a_process_moved_in_one_hierarchy_only_does_not_stop_the_removal() {
    let Some(layout) = layout() else { return };
    let guard = created(&layout, &name(), "{}");
    let mut process = Process::sleeping();
    let path = guard.0.controller_path("pids").unwrap_or_else(|| guard.0.unified_path().unwrap());
    files::write(&format!("{path}/cgroup.procs"), &process.pid().to_string()).unwrap();
    guard.0.destroy().unwrap();
    process.wait_dead();
}

#[test]
fn up_1_update_raises_and_lowers_and_rolls_back() {
    let Some(layout) = layout() else { return };
    if !has_memory(&layout) {
        return linux::testing::report_skip("no memory controller");
    }
    let parse = |json: &str| -> LinuxResources { serde_json::from_str(json).unwrap() };
    let first =
        r#"{"memory":{"limit":16777216,"swap":33554432},"cpu":{"quota":20000,"period":20000},"pids":{"limit":7}}"#;
    let guard = created(&layout, &name(), first);
    let mut current = parse(first);
    let limit = |guard: &Guard| value(&guard.0, "memory", "memory.limit_in_bytes", "memory.max");
    for (update, expected) in [
        (r#"{"memory":{"limit":67108864,"swap":67108864},"cpu":{"quota":200000,"period":100000}}"#, "67108864"),
        (
            r#"{"memory":{"limit":8388608,"swap":8388608},"cpu":{"quota":5000,"period":10000},"pids":{"limit":0}}"#,
            "8388608",
        ),
        (r#"{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":0,"swap":0}}"#, "8388608"),
    ] {
        guard.0.update(&parse(update), &current).map_err(|err| describe(&err)).unwrap();
        current = resources::merge(&current, &parse(update));
        assert_eq!(limit(&guard), expected, "{update}");
    }
    assert_eq!(value(&guard.0, "pids", "pids.max", "pids.max"), "1");
    // the write to the last file fails: the first two files have their old values again
    let bad = if guard.0.record.is_pure_v2() {
        r#"{"memory":{"limit":16777216,"swap":16777216},"pids":{"limit":9},"unified":{"cgroup.max.depth":"nonsense"}}"#
    } else {
        r#"{"memory":{"limit":16777216,"swap":16777216},"pids":{"limit":9},"blockIO":{"throttleReadBpsDevice":[{"major":0,"minor":99999,"rate":1}]}}"#
    };
    let err = describe(&guard.0.update(&parse(bad), &current).unwrap_err());
    assert!(err.starts_with("linux.resources."), "{err}");
    assert_eq!((limit(&guard).as_str(), value(&guard.0, "pids", "pids.max", "pids.max").as_str()), ("8388608", "1"));
}

#[test]
fn me_4_a_limit_below_the_usage_is_refused_with_check_before_update() {
    let Some(layout) = layout() else { return };
    if !has_memory(&layout) {
        return linux::testing::report_skip("no memory controller");
    }
    let parse = |json: &str| -> LinuxResources { serde_json::from_str(json).unwrap() };
    let guard = created(&layout, &name(), "{}");
    let mut shell = shell_inside(&guard.0, "x=$(head -c 8388608 /dev/zero | tr '\\0' x); echo done; sleep 1000");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.0.stdout.take().unwrap()), &mut line).unwrap();
    let update = parse(r#"{"memory":{"limit":1048576,"checkBeforeUpdate":true}}"#);
    let err = describe(&guard.0.update(&update, &LinuxResources::default()).unwrap_err());
    assert!(err.starts_with("linux.resources.memory.limit: 1048576 is below the usage"), "{err}");
    assert!(shell.is_alive());
}

/// A shell that joins the cgroup and then runs `script`.
fn shell_inside(cgroup: &Cgroup, script: &str) -> Process {
    let join: Vec<String> = cgroup.paths().map(|path| format!("echo $$ > {path}/cgroup.procs")).collect();
    let script = format!("set -e; {}; {script}", join.join("; "));
    Process(Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
}

fn output(mut process: Process) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(process.0.stdout.as_mut().unwrap(), &mut text).unwrap();
    text
}

#[test]
fn dv_6_the_kernel_enforces_the_list() {
    let Some(layout) = layout() else { return };
    let null = std::env::temp_dir().join(name());
    let make = |major: u32, minor: u32| {
        let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::from_bits_truncate(0o600));
        nix::sys::stat::mknod(&null, kind, mode, nix::sys::stat::makedev(major.into(), minor.into()))
    };
    let _ = fs::remove_file(&null);
    make(1, 11).unwrap(); // kmsg: not among the defaults
    let file = null.to_str().unwrap();
    let script = format!(
        "cat /dev/null && echo null; (exec 3<{file}) 2>/dev/null && echo read; (exec 3>>{file}) 2>/dev/null && echo write; true"
    );
    for (rules, expected) in [
        (r#"[{"allow":false,"access":"rwm"}]"#, "null\n"),
        (
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]"#,
            "null\nread\n",
        ),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11,"access":"w"}]"#,
            "null\nread\n",
        ),
        (r#"[{"allow":true,"access":"rwm"}]"#, "null\nread\nwrite\n"),
    ] {
        let guard = created(&layout, &name(), &format!(r#"{{"devices":{rules}}}"#));
        assert_eq!(output(shell_inside(&guard.0, &script)), expected, "{rules}");
    }
    fs::remove_file(&null).unwrap();
}

#[test]
fn dv_6_an_existing_cgroup_gets_the_new_list_in_place_of_the_old() {
    let Some(layout) = layout() else { return };
    let path = format!("/{}", name());
    let _guard = created(&layout, &path, r#"{"devices":[{"allow":false,"access":"rwm"}]}"#);
    let again =
        create(&planned(&layout, &path, r#"{"devices":[{"allow":true,"access":"rwm"}]}"#), &mut |_| Ok(())).unwrap();
    if let Some(dir) = again.controller_path("devices") {
        assert_eq!(files::read(&format!("{dir}/devices.list")).unwrap().trim(), "a *:* rwm");
    } else {
        assert_eq!(linux::bpf::device_programs(again.clone_into().unwrap().unwrap()).unwrap().len(), 1);
    }
}

#[test]
fn dv_6_v1_list_begins_with_the_configuration() {
    let Some(layout) = layout() else { return };
    let rules = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"},
        {"allow":true,"type":"b","major":8,"minor":20,"access":"rw"},{"allow":true,"type":"b","major":10,"minor":200,"access":"r"}]}"#;
    let guard = created(&layout, &name(), rules);
    let Some(dir) = guard.0.controller_path("devices") else {
        return linux::testing::report_skip("no v1 devices hierarchy");
    };
    let list = files::read(&format!("{dir}/devices.list")).unwrap();
    assert_eq!(
        list.lines().take(4).collect::<Vec<_>>(),
        ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r", "c *:* m"],
        "{list}"
    );
}

#[test]
fn pi_1_a_limit_of_no_processes_is_one_of_init_alone() {
    let Some(layout) = layout() else { return };
    let plan = match layout {
        layout::Layout::Unified if !files::read("/sys/fs/cgroup/cgroup.controllers").unwrap().contains("pids") => {
            return;
        }
        _ => planned(&layout, &name(), r#"{"pids":{"limit":0}}"#),
    };
    let mut guard = Guard(create(&plan, &mut |_| Ok(())).unwrap());
    guard.0.apply_deferred(&plan).unwrap();
    assert_eq!(value(&guard.0, "pids", "pids.max", "pids.max"), "1");
}

#[test]
fn join_fds_move_the_writing_thread_into_every_v1_hierarchy() {
    let Some(layout) = layout() else { return };
    let guard = created(&layout, &name(), "{}");
    let fds = guard.0.join_fds().unwrap();
    assert_eq!(fds.is_empty(), guard.0.record.is_pure_v2());
    let text = std::thread::spawn(move || {
        fds.into_iter().for_each(|fd| fs::File::from(fd).write_all(b"0").unwrap());
        fs::read_to_string("/proc/thread-self/cgroup").unwrap()
    });
    let text = text.join().unwrap();
    for dir in guard.0.record.dirs.iter().filter(|dir| !dir.unified) {
        let end = format!(":{}:{}", dir.controllers.join(","), guard.0.record.path);
        assert!(text.lines().any(|line| line.ends_with(&end)), "{end} in {text}");
    }
    assert_eq!(guard.0.clone_into().unwrap().is_some(), guard.0.record.dirs.iter().any(|dir| dir.unified));
}

#[test]
fn oom_kills_are_announced_and_counted() {
    let Some(layout) = layout() else { return };
    if !has_memory(&layout) {
        return linux::testing::report_skip("no memory controller");
    }
    let guard = created(&layout, &name(), r#"{"memory":{"limit":8388608,"swap":8388608}}"#);
    let mut watch = guard.0.oom_events().unwrap().unwrap();
    assert_eq!(watch.counts().unwrap().map(|counts| counts.kills), Some(0));
    let _hog = shell_inside(&guard.0, "x=$(head -c 67108864 /dev/zero | tr '\\0' x); echo $x >/dev/null");
    let deadline = Instant::now() + Duration::from_secs(20);
    while watch.counts().unwrap().is_some_and(|counts| counts.kills == 0) {
        assert!(Instant::now() < deadline, "no kill announced");
        let (fd, flags) = watch.poll();
        nix::poll::poll(&mut [nix::poll::PollFd::new(fd, flags)], 1000_u16).unwrap();
    }
    guard.0.kill(libc::SIGKILL).unwrap();
    guard.0.destroy().unwrap();
    assert_eq!(watch.counts().unwrap().map_or(0, |counts| counts.kills), 0, "a cgroup that is gone announces nothing");
}

#[test]
fn stats_count_a_process() {
    let Some(layout) = layout() else { return };
    let guard = created(&layout, &name(), "{}");
    let process = Process::sleeping();
    guard.0.join_pid(process.pid()).unwrap();
    let stats = serde_json::to_value(guard.0.stats().unwrap()).unwrap();
    if has_memory(&layout) {
        assert_eq!(stats["pids"]["current"], 1, "{stats}");
        assert!(stats["memory"]["usage"]["limit"].as_u64().unwrap() > 0, "{stats}");
    }
    assert!(stats["cpu"]["usage"]["total"].is_u64(), "{stats}");
}

#[test]
fn cg_4_only_the_files_of_delegation_change_their_owner() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(layout) = layout() else { return };
    if !matches!(layout, layout::Layout::Unified) {
        return linux::testing::report_skip("needs cgroup v2");
    }
    let mut plan = planned(&layout, &name(), "{}");
    plan.delegate = Some(1234);
    let guard = Guard(create(&plan, &mut |_| Ok(())).unwrap());
    let path = guard.0.unified_path().unwrap();
    let uid = |file: &str| fs::metadata(format!("{path}/{file}")).unwrap().uid();
    assert_eq!(
        [uid(""), uid("cgroup.procs"), uid("cgroup.subtree_control"), uid("cgroup.max.depth")],
        [1234, 1234, 1234, 0]
    );
}

#[test]
fn an_unprivileged_caller_gets_a_cgroup_where_it_may_and_none_elsewhere() {
    if nix::unistd::geteuid().is_root() {
        return linux::testing::report_skip("needs an ordinary user");
    }
    let layout = layout::detect().unwrap();
    let own_cgroup = layout::own_unified_path().unwrap();
    let situation = CgroupOptions {
        rootless: true,
        on_permission_denied: OnPermissionDenied::SkipUnlimited,
        own_cgroup,
        ..CgroupOptions::default()
    };
    let id = name();
    let planned = |json: &str| {
        let linux: Linux = serde_json::from_str(json).unwrap();
        let mut plan = plan(Some(&linux), &id, &layout, &situation).unwrap();
        probe_existing(&mut plan).unwrap();
        plan
    };
    let guard = Guard(create(&planned(r#"{"resources":{}}"#), &mut |_| Ok(())).map_err(|err| describe(&err)).unwrap());
    println!("created: {:?}", guard.0.paths().collect::<Vec<_>>());
    assert!(guard.0.paths().all(|path| Path::new(&path).is_dir()));
    guard.0.destroy().unwrap();
    // none may be created at the root: no error without limits; with a limit the error names it
    let none = create(&planned(&format!(r#"{{"cgroupsPath":"/{id}"}}"#)), &mut |_| Ok(())).unwrap();
    assert!(none.is_none() && none.pids().unwrap().is_empty());
    none.destroy().unwrap();
    let plan = planned(&format!(r#"{{"cgroupsPath":"/{id}","resources":{{"pids":{{"limit":5}}}}}}"#));
    let err = describe(&create(&plan, &mut |_| Ok(())).unwrap_err());
    assert!(err.starts_with("linux.resources.pids.limit: ") && err.contains("permission denied"), "{err}");
}

/// A cgroup v2 with the controllers of limits, or `None` with the reason printed.
fn unified() -> Option<layout::Layout> {
    let layout = layout()?;
    if !matches!(layout, layout::Layout::Unified) || !has_memory(&layout) {
        linux::testing::report_skip("needs cgroup v2 with the memory controller");
        return None;
    }
    Some(layout)
}

#[test]
fn a_lower_limit_of_an_ancestor_is_a_warning() {
    let Some(layout) = unified() else { return };
    let top = name();
    let outer = created(&layout, &top, r#"{"memory":{"limit":16777216},"pids":{"limit":50},"cpu":{"quota":10000}}"#);
    let mut inner = created(
        &layout,
        &format!("{top}/in"),
        r#"{"memory":{"limit":33554432},"pids":{"limit":40},"cpu":{"quota":20000,"period":100000}}"#,
    );
    let warnings = inner.0.take_warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (text, field) in warnings.iter().zip(["cpu.quota", "memory.limit"]) {
        assert!(text.starts_with(&format!("linux.resources.{field}: cgroup /{top} ")), "{text}");
    }
    inner.0.destroy().unwrap();
    drop(outer);
}

#[test]
fn cg_3_a_busy_parent_is_named_with_what_helps() {
    let Some(layout) = unified() else { return };
    let top = name();
    let outer = created(&layout, &top, "{}");
    let process = Process::sleeping();
    outer.0.join_pid(process.pid()).unwrap();
    let place = format!("{top}/in");
    // pids is a threaded controller: the kernel would enable it, and the child could then hold no process
    for (limit, field) in
        [(r#"{"memory":{"limit":16777216}}"#, "memory.limit"), (r#"{"pids":{"limit":9}}"#, "pids.limit")]
    {
        let err = describe(&create(&planned(&layout, &place, limit), &mut |_| Ok(())).unwrap_err());
        assert!(err.starts_with(&format!("linux.resources.{field}: ")), "{err}");
        assert!(err.contains("has processes of its own") && err.contains("choose another linux.cgroupsPath"), "{err}");
    }
    assert!(!Path::new(&format!("/sys/fs/cgroup/{place}")).exists());
    // without limits it needs no controllers, and a process can be in it
    let inner = created(&layout, &place, "{}");
    let other = Process::sleeping();
    inner.0.join_pid(other.pid()).unwrap();
    drop(other);
    drop(inner);
}

#[test]
fn cg_3_a_threaded_subtree_is_named_with_what_helps() {
    let Some(layout) = unified() else { return };
    let top = name();
    let outer = created(&layout, &top, "{}");
    let path = outer.0.unified_path().unwrap();
    fs::create_dir(format!("{path}/threads")).unwrap();
    files::write(&format!("{path}/threads/cgroup.type"), "threaded").unwrap();
    let place = format!("{top}/threads/in");
    let err =
        describe(&create(&planned(&layout, &place, r#"{"memory":{"limit":16777216}}"#), &mut |_| Ok(())).unwrap_err());
    assert!(err.starts_with("linux.resources.memory.limit: "), "{err}");
    let mut inner = created(&layout, &place, "{}");
    let into = inner.0.clone_into().unwrap();
    linux::testing::forked(|| {
        use linux::process::CloneResult;
        use linux::process::clone3;
        use linux::process::exit;
        let err = match clone3(0, into) {
            Ok(CloneResult::Child) => exit(0),
            Ok(CloneResult::Parent { .. }) => panic!("a process in a threaded subtree"),
            Err(err) => err,
        };
        let err = describe(&inner.0.explain_clone(err.into()));
        assert!(err.contains("threaded subtree") && err.contains("choose another linux.cgroupsPath"), "{err}");
    });
    inner.0.end_placeholder();
}
