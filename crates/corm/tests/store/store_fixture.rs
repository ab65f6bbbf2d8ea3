//! File systems for stores: each in a mount namespace of the test's own thread, so that mounts and loop devices are
//! freed when the thread ends.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use corm::driver::DriverKind;
use corm::model::layer::WhiteoutFormat;
use corm::store::Store;
use corm::store::StoreOptions;
use nix::mount::MsFlags;

/// A type of file system for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Btrfs,
    Ext4,
    Tmpfs,
    /// ext4, with a store as an ordinary user has it: overlay marks whiteouts and opaque directories by `user.*`.
    Ext4OfUser,
}

/// A mounted file system; its loop device is freed when the thread that mounted it ends.
pub(crate) struct Place {
    dir: PathBuf,
    disk: Disk,
}

impl Place {
    pub(crate) fn new(disk: Disk) -> Place {
        Place::of_size(disk, 2048)
    }

    pub(crate) fn of_size(disk: Disk, megabytes: u32) -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        test_support::user::unshare_mounts();
        let name = format!("corm-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let at = dir.join("disk");
        std::fs::create_dir_all(&at).unwrap();
        match disk {
            Disk::Tmpfs => tmpfs(&at, megabytes),
            Disk::Btrfs => loop_mount(&dir, &at, "mkfs.btrfs", megabytes),
            Disk::Ext4 | Disk::Ext4OfUser => loop_mount(&dir, &at, "mkfs.ext4", megabytes),
        }
        Place { dir, disk }
    }

    /// Returns the path of the mount point.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("disk")
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path().join("store")
    }

    pub(crate) fn store(&self, kind: DriverKind) -> Store {
        let open = || Store::open(&StoreOptions { root: Some(self.root()), driver: Some(kind) }).unwrap();
        let store = open();
        if self.disk != Disk::Ext4OfUser {
            return store;
        }
        let meta = r#"{"format":1,"driver":"overlay","user_xattrs":true}"#;
        std::fs::write(self.root().join("store.json"), meta).unwrap();
        let store = open();
        assert_eq!(store.driver().whiteouts(), WhiteoutFormat::OverlayXattr);
        store
    }

    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for mount in [&self.path(), &self.dir] {
            let _ = nix::mount::umount2(mount, nix::mount::MntFlags::MNT_DETACH);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn tmpfs(at: &Path, megabytes: u32) {
    let size = format!("size={megabytes}m");
    nix::mount::mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(size.as_str())).unwrap();
}

fn loop_mount(dir: &Path, at: &Path, mkfs: &str, megabytes: u32) {
    // in memory, because corm syncs every record and the machine's disk is slow
    tmpfs(dir, megabytes + 1);
    std::fs::create_dir(at).unwrap();
    let image = dir.join("disk.img");
    std::fs::File::create(&image).unwrap().set_len(u64::from(megabytes) << 20).unwrap();
    run(Command::new(mkfs).arg("-q").arg(&image));
    // the kernel frees the device of `-o loop` when it is unmounted
    run(Command::new("mount").arg("-o").arg("loop").arg(&image).arg(at));
}

pub(crate) fn run(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Returns the drivers that this kernel supports, each with the file system that it is tested on. `DRIVERS` names those that
/// are wanted, separated by commas, for a guest in which all would take hours.
pub(crate) fn drivers() -> Vec<(DriverKind, Disk)> {
    let mut all = vec![(DriverKind::Copy, Disk::Tmpfs)];
    let known = std::fs::read_to_string("/proc/filesystems").unwrap();
    let has = |name: &str| known.lines().any(|line| line.trim_start_matches("nodev").trim() == name);
    for (name, kind, disk) in [
        ("btrfs", DriverKind::Btrfs, Disk::Btrfs),
        ("overlay", DriverKind::Overlay, Disk::Tmpfs),
        // not tmpfs, which has no attributes of users before Linux 6.6
        ("aufs", DriverKind::Aufs, Disk::Ext4),
    ] {
        if has(name) {
            all.push((kind, disk));
        } else {
            test_support::report_skip(&format!("this kernel has no {name}"));
        }
    }
    if has("overlay") && has("ext4") {
        all.push((DriverKind::Overlay, Disk::Ext4));
        all.push((DriverKind::Overlay, Disk::Ext4OfUser));
    }
    if let Ok(wanted) = std::env::var("DRIVERS") {
        all.retain(|(kind, _)| wanted.split(',').any(|name| name == kind.name()));
        assert!(!all.is_empty(), "DRIVERS={wanted}: this kernel has none of them");
    }
    all
}
