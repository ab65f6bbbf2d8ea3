//! The store's guarantees with every driver: images, names, locks, removal.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use corm::container::{Purpose, Setup};
use corm::driver::DriverKind;
use corm::driver::LayerFormat;
use corm::model::digest::Digest;
use corm::model::layer::Layer;
use corm::store::ContainerRecord;
use corm::store::Store;
use corm::store::StoreOptions;

use crate::images::{CREATED, of_files, record, three_layers};
use crate::store_fixture::{Disk, Place, drivers};

pub(crate) fn over_all(test: fn(&Place, &Store)) {
    for (kind, disk) in drivers() {
        let run = move || {
            let place = Place::new(disk);
            let store = place.store(kind);
            test(&place, &store);
        };
        assert!(std::thread::spawn(run).join().is_ok(), "over {kind} on {disk:?}");
    }
}

pub(crate) fn container(store: &Store, name: &str, image: &corm::store::ImageRecord) -> ContainerRecord {
    container_for(store, name, image, Purpose::Run)
}

/// Creates a container with this purpose.
pub(crate) fn container_for(
    store: &Store,
    name: &str,
    image: &corm::store::ImageRecord,
    purpose: Purpose,
) -> ContainerRecord {
    let id = store.new_id().unwrap();
    let _lock = store.shared().unwrap();
    let chain = if store.driver().keeps_each() { image.chain_ids() } else { image.chain.iter().cloned().collect() };
    store.driver().create(&id, &chain, true).unwrap();
    let record = ContainerRecord {
        bundle: store.container_dir(&id).join("bundle"),
        id,
        name: name.into(),
        image: image.id.clone(),
        image_name: image.names.first().cloned().unwrap_or_default(),
        chain: image.chain.clone(),
        command: vec!["true".into()],
        created: CREATED.into(),
        setup: Setup { purpose, ..Setup::default() },
    };
    store.put_container(&record).unwrap();
    record
}

fn nothing_in(store: &Store, dirs: &[&str]) {
    for dir in dirs {
        let left: Vec<_> = fs::read_dir(store.root().join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn an_image_of_three_layers_is_the_same_tree_with_every_driver() {
    over_all(|place, store| {
        let layers = three_layers(place, store);
        let image = record(store, "three:latest", &layers);
        assert_eq!(image.chain.as_ref(), image.chain_ids().last());
        let container = container(store, "c", &image);
        let root = store.driver().mount(&container.id, &place.mkdir("target")).unwrap();
        let meta = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
        // the second layer names neither etc/deep nor the root
        assert_eq!((meta("etc/deep").mode() & 0o7777, meta("etc/deep").uid()), (0o2750, 7));
        assert_eq!(meta("").mode() & 0o7777, 0o711);
        assert_eq!(fs::read(root.join("etc/deep/new")).unwrap(), b"new");
        assert_eq!(fs::read_dir(root.join("etc/deep")).unwrap().count(), 41);
        assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"other");
        assert!(!root.join("opt/tool").exists() && root.join("etc/same").exists());
        assert!(!root.join("opt/old/gone").exists());
        assert_eq!(fs::read_dir(root.join("opt")).unwrap().count(), 2, "old, link");
        assert_eq!(fs::read_dir(root.join("opt/old")).unwrap().count(), 1);
        // a layer is unpacked once: the second call has nothing to unpack
        store.unpack(&layers, &|_, _| panic!("unpacked again")).unwrap();
        store.driver().unmount(&container.id, &place.path().join("target")).unwrap();
    });
}

#[test]
fn eight_at_once_create_each_layer_once() {
    over_all(|place, store| {
        let layers = three_layers(place, store);
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let own = Store::open(&StoreOptions { root: Some(place.root()), driver: None }).unwrap();
                    barrier.wait();
                    let image = record(&own, "same:latest", &layers);
                    assert_eq!(image.names, ["same:latest"]);
                });
            }
        });
        assert_eq!(store.images().unwrap().len(), 1);
        nothing_in(store, &["tmp", "partial"]);
        assert_eq!(store.driver().layers().unwrap().len(), if store.driver().keeps_each() { 3 } else { 1 });
        assert!(store.check(false, &store.exclusive().unwrap()).unwrap().is_empty());
    });
}

