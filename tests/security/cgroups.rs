//! Cgroups that a container creates below its own with names that are too long or no text: croci lists the processes in
//! them, kills these and removes the cgroups.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use test_support::bundle::{add_mount, bind};
use test_support::*;

/// Returns the paths of the container's cgroups in its own mount namespace.
fn own_cgroups() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.procs").exists() {
        return vec![top.to_owned()];
    }
    let found = std::fs::read_dir(top).unwrap().flatten().map(|entry| entry.path());
    found.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists()).collect()
}

/// Not a test: runs inside a container, and creates cgroups deeper than a path may be long, and one whose name is no
/// text, with a process in it.
#[test]
#[ignore = "a helper that another test runs inside of a container"]
fn helper_cgroups() {
    let mut sleeper = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let name = "n".repeat(100);
    for top in own_cgroups() {
        let odd = top.join(OsStr::from_bytes(b"\xff\xfe"));
        std::fs::create_dir(&odd).unwrap();
        let copy = |file: &str| std::fs::read(top.join(file)).map(|text| std::fs::write(odd.join(file), text));
        let _ = [copy("cpuset.cpus"), copy("cpuset.mems")];
        std::fs::write(odd.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        std::env::set_current_dir(&top).unwrap();
        for _ in 0..100 {
            std::fs::create_dir(&name).unwrap();
            std::env::set_current_dir(&name).unwrap();
        }
    }
    for top in own_cgroups() {
        let odd = top.join(OsStr::from_bytes(b"\xff\xfe"));
        std::fs::write(odd.join("cgroup.procs"), "0").unwrap();
    }
    std::fs::write("/ready", "ready\n").unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn cgroups_that_no_path_reaches_are_listed_and_removed() {
    need_root!();
    let helper = ["/helper", "--ignored", "--exact", "cgroups::helper_cgroups", "--nocapture"];
    let c = Container::new(&helper).edit(|config| {
        add_mount(config, bind(&std::env::current_exe().unwrap(), "/helper", &["ro"]));
        let cgroups =
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
        add_mount(config, cgroups);
    });
    let c = c.up();
    c.wait_file("/ready");
    let pids = c.verb("ps", &["--format", "json"]).out().ok().json();
    let sleeping = |pid: &Value| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("sleep")
    };
    assert!(pids.as_array().unwrap().iter().any(sleeping), "{pids}");
    c.exec(&["true"]).ok();
    c.verb("state", &["--verify"]).out().ok();
    c.verb("pause", &[]).out().ok();
    c.verb("resume", &[]).out().ok();
    c.croci(["kill", "--all", &c.id, "KILL"]).out().ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.nothing_left();
}
