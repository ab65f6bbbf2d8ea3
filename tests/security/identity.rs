//! E1–E7: capabilities, users, groups, masks, keyring, environment.

use linux::testing::keys;
use nix::sys::stat::{Mode, umask};
use test_support::*;

/// Not a test: runs inside a container and prints the serial of its session keyring.
#[test]
#[ignore = "a helper that e5 runs inside of containers"]
fn helper_session_keyring() {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "serial={}", own_serial()).unwrap();
}

/// Not a test: runs inside a container and tries to use a keyring of another container.
#[test]
#[ignore = "a helper that e5 runs inside of containers"]
fn helper_foreign_keyring() {
    let serial: i32 = std::env::var("KEYRING").unwrap().parse().unwrap();
    let name = std::ffi::CString::new(std::env::var("KEYRING_NAME").unwrap()).unwrap();
    let results = [
        ("link", keys::link(serial).is_ok()),
        ("read", keys::read(serial).is_ok()),
        ("search", keys::search(serial).is_ok()),
        ("describe", keys::describe(serial).is_ok()),
        ("setperm", keys::open_to_all(serial).is_ok()),
        ("join", linux::keyring::join_session(&name).is_ok_and(|joined| joined == serial)),
    ];
    use std::io::Write as _;
    let reached: Vec<&str> = results.iter().filter(|(_, reached)| *reached).map(|(what, _)| *what).collect();
    writeln!(std::io::stderr(), "reached={reached:?}").unwrap();
}

/// The command line that runs the helper from a copy of this test binary.
const HELPER: [&str; 5] = ["/helper", "--ignored", "--exact", "identity::helper_session_keyring", "--nocapture"];

fn serial(out: &Out) -> i64 {
    let at = out.stderr.find("serial=").unwrap_or_else(|| panic!("{out:?}"));
    let digits: String = out.stderr[at + 7..].chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().unwrap()
}

/// Returns the serial number of this process's session keyring, -1 where it has none.
fn own_serial() -> i64 {
    linux::query::session_keyring().map_or(-1, i64::from)
}

#[test]
fn e1_exec_caps_are_not_inheritable() {
    need_root!();
    let c = Container::running();
    let out = c.exec_with(&["--cap", "CAP_NET_ADMIN"], &["grep", "Cap", "/proc/self/status"]).out().ok();
    assert!(out.stdout.contains("CapInh:\t0000000000000000"), "{out:?}");
    assert!(!is_croci() || out.stdout.contains("CapAmb:\t0000000000000000"), "{out:?}");
}

#[test]
fn e1_the_generated_config_has_no_inheritable_set() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.mkdir("bundle");
    sandbox.bare(["spec"]).cwd(&bundle).out().ok();
    let config: Value = serde_json::from_slice(&std::fs::read(bundle.join("config.json")).unwrap()).unwrap();
    let caps = &config["process"]["capabilities"];
    assert!(caps["inheritable"].as_array().is_none_or(Vec::is_empty), "{caps}");
}

#[test]
fn e2_exec_users_are_parsed_whole() {
    need_root!();
    let c = Container::running();
    for (user, uid) in [("1", 1), ("1:2", 1), ("0", 0), ("65534:65534", 65_534)] {
        assert_eq!(c.exec_with(&["-u", user], &["id", "-u"]).out().ok().text(), uid.to_string(), "{user:?}");
    }
    for user in [
        "",
        "abc",
        "-1",
        "4294967296",
        "4294967295",
        "1:",
        ":1",
        "1:x",
        "99999999999999999999",
        "1 2",
        "1:2:3",
        " 1",
        "1\n",
        "0x1",
        "+1",
    ] {
        let out = c.exec_with(&[&format!("--user={user}")], &["id", "-u"]).out();
        assert!(out.code.is_some_and(|code| code != 0) && out.stdout.is_empty(), "user {user:?}: {out:?}");
        out.no_panic();
    }
}

