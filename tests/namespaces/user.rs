//! User namespaces: their maps, and exec, mounts, devices, sysctls and terminals in them.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use test_support::bundle::{bind, with_userns};
use test_support::need_root;
use test_support::pty::ConsoleSocket;

fn userns(script: &str) -> Container {
    Container::sh(script).edit(with_userns)
}

fn running() -> Container {
    Container::new(&["sleep", "1000"]).edit(with_userns).up()
}

#[test]
fn um_1_ids_are_those_of_the_map() {
    need_root!();
    let c = userns("cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; touch /var/file; touch /tmp/own");
    let volume = c.sandbox.mkdir("volume");
    std::os::unix::fs::chown(&volume, Some(100_000), Some(100_000)).unwrap();
    let c = c.mount(bind(&volume, "/var", &[])).mount(json!({ "destination": "/tmp", "type": "tmpfs", "source": "t" }));
    let out = c.run().ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "65536", "0", "100000", "65536", "0", "0"], "{out:?}");
    let file = std::fs::metadata(volume.join("file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (100_000, 100_000));
    c.nothing_left();
}

#[test]
fn um_1_several_ranges_and_a_user_in_the_second() {
    need_root!();
    let c = userns("cat /proc/self/uid_map; id -u; id -g; id -G").edit(|config| {
        let map = json!([
            { "containerID": 0, "hostID": 200_000, "size": 10 },
            { "containerID": 1000, "hostID": 300_000, "size": 100 }
        ]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config["process"]["user"] = json!({ "uid": 1001, "gid": 1002, "additionalGids": [5, 1003] });
    });
    let out = c.run().ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "200000", "10", "1000", "300000", "100", "1001", "1002", "1002", "5", "1003"], "{out:?}");
}

/// The caller's groups have no ids in the user namespace; the rights that they give stay.
#[test]
fn an_4_kept_groups_are_overflow_ids() {
    need_root!();
    let groups = ["grep", "Groups:", "/proc/self/status"];
    let c = Container::new(&["sleep", "1000"]).edit(with_userns).edit(|config| {
        config["annotations"] = json!({ "run.oci.keep_original_groups": "1" });
    });
    c.write_config();
    let with_groups = |cmd: Cmd| cmd.before_exec(|| linux::cred::setgroups(&[4, 27, 1234]));
    with_groups(c.create_with(&[])).out().ok();
    c.start().ok();
    let of_init = host::status_field(c.pid(), "Groups").unwrap();
    assert_eq!(of_init.split_whitespace().collect::<Vec<_>>(), ["4", "27", "1234"], "as the host sees them");
    let seen = with_groups(c.exec_with(&[], &groups)).out().ok();
    assert_eq!(seen.text().split_whitespace().skip(1).collect::<Vec<_>>(), ["65534"; 3]);
    c.delete_force().ok();
}

#[test]
fn um_2_an_id_outside_of_the_map_is_refused() {
    need_root!();
    let c = userns("true").edit(|config| config["process"]["user"]["uid"] = json!(70_000));
    c.create().fails().one_line().stderr_contains("process.user.uid");
    let c = userns("true").edit(|config| config["process"]["user"]["additionalGids"] = json!([70_000]));
    c.create().fails().one_line().stderr_contains("additionalGids");
    c.nothing_left();
}

#[test]
fn um_2_maps_that_the_kernel_refuses_are_named() {
    need_root!();
    let c = userns("true").edit(|config| {
        config["linux"]["uidMappings"] = json!([
            { "containerID": 0, "hostID": 100_000, "size": 10 },
            { "containerID": 5, "hostID": 200_000, "size": 10 }
        ]);
    });
    c.create().fails().one_line().stderr_contains("linux.uidMappings");
    c.nothing_left();
}

#[test]
fn ns_7_the_namespaces_belong_to_the_user_namespace() {
    need_root!();
    // only the owner of a namespace may set the host name, mount, and set addresses in it
    let script =
        "hostname changed && hostname; mount -t tmpfs t /tmp && echo mounted; ip link set lo down && echo down";
    let c = userns(script).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap()
                .extend([json!("CAP_SYS_ADMIN"), json!("CAP_NET_ADMIN")]);
        }
    });
    assert_eq!(c.run().ok().lines(), ["changed", "mounted", "down"]);
}

