//! A hostile image: names of the security checklist (A1 … R1).

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{Case, WRAPPER, case, with_wrapper};

#[test]
fn g1_masked_and_readonly_paths() {
    let mut case = case!();
    case.host_file("rootfs/secret/file", "secret");
    case.host_file("rootfs/secret2/file", "secret");
    case.host_file("rootfs/plain", "secret");
    case.host_file("rootfs/plain2", "secret");
    case.host_file("rootfs/keep/file", "kept");
    case.config["linux"] = json!({
        "maskedPaths": ["/secret", "/secret2", "/secret/file", "/plain", "/plain2", "/none", "/plain/x", "/proc/cpuinfo"],
        "readonlyPaths": ["/keep", "/none", "/proc/sys"],
    });
    let seen = case.run(
        "cat /secret/* /secret2/* /plain /plain2; touch /keep/x; touch /secret/x; cat /keep/file; \
         echo x > /proc/sys/kernel/hostname; stat -c '%n %t:%T' /plain /proc/cpuinfo; touch /ok && echo rw-root",
    );
    assert!(!seen.contains("secret\n") && seen.contains("kept") && seen.contains("rw-root"), "{seen}");
    assert!(seen.contains("/plain 1:3") && seen.contains("/proc/cpuinfo 1:3"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 3, "{seen}");
}

#[test]
fn lx_2_the_target_of_a_masked_symlink_is_masked() {
    let mut case = case!();
    case.host_file("rootfs/real", "content");
    case.link("/real", "lnk");
    case.config["linux"] = json!({"maskedPaths": ["/lnk"]});
    let seen = case.run("cat /lnk; echo -; cat /real; test -L /lnk && stat -c %t:%T /real");
    assert!(seen.contains("-\n1:3") && !seen.contains("content"), "{seen}");
}

#[test]
fn a1_a2_a3_links_in_place_of_proc_sys_dev() {
    for place in ["proc", "sys", "dev"] {
        let mut case = case!();
        case.link(&case.path("host"), place);
        if place == "dev" {
            case.without("/dev");
            case.host_file("host/ptmx", "");
            fs::remove_file(case.dir.join("host/ptmx")).unwrap();
        }
        assert!(case.refused().contains("symbolic link"), "{place}");
    }
}

#[test]
fn a4_a_link_in_place_of_dev_null() {
    let mut case = case!();
    case.without("/dev");
    case.link(&case.path("host/marker"), "dev/null");
    let error = case.refused();
    assert!(error.contains("not the requested device"), "{error}");
}

#[test]
fn a6_a7_a8_links_on_the_way_stay_inside() {
    let mut case = case!();
    case.host_file("vol/file", "volume");
    case.link(&case.path("host"), "lnk");
    case.link(&case.path("host/resolv"), "etc/resolv.conf");
    case.mount("/lnk/sub/dir", "bind", "vol", &["bind"]).mount("/etc/resolv.conf", "bind", "vol/file", &["bind"]);
    case.config["linux"]["devices"] = json!([{"path": "/lnk/fuse", "type": "c", "major": 10, "minor": 229}]);
    let seen = case.run("cat /lnk/sub/dir/file /etc/resolv.conf; stat -c %t:%T /lnk/fuse");
    assert_eq!(seen.matches("volume").count(), 2, "{seen}");
    assert!(seen.contains("a:e5"), "{seen}");
    case.host_unchanged();
}

#[test]
fn b1_a_hostile_dev_lends_nothing_to_a_mask() {
    let mut case = case!();
    case.host_file("rootfs/secret", "secret");
    fs::create_dir_all(case.dir.join("hostile/pts")).unwrap();
    symlink("/proc/version", case.dir.join("hostile/null")).unwrap();
    case.without("/dev").mount("/dev", "bind", "hostile", &["rbind"]);
    case.config["linux"]["maskedPaths"] = json!(["/secret"]);
    let seen = case.run("cat /secret; stat -c '%t:%T' /secret; ls /dev");
    assert!(seen.contains("1:3") && !seen.contains("Linux version") && !seen.contains("zero"), "{seen}");
}

#[test]
fn c1_to_c6_proc_cannot_be_covered() {
    for (destination, fs) in [
        ("/proc/self/attr", "tmpfs"),
        ("/proc", "tmpfs"),
        ("/proc", "bind"),
        ("/proc/sys", "tmpfs"),
        ("/tmp/../proc/sysrq-trigger", "bind"),
        ("/lnk", "tmpfs"),
        ("/lnk/sub", "bind"),
    ] {
        let mut case = case!();
        case.link("/proc/self", "lnk");
        let options: &[&str] = if fs == "bind" { &["bind"] } else { &[] };
        case.mount(destination, fs, "host", options);
        let error = case.refused();
        assert!(error.contains("proc") || error.contains("no such file"), "{destination}: {error}");
    }
    let mut case = case!();
    case.host_file("meminfo", "fake");
    case.mount("/proc/meminfo", "bind", "meminfo", &["bind"]);
    assert!(case.run("cat /proc/meminfo").contains("fake"), "the customary list is allowed");
}

#[test]
fn g4_the_old_root_is_gone() {
    let case = case!();
    let marker = case.path("host/marker");
    for mode in ["plain", "no-pivot"] {
        let seen = case.run_as(mode, &format!("cat /..{marker} /proc/1/root{marker} /proc/self/root{marker}; ls /.."));
        assert!(!seen.contains("\nhost") && seen.contains("busybox") == seen.contains("/bin/busybox"), "{seen}");
        assert!(seen.lines().any(|l| l == "bin"), "{mode} {seen}");
    }
}

#[test]
fn g7_something_else_at_a_device_path() {
    let mut case = case!();
    case.host_file("rootfs/special", "");
    case.config["linux"]["devices"] = json!([{"path": "/special", "type": "c", "major": 1, "minor": 3}]);
    let error = case.refused();
    assert!(error.contains("linux.devices[0]: \"/special\""), "{error}");
}

#[test]
fn g8_a_recursively_read_only_tree() {
    let mut case = case!();
    fs::create_dir_all(case.dir.join("vol/sub")).unwrap();
    case.mount("/plain", "bind", "vol", &["rbind", "ro"]).mount("/tree", "bind", "vol", &["rbind", "rro"]);
    let script = "for d in plain tree; do for s in . sub; do touch /$d/$s/x && echo wrote $d/$s; done; done";
    let wrapped = format!("mount -t tmpfs none {}/vol/sub || exit 96\n{WRAPPER}", case.dir.display());
    let mut command = with_wrapper(&case.command("plain", script), &wrapped);
    let seen = case.finish(&mut command);
    assert!(
        seen.contains("wrote plain/sub") && !seen.contains("wrote tree") && !seen.contains("wrote plain/."),
        "{seen}"
    );
}

#[test]
fn r1_a_race_on_a_shared_volume() {
    let case = &mut case!();
    for name in ["vol/d/inner", "other"] {
        fs::create_dir_all(case.dir.join(name)).unwrap();
    }
    symlink(case.path("host"), case.dir.join("vol/l")).unwrap();
    case.mount("/vol", "bind", "vol", &["rbind"]).mount("/vol/d/inner", "tmpfs", "tmpfs", &[]);
    case.mount("/vol/d/inner/deep", "bind", "other", &["bind"]);
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, vol) = (Arc::clone(&stop), case.dir.join("vol"));
    let swapper = std::thread::spawn(move || {
        let here = nix::fcntl::AT_FDCWD;
        let (d, l) = (vol.join("d"), vol.join("l"));
        while !flag.load(Ordering::Relaxed) {
            let _ = nix::fcntl::renameat2(here, &d, here, &l, nix::fcntl::RenameFlags::RENAME_EXCHANGE);
        }
    });
    let mut built = 0;
    for _ in 0..100 {
        let output = case.command("plain", "true").output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("LEAK"));
        built += u32::from(output.status.success());
        case.host_unchanged();
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(built > 0, "a race may spoil a container, not all of them");
}