#[test]
fn a_layer_that_differs_from_its_digest_leaves_nothing() {
    over_all(|place, store| {
        let mut layers = three_layers(place, store);
        layers[2].diff_id = Digest::of(b"something else");
        let err = store.unpack(&layers, &|_, _| {}).unwrap_err();
        assert!(format!("{err:#}").contains("its image has"), "{err:#}");
        nothing_in(store, &["tmp"]);
        store.collect().unwrap().unwrap();
        nothing_in(store, &["blobs/sha256"]);
        assert!(store.driver().layers().unwrap().is_empty());
    });
}

fn plain() -> (Place, Store) {
    let place = Place::new(Disk::Tmpfs);
    let store = place.store(DriverKind::Copy);
    (place, store)
}

fn small(store: &Store, content: &str) -> Vec<Layer> {
    vec![of_files(store, &[("file", content)])]
}

#[test]
fn a_name_moves_at_once_and_the_image_that_had_it_stays() {
    let (_place, store) = plain();
    let old = record(&store, "web:latest", &small(&store, "old"));
    let new = record(&store, "web:latest", &small(&store, "new"));
    assert_ne!(old.id, new.id);
    assert_eq!(store.find_image("web").unwrap().id, new.id);
    assert_eq!(store.find_image(old.id.hex()).unwrap().names, Vec::<String>::new());
    store.tag(&old.id, "web:1").unwrap();
    assert_eq!(store.find_image("web:1").unwrap().id, old.id);
    assert_eq!(store.images().unwrap().len(), 2);
    store.untag("web:1").unwrap();
    let err = store.find_image("web:1").unwrap_err().to_string();
    assert_eq!(err, "No image named 'web:1' exists (did you mean 'web'?)");
    assert_eq!(store.untag("web:1").unwrap_err().to_string(), "No image named 'web:1' exists");
}

#[test]
fn an_image_is_found_by_name_id_prefix_and_digest() {
    let (_place, store) = plain();
    let image = record(&store, "docker.io/library/busybox:latest", &small(&store, "x"));
    let hex = image.id.hex();
    let by_digest = format!("busybox@{}", image.manifest);
    for text in
        ["busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox", hex, &hex[..6], &by_digest]
    {
        assert_eq!(store.find_image(text).unwrap().id, image.id, "{text}");
    }
    assert_eq!(store.find_image(&image.id.to_string()).unwrap().id, image.id);
    let missing = format!("busybox@{}", image.id);
    for text in ["", "busy", "busybox:1", "other", "zz", &missing] {
        let err = store.find_image(text).unwrap_err();
        assert!(err.to_string().starts_with(&format!("No image named '{text}' exists")), "{err}");
    }
}

#[test]
fn a_beginning_that_several_share_names_none() {
    let (_place, store) = plain();
    let mut first = std::collections::BTreeSet::new();
    let mut number = 0;
    let shared = loop {
        let image = record(&store, &format!("n{number}:latest"), &small(&store, &number.to_string()));
        let digit = image.id.hex()[..1].to_owned();
        if !first.insert(digit.clone()) {
            break digit;
        }
        number += 1;
    };
    let err = store.find_image(&shared).unwrap_err().to_string();
    assert!(err.starts_with("several images"), "{err}");
}

#[test]
fn an_image_in_use_stays_and_is_removed_with_its_layers_afterwards() {
    over_all(|place, store| {
        let image = record(store, "used:latest", &three_layers(place, store));
        let container = container(store, "user", &image);
        let err = store.remove_image(&image.id).unwrap_err().to_string();
        assert!(err.contains("in use by user"), "{err}");
        store.collect().unwrap().unwrap();
        assert!(store.driver().has(image.chain.as_ref().unwrap()));
        assert!(store.remove_container(&container.id).unwrap());
        assert!(!store.remove_container(&container.id).unwrap(), "nothing of it is there any more");
        store.remove_image(&image.id).unwrap();
        let freed = store.collect().unwrap().unwrap();
        assert_eq!(freed.blobs, 5, "manifest, configuration, three layers");
        nothing_in(store, &["blobs/sha256", "images", "containers", "trees", "tmp"]);
        assert!(store.driver().layers().unwrap().is_empty());
    });
}

#[test]
fn nothing_is_collected_while_another_process_adds() {
    let (_place, store) = plain();
    let adding = store.shared().unwrap();
    store.put_blob(b"not yet named by a record").unwrap();
    assert_eq!(store.collect().unwrap(), None);
    drop(adding);
    assert_eq!(store.collect().unwrap().unwrap().blobs, 1);
}

