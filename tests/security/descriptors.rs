//! D1–D5: descriptors, the working directory and the runtime's own binary.

use crate::common::*;
use crate::need_root;
use std::os::fd::OwnedFd;

const LEAKY: std::ops::RangeInclusive<i32> = 3..=23;

/// Tries to read the marker of the host directory along the path that an escape would give.
fn peek(marker: &std::path::Path) -> String {
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
            let c = Container::within(&sandbox, &["sh", "-c", &peek(&marker)])
                .edit(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}{tail}")));
            let dir: OwnedFd = std::fs::File::open(&host).unwrap().into();
            let out = c.run_with(&[]).inherit(dir, 19).out().no_panic();
            assert!(
                !out.stdout.contains("host-marker") && !out.stdout.contains("sys-fs"),
                "fd {number}{tail}: {out:?}"
            );
            assert!(!out.stdout.contains("cgroup.procs"), "fd {number}{tail}: {out:?}");
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
        let out = c.exec_with(&["--cwd", "/wd"], &["sh", "-c", &peek(&marker)]).out().no_panic();
        assert!(!out.stdout.contains("host-marker") && !out.stdout.contains("cgroup.procs"), "fd {number}: {out:?}");
    }
}

/// The container watches its /proc while 60 execs come in.
fn watch_execs() {
    let watch = "while true; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || \
        ls -l $p/fd $p/cwd $p/root 2>/dev/null; done; done | grep -e '->' > /seen";
    let c = Container::sh(watch).up();
    for _ in 0..60 {
        c.exec(&["true"]).ok();
    }
    let seen = std::fs::read_to_string(c.file("/seen")).unwrap();
    let host_words =
        [c.sandbox.dir.to_str().unwrap(), "/sys/fs/cgroup", "exec.fifo", "state.json", "memfd", "cgroup.procs"];
    for line in seen.lines() {
        let target = line.split("-> ").nth(1).unwrap_or_default();
        // the container's own streams are files of the test
        let own_stream = target.contains("/out.") || target.contains("/err.");
        assert!(own_stream || !host_words.iter().any(|word| target.contains(word)), "{line}");
    }
}

#[test]
fn d4_nothing_of_the_host_is_seen_in_proc_fd() {
    need_root!();
    watch_execs();
}

/// The container tries to write to the binary of every foreign process while 40 execs come in.
#[test]
fn d5_the_runtimes_binary_cannot_be_written() {
    need_root!();
    let sandbox = Sandbox::new();
    let copy = sandbox.path("runtime-copy");
    std::fs::copy(runtime(), &copy).unwrap();
    let before = host::checksum(&copy);
    // opening for reading first keeps the file, writing is tried when the runtime has gone (CVE-2019-5736)
    let attack = "while true; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/self) continue;; esac; \
        l=$(readlink $p/exe 2>/dev/null); case $l in /bin/busybox|'') ;; *) echo $l >> /targets; \
        (exec 9<$p/exe && echo overwritten > /proc/self/fd/9); (echo overwritten > $p/exe); esac; done; done 2>/dev/null";
    let c = Container::within(&sandbox, &["sh", "-c", attack]).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            let caps = config["process"]["capabilities"][set].as_array_mut().unwrap();
            caps.extend([json!("CAP_SYS_PTRACE"), json!("CAP_DAC_READ_SEARCH")]);
        }
    });
    c.write_config();
    let run =
        |args: &[&str]| Cmd::new(&copy, &sandbox.dir, &sandbox.token).arg("--root").arg(&sandbox.root).args(args).out();
    run(&["create", "--bundle", c.bundle.to_str().unwrap(), &c.id]).ok();
    run(&["start", &c.id]).ok();
    for _ in 0..40 {
        run(&["exec", &c.id, "true"]).ok();
        run(&["exec", &c.id, "sh", "-c", "true"]).ok();
    }
    // a script whose interpreter is the runtime itself
    cmd::script(&c.file("/bin/evil"), "#!/proc/self/exe\n");
    run(&["exec", &c.id, "/bin/evil"]).no_panic();
    assert_eq!(
        before,
        host::checksum(&copy),
        "the binary was changed; targets seen: {:?}",
        std::fs::read_to_string(c.file("/targets"))
    );
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
