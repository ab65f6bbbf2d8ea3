//! Without root: an ordinary user with one id or with ranges, with and without a delegated cgroup; and uid 0 of a user
//! namespace, as rootless Podman runs croci. The tests run as root, because a process has to become that user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use test_support::cmd::Cmd;
use test_support::user::{User, own_tree};
use test_support::*;

/// Returns the numbers of an id map.
fn numbers(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn one_id_is_root_inside() {
    need_root!();
    let user = User::plain();
    let c = user.container(&[
        "sh",
        "-c",
        "cat /proc/self/uid_map /proc/self/setgroups; id -u; id -g; hostname here; hostname",
    ]);
    let c = c.edit(|config| {
        config["root"]["readonly"] = json!(false);
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
        }
    });
    let out = user.run(&c).ok();
    assert_eq!(numbers(&out.stdout), ["0", "54321", "1", "deny", "0", "0", "here"], "{out:?}");
    c.nothing_left();
}

/// Without XDG_RUNTIME_DIR, as cron and sudo leave it: `spec` and `features` need no state, and the other verbs keep it in
/// a directory of the user's own, not in one that another user has made.
#[test]
fn without_a_run_time_directory_the_state_is_in_a_private_one() {
    need_root!();
    if !is_croci() {
        skip!("the directory is croci's own choice");
    }
    let user = User::plain();
    let dir = PathBuf::from(format!("/tmp/croci-run-{}", user.id));
    let without = |args: &[&str]| user.command(&user.runtime).env("XDG_RUNTIME_DIR", "").args(args).out();
    let _ = std::fs::remove_dir_all(&dir);
    let state = user.sandbox.path("state");
    without(&["features"]).ok();
    without(&["spec", "--rootless", "--bundle", state.to_str().unwrap()]).ok();
    assert!(!dir.exists(), "verbs without state make no directory");
    let c = user.container(&["sh", "-c", "id -u"]);
    c.write_config();
    assert_eq!(without(&["run", "--bundle", c.bundle.to_str().unwrap(), &c.id]).ok().text(), "0");
    let metadata = std::fs::symlink_metadata(&dir).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o700, user.id));
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::create_dir(&dir).unwrap();
    without(&["list"]).fails().one_line().stderr_contains("is no directory that only this user writes to");
    without(&["features"]).ok();
    std::fs::remove_dir(&dir).unwrap();
}

/// Podman writes `additionalGids: [0]` for root, also for a user without subordinate ids, where the kernel takes no list:
/// the process has that group. A list that names another is an error.
#[test]
fn one_id_has_its_own_group_without_a_list() {
    need_root!();
    let user = User::plain();
    let with = |command: &[&str], list: Value| {
        user.container(command).edit(|config| config["process"]["user"]["additionalGids"] = list)
    };
    let c = with(&["sh", "-c", "id -u; id -g"], json!([0]));
    assert_eq!(user.run(&c).ok().lines(), ["0", "0"]);
    let c = with(&["sleep", "1000"], json!([0]));
    user.up(&c);
    let exec = user.exec(&c, &["--additional-gids", "0"], &["sh", "-c", "id -g"]).ok();
    assert_eq!(exec.text(), "0");
    user.exec(&c, &["--additional-gids", "7"], &["true"]).exits(255).one_line().stderr_contains("additionalGids");
    user.croci(&["delete", "--force", &c.id]).out().ok();
    let c = with(&["true"], json!([0, 7]));
    user.run(&c).fails().one_line().stderr_contains("process.user.additionalGids");
}

/// The same where root joins the user namespace of such a user by path, and croci learns only from the kernel that it takes
/// no list.
#[test]
fn its_own_group_needs_no_list_in_a_joined_user_namespace() {
    need_root!();
    let user = User::plain();
    let holder = user.container(&["sleep", "1000"]);
    user.up(&holder);
    let state = user.verb(&holder, "state", &[]).out().ok().json();
    let path = format!("/proc/{}/ns/user", state["pid"]);
    let denied = std::fs::read_to_string(format!("/proc/{}/setgroups", state["pid"])).unwrap();
    assert_eq!(denied, "deny\n");
    for (list, works) in [(json!([]), true), (json!([0]), true), (json!([7]), false)] {
        let c = Container::sh("id -u; id -g").edit(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.push(json!({ "type": "user", "path": path }));
            config["process"]["user"]["additionalGids"] = list.clone();
            config["mounts"] = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
        });
        own_tree(&c.rootfs, user.id);
        std::fs::set_permissions(&c.sandbox.dir, PermissionsExt::from_mode(0o755)).unwrap();
        let out = c.run();
        if works {
            assert_eq!(out.ok().lines(), ["0", "0"], "{list}");
        } else {
            out.fails().one_line().stderr_contains("process.user.additionalGids");
        }
    }
    user.croci(&["delete", "--force", &holder.id]).out().ok();
}