#[test]
fn names_of_containers_are_unique_and_ids_are_found_by_their_beginning() {
    let (_place, store) = plain();
    let image = record(&store, "i:latest", &small(&store, "x"));
    let first = container(&store, "one", &image);
    let mut second = first.clone();
    second.id = store.new_id().unwrap();
    let err = store.put_container(&second).unwrap_err().to_string();
    assert_eq!(err, "a container named 'one' exists already");
    second.name = "two".into();
    store.put_container(&second).unwrap();
    assert_eq!(store.find_container("two").unwrap(), second);
    assert_eq!(store.find_container(&first.id[..16]).unwrap(), first);
    for name in ["", "three"] {
        let err = store.find_container(name).unwrap_err().to_string();
        assert!(err.starts_with(&format!("No container named '{name}' exists")), "{err}");
    }
    second.id = "../escape".into();
    assert!(store.put_container(&second).unwrap_err().to_string().contains("digits"));
    assert_eq!(store.containers().unwrap().len(), 2);
}

#[test]
fn a_download_is_continued_where_it_ended_and_a_wrong_one_is_removed() {
    let (_place, store) = plain();
    let digest = Digest::of(b"whole content");
    let mut partial = store.partial(&digest).unwrap();
    partial.write_all(b"whole ").unwrap();
    drop(partial);
    let mut partial = store.partial(&digest).unwrap();
    assert_eq!(partial.len(), 6);
    partial.write_all(b"content").unwrap();
    assert_eq!(partial.commit(Some(13)).unwrap(), (digest.clone(), 13));
    assert_eq!(store.has_blob(&digest), Some(13));
    let other = Digest::of(b"other");
    let mut partial = store.partial(&other).unwrap();
    partial.write_all(b"wrong").unwrap();
    assert!(partial.commit(None).is_err());
    assert_eq!(store.has_blob(&other), None);
    assert!(store.partial(&other).unwrap().is_empty());
}

#[test]
fn a_second_request_for_a_download_waits_and_finds_it_complete() {
    let (place, store) = plain();
    let digest = Digest::of(b"blob");
    let mut partial = store.partial(&digest).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let own = place.store(DriverKind::Copy);
            let partial = own.partial(&digest).unwrap();
            let there = own.has_blob(&digest);
            partial.discard();
            there
        });
        // waits until `/proc/locks` shows that the other thread waits for the lock
        let inode = fs::metadata(place.root().join("partial").join(digest.hex())).unwrap().ino().to_string();
        crate::wait_until(|| {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("->") && line.contains(&format!(":{inode} ")))
        });
        partial.write_all(b"blob").unwrap();
        partial.commit(None).unwrap();
        assert_eq!(waiting.join().unwrap(), Some(4));
    });
    nothing_in(&store, &["partial"]);
}

#[test]
fn a_store_has_one_driver_and_one_owner() {
    let (place, store) = plain();
    drop(store);
    let open = |driver| Store::open(&StoreOptions { root: Some(place.root()), driver });
    assert_eq!(open(None).unwrap().driver().kind(), DriverKind::Copy);
    let err = open(Some(DriverKind::Overlay)).err().unwrap().to_string();
    assert!(err.contains("driver copy, not overlay"), "{err}");
    fs::write(place.root().join("store.json"), r#"{"format":2,"driver":"copy"}"#).unwrap();
    let err = open(None).err().unwrap().to_string();
    assert!(err.contains("format 2"), "{err}");
    fs::write(place.root().join("store.json"), r#"{"format":1,"driver":"copy"}"#).unwrap();
    std::os::unix::fs::chown(place.root(), Some(1234), None).unwrap();
    let err = open(None).err().unwrap().to_string();
    assert!(err.contains("belongs to user 1234"), "{err}");
}

#[test]
fn a_store_that_others_may_write_is_refused() {
    let (place, store) = plain();
    drop(store);
    let open = || Store::open(&StoreOptions { root: Some(place.root()), driver: None });
    let refused = |path: &Path, wanted: &str| {
        let err = open().err().unwrap().to_string();
        assert!(err.contains(&format!("{path:?}")) && err.contains(wanted), "{err}");
    };
    for below in ["", "containers", "images", "layers", "trees", "blobs/sha256", "tmp"] {
        let dir = if below.is_empty() { place.root() } else { place.root().join(below) };
        for mode in [0o777, 0o1777, 0o720] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
            refused(&dir, "others may write");
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        open().unwrap();
        std::os::unix::fs::chown(&dir, Some(1234), None).unwrap();
        refused(&dir, "belongs to user 1234");
        std::os::unix::fs::chown(&dir, Some(0), None).unwrap();
    }
    // a store.json that others may have written is not read
    fs::write(place.root().join("store.json"), "nonsense").unwrap();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o777)).unwrap();
    refused(&place.root(), "others may write");
}

