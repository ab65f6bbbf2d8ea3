//! A store with an image, a registry, and the comparison of the host and the store with what they were.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::saved::Saved;
use corm::model::digest::Digest;
use test_support::*;

/// Names in `/bin` of the image `base`.
const PROGRAMS: [&str; 6] = ["busybox", "sh", "echo", "sleep", "true", "cat"];

/// The store, and what belongs to it.
pub(crate) struct Scene {
    pub(crate) sandbox: Arc<Sandbox>,
    registry: Proc,
    /// `HOST:PORT` of the registry.
    pub(crate) address: String,
    /// The names in the store and in the directory of outputs before any verb.
    before: BTreeSet<PathBuf>,
    /// These with their content.
    saved: Saved,
}

/// What of the host and the store a verb can change: a line for each file, with its size, inode and time, each process,
/// mount and socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    files: BTreeSet<String>,
    processes: BTreeSet<i32>,
    others: Vec<String>,
}

impl Snapshot {
    /// Returns whether neither a process but the registry nor a mount or socket belongs to it.
    pub(crate) fn is_files_only(&self) -> bool {
        self.processes.len() == 1 && self.others.is_empty()
    }
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let sandbox = Sandbox::new();
        for (name, top) in [("base", "tree"), ("new", "new")] {
            let root = bundle::make_rootfs(&sandbox.mkdir(top));
            // each file is some calls more, which are as those for another
            for entry in std::fs::read_dir(root.join("bin")).unwrap().flatten() {
                if name == "new" || !PROGRAMS.contains(&entry.file_name().to_str().unwrap()) {
                    std::fs::remove_file(entry.path()).unwrap();
                }
            }
            for n in 0..3 {
                std::fs::create_dir_all(root.join(format!("data/{n}"))).unwrap();
                std::fs::write(root.join(format!("data/{n}/file")), format!("{name} {n} ").repeat(1000)).unwrap();
            }
        }
        sandbox.mkdir("outputs");
        let (registry, address) = registry::start(&sandbox, &sandbox.mkdir("registry"));
        let mut scene = Scene { sandbox, registry, address, before: BTreeSet::new(), saved: Saved::take([]) };
        scene.corm(&["init", &scene.path("tree/rootfs"), "base"]).out().ok();
        scene.corm(&["init", &scene.path("new/rootfs"), "new"]).out().ok();
        scene.corm(&["save", "new", "-o", &scene.path("new.tar")]).out().ok();
        scene.corm(&["push", "--tls-verify=false", "new", &format!("{}/new:1", scene.address)]).out().ok();
        let tar = scene.sandbox.program("tar").args(["-C", &scene.path("new/rootfs"), "-cf", &scene.path("plain.tar")]);
        tar.arg(".").out().ok();
        scene.corm(&["rmi", "-f", "new"]).out().ok();
        let context = scene.sandbox.mkdir("context");
        std::fs::write(context.join("file"), "copied").unwrap();
        let steps = "FROM base\nRUN echo words; echo made >/made\nCOPY file /copied\n";
        std::fs::write(context.join("Containerfile"), steps).unwrap();
        scene.corm(&["build", "-q", "-t", "new", &scene.path("context")]).out().ok();
        scene.corm(&["rmi", "new"]).out().ok();
        // makes what every store has after its first container, volume, network and list
        scene.corm(&["run", "--rm", "-v", "vol:/vol", "base", "true"]).out().ok();
        scene.corm(&["network", "create", "net"]).out().ok();
        scene.corm(&["network", "rm", "net"]).out().ok();
        scene.corm(&["manifest", "create", "list", "base"]).out().ok();
        scene.corm(&["manifest", "rm", "list"]).out().ok();
        scene.make_context();
        scene.corm(&["build", "-t", "new", &scene.path("context")]).out().ok();
        scene.corm(&["rmi", "-f", "new"]).out().ok();
        scene.corm(&["volume", "prune", "-f"]).out().ok();
        scene.corm(&["system", "prune"]).out().ok();
        scene.before = scene.names();
        scene.saved = Saved::take(scene.before.clone());
        scene
    }

    /// Returns a path below the sandbox.
    pub(crate) fn path(&self, name: &str) -> String {
        self.sandbox.path(name).to_str().unwrap().to_owned()
    }

    /// Prepares a call of corm.
    pub(crate) fn corm(&self, args: &[&str]) -> Cmd {
        let corm = self.sandbox.program(test_support::corm()).arg("--root").arg(self.sandbox.path("store"));
        corm.args(["--driver", "overlay", "--log-level", "warning", "--runtime"]).arg(runtime()).args(args)
    }

    /// Returns the directory of run-time files.
    fn run_dir(&self) -> PathBuf {
        let key = Digest::of(self.sandbox.path("store").as_os_str().as_encoded_bytes());
        PathBuf::from("/run/corm").join(&key.hex()[..16])
    }

    /// Returns the name of an image in the registry.
    pub(crate) fn remote(&self, name: &str) -> String {
        format!("{}/{name}:1", self.address)
    }

    /// Removes a tag from the registry; returns whether it was there.
    pub(crate) fn take_tag(&self, name: &str) -> bool {
        let tags = format!("registry/docker/registry/v2/repositories/{name}/_manifests/tags/1/current/link");
        std::fs::remove_file(self.path(&tags)).is_ok()
    }

    /// Returns what a verb can change. Where the files are those of `former`, it waits for processes that are ending.
    pub(crate) fn snapshot(&self, former: Option<&Snapshot>) -> Snapshot {
        let line = |path: &PathBuf| {
            let meta = path.symlink_metadata().ok()?;
            let time = if meta.is_dir() { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) };
            let size = if meta.is_dir() { 0 } else { meta.len() };
            Some(format!("{path:?} {} {size} {time:?}", meta.ino()))
        };
        let files: BTreeSet<String> = self.names().iter().filter_map(line).collect();
        let known = former.filter(|former| former.files == files).map(|former| &former.processes);
        let processes = self.processes(|now| known.is_none_or(|known| now.is_subset(known)));
        Snapshot { files, processes, others: self.mounts_and_sockets() }
    }

    /// Returns the processes of this scene when they are as wanted, or after five seconds.
    fn processes(&self, wanted: impl Fn(&BTreeSet<i32>) -> bool) -> BTreeSet<i32> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let all = host::processes_with(&self.sandbox.token).into_iter().map(|(pid, _)| pid).collect();
            if wanted(&all) || Instant::now() > end {
                return all;
            }
            std::thread::yield_now();
        }
    }

    fn mounts_and_sockets(&self) -> Vec<String> {
        let mut all = host::mounts_below(&self.sandbox.dir);
        all.extend(host::kernel_lines("net/unix", self.run_dir().to_str().unwrap()));
        all
    }

    /// Returns the names of the store's files, of run-time files and of outputs, but for those that always change.
    pub(crate) fn names(&self) -> BTreeSet<PathBuf> {
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

    /// Returns whether a name in the store is one that always changes.
    fn is_ignored(&self, path: &Path) -> bool {
        *path == self.run_dir().join("runtime") || path.file_name().is_some_and(|name| name == ".lock")
    }

    /// Returns whether store, outputs and run-time files are byte for byte these.
    pub(crate) fn is(&self, saved: &Saved) -> bool {
        saved.is(self.names(), |path| self.is_ignored(path))
    }

    /// Returns whether they are what they were before any verb.
    pub(crate) fn is_as_before(&self) -> bool {
        self.is(&self.saved)
    }

    /// Returns whether no process but the registry, no mount and no socket is of this scene; waits for processes that are
    /// ending.
    pub(crate) fn runs_nothing(&self) -> bool {
        let is_alone = |all: &BTreeSet<i32>| all.iter().all(|pid| *pid == self.registry.pid());
        is_alone(&self.processes(is_alone)) && self.mounts_and_sockets().is_empty()
    }

    /// Returns whether the store has this name for an image, by its own file.
    pub(crate) fn names_image(&self, name: &str) -> bool {
        self.has_name("names.json", name)
    }

    /// Returns whether the store has a list of images of this name.
    pub(crate) fn has_list(&self, name: &str) -> bool {
        self.has_name("lists.json", name)
    }

    fn has_name(&self, file: &str, name: &str) -> bool {
        let text = std::fs::read_to_string(self.sandbox.path("store").join(file)).unwrap_or_default();
        text.contains(&format!("\"{name}:")) || text.contains(&format!("\"{name}\""))
    }

    /// Returns what is on the host or in the store and was not, or is no longer; waits for processes that are ending.
    pub(crate) fn left(&self) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let now = self.names();
            let changed = |name: &PathBuf| !self.is_ignored(name);
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
            left.extend(self.mounts_and_sockets());
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

    /// Makes the image `new`.
    pub(crate) fn make_new(&self) {
        self.corm(&["init", &self.path("new/rootfs"), "new"]).out().ok();
    }

    /// Makes the context of a build: two stages, files that are copied, commands.
    pub(crate) fn make_context(&self) {
        let _ = std::fs::remove_dir_all(self.sandbox.path("context"));
        for n in 0..3 {
            std::fs::create_dir_all(self.path(&format!("context/data/{n}"))).unwrap();
            self.sandbox.write(&format!("context/data/{n}/file"), format!("new {n}"));
        }
        let text = "FROM base AS first\nCOPY data /copied\nRUN cat /copied/2/file > /made\n\
                    FROM base\nWORKDIR /work\nCOPY --from=first /made /made\nCOPY data/2 /last\n\
                    RUN cat /last/file > /again\n";
        self.sandbox.write("context/Containerfile", text);
    }

    /// Builds the context, and changes a file of it.
    pub(crate) fn build_again(&self) {
        self.corm(&["build", "-t", "new", &self.path("context")]).out().ok();
        self.corm(&["rmi", "new"]).out().ok();
        self.sandbox.write("context/data/2/file", "new 3");
    }

    /// Returns whether an image, all of which can be read, has a file with this text.
    pub(crate) fn has_file(&self, image: &str, file: &str, text: &str) -> bool {
        let tar = self.path("check.tar");
        let out = self.corm(&["export", image, "-o", &tar]).out();
        let found = self.sandbox.program("tar").args(["-xOf", &tar, file]).out();
        let _ = std::fs::remove_file(tar);
        out.code == Some(0) && found.stdout.trim_end() == text
    }

    /// Makes an image without a name.
    pub(crate) fn make_unnamed(&self) {
        self.make_new();
        self.corm(&["tag", "base", "new"]).out().ok();
    }

    /// Returns a list of images; empty where there is none.
    pub(crate) fn list(&self, name: &str) -> String {
        self.corm(&["manifest", "inspect", name]).out().stdout
    }

    /// Returns the content of a file in a volume.
    pub(crate) fn volume_file(&self, volume: &str, file: &str) -> String {
        let out = self.corm(&["volume", "inspect", volume]).out();
        let all: Value = serde_json::from_str(&out.stdout).unwrap_or_default();
        let dir = all[0]["Mountpoint"].as_str().unwrap_or("/nowhere");
        std::fs::read_to_string(Path::new(dir).join(file)).unwrap_or_default()
    }

    /// Returns the limit of processes of the container `c`.
    pub(crate) fn pids_limit(&self) -> String {
        let all: Value = self.corm(&["inspect", "c"]).out().ok().json();
        let pid = i32::try_from(all[0]["State"]["Pid"].as_i64().unwrap()).unwrap();
        cgroup::read(pid, "pids", "pids.max", "pids.max").unwrap()
    }

    /// Returns the text of `2/file` in the directory that a verb copies.
    pub(crate) fn copied(&self, verb: &[&str]) -> String {
        let to = self.path("copied");
        self.corm(verb).arg(&to).out();
        let text = std::fs::read_to_string(Path::new(&to).join("2/file")).unwrap_or_default();
        let _ = std::fs::remove_dir_all(to);
        text
    }

    /// Returns the path of the file of credentials.
    pub(crate) fn auth(&self) -> String {
        self.path("outputs/auth.json")
    }

    /// Returns whether there are credentials for the registry.
    pub(crate) fn logged_in(&self) -> bool {
        self.corm(&["login", "--get-login", "--authfile", &self.auth(), &self.address]).out().stdout == "me\n"
    }

    /// Makes the container `c`, whose program has ended.
    pub(crate) fn stopped(&self) {
        self.start();
        self.corm(&["stop", "-t", "2", "c"]).out().ok();
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

    /// Removes what verbs write outside of the store.
    pub(crate) fn remove_outputs(&self) {
        for name in ["base.tar", "tree.tar", "auth.json"] {
            let _ = std::fs::remove_file(self.path(&format!("outputs/{name}")));
        }
        let _ = std::fs::remove_dir_all(self.path("outputs/data"));
        self.take_tag("pushed");
    }

    /// Returns whether the store has a file; `DIR/*` is any in a directory.
    pub(crate) fn stores(&self, file: &str) -> bool {
        let path = self.sandbox.path("store").join(file);
        let any = |dir: &Path| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
        if path.ends_with("*") { any(path.parent().unwrap()) } else { path.exists() }
    }

    /// Returns whether there is an unfinished output.
    pub(crate) fn hidden_output(&self) -> bool {
        let names = std::fs::read_dir(self.path("outputs")).unwrap().flatten();
        names.into_iter().any(|entry| entry.file_name().to_str().unwrap().starts_with(".corm-"))
    }

    /// Returns whether a file of the outputs exists.
    pub(crate) fn output(&self, name: &str) -> bool {
        Path::new(&self.path("outputs")).join(name).exists()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for name in ["c", "d"] {
            self.corm(&["rm", "-f", name]).out();
        }
        self.registry.signal(libc::SIGKILL);
    }
}