#[test]
fn all_verbs_with_and_without_a_cgroup() {
    need_root!();
    for user in [User::plain(), User::plain().delegate()] {
        let c = user.container(&["sleep", "1000"]);
        user.up(&c);
        assert_eq!(user.status(&c), "running");
        assert_eq!(user.exec(&c, &[], &["sh", "-c", "id -u; echo $$"]).ok().lines()[0], "0");
        user.exec(&c, &["--detach"], &["sleep", "500"]).ok();
        let pids = user.verb(&c, "ps", &["--format", "json"]).out().ok().json();
        assert_eq!(pids.as_array().unwrap().len(), 2, "{pids}");
        if user.job.is_some() {
            user.verb(&c, "pause", &[]).out().ok();
            assert_eq!(user.status(&c), "paused");
            user.verb(&c, "resume", &[]).out().ok();
            user.verb(&c, "update", &["--pids-limit", "20"]).out().ok();
            let stats = user.verb(&c, "events", &["--stats"]).out().ok().json();
            assert_eq!(stats["data"]["pids"]["limit"], 20, "{stats}");
        } else {
            user.verb(&c, "pause", &[]).out().fails().one_line().stderr_contains("cgroup");
            user.verb(&c, "update", &["--pids-limit", "20"]).out().fails().one_line().stderr_contains("pids");
        }
        assert_eq!(user.status(&c), "running");
        user.croci(&["kill", &c.id, "KILL"]).out().ok();
        wait_for("it is stopped", || user.status(&c) == "stopped");
        user.verb(&c, "delete", &[]).out().ok();
        let left: Vec<_> = c.sandbox.leftovers().into_iter().filter(|line| !line.contains("-user")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn limits_need_a_cgroup() {
    need_root!();
    let limit = |config: &mut Value| config["linux"]["resources"]["pids"] = json!({ "limit": 33 });
    let user = User::plain();
    let c = user.container(&["true"]).edit(limit);
    user.run(&c).fails().one_line().stderr_contains("linux.resources.pids");
    c.nothing_left();
    let user = User::plain().delegate();
    if user.job.is_some() && cgroup::has_controller("pids") {
        let c = user.container(&["sleep", "1000"]).edit(limit);
        user.up(&c);
        let pid = user.verb(&c, "state", &[]).out().ok().json()["pid"].as_i64().unwrap() as i32;
        assert_eq!(cgroup::read(pid, "pids", "pids.max", "pids.max").unwrap(), "33");
    }
}

#[test]
fn a_cgroup_of_another_user_is_left_alone() {
    need_root!();
    let user = User::plain();
    let c = user.container(&["cat", "/proc/self/cgroup"]);
    let path = format!("/{}-foreign", c.sandbox.token);
    cgroup::create(&path);
    let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
    let out = user.run(&c).ok();
    assert!(!out.stdout.contains(&path), "{out:?}");
    assert!(cgroup::dir("pids", &path).exists() || !cgroup::has_controller("pids"));
}

#[test]
fn ranges_of_ids_by_the_setuid_helpers() {
    need_root!();
    let Some(user) = User::with_ranges() else {
        skip!("no user with subordinate ids (useradd NAME; apt-get install uidmap)")
    };
    let c = user.container(&["sleep", "1000"]).edit(|config| {
        user.with_all_ids(config);
        config["process"]["user"]["additionalGids"] = json!([10, 20]);
    });
    user.up(&c);
    let out = user.exec(&c, &[], &["sh", "-c", "cat /proc/self/uid_map; cat /proc/self/setgroups; id -G"]).ok();
    let (own, first) = (user.id.to_string(), user.subordinate.unwrap().to_string());
    assert_eq!(numbers(&out.stdout), ["0", &own, "1", "1", &first, "65536", "allow", "0", "10", "20"], "{out:?}");
    let out = user.exec(&c, &["--user", "1000:5", "-g", "7"], &["sh", "-c", "id -u; id -g"]).ok();
    assert_eq!(out.lines(), ["1000", "5"]);
    user.verb(&c, "delete", &["--force"]).out().ok();
    c.nothing_left();
}

#[test]
fn ranges_that_are_not_the_users_are_refused() {
    need_root!();
    let Some(user) = User::with_ranges() else { skip!("no user with subordinate ids") };
    let c = user.container(&["true"]).edit(|config| {
        user.with_all_ids(config);
        config["linux"]["uidMappings"][1]["hostID"] = json!(1);
    });
    user.run(&c).fails().stderr_contains("linux.uidMappings");
    c.nothing_left();
}

/// Runs a script as root of a user namespace with all of the user's ids, as Podman's processes do.
fn in_podmans_namespace(user: &User, script: &str) -> Cmd {
    let flags = ["--user", "--map-root-user", "--map-auto", "--mount", "sh", "-ec", script, "sh"];
    user.command("unshare").args(flags).arg(&user.runtime).arg(&user.sandbox.root)
}

fn recorded(name: &str, c: &Container, script: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configs").join(format!("{name}.json"));
    let mut config: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    config["root"]["path"] = json!("rootfs");
    let process = &mut config["process"];
    process["terminal"] = json!(false);
    process["args"] = json!(["sh", "-c", script]);
    process["env"].as_array_mut().unwrap().push(json!(format!("CROCI_TEST={}", c.sandbox.token)));
    process["cwd"] = json!("/");
    process.as_object_mut().unwrap().remove("rlimits");
    let file = c.sandbox.write("empty", "");
    let dir = c.sandbox.mkdir("shm");
    let missing = |source: &str| source.starts_with("/srv/") || source.starts_with("/var/tmp/");
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| {
        let source = mount["source"].as_str().unwrap();
        missing(source) || !source.starts_with('/') || Path::new(source).exists()
    });
    for mount in mounts.iter_mut().filter(|mount| missing(mount["source"].as_str().unwrap())) {
        mount["source"] = json!(if mount["destination"] == "/dev/shm" { &dir } else { &file });
    }
    // unshare --map-auto maps one id fewer than Podman
    for map in ["uidMappings", "gidMappings"] {
        for range in config["linux"][map].as_array_mut().into_iter().flatten() {
            range["size"] = json!(range["size"].as_u64().unwrap().min(60_000));
        }
    }
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        namespace.as_object_mut().unwrap().remove("path");
    }
    config
}

#[test]
fn podmans_configurations_as_root_of_a_user_namespace() {
    need_root!();
    let Some(user) = User::with_ranges() else {
        skip!("no user with subordinate ids (useradd NAME; apt-get install uidmap)")
    };
    let user = user.delegate();
    for name in ["default", "buildah-run", "keep-id", "pod-infra", "privileged", "slirp4netns", "tty"] {
        let c = user.container(&["true"]);
        let c = c.edit(|config| {
            let recorded =
                recorded(&format!("podman5-rootless-{name}"), &container_of(&user), "echo ready; exec sleep 1000");
            *config = recorded;
        });
        c.write_config();
        own_tree(&c.rootfs, if name == "keep-id" { user.subordinate.unwrap() } else { user.id });
        let script = "croci=$1; root=$2; bundle=$3; id=$4; run() { $croci --root $root \"$@\"; }; \
            run create --bundle $bundle $id; run start $id; run exec $id id -u; \
            run exec --user 5:6 $id sh -c 'echo $(id -u) $(id -g)'; run exec $id sh -c 'grep -c . /proc/self/uid_map'; \
            run ps -f json $id; run state $id | grep status; run kill $id KILL; \
            until run state $id | grep -q stopped; do sleep 0.02; done; run delete $id";
        let out = in_podmans_namespace(&user, script).arg(&c.bundle).arg(&c.id).out().ok();
        let lines = out.lines();
        let uid = c.config["process"]["user"]["uid"].to_string();
        assert!(lines.contains(&uid.as_str()) && lines.contains(&"5 6"), "{name}: {out:?}");
        assert!(out.stdout.contains("running"), "{name}: {out:?}");
        assert!(c.sandbox.leftovers().iter().all(|line| line.contains("-user")), "{name}: {:?}", c.sandbox.leftovers());
    }
}

/// Creates a container in the user's sandbox, for its paths.
fn container_of(user: &User) -> Container {
    Container::within(&user.sandbox, &["true"])
}

#[test]
fn a_pod_of_an_ordinary_user() {
    need_root!();
    for user in [User::plain(), User::plain().delegate()] {
        let pod = user.container(&["sleep", "1000"]).edit(|config| {
            let list = config["linux"]["namespaces"].as_array_mut().unwrap();
            list.retain(|namespace| namespace["type"] != "network");
            list.extend([json!({ "type": "network" }), json!({ "type": "time" })]);
        });
        user.up(&pod);
        let pid = user.verb(&pod, "state", &[]).out().ok().json()["pid"].to_string();
        for kinds in [&["user", "network", "ipc", "uts"][..], &["user", "pid"], &["user", "time"]] {
            let member = user.container(&["sleep", "1000"]).edit(|config| {
                config["linux"].as_object_mut().unwrap().retain(|name, _| !name.ends_with("Mappings"));
                config.as_object_mut().unwrap().remove("hostname");
                let list = config["linux"]["namespaces"].as_array_mut().unwrap();
                for kind in kinds {
                    let file = if *kind == "network" { "net" } else { kind };
                    list.retain(|namespace| namespace["type"] != *kind);
                    list.push(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") }));
                }
            });
            user.up(&member);
            let inside = |c: &Container, file: &str| {
                user.exec(c, &[], &["readlink", &format!("/proc/self/ns/{file}")]).ok().text().to_owned()
            };
            assert_eq!(inside(&member, "user"), inside(&pod, "user"), "{kinds:?}");
            assert_eq!(inside(&member, "net") == inside(&pod, "net"), kinds.contains(&"network"), "{kinds:?}");
            assert_eq!(inside(&member, "pid") == inside(&pod, "pid"), kinds.contains(&"pid"), "{kinds:?}");
            user.croci(&["kill", &member.id, "KILL"]).out().ok();
            wait_for("it is stopped", || user.status(&member) == "stopped");
            user.verb(&member, "delete", &[]).out().ok();
        }
        assert_eq!(user.status(&pod), "running");
    }
}

#[test]
fn clocks_of_an_ordinary_user() {
    need_root!();
    let user = User::plain();
    let c = user.container(&["sh", "-c", "cat /proc/uptime; cat /proc/self/timens_offsets"]).edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "time" }));
        config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 864_000 } });
    });
    let out = user.run(&c).ok();
    assert!(out.stdout.contains("864000"), "{out:?}");
}

