//! An ordinary user: with one id or with ranges, with and without a cgroup or a service manager of the user's own.

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;

use super::cmd::{Cmd, Out};
use super::sandbox::{self, Sandbox};
use super::{Container, Value, cgroup, host, json};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An ordinary user with a directory, a copy of the runtime that this user may execute, and perhaps a cgroup.
pub struct User {
    pub sandbox: Arc<Sandbox>,
    pub id: u32,
    /// The first of the user's 65536 subordinate ids.
    pub subordinate: Option<u32>,
    pub runtime: PathBuf,
    /// The cgroup in which the user's processes start, when one is delegated.
    pub job: Option<PathBuf>,
    /// The runtime directory of the user's own service manager, which then creates the cgroups.
    manager: Option<PathBuf>,
}

impl User {
    /// Returns a user without an entry in any file.
    pub fn plain() -> User {
        User::new(54_321, None)
    }

    /// Returns a user who has subordinate ids, as [`with_subordinate_ids`] does.
    pub fn with_ranges() -> Option<User> {
        with_subordinate_ids().map(|(id, first)| User::new(id, Some(first)))
    }

    /// Returns a user with subordinate ids whose service manager runs.
    pub fn with_manager() -> Option<User> {
        let mut user = of_machine().map(|(id, first)| User::new(id, Some(first)))?;
        let dir = PathBuf::from(format!("/run/user/{}", user.id));
        user.manager = dir.join("bus").exists().then_some(dir);
        user.manager.is_some().then_some(user)
    }

