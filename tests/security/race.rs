//! R1: a directory of a shared volume is exchanged with a symlink to the host while containers with a mount below it
//! start (CVE-2021-30465, CVE-2024-45310, CVE-2025-52881).

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use test_support::bundle::{add_mount, bind};
use test_support::container::Untouched;
use test_support::*;

/// Returns the number of rounds of a race: `$ROUNDS`, else 100.
pub(crate) fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// A thread that exchanges two names repeatedly, and ends when the value is dropped.
pub(crate) struct Swaps {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Swaps {
    pub(crate) fn begin(one: &Path, other: &Path) -> Swaps {
        let stop = Arc::new(AtomicBool::new(false));
        let (one, other, stopped) = (host::cstr(one), host::cstr(other), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while !stopped.load(Ordering::Relaxed) {
                let done = renameat2(AT_FDCWD, &*one, AT_FDCWD, &*other, RenameFlags::RENAME_EXCHANGE);
                swaps += usize::from(done.is_ok());
            }
            swaps
        });
        Swaps { stop, thread: Some(thread) }
    }

    /// Stops the thread and returns the count of exchanges.
    pub(crate) fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Swaps {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn r1_exchange_of_a_directory_and_a_symlink() {
    need_root!();
    let sandbox = Sandbox::new();
    let host = sandbox.mkdir("host");
    std::fs::create_dir(host.join("inner")).unwrap();
    std::fs::write(host.join("marker"), "host-marker\n").unwrap();
    let before = Untouched::watch(&host);
    let volume = sandbox.mkdir("volume");
    std::fs::create_dir(volume.join("d")).unwrap();
    host::symlink(&host, volume.join("l"));
    let source = sandbox.mkdir("source");
    std::fs::write(source.join("seen"), "").unwrap();
    let file = sandbox.write("file", "from the runtime\n");
    // looks for the mount points in the container's own table: below the volume, or below the symlink's target in the
    // root
    let script = "n=0; for place in inner deep file; do \
                  awk -v p=/$place '$2 ~ p\"$\" { found = 1 } END { exit !found }' /proc/mounts && n=$((n+1)); done; \
                  echo mounted $n";
    let c = Container::within(&sandbox, &["sh", "-c", script]).edit(|config| {
        add_mount(config, bind(&volume, "/vol", &[]));
        add_mount(config, bind(&source, "/vol/d/inner", &[]));
        add_mount(config, bind(&source, "/vol/d/made/deep", &[]));
        add_mount(config, bind(&file, "/vol/d/file", &[]));
        config["linux"]["maskedPaths"] = json!(["/vol/d/masked", "/proc/kcore"]);
        config["linux"]["devices"] = json!([{ "path": "/vol/d/null", "type": "c", "major": 1, "minor": 3 }]);
    });
    let swaps = Swaps::begin(&volume.join("d"), &volume.join("l"));
    let (mut started, mut failed) = (0, Vec::new());
    for round in 0..rounds() {
        let out = c.run().no_panic();
        if out.code == Some(0) {
            assert_eq!(out.text(), "mounted 3", "round {round}: {out:?}");
            started += 1;
        } else {
            failed.push(out.clone().fails().one_line().stderr);
        }
        assert_eq!(host::mounts_below(&host), Vec::<String>::new(), "round {round}");
        before.check();
    }
    let swapped = swaps.end();
    assert!(swapped > rounds(), "the race took place: {swapped}");
    assert!(started >= rounds() / 4, "{started} of {} started and had their mounts: {failed:?}", rounds());
    before.check();
    sandbox.nothing_left();
}