#[test]
fn a_terminal_of_an_ordinary_user() {
    need_root!();
    let user = User::plain();
    let c = user.container(&["sh", "-c", "tty; read line; echo got $line"]).edit(|config| {
        config["process"]["terminal"] = json!(true);
    });
    let socket = test_support::pty::ConsoleSocket::listen(&user.sandbox.dir);
    std::fs::set_permissions(&socket.path, PermissionsExt::from_mode(0o777)).unwrap();
    c.write_config();
    let flags = ["--bundle", c.bundle.to_str().unwrap(), "--console-socket", &socket.flag()];
    user.verb(&c, "create", &flags).out().ok();
    let mut console = socket.receive();
    user.verb(&c, "start", &[]).out().ok();
    console.write("hello\r");
    assert!(console.expect("got hello").contains("/dev/"));
}

/// Runs a container with a user namespace, in which croci runs an inner container with these limits.
fn nest(limits: &Value) -> Out {
    let sandbox = Sandbox::new();
    std::fs::set_permissions(&sandbox.dir, PermissionsExt::from_mode(0o755)).unwrap();
    let inner = sandbox.mkdir("inner");
    let rootfs = bundle::make_rootfs(&inner);
    let mut config = bundle::config(&sandbox, "inner", &["sh", "-c", "id -u; hostname; cat /proc/self/cgroup"]);
    let linux = config["linux"].as_object_mut().unwrap();
    linux.remove("cgroupsPath");
    linux["resources"] = limits.clone();
    std::fs::write(inner.join("config.json"), config.to_string()).unwrap();
    for path in [&inner, &rootfs] {
        own_tree(path, 100_000);
    }
    sandbox.program("cp").arg(test_support::runtime()).arg(sandbox.path("croci")).out().ok();
    let script = "croci --root /tmp/state run --bundle /inner inner; status=$?; ls /tmp/state; exit $status";
    let c = Container::within(&sandbox, &["sh", "-c", script]).edit(|config| {
        bundle::with_userns(config);
        config["process"]["env"] = json!(["PATH=/bin:/usr/local/bin", format!("CROCI_TEST={}", sandbox.token)]);
        for set in ["bounding", "effective", "permitted"] {
            let caps = config["process"]["capabilities"][set].as_array_mut().unwrap();
            caps.extend(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_RESOURCE"].map(|name| json!(name)));
        }
        // the kernel lets a process mount procfs only where it sees a whole procfs already
        for list in ["maskedPaths", "readonlyPaths"] {
            config["linux"].as_object_mut().unwrap().remove(list);
        }
        bundle::add_mount(
            config,
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "rw"] }),
        );
        bundle::add_mount(config, bundle::bind(&inner, "/inner", &["rw"]));
        bundle::add_mount(config, bundle::bind(&sandbox.path("croci"), "/usr/local/bin/croci", &["ro"]));
    });
    for dir in ["inner", "usr/local/bin"] {
        std::fs::create_dir_all(c.rootfs.join(dir)).unwrap();
    }
    own_tree(&c.rootfs, 100_000);
    let out = c.run();
    c.nothing_left();
    out
}

