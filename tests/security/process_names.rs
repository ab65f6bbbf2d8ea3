//! Names of processes that are no text: a process may set any bytes, and `/proc/PID/stat` and `status` have them
//! unchanged.

use test_support::bundle::{add_mount, bind};
use test_support::*;

/// Not a test: runs inside a container with a name that is no text and looks like the end of the name in `stat`.
#[test]
#[ignore = "a helper that another test runs inside of a container"]
fn helper_name() {
    let comm = format!("/proc/{}/comm", std::process::id());
    std::fs::write(comm, b"\xff\xfe) Z 1 1\n").unwrap();
    std::fs::write("/ready", "ready\n").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1000));
}

#[test]
fn a_container_whose_name_is_no_text_is_seen_stopped_and_removed() {
    need_root!();
    let helper = ["/helper", "--ignored", "--exact", "process_names::helper_name", "--nocapture"];
    let c = Container::new(&helper).edit(|config| {
        add_mount(config, bind(&std::env::current_exe().unwrap(), "/helper", &["ro"]));
    });
    let c = c.up();
    c.wait_file("/ready");
    assert!(std::fs::read(format!("/proc/{}/stat", c.pid())).unwrap().contains(&0xff), "it has that name");
    assert_eq!(c.status(), "running");
    c.verb("state", &["--verify"]).out().ok();
    c.exec(&["true"]).ok();
    // `--format json`, because ps(1) itself needs more of procfs than some guests have
    c.verb("ps", &["--format", "json"]).out().ok();
    for verb in ["pause", "resume"] {
        c.verb(verb, &[]).out().ok();
    }
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.nothing_left();
}
