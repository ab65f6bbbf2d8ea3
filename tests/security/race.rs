//! R1: a directory of a shared volume is exchanged with a symlink to the host while containers with a mount below it
//! start (CVE-2021-30465, CVE-2024-45310, CVE-2025-52881).

use crate::common::bundle::{add_mount, bind};
use crate::common::container::Untouched;
use crate::common::*;
use crate::need_root;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn rounds() -> usize {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
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
    let file = sandbox.write("file", "from the runtime\n");
    let (stop, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let verdict = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, other) = (host::cstr(&volume.join("d")), host::cstr(&volume.join("l")));
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: both strings outlive the call.
                let rc = unsafe {
                    libc::syscall(
                        libc::SYS_renameat2,
                        libc::AT_FDCWD,
                        one.as_ptr(),
                        libc::AT_FDCWD,
                        other.as_ptr(),
                        libc::RENAME_EXCHANGE,
                    )
                };
                swaps.fetch_add(usize::from(rc == 0), Ordering::Relaxed);
            }
        });
        let verdict = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let c = Container::within(&sandbox, &["true"]).edit(|config| {
                add_mount(config, bind(&volume, "/vol", &[]));
                add_mount(config, bind(&source, "/vol/d/inner", &[]));
                add_mount(config, bind(&source, "/vol/d/made/deep", &[]));
                add_mount(config, bind(&file, "/vol/d/file", &[]));
                config["linux"]["maskedPaths"] = json!(["/vol/d/masked", "/proc/kcore"]);
                config["linux"]["devices"] = json!([{ "path": "/vol/d/null", "type": "c", "major": 1, "minor": 3 }]);
            });
            let mut started = 0;
            for round in 0..rounds() {
                let out = c.run().no_panic();
                started += usize::from(out.code == Some(0));
                assert_eq!(host::mounts_below(&host), Vec::<String>::new(), "round {round}");
                before.check();
            }
            started
        }));
        stop.store(true, Ordering::Relaxed);
        verdict
    });
    verdict.unwrap();
    assert!(swaps.load(Ordering::Relaxed) > rounds(), "the race took place");
    before.check();
    sandbox.nothing_left();
}
