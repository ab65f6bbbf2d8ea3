//! Random sequences of operations in a container, on every driver: its changes, its commits, their blobs in the stores of
//! all other drivers and an export are the container's own tree.
//!
//! `SEQUENCES` is the number of sequences (default: a sample of seconds; `make test-image`: 10 000), `SEED` the first
//! one's seed. A failure prints the seed, and a shortest sequence that fails.

mod check;
mod operations;

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use corm::driver::DriverKind;
use corm::layer::{self, Compression, Limits, Target, pack};
use corm::model::digest::{self, Digest};
use corm::model::layer::{Layer, WhiteoutFormat};
use corm::store::Store;
use test_support::tree::{self, Tree};

use self::check::{difference, wrong_change};
use self::operations::{Operation, Random};
use crate::store_fixture::{Place, drivers};

const ID: &str = "5e9e0000000000000000000000000000000000000000000000000000000000ff";

/// The operations of each container of a chain: the next one is on top of the commit of the one before.
type Sequence = Vec<Vec<Operation>>;

/// The store of one driver.
struct World {
    name: String,
    place: Place,
    store: Store,
}

/// Creates a store for every driver, all in this thread's namespace.
fn worlds() -> Vec<World> {
    let world = |(kind, disk)| {
        let place = Place::new(disk);
        let store = place.store(kind);
        World { name: format!("{kind} on {disk:?}"), place, store }
    };
    // aufs is left out: it has pseudo-links in the place of hard links, and changes times of directories when it copies
    drivers().into_iter().filter(|(kind, _)| *kind != DriverKind::Aufs).map(world).collect()
}

impl World {
    /// Returns the chain as the driver names it.
    fn chain(&self, layers: &[Layer]) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::new();
        for layer in layers {
            chain.push(digest::chain(chain.last(), &layer.diff_id));
        }
        if self.store.driver().keeps_each() { chain } else { chain.split_off(chain.len().saturating_sub(1)) }
    }

    /// Puts a layer into the store.
    fn put(&self, tar: &[u8]) -> Layer {
        let (blob, _) = self.store.put_blob(tar).unwrap();
        Layer { blob, media_type: Compression::None.media_type().to_owned(), diff_id: Digest::of(tar) }
    }

    /// Returns the tree of a chain, and its root.
    fn tree(&self, layers: &[Layer]) -> (Tree, OwnedFd) {
        let root = self.store.driver().view(&self.chain(layers)).unwrap().root().unwrap();
        (tree::read(&path_of(&root)), root)
    }

    /// Removes the container.
    fn destroy(&self) {
        self.store.driver().unmount(ID, &self.place.path().join("target")).unwrap();
        self.store.driver().destroy(ID).unwrap();
    }

    /// Removes all layers and blobs.
    fn clear(&self) {
        for layer in self.store.driver().layers().unwrap() {
            self.store.driver().remove(&layer).unwrap();
        }
        for blob in fs::read_dir(self.store.root().join("blobs/sha256")).unwrap() {
            fs::remove_file(blob.unwrap().path()).unwrap();
        }
    }
}

fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()))
}

/// Runs a sequence in the first world, and unpacks its layers in the second. Returns the first difference.
fn run(sequence: &Sequence, world: &World, other: &World) -> Option<String> {
    let mut layers = Vec::new();
    let mut found = None;
    for (number, operations) in sequence.iter().enumerate() {
        found = run_one(operations, &mut layers, world, other);
        world.destroy();
        if let Some(what) = found {
            found = Some(format!("container {number}: {what}"));
            break;
        }
    }
    world.clear();
    other.clear();
    found
}

