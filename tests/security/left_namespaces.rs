//! An init that has left the namespaces it was created in: `exec` runs no process in those that the init has entered.

use test_support::bundle::with_userns;
use test_support::*;

/// Starts a container whose init has entered new namespaces by unshare(1) with these flags.
fn leaver(flags: &str, edit: impl FnOnce(&mut Value)) -> Container {
    let script = format!("exec busybox unshare {flags} sh -c 'echo > /tmp/left; exec sleep 1000'");
    let c = Container::sh(&script).edit(edit).up();
    wait_for("init has left", || c.file("/tmp/left").exists());
    c
}

const LEFT: &str = "init of the container has left the namespaces that it was created in";

#[test]
fn an_exec_into_another_mount_namespace_is_refused() {
    need_root!();
    let ordinary = |config: &mut Value| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    let administrator = |config: &mut Value| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
        }
    };
    type Edit<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, &str, Edit<'_>); 5] = [
        ("-U -m", "mount", &ordinary),
        ("-U -n", "network", &ordinary),
        ("-m", "mount", &administrator),
        ("-u", "uts", &administrator),
        ("-i", "ipc", &administrator),
    ];
    for (flags, kind, edit) in cases {
        let c = leaver(flags, edit);
        for more in [&["-u", "0"][..], &["-u", "0", "--no-verify"]] {
            let out = c.exec_with(more, &["sh", "-c", "echo ran"]).out();
            assert!(!out.stdout.contains("ran"), "{flags}: {out:?}");
            out.fails().one_line().stderr_contains(LEFT).stderr_contains(kind);
        }
        let list = c.sandbox.write("list.json", r#"[{"destination":"/m","type":"tmpfs","source":"tmpfs"}]"#);
        let out = c.croci(["mounts", "add", &c.id]).arg(&list).out();
        if kind == "mount" {
            out.fails().one_line().stderr_contains(LEFT);
        }
        let verdict = c.verb("state", &["--verify"]).out().exits(1);
        assert!(verdict.stdout.contains(&format!("linux.namespaces: {kind}")), "{verdict:?}");
        c.delete_force().ok();
        c.nothing_left();
    }
}

#[test]
fn an_exec_into_the_same_namespaces_is_allowed() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(with_userns).edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
    });
    let c = c.up();
    c.exec(&["true"]).ok();
    let record: Value = serde_json::from_slice(&std::fs::read(c.state_dir().join("record.json")).unwrap()).unwrap();
    for (name, file) in test_support::container::NAMESPACES {
        let link = std::fs::read_link(format!("/proc/{}/ns/{file}", c.pid())).unwrap();
        assert!(
            link.to_str().unwrap().contains(&record["namespaces"][name][1].to_string()),
            "{name}: {link:?}, {record}"
        );
    }
    // a record of an older version has no namespaces to compare with
    let mut record = record;
    record.as_object_mut().unwrap().remove("namespaces");
    std::fs::write(c.state_dir().join("record.json"), record.to_string()).unwrap();
    c.exec(&["true"]).ok();
    c.delete_force().ok();
}
