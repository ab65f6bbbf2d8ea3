//! A host with hundreds of mounts: init's mount namespace is no copy of the host's, and the container must not see it.

use super::*;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;

/// Mounts below the container's directory `shared`, then `count` further ones beside it.
fn host_mounts(c: &Container, count: u32) -> String {
    let dir = c.sandbox.dir.display();
    format!(
        "mount -t tmpfs shared {dir}/shared; mount --make-shared {dir}/shared
         mkdir {dir}/shared/sub; mount -t tmpfs sub {dir}/shared/sub; echo below >{dir}/shared/sub/file
         mkdir {dir}/many; mount -t tmpfs many {dir}/many
         for i in $(seq {count}); do mkdir {dir}/many/$i; mount --bind {dir}/many/$i {dir}/many/$i; done"
    )
}

/// Returns a container with binds of each kind of propagation, masks, a tmpfs, cgroups and an own node.
fn container(script: &str) -> Container {
    let c = Container::sh(script);
    let shared = c.sandbox.mkdir("shared");
    std::fs::write(c.file("masked"), "secret").unwrap();
    c.edit(|config| {
        for (name, options) in [
            ("/private", &["rbind", "rprivate", "ro"][..]),
            ("/slave", &["rbind", "rslave", "nosuid"]),
            ("/shared", &["rbind", "rshared"]),
            ("/single", &["bind", "rro"]),
        ] {
            let mut mount = bundle::bind(&shared, name, options);
            mount["options"] = json!(options);
            bundle::add_mount(config, mount);
        }
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
        let cgroup =
            json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"] });
        mounts.push(cgroup);
        config["linux"]["devices"] =
            json!([{ "path": "/dev/own", "type": "c", "major": 1, "minor": 7, "uid": 7, "gid": 8, "fileMode": 0o640 }]);
        config["linux"]["maskedPaths"].as_array_mut().unwrap().push(json!("/masked"));
    })
}

/// Whether init left the host's mounts: the runtime has then kept the pid of the kernel's thread.
fn left_host_mounts(c: &Container) -> bool {
    let root = CString::new(c.sandbox.root.as_os_str().as_bytes()).unwrap();
    linux::file::get_xattr(&root, c"trusted.croci.kdevtmpfs").is_ok()
}

fn kernel_thread_is_visible() -> bool {
    std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n")
}

/// Returns the mounts without IDs, device numbers and names that differ from run to run.
fn normalized(c: &Container, text: &str) -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').skip(3).collect();
        let field = |field: &&str| field.split_once(':').map_or(field.to_string(), |(kind, _)| kind.to_owned());
        fields
            .iter()
            .map(field)
            .collect::<Vec<_>>()
            .join(" ")
            .replace(&c.id, "ID")
            .replace(&*c.sandbox.dir.to_string_lossy(), "DIR")
    };
    let mut lines: Vec<String> = text.lines().filter(|line| line.contains(" - ")).map(line).collect();
    lines.sort();
    lines
}

#[test]
fn mt_1_a_container_is_the_same_below_many_host_mounts() {
    need_root!();
    if !kernel_thread_is_visible() {
        skip!("the kernel's threads are in another pid namespace");
    }
    let script = "cat /proc/self/mountinfo; cat /slave/sub/file; stat -c '%n %a %u %g %t %T' /dev/own /dev/null /masked
                  ls /; ls /dev; cat /masked | wc -c";
    let of = |count: u32| {
        let c = container(script);
        c.write_config();
        let out = c.run_by(with_mounts(&c, &host_mounts(&c, count))).ok();
        assert!(count == 0 || left_host_mounts(&c), "{out:?}");
        let rest: Vec<String> =
            out.lines().iter().filter(|line| !line.contains(" - ")).map(|l| l.to_string()).collect();
        assert!(rest.contains(&"below".to_owned()) && rest.contains(&"/dev/own 640 7 8 1 7".to_owned()), "{out:?}");
        let mounts = normalized(&c, out.text());
        c.nothing_left();
        (mounts, rest)
    };
    let (few, many) = (of(0), of(300));
    assert!(few.0.len() > 12, "{few:?}");
    assert_eq!(few, many);
}