#[test]
fn exec_enters_it_as_the_user_asked_for() {
    need_root!();
    let c = running();
    check_namespaces_of_exec(&c);
    let out = c.exec(&["sh", "-c", "id -u; cat /proc/self/uid_map; grep -E '^Cap(Eff|Inh)' /proc/self/status"]).ok();
    let words: Vec<_> = out.stdout.split_whitespace().collect();
    assert_eq!(words[..4], ["0", "0", "100000", "65536"], "{out:?}");
    assert_eq!(words[5], "0000000000000000", "{out:?}");
    assert_ne!(words[7], "0000000000000000", "{out:?}");
    let out = c.exec_with(&["--user", "1000:1001", "-g", "7"], &["sh", "-c", "id -u; id -g; id -G"]).out().ok();
    assert_eq!(out.lines(), ["1000", "1001", "1001 7"]);
    c.exec_with(&["--user", "70000"], &["id"]).out().fails().stderr_contains("70000");
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.nothing_left();
}

#[test]
fn exec_detached_with_a_pid_file() {
    need_root!();
    let c = running();
    let file = c.sandbox.path("pid");
    c.exec_with(&["--detach", "--pid-file", file.to_str().unwrap()], &["sleep", "500"]).out().ok();
    let pid: i32 = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    for (_, name) in NAMESPACES {
        assert_eq!(namespace(pid, name), namespace(c.pid(), name));
    }
    assert_eq!(host::status_field(pid, "Uid").unwrap().split_whitespace().next(), Some("100000"));
    c.delete_force().ok();
    c.nothing_left();
}

#[test]
fn a_terminal_is_sent_to_the_console_socket() {
    need_root!();
    for uid in [0, 1000] {
        let c = userns("tty; id -u; stat -c %u /dev/console; read line; echo got $line").edit(|config| {
            config["process"]["terminal"] = json!(true);
            config["process"]["user"] = json!({ "uid": uid, "gid": uid });
        });
        let socket = ConsoleSocket::listen(&c.sandbox.dir);
        c.create_with(&["--console-socket", &socket.flag()]).out().ok();
        let mut console = socket.receive();
        c.start().ok();
        console.write("hello\r");
        console.expect("got hello");
        let seen = console.seen();
        let lines: Vec<_> = seen.lines().map(str::trim_end).filter(|line| *line != "hello").collect();
        assert!(lines[0].starts_with("/dev/"), "{seen}");
        assert_eq!(lines[1..3], [uid.to_string(), uid.to_string()], "{seen}");
        c.wait_status("stopped");
        c.delete().ok();
        c.nothing_left();
    }
}

#[test]
fn exec_with_a_terminal() {
    need_root!();
    let c = running();
    let socket = ConsoleSocket::listen(&c.sandbox.dir);
    let flags = ["--tty", "--detach", "--console-socket", &socket.flag(), "--user", "1000"];
    c.exec_with(&flags, &["sh", "-c", "tty; stat -c %u $(tty); echo over"]).out().ok();
    let mut console = socket.receive();
    let seen = console.expect("over");
    assert!(seen.contains("/dev/pts/0") && seen.contains("\n1000"), "{seen}");
}

#[test]
fn sysctls_of_all_namespaces() {
    need_root!();
    let c = userns(
        "cd /proc/sys; cat net/ipv4/ip_forward kernel/shm_rmid_forced fs/mqueue/msg_max kernel/domainname \
        user/max_ipc_namespaces",
    );
    let c = c.edit(|config| {
        config["linux"]["sysctl"] = json!({
            "net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "17",
            "kernel.domainname": "example", "user.max_ipc_namespaces": "7"
        });
    });
    let before = host::sysctl("net/ipv4/ip_forward");
    let out = c.run().ok();
    assert_eq!(out.lines(), ["1", "1", "17", "example", "7"], "{out:?}");
    assert_eq!(host::sysctl("net/ipv4/ip_forward"), before);
}

#[test]
fn dv_3_devices_are_the_hosts_and_work() {
    need_root!();
    let c = userns(
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done; \
        echo x > /dev/null && head -c 4 /dev/zero | od -An -tx1; head -c 1 /dev/urandom | wc -c; \
        stat -c '%n %t:%T %a' /dev/mem2; stat -c '%F %a %u' /dev/pipe; ls -l /dev/ptmx | grep -c pts/ptmx",
    );
    // a device with the same numbers and another path is found by its numbers, or by the path on the host
    let c = c.edit(|config| {
        config["linux"]["devices"] = json!([
            { "path": "/dev/pipe", "type": "p", "fileMode": 0o640, "uid": 3, "gid": 4 },
            { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }
        ]);
        let script = config["process"]["args"][2].as_str().unwrap().replace("stat -c '%n %t:%T %a' /dev/mem2; ", "");
        config["process"]["args"][2] = json!(script);
    });
    let out = c.run().ok();
    let expected = [
        "/dev/null 1:3",
        "/dev/zero 1:5",
        "/dev/full 1:7",
        "/dev/random 1:8",
        "/dev/urandom 1:9",
        "/dev/tty 5:0",
        " 00 00 00 00",
        "1",
        "fifo 640 3",
        "1",
    ];
    assert_eq!(out.lines(), expected, "{out:?}");
    c.nothing_left();
}

