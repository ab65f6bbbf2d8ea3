//! Without root: an ordinary user with one id or with ranges, with and without a cgroup of his own; and uid 0 of a user
//! namespace, as rootless Podman calls. The tests run as root, for somebody has to become that user.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;
use common::cmd::Cmd;
use common::*;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An ordinary user with a directory, a copy of the runtime that he can reach, and perhaps a cgroup.
struct User {
    sandbox: Arc<Sandbox>,
    id: u32,
    /// The first of his 65536 subordinate ids.
    subordinate: Option<u32>,
    runtime: PathBuf,
    /// Where his processes start, when a cgroup is delegated to him.
    job: Option<PathBuf>,
}

impl User {
    /// Somebody without an entry in any file.
    fn plain() -> User {
        User::new(54_321, None)
    }

    /// A user of this machine who has subordinate ids.
    fn with_ranges() -> Option<User> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        let found = subuid.lines().find_map(|line| {
            let (name, range) = line.split_once(':')?;
            let (first, count) = range.split_once(':')?;
            let entry = passwd.lines().find(|entry| entry.starts_with(&format!("{name}:")))?;
            let id = entry.split(':').nth(2)?.parse().ok().filter(|id| *id != 0)?;
            (count.trim() == "65536").then(|| (id, first.parse().unwrap()))
        });
        found.map(|(id, first)| User::new(id, Some(first)))
    }

    fn new(id: u32, subordinate: Option<u32>) -> User {
        let sandbox = Sandbox::new();
        std::fs::set_permissions(&sandbox.dir, PermissionsExt::from_mode(0o755)).unwrap();
        let root = sandbox.mkdir("state");
        chown(&root, Some(id), Some(id)).unwrap();
        // The tree that it was built in may be closed to others. Not copied by this process: while it had the file open
        // for writing, another thread's child would inherit that, and the file could not be run.
        let copy = sandbox.path("croci");
        sandbox.program("cp").arg(common::runtime()).arg(&copy).out().ok();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        User { sandbox, id, subordinate, runtime: copy, job: None }
    }

    /// Gives him a cgroup, as systemd does with `Delegate=yes`; only cgroup v2 can be given away.
    fn delegate(mut self) -> User {
        if cgroup::is_v2() {
            let top = format!("/{}-user", self.sandbox.token);
            let dirs = [top.clone(), format!("{top}/job")].map(|path| cgroup::make(&path).remove(0));
            let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap();
            let enabled: Vec<_> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
            std::fs::write(dirs[0].join("cgroup.subtree_control"), enabled.join(" ")).unwrap();
            for dir in &dirs {
                for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                    chown(dir.join(file), Some(self.id), Some(self.id)).unwrap();
                }
            }
            self.job = Some(dirs[1].clone());
        }
        self
    }

    /// A command of his, in his cgroup if he has one.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        let (id, procs) = (self.id, self.job.as_ref().map(|job| host::cstr(&job.join("cgroup.procs"))));
        let cmd = Cmd::new(program, &self.sandbox.dir, &self.sandbox.token).cwd("/");
        cmd.env("XDG_RUNTIME_DIR", self.sandbox.path("state")).before_exec(move || {
            // SAFETY: plain system calls on a string that the closure owns.
            unsafe {
                if let Some(procs) = &procs {
                    let fd = libc::open(procs.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                    if fd < 0 || libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                        return Err(std::io::Error::last_os_error());
                    }
                }
                if libc::setgroups(0, std::ptr::null()) < 0 || libc::setgid(id) < 0 || libc::setuid(id) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        })
    }

    fn croci(&self, args: &[&str]) -> Cmd {
        self.command(&self.runtime).arg("--root").arg(&self.sandbox.root).args(args)
    }

    /// A container as `spec --rootless` has it, of this user's files.
    fn container(&self, args: &[&str]) -> Container {
        let c = Container::within(&self.sandbox, args).edit(|config| {
            let made = self.sandbox.mkdir("spec");
            chown(&made, Some(self.id), Some(self.id)).unwrap();
            self.croci(&["spec", "--rootless", "--bundle", made.to_str().unwrap()]).out().ok();
            let file = made.join("config.json");
            let mut fresh: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            std::fs::remove_file(file).unwrap();
            fresh["process"]["terminal"] = json!(false);
            fresh["process"]["args"] = config["process"]["args"].take();
            fresh["process"]["env"] = config["process"]["env"].take();
            *config = fresh;
        });
        own_tree(&c.rootfs, self.id);
        c
    }

    fn with_all_ids(&self, config: &mut Value) {
        let map = json!([
            { "containerID": 0, "hostID": self.id, "size": 1 },
            { "containerID": 1, "hostID": self.subordinate.unwrap(), "size": 65_536 }
        ]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    }

    fn verb(&self, c: &Container, verb: &str, flags: &[&str]) -> Cmd {
        self.croci(&[&[verb], flags, &[c.id.as_str()]].concat())
    }

    #[track_caller]
    fn up(&self, c: &Container) {
        c.write_config();
        self.verb(c, "create", &["--bundle", c.bundle.to_str().unwrap()]).out().ok();
        self.verb(c, "start", &[]).out().ok();
    }

    #[track_caller]
    fn run(&self, c: &Container) -> Out {
        c.write_config();
        self.verb(c, "run", &["--bundle", c.bundle.to_str().unwrap()]).out()
    }

    fn exec(&self, c: &Container, flags: &[&str], command: &[&str]) -> Out {
        self.croci(&[&["exec"], flags, &[c.id.as_str()], command].concat()).out()
    }

    fn status(&self, c: &Container) -> String {
        self.verb(c, "state", &[]).out().ok().json()["status"].as_str().unwrap().to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // before his cgroup, which is made of parts that only its parts' end makes removable
        for id in sandbox::state_entries(&self.sandbox.root) {
            let _ = self.sandbox.croci(["delete", "--force", &id]).command.output();
        }
    }
}