#[test]
fn e3_supplementary_groups_of_the_caller_are_dropped() {
    need_root!();
    let show = ["grep", "Groups", "/proc/self/status"];
    let with_groups = |cmd: Cmd| cmd.before_exec(|| linux::cred::setgroups(&[4, 27, 1234]));
    let out = with_groups(Container::new(&show).run_with(&[])).out().ok();
    assert_eq!(out.text().trim(), "Groups:", "{out:?}");
    let c = Container::running();
    let out = with_groups(c.exec_with(&[], &show)).out().ok();
    assert_eq!(out.text().trim(), "Groups:", "{out:?}");
}

#[test]
fn e4_the_callers_umask() {
    need_root!();
    let c = Container::sh("stat -c %a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; umask");
    let out = c.run_with(&[]).before_exec(|| {
        umask(Mode::S_IRWXG | Mode::S_IRWXO);
        Ok(())
    });
    let out = out.out().ok();
    assert_eq!(out.lines()[..6], ["666"; 6], "{out:?}");
    assert!(!is_croci() || out.lines()[6] == "0022", "PR-7: 0022 unless configured: {out:?}");
    let c = Container::sh("umask").edit(|config| config["process"]["user"]["umask"] = json!(0o027));
    assert_eq!(c.run().ok().text(), "0027");
}

#[test]
fn e5_a_session_keyring_of_its_own() {
    need_root!();
    let image = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let c = Container::new(&HELPER);
    std::fs::write(c.file("/helper"), image).unwrap();
    let helper = c.file("/helper");
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let caller = own_serial();
    let first = serial(&c.run().ok());
    let second = serial(&c.run().ok());
    assert!(first > 0 && first != caller && second != caller, "caller {caller}, container {first}");
    assert_ne!(first, second, "each container has its own");
    let kept = serial(&c.run_with(&["--no-new-keyring"]).out().ok());
    let again = serial(&c.run_with(&["--no-new-keyring"]).out().ok());
    assert_eq!(kept, again, "with --no-new-keyring it is the caller's");
    let d = Container::within(&c.sandbox, &["sleep", "1000"]);
    std::fs::hard_link(&helper, d.file("/helper")).unwrap();
    let d = d.up();
    let exec = serial(&d.exec(&HELPER).ok());
    assert!(exec > 0 && exec != caller, "exec too: {exec}");
}

#[test]
fn e5_the_keyring_is_no_other_containers() {
    need_root!();
    let helper = |c: Container| {
        let own = std::env::current_exe().unwrap();
        c.mount(test_support::bundle::bind(&own, "/helper", &["ro"]))
    };
    for uid in [0, 1000] {
        let user = |config: &mut Value| config["process"]["user"] = json!({ "uid": uid, "gid": 0 });
        let sandbox = Sandbox::new();
        let victim = Container::within(
            &sandbox,
            &["sh", "-c", "/helper --ignored --exact identity::helper_session_keyring --nocapture 2>&1; sleep 1000"],
        );
        let victim = helper(victim).edit(user);
        let proc = victim.up_with_output();
        let text = wait_until("the victim prints its keyring", || {
            let text = proc.stdout();
            text.lines().any(|line| line.contains("serial=")).then_some(text)
        });
        let at = text.find("serial=").unwrap() + 7;
        let serial: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
        assert!(serial.parse::<i64>().unwrap() > 0, "{text}");
        let attacker = Container::within(
            &sandbox,
            &["/helper", "--ignored", "--exact", "identity::helper_foreign_keyring", "--nocapture"],
        );
        let attacker = helper(attacker).edit(user).edit(|config| {
            let name = format!("KEYRING_NAME=_ses.{}", victim.id);
            config["process"]["env"].as_array_mut().unwrap().extend([json!(format!("KEYRING={serial}")), json!(name)]);
        });
        let out = attacker.run().ok();
        assert!(out.stderr.contains("reached=[]"), "uid {uid}: {out:?}");
        victim.delete_force().ok();
    }
}

#[test]
fn e6_the_user_that_means_no_change() {
    need_root!();
    for field in ["uid", "gid"] {
        for value in [json!(4_294_967_295u64), json!(-1)] {
            let c = Container::new(&["true"]).edit(|config| config["process"]["user"][field] = value.clone());
            c.create().fails().one_line().stderr_contains(field);
            c.nothing_left();
        }
        let c = Container::sh("id -u; id -g").edit(|config| config["process"]["user"][field] = json!(2_147_483_648u64));
        assert!(c.run().ok().stdout.contains("2147483648"));
    }
}