#[test]
fn nested_in_another_container() {
    need_root!();
    let out = nest(&json!({})).ok();
    let lines = out.lines();
    assert_eq!(lines[..2], ["0", "testbox"], "{out:?}");
    // the inner container uses the cgroup of the outer one: its cgroup namespace begins there
    assert!(!cgroup::is_v2() || lines[2] == "0::/", "{out:?}");
    assert_eq!(lines.iter().filter(|line| **line == "inner").count(), 0, "its state is removed: {out:?}");
    // processes are in the outer container's cgroup itself, so that no cgroup below it gets controllers
    nest(&json!({ "pids": { "limit": 20 } })).fails().stderr_contains("linux.resources.pids.limit");
}

/// A bind of the host's /sys contains the cgroups of other containers of the same user.
#[test]
fn cgroups_of_other_containers_cannot_be_changed() {
    need_root!();
    let user = User::plain();
    let sibling = format!("{}-sibling", user.sandbox.token);
    let dirs = cgroup::create(&format!("/{sibling}"));
    for dir in &dirs {
        for file in ["", "cgroup.procs"] {
            std::os::unix::fs::chown(dir.join(file), Some(user.id), Some(user.id)).unwrap();
        }
    }
    let script = format!(
        "for dir in /sys/fs/cgroup/{sibling} /sys/fs/cgroup/*/{sibling}; do test -d $dir && echo seen; \
         mkdir $dir/new && echo made; echo 1 >$dir/cgroup.procs && echo wrote; done 2>/dev/null; echo end"
    );
    let bind =
        |options: &[&str]| json!({ "destination": "/sys", "type": "none", "source": "/sys", "options": options });
    let sysfs = json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs" });
    let fs = json!({ "destination": "/fs", "type": "bind", "source": "/sys/fs", "options": ["rbind", "rw"] });
    let plain = bind(&["rbind", "ro"]);
    let lists = [None, Some(plain), Some(bind(&["rbind", "rw", "rslave"])), Some(sysfs), Some(fs)];
    let mut changed = Vec::new();
    for (number, list) in lists.into_iter().enumerate() {
        let script = if number == 4 { script.replace("/sys/fs", "/fs") } else { script.clone() };
        let c = user.container(&["sh", "-c", &script]).edit(|config| {
            let Some(mount) = list else { return };
            bundle::without_mount(config, "/sys/fs/cgroup");
            bundle::without_mount(config, "/sys");
            bundle::add_mount(config, mount);
        });
        let out = user.run(&c).ok();
        assert!(out.stdout.ends_with("end\n"), "{number}: {out:?}");
        if out.stdout.contains("made") || out.stdout.contains("wrote") {
            changed.push(number);
        }
        // with the configuration of `spec` the container may not see them
        assert!(number == 0 || out.stdout.contains("seen"), "{number}: {out:?}");
    }
    cgroup::remove_all(&sibling);
    assert!(changed.is_empty(), "cgroups could be changed with the lists {changed:?}");
}
