//! The errors of verbs, of the command line and of config.json as a file.

use crate::codes::Told;
use test_support::*;

/// A case: words after croci (ID stands for the container's, BUNDLE for its bundle), the code, and the status.
type Case = (&'static str, &'static str, i32);

/// Checks the cases on one container.
#[track_caller]
fn check(c: &Container, cases: &[Case]) {
    let mut wrong = Vec::new();
    for (line, code, status) in cases {
        let words = line.replace("ID", &c.id).replace("BUNDLE", c.bundle.to_str().unwrap());
        let told = Told::by(&c.sandbox, |log| c.croci(log.iter().copied().chain(words.split(' '))));
        let exit = if told.out.code == Some(*status) { Ok(()) } else { Err(format!("status {:?}", told.out.code)) };
        wrong.extend(told.check(code, "").and(exit).err().map(|err| format!("{line}: {err}")));
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
}

#[test]
fn the_command_line() {
    need_root!();
    let c = Container::new(&["true"]);
    c.write_config();
    check(
        &c,
        &[
            ("craete ID", "usage.verb", 1),
            ("create --bundel x ID", "usage.flag", 1),
            ("create --root /x ID", "usage.flag", 1),
            ("create", "usage.arguments", 1),
            ("create a b", "usage.arguments", 1),
            ("exec ID", "usage.arguments", 255),
            ("create ID --bundle", "usage.arguments", 1),
            ("create --preserve-fds x ID", "usage.value", 1),
            ("--cgroup-manager x state ID", "usage.value", 1),
            ("update --memory 1x ID", "usage.value", 1),
            ("create --bundle BUNDLE a/b", "container.id_invalid", 1),
            ("create --bundle /no/such/bundle ID", "bundle.missing", 1),
            ("create --bundle /etc ID", "config.missing", 1),
            ("create --bundle /etc/passwd ID", "bundle.missing", 1),
            ("create --bundle BUNDLE --preserve-fds 5 ID", "fd.invalid", 1),
            ("create --bundle BUNDLE --pid-file /no/such/dir/pid ID", "file.missing", 1),
            ("run --bundle BUNDLE --record-seccomp /no/such/dir/profile ID", "file.missing", 1),
            ("run --bundle BUNDLE --record-seccomp /etc ID", "file.invalid", 1),
            ("create --bundle BUNDLE --config /no/such/config ID", "config.missing", 1),
            ("explain no.such_code", "usage.value", 1),
            ("state absent", "container.not_found", 1),
            ("kill absent", "container.not_found", 1),
            ("kill absent TREM", "signal.unknown", 1),
            ("delete absent", "container.not_found", 1),
            ("exec absent true", "container.not_found", 255),
            ("start absent", "container.not_found", 1),
        ],
    );
    c.nothing_left();
}

#[test]
fn a_container_that_runs() {
    need_root!();
    let c = Container::running();
    check(
        &c,
        &[
            ("create --bundle BUNDLE ID", "container.exists", 1),
            ("start ID", "container.status", 1),
            ("delete ID", "container.not_stopped", 1),
            ("resume ID", "container.status", 1),
            ("exec ID no-such-program", "exec.not_found", 255),
            ("exec ID /etc/passwd", "exec.denied", 255),
            ("exec ID /etc", "exec.directory", 255),
            ("exec --cwd tmp ID true", "usage.value", 255),
            ("exec --cgroup /no/such ID true", "file.missing", 255),
            ("update --blkio-weight 5 ID", "usage.value", 1),
            ("exec --apparmor nothing ID true", "lsm.failed", 255),
            ("exec --user nobody-of-this-name ID true", "process.user", 255),
            ("exec --cap CAP_NET_ADMN ID true", "process.capability", 255),
            ("exec --process /no/such/file ID", "file.missing", 255),
            ("exec --tty --detach ID true", "terminal.missing", 255),
            ("exec --detach --tty --console-socket /no/such/socket ID true", "terminal.no_listener", 255),
            ("update --resources /no/such/file ID", "file.missing", 1),
            ("update --cpuset-cpus 4000 ID", "cgroup.value", 1),
            ("update --cpu-quota 5 ID", "usage.value", 1),
            ("update --memory 100M --memory-swap 50M ID", "cgroup.value", 1),
            ("update --blkio-weight 5 ID", "usage.value", 1),
            ("ps ID --frob", "usage.value", 1),
            ("mounts add ID /no/such/file", "file.missing", 1),
        ],
    );
    c.kill("KILL").ok();
    c.wait_status("stopped");
    check(
        &c,
        &[
            ("kill ID", "container.not_running", 1),
            ("start ID", "container.not_running", 1),
            ("exec ID true", "container.not_running", 255),
            ("pause ID", "container.not_running", 1),
            ("update --memory 10m ID", "container.not_running", 1),
            ("events --stats ID", "container.not_running", 1),
        ],
    );
    c.delete().ok();
    c.nothing_left();
}

/// The file config.json.
#[test]
fn the_file() {
    need_root!();
    for (text, code) in [
        ("", "config.syntax"),
        ("{", "config.syntax"),
        ("[]", "config.type"),
        ("{}", "config.version"),
        (r#"{"ociVersion":"1.0.2","ociVersion":"1.0.2"}"#, "config.syntax"),
    ] {
        let c = Container::new(&["true"]);
        std::fs::write(c.bundle.join("config.json"), text).unwrap();
        let told = Told::by(&c.sandbox, |log| {
            c.croci(log.iter().copied().chain(["create", "--bundle"])).arg(&c.bundle).arg(&c.id)
        });
        told.check(code, "").unwrap();
        c.nothing_left();
    }
}

/// A document that a flag names is named with its path, and a list of CPUs as it is written.
#[test]
fn what_is_wrong_is_quoted() {
    need_root!();
    let c = Container::running();
    let file = c.sandbox.path("limits.json");
    std::fs::write(&file, "{").unwrap();
    let wanted = format!("--resources {file:?}: not valid JSON");
    c.croci(["update", "--resources"]).arg(&file).arg(&c.id).out().fails().one_line().stderr_contains(&wanted);
    c.delete_force().ok();
    for (cpus, wanted) in [("1-", "found \"1-\""), ("0-3,,5", "found \"0-3,,5\"")] {
        let c = Container::new(&["true"])
            .edit(|config| crate::edit::set(config, "/process/execCPUAffinity", json!({"initial": cpus})));
        c.create().fails().one_line().stderr_contains(wanted);
        c.nothing_left();
    }
}

/// What may be meant is named, also in the configuration.
#[test]
fn the_word_that_is_meant() {
    need_root!();
    let c = Container::running();
    let near = format!("{}x", c.id);
    for (words, want) in [
        (vec!["strat", &c.id], "(did you mean \"start\"?)"),
        (vec!["create", "--bundel=x", &c.id], "(did you mean \"--bundle\"?)"),
        (vec!["state", "--debug", &c.id], "(a flag of croci itself: give it before the verb)"),
        (vec!["kill", &c.id, "SIGTREM"], "(did you mean \"TERM\"?)"),
        (vec!["state", &near], &*format!("(did you mean {:?}?)", c.id)),
        (vec!["exec", "--cap", "NET_ADMN", &c.id, "true"], "(did you mean \"CAP_NET_ADMIN\"?)"),
    ] {
        c.croci(&words).out().fails().stderr_contains(want);
    }
    for (pointer, value, want) in [
        ("/linux/rootfsPropagation", json!("rslvae"), "(did you mean \"rslave\"?)"),
        ("/linux/namespaces", json!([{"type": "moutn"}]), "(did you mean \"mount\"?)"),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILES", "soft": 1, "hard": 1}]),
            "(did you mean \"RLIMIT_NOFILE\"?)",
        ),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERNO"}), "(did you mean \"SCMP_ACT_ERRNO\"?)"),
        (
            "/mounts",
            json!([{"destination": "/a", "source": "/etc", "options": ["bind", "noexce"]}]),
            "(did you mean \"noexec\"?)",
        ),
    ] {
        let other = Container::within(&c.sandbox, &["true"]).edit(|config| crate::edit::set(config, pointer, value));
        other.create().fails().one_line().stderr_contains(want);
    }
    c.delete_force().ok();
}
