//! A store on a disk whose power is cut, the verbs that are cut, and what must be there afterwards.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use test_support::{Cmd, Out, Proc, Sandbox, bundle, host, registry, runtime, wait_for};

use crate::cases::Case;
use crate::disk::{Disk, Kind, run};

/// The file with the calls that strace(1) has answered itself.
const INJECTED: &str = "strace.out";

/// The store, and the trees that its images must have.
pub(crate) struct Scene {
    // unmounted before the sandbox is removed
    disk: Disk,
    kind: Kind,
    registry: Option<Proc>,
    pub(crate) address: String,
    sandbox: Arc<Sandbox>,
}

impl Scene {
    pub(crate) fn new(kind: Kind) -> Scene {
        let sandbox = Sandbox::new();
        let disk = Disk::new(kind, sandbox.path("mem"));
        let mut scene = Scene { disk, kind, registry: None, address: String::new(), sandbox };
        scene.make_trees();
        let (registry, address) = registry::start(&scene.sandbox, Path::new(&scene.memory("registry")));
        (scene.registry, scene.address) = (Some(registry), address);
        let new = scene.tree("new");
        scene.corm(&["init", &new, "new"]).out().ok();
        scene.corm(&["save", "new", "-o", &scene.memory("new.tar")]).out().ok();
        scene.corm(&["push", "--tls-verify=false", "new", &format!("{}/new:1", scene.address)]).out().ok();
        run(Command::new("tar").args(["-C", &new, "-cf", &scene.memory("plain.tar"), "."]));
        scene.corm(&["rmi", "-f", "new"]).out().ok();
        scene.corm(&["init", &scene.tree("base"), "base"]).out().ok();
        // names that no ID begins with
        scene.corm(&["run", "--name", "kept", "base", "sh", "-c", "echo changed >/changed; rm -r /data/5"]).out().ok();
        run(Command::new("sync").arg("-f").arg(scene.disk.at()));
        scene.disk.keep();
        scene
    }

    pub(crate) fn memory(&self, name: &str) -> String {
        self.sandbox.path("mem").join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn on_disk(&self, name: &str) -> String {
        self.disk.at().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn tree(&self, name: &str) -> String {
        self.memory(&format!("tree-{name}/rootfs"))
    }

    /// Creates the trees that the images must have: `base`, `new` of other files, `commit` of the changed container.
    fn make_trees(&self) {
        for name in ["base", "new"] {
            let top = PathBuf::from(self.memory(&format!("tree-{name}")));
            std::fs::create_dir(&top).unwrap();
            let root = bundle::make_rootfs(&top);
            for n in 0..120_usize {
                let dir = root.join(format!("data/{}", n % 17));
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join(n.to_string()), format!("{name} {n} ").repeat(400 * (n % 7))).unwrap();
            }
        }
        let context = PathBuf::from(self.memory("context"));
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("changed"), "changed\n").unwrap();
        let text = "FROM base\nCOPY changed /changed\nRUN rm -r /data/5\n";
        std::fs::write(context.join("Containerfile"), text).unwrap();
        let commit = PathBuf::from(self.memory("tree-commit"));
        run(Command::new("cp").arg("-a").arg(self.memory("tree-base")).arg(&commit));
        std::fs::write(commit.join("rootfs/changed"), "changed\n").unwrap();
        std::fs::remove_dir_all(commit.join("rootfs/data/5")).unwrap();
    }

    pub(crate) fn corm(&self, args: &[&str]) -> Cmd {
        self.with_args(self.sandbox.program(test_support::corm()), args)
    }

    /// Returns corm under strace(1), by which its files are reported as synced and are not.
    fn unsynced(&self, args: &[&str]) -> Cmd {
        let calls = "fsync,fdatasync,syncfs,sync,sync_file_range";
        let strace = self.sandbox.program("strace").args(["-f", "-qq", "-o", &self.memory(INJECTED)]);
        let strace = strace.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:retval=0")]);
        self.with_args(strace.arg(test_support::corm()), args)
    }

    /// Returns whether a call was reported as done and was not.
    pub(crate) fn has_lied(&self) -> bool {
        std::fs::read_to_string(self.memory(INJECTED)).is_ok_and(|log| log.contains("INJECTED"))
    }

    fn with_args(&self, corm: Cmd, args: &[&str]) -> Cmd {
        let driver = if self.kind == Kind::Btrfs { "btrfs" } else { "overlay" };
        let corm = corm.arg("--root").arg(self.on_disk("store"));
        corm.args(["--driver", driver, "--log-level", "error", "--runtime"]).arg(runtime()).args(args)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let out = self.corm(&["images", "--format", "json"]).out().ok();
        let images: test_support::Value = serde_json::from_str(&out.stdout).unwrap();
        let names = images.as_array().unwrap().iter().flat_map(|image| image["Names"].as_array().cloned());
        names.flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// Returns whether an image has a name that is this one, or ends so.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().iter().any(|found| *found == format!("{name}:latest") || found.ends_with(name))
    }

