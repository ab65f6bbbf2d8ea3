//! A disk in memory whose power can be cut: a file system in a file, mounted in the namespace of the test's own thread.
//!
//! The file is on a btrfs in memory, so that a copy of it is a reflink. ext4 and XFS are shut down by ioctl without a
//! flush of their journals. btrfs has no such ioctl before Linux 6.19: its device is cloned instead, which holds what
//! the file system has written until then and nothing of its caches.

use std::collections::BTreeSet;
use std::fs::{DirEntry, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::mount::{MntFlags, MsFlags};
use test_support::{cgroup, host, patience, user, wait_for};

/// Size of the file system in MiB; XFS needs 300.
const MEGABYTES: u64 = 384;

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
    Btrfs,
}

impl Kind {
    /// Returns its name, as mkfs and mount know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
            Kind::Btrfs => "btrfs",
        }
    }

    /// Returns what is missing on this machine, if anything is.
    pub(crate) fn lacks(self) -> Option<String> {
        for kind in [self, Kind::Btrfs] {
            let program = format!("/usr/sbin/mkfs.{}", kind.name());
            let known = std::fs::read_to_string("/proc/filesystems").unwrap();
            if !Path::new(&program).exists() || !known.lines().any(|line| line.trim() == kind.name()) {
                return Some(format!("needs {program} and a kernel with {}", kind.name()));
            }
        }
        None
    }
}

/// The disk, mounted at [`Disk::at`].
pub(crate) struct Disk {
    kind: Kind,
    dir: PathBuf,
}

impl Disk {
    /// Creates and mounts an empty disk with all of its files below `dir`.
    pub(crate) fn new(kind: Kind, dir: PathBuf) -> Disk {
        user::unshare_mounts();
        // corm's run-time files are the test's own too
        std::fs::create_dir_all("/run/corm").unwrap();
        mount_tmpfs(Path::new("/run/corm"));
        std::fs::create_dir_all(&dir).unwrap();
        mount_tmpfs(&dir);
        let disk = Disk { kind, dir };
        for name in ["outer", "at"] {
            std::fs::create_dir(disk.dir.join(name)).unwrap();
        }
        let outer = disk.dir.join("outer.img");
        make_file_system(Kind::Btrfs, &outer, 8 * MEGABYTES);
        mount_loop(&outer, &disk.dir.join("outer"), "").unwrap();
        make_file_system(kind, &disk.image("disk"), MEGABYTES);
        disk.attach("disk");
        disk
    }

    /// Returns the mount point.
    pub(crate) fn at(&self) -> PathBuf {
        self.dir.join("at")
    }

    fn image(&self, name: &str) -> PathBuf {
        self.dir.join("outer").join(format!("{name}.img"))
    }

    fn attach(&self, name: &str) {
        let option = if self.kind == Kind::Xfs { ",nouuid" } else { "" };
        let mut failed = String::new();
        let end = Instant::now() + patience();
        while Instant::now() < end {
            if self.kind == Kind::Btrfs {
                // else the kernel compares the generation with that of the device it saw last; udev may tell it of one again
                run(Command::new("btrfs").args(["device", "scan", "--forget"]));
            }
            match mount_loop(&self.image(name), &self.at(), option) {
                Ok(()) => return,
                Err(message) => failed = message,
            }
        }
        panic!("{failed}");
    }

