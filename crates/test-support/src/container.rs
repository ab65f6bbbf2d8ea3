//! One container with its bundle, and the verbs that a test calls on it.

use super::cmd::{Cmd, Out, Proc};
use super::sandbox::Sandbox;
use super::{bundle, host, wait_until};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The types of namespaces in the configuration, and their names below `/proc/PID/ns`.
pub const NAMESPACES: [(&str, &str); 8] = [
    ("user", "user"),
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

pub struct Container {
    pub sandbox: Arc<Sandbox>,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub config: Value,
}

impl Container {
    /// Prepares a container in a sandbox of its own; does not create it yet.
    pub fn new(args: &[&str]) -> Container {
        Container::within(&Sandbox::new(), args)
    }

    /// Prepares one more container in a sandbox.
    pub fn within(sandbox: &Arc<Sandbox>, args: &[&str]) -> Container {
        let id = sandbox.id();
        let bundle = sandbox.mkdir(&format!("b-{}", id.rsplit('-').next().unwrap()));
        let rootfs = bundle::make_rootfs(&bundle);
        let config = bundle::config(sandbox, &id, args);
        Container { sandbox: sandbox.clone(), id, bundle, rootfs, config }
    }

    /// Prepares a container whose program is a shell script.
    pub fn sh(script: &str) -> Container {
        Container::new(&["sh", "-c", script])
    }

    /// Creates and starts a container that runs until it is killed.
    #[track_caller]
    pub fn running() -> Container {
        Container::new(&["sleep", "1000"]).up()
    }

    /// Creates and starts the container.
    #[track_caller]
    pub fn up(self) -> Container {
        self.create().ok();
        self.start().ok();
        self
    }

    /// Modifies the configuration before it is written.
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Container {
        change(&mut self.config);
        self
    }

    /// Adds a mount to the configuration.
    pub fn mount(self, mount: Value) -> Container {
        self.edit(|config| bundle::add_mount(config, mount))
    }

    /// Returns the `cgroupsPath` of the configuration.
    pub fn cgroup(&self) -> String {
        self.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned()
    }

    /// Writes the configuration unless the file has the same text already, because a runtime started before may be
    /// reading it.
    pub fn write_config(&self) {
        let (file, fresh) = (self.bundle.join("config.json"), self.bundle.join("config.json.new"));
        let text = serde_json::to_vec_pretty(&self.config).unwrap();
        if std::fs::read(&file).is_ok_and(|old| old == text) {
            return;
        }
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &file).unwrap();
    }

    /// Prepares a call of the runtime with this container's state root.
    pub fn croci<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Cmd {
        self.sandbox.croci(args)
    }

    /// Prepares `VERB [flags] ID`.
    pub fn verb(&self, verb: &str, flags: &[&str]) -> Cmd {
        self.croci([verb]).args(flags).arg(&self.id)
    }

    /// Writes the configuration and prepares `create --bundle B [flags] ID`.
    pub fn create_with(&self, flags: &[&str]) -> Cmd {
        self.write_config();
        self.croci(["create", "--bundle"]).arg(&self.bundle).args(flags).arg(&self.id)
    }

    pub fn run_with(&self, flags: &[&str]) -> Cmd {
        self.write_config();
        self.croci(["run", "--bundle"]).arg(&self.bundle).args(flags).arg(&self.id)
    }

    pub fn create(&self) -> Out {
        self.create_with(&[]).out()
    }

    /// Runs the container in the foreground to its end.
    pub fn run(&self) -> Out {
        self.run_with(&[]).out()
    }

    /// Runs the container in the foreground by way of another program, which executes the words of its command line.
    pub fn run_by(&self, program: Cmd) -> Out {
        let words = program.arg(super::runtime()).arg("--root").arg(&self.sandbox.root);
        words.args(["run", "--bundle"]).arg(&self.bundle).arg(&self.id).out()
    }

    /// Creates and starts the container; its program's output can be read from the result while it runs.
    #[track_caller]
    pub fn up_with_output(&self) -> Proc {
        let proc = self.run_with(&[]).spawn();
        self.wait_status("running");
        proc
    }

    pub fn start(&self) -> Out {
        self.verb("start", &[]).out()
    }

    pub fn kill(&self, signal: &str) -> Out {
        self.croci(["kill", &self.id, signal]).out()
    }

    pub fn delete(&self) -> Out {
        self.verb("delete", &[]).out()
    }

    pub fn delete_force(&self) -> Out {
        self.verb("delete", &["--force"]).out()
    }

    /// Runs `exec ID COMMAND…`.
    pub fn exec(&self, command: &[&str]) -> Out {
        self.exec_with(&[], command).out()
    }

    pub fn exec_with(&self, flags: &[&str], command: &[&str]) -> Cmd {
        self.croci(["exec"]).args(flags).arg(&self.id).args(command)
    }

    /// Prepares `exec --process FILE ID` with a process document based on the container's.
    pub fn exec_process(&self, flags: &[&str], change: impl FnOnce(&mut Value)) -> Cmd {
        let mut process = self.config["process"].clone();
        process["terminal"] = json!(false);
        change(&mut process);
        let name = format!("process-{}.json", self.sandbox.id());
        let file = self.sandbox.write(&name, serde_json::to_vec(&process).unwrap());
        self.croci(["exec", "--process"]).arg(file).args(flags).arg(&self.id)
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        self.verb("state", &[]).out().ok().json()
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Returns the pid of the init, from `state`.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().expect("state has a pid");
        assert!(pid > 0, "state has pid {pid}");
        i32::try_from(pid).unwrap()
    }

    #[track_caller]
    pub fn wait_status(&self, status: &str) {
        wait_until(&format!("{} is {status}", self.id), || {
            let out = self.verb("state", &[]).out();
            (out.code == Some(0) && out.json()["status"] == status).then_some(())
        });
    }

    /// Returns the path of a file in the root file system, as the host sees it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.rootfs.join(name.trim_start_matches('/'))
    }

    #[track_caller]
    pub fn wait_file(&self, name: &str) -> String {
        let path = self.file(name);
        wait_until(&format!("{} appears", path.display()), || {
            std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty())
        })
    }

    /// Waits for the end of a process that has become a child of this one, and returns its exit status (128 + n for
    /// signals).
    #[track_caller]
    pub fn reap(pid: i32) -> i32 {
        wait_until(&format!("pid {pid} ends"), || super::reaper::status(pid))
    }

    /// Returns whether two processes share the namespace of this kind.
    pub fn same_ns(pid: i32, other: i32, kind: &str) -> bool {
        let read = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        read(pid) == read(other)
    }

    /// Returns the state directory of this container.
    pub fn state_dir(&self) -> PathBuf {
        self.sandbox.root.join(&self.id)
    }

    /// Fails unless no process, cgroup, mount or state entry of this sandbox is left.
    #[track_caller]
    pub fn nothing_left(&self) {
        self.sandbox.nothing_left();
    }

    /// Creates a host directory in the sandbox with a marker file that must not change.
    pub fn host_dir(&self, name: &str) -> PathBuf {
        let dir = self.sandbox.mkdir(name);
        std::fs::write(dir.join("marker"), "host-marker\n").unwrap();
        dir
    }
}

/// A snapshot of a host directory, to compare with its later state.
pub struct Untouched {
    dir: PathBuf,
    before: std::collections::BTreeMap<PathBuf, String>,
}

impl Untouched {
    pub fn watch(dir: &Path) -> Untouched {
        Untouched { dir: dir.to_owned(), before: host::snapshot(dir) }
    }

    #[track_caller]
    pub fn check(&self) {
        assert_eq!(self.before, host::snapshot(&self.dir), "the host directory {} was changed", self.dir.display());
    }
}
