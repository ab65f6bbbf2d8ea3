//! A store with one driver and its own `/run/corm`, images of busybox for it, and commands of corm on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use corm::driver::DriverKind;
use corm::model::digest::Digest;
use nix::mount::MsFlags;

use crate::store_fixture::{Disk, Place, drivers};
use test_support::{Cmd, Out, Sandbox, Value, bundle, host, wait_for};

pub(crate) struct CormFixture {
    pub sandbox: Arc<Sandbox>,
    pub place: Place,
    pub kind: DriverKind,
}

/// The name of the environment variable by which a container's processes are found.
const MARK: &str = "CROCI_TEST";

impl CormFixture {
    /// Creates a store in a new mount namespace of this thread.
    fn new(kind: DriverKind, disk: Disk) -> CormFixture {
        let place = Place::new(disk);
        // not the machine's, so that the test finds all that is left there; unmounted when the thread ends
        std::fs::create_dir_all("/run/corm").unwrap();
        nix::mount::mount(Some("tmpfs"), "/run/corm", Some("tmpfs"), MsFlags::empty(), Some("mode=700")).unwrap();
        CormFixture { sandbox: Sandbox::new(), place, kind }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.root()
    }

    /// Creates an image that differs from another in its configuration, in ways that no flag of corm can change: it is
    /// saved as a layout, changed there, and loaded.
    #[track_caller]
    pub(crate) fn reconfigured(&self, image: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let layout = self.sandbox.path(&format!("layout-{name}"));
        self.corm(["save", image, "--format", "oci-dir", "-o"]).arg(&layout).out().ok();
        let blob = |digest: &Value| layout.join("blobs/sha256").join(digest.as_str().unwrap().split_at(7).1);
        let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
        let put = |descriptor: &mut Value, value: &Value| {
            let bytes = serde_json::to_vec(value).unwrap();
            descriptor["digest"] = Value::from(Digest::of(&bytes).to_string());
            descriptor["size"] = Value::from(bytes.len());
            std::fs::write(blob(&descriptor["digest"]), bytes).unwrap();
        };
        let mut index = read(&layout.join("index.json"));
        let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
        let mut config = read(&blob(&manifest["config"]["digest"]));
        change(&mut config);
        put(&mut manifest["config"], &config);
        put(&mut index["manifests"][0], &manifest);
        std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
        self.corm(["load"]).arg(&layout).args(["--name", name]).out().ok();
    }

    /// Returns a command of corm with this store, and the croci beside it.
    pub(crate) fn corm<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Cmd {
        let corm = Cmd::new(test_support::corm(), &self.sandbox.dir, &self.sandbox.token);
        corm.env("CORM_ROOT", self.root()).arg("--driver").arg(self.kind.name()).args(args)
    }

    /// Returns a `corm run` command, with the mark of this test in the container's environment.
    pub(crate) fn run(&self, flags: &[&str], image: &str, command: &[&str]) -> Cmd {
        let mark = format!("{MARK}={}", self.sandbox.token);
        self.corm(["run", "-e", &mark]).args(flags).arg(image).args(command)
    }