#[test]
fn the_best_driver_that_works_is_chosen() {
    for (disk, wanted) in [(Disk::Btrfs, DriverKind::Btrfs), (Disk::Tmpfs, DriverKind::Overlay)] {
        if !drivers().iter().any(|(kind, _)| *kind == wanted) {
            continue;
        }
        let place = Place::new(disk);
        let open = |root: &str, driver| Store::open(&StoreOptions { root: Some(place.path().join(root)), driver });
        assert_eq!(open("auto", None).unwrap().driver().kind(), wanted);
        if disk == Disk::Tmpfs {
            let err = format!("{:#}", open("wanted", Some(DriverKind::Btrfs)).err().unwrap());
            assert!(err.contains("not on btrfs") && err.contains("here work: overlay"), "{err}");
        }
    }
}

#[test]
fn opening_takes_less_than_a_millisecond() {
    for (kind, disk) in drivers() {
        let run = move || {
            let place = Place::new(disk);
            drop(place.store(kind));
            let best = (0..50).map(|_| {
                let start = std::time::Instant::now();
                drop(place.store(kind));
                start.elapsed()
            });
            assert!(best.min().unwrap() < Duration::from_millis(1), "{kind}");
        };
        std::thread::spawn(run).join().unwrap();
    }
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_left_on_it() {
    for (kind, disk) in drivers() {
        let run = move || {
            let place = Place::of_size(disk, 192);
            let store = place.store(kind);
            let text = "x".repeat(1 << 20);
            let names: Vec<String> = (0..24).map(|number| format!("file{number}")).collect();
            let files: Vec<(&str, &str)> = names.iter().map(|name| (&**name, &*text)).collect();
            let layers = vec![of_files(&store, &files)];
            let ballast = place.path().join("ballast");
            fill_all_but(&ballast, 8 << 20);
            let err = format!("{:#}", store.unpack(&layers, &|_, _| {}).unwrap_err());
            assert!(err.contains("No space left"), "{err}");
            nothing_in(&store, &["tmp"]);
            fs::remove_file(ballast).unwrap();
            record(&store, "fits:latest", &layers);
            assert!(store.check(false, &store.exclusive().unwrap()).unwrap().is_empty());
        };
        assert!(std::thread::spawn(run).join().is_ok(), "over {kind} on {disk:?}");
    }
}

/// Fills the file system with a file, and then truncates that by `left` bytes.
fn fill_all_but(path: &std::path::Path, left: u64) {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![1; 1 << 20];
    while file.write_all(&block).is_ok() {}
    file.sync_all().unwrap();
    file.set_len(file.metadata().unwrap().len() - left).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_read_only_store_can_be_read_and_writing_is_an_error() {
    let (place, store) = plain();
    let image = record(&store, "i:latest", &small(&store, "x"));
    let remount = nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
    nix::mount::mount(None::<&str>, &place.path(), None::<&str>, remount, None::<&str>).unwrap();
    let store = Store::open(&StoreOptions { root: Some(place.root()), driver: None }).unwrap();
    assert_eq!(store.find_image("i").unwrap().id, image.id);
    let err = format!("{:#}", store.tag(&image.id, "j:latest").unwrap_err());
    assert!(err.contains("Read-only file system"), "{err}");
    let none = StoreOptions { root: Some(place.path().join("none")), driver: None };
    let err = format!("{:#}", Store::open(&none).err().unwrap());
    assert!(err.contains("Read-only file system") && err.contains("--root"), "{err}");
}

#[test]
fn deltas_are_unpacked_in_parallel_and_trees_in_turn() {
    over_all(|place, store| {
        let layers = three_layers(place, store);
        let seen = std::sync::Mutex::new(std::collections::BTreeMap::<usize, u64>::new());
        store.unpack(&layers, &|layer, bytes| *seen.lock().unwrap().entry(layer).or_default() += bytes).unwrap();
        let seen = seen.into_inner().unwrap();
        let sizes: Vec<u64> = layers.iter().map(|layer| store.has_blob(&layer.blob).unwrap()).collect();
        assert_eq!(seen.into_values().collect::<Vec<_>>(), sizes, "progress of all of each blob");
        assert!(store.driver().form() == LayerFormat::Tree || store.driver().keeps_each());
    });
}
