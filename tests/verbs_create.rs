//! `create` and `run`: their flags, and the exit status and streams of `run`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::os::unix::fs::OpenOptionsExt as _;
use test_support::container::Container;
use test_support::*;

/// A script that prints the number of its descriptors and its LISTEN_FDS and LISTEN_PID.
const SHOW_FDS: &str = "ls /proc/self/fd | wc -l; echo LISTEN_FDS=$LISTEN_FDS LISTEN_PID=$LISTEN_PID";

#[test]
fn run_gives_the_programs_status() {
    need_root!();
    for code in [0, 1, 2, 3, 42, 125, 126, 127, 128, 137, 200, 254, 255] {
        let c = Container::sh(&format!("exit {code}"));
        c.run().exits(code);
        c.nothing_left();
    }
}

#[test]
fn run_gives_128_plus_the_signal() {
    need_root!();
    for (signal, number) in [("KILL", 9), ("TERM", 15), ("SEGV", 11), ("USR1", 10)] {
        // the kernel discards signals that pid 1 sends to itself, so the signal is sent from outside
        let c = Container::new(&["sleep", "1000"]).edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "pid");
        });
        let run = c.up_with_output();
        c.kill(signal).ok();
        run.wait().exits(128 + number);
        c.nothing_left();
    }
}

#[test]
fn run_passes_stdin_and_both_outputs() {
    need_root!();
    let c = Container::sh("cat; echo to-stderr >&2");
    let out = c.run_with(&[]).stdin("one\ntwo\n").out().ok();
    assert_eq!(out.stdout, "one\ntwo\n");
    assert_eq!(out.stderr, "to-stderr\n");
}

#[test]
fn run_passes_large_output() {
    need_root!();
    let c = Container::sh("head -c 3000000 /dev/zero");
    assert_eq!(c.run().ok().stdout.len(), 3_000_000);
}

#[test]
fn run_detach_returns_at_once_and_leaves_it_running() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let file = c.sandbox.path("pid");
    c.run_with(&["--detach", "--pid-file", file.to_str().unwrap()]).out().ok();
    assert_eq!(c.status(), "running");
    assert_eq!(std::fs::read_to_string(file).unwrap(), c.pid().to_string());
    let short = Container::new(&["sleep", "1000"]);
    short.run_with(&["-d"]).out().ok();
    assert_eq!(short.status(), "running");
}

#[test]
fn run_keep_leaves_a_stopped_container() {
    need_root!();
    let c = Container::sh("exit 4");
    c.run_with(&["--keep"]).out().exits(4);
    assert_eq!(c.status(), "stopped");
    c.delete().ok();
    c.nothing_left();
}

#[test]
fn run_forwards_signals() {
    need_root!();
    let c = Container::sh(
        "trap 'echo got-usr1' USR1; trap 'echo got-term; exit 5' TERM; echo > /ready; \
        while true; do sleep 0.05; done",
    );
    let run = c.up_with_output();
    c.wait_file("/ready");
    run.signal(libc::SIGUSR1);
    wait_for("got-usr1", || run.stdout().contains("got-usr1"));
    run.signal(libc::SIGTERM);
    assert!(run.wait().exits(5).stdout.contains("got-term"));
    c.nothing_left();
}

/// Checks that `run` or `exec` forwards a signal that it receives just after the program has started. strace(1) stops
/// the runtime for a second after each message from init, the last of which comes when the program runs.
fn forwards_a_signal_at_once(c: &Container, words: &[&str]) {
    let strace = c.sandbox.program("strace").args(["-D", "-qq", "-o", "/dev/null", "-e", "trace=recvmsg", "-e"]);
    let strace = strace.arg("inject=recvmsg:delay_exit=1000000").arg(runtime()).arg("--root").arg(&c.sandbox.root);
    let proc = strace.args(words).spawn();
    c.wait_file("/ready");
    proc.signal(libc::SIGUSR1);
    assert!(proc.wait().exits(3).stdout.contains("got-usr1"));
}