    /// Starts a detached container and returns its id.
    #[track_caller]
    pub(crate) fn detached(&self, flags: &[&str], image: &str, command: &[&str]) -> String {
        let out = self.run(&[&["-d"], flags].concat(), image, command).out().ok();
        let id = out.text().to_owned();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "an id: {out:?}");
        id
    }

    /// Creates a root file system of busybox as a directory of the host.
    pub(crate) fn busybox_dir(&self, name: &str) -> PathBuf {
        bundle::make_rootfs(&self.sandbox.mkdir(name))
    }

    /// Creates an image of busybox.
    #[track_caller]
    pub(crate) fn image(&self, name: &str) {
        let dir = self.sandbox.path("busybox/rootfs");
        if !dir.exists() {
            self.busybox_dir("busybox");
        }
        self.corm(["init"]).arg(&dir).arg(name).out().ok();
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.corm(args).out().ok().json()
    }

    /// Returns the document of `inspect` of an image or a container.
    #[track_caller]
    pub(crate) fn inspected(&self, name: &str) -> Value {
        self.json(&["inspect", name])[0].clone()
    }

    /// Returns the entry of a container in `ps`.
    #[track_caller]
    pub(crate) fn shown(&self, name: &str) -> Value {
        let all = self.json(&["ps", "-a", "--format", "json"]);
        let found = all.as_array().unwrap().iter().find(|one| one["Names"][0] == name || one["Id"] == name);
        found.unwrap_or_else(|| panic!("no container {name} in {all}")).clone()
    }

    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> String {
        self.shown(name)["State"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> i32 {
        i32::try_from(self.shown(name)["Pid"].as_i64().unwrap()).unwrap()
    }

    /// Returns the sorted names of the files in a directory of the store.
    pub(crate) fn entries(&self, dir: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.root().join(dir))
            .map(|list| list.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    /// Checks that no container is left, nor a process, tree or mount of one.
    #[track_caller]
    pub(crate) fn no_container_left(&self) {
        wait_for("all processes gone", || host::processes_with(&self.sandbox.token).is_empty());
        for dir in ["containers", "trees", "tmp"] {
            assert_eq!(self.entries(dir), Vec::<String>::new(), "left in {dir} over {}", self.kind);
        }
        let mounts: Vec<String> =
            host::mounts_below(&self.root()).into_iter().filter(|line| line.contains("/containers/")).collect();
        assert_eq!(mounts, Vec::<String>::new(), "mounts");
        assert_eq!(run_entries(), Vec::<String>::new(), "left in /run/corm");
    }
}

/// Returns the paths of containers and runtime files below /run/corm.
pub(crate) fn run_entries() -> Vec<String> {
    let mut left = Vec::new();
    for store in std::fs::read_dir("/run/corm").unwrap() {
        for entry in std::fs::read_dir(store.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.file_name().unwrap() == "networks" {
                // stays with the lock; no address in it has an owner
                let files = std::fs::read_dir(&entry).unwrap().map(|file| file.unwrap().path());
                let owned = files.filter(|file| file.extension().is_some_and(|ending| ending == "addresses"));
                let owned = owned.filter(|file| std::fs::read_to_string(file).unwrap() != "{}");
                left.extend(owned.map(|file| file.display().to_string()));
            } else if entry.file_name().unwrap() != "runtime" {
                left.push(entry.display().to_string());
            } else {
                let inside = std::fs::read_dir(&entry).unwrap().map(|entry| entry.unwrap().file_name());
                let names = inside.map(|name| name.to_string_lossy().into_owned());
                left.extend(names.filter(|name| !name.starts_with('.')).map(|name| format!("runtime {name}")));
            }
        }
    }
    left
}

impl Drop for CormFixture {
    fn drop(&mut self) {
        let list = self.corm(["ps", "-aq"]).command.output();
        for id in String::from_utf8_lossy(&list.map(|out| out.stdout).unwrap_or_default()).lines() {
            let _ = self.corm(["rm", "-f", id]).command.output();
        }
    }
}

/// Runs a test with every driver, each in a thread with a mount namespace of its own.
pub(crate) fn over_all(test: impl Fn(&CormFixture) + Copy + Send + 'static) {
    for (kind, disk) in drivers() {
        over(kind, disk, test);
    }
}

/// Runs a test with the one driver that every machine has.
pub(crate) fn over_one(test: impl FnOnce(&CormFixture) + Send + 'static) {
    over(DriverKind::Overlay, Disk::Tmpfs, test);
}

fn over(kind: DriverKind, disk: Disk, test: impl FnOnce(&CormFixture) + Send + 'static) {
    let passed = std::thread::spawn(move || test(&CormFixture::new(kind, disk))).join().is_ok();
    assert!(passed, "over {kind} on {disk:?}");
}

/// Returns the lines of a table without its header.
pub(crate) fn rows(out: &Out) -> Vec<Vec<String>> {
    let lines = out.stdout.lines().skip(1);
    lines
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect())
        .collect()
}

/// Unpacks a tar with tar(1).
#[track_caller]
pub(crate) fn untar(tar: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let status = std::process::Command::new("tar").arg("-xpf").arg(tar).arg("-C").arg(to).status().unwrap();
    assert!(status.success(), "tar -xpf {tar:?}");
}