#[test]
fn mt_8_propagation_is_the_same_below_many_host_mounts() {
    need_root!();
    if !kernel_thread_is_visible() {
        skip!("the kernel's threads are in another pid namespace");
    }
    for count in [0, 300] {
        let c = container(
            "mount -t tmpfs inner /shared/from-container && echo inner >/shared/from-container/file
             mount -t tmpfs over /masked 2>/dev/null; mount --bind /proc/version /masked || exit 9
             until [ -e /slave/from-host/file ]; do sleep 0.05; done; ls /private/from-host | wc -l; ls /single/from-host | wc -l",
        );
        let c = c.edit(|config| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_ADMIN"));
            }
            config["linux"]["rootfsPropagation"] = json!("rshared");
        });
        let dir = c.sandbox.dir.display();
        let script = format!(
            "{}\nmount --make-shared /dev\nmkdir {dir}/shared/from-host {dir}/shared/from-container
             \"$0\" \"$@\" & until [ -e {dir}/shared/from-container/file ]; do sleep 0.05; kill -0 $! || exit 8; done
             mount -t tmpfs outer {dir}/shared/from-host; touch {dir}/shared/from-host/file
             wait $!; status=$?; head -c0 /dev/null; [ -c /dev/null ] && ! mountpoint -q /dev/null && echo host-null-kept
             exit $status",
            host_mounts(&c, count)
        );
        c.write_config();
        let out = c
            .run_by(c.sandbox.program("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script]))
            .ok();
        assert_eq!(out.lines(), ["0", "1", "host-null-kept"], "{count}: {out:?}");
        assert!(count == 0 || left_host_mounts(&c));
        c.nothing_left();
    }
}

/// Hooks look for the host's files in the container's mount namespace, and options of some file systems have paths of the
/// host: init's namespace is then a copy of the host's, as without many mounts.
#[test]
fn mt_1_what_needs_the_hosts_paths_finds_them_below_many_host_mounts() {
    need_root!();
    type Edit = fn(&mut Value, &std::path::Path);
    let cases: [(&str, Edit, &[&str], &str); 4] = [
        (
            "overlay",
            |config, dir| {
                let options =
                    ["lowerdir", "upperdir", "workdir"].map(|name| format!("{name}={}/{name}", dir.display()));
                let mount =
                    json!({ "destination": "/merged", "type": "overlay", "source": "overlay", "options": options });
                bundle::add_mount(config, mount);
            },
            &[],
            "cat /merged/lower",
        ),
        (
            "createContainer",
            |config, dir| {
                let script = format!("cat {}/lowerdir/lower >rootfs/found", dir.display());
                config["hooks"] = json!({ "createContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
            },
            &[],
            "cat /found",
        ),
        (
            "createRuntime",
            |config, dir| {
                // as libnvidia-container does: the host's file, seen from the container's mount namespace
                let script = format!(
                    "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -m sh -c 'cat {0}/lowerdir/lower' >{0}/b-0/rootfs/found",
                    dir.display()
                );
                config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
            },
            &[],
            "cat /found",
        ),
        ("--no-pivot", |_, _| {}, &["--no-pivot"], "echo in-the-lower-layer"),
    ];
    for (name, edit, flags, script) in cases {
        let c = container(script);
        for dir in ["lowerdir", "upperdir", "workdir"] {
            c.sandbox.mkdir(dir);
        }
        c.sandbox.write("lowerdir/lower", "in-the-lower-layer\n");
        let dir = c.sandbox.dir.clone();
        let c = c.edit(|config| edit(config, &dir));
        c.write_config();
        let program = with_mounts(&c, &host_mounts(&c, 300)).arg(test_support::runtime()).arg("--root");
        let run = program.arg(&c.sandbox.root).arg("run").args(flags).arg("--bundle").arg(&c.bundle).arg(&c.id);
        let out = run.out().ok();
        assert_eq!(out.text().trim_end(), "in-the-lower-layer", "{name}: {out:?}");
        assert!(!left_host_mounts(&c), "{name}");
        c.nothing_left();
    }
}