#[test]
fn a_signal_is_forwarded_as_soon_as_the_program_runs() {
    need_root!();
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        skip!("needs strace");
    }
    let script = "trap 'echo got-usr1; exit 3' USR1; echo > /ready; while true; do sleep 0.05; done";
    let c = Container::sh(script);
    c.write_config();
    forwards_a_signal_at_once(&c, &["run", "--bundle", c.bundle.to_str().unwrap(), &c.id]);
    c.nothing_left();
    let c = Container::new(&["sleep", "1000"]).up();
    forwards_a_signal_at_once(&c, &["exec", &c.id, "sh", "-c", script]);
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn create_keeps_none_of_the_callers_pipes() {
    need_root!();
    // CL-7: a caller that reads standard output until end of file gets it when the container ends, not later
    let c = Container::sh("echo out; exec sleep 1000 >/dev/null 2>&1 </dev/null");
    c.write_config();
    let mut create = c.croci(["create", "--bundle"]).arg(&c.bundle).arg(&c.id).command;
    create.stdout(std::process::Stdio::piped());
    let mut child = create.spawn().unwrap();
    assert!(child.wait().unwrap().success());
    c.start().ok();
    let mut text = String::new();
    use std::io::Read as _;
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n", "read to the end while the container runs");
    assert_eq!(c.status(), "running");
}