fn run_one(operations: &[Operation], layers: &mut Vec<Layer>, world: &World, other: &World) -> Option<String> {
    let driver = world.store.driver();
    driver.create(ID, &world.chain(layers), false).unwrap();
    let root = driver.mount(ID, &world.place.mkdir("target")).unwrap();
    let before = tree::read(&root);
    tick();
    for operation in operations {
        operation.apply(&root);
    }
    if driver.whiteouts() == WhiteoutFormat::OverlayXattr {
        // A fifo, device or symlink has no user attribute for its origin: until the next mount, the kernel reports another
        // inode number for its new hard link.
        driver.unmount(ID, &world.place.path().join("target")).unwrap();
        driver.mount(ID, &world.place.mkdir("target")).unwrap();
    }
    let wanted = tree::read(&root);
    let (content, list) = driver.changes(ID).unwrap();
    if let Some(what) = wrong_change(&before, &wanted, &list) {
        return Some(format!("changes: {what}"));
    }
    let mut tar = Vec::new();
    if let Err(err) = pack::changes(content.as_fd(), &list, &mut tar) {
        return Some(format!("pack: {err:#}"));
    }
    let layer = world.put(&tar);
    if let Some(what) = difference(&wanted, &tree::read(&root)) {
        return Some(format!("the container has changed: {what}"));
    }
    layers.push(layer);
    let top =
        layers.iter().fold(None, |below: Option<Digest>, layer| Some(digest::chain(below.as_ref(), &layer.diff_id)));
    let top = top.unwrap();
    driver.commit(ID, &top).unwrap();
    let (committed, view) = world.tree(layers);
    if let Some(what) = difference(&wanted, &committed) {
        return Some(format!("commit: {what}"));
    }
    let mut exported = Vec::new();
    pack::tree(view.as_fd(), &mut exported).unwrap();
    drop(view);
    if let Some(what) = difference(&wanted, &unpacked(&world.place.path().join("export"), &exported)) {
        return Some(format!("export: {what}"));
    }
    // the blob in the place of the commit, and in another driver's store
    driver.remove(&top).unwrap();
    other.put(&tar);
    for (what, world) in [("blob", world), ("blob on the other driver", other)] {
        if let Err(err) = world.store.unpack(layers, &|_, _| {}) {
            return Some(format!("{what}: {err:#}"));
        }
        if let Some(difference) = difference(&wanted, &world.tree(layers).0) {
            return Some(format!("{what}: {difference}"));
        }
    }
    None
}

/// Unpacks an exported tree into a directory that is removed again.
fn unpacked(dir: &Path, tar: &[u8]) -> Tree {
    fs::create_dir(dir).unwrap();
    let root = OwnedFd::from(fs::File::open(dir).unwrap());
    let blob = dir.with_extension("tar");
    fs::write(&blob, tar).unwrap();
    let target = Target { root, whiteouts: WhiteoutFormat::Delete, unprivileged: false };
    let media_type = Compression::None.media_type();
    layer::unpack(fs::File::open(&blob).unwrap(), media_type, &Digest::of(tar), &target, &Limits::default(), &|_| {})
        .unwrap();
    let found = tree::read(dir);
    fs::remove_dir_all(dir).unwrap();
    fs::remove_file(&blob).unwrap();
    found
}

/// Waits for the next tick of the clock of files on kernels before 6.13, where a change within one is not seen by its
/// time.
fn tick() {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (6u32, 13u32) {
        std::thread::sleep(Duration::from_millis(11));
    }
}

fn sequence(seed: u64) -> Sequence {
    let mut random = Random::new(seed);
    let containers = 1 + random.below(3);
    // the first one makes what the others change
    let count = |container, random: &mut Random| if container == 0 { 20 } else { 2 + random.below(14) };
    (0..containers)
        .map(|container| (0..count(container, &mut random)).map(|_| Operation::random(&mut random)).collect())
        .collect()
}

/// Removes operations and containers as long as the sequence fails.
fn shrunk(mut sequence: Sequence, fails: impl Fn(&Sequence) -> Option<String>) -> (Sequence, String) {
    let mut found = fails(&sequence).unwrap_or_default();
    loop {
        let mut shorter: Vec<Sequence> = Vec::new();
        for container in 0..sequence.len() {
            let mut less = sequence.clone();
            less.remove(container);
            shorter.push(less);
            for operation in 0..sequence[container].len() {
                let mut less = sequence.clone();
                less[container].remove(operation);
                shorter.push(less);
            }
        }
        let Some((less, what)) = shorter.into_iter().find_map(|less| fails(&less).map(|what| (less, what))) else {
            return (sequence, found);
        };
        (sequence, found) = (less, what);
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_sequences_give_the_same_tree_in_every_way() {
    let (count, first) = (number("SEQUENCES", 60), number("SEED", 1));
    // more than CPUs, because most of the time is that of synced disks
    let threads = 4;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let worlds = worlds();
                for seed in (first..first + count).filter(|seed| seed % threads == thread) {
                    let sequence = sequence(seed);
                    for (number, world) in worlds.iter().enumerate() {
                        let other = &worlds[(number + 1 + seed as usize % (worlds.len() - 1)) % worlds.len()];
                        if run(&sequence, world, other).is_none() {
                            continue;
                        }
                        let (sequence, what) = shrunk(sequence, |sequence| run(sequence, world, other));
                        let (name, other) = (&world.name, &other.name);
                        panic!("SEED={seed} over {name}, then {other}: {what}\nshortest: {sequence:#?}");
                    }
                }
            });
        }
    });
}
