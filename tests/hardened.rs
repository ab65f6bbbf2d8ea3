//! Services with fewer system calls, address families or files of procfs than croci uses: it does without, or says which
//! call it lacks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use test_support::container::Container;
use test_support::*;

/// A program that answers the system calls `numbers` with `errno`, all others are allowed.
fn refusing(numbers: &[libc::c_long], errno: i32) -> Vec<libc::sock_filter> {
    let insn = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![insn(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for number in numbers {
        program.push(insn(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *number as u32));
        program.push(insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    program.push(insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

/// Refuses socket(2) with the family of IPv4, as `RestrictAddressFamilies=AF_UNIX AF_NETLINK` does.
fn without_ipv4() -> Vec<libc::sock_filter> {
    let insn = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    vec![
        insn(load, 0, 0, 0),
        insn(equal, 0, 3, libc::SYS_socket as u32),
        insn(load, 0, 0, 16),
        insn(equal, 0, 1, libc::AF_INET as u32),
        insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        insn(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

/// A call of the runtime under a filter, with a limit of descriptors as services have it.
fn under(command: Cmd, filter: Vec<libc::sock_filter>) -> Cmd {
    command.before_exec(move || linux::seccomp::install(&filter, 0).map(drop))
}

/// Calls every verb of a container's life; returns the first failed one.
fn life(c: &Container, wrap: &dyn Fn(Cmd) -> Cmd) -> Result<(), Out> {
    c.write_config();
    let bundle = c.bundle.to_str().unwrap();
    let id = c.id.as_str();
    for args in [
        &["create", "--bundle", bundle, id][..],
        &["start", id],
        &["state", id],
        &["list"],
        &["exec", id, "true"],
        &["ps", id],
        &["kill", id, "KILL"],
        &["delete", "--force", id],
    ] {
        let out = wrap(c.croci(args)).out();
        if out.code != Some(0) {
            c.delete_force();
            return Err(out);
        }
    }
    Ok(())
}

/// Each call is replaced, or its name is in the error.
#[test]
fn a_missing_system_call_is_replaced_or_named() {
    need_root!();
    for (name, number, replaced) in [
        ("openat2", libc::SYS_openat2, true),
        ("close_range", libc::SYS_close_range, true),
        ("clone3", libc::SYS_clone3, true),
        ("pidfd_open", libc::SYS_pidfd_open, true),
        ("pidfd_send_signal", libc::SYS_pidfd_send_signal, true),
        ("mount_setattr", libc::SYS_mount_setattr, true),
        ("open_tree", libc::SYS_open_tree, true),
        ("fsopen", libc::SYS_fsopen, true),
        ("waitid", libc::SYS_waitid, false),
        ("signalfd4", libc::SYS_signalfd4, false),
        ("flock", libc::SYS_flock, false),
    ] {
        let c = Container::new(&["sleep", "1000"]);
        let done = life(&c, &|command| under(command, refusing(&[number], libc::ENOSYS)));
        match done {
            Ok(()) => {}
            Err(out) => {
                assert!(!replaced && out.stderr.contains(name), "{name}: {out:#?}");
                assert_eq!(out.stderr.lines().count(), 1, "{name}: {out:#?}");
            }
        }
        c.sandbox.nothing_left();
    }
    for number in [libc::SYS_openat2, libc::SYS_close_range] {
        let c = Container::new(&["sleep", "1000"]);
        if let Err(out) = life(&c, &|command| under(command, refusing(&[number], libc::EPERM))) {
            panic!("{number} with EPERM: {out:#?}");
        }
    }
}

/// Without openat2 a hostile image leads nowhere either.
#[test]
fn without_openat2_links_stay_in_the_root() {
    need_root!();
    let c = Container::sh("cat /proc/self/mountinfo; echo $HOME");
    let secret = c.host_dir("secret");
    std::os::unix::fs::symlink(&secret, c.file("/wd")).unwrap();
    std::fs::create_dir_all(c.file("/etc")).unwrap();
    let _ = std::fs::remove_file(c.file("/etc/passwd"));
    std::os::unix::fs::symlink(format!("{}/marker", secret.display()), c.file("/etc/passwd")).unwrap();
    // in the root file system there is a directory of the same path
    std::fs::create_dir_all(c.file(secret.to_str().unwrap())).unwrap();
    let c = c.edit(|config| config["process"]["cwd"] = json!("/wd/inside"));
    let out = under(c.run_with(&[]), refusing(&[libc::SYS_openat2], libc::ENOSYS)).out().ok();
    assert!(out.stdout.ends_with("\n/\n"), "the home directory is the default: {out:#?}");
    assert!(!secret.join("inside").exists());
    assert!(c.file(secret.to_str().unwrap()).join("inside").is_dir());
}

/// `RestrictAddressFamilies=AF_UNIX AF_NETLINK`: the loopback interface is brought up all the same.
#[test]
fn loopback_needs_no_socket_of_ipv4() {
    need_root!();
    let c = Container::new(&["cat", "/sys/class/net/lo/flags"]).edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        if !list.iter().any(|one| one["type"] == "network") {
            list.push(json!({"type": "network"}));
        }
    });
    let out = under(c.run_with(&[]), without_ipv4()).out().ok();
    let flags = u32::from_str_radix(out.text().trim_start_matches("0x"), 16).unwrap();
    assert_eq!(flags & 1, 1, "IFF_UP");
}

/// `ProcSubset=pid`: a procfs with processes only.
#[test]
fn every_verb_works_with_processes_only_in_procfs() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let id = c.id.clone();
    let bundle = c.bundle.to_str().unwrap().to_owned();
    c.write_config();
    let probe = subset(&c, Path::new("/bin/sh"), &["-c", "test ! -e /proc/sys && test -e /proc/self"]);
    assert_eq!(probe.code, Some(0), "a procfs without /proc/sys: {probe:#?}");
    for args in [
        &["create", "--bundle", &bundle, &id][..],
        &["start", &id],
        &["state", &id],
        &["list"],
        &["exec", &id, "true"],
        // the table is made by ps(1), which needs /proc/stat
        &["ps", "--format", "json", &id],
        &["events", "--stats", &id],
        &["pause", &id],
        &["resume", &id],
        &["update", "--pids-limit", "100", &id],
        &["kill", &id, "KILL"],
        &["delete", "--force", &id],
        &["features"],
    ] {
        let words: Vec<&str> =
            ["--root", c.sandbox.root.to_str().unwrap()].into_iter().chain(args.iter().copied()).collect();
        let out = subset(&c, &runtime(), &words);
        assert_eq!(out.code, Some(0), "{args:?}: {out:#?}");
        if args[0] == "start" {
            // and what runs outside of the service sees the same container
            assert_eq!(c.status(), "running");
        }
    }
    c.sandbox.nothing_left();
}

/// Runs a program in a mount namespace of its own whose /proc has processes only.
fn subset(c: &Container, program: &Path, args: &[&str]) -> Out {
    let script = "mount -t proc -o subset=pid proc /proc && exec \"$@\"";
    let shell = ["-m", "--propagation", "private", "/bin/sh", "-c", script, "sh"];
    c.sandbox.program("unshare").args(shell).arg(program).args(args).out()
}