    fn new(id: u32, subordinate: Option<u32>) -> User {
        let sandbox = Sandbox::new();
        std::fs::set_permissions(&sandbox.dir, PermissionsExt::from_mode(0o755)).unwrap();
        let root = sandbox.mkdir("state");
        chown(&root, Some(id), Some(id)).unwrap();
        // Copied because the tree in which the runtime was built may be closed to others, and by another process
        // because, while this one had the copy open for writing, another thread's child would inherit the descriptor,
        // and the file could not be executed.
        let copy = sandbox.path("croci");
        sandbox.program("cp").arg(super::runtime()).arg(&copy).out().ok();
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).unwrap();
        User { sandbox, id, subordinate, runtime: copy, job: None, manager: None }
    }

    /// Delegates a cgroup to the user, as systemd does with `Delegate=yes`; only cgroup v2 can be delegated.
    pub fn delegate(mut self) -> User {
        if cgroup::is_v2() {
            let top = format!("/{}-user", self.sandbox.token);
            let dirs = [top.clone(), format!("{top}/job")].map(|path| cgroup::create(&path).remove(0));
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

    /// Prepares a command of the user, in the user's cgroup if there is one.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        let (id, procs) = (self.id, self.job.as_ref().map(|job| host::cstr(&job.join("cgroup.procs"))));
        let cmd = Cmd::new(program, &self.sandbox.dir, &self.sandbox.token).cwd("/");
        let runtime_dir = self.manager.clone().unwrap_or_else(|| self.sandbox.path("state"));
        cmd.env("XDG_RUNTIME_DIR", runtime_dir).before_exec(move || {
            if let Some(procs) = &procs {
                host::join_cgroup(procs)?;
            }
            linux::cred::setgroups(&[])?;
            linux::cred::setresgid(id)?;
            linux::cred::setresuid(id)
        })
    }

    pub fn croci(&self, args: &[&str]) -> Cmd {
        let flag = self.manager.is_some().then_some("--systemd-cgroup");
        self.command(&self.runtime).arg("--root").arg(&self.sandbox.root).args(flag).args(args)
    }

    /// Prepares a container as `spec --rootless` writes it, of this user's files.
    pub fn container(&self, args: &[&str]) -> Container {
        let c = Container::within(&self.sandbox, args).edit(|config| {
            let spec = self.sandbox.mkdir("spec");
            chown(&spec, Some(self.id), Some(self.id)).unwrap();
            self.croci(&["spec", "--rootless", "--bundle", spec.to_str().unwrap()]).out().ok();
            let file = spec.join("config.json");
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

    pub fn with_all_ids(&self, config: &mut Value) {
        let map = json!([
            { "containerID": 0, "hostID": self.id, "size": 1 },
            { "containerID": 1, "hostID": self.subordinate.unwrap(), "size": 65_536 }
        ]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    }

    pub fn verb(&self, c: &Container, verb: &str, flags: &[&str]) -> Cmd {
        self.croci(&[&[verb], flags, &[c.id.as_str()]].concat())
    }

    #[track_caller]
    pub fn up(&self, c: &Container) {
        c.write_config();
        self.verb(c, "create", &["--bundle", c.bundle.to_str().unwrap()]).out().ok();
        self.verb(c, "start", &[]).out().ok();
    }

    #[track_caller]
    pub fn run(&self, c: &Container) -> Out {
        c.write_config();
        self.verb(c, "run", &["--bundle", c.bundle.to_str().unwrap()]).out()
    }

    pub fn exec(&self, c: &Container, flags: &[&str], command: &[&str]) -> Out {
        self.croci(&[&["exec"], flags, &[c.id.as_str()], command].concat()).out()
    }

    pub fn status(&self, c: &Container) -> String {
        self.verb(c, "state", &[]).out().ok().json()["status"].as_str().unwrap().to_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // first, because the user's cgroup can be removed only after those below it
        for id in sandbox::state_entries(&self.sandbox.root) {
            let _ = self.sandbox.croci(["delete", "--force", &id]).command.output();
        }
    }
}

/// The user that [`with_subordinate_ids`] makes, and the first of 65536 subordinate ids.
const MADE: (u32, u32) = (54_322, 1_000_000_000);

/// Returns a user of this machine who has subordinate ids: its id and the first of 65536 of them.
fn of_machine() -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    subuid.lines().find_map(|line| {
        let (name, range) = line.split_once(':')?;
        let (first, count) = range.split_once(':')?;
        let entry = passwd.lines().find(|entry| entry.starts_with(&format!("{name}:")))?;
        let id = entry.split(':').nth(2)?.parse().ok().filter(|id| *id != 0)?;
        (count.trim() == "65536").then(|| (id, first.parse().unwrap()))
    })
}

/// Gives this thread, and the commands that it starts, a mount namespace: what they mount is not the machine's.
pub fn unshare_mounts() {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).unwrap();
}

/// Returns a user who has subordinate ids, and the first of 65536: the machine's, or one that is made for this thread and
/// the commands that it starts. newuidmap, which is set-id root, reads files in /etc: others are mounted over them, in a
/// mount namespace of the thread. Nothing of the machine is changed, and without newuidmap there is no such user.
pub fn with_subordinate_ids() -> Option<(u32, u32)> {
    let search: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if !["newuidmap", "newgidmap"].iter().all(|name| search.iter().any(|dir| dir.join(name).exists())) {
        return None;
    }
    if let Some(found) = of_machine() {
        return Some(found);
    }
    let (id, first) = MADE;
    unshare_mounts();
    let mount = |from: Option<&str>, to: &str, kind: Option<&str>, flags: MsFlags| {
        nix::mount::mount(from, to, kind, flags, None::<&str>).unwrap();
    };
    // in a file system that goes with the thread's namespace
    let dir = std::env::temp_dir().join(format!("croci-etc-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let at = dir.to_str().unwrap();
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty());
    for (name, line) in [
        ("passwd", format!("crocitest:x:{id}:{id}::/:/bin/sh")),
        ("group", format!("crocitest:x:{id}:")),
        ("subuid", format!("crocitest:{first}:65536")),
        ("subgid", format!("crocitest:{first}:65536")),
    ] {
        let target = format!("/etc/{name}");
        let mut text = std::fs::read_to_string(&target).unwrap_or_else(|err| panic!("{target}: {err}"));
        text.push_str(&format!("{line}\n"));
        let file = dir.join(name);
        std::fs::write(&file, text).unwrap();
        mount(Some(file.to_str().unwrap()), &target, None, MsFlags::MS_BIND);
    }
    // the binds keep it
    nix::mount::umount2(at, MntFlags::MNT_DETACH).unwrap();
    let _ = std::fs::remove_dir(&dir);
    assert_eq!(of_machine(), Some(MADE));
    Some(MADE)
}

/// Changes the owner of a tree to a user.
pub fn own_tree(dir: &Path, id: u32) {
    for path in host::snapshot(dir).into_keys() {
        std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    }
    std::os::unix::fs::lchown(dir, Some(id), Some(id)).unwrap();
}
