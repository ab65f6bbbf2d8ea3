//! croci as on older kernels, by the filter of `test_support::old_kernel`: what it replaces, and what it refuses by name.
//!
//! `scripts/test-old-kernels.sh` runs whole suites under the filter.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::os::fd::AsFd as _;

use test_support::bundle::{add_mount, bind, with_userns};
use test_support::container::Container;
use test_support::old_kernel::{Version, filter};
use test_support::pty::{Terminal, on_terminal};
use test_support::*;

/// The versions of Debian 11, Ubuntu 20.04 and RHEL 8.
const PROFILES: [Version; 3] = [(5, 10), (5, 4), (4, 18)];

/// A call of the runtime as on the kernel `version`.
fn on(version: Version, command: Cmd) -> Cmd {
    let filter = filter(version);
    command.before_exec(move || linux::seccomp::install(&filter, 0).map(drop))
}

/// The filter is there, or every test below would be of this kernel.
#[test]
fn the_filter_refuses_what_the_version_lacks() {
    need_root!();
    for (version, replaced) in [((6, 18), false), ((5, 12), false), ((5, 10), true), ((4, 18), true)] {
        linux::testing::forked(|| {
            linux::seccomp::install(&filter(version), 0).unwrap();
            let how = linux::mount::CloneFlags::default();
            if let Ok(tree) = linux::mount::clone_tree(nix::fcntl::AT_FDCWD, c"/", how) {
                let readonly = linux::mount::MountAttr { set: linux::mount::ATTR_RDONLY, ..Default::default() };
                let _ = linux::mount::set_attr(tree.as_fd(), false, readonly);
            }
            assert_eq!(linux::mount::is_old(), replaced, "{version:?}");
        });
    }
}

#[test]
fn a_container_lives_its_whole_life_on_an_older_kernel() {
    need_root!();
    for version in PROFILES {
        let c = Container::new(&["sleep", "1000"]);
        c.write_config();
        let (bundle, id) = (c.bundle.to_str().unwrap(), c.id.as_str());
        for (args, expected) in [
            (&["create", "--bundle", bundle, id][..], ""),
            (&["start", id], ""),
            (&["exec", id, "sh", "-c", "echo from exec; exit 0"], "from exec\n"),
            (&["kill", id, "KILL"], ""),
            (&["delete", "--force", id], ""),
        ] {
            let out = on(version, c.croci(args)).out().ok();
            assert_eq!(out.stdout, expected, "{version:?} {args:?}: {out:#?}");
        }
        c.sandbox.nothing_left();
    }
}

/// Hooks of init are in the container's pid namespace, where neither pidfds nor the host's procfs have their pids.
#[test]
fn hooks_in_the_container_run_and_are_killed_after_their_timeout_on_an_older_kernel() {
    need_root!();
    for version in PROFILES {
        let c = Container::new(&["true"]);
        let log = c.sandbox.path("hooks");
        // a grandchild keeps the streams of the hook open, so that their end does not tell that of the hook
        let outside = c.sandbox.script("hook", &format!("#!/bin/sh\nsleep 300 &\necho \"$1\" >>{}\n", log.display()));
        let slow = c.sandbox.script("slow", "#!/bin/sh\nexec sleep 300\n");
        let inside = ["sh", "-c", "sleep 300 & echo ran >/inside"];
        let hooks = json!({
            "createContainer": [{"path": outside, "args": ["hook", "createContainer"]}],
            "startContainer": [{"path": "/bin/busybox", "args": inside, "timeout": 60}],
        });
        let c = c.edit(|config| config["hooks"] = hooks.clone());
        on(version, c.run_with(&[])).out().ok();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "createContainer\n", "{version:?}");
        assert_eq!(std::fs::read_to_string(c.file("/inside")).unwrap(), "ran\n", "{version:?}");
        for (kind, hook) in [
            ("createContainer", json!({"path": slow, "timeout": 1})),
            ("startContainer", json!({"path": "/bin/busybox", "args": ["sleep", "300"], "timeout": 1})),
        ] {
            let c = Container::within(&c.sandbox, &["true"]).edit(|config| config["hooks"] = json!({kind: [hook]}));
            let out = on(version, c.run_with(&[])).out().fails();
            assert!(out.stderr.contains("took longer than its timeout of 1 s"), "{version:?} {kind}: {out:#?}");
        }
        c.sandbox.nothing_left();
    }
}