/// As crun: runc sets no flag. A device is neither a program nor setuid.
#[test]
fn dv_4_the_default_devices_are_nosuid_and_noexec() {
    need_root!();
    let out = userns("grep -E ' /dev/(null|zero|full|tty|random|urandom) ' /proc/self/mountinfo").run().ok();
    let flags: Vec<Vec<&str>> =
        out.lines().iter().map(|line| line.split(' ').nth(5).unwrap().split(',').collect()).collect();
    assert_eq!(flags.len(), 6, "{out:?}");
    assert!(flags.iter().all(|flags| flags.contains(&"nosuid") && flags.contains(&"noexec")), "{out:?}");
}

#[test]
fn mt_10_an_idmapped_mount_shows_the_containers_ids() {
    need_root!();
    let c = userns("stat -c %u:%g /var /var/marker; echo new > /var/new && stat -c %u:%g /var/new");
    let volume = c.host_dir("volume");
    // on a file system that supports idmapped mounts, because that of /tmp may not
    c.sandbox.program("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).arg(&volume).out().ok();
    std::fs::write(volume.join("marker"), "x").unwrap();
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1000 }]);
    for idmap in [json!({}), json!({ "uidMappings": map, "gidMappings": map })] {
        let c = userns("").edit(|config| config["process"] = c.config["process"].clone());
        let own_map = idmap.as_object().unwrap().is_empty();
        let mut mount = bind(&volume, "/var", if own_map { &["idmap"] } else { &[] });
        // maps ids of the file system to ids of the host; with `idmap` the container's map is used
        mount.as_object_mut().unwrap().extend(
            idmap
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, _)| (key.clone(), json!([{ "containerID": 0, "hostID": 100_000, "size": 1000 }]))),
        );
        let c = c.mount(mount);
        let out = c.run().ok();
        assert_eq!(out.lines(), ["0:0", "0:0", "0:0"], "own map {own_map}: {out:?}");
        assert_eq!(std::fs::metadata(volume.join("new")).unwrap().uid(), 0, "as the file system has it");
        std::fs::remove_file(volume.join("new")).unwrap();
    }
}

#[test]
fn ns_7_a_bundle_that_the_user_cannot_reach() {
    need_root!();
    use std::os::unix::fs::PermissionsExt as _;
    let c = userns("cat /var/marker; echo here");
    let closed = c.sandbox.mkdir("closed");
    let volume = c.sandbox.mkdir("closed/volume");
    std::fs::write(volume.join("marker"), "marker\n").unwrap();
    let bundle = closed.join("bundle");
    std::fs::rename(&c.bundle, &bundle).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut c = c.mount(bind(&volume, "/var", &["ro"]));
    c.rootfs = bundle.join("rootfs");
    c.bundle = bundle;
    let out = c.run().ok();
    assert_eq!(out.lines(), ["marker", "here"]);
    c.nothing_left();
}

#[test]
fn hooks_see_the_host_from_outside_and_the_map_from_inside() {
    need_root!();
    let c = userns("true");
    let out = c.sandbox.mkdir("out");
    std::fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let hook = c.sandbox.script("hook", "#!/bin/sh\ncat /proc/self/uid_map > $1.map; cat > $1.state");
    let entry = |name: &str| json!([{ "path": hook, "args": ["hook", out.join(name)], "env": ["PATH=/bin:/usr/bin"] }]);
    let hooks = json!({ "createRuntime": entry("runtime"), "createContainer": entry("container") });
    let c = c.edit(|config| config["hooks"] = hooks);
    c.run().ok();
    let words = |name: &str| {
        let text = std::fs::read_to_string(out.join(name)).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_ne!(words("runtime.map")[1], "100000");
    assert_eq!(words("container.map"), ["0", "100000", "65536"]);
    let state: Value = serde_json::from_str(&std::fs::read_to_string(out.join("container.state")).unwrap()).unwrap();
    assert_eq!(state["pid"], 1, "{state}");
}
