//! D1–D3: descriptors and the working directory. D4 is `births`, D5 `binary`.

use std::os::fd::OwnedFd;
use test_support::*;

const LEAKY: std::ops::RangeInclusive<i32> = 3..=23;

/// Returns a script that tries to read the marker of the host directory by the relative paths that an escape would
/// open.
fn script_that_reads(marker: &std::path::Path) -> String {
    let below = marker.strip_prefix("/").unwrap().display();
    format!(
        "cat ./{below} ../{below} ../../{below} ../../../{below} ../../../../{below} 2>/dev/null; ls -a . .. ../../..; true"
    )
}

#[test]
fn d1_cwd_by_a_descriptor() {
    need_root!();
    let sandbox = Sandbox::new();
    let host = sandbox.mkdir("host");
    let marker = sandbox.write("host/marker", "host-marker\n");
    for number in LEAKY {
        for tail in ["", "/../../.."] {
            let c = Container::within(&sandbox, &["sh", "-c", &script_that_reads(&marker)])
                .edit(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}{tail}")));
            let dir: OwnedFd = std::fs::File::open(&host).unwrap().into();
            let out = c.run_with(&[]).inherit(dir, 19).out().no_panic();
            assert!(
                !out.stdout.contains("host-marker") && !out.stdout.contains("sys-fs"),
                "fd {number}{tail}: {out:?}"
            );
            assert!(!out.stdout.contains("cgroup.procs"), "fd {number}{tail}: {out:?}");
            if is_croci() {
                out.fails().one_line().stderr_contains("process.cwd");
            }
            std::fs::remove_dir_all(&c.bundle).unwrap();
        }
    }
    sandbox.nothing_left();
}

#[test]
fn d2_descriptors_of_the_caller_do_not_arrive() {
    need_root!();
    let c = Container::new(&["ls", "/proc/self/fd"]);
    let with_six = |cmd: Cmd| {
        (5..11).fold(cmd, |cmd, number| {
            let dir: OwnedFd = std::fs::File::open("/").unwrap().into();
            cmd.inherit(dir, number)
        })
    };
    let out = with_six(c.run_with(&[])).out().ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3"], "3 is the directory that ls reads");
    let c = Container::running();
    let out = with_six(c.exec_with(&[], &["ls", "/proc/self/fd"])).out().ok();
    assert_eq!(out.lines(), ["0", "1", "2", "3"]);
}

#[test]
fn d3_exec_cwd_by_a_symlink_to_a_descriptor() {
    need_root!();
    let c = Container::running();
    let marker = c.host_dir("host").join("marker");
    for number in LEAKY {
        let _ = std::fs::remove_file(c.file("/wd"));
        host::symlink(format!("/proc/self/fd/{number}"), c.file("/wd"));
        let out = c.exec_with(&["--cwd", "/wd"], &["sh", "-c", &script_that_reads(&marker)]).out();
        assert!(!out.stdout.contains("host-marker") && !out.stdout.contains("cgroup.procs"), "fd {number}: {out:?}");
        if is_croci() {
            out.fails().one_line().stderr_contains("process.cwd");
        }
    }
    let _ = std::fs::remove_file(c.file("/wd"));
    host::symlink("/tmp", c.file("/wd"));
    assert_eq!(c.exec_with(&["--cwd", "/wd"], &["pwd"]).out().ok().text(), "/tmp", "a link to a directory is followed");
}

#[test]
fn hk_10_hooks_get_no_other_descriptors() {
    need_root!();
    let c = Container::new(&["true"]);
    let list = c.sandbox.path("fds");
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\nls /proc/$$/fd > {}\n", list.display()));
    let c = c
        .edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook, "env": ["PATH=/usr/bin:/bin"] }] }));
    c.run().ok();
    let seen = std::fs::read_to_string(list).unwrap();
    let numbers: Vec<i32> = seen.lines().map(|line| line.parse().unwrap()).collect();
    // 10 and 11, or 255, are the shell's own copies of the script and its output
    assert!(numbers.iter().all(|fd| *fd <= 2 || [10, 11, 255].contains(fd)), "{numbers:?}");
}
