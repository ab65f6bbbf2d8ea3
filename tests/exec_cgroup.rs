//! Unusual places: the cgroup of a process of `exec` (the container's own, that of an init which was moved, one that
//! `--cgroup` names), and a container below a threaded, occupied or frozen cgroup.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use test_support::*;

/// The cgroup file of a process, without the hierarchies that the machine does not mount.
fn membership(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// Returns the directories of the container's cgroup, one a hierarchy.
fn own_dirs(c: &Container) -> Vec<PathBuf> {
    let place = cgroup::place(&c.cgroup());
    cgroup::hierarchies().iter().map(|top| top.join(&place)).collect()
}

fn move_init(pid: i32, dirs: &[PathBuf]) {
    for dir in dirs {
        fs::write(dir.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

/// A CI agent moves the container's init to a cgroup of its own. As runc: a further process goes to the container's
/// cgroup as long as that exists, and then to init's.
#[test]
fn exec_follows_an_init_that_was_moved_when_the_containers_cgroup_is_gone() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let c = c.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "cgroup");
    });
    let c = c.up();
    let before = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    let other = cgroup::create(&format!("{}-agent", c.sandbox.token));
    move_init(c.pid(), &other);
    let moved = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert_ne!(membership(&moved), membership(&before));
    let seen = c.exec(&["cat", "/proc/self/cgroup"]).ok().stdout;
    assert_eq!(membership(&seen), membership(&before), "the container's own cgroup exists");
    for dir in own_dirs(&c) {
        fs::remove_dir(&dir).unwrap_or_else(|err| panic!("{}: {err}", dir.display()));
    }
    let seen = c.exec(&["cat", "/proc/self/cgroup"]).ok().stdout;
    assert_eq!(membership(&seen), membership(&moved), "only init's exists");
    c.delete_force().ok();
    wait_for("the other cgroup is empty", || other.iter().all(|dir| cgroup::procs(dir).is_empty()));
    other.iter().for_each(|dir| fs::remove_dir(dir).unwrap());
    c.nothing_left();
}

/// Returns the v2 directory of the container's cgroup, on a hybrid machine too.
fn unified(c: &Container) -> Option<PathBuf> {
    let place = cgroup::place(&c.cgroup());
    let tops = if cgroup::is_v2() { vec![PathBuf::from("/sys/fs/cgroup")] } else { cgroup::hierarchies() };
    tops.into_iter().find(|top| top.join("cgroup.controllers").exists()).map(|top| top.join(place))
}

/// A configuration without limits asks for a place below a threaded cgroup: the container runs there, in a threaded cgroup
/// of its own, as with runc; every verb finds its processes.
#[test]
fn a_container_below_a_threaded_cgroup_is_one_of_its_threaded_cgroups() {
    need_root!();
    if cgroup::by_systemd() {
        skip!("systemd creates no threaded units");
    }
    let c = Container::sh("sleep 1000 & sleep 1000");
    let host = format!("{}-host", c.sandbox.token);
    let dirs = cgroup::create(&format!("{host}/threads"));
    let Some(v2) = dirs.iter().find(|dir| dir.join("cgroup.type").exists()) else { skip!("no cgroup v2") };
    fs::write(v2.join("cgroup.type"), "threaded").unwrap();
    let id = c.id.clone();
    let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{host}/threads/above/{id}")));
    let c = c.up();
    let own = v2.join("above").join(&c.id);
    assert_eq!(fs::read_to_string(own.join("cgroup.type")).unwrap(), "threaded\n");
    let seen = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
    assert_eq!(path_in_v2(&seen), format!("/{host}/threads/above/{}", c.id));
    c.exec(&["true"]).ok();
    let count = || c.verb("ps", &["--format", "json"]).out().ok().json().as_array().unwrap().len();
    wait_for("both processes are listed", || count() == 2);
    c.verb("pause", &[]).out().ok();
    assert_eq!(c.status(), "paused");
    c.verb("resume", &[]).out().ok();
    // another container in its place is refused by its processes
    let other = Container::within(&c.sandbox, &["true"]);
    let other = other.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{host}/threads/above/{id}")));
    other.create().fails().one_line().stderr_contains("container's cgroup is not empty");
    c.delete_force().ok();
    for dir in &dirs {
        fs::remove_dir(dir).unwrap();
        fs::remove_dir(dir.parent().unwrap()).unwrap();
    }
    c.nothing_left();
}

