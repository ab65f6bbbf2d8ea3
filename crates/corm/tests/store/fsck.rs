//! Damage of one kind in each test: `fsck` reports it and repairs it where possible, and changes nothing else.

use std::fs;
use std::path::PathBuf;

use corm::container::Purpose;
use corm::store::ImageRecord;
use corm::store::Problem;
use corm::store::Store;

use crate::images::{record, three_layers};
use crate::store::{container, container_for, over_all};
use crate::store_fixture::Place;

fn check(store: &Store, repair: bool) -> Vec<Problem> {
    store.check(repair, &store.exclusive().unwrap()).unwrap()
}

/// Damages a store with one image, and checks that `fsck` finds one problem with this text, and none after a repair.
fn case(place: &Place, store: &Store, words: &str, damage: impl FnOnce(&ImageRecord)) {
    let image = record(store, "good:latest", &three_layers(place, store));
    assert_eq!(check(store, false), []);
    damage(&image);
    let found = check(store, false);
    assert!(found.len() == 1 && found[0].what.contains(words) && found[0].repaired.is_none(), "{found:?}");
    let mended = check(store, true);
    assert!(mended.iter().all(|problem| problem.repaired.is_some()) && !mended.is_empty(), "{mended:?}");
    assert_eq!(check(store, false), []);
}

fn blob(store: &Store, digest: &corm::model::digest::Digest) -> PathBuf {
    store.root().join("blobs/sha256").join(digest.hex())
}

#[test]
fn a_damaged_layer_blob_removes_the_image() {
    over_all(|place, store| {
        case(place, store, "layer sha256:", |image| {
            fs::write(blob(store, &image.layers[1].blob), "damaged").unwrap();
        });
        assert_eq!(store.images().unwrap(), []);
        assert!(store.driver().layers().unwrap().is_empty());
        record(store, "good:latest", &three_layers(place, store));
        assert_eq!(check(store, false), []);
    });
}

#[test]
fn a_blob_that_is_a_symlink_is_no_blob() {
    over_all(|place, store| {
        case(place, store, "missing or damaged", |image| {
            let path = blob(store, &image.manifest);
            let elsewhere = place.path().join("elsewhere");
            fs::rename(&path, &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        });
    });
}

#[test]
fn a_missing_layer_is_unpacked_again() {
    over_all(|place, store| {
        case(place, store, "not all of its layers are unpacked", |image| {
            store.driver().remove(image.chain.as_ref().unwrap()).unwrap();
        });
        assert_eq!(store.images().unwrap().len(), 1);
    });
}

#[test]
fn a_damaged_record_is_removed_and_a_name_without_image_too() {
    over_all(|place, store| {
        case(place, store, "the record of image", |image| {
            fs::write(store.root().join(format!("images/{}.json", image.id.hex())), "{").unwrap();
        });
        case(place, store, "name good:latest", |image| {
            fs::remove_file(store.root().join(format!("images/{}.json", image.id.hex()))).unwrap();
        });
        assert!(store.find_image("good").is_err());
    });
}

#[test]
fn a_damaged_list_of_names_loses_names_and_no_image() {
    over_all(|place, store| {
        case(place, store, "names.json", |_| fs::write(store.root().join("names.json"), "[").unwrap());
        assert_eq!(store.images().unwrap()[0].names, Vec::<String>::new());
    });
}

#[test]
fn a_container_without_a_tree_is_removed() {
    over_all(|place, store| {
        case(place, store, "container c: its tree is missing", |image| {
            let container = container(store, "c", image);
            store.driver().destroy(&container.id).unwrap();
        });
        assert_eq!(store.containers().unwrap(), []);
    });
}

#[test]
fn what_a_container_needs_is_not_removed_with_its_damaged_image() {
    over_all(|place, store| {
        let image = record(store, "good:latest", &three_layers(place, store));
        let container = container(store, "c", &image);
        fs::write(blob(store, &image.layers[0].blob), "damaged").unwrap();
        let left = check(store, true);
        assert!(left.len() == 1 && left[0].what.contains("kept") && left[0].repaired.is_none(), "{left:?}");
        assert_eq!(store.containers().unwrap().len(), 1);
        assert_eq!(store.driver().containers().unwrap(), [container.id]);
        assert!(store.driver().has(image.chain.as_ref().unwrap()));
    });
}

#[test]
fn a_container_record_that_cannot_be_read_stops_every_removal() {
    over_all(|place, store| {
        let image = record(store, "good:latest", &three_layers(place, store));
        let container = container(store, "c", &image);
        fs::write(store.container_dir(&container.id).join("record.json"), "{").unwrap();
        let left = check(store, true);
        assert!(left.len() == 1 && left[0].repaired.is_none(), "{left:?}");
        assert!(store.collect().is_err());
        assert!(store.driver().has(image.chain.as_ref().unwrap()));
    });
}

#[test]
fn a_record_of_a_build_that_a_power_cut_has_emptied_is_none() {
    over_all(|place, store| {
        let image = record(store, "good:latest", &three_layers(place, store));
        let step = container_for(store, "c", &image, Purpose::Build);
        let file = fs::read_dir(store.container_dir(&step.id)).unwrap().map(|entry| entry.unwrap().path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|end| end == "json")).unwrap();
        assert_eq!(store.containers().unwrap(), [step]);
        fs::write(&file, "").unwrap();
        assert_eq!(store.containers().unwrap(), []);
        assert_eq!(check(store, false), []);
        store.collect().unwrap().unwrap();
        assert!(store.driver().containers().unwrap().is_empty() && !file.exists());
        assert!(store.driver().has(image.chain.as_ref().unwrap()));
    });
}