/// `--config` and `update --resources` read a pipe as by `<(...)` of a shell.
#[test]
fn configuration_and_resources_from_a_pipe() {
    need_root!();
    if !is_croci() {
        skip!("runc has no --config");
    }
    let c = Container::new(&["sleep", "1000"]);
    c.write_config();
    let other = c.sandbox.path("other.json");
    std::fs::rename(c.bundle.join("config.json"), &other).unwrap();
    let script = r#"set -e
        "$@" create --config <(cat "$OTHER") --bundle "$BUNDLE" "$ID" </dev/null >/dev/null
        "$@" update --resources <(echo '{"pids":{"limit":55}}') "$ID"
        "$@" state "$ID""#;
    let bash = c.sandbox.program("bash").args(["-c", script, "bash"]).arg(runtime()).arg("--root").arg(&c.sandbox.root);
    let out = bash.env("OTHER", &other).env("BUNDLE", &c.bundle).env("ID", &c.id).out().ok();
    assert_eq!(out.json()["status"], "created");
    assert_eq!(cgroup::read(c.pid(), "pids", "pids.max", "pids.max").as_deref(), Some("55"));
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn config_flag_names_another_file() {
    need_root!();
    if !is_croci() {
        skip!("runc has no --config");
    }
    for flag in ["--config", "-f"] {
        let c = Container::sh("exit 6");
        c.write_config();
        let other = c.sandbox.path("other.json");
        std::fs::rename(c.bundle.join("config.json"), &other).unwrap();
        c.croci(["run", flag]).arg(&other).arg("--bundle").arg(&c.bundle).arg(&c.id).out().exits(6);
    }
}

#[test]
fn preserve_fds_follow_stdio() {
    need_root!();
    let c = Container::sh("cat <&3; cat <&4; ls /proc/self/fd");
    let open = |name: &str| -> std::os::fd::OwnedFd {
        std::fs::File::open(c.sandbox.write(name, format!("{name}\n"))).unwrap().into()
    };
    let cmd = c.run_with(&["--preserve-fds", "2"]).inherit(open("third"), 3).inherit(open("fourth"), 4);
    let out = cmd.inherit(open("fifth"), 5).out().ok();
    assert_eq!(out.lines()[..2], ["third", "fourth"]);
    // 0-4, and the directory that ls has open itself
    assert_eq!(out.lines()[2..], ["0", "1", "2", "3", "4", "5"], "fd 5 is the directory that ls reads");
    assert!(!out.stdout.contains("fifth"));
}

#[test]
fn preserve_fds_beyond_the_open_ones_is_an_error() {
    need_root!();
    let c = Container::new(&["true"]);
    c.create_with(&["--preserve-fds", "40"]).out().fails();
    c.nothing_left();
}

#[test]
fn fd_2_listen_fds_are_passed_on() {
    need_root!();
    let c = Container::sh(&format!("cat <&3; {SHOW_FDS}; echo NAMES=$LISTEN_FDNAMES"));
    let file = std::fs::File::open(c.sandbox.write("socket", "activated\n")).unwrap();
    c.write_config();
    let out = c.run_by(activated(&c, "$$").env("LISTEN_FDNAMES", "web").inherit(file.into(), 3)).ok();
    assert!(out.stdout.starts_with("activated\n"), "{out:#?}");
    assert!(out.stdout.contains("LISTEN_FDS=1 LISTEN_PID=1"), "{out:#?}");
    assert!(!is_croci() || out.stdout.contains("NAMES=web"), "{out:#?}");
}

/// Returns a `run` command as a service manager starts it, with one passed descriptor and LISTEN_PID set to `pid`.
fn activated(c: &Container, pid: &str) -> Cmd {
    let script = format!("LISTEN_PID={pid} exec \"$@\"");
    c.sandbox.program("sh").args(["-c", &script, "sh"]).env("LISTEN_FDS", "1")
}

#[test]
fn listen_fds_of_another_process_are_not_obeyed() {
    need_root!();
    let c = Container::sh("ls /proc/self/fd | wc -l; echo LISTEN_FDS=$LISTEN_FDS");
    c.write_config();
    let dir = || std::fs::File::open(c.host_dir("host")).unwrap().into();
    for pid in ["1", "", "abc"] {
        let out = c.run_by(activated(&c, pid).inherit(dir(), 3)).ok();
        assert_eq!(
            out.lines(),
            ["4", "LISTEN_FDS="],
            "LISTEN_PID {pid:?}: the three streams, and the directory that ls reads"
        );
    }
    let out = c.run_with(&[]).env("LISTEN_FDS", "1").inherit(dir(), 3).out().ok();
    assert_eq!(out.lines(), ["4", "LISTEN_FDS="]);
    c.nothing_left();
}

#[test]
fn listen_fds_never_pass_a_directory() {
    need_root!();
    let c = Container::sh("ls /proc/self/fd/3/; touch /reached");
    c.write_config();
    let dir = std::fs::File::open(c.host_dir("host")).unwrap();
    let out = c.run_by(activated(&c, "$$").inherit(dir.into(), 3));
    out.fails().one_line().stderr_contains("LISTEN_FDS: descriptor 3 is a directory");
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/").unwrap();
    c.run_by(activated(&c, "$$").inherit(opened.into(), 3)).fails().stderr_contains("is a directory");
    assert!(!c.file("/reached").exists());
    c.nothing_left();
}

#[test]
fn no_pivot_works() {
    need_root!();
    let c = Container::sh("test -e /bin/busybox && ls / | wc -l");
    c.run_with(&["--no-pivot"]).out().ok();
    c.nothing_left();
}

#[test]
fn no_new_keyring_is_accepted() {
    need_root!();
    Container::new(&["true"]).run_with(&["--no-new-keyring"]).out().ok(); // its effect: security/identity.rs, E5
}

#[test]
fn no_subreaper_is_accepted() {
    need_root!();
    Container::new(&["true"]).run_with(&["--no-subreaper"]).out().ok();
    Container::new(&["true"]).run_with(&["-no-subreaper"]).out().ok(); // Go style, as containerd sends it
}

#[test]
fn cl_12_pidfd_socket() {
    need_root!();
    if !is_croci() {
        skip!("runc of this machine has no --pidfd-socket");
    }
    let c = Container::new(&["sleep", "1000"]);
    let socket = pty::ConsoleSocket::listen(&c.sandbox.dir);
    let create = c.create_with(&["--pidfd-socket", &socket.flag()]).spawn();
    let (_, fds) = pty::receive_fds(&socket.accept());
    create.wait().ok();
    assert_eq!(fds.len(), 1);
    use std::os::fd::AsRawFd as _;
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0].as_raw_fd())).unwrap();
    assert!(info.contains(&format!("Pid:\t{}", c.pid())), "{info}");
}

#[test]
fn flags_in_every_spelling() {
    need_root!();
    let c = Container::new(&["true"]);
    c.write_config();
    let bundle = c.bundle.to_str().unwrap();
    for spelling in [
        vec!["--bundle".to_owned(), bundle.to_owned()],
        vec![format!("--bundle={bundle}")],
        vec!["-b".to_owned(), bundle.to_owned()],
        vec!["-bundle".to_owned(), bundle.to_owned()],
        vec![format!("-bundle={bundle}")],
        vec!["--bundle".to_owned(), "/nowhere".to_owned(), "--bundle".to_owned(), bundle.to_owned()],
    ] {
        c.croci(["run"]).args(&spelling).arg(&c.id).out().ok();
    }
}

