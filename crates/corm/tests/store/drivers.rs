//! The behaviour that all drivers share: the same tests with btrfs, overlay, aufs and copy.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use corm::driver::Driver;
use corm::driver::DriverKind;
use corm::driver::LayerFormat;
use corm::driver::Tree;
use corm::model::change::Change;
use corm::model::change::ChangeKind;
use corm::model::digest::Digest;
use corm::store::Store;

use crate::store_fixture::{Place, drivers};

const ID: &str = "c0ffee0000000000000000000000000000000000000000000000000000000000";

/// Runs a test with all drivers, each in a thread with a mount namespace of its own.
fn over_all(test: fn(&Place, &Store)) {
    for (kind, disk) in drivers() {
        let run = move || {
            let place = Place::new(disk);
            let store = place.store(kind);
            test(&place, &store);
        };
        let result = std::thread::spawn(run).join();
        assert!(result.is_ok(), "over {kind} on {disk:?}");
    }
}

fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/.", fd.as_raw_fd()))
}

fn layer(driver: &dyn Driver, below: &[Digest], name: &str, fill: impl FnOnce(&Path)) -> Digest {
    let building = driver.begin(below.last()).unwrap();
    let root = building.root().unwrap();
    fill(&path_of(&root));
    drop(root);
    let id = Digest::of(name.as_bytes());
    building.finish(&id).unwrap();
    id
}

/// Creates the layer that most tests begin with.
fn base(driver: &dyn Driver) -> Digest {
    layer(driver, &[], "base", |root| {
        fs::set_permissions(root, fs::Permissions::from_mode(0o751)).unwrap();
        for dir in ["etc", "etc/deep", "etc/deep/er", "opt", "empty"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        for (file, text) in [("etc/passwd", "root"), ("etc/deep/a", "a"), ("etc/deep/er/b", "b"), ("opt/tool", "#!")] {
            fs::write(root.join(file), text).unwrap();
        }
        fs::hard_link(root.join("opt/tool"), root.join("opt/same")).unwrap();
        symlink("etc/passwd", root.join("link")).unwrap();
        chown(root.join("opt"), Some(12), Some(34)).unwrap();
        // sets old times, as layers have, so that a change within the same tick of the clock is found
        for name in ["etc/deep/er", "etc/deep", "etc", "opt", "empty", "etc/passwd", ""] {
            let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            fs::File::open(root.join(name)).unwrap().set_modified(old).unwrap();
        }
    })
}

/// Creates a container on this chain, mounts it and returns its path.
fn container(place: &Place, driver: &dyn Driver, chain: &[Digest]) -> PathBuf {
    driver.create(ID, chain, true).unwrap();
    driver.mount(ID, &place.mkdir("target")).unwrap()
}

fn lines(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| format!("{} {}", change.kind.letter(), change.path.display())).collect()
}

fn changes(store: &Store) -> Vec<String> {
    lines(&store.driver().changes(ID).unwrap().1)
}

/// Returns the paths below a directory, each with a description of its type, metadata and content.
fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else if meta.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else {
            format!("device {}", meta.rdev())
        };
        let facts = format!(
            "{:o} {}:{} {}.{} {content:?}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        all.insert(path.strip_prefix(root).unwrap().to_owned(), facts);
    }
    all
}

#[test]
fn a_container_shows_its_chain_and_changes_nothing_of_it() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        let root = container(place, driver, std::slice::from_ref(&base));
        let view = driver.view(std::slice::from_ref(&base)).unwrap();
        let before = listing(&path_of(&view.root().unwrap()));
        assert_eq!(listing(&root), before);
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o751, "the root's own mode");
        assert_eq!(fs::metadata(root.join("opt")).unwrap().uid(), 12);
        assert_eq!(changes(store), Vec::<String>::new());
        fs::write(root.join("etc/passwd"), "changed").unwrap();
        fs::remove_dir_all(root.join("opt")).unwrap();
        assert_eq!(listing(&path_of(&view.root().unwrap())), before);
    });
}

#[test]
fn every_driver_lists_the_same_changes() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        let root = container(place, driver, &[base]);
        fs::write(root.join("etc/passwd"), "changed").unwrap();
        fs::write(root.join("etc/new"), "new").unwrap();
        fs::remove_file(root.join("etc/deep/a")).unwrap();
        fs::remove_dir_all(root.join("opt")).unwrap();
        // replaces a file by a directory, a directory by a file, and a directory by another
        fs::remove_file(root.join("link")).unwrap();
        fs::create_dir(root.join("link")).unwrap();
        fs::write(root.join("link/inside"), "").unwrap();
        fs::remove_dir(root.join("empty")).unwrap();
        fs::write(root.join("empty"), "now a file").unwrap();
        fs::remove_dir_all(root.join("etc/deep/er")).unwrap();
        fs::create_dir(root.join("etc/deep/er")).unwrap();
        fs::write(root.join("etc/deep/er/c"), "c").unwrap();
        let wanted = [
            "C ",
            "D empty",
            "A empty",
            "C etc",
            "C etc/deep",
            "D etc/deep/a",
            "C etc/deep/er",
            "D etc/deep/er/b",
            "A etc/deep/er/c",
            "A etc/new",
            "C etc/passwd",
            "D link",
            "A link",
            "A link/inside",
            "D opt",
        ];
        assert_eq!(changes(store), wanted);
        let (content, _) = driver.changes(ID).unwrap();
        assert_eq!(fs::read(path_of(&content).join("etc/new")).unwrap(), b"new");
    });
}

