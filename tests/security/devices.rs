//! Device nodes on volumes that others write to: a name is exchanged while containers start, and the file that takes
//! the name keeps its mode and owner.

use crate::race::{self, Swaps};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use test_support::bundle::{add_mount, bind, with_userns, without_mount};
use test_support::*;

/// Returns the permissions, user and group of the file itself, not of a symlink's target.
fn rights(path: &Path) -> (u32, u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// A node or fifo, held by a descriptor that refers to it also when its name is exchanged.
struct Node(File, u32);

impl Node {
    fn create(path: &Path, kind: libc::mode_t, device: libc::dev_t) -> Node {
        host::mknod(path, kind, device);
        let node = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path);
        Node(node.unwrap(), 0)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }

    /// Restores the mode and owner that the node was created with: 0600, and the owner in the second field.
    fn reset(&self) {
        std::os::unix::fs::chown(self.path(), Some(self.1), Some(self.1)).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn mode(&self) -> u32 {
        self.0.metadata().unwrap().mode() & 0o7777
    }
}

/// A container, a directory that it shares with the attacker, and a node in it.
struct Scene {
    c: Container,
    volume: PathBuf,
    node: Node,
}

/// Creates the container and the node. `place` is `/vol`, a volume, or `/dev`, the image's own directory.
fn scene(place: &str, kind: libc::mode_t, device: libc::dev_t, mut entry: Value) -> Scene {
    entry["path"] = json!(format!("{place}/node"));
    let mut c = Container::new(&["true"]);
    let volume = if place == "/dev" { c.file("/dev") } else { c.sandbox.mkdir("volume") };
    if place == "/dev" {
        for name in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
            without_mount(&mut c.config, name);
        }
    } else {
        add_mount(&mut c.config, bind(&volume, place, &[]));
    }
    c.config["linux"]["devices"] = json!([entry]);
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o755)).unwrap();
    let node = Node::create(&volume.join("node"), kind, device);
    Scene { c, volume, node }
}

impl Scene {
    /// Starts containers while names are exchanged; each round begins with the wrong mode and owner. Returns how often
    /// the node got the configured ones.
    fn start_many(&self, watch: &mut dyn FnMut(usize)) -> usize {
        let mut changed = 0;
        for round in 0..race::rounds() {
            self.node.reset();
            let out = self.c.run().no_panic();
            if out.code != Some(0) {
                out.fails().one_line().stderr_contains("linux.devices[0]");
            }
            changed += usize::from(self.node.mode() != 0o600);
            watch(round);
        }
        changed
    }

    fn secret(&self) -> PathBuf {
        let secret = self.c.sandbox.write("secret", "host-secret\n");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        secret
    }
}