/// FT-48 (O6): the errors from which callers derive 126 and 127 are errors of `create` (CR-3).
#[test]
fn pr_2_programs_that_cannot_run_fail_create() {
    need_root!();
    let table: &[(&[&str], &str)] = &[
        (&["missing-program"], "executable file not found"),
        (&["/missing/program"], "no such file or directory"),
        (&["/etc/passwd"], "permission denied"),
        (&["/etc"], "is a directory"),
        (&[""], "executable"),
    ];
    for (args, text) in table {
        let c = Container::new(args);
        // crun's error for a directory differs, and callers accept both; validation may refuse an empty name
        let out = c.create().fails().one_line();
        if !args[0].is_empty() {
            out.stderr_contains(text);
        }
        c.nothing_left();
        let c = Container::new(args);
        let out = c.run();
        assert!(out.code.is_some_and(|code| code != 0) && out.signal.is_none(), "{out:#?}");
        c.nothing_left();
    }
}

#[test]
fn pr_2_programs_of_a_bad_format_are_an_error() {
    need_root!();
    let c = Container::new(&["/bin/bad"]);
    test_support::cmd::script(&c.file("/bin/bad"), "no header\n");
    let out = c.run();
    assert_ne!(out.code, Some(0));
    out.no_panic().stderr_contains("exec format error");
    let c = Container::new(&["/bin/bad"]);
    test_support::cmd::script(&c.file("/bin/bad"), "#!/no/such/shell\n");
    let out = c.run();
    assert_ne!(out.code, Some(0));
    out.no_panic().stderr_contains("no such file or directory");
    c.nothing_left();
}

#[test]
fn cl_11_notify_socket_is_proxied() {
    need_root!();
    let c = Container::sh("echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET");
    let path = c.sandbox.path("notify.sock");
    let _socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let out = c.run_with(&[]).env("NOTIFY_SOCKET", &path).out();
    assert!(!out.stdout.trim().is_empty(), "the program sees NOTIFY_SOCKET\n{out:#?}");
    out.ok();
    c.nothing_left();
}

/// Of these descriptors the lock matters most, because an init that holds it would block every later verb after the
/// runtime was killed.
#[test]
fn cl_7_a_created_init_holds_nothing_of_the_runtime() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    c.create().ok();
    let fds = std::fs::read_dir(format!("/proc/{}/fd", c.pid())).unwrap();
    for fd in fds.map(|fd| fd.unwrap().path()) {
        let number: i32 = fd.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let target = std::fs::read_link(&fd).unwrap_or_default();
        let name = target.file_name().unwrap_or_default().to_str().unwrap_or_default().to_owned();
        assert!(number < 3 || name == "exec.fifo", "fd {number}: {}", target.display());
    }
    c.delete_force().ok();
}

/// containerd's `--null-io` passes one descriptor of /dev/null, opened for reading, as all three streams.
#[test]
fn standard_streams_that_are_null_are_the_containers_and_for_both_directions() {
    need_root!();
    // reads the streams of the shell itself, because busybox runs some commands in the shell's process
    let script = "exec 9>/result; for n in 0 1 2; do x=$(grep flags /proc/$$/fdinfo/$n; stat -L -c %d /proc/$$/fd/$n \
        /dev/null); echo \"$x\" >&9; done; echo written; echo status $? >&9";
    let c = Container::sh(script);
    let null = || std::fs::File::open("/dev/null").unwrap();
    let check = |what: &str| {
        let result = std::fs::read_to_string(c.file("/result")).unwrap();
        let lines: Vec<&str> = result.lines().collect();
        assert_eq!(lines.len(), 10, "{what}: {result}");
        for part in lines[..9].chunks(3) {
            assert!(part[0].ends_with("02") && part[1] == part[2], "{what}: {result}");
        }
        assert_eq!(lines[9], "status 0", "{what}");
    };
    let cmd = c.run_with(&[]).stdio(std::os::fd::AsFd::as_fd(&null()));
    assert_eq!(cmd.out().code, Some(0));
    check("run");
    let up = Container::running();
    let cmd = up.exec_with(&[], &["sh", "-c", script]).stdio(std::os::fd::AsFd::as_fd(&null()));
    assert_eq!(cmd.out().code, Some(0));
    let result = std::fs::read_to_string(up.file("/result")).unwrap();
    assert!(result.ends_with("status 0\n"), "exec: {result}");
}