    /// Compares a tree with the one that an image must have; returns the difference.
    pub(crate) fn same(&self, tree: &str, found: &Path) -> Option<String> {
        same_files(&self.tree(tree), found)
    }

    /// Checks that every image that is listed is whole.
    fn all_whole(&self, point: &str) {
        for name in self.names() {
            // a list has no tree
            if name == "list:latest" {
                continue;
            }
            let last = name.rsplit('/').next().unwrap();
            let tree = ["base", "new", "commit"].into_iter().find(|tree| last.starts_with(tree));
            let tree = tree.unwrap_or_else(|| panic!("image {name}?"));
            let archive = self.memory("export.tar");
            let out = self.corm(&["export", &name, "-o", &archive]).out();
            assert_eq!(out.code, Some(0), "{point}: image {name} is listed: {out:#?}");
            let difference = self.same(tree, &self.extracted(&archive));
            assert_eq!(difference, None, "{point}: the tree of image {name}");
            let out = self.corm(&["save", &name, "-o", &archive]).out();
            assert_eq!(out.code, Some(0), "{point}: the blobs of image {name}: {out:#?}");
        }
    }

    /// Returns the tree of an archive.
    pub(crate) fn extracted(&self, archive: &str) -> PathBuf {
        let out_dir = self.memory("export");
        let _ = std::fs::remove_dir_all(&out_dir);
        std::fs::create_dir(&out_dir).unwrap();
        run(Command::new("tar").args(["-C", &out_dir, "-xf", archive]));
        out_dir.into()
    }

    fn spawn(&self, case: &Case) -> Proc {
        let args: Vec<_> = case.args.iter().map(String::as_str).collect();
        if case.syncs { self.corm(&args).spawn() } else { self.unsynced(&args).spawn() }
    }

    /// Runs the verb without a cut, which must do its work; returns how long it took.
    pub(crate) fn undisturbed(&self, case: &Case) -> Duration {
        self.prepare(case);
        let started = Instant::now();
        let out = self.spawn(case).wait();
        let took = started.elapsed();
        assert!(out.code == Some(0), "{out:#?}");
        assert!((case.done)(self), "{} without a cut", case.name);
        took
    }

    fn prepare(&self, case: &Case) {
        self.disk.restore();
        for args in &case.before {
            self.corm(&args.iter().map(String::as_str).collect::<Vec<_>>()).out().ok();
        }
        run(Command::new("sync").arg("-f").arg(self.disk.at()));
    }

    /// Cuts the power after a delay, or right after the verb's end, and checks the store after the next boot. Returns
    /// whether the verb had reported its end.
    pub(crate) fn cut(&self, case: &Case, delay: Option<Duration>) -> bool {
        self.prepare(case);
        let started = Instant::now();
        let mut verb = self.spawn(case);
        match delay {
            // the delay is the fault itself
            Some(delay) => {
                while started.elapsed() < delay && host::alive(verb.pid()) {
                    std::hint::spin_loop();
                }
            }
            None => wait_for("the verb's end", || verb.ended()),
        }
        let ended = verb.ended();
        self.disk.cut();
        verb.signal(libc::SIGKILL);
        let out = verb.wait();
        let reported = ended && out.code == Some(0);
        assert!(delay.is_some() || reported, "{out:#?}");
        self.disk.boot();
        let point = format!("{:?}, {} cut after {:?}", self.kind, case.name, started.elapsed());
        self.all_whole(&point);
        assert!(!reported || (case.done)(self), "{point}: reported as done, and lost");
        self.works_again(case, &point);
        reported
    }

    /// Repairs the store and does the verb once more.
    fn works_again(&self, case: &Case, point: &str) {
        let out = self.corm(&["fsck", "--repair"]).out();
        assert_eq!(out.code, Some(0), "{point}: fsck --repair: {out:#?}");
        let out = self.corm(&["fsck"]).out();
        assert!(out.code == Some(0) && out.stdout.is_empty(), "{point}: fsck after the repair: {out:#?}");
        // then it may refuse to do it once more
        let was_done = (case.done)(self);
        let again: Out = self.spawn(case).wait();
        assert!(again.code == Some(0) || was_done, "{point}: once more: {again:#?}");
        self.all_whole(&format!("{point}, once more"));
        assert!((case.done)(self), "{point}: done once more");
    }

    /// Prints a line past the capture of the test harness, for the page of figures.
    pub(crate) fn report(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "powercut: {} {text}", self.kind.name());
    }
}

/// Compares the files of two trees; returns the difference.
pub(crate) fn same_files(one: &str, other: &Path) -> Option<String> {
    let out = Command::new("diff").args(["-r", "--no-dereference", "-q", one]).arg(other).output().unwrap();
    (!out.status.success()).then(|| String::from_utf8_lossy(&out.stdout).lines().take(5).collect())
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.take() {
            registry.signal(libc::SIGKILL);
            registry.wait();
        }
    }
}
