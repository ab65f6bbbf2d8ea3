//! Part 5, the environment of the caller: closed streams, blocked signals, a removed working directory, odd masks.

use linux::signal;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{UnlinkatFlags, unlinkat};
use test_support::*;

#[test]
fn ft_44_q2_closed_standard_streams() {
    need_root!();
    let sets: [&[i32]; 7] = [&[0], &[1], &[2], &[0, 1], &[1, 2], &[0, 2], &[0, 1, 2]];
    for closed in sets {
        let script = "for n in 0 1 2; do echo $n $(readlink /proc/$$/fd/$n); done > /result; ls /proc/$$/fd >> /all";
        let c = Container::sh(script);
        let out = c.run_with(&[]).close_streams(closed).out();
        assert_eq!(out.code, Some(0), "closed {closed:?}: {out:?}");
        let result = std::fs::read_to_string(c.file("/result")).unwrap();
        for line in result.lines() {
            let (number, target) = line.split_once(' ').unwrap_or((line, ""));
            let number: i32 = number.trim().parse().unwrap();
            let fine = if closed.contains(&number) {
                target.is_empty() || target == "/dev/null" || target.ends_with("/result")
            } else {
                !target.contains("socket") && !target.contains("fifo") && !target.contains("state")
            };
            assert!(fine, "closed {closed:?}: {result}");
        }
        // 0-2, and a descriptor from 10 up that the shell opens for the redirection of the script
        let all = std::fs::read_to_string(c.file("/all")).unwrap();
        assert!(all.lines().count() <= 4, "closed {closed:?}: {all}");
        for verb in ["create", "delete"] {
            let cmd = if verb == "create" { c.create_with(&[]) } else { c.verb("delete", &["--force"]) };
            assert_eq!(cmd.close_streams(closed).out().code, Some(0), "{verb} with {closed:?} closed");
        }
        c.nothing_left();
    }
}

#[test]
fn ft_45_q3_blocked_and_ignored_signals() {
    need_root!();
    let c = Container::sh("grep -E 'SigBlk|SigIgn' /proc/self/status; exit 5");
    let out = c.run_with(&[]).before_exec(|| {
        signal::set_mask(signal::SignalSet::ALL)?;
        [libc::SIGCHLD, libc::SIGPIPE, libc::SIGTERM, libc::SIGUSR1, libc::SIGINT]
            .into_iter()
            .try_for_each(signal::set_ignored)
    });
    let out = out.out().exits(5);
    assert_eq!(out.lines(), ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]);
    c.nothing_left();
    let c = Container::running();
    let exec = c.exec_with(&[], &["sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status; exit 6"]);
    let out = exec.before_exec(|| signal::set_ignored(libc::SIGCHLD)).out().exits(6);
    assert_eq!(out.lines(), ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"]);
}

#[test]
fn ft_46_q4_the_callers_directory_is_gone() {
    need_root!();
    let c = Container::sh("pwd");
    let gone = host::cstr(&c.sandbox.mkdir("gone"));
    let out = c.run_with(&[]).before_exec(move || {
        nix::unistd::chdir(&*gone)?;
        Ok(unlinkat(AT_FDCWD, &*gone, UnlinkatFlags::RemoveDir)?)
    });
    assert_eq!(out.out().ok().text(), "/");
    c.nothing_left();
}

#[test]
fn ft_46_umask_0777_and_an_empty_environment() {
    need_root!();
    let c = Container::sh("stat -c %a /dev/null /dev/zero; echo x > /dev/null; umask");
    let mut cmd = c.run_with(&[]).before_exec(|| {
        umask(Mode::all());
        Ok(())
    });
    cmd.command.env_clear();
    let out = cmd.out().ok();
    assert_eq!(out.lines()[..2], ["666", "666"]);
    c.nothing_left();
}

#[test]
fn ft_46_q1_proc_with_hidepid() {
    need_root!();
    let c = Container::new(&["true"]);
    c.write_config();
    let script = "mount -o remount,hidepid=2 /proc && exec \"$0\" \"$@\"";
    // a new pid namespace with its own /proc, so that the mount option does not change the host's
    let unshare = c.sandbox.program("unshare").args([
        "-m",
        "--propagation",
        "private",
        "-p",
        "-f",
        "--mount-proc",
        "sh",
        "-c",
        script,
    ]);
    c.run_by(unshare).ok();
    c.nothing_left();
}

#[test]
fn low_priority_callers_pass_nothing_on() {
    need_root!();
    let c = Container::sh("cat /proc/self/oom_score_adj; grep Cpus_allowed_list /proc/self/status");
    let cpus = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = cpus.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap().to_owned();
    let out = c.run_with(&[]).before_exec(|| linux::sched::set_affinity(&[1])).out().ok();
    assert!(!is_croci() || out.lines()[1] == all, "PR-18: the runtime's affinity is not the container's: {out:?}");
}

#[test]
fn a_caller_in_another_mount_namespace_with_private_mounts() {
    need_root!();
    let c = Container::sh("cat /data/file");
    let c = c.edit(|config| {
        let source = std::path::Path::new("/mnt");
        bundle::add_mount(config, bundle::bind(source, "/data", &["ro"]));
    });
    c.write_config();
    let script = "mount -t tmpfs x /mnt && echo seen > /mnt/file && exec \"$0\" \"$@\"";
    let unshare = c.sandbox.program("unshare").args(["-m", "--propagation", "private", "sh", "-c", script]);
    let run =
        unshare.arg(runtime()).arg("--root").arg(&c.sandbox.root).args(["run", "--bundle"]).arg(&c.bundle).arg(&c.id);
    assert_eq!(run.out().ok().text(), "seen");
    c.nothing_left();
}
