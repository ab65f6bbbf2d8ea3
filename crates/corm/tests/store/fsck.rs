//! Damage of one kind in each test: `fsck` reports it and repairs it where possible, and changes nothing else.

use std::fs;
use std::path::PathBuf;

use corm::store::ImageRecord;
use corm::store::Problem;
use corm::store::Store;

use crate::images::{record, three_layers};
use crate::store::{container, over_all};
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
