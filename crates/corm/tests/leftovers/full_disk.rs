//! A store whose disk is full: each verb does its work or names the want of space, and leaves nothing.

use std::collections::BTreeSet;

use super::Fixture;
use test_support::*;

/// A mount namespace in which the store is a small file system, as long as its process runs.
struct SmallDisk<'a> {
    fixture: &'a Fixture,
    holder: Proc,
}

impl SmallDisk<'_> {
    fn new(fixture: &Fixture) -> SmallDisk<'_> {
        let store = fixture.sandbox.mkdir("store");
        let ready = fixture.sandbox.path("ready");
        let script = format!(
            "mount -t tmpfs -o size=12m,mode=700 small {} && touch {} && exec sleep 1000",
            store.display(),
            ready.display()
        );
        let holder = fixture.sandbox.program("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script]);
        let holder = holder.limit(std::time::Duration::from_secs(1000)).spawn();
        wait_for("the disk is mounted", || ready.exists());
        SmallDisk { fixture, holder }
    }

    /// Prepares a program in the namespace.
    fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        let enter = self.fixture.sandbox.program("nsenter").arg(format!("--mount=/proc/{}/ns/mnt", self.holder.pid()));
        enter.arg(program)
    }

    fn corm(&self, args: &[&str]) -> Cmd {
        let corm = self.program(test_support::corm()).arg("--root").arg(self.fixture.sandbox.path("store"));
        corm.args(["--driver", "overlay", "--log-level", "error", "--runtime"]).arg(runtime()).args(args)
    }

    /// Leaves so many bytes free.
    fn fill(&self, free: u64) {
        let pad = self.fixture.sandbox.path("store/tmp/pad");
        let script = format!("cat /dev/zero >{0} 2>/dev/null; truncate -s -{free} {0}", pad.display());
        self.program("sh").args(["-c", &script]).out().ok();
    }

    fn empty(&self) {
        self.program("rm").args(["-f"]).arg(self.fixture.sandbox.path("store/tmp/pad")).out().ok();
    }

    fn names(&self) -> BTreeSet<String> {
        let out = self.program("find").arg(self.fixture.sandbox.path("store")).out().ok();
        out.lines().into_iter().map(str::to_owned).collect()
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        self.empty();
        self.corm(&["rm", "-f", "c"]).out();
        self.holder.signal(libc::SIGKILL);
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_it_and_leaves_nothing() {
    need_root!();
    let fixture = Fixture::new();
    let tree = fixture.sandbox.path("tree/rootfs");
    std::fs::write(tree.join("data"), vec![b'x'; 200_000]).unwrap();
    let archive = fixture.sandbox.path("base.tar");
    fixture.corm(&["save", "base", "-o", archive.to_str().unwrap()]).out().ok();
    let context = fixture.sandbox.mkdir("context");
    std::fs::write(context.join("Containerfile"), "FROM base\nRUN echo words >/made\n").unwrap();
    let disk = SmallDisk::new(&fixture);
    disk.corm(&["init", tree.to_str().unwrap(), "base"]).out().ok();
    // makes what every store has after its first container and volume
    disk.corm(&["run", "--rm", "-v", "volume:/etc", "base", "true"]).out().ok();
    disk.corm(&["build", "-t", "new", context.to_str().unwrap()]).out().ok();
    let clean = || {
        disk.corm(&["rm", "-f", "c"]).out();
        disk.corm(&["rmi", "new"]).out();
        disk.corm(&["system", "prune", "--volumes"]).out().ok();
    };
    clean();
    let before = disk.names();
    let verbs: [&[&str]; 7] = [
        &["load", "--name", "new", archive.to_str().unwrap()],
        &["init", tree.to_str().unwrap(), "new"],
        &["tag", "base", "new"],
        &["create", "--name", "c", "-v", "volume:/etc", "base", "true"],
        &["run", "--name", "c", "base", "sh", "-c", "cat /data /data >/more || exit 3"],
        &["run", "-d", "--name", "c", "base", "sleep", "1000"],
        &["build", "-t", "new", context.to_str().unwrap()],
    ];
    let mut full = 0;
    for verb in verbs {
        for free in [0, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10, 512 << 10] {
            disk.fill(free);
            let out = disk.corm(verb).out().no_panic();
            full += usize::from(out.code != Some(0));
            let named =
                out.stderr.to_lowercase().contains("no space left on device") || out.stderr.contains("min-free");
            assert!(out.code == Some(0) || named, "{free} bytes are free: {out:#?}");
            // also now, because a removal is how one gets space
            disk.corm(&["rm", "-f", "-i", "c"]).out().ok();
            disk.empty();
            clean();
            let fsck = disk.corm(&["fsck"]).out();
            assert!(fsck.code == Some(0) && fsck.stdout.is_empty(), "{free} bytes were free: {fsck:#?}, {out:#?}");
            let left: Vec<_> = disk.names().symmetric_difference(&before).cloned().collect();
            assert!(left.is_empty(), "{free} bytes were free: left or lost {left:?}: {out:#?}");
        }
    }
    assert!(full > 10, "the disk was full for {full} verbs");
}
