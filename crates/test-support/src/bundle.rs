//! Bundles: a root file system with static busybox, and a small valid configuration that tests modify.

use super::sandbox::Sandbox;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const APPLETS: &str = "sh true false cat ls id sleep echo env stat grep ps mount umount touch mkdir rmdir rm kill test [ \
    printf head tail wc sort readlink tty stty dd cut tr seq hostname nice pwd od sed awk find chmod chown ln mv cp df \
    uname whoami mknod date setsid nohup xargs sysctl time mkfifo ip ifconfig md5sum yes timeout usleep ionice renice";

/// Returns the path of a static busybox of this machine.
pub fn busybox() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            let given = std::env::var_os("BUSYBOX").map(PathBuf::from);
            let usual = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"].map(PathBuf::from);
            given.into_iter().chain(usual).find(|path| is_static_elf(path))
        })
        .as_deref()
}

/// Returns whether a file is a static executable, because a dynamic one names its loader in an INTERP segment (type 3).
fn is_static_elf(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    if bytes.get(..5) != Some(b"\x7fELF\x02") {
        return false;
    }
    let number = |at: usize, len: usize| {
        bytes.get(at..at + len).map_or(0, |part| part.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).all(|index| number(start + index * size, 4) != 3)
}

/// Creates `rootfs` below `dir`: busybox hard-linked from one copy per machine, its applets, the usual directories.
pub fn make_rootfs(dir: &Path) -> PathBuf {
    let rootfs = dir.join("rootfs");
    for name in ["bin", "sbin", "usr/bin", "etc", "dev", "proc", "sys", "tmp", "root", "run", "var", "home"] {
        std::fs::create_dir_all(rootfs.join(name)).unwrap();
    }
    std::fs::set_permissions(rootfs.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    let target = rootfs.join("bin/busybox");
    if std::fs::hard_link(shared_busybox(), &target).is_err() {
        std::fs::copy(shared_busybox(), &target).unwrap();
    }
    for applet in APPLETS.split_whitespace() {
        super::host::symlink("busybox", rootfs.join("bin").join(applet));
    }
    let passwd =
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";
    std::fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
    std::fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n").unwrap();
    rootfs
}

fn shared_busybox() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let dir = super::target_dir().join("tmp");
        std::fs::create_dir_all(&dir).unwrap();
        let copy = dir.join("busybox");
        // every container links this file, so that a copy damaged by an earlier run would damage all containers that
        // follow
        if std::fs::read(&copy).ok() != std::fs::read(busybox().unwrap()).ok() {
            let fresh = dir.join(format!("busybox.{}", std::process::id()));
            std::fs::copy(busybox().unwrap(), &fresh).unwrap();
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&fresh, &copy).unwrap();
        }
        copy
    })
}

/// Returns a configuration as an engine writes it, without parts that tests would have to remove.
pub fn config(sandbox: &Sandbox, id: &str, args: &[&str]) -> Value {
    let caps = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "hostname": "testbox",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin:/sbin:/usr/bin", format!("CROCI_TEST={}", sandbox.token)],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "noNewPrivileges": true
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] }
        ],
        "linux": {
            "cgroupsPath": super::cgroup::path_for(id),
            "resources": {},
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" },
                { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" }
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug",
                            "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

/// Changes a configuration for a container with a user namespace: root is host uid 100000.
pub fn with_userns(config: &mut Value) {
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
}

/// Removes a mount by its destination.
pub fn without_mount(config: &mut Value, destination: &str) {
    config["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != destination);
}

/// Appends a mount.
pub fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

/// Returns a read-write bind mount for the configuration.
pub fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    let mut all = vec!["rbind"];
    all.extend(options);
    json!({ "destination": destination, "type": "bind", "source": source, "options": all })
}