/// Returns a file with content in the unpacked tree of the image's first layer, or of its whole tree.
fn file_of_tree(store: &Store, image: &ImageRecord) -> PathBuf {
    let layer = if store.driver().keeps_each() { &image.chain_ids()[0] } else { image.chain.as_ref().unwrap() };
    let mut todo = vec![store.root().join("layers").join(layer.hex()).join("tree")];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_file() && meta.len() > 0 {
            return path;
        }
    }
    panic!("a file with content");
}

/// Empties a file of a tree, as a power cut does.
fn empty(store: &Store, file: &std::path::Path) {
    let top = file.ancestors().find(|path| path.file_name().is_some_and(|name| name == "tree")).unwrap();
    let read_only = |value: &str| {
        if store.driver().kind() == corm::driver::DriverKind::Btrfs {
            crate::store_fixture::run(
                std::process::Command::new("btrfs").args(["property", "set"]).arg(top).args(["ro", value]),
            );
        }
    };
    read_only("false");
    fs::File::options().write(true).open(file).unwrap().set_len(0).unwrap();
    read_only("true");
}

#[test]
fn a_file_that_is_empty_in_a_tree_is_found_and_the_layer_unpacked_again() {
    over_all(|place, store| {
        case(place, store, "its tree is damaged at", |image| empty(store, &file_of_tree(store, image)));
        let image = store.find_image("good").unwrap();
        assert!(file_of_tree(store, &image).metadata().unwrap().len() > 0);
    });
}

#[test]
fn a_damaged_tree_without_its_mark_is_not_used_and_a_whole_one_is_kept() {
    over_all(|place, store| {
        let layers = three_layers(place, store);
        let image = record(store, "good:latest", &layers);
        let marks = || -> Vec<PathBuf> {
            let layers = store.driver().layers().unwrap();
            layers.iter().map(|layer| store.root().join("layers").join(layer.hex()).join("durable")).collect()
        };
        assert!(!marks().is_empty() && marks().iter().all(|mark| mark.is_file()), "marked when it was recorded");
        let file = file_of_tree(store, &image);
        let before = file.metadata().unwrap();
        // a process that was killed before it had synced
        marks().iter().for_each(|mark| fs::remove_file(mark).unwrap());
        let again =
            Store::open(&corm::store::StoreOptions { root: Some(store.root().to_owned()), driver: None }).unwrap();
        again.unpack(&image.layers, &|_, _| {}).unwrap();
        again.sync().unwrap();
        assert!(marks().iter().all(|mark| mark.is_file()));
        let kept = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
        assert_eq!(kept, std::os::unix::fs::MetadataExt::ino(&before), "a tree that may be in use is not replaced");
        // a power cut
        marks().iter().for_each(|mark| fs::remove_file(mark).unwrap());
        empty(store, &file);
        let again =
            Store::open(&corm::store::StoreOptions { root: Some(store.root().to_owned()), driver: None }).unwrap();
        again.unpack(&image.layers, &|_, _| {}).unwrap();
        again.sync().unwrap();
        assert_eq!(file.metadata().unwrap().len(), before.len());
        assert_eq!(check(store, false), []);
    });
}

#[test]
fn a_damaged_blob_that_no_record_names_is_replaced() {
    over_all(|_, store| {
        let (digest, _) = store.put_blob(b"content").unwrap();
        fs::write(blob(store, &digest), b"").unwrap();
        store.put_blob(b"content").unwrap();
        assert_eq!(store.read_blob(&digest).unwrap(), b"content");
    });
}