#[test]
fn e7_the_containers_environment_is_no_hooks_and_the_runtimes_is_only_that_of_hooks_on_the_host() {
    need_root!();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let c = Container::new(&["sleep", "1000"]);
        let seen = c.sandbox.path("env");
        let hook = c.sandbox.script("hook", &format!("#!/bin/sh\n/usr/bin/env > {0}; pwd >> {0}\n", seen.display()));
        let c = c.edit(|config| {
            config["hooks"] = json!({ kind: [{ "path": hook }] });
            config["process"]["env"].as_array_mut().unwrap().push(json!("LD_PRELOAD=./evil.so"));
        });
        let create = c.create_with(&[]).env("SECRET_OF_THE_CALLER", "1").out();
        create.ok();
        c.croci(["start", &c.id]).env("SECRET_OF_THE_CALLER", "1").out().ok();
        c.croci(["delete", "--force", &c.id]).env("SECRET_OF_THE_CALLER", "1").out().ok();
        let text = std::fs::read_to_string(&seen).unwrap();
        assert!(text.contains("PATH=") && !text.contains("LD_PRELOAD"), "{kind}: {text}");
        // a process of the container may trace a createContainer hook
        assert_eq!(text.contains("SECRET_OF_THE_CALLER"), kind != "createContainer", "{kind}: {text}");
        assert!(!text.contains("rootfs"), "{kind} runs in the image: {text}");
    }
}

#[test]
fn pr_12_absent_capabilities_are_none() {
    need_root!();
    let show = ["grep", "Cap", "/proc/self/status"];
    for value in [None, Some(json!({}))] {
        let c = Container::new(&show).edit(|config| match &value {
            None => drop(config["process"].as_object_mut().unwrap().remove("capabilities")),
            Some(caps) => config["process"]["capabilities"] = caps.clone(),
        });
        let out = c.run().ok();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(out.stdout.contains(&format!("{set}:\t0000000000000000")), "{value:?}: {out:?}");
        }
    }
}

#[test]
fn pr_12_capabilities_are_exactly_those_configured() {
    need_root!();
    let c = Container::new(&["grep", "Cap", "/proc/self/status"]).edit(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        config["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
            "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]
        });
    });
    let out = c.run().ok();
    for line in ["CapBnd:\t0000000000002021", "CapInh:\t0000000000000020", "CapAmb:\t0000000000000020"] {
        assert!(out.stdout.contains(line), "{line} in {out:?}");
    }
    // an execve of a program without file capabilities keeps only the ambient capabilities
    assert!(
        out.stdout.contains("CapEff:\t0000000000000020") && out.stdout.contains("CapPrm:\t0000000000000020"),
        "{out:?}"
    );
}

#[test]
fn class_20_a_hostile_passwd_does_not_hang_exec() {
    need_root!();
    if !is_croci() {
        skip!("runc takes numbers only");
    }
    let fifo = Container::running();
    std::fs::remove_file(fifo.file("/etc/passwd")).unwrap();
    nix::unistd::mkfifo(&fifo.file("/etc/passwd"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let out = fifo.exec_with(&["-u", "user"], &["true"]).limit(std::time::Duration::from_secs(10)).out();
    out.fails();
    let sparse = Container::running();
    std::fs::File::options().write(true).open(sparse.file("/etc/passwd")).unwrap().set_len(4 << 30).unwrap();
    let out = sparse.exec_with(&["-u", "nosuchuser"], &["true"]).limit(std::time::Duration::from_secs(10)).out();
    out.fails();
    let zero = Container::running();
    std::fs::remove_file(zero.file("/etc/passwd")).unwrap();
    host::symlink("/dev/zero", zero.file("/etc/passwd"));
    let out = zero.exec_with(&["-u", "user"], &["true"]).limit(std::time::Duration::from_secs(10)).out();
    out.fails();
}
