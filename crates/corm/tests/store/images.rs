//! Small images of real layers for the tests.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;

use corm::build;
use corm::layer;
use corm::model::layer::Layer;
use corm::store::ImageRecord;
use corm::store::Store;
use oci_spec::image::{ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder};

use crate::store_fixture::Place;

pub(crate) const CREATED: &str = "2026-01-02T03:04:05Z";

/// Creates a layer of a directory.
pub(crate) fn of_tree(store: &Store, dir: &Path) -> Layer {
    let dir = fs::File::open(dir).unwrap();
    build::write_blob(store, |out| layer::pack::tree(dir.as_fd(), out)).unwrap().0
}

/// Creates a layer of files without entries for their directories.
pub(crate) fn of_files(store: &Store, files: &[(&str, &str)]) -> Layer {
    let write = |out: &mut dyn std::io::Write| {
        let mut tar = tar::Builder::new(out);
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o640);
            header.set_mtime(1_000_000_000);
            tar.append_data(&mut header, name, content.as_bytes())?;
        }
        Ok(tar.finish()?)
    };
    build::write_blob(store, write).unwrap().0
}

fn configuration() -> ImageConfiguration {
    let rootfs = RootFsBuilder::default().typ("layers").diff_ids(Vec::<String>::new()).build().unwrap();
    ImageConfigurationBuilder::default()
        .architecture("amd64")
        .os("linux")
        .created(CREATED)
        .rootfs(rootfs)
        .build()
        .unwrap()
}

/// Unpacks and records an image of these layers.
pub(crate) fn record(store: &Store, name: &str, layers: &[Layer]) -> ImageRecord {
    let _lock = store.shared().unwrap();
    let manifest = build::new_image(store, layers, configuration()).unwrap();
    store.unpack(layers, &|_, _| {}).unwrap();
    store.put_image(&manifest, &[name.to_owned()], None).unwrap()
}

/// Fills a directory with one file of each kind that layers have to treat specially.
pub(crate) fn fill(root: &Path) {
    fs::create_dir_all(root.join("etc/deep")).unwrap();
    fs::create_dir_all(root.join("opt/old")).unwrap();
    for number in 0..40 {
        fs::write(root.join(format!("etc/deep/file{number}")), vec![number; 1000 * usize::from(number)]).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(root.join("opt/old/gone"), "gone").unwrap();
    fs::write(root.join("opt/tool"), "tool").unwrap();
    fs::hard_link(root.join("opt/tool"), root.join("etc/same")).unwrap();
    symlink("../etc/passwd", root.join("opt/link")).unwrap();
    chown(root.join("etc/deep"), Some(7), Some(8)).unwrap();
    fs::set_permissions(root.join("etc/deep"), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).unwrap();
}

/// Creates three layers: a tree, files in directories that the layer does not name, deletions.
pub(crate) fn three_layers(place: &Place, store: &Store) -> Vec<Layer> {
    let source = place.path().join("source");
    if !source.exists() {
        fs::create_dir(&source).unwrap();
        fill(&source);
    }
    vec![
        of_tree(store, &source),
        of_files(store, &[("etc/deep/new", "new"), ("opt/old/.wh.gone", ""), ("opt/old/after", "after")]),
        of_files(store, &[("opt/.wh.tool", ""), ("etc/passwd", "other")]),
    ]
}