#[test]
fn a_container_with_a_terminal_runs_on_an_older_kernel() {
    need_root!();
    for version in PROFILES {
        let c = Container::sh("test -t 1 && echo terminal").edit(|config| config["process"]["terminal"] = json!(true));
        let mut terminal = Terminal::open(24, 80);
        let run = on_terminal(on(version, c.run_with(&[])), &terminal).spawn();
        terminal.expect("terminal");
        run.wait().ok();
        c.sandbox.nothing_left();
    }
}

fn mount_tmpfs(dir: &std::path::Path) {
    let flags = nix::mount::MsFlags::MS_NODEV;
    nix::mount::mount(Some("below"), dir, Some("tmpfs"), flags, Some("size=64k")).unwrap();
}

#[test]
fn a_container_on_an_older_kernel_is_the_same_as_on_this_one() {
    need_root!();
    // root, mount point, options and type of each mount, sorted, because IDs differ; files are masked by another null device
    let script = "while read -r _ _ _ root place options rest; do echo \"$root $place $options ${rest##*- }\"; done \
                  </proc/self/mountinfo | grep -v ^/null | sort; grep -E '^(Cap|Uid|Gid|NoNewPrivs)' /proc/self/status; \
                  ls /proc/self/fd | wc -l; echo end of the view";
    for userns in [false, true] {
        let new = of_kernel(None, script, userns);
        for version in PROFILES {
            assert_eq!(of_kernel(Some(version), script, userns), new, "{version:?}, user namespace: {userns}");
        }
    }
}

/// What a container with many kinds of mounts prints, as on the kernel `version`.
fn of_kernel(version: Option<Version>, script: &str, userns: bool) -> String {
    let c = Container::sh(script);
    let host = c.host_dir("source");
    std::fs::create_dir(host.join("below")).unwrap();
    mount_tmpfs(&host.join("below"));
    // made here, because the root belongs to none of the user namespace's users
    for dir in ["ro", "t"] {
        std::fs::create_dir(c.rootfs.join(dir)).unwrap();
    }
    std::fs::write(c.rootfs.join("file"), "").unwrap();
    let c = c.edit(|config| {
        // a user namespace may not change the access times of the host's mounts
        let times = if userns { &[][..] } else { &["noatime"] };
        add_mount(config, bind(&host, "/ro", &[&["rbind", "rro", "nosuid"], times].concat()));
        add_mount(config, bind(&host.join("marker"), "/file", &["bind", "ro", "noexec"]));
        let options = json!(["ro", "size=64k", "nodev"]);
        add_mount(config, json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": options}));
        config["linux"]["readonlyPaths"] = json!(["/bin"]);
        config["linux"]["maskedPaths"] = json!(["/proc/keys", "/proc/scsi", "/sys/firmware"]);
        config["root"]["readonly"] = json!(true);
        if userns {
            with_userns(config);
        }
    });
    let run = c.run_with(&[]);
    let out = version.map_or_else(|| c.run_with(&[]), |version| on(version, run)).out().ok();
    assert!(out.stdout.contains("end of the view"), "{out:#?}");
    nix::mount::umount2(&host.join("below"), nix::mount::MntFlags::MNT_DETACH).unwrap();
    c.sandbox.nothing_left();
    out.stdout.replace(c.sandbox.dir.to_str().unwrap(), "DIR")
}

#[test]
fn what_an_older_kernel_cannot_do_is_refused_by_name() {
    need_root!();
    let host = |c: &Container| c.host_dir("source");
    let c = Container::running();
    let source = host(&c);
    let list = json!([{"type": "bind", "source": source, "destination": "/added", "options": ["bind", "ro"]}]);
    let file = c.sandbox.write("mounts.json", list.to_string());
    let out = on((5, 10), c.croci(["mounts", "add", &c.id, file.to_str().unwrap()])).out().fails();
    assert!(out.stderr.contains("needs Linux 5.12 or newer"), "{out:#?}");
    let c = Container::new(&["true"]);
    let source = host(&c);
    let c = c.edit(|config| {
        let mut mapped = bind(&source, "/mapped", &["bind"]);
        mapped["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        mapped["gidMappings"] = mapped["uidMappings"].clone();
        add_mount(config, mapped);
    });
    let out = on((5, 4), c.run_with(&[])).out().fails();
    assert!(out.stderr.contains("an ID-mapped mount (mount_setattr) needs Linux 5.12"), "{out:#?}");
    c.sandbox.nothing_left();
}