#[test]
fn a_directory_in_a_new_one_shows_nothing_of_the_lower_one_of_its_name() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        let root = container(place, driver, &[base]);
        fs::remove_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(root.join("etc/deep/er")).unwrap();
        let wanted = ["C ", "C etc", "C etc/deep", "D etc/deep/a", "C etc/deep/er", "D etc/deep/er/b", "D etc/passwd"];
        assert_eq!(changes(store), wanted);
    });
}

#[test]
fn a_file_that_only_lost_a_permission_is_changed_and_its_directory_is_not() {
    over_all(|place, store| {
        let base = base(store.driver());
        let root = container(place, store.driver(), &[base]);
        fs::set_permissions(root.join("etc/deep/er/b"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut changed = changes(store);
        if store.driver().kind() == DriverKind::Aufs {
            // copying up changes the times of the directories above
            changed.retain(|line| !["C ", "C etc", "C etc/deep", "C etc/deep/er"].contains(&line.as_str()));
        }
        assert_eq!(changed, ["C etc/deep/er/b"]);
    });
}

#[test]
fn a_commit_is_the_tree_of_its_time_and_the_container_continues() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        let root = container(place, driver, std::slice::from_ref(&base));
        fs::write(root.join("etc/passwd"), "changed").unwrap();
        fs::remove_dir_all(root.join("etc/deep/er")).unwrap();
        fs::create_dir(root.join("etc/deep/er")).unwrap();
        fs::remove_file(root.join("opt/tool")).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let was = listing(&root);
        let top = Digest::of(b"top");
        driver.commit(ID, &top).unwrap();
        fs::write(root.join("etc/later"), "not part of it").unwrap();
        let chain = if driver.keeps_each() { vec![base, top.clone()] } else { vec![top.clone()] };
        let view = driver.view(&chain).unwrap();
        assert_eq!(listing(&path_of(&view.root().unwrap())), was);
        assert!(fs::symlink_metadata(root.join("fifo")).unwrap().file_type().is_fifo());
        assert!(driver.has(&top));
    });
}

#[test]
fn a_layer_deletes_what_the_one_below_has() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        // with whiteouts in the driver's own form, as a container leaves them
        let root = container(place, driver, std::slice::from_ref(&base));
        fs::remove_dir_all(root.join("etc")).unwrap();
        fs::remove_file(root.join("opt/tool")).unwrap();
        let second = Digest::of(b"second");
        driver.commit(ID, &second).unwrap();
        driver.unmount(ID, &place.path().join("target")).unwrap();
        driver.destroy(ID).unwrap();
        let chain = if driver.keeps_each() { vec![base, second] } else { vec![second] };
        let root = container(place, driver, &chain);
        let names: Vec<PathBuf> = listing(&root).into_keys().collect();
        assert_eq!(names, ["", "empty", "link", "opt", "opt/same"].map(PathBuf::from));
        fs::create_dir(root.join("etc")).unwrap();
        assert_eq!(changes(store), ["C ", "A etc"]);
    });
}

#[test]
fn an_unfinished_layer_is_removed_and_the_first_of_two_stays() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        let building = driver.begin(Some(&base)).unwrap();
        fs::write(path_of(&building.root().unwrap()).join("half"), "").unwrap();
        drop(building);
        assert_eq!(driver.layers().unwrap(), std::slice::from_ref(&base));
        assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
        // creates the same layer twice
        layer(driver, &[], "base", |root| fs::write(root.join("second"), "").unwrap());
        let view = driver.view(&[base]).unwrap();
        assert!(!path_of(&view.root().unwrap()).join("second").exists());
        assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
        let _ = place;
    });
}