/// Returns character device 1:3 and a fifo, each as a node and as an entry of the configuration.
fn kinds() -> [(libc::mode_t, libc::dev_t, Value); 2] {
    [
        (libc::S_IFCHR, libc::makedev(1, 3), json!({ "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 })),
        (libc::S_IFIFO, 0, json!({ "type": "p", "fileMode": 0o666 })),
    ]
}

/// A symlink takes the place of the node: chmod(2) of the name would follow it and change any file of the host.
#[test]
fn chmod_of_a_node_that_becomes_a_symlink() {
    need_root!();
    for place in ["/vol", "/dev"] {
        for (kind, device, entry) in kinds() {
            let scene = scene(place, kind, device, entry);
            let secret = scene.secret();
            host::symlink(&secret, scene.volume.join("other"));
            let before = rights(&secret);
            let swaps = Swaps::begin(&scene.volume.join("node"), &scene.volume.join("other"));
            let changed = scene.start_many(&mut |round| {
                assert_eq!(rights(&secret), before, "{place} {kind:o}: round {round}");
            });
            let swapped = swaps.end();
            assert!(swapped > race::rounds(), "the race took place: {swapped}");
            assert!(changed > 0, "containers started, and the node got its mode");
            assert_eq!(rights(&secret), before);
        }
    }
}

/// Another file of the volume takes the place of an existing node, and keeps its owner.
#[test]
fn chown_of_a_node_that_becomes_another_file() {
    need_root!();
    for (kind, device, mut entry) in kinds() {
        (entry["uid"], entry["gid"]) = (json!(1000), json!(1000));
        let scene = scene("/vol", kind, device, entry);
        let other = scene.volume.join("other");
        fs::write(&other, "of-root\n").unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = File::open(&other).unwrap();
        let swaps = Swaps::begin(&scene.volume.join("node"), &other);
        let changed = scene.start_many(&mut |round| {
            let meta = secret.metadata().unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o600, 0, 0), "{kind:o}: round {round}");
        });
        let swapped = swaps.end();
        assert!(swapped > race::rounds(), "the race took place: {swapped}");
        assert!(changed > 0, "containers started, and the node got its mode");
    }
}

/// Another file takes the place of a new node: only the node that croci created gets the owner.
#[test]
fn chown_of_a_new_node_that_becomes_another_file() {
    need_root!();
    let entry = json!({ "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 7, "gid": 7 });
    let scene = scene("/vol", libc::S_IFCHR, libc::makedev(1, 3), entry);
    let (node, other) = (scene.volume.join("node"), scene.volume.join("other"));
    let (mut started, mut swapped) = (0, 0);
    for round in 0..3 * race::rounds() {
        let _ = (fs::remove_file(&node), fs::remove_file(&other));
        fs::write(&other, "of-root\n").unwrap();
        let secret = File::open(&other).unwrap();
        // nothing is exchanged until croci has created the node
        let swaps = Swaps::begin(&node, &other);
        let out = scene.c.run().no_panic();
        swapped += swaps.end();
        started += usize::from(out.code == Some(0));
        let meta = secret.metadata().unwrap();
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "round {round}");
    }
    assert!(swapped > race::rounds(), "the race took place: {swapped}");
    assert!(started > 0, "containers started: {started}");
}

/// The same attacks in a user namespace, where devices are binds of the host's nodes and fifos are created.
#[test]
fn nodes_of_a_user_namespace() {
    need_root!();
    let mut scene = scene("/vol", libc::S_IFIFO, 0, json!({ "type": "p", "fileMode": 0o666 }));
    with_userns(&mut scene.c.config);
    for dir in [&scene.c.sandbox.dir, &scene.c.bundle] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let secret = scene.secret();
    // the container's root owns all of these paths
    for path in [&scene.c.rootfs, &scene.volume, &secret] {
        std::os::unix::fs::chown(path, Some(100_000), Some(100_000)).unwrap();
    }
    scene.node.1 = 100_000;
    host::symlink(&secret, scene.volume.join("other"));
    let before = rights(&secret);
    let swaps = Swaps::begin(&scene.volume.join("node"), &scene.volume.join("other"));
    let changed = scene.start_many(&mut |round| assert_eq!(rights(&secret), before, "round {round}"));
    let swapped = swaps.end();
    assert!(swapped > race::rounds(), "the race took place: {swapped}");
    assert!(changed > 0, "containers started, and the node got its mode");
}

/// A node of the host's devtmpfs, which is removed when the value is dropped.
struct HostNode(PathBuf);

impl Drop for HostNode {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A bind of the host's /dev on another path: the mode and owner of its nodes are not changed.
#[test]
fn a_node_of_the_hosts_dev_keeps_its_mode() {
    need_root!();
    let c = Container::sh("test -c \"$NODE\" && echo seen");
    // a node of the test, so that no process of the host needs it
    let node = HostNode(Path::new("/dev").join(&c.sandbox.token));
    Node::create(&node.0, libc::S_IFCHR, libc::makedev(1, 3));
    let before = rights(&node.0);
    let inside = format!("/vol/{}", c.sandbox.token);
    let c = c.edit(|config| {
        add_mount(config, bind(Path::new("/dev"), "/vol", &[]));
        config["process"]["env"].as_array_mut().unwrap().push(json!(format!("NODE={inside}")));
        config["linux"]["devices"] =
            json!([{ "path": inside, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666, "uid": 1000, "gid": 1000 }]);
    });
    let out = c.run().ok();
    assert_eq!((out.text(), rights(&node.0)), ("seen", before));
}