fn own_tree(dir: &Path, id: u32) {
    for path in host::snapshot(dir).into_keys() {
        std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    }
    std::os::unix::fs::lchown(dir, Some(id), Some(id)).unwrap();
}

/// What the numbers of an id map are.
fn words(text: &str) -> Vec<&str> {
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
    assert_eq!(words(&out.stdout), ["0", "54321", "1", "deny", "0", "0", "here"], "{out:?}");
    c.nothing_left();
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
            user.verb(&c, "pause", &[]).out().fails().one_line().says("cgroup");
            user.verb(&c, "update", &["--pids-limit", "20"]).out().fails().one_line().says("pids");
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
    user.run(&c).fails().one_line().says("linux.resources.pids");
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
fn a_cgroup_of_somebody_else_is_left_alone() {
    need_root!();
    let user = User::plain();
    let c = user.container(&["cat", "/proc/self/cgroup"]);
    let path = format!("/{}-foreign", c.sandbox.token);
    cgroup::make(&path);
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
    assert_eq!(words(&out.stdout), ["0", &own, "1", "1", &first, "65536", "allow", "0", "10", "20"], "{out:?}");
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
    user.run(&c).fails().says("linux.uidMappings");
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
    // unshare --map-auto maps one id less than Podman
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
            let made = recorded(&format!("podman5-rootless-{name}"), &c_like(&user), "echo ready; exec sleep 1000");
            *config = made;
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

/// Any container of the user's sandbox, for its paths.
fn c_like(user: &User) -> Container {
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
    let socket = common::pty::ConsoleSocket::listen(&user.sandbox.dir);
    std::fs::set_permissions(&socket.path, PermissionsExt::from_mode(0o777)).unwrap();
    c.write_config();
    let flags = ["--bundle", c.bundle.to_str().unwrap(), "--console-socket", &socket.flag()];
    user.verb(&c, "create", &flags).out().ok();
    let mut console = socket.receive();
    user.verb(&c, "start", &[]).out().ok();
    console.write("hello\r");
    assert!(console.expect("got hello").contains("/dev/"));
}
