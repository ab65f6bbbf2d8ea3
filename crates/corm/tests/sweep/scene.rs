//! A store with an image, a registry, and the comparison of the host and the store with what they were.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corm::model::digest::Digest;
use test_support::*;

/// The store, and what belongs to it.
pub(crate) struct Scene {
    pub(crate) sandbox: Arc<Sandbox>,
    registry: Proc,
    /// `HOST:PORT` of the registry.
    pub(crate) address: String,
    /// The names in the store and in the directory of outputs before any verb.
    before: BTreeSet<PathBuf>,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let sandbox = Sandbox::new();
        for (name, top) in [("base", "tree"), ("new", "new")] {
            let root = bundle::make_rootfs(&sandbox.mkdir(top));
            for n in 0..5 {
                std::fs::create_dir_all(root.join(format!("data/{n}"))).unwrap();
                std::fs::write(root.join(format!("data/{n}/file")), format!("{name} {n} ").repeat(1000)).unwrap();
            }
        }
        sandbox.mkdir("outputs");
        let (registry, address) = registry::start(&sandbox, &sandbox.mkdir("registry"));
        let mut scene = Scene { sandbox, registry, address, before: BTreeSet::new() };
        scene.corm(&["init", &scene.path("tree/rootfs"), "base"]).out().ok();
        scene.corm(&["init", &scene.path("new/rootfs"), "new"]).out().ok();
        scene.corm(&["save", "new", "-o", &scene.path("new.tar")]).out().ok();
        scene.corm(&["push", "--tls-verify=false", "new", &format!("{}/new:1", scene.address)]).out().ok();
        let tar = scene.sandbox.program("tar").args(["-C", &scene.path("new/rootfs"), "-cf", &scene.path("plain.tar")]);
        tar.arg(".").out().ok();
        scene.corm(&["rmi", "-f", "new"]).out().ok();
        // makes what every store has after its first container
        scene.corm(&["run", "--rm", "base", "true"]).out().ok();
        scene.corm(&["system", "prune"]).out().ok();
        scene.before = scene.names();
        scene
    }

    /// Returns a path below the sandbox.
    pub(crate) fn path(&self, name: &str) -> String {
        self.sandbox.path(name).to_str().unwrap().to_owned()
    }

    /// Prepares a call of corm.
    pub(crate) fn corm(&self, args: &[&str]) -> Cmd {
        let corm = self.sandbox.program(test_support::corm()).arg("--root").arg(self.sandbox.path("store"));
        corm.args(["--driver", "overlay", "--log-level", "error", "--runtime"]).arg(runtime()).args(args)
    }

    /// Returns the directory of run-time files.
    fn run_dir(&self) -> PathBuf {
        let key = Digest::of(self.sandbox.path("store").as_os_str().as_encoded_bytes());
        PathBuf::from("/run/corm").join(&key.hex()[..16])
    }

    /// Returns the names of the store's files, of run-time files and of outputs, but for those that always change.
    fn names(&self) -> BTreeSet<PathBuf> {
        let mut all = BTreeSet::new();
        let mut todo = vec![self.sandbox.path("store"), self.sandbox.path("outputs"), self.run_dir()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    todo.push(entry.path());
                }
                all.insert(entry.path());
            }
        }
        all
    }

    /// Returns what is on the host or in the store and was not, or is no longer; waits for processes that are ending.
    pub(crate) fn left(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let now = self.names();
            let changed = |name: &PathBuf| {
                let runtime = self.run_dir().join("runtime");
                *name != runtime && name.file_name().is_none_or(|name| name != ".lock")
            };
            let mut left: Vec<String> = now
                .difference(&self.before)
                .filter(|name| changed(name))
                .map(|name| format!("more: {name:?}"))
                .collect();
            left.extend(
                self.before.difference(&now).filter(|name| changed(name)).map(|name| format!("lost: {name:?}")),
            );
            let registry = self.registry.pid();
            let processes = host::processes_with(&self.sandbox.token).into_iter().filter(|(pid, _)| *pid != registry);
            left.extend(processes.map(|(pid, name)| format!("process {pid} {name}")));
            left.extend(host::mounts_below(&self.sandbox.dir));
            left.extend(host::kernel_lines("net/unix", self.run_dir().to_str().unwrap()));
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            std::thread::yield_now();
        }
    }

    /// Removes by hand what was left, for the next point.
    pub(crate) fn restore(&self) {
        for (pid, _) in host::processes_with(&self.sandbox.token) {
            if pid != self.registry.pid() {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
        for line in host::mounts_below(&self.sandbox.dir).into_iter().rev() {
            let _ = nix::mount::umount2(line.split(' ').nth(4).unwrap(), nix::mount::MntFlags::MNT_DETACH);
        }
        for name in self.names().difference(&self.before) {
            let _ = std::fs::remove_dir_all(name).or_else(|_| std::fs::remove_file(name));
        }
    }

    /// Returns whether the store has this image, whole.
    pub(crate) fn has_image(&self, name: &str) -> bool {
        let out = self.corm(&["export", name, "-o", &self.path("check.tar")]).out();
        let _ = std::fs::remove_file(self.path("check.tar"));
        out.code == Some(0)
    }

    /// Returns the status of the container `c`, in the words of `ps`.
    pub(crate) fn status(&self) -> String {
        let out = self.corm(&["ps", "-a", "--format", "json"]).out().ok();
        let all: Value = out.json();
        let status = |all: &Value| Some(all.as_array()?.first()?["State"].as_str()?.to_lowercase());
        status(&all).unwrap_or_default()
    }

    /// Starts the container `c`.
    pub(crate) fn start(&self) {
        let program = format!(
            "trap 'exit 0' TERM; echo started; echo new >/changed; : {}; sleep 1000 & wait",
            self.sandbox.token
        );
        self.corm(&["run", "-d", "--name", "c", "base", "sh", "-c", &program]).out().ok();
        wait_for("the program runs", || self.corm(&["logs", "c"]).out().stdout.contains("started"));
    }

    /// Returns whether a file of the outputs exists.
    pub(crate) fn output(&self, name: &str) -> bool {
        Path::new(&self.path("outputs")).join(name).exists()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.corm(&["rm", "-f", "c"]).out();
        self.registry.signal(libc::SIGKILL);
    }
}