/// As runc: `mode=`, `uid=` and `gid=` of the options decide, then the directory that the tmpfs covers.
#[test]
fn a_tmpfs_has_mode_and_owner_of_the_directory_it_covers() {
    need_root!();
    let c = Container::sh("stat -c '%a %u:%g' /covered /set /new").edit(|config| {
        for (destination, options) in [
            ("/covered", json!(["size=1m"])),
            ("/set", json!(["mode=711", "uid=3", "gid=4"])),
            ("/new", json!(["size=1m"])),
        ] {
            let mount = json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options});
            config["mounts"].as_array_mut().unwrap().push(mount);
        }
    });
    for name in ["covered", "set"] {
        let dir = c.rootfs.join(name);
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(7), Some(8)).unwrap();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o1751)).unwrap();
    }
    assert_eq!(c.run().ok().lines(), ["1751 7:8", "711 3:4", "1777 0:0"]);
}

#[test]
fn a_path_that_is_masked_twice_is_masked_once() {
    need_root!();
    let c = Container::sh("grep -c ' /proc/keys ' /proc/self/mountinfo").edit(|config| {
        config["linux"]["maskedPaths"] = json!(["/proc/keys", "/proc/keys", "/proc//keys"]);
    });
    assert_eq!(c.run().ok().text().trim(), "1");
}

/// Podman and Buildah of Debian pass them on.
#[test]
fn a_bind_takes_the_options_for_relabelling_and_ignores_them() {
    need_root!();
    let sandbox = Sandbox::new();
    let source = sandbox.mkdir("source");
    std::fs::write(source.join("file"), "there").unwrap();
    for option in ["z", "Z", "U"] {
        let bind = bundle::bind(&source, "/data", &[option]);
        let c = Container::within(&sandbox, &["cat", "/data/file"]).mount(bind);
        assert_eq!(c.run().ok().stdout, "there", "{option}");
    }
}

#[test]
fn a_symlink_in_the_place_of_proc_is_named() {
    need_root!();
    let c = Container::new(&["true"]);
    let proc = c.rootfs.join("proc");
    let _ = std::fs::remove_dir(&proc);
    std::os::unix::fs::symlink("etc", &proc).unwrap();
    c.run()
        .fails()
        .one_line()
        .stderr_contains("must be mounted on ordinary directory")
        .stderr_contains("symbolic link");
}

/// Podman has 126 for "permission denied" and 127 for "executable file not found in $PATH".
#[test]
fn a_directory_and_an_empty_name_have_the_words_that_engines_match() {
    need_root!();
    let c = Container::running();
    for (program, text) in [("/etc", "is a directory: permission denied"), ("", "executable file not found in $PATH")] {
        c.exec(&[program]).fails().one_line().stderr_contains(text);
        Container::new(&[program]).run().fails().one_line().stderr_contains(text);
    }
}

/// With 1 % of a processor from the start, init itself would be held up a dozen times; hooks find the limit in force.
#[test]
fn cp_2_a_quota_does_not_slow_the_creation() {
    need_root!();
    if !cgroup::has_controller("cpu") || cgroup::by_systemd() {
        skip!("needs the cpu controller, without systemd");
    }
    let limited = |config: &mut Value| {
        config["linux"]["resources"]["cpu"] = json!({ "shares": 2, "quota": 1000, "period": 100_000 });
    };
    let c = Container::new(&["sleep", "1000"]).edit(limited);
    c.create().ok();
    let text = cgroup::read(c.pid(), "cpu", "cpu.stat", "cpu.stat").unwrap();
    let held: u64 = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap().parse().unwrap();
    assert!(held < 3, "{text}");
    let quota = |pid: i32| cgroup::read(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").unwrap();
    assert_eq!(quota(c.pid()).split_whitespace().next(), Some("1000"));
    let file = c.sandbox.path("quota");
    let dir = cgroup::dir_of(c.pid(), "cpu").unwrap();
    let name = if cgroup::is_v2() { "cpu.max" } else { "cpu.cfs_quota_us" };
    let other = Container::within(&c.sandbox, &["true"]).edit(limited);
    let path = dir.with_file_name(&other.id).join(name);
    let script = format!("cat {} > {}", path.display(), file.display());
    let other = other.edit(|config| {
        config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    });
    other.create().ok();
    assert_eq!(std::fs::read_to_string(&file).unwrap().split_whitespace().next(), Some("1000"));
}