#[test]
fn a_destroyed_container_leaves_nothing_and_a_removed_layer_neither() {
    over_all(|place, store| {
        let driver = store.driver();
        let base = base(driver);
        let root = container(place, driver, std::slice::from_ref(&base));
        // files that are hard to remove: a deep tree, an immutable file, a directory without permissions
        let mut deep = root.join("deep");
        for _ in 0..300 {
            fs::create_dir(&deep).unwrap();
            deep.push("d");
        }
        fs::write(root.join("stone"), "").unwrap();
        let _ = std::process::Command::new("chattr").arg("+i").arg(root.join("stone")).output();
        fs::create_dir(root.join("closed")).unwrap();
        fs::write(root.join("closed/file"), "").unwrap();
        fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
        assert!(driver.usage(Tree::Container(ID)).unwrap() > 0 || driver.form() == LayerFormat::Tree);
        driver.unmount(ID, &place.path().join("target")).unwrap();
        driver.unmount(ID, &place.path().join("target")).unwrap();
        assert_eq!(driver.containers().unwrap(), [ID]);
        driver.destroy(ID).unwrap();
        driver.destroy(ID).unwrap();
        assert_eq!(driver.containers().unwrap(), Vec::<String>::new());
        driver.remove(&base).unwrap();
        assert!(!driver.has(&base));
        assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
    });
}

#[test]
fn a_container_without_layers_is_an_empty_tree() {
    over_all(|place, store| {
        let root = container(place, store.driver(), &[]);
        assert_eq!(listing(&root).len(), 1);
        fs::write(root.join("file"), "").unwrap();
        assert_eq!(lines(&store.driver().changes(ID).unwrap().1).last().unwrap(), "A file");
    });
}

#[test]
fn an_existing_mount_is_not_mounted_again() {
    over_all(|place, store| {
        let base = base(store.driver());
        let root = container(place, store.driver(), &[base]);
        fs::write(root.join("mark"), "").unwrap();
        let again = store.driver().mount(ID, &place.path().join("target")).unwrap();
        assert!(again.join("mark").exists());
        store.driver().unmount(ID, &place.path().join("target")).unwrap();
        if store.driver().form() == LayerFormat::Delta {
            assert_eq!(fs::read_dir(place.path().join("target")).unwrap().count(), 0, "mounted once only");
        }
    });
}

#[test]
fn many_layers_are_one_tree() {
    over_all(|place, store| {
        let driver = store.driver();
        if !driver.keeps_each() {
            return;
        }
        // more than fit in one page of mount options; aufs joins 127 branches
        let count = if driver.kind() == DriverKind::Aufs { 120 } else { 200 };
        let mut chain = Vec::new();
        for number in 0..count {
            let id = layer(driver, &chain, &format!("layer {number}"), |root| {
                fs::write(root.join(format!("file{number}")), number.to_string()).unwrap();
                fs::write(root.join("last"), number.to_string()).unwrap();
            });
            chain.push(id);
        }
        let root = container(place, driver, &chain);
        assert_eq!(fs::read_dir(&root).unwrap().count(), count + 1);
        assert_eq!(fs::read(root.join("last")).unwrap(), (count - 1).to_string().as_bytes());
        assert_eq!(fs::read(root.join("file0")).unwrap(), b"0");
    });
}

#[test]
fn more_layers_than_overlay_joins_are_refused_with_the_number() {
    let Some((kind, disk)) = drivers().into_iter().find(|(kind, _)| *kind == DriverKind::Overlay) else { return };
    let place = Place::new(disk);
    let store = place.store(kind);
    let base = base(store.driver());
    let chain = vec![base; 501];
    let err = store.driver().view(&chain).err().unwrap();
    assert!(err.to_string().contains("501 layers"), "{err:#}");
}

#[test]
fn btrfs_keeps_what_a_container_put_into_subvolumes_of_its_own() {
    let Some((kind, disk)) = drivers().into_iter().find(|(kind, _)| *kind == DriverKind::Btrfs) else { return };
    let place = Place::new(disk);
    let store = place.store(kind);
    let driver = store.driver();
    let base = base(driver);
    let root = container(&place, driver, std::slice::from_ref(&base));
    for sub in ["opt/sub", "opt/sub/inner"] {
        crate::store_fixture::run(
            std::process::Command::new("btrfs").args(["subvolume", "create"]).arg(root.join(sub)),
        );
        fs::write(root.join(sub).join("file"), sub).unwrap();
    }
    assert!(changes(&store).contains(&"A opt/sub/inner/file".to_owned()), "{:?}", changes(&store));
    let was = listing(&root);
    let top = Digest::of(b"top");
    driver.commit(ID, &top).unwrap();
    let view = driver.view(&[base, top]).unwrap();
    assert_eq!(listing(&path_of(&view.root().unwrap())), was);
    driver.destroy(ID).unwrap();
    assert_eq!(fs::read_dir(store.tmp()).unwrap().count(), 0);
}

#[test]
fn kinds_of_changes_have_letters() {
    assert_eq!([ChangeKind::Added, ChangeKind::Changed, ChangeKind::Deleted].map(ChangeKind::letter), ['A', 'C', 'D']);
}