    /// Unmounts everything below the mount point, and the disk; only then its loop device is free. What runs of the store
    /// is killed, as by a machine that loses its power: a supervisor would write to the disk once it is mounted again.
    fn detach(&self) {
        wait_for("the processes of the store to end", || self.kill_all() == 0);
        let (at, image) = (self.at(), self.image("disk"));
        let below = |line: &String| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(&at));
        wait_for("the disk and its loop device to be free", || {
            // of this thread's namespace
            let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let points: Vec<String> = table.lines().map(str::to_owned).filter(below).collect();
            for line in points.iter().rev() {
                let _ = nix::mount::umount2(line.split(' ').nth(4).unwrap(), MntFlags::empty());
            }
            // an overlay that was mounted on it may be freed later than its mount point is gone
            points.is_empty() && !is_attached(&image)
        });
    }

    /// Kills corm, the runtime and the containers of the store; returns how many processes that were.
    fn kill_all(&self) -> usize {
        let found = host::processes_with(self.at().to_str().unwrap()).into_iter().map(|(pid, _)| pid);
        let cgroups = containers().into_iter().flat_map(|id| cgroup::dirs_with(&id));
        let found: BTreeSet<i32> = found.chain(cgroups.flat_map(|dir| cgroup::procs(&dir))).collect();
        for pid in &found {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), nix::sys::signal::Signal::SIGKILL);
        }
        found.len()
    }

    fn clone_image(&self, from: &str, to: &str) {
        let from = File::open(self.image(from)).unwrap();
        let to = File::create(self.image(to)).unwrap();
        linux::file::ficlone(to.as_fd(), from.as_fd()).unwrap();
    }

    /// Keeps the present content for [`Disk::restore`].
    pub(crate) fn keep(&self) {
        self.detach();
        self.clone_image("disk", "kept");
        self.attach("disk");
    }

    /// Mounts the kept content in the place of the present one.
    pub(crate) fn restore(&self) {
        self.detach();
        self.clone_image("kept", "disk");
        self.attach("disk");
    }

    /// Cuts the power: what is not on the device by now is lost.
    pub(crate) fn cut(&self) {
        match self.kind {
            Kind::Btrfs => self.clone_image("disk", "cut"),
            _ => linux::testing::disk::shut_down(File::open(self.at()).unwrap().as_fd()).unwrap(),
        }
    }

    /// Mounts the disk again after a cut, when all processes that use it have ended.
    pub(crate) fn boot(&self) {
        self.detach();
        // neither cgroups nor run-time files survive
        remove_cgroups();
        for entry in std::fs::read_dir("/run/corm").unwrap().flatten() {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
        if self.kind == Kind::Btrfs {
            self.clone_image("cut", "disk");
        }
        self.attach("disk");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.kill_all();
        remove_cgroups();
        for point in [self.at(), self.dir.join("outer"), self.dir.clone(), PathBuf::from("/run/corm")] {
            let _ = nix::mount::umount2(&point, MntFlags::MNT_DETACH);
        }
        let left = host::mounts_below(&self.dir);
        assert!(std::thread::panicking() || left.is_empty(), "the host has mounts of the test: {left:#?}");
    }
}

/// Returns the IDs of the containers that have run-time files.
fn containers() -> Vec<String> {
    let stores = std::fs::read_dir("/run/corm").into_iter().flatten().flatten();
    let of_runtime = |store: DirEntry| std::fs::read_dir(store.path().join("runtime")).into_iter().flatten().flatten();
    stores.flat_map(of_runtime).map(|id| id.file_name().to_string_lossy().into_owned()).collect()
}

/// Removes the cgroups of the containers that have run-time files.
fn remove_cgroups() {
    containers().iter().for_each(|id| cgroup::remove_all(id));
}

/// Returns whether a file is that of a loop device.
fn is_attached(image: &Path) -> bool {
    let devices = std::fs::read_dir("/sys/block").unwrap().flatten().map(|device| device.path());
    devices.into_iter().any(|device| {
        std::fs::read_to_string(device.join("loop/backing_file")).is_ok_and(|file| Path::new(file.trim_end()) == image)
    })
}

fn make_file_system(kind: Kind, image: &Path, megabytes: u64) {
    File::create(image).unwrap().set_len(megabytes << 20).unwrap();
    let mut command = Command::new(format!("mkfs.{}", kind.name()));
    // nothing is initialized in the background
    let options: &[&str] =
        if kind == Kind::Ext4 { &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"] } else { &["-q"] };
    run(command.args(options).arg(image));
}

/// Mounts a file system in a file; returns the message of mount(8) where it fails.
fn mount_loop(image: &Path, at: &Path, option: &str) -> Result<(), String> {
    // the kernel frees the device of `-o loop` when it is unmounted
    let out = Command::new("mount").arg("-o").arg(format!("loop{option}")).arg(image).arg(at).output().unwrap();
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}

fn mount_tmpfs(at: &Path) {
    nix::mount::mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=700")).unwrap();
}

/// Runs a program that must succeed, and returns its output.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
