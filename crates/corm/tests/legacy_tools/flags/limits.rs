//! Limits of memory, CPU and processes, kernel parameters.

use super::{prints, refused};
use crate::fixture::over_one;
use test_support::need_root;

/// Prints the first file of a cgroup that exists: of version 2, or of version 1.
fn value(v2: &str, v1: &str) -> String {
    format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}")
}

#[test]
fn cgroup_limits_are_set() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let cpus = ["--cpuset-cpus", "0", "--cpuset-mems", "0", "--cpu-shares", "512"];
        let script = [
            value("cpuset.cpus", "cpuset/cpuset.cpus"),
            value("cpuset.mems", "cpuset/cpuset.mems"),
            "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || echo 512".to_owned(),
        ];
        assert_eq!(prints(fixture, &cpus, &script.join("; ")), "0\n0\n512");
        let quota = value("cpu.max", "cpu/cpu.cfs_quota_us");
        assert!(prints(fixture, &["--cpu-quota", "20000", "--cpu-period", "50000"], &quota).starts_with("20000"));
        let soft = value("memory.low", "memory/memory.soft_limit_in_bytes");
        assert_eq!(prints(fixture, &["-m", "64m", "--memory-reservation", "32m"], &soft), "33554432");
        let shm = "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2";
        assert_eq!(prints(fixture, &["--shm-size", "2m"], shm), "2048");
        assert_eq!(prints(fixture, &[], shm), "65536");
        assert_eq!(prints(fixture, &["--oom-score-adj", "321"], "cat /proc/self/oom_score_adj"), "321");
        for (flags, word) in [
            (&["--memory-swap", "1g"][..], "--memory"),
            (&["-m", "64m", "--memory-swap", "32m"], "--memory-swap"),
            (&["-m", "64m", "--memory-reservation", "1g"], "--memory-reservation"),
            (&["--cpus", "1", "--cpu-quota", "5000"], "--cpus"),
            (&["--cpuset-cpus", "x"], "--cpuset-cpus"),
            (&["--blkio-weight", "5"], "--blkio-weight"),
            (&["--oom-score-adj", "2000"], "--oom-score-adj"),
            (&["--cpu-period", "5"], "--cpu-period"),
        ] {
            refused(fixture, flags, word);
        }
        fixture.no_container_left();
    });
}

#[test]
fn oom_killing_can_be_disabled_where_the_kernel_has_it() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        if std::path::Path::new("/sys/fs/cgroup/memory/memory.oom_control").exists() {
            let control = "grep oom_kill_disable /sys/fs/cgroup/memory/memory.oom_control";
            assert_eq!(prints(fixture, &["-m", "64m", "--oom-kill-disable"], control), "oom_kill_disable 1");
            let swappiness = "cat /sys/fs/cgroup/memory/memory.swappiness";
            assert_eq!(prints(fixture, &["--memory-swappiness", "7"], swappiness), "7");
        } else {
            refused(fixture, &["-m", "64m", "--oom-kill-disable"], "--oom-kill-disable");
        }
        fixture.no_container_left();
    });
}

#[test]
fn limits_of_processes_are_set() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let flags = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "memlock=65536"];
        assert_eq!(prints(fixture, &flags, "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -l"), "100\n200\n0\n64");
        assert_eq!(prints(fixture, &[], "ulimit -Sn"), "1024");
        refused(fixture, &["--ulimit", "nofile=2:1"], "--ulimit");
        refused(fixture, &["--ulimit", "files=2"], "--ulimit");
        fixture.no_container_left();
    });
}

#[test]
fn kernel_parameters_are_those_of_the_container() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let flags = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4242"];
        let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
        assert_eq!(prints(fixture, &flags, script), "1\n4242");
        refused(fixture, &["--sysctl", "vm.swappiness=1"], "--sysctl");
        refused(fixture, &["--sysctl", "net.ipv4.ip_forward"], "--sysctl");
        refused(fixture, &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"], "net");
        fixture.no_container_left();
    });
}