fn path_in_v2(text: &str) -> String {
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

/// As the peers: a further process goes beside an init that has left the topmost cgroup only where the kernel allows no
/// process there.
#[test]
fn exec_goes_to_the_topmost_cgroup_unless_it_may_hold_no_process() {
    need_root!();
    let c = Container::running();
    let Some(top) = unified(&c) else { skip!("no cgroup v2") };
    let sub = top.join("sub");
    fs::create_dir(&sub).unwrap();
    fs::write(sub.join("cgroup.procs"), c.pid().to_string()).unwrap();
    let show = ["grep", "^0::", "/proc/self/cgroup"];
    let at = |out: Out| path_in_v2(&out.ok().stdout);
    assert_eq!(at(c.exec(&show)), "/", "init's own is /sub of the cgroup namespace");
    assert_eq!(at(c.exec_with(&["--cgroup", "sub"], &show).out()), "/sub");
    let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap();
    let domain =
        ["memory", "io", "hugetlb"].into_iter().find(|name| controllers.split_whitespace().any(|it| it == *name));
    if let Some(domain) = domain {
        fs::write(top.join("cgroup.subtree_control"), format!("+{domain}")).unwrap();
        assert_eq!(at(c.exec(&show)), "/sub", "its own cgroup may hold no process");
        let refused = c.exec_with(&["--cgroup", "/"], &show).out().fails().one_line();
        refused.stderr_contains("adding pid ").stderr_contains("evice or resource busy");
    }
    c.delete_force().ok();
    c.nothing_left();
}

/// The words are runc's, which its tests match.
#[test]
fn sub_cgroups_that_cannot_be_are_refused_in_runcs_words() {
    need_root!();
    let c = Container::running();
    let refused = |flags: &[&str], texts: &[&str]| {
        let flags: Vec<&str> = flags.iter().flat_map(|value| ["--cgroup", value]).collect();
        let out = c.exec_with(&flags, &["true"]).out().exits(255).one_line();
        texts.iter().fold(out, |out, text| out.stderr_contains(text));
    };
    refused(&[".."], &["bad sub cgroup path: .."]);
    // runc's words, and crun's
    refused(&["../other"], &["bad sub cgroup path: ../other", "`..` components are not allowed"]);
    refused(&["nonexistent"], &[" adding pid ", "o such file or directory", "cgroup"]);
    if cgroup::is_v2() {
        return;
    }
    refused(&["pids:../x"], &["bad sub cgroup path: ../x"]);
    refused(&["pids:nonexistent"], &[" adding pid ", "o such file or directory"]);
    refused(&["whaaat:/"], &["unknown controller whaaat"]);
    refused(&["pids,whaaat:/"], &["unknown controller whaaat"]);
    refused(&[":sub"], &["empty <controller> prefix"]);
    refused(&["pids:/", "sub"], &["missing <controller>: prefix"]);
    refused(&["pids:/", "memory,pids:/"], &["controller pids specified multiple times"]);
}

/// On v1 a container has one cgroup a controller: a sub-cgroup that it has made in one of them is found there and made
/// in the others, and `CONTROLLER[,CONTROLLER]:PATH` changes the named ones alone.
#[test]
fn a_sub_cgroup_is_found_or_made_in_every_hierarchy() {
    need_root!();
    if cgroup::is_v2() {
        skip!("one hierarchy");
    }
    let c = Container::running();
    let place = c.cgroup();
    let join = |controller: &str, sub: &str| cgroup::dir(controller, &place).join(sub);
    fs::create_dir_all(join("pids", "made/deep")).unwrap();
    let inside = |flags: &[&str]| c.exec_with(flags, &["cat", "/proc/self/cgroup"]).out().ok().stdout;
    let text = inside(&["--cgroup", "made/deep"]);
    let mounted = |line: &&str| {
        let name = line.split(':').nth(1).unwrap();
        let name = if name.is_empty() { "unified" } else { name.trim_start_matches("name=") };
        Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs").exists()
    };
    let lines: Vec<&str> = text.lines().filter(mounted).collect();
    assert!(lines.len() > 2 && lines.iter().all(|line| line.ends_with("/made/deep")), "{text}");
    fs::create_dir(join("pids", "one")).unwrap();
    fs::create_dir(join("memory", "two")).unwrap();
    let text = inside(&["--cgroup", "pids:one", "--cgroup", "memory:two"]);
    for line in text.lines() {
        let end = line.rsplit('/').next().unwrap();
        match line.split(':').nth(1).unwrap() {
            "pids" => assert_eq!(end, "one"),
            "memory" => assert_eq!(end, "two"),
            _ => assert!(!["one", "two"].contains(&end), "{line}"),
        }
    }
    assert!(!join("cpu", "one").exists());
    c.delete_force().ok();
    c.nothing_left();
}

/// The words are runc's.
#[test]
fn cg_2_an_occupied_and_a_frozen_place_are_refused_in_runcs_words() {
    need_root!();
    if cgroup::by_systemd() {
        skip!("the place is systemd's");
    }
    let first = Container::running();
    let second = Container::within(&first.sandbox, &["true"]);
    let second = second.edit(|config| config["linux"]["cgroupsPath"] = json!(first.cgroup()));
    second.create().fails().one_line().stderr_contains("container's cgroup is not empty: 1 process(es) found");
    assert_eq!(first.status(), "running");
    first.delete_force().ok();
    let place = format!("{}-frozen", first.sandbox.token);
    let dirs = cgroup::create(&place);
    cgroup::freeze(&place, true);
    let third = Container::within(&first.sandbox, &["true"]);
    let third = third.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{place}")));
    third.create().fails().one_line().stderr_contains("container's cgroup unexpectedly frozen");
    cgroup::freeze(&place, false);
    dirs.iter().for_each(|dir| fs::remove_dir(dir).unwrap());
    first.nothing_left();
}
