//! Hosts that lack what most have: a writable /run, cgroups, a procfs with all processes, a user namespace in the configuration.
//!
//! `mounts::places` has `--no-pivot`, as an initial ramfs needs it; `rootless` has a container in a container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::container::Container;
use test_support::user::User;
use test_support::*;

/// Runs a shell script as root in a mount and pid namespace of its own, with the runtime as `$croci` and the bundle of `c`.
fn on_host(c: &Container, script: &str) -> Out {
    c.write_config();
    let shell = ["-m", "-p", "-f", "--propagation", "private", "--mount-proc", "/bin/sh", "-euc", script];
    c.sandbox
        .program("unshare")
        .args(shell)
        .env("croci", runtime())
        .env("root", &c.sandbox.root)
        .env("bundle", &c.bundle)
        .env("id", &c.id)
        .out()
}

/// The whole life of a container by `$croci $flags`.
const LIFE: &str = "$croci $flags --root $root create --bundle $bundle $id; $croci $flags --root $root start $id; \
                    $croci $flags --root $root exec $id echo from exec; $croci $flags --root $root kill $id KILL; \
                    $croci $flags --root $root delete --force $id";

#[test]
fn a_read_only_run_needs_another_state_root_and_nothing_else() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let mounted = "mount -t tmpfs -o ro none /run; ! touch /run/x 2>/dev/null; ";
    let out = on_host(&c, &format!("{mounted} $croci run --bundle $bundle $id")).fails();
    assert!(
        out.stderr.contains("state root \"/run/croci\"") && out.stderr.contains("choose another directory"),
        "{out:#?}"
    );
    let out = on_host(&c, &format!("{mounted} flags=; {LIFE}")).ok();
    assert_eq!(out.stdout, "from exec\n");
    c.sandbox.nothing_left();
}

#[test]
fn without_any_cgroup_a_container_lives_by_the_disabled_manager() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]);
    let unmounted = "umount -R -l /sys/fs/cgroup; test -z \"$(ls /sys/fs/cgroup)\"; ";
    let out = on_host(&c, &format!("{unmounted} $croci --root $root run --bundle $bundle $id")).fails();
    assert!(out.stderr.contains("--cgroup-manager disabled"), "the way out is named: {out:#?}");
    let out = on_host(&c, &format!("{unmounted} flags='--cgroup-manager disabled'; {LIFE}")).ok();
    assert_eq!(out.stdout, "from exec\n");
    c.sandbox.nothing_left();
}

#[test]
fn processes_of_others_may_be_hidden() {
    need_root!();
    let hidden = "mount -t proc -o hidepid=2 proc /proc; grep -q hidepid /proc/self/mounts; ";
    let c = Container::new(&["sleep", "1000"]);
    let out = on_host(&c, &format!("{hidden} flags=; {LIFE}")).ok();
    assert_eq!(out.stdout, "from exec\n");
    let user = User::plain();
    let c = user.container(&["sleep", "1000"]);
    c.write_config();
    let as_user = format!("setpriv --reuid {0} --regid {0} --clear-groups sh -euc", user.id);
    let life = format!("flags=; export flags croci={}; {as_user} '{LIFE}'", user.runtime.display());
    // init may not be traced, so that its own user does not see it: a reason, and nothing is left
    let out = on_host(&c, &format!("{hidden} ! {as_user} 'test -e /proc/1'; {life}")).fails();
    assert!(out.stderr.contains("hidepid"), "{out:#?}");
    let group = hidden.replace("hidepid=2", &format!("hidepid=2,gid={}", user.id));
    let out = on_host(&c, &format!("{group} {life}")).ok();
    assert_eq!(out.stdout, "from exec\n");
    c.sandbox.nothing_left();
}

#[test]
fn an_ordinary_user_gets_the_user_namespace_that_the_configuration_lacks() {
    need_root!();
    let user = User::plain();
    for uid in [0, 1000] {
        let c =
            user.container(&["sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups"]);
        let c = c.edit(|config| {
            let linux = config["linux"].as_object_mut().unwrap();
            linux.remove("uidMappings");
            linux.remove("gidMappings");
            linux["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "user");
            config["process"]["user"] = json!({"uid": uid, "gid": uid});
        });
        c.write_config();
        let out = user.croci(&["run", "--bundle", c.bundle.to_str().unwrap(), &c.id]).out().ok();
        let map = format!("{uid} {} 1", user.id);
        let words: Vec<String> =
            out.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words, [uid.to_string(), map.clone(), map, "deny".to_owned()], "{out:#?}");
        assert!(out.stderr.contains("no user namespace"), "a warning: {out:#?}");
    }
    user.sandbox.nothing_left();
}

/// A container in a container in a container, each made by the croci in the one around it.
#[test]
fn three_containers_within_each_other() {
    need_root!();
    let c = Container::new(&["true"]);
    let second = c.rootfs.join("second");
    let third = bundle::make_rootfs(&second).join("third");
    bundle::make_rootfs(&third);
    for rootfs in [c.rootfs.clone(), second.join("rootfs")] {
        c.sandbox.program("cp").arg(runtime()).arg(rootfs.join("croci")).out().ok();
    }
    let run =
        |name: &str| json!(["/croci", "--cgroup-manager", "disabled", "run", "--bundle", format!("/{name}"), name]);
    let last = json!(["sh", "-c", "echo third $$; ls /proc | grep -c '^[0-9]'"]);
    for (dir, args) in [(&second, run("third")), (&third, last)] {
        std::fs::write(dir.join("config.json"), nested(&args, &json!("rootfs")).to_string()).unwrap();
    }
    let c = c.edit(|config| {
        let cgroup = config["linux"]["cgroupsPath"].clone();
        *config = nested(&run("second"), &config["root"]["path"]);
        config["linux"]["cgroupsPath"] = cgroup;
    });
    let out = c.run().ok();
    assert!(out.stdout.starts_with("third 1\n"), "{out:#?}");
    c.sandbox.nothing_left();
}

/// A configuration with the capabilities and mounts that a runtime needs in the container.
fn nested(args: &Value, rootfs: &Value) -> Value {
    let names = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "MKNOD", "SETGID", "SETUID", "SETPCAP", "SYS_ADMIN"];
    let caps: Vec<String> =
        names.iter().chain(&["SYS_CHROOT", "SYS_PTRACE", "SYS_RESOURCE"]).map(|name| format!("CAP_{name}")).collect();
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": rootfs},
        "process": {
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"], "args": args,
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps}
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/run", "type": "tmpfs", "source": "tmpfs"}
        ],
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}
    })
}
