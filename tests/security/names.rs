//! F3, F5, F6: names that are part of paths. (F1, F2, F4, F7, F8 are in `bad_input`.)

use test_support::*;

#[test]
fn f3_cgroups_path_cannot_leave_the_cgroup_file_system() {
    need_root!();
    let sandbox = Sandbox::new();
    let name = format!("{}-out", sandbox.token);
    for path in [
        format!("../../../../{name}"),
        format!("/../{name}"),
        format!("/{name}-a/../../{name}"),
        format!("../../../../../../{name}-b/{name}"),
    ] {
        let c = Container::within(&sandbox, &["true"]).edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        c.run().no_panic();
        for dir in ["/", "/sys", "/sys/fs", "/tmp", "/sys/fs/cgroup"] {
            for outside in [name.clone(), format!("{name}-a"), format!("{name}-b")] {
                let outside = std::path::Path::new(dir).join(outside);
                let on_v2 = cgroup::is_v2() && dir == "/sys/fs/cgroup";
                assert!(!outside.exists() || on_v2, "{path}: {} was created", outside.display());
            }
        }
        c.delete_force().no_panic();
        cgroup::remove_all(&name);
    }
}

#[test]
fn f5_exec_cgroup_stays_below_the_container() {
    need_root!();
    let c = Container::running();
    for path in ["..", "../..", "a/../../..", "/../", "/..", "pids:..", "pids:../.."] {
        c.exec_with(&["--cgroup", path], &["true"]).out().fails();
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn f6_sysctls_of_the_host_are_refused_and_unchanged() {
    need_root!();
    let before = ["kernel/core_pattern", "vm/swappiness", "fs/file-max"].map(host::sysctl);
    for (key, own) in [
        ("kernel.core_pattern", "kernel/core_pattern"),
        ("kernel/core_pattern", "kernel/core_pattern"),
        ("net/../kernel/core_pattern", "kernel/core_pattern"),
        ("net.ipv4.../../../kernel.core_pattern", "kernel/core_pattern"),
        ("net.ipv4.conf.../../../../sysrq-trigger", "kernel/panic"),
        ("vm.swappiness", "vm/swappiness"),
        ("fs.file-max", "fs/file-max"),
        ("net..ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("", "kernel/panic"),
        ("net", "kernel/panic"),
    ] {
        // writes the current value, so that a runtime that fails here does no harm
        let value = host::sysctl(own).trim().to_owned();
        let c = Container::new(&["true"]).edit(|config| config["linux"]["sysctl"] = json!({ key: value }));
        let out = c.create();
        assert_eq!(out.code, Some(1), "{key}: {out:?}");
        out.fails().one_line();
        c.nothing_left();
    }
    assert_eq!(before, ["kernel/core_pattern", "vm/swappiness", "fs/file-max"].map(host::sysctl));
}

#[test]
fn sy_1_sysctls_of_the_container_work() {
    need_root!();
    let before = host::sysctl("net/ipv4/ip_forward");
    let c =
        Container::sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max")
            .edit(|config| {
                config["linux"]["sysctl"] =
                    json!({ "net.ipv4.ip_forward": "1", "kernel/shm_rmid_forced": "1", "fs.mqueue.msg_max": "12" });
            });
    assert_eq!(c.run().ok().lines(), ["1", "1", "12"]);
    assert_eq!(before, host::sysctl("net/ipv4/ip_forward"));
}
