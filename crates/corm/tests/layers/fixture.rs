//! A store, files outside of it that no layer may change, and the check of tables of archives with the expected
//! results.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use corm::driver::DriverKind;
use corm::layer::Compression;
use corm::model::digest::Digest;
use corm::model::layer::Layer;
use corm::store::Store;

use crate::store_fixture::{Place, drivers};
use crate::umoci;
use test_support::tree;

/// The expected result of unpacking an image.
pub(crate) enum Want<'a> {
    /// A tree: for each question the answer of [`fact`].
    Tree(&'a [(&'a str, &'a str)]),
    /// An error whose text contains all of these.
    Error(&'a [&'a str]),
}

/// An image and the expected result of unpacking it.
pub(crate) struct Case<'a> {
    pub name: &'a str,
    /// The image's layers, lowest first, as uncompressed tars.
    pub layers: Vec<Vec<u8>>,
    pub want: Want<'a>,
}

pub(crate) fn case<'a>(name: &'a str, layers: Vec<Vec<u8>>, want: Want<'a>) -> Case<'a> {
    Case { name, layers, want }
}

/// The store of one driver.
pub(crate) struct StoreFixture {
    pub place: Place,
    pub store: Store,
}

impl StoreFixture {
    /// Returns the path of the directory outside the store that archives try to change; it is the same for every
    /// driver.
    pub(crate) fn outside() -> PathBuf {
        std::env::temp_dir().join(format!("corm-outside-{}", std::process::id()))
    }

    /// Puts an uncompressed layer into the store.
    pub(crate) fn layer(&self, tar: &[u8]) -> Layer {
        self.blob(tar, Compression::None, &Digest::of(tar))
    }

    pub(crate) fn blob(&self, blob: &[u8], how: Compression, diff_id: &Digest) -> Layer {
        let (blob, _) = self.store.put_blob(blob).unwrap();
        Layer { blob, media_type: how.media_type().to_owned(), diff_id: diff_id.clone() }
    }

    /// Unpacks an image. Returns the error as corm prints it.
    pub(crate) fn unpack(&self, layers: &[Layer]) -> Result<(), String> {
        let started = Instant::now();
        let result = self.store.unpack(layers, &|_, _| {});
        assert!(started.elapsed() < test_support::patience(), "took {:?}", started.elapsed());
        result.map(drop).map_err(|err| base::error::describe(&err))
    }

    /// Calls `look` with the root of an unpacked image.
    pub(crate) fn look<T>(&self, layers: &[Layer], look: impl FnOnce(&Path) -> T) -> T {
        let mut chain: Vec<Digest> = Vec::new();
        for layer in layers {
            chain.push(corm::model::digest::chain(chain.last(), &layer.diff_id));
        }
        let driver = self.store.driver();
        let chain = if driver.keeps_each() { chain } else { chain.split_off(chain.len().saturating_sub(1)) };
        let view = driver.view(&chain).unwrap();
        let root = view.root().unwrap();
        look(&PathBuf::from(format!("/proc/self/fd/{}/.", root.as_raw_fd())))
    }
}

/// Runs a test with every driver, each in a thread with a mount namespace of its own, and checks that nothing outside
/// the store has changed.
pub(crate) fn over_all(test: impl Fn(&StoreFixture) + Send + Sync) {
    let outside = Outside::new();
    for (kind, disk) in drivers() {
        let before = outside.read();
        let test = &test;
        let passed = std::thread::scope(|scope| {
            let run = scope.spawn(move || {
                let place = Place::new(disk);
                let store = place.store(kind);
                let fixture = StoreFixture { place, store };
                test(&fixture);
                fixture.check_store();
            });
            run.join().is_ok()
        });
        assert!(passed, "over {kind} on {disk:?}");
        tree::assert_same(&before, &outside.read());
    }
}

impl StoreFixture {
    /// Checks that no unfinished layer is left, and that no archive has created a file beside the trees of layers.
    fn check_store(&self) {
        for (dir, wanted) in [("tmp", 0), ("trees", 0)] {
            let names: Vec<_> = fs::read_dir(self.store.root().join(dir)).unwrap().map(|e| e.unwrap().path()).collect();
            assert_eq!(names.len(), wanted, "left in {dir}: {names:?}");
        }
        let top: Vec<_> = fs::read_dir(self.store.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
        for name in top {
            let name = name.to_string_lossy().into_owned();
            assert!(!name.contains("pwned"), "{name} beside the store's own");
        }
        assert!(!Path::new("/pwned").exists());
        assert!(!self.place.path().join("pwned").exists());
    }
}

/// The directory outside the store, with a file of each kind that a layer could damage. All tests of this process share
/// it: the first creates it, the last to end removes it.
pub(crate) struct Outside(PathBuf);

/// The number of tests that use the directory outside.
static USERS: Mutex<u32> = Mutex::new(0);

impl Outside {
    pub(crate) fn new() -> Outside {
        let outside = StoreFixture::outside();
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        if *users == 0 {
            fs::create_dir_all(outside.join("dir")).unwrap();
            fs::write(outside.join("secret"), "secret").unwrap();
            fs::write(outside.join("dir/inside"), "inside").unwrap();
            fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o640)).unwrap();
        }
        *users += 1;
        Outside(outside)
    }

    pub(crate) fn read(&self) -> tree::Tree {
        tree::read(&self.0)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        *users -= 1;
        if *users == 0 {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Checks a table of images with every driver. An image that umoci unpacks, too, is the same tree on all of them.
pub(crate) fn check(cases: &[Case<'_>]) {
    let umoci = umoci::is_installed();
    let wanted = |case: &Case<'_>| umoci && matches!(case.want, Want::Tree(_));
    let theirs: Vec<_> =
        cases.iter().map(|case| wanted(case).then(|| umoci::tree_of(&case.layers).ok()).flatten()).collect();
    over_all(|fixture| {
        for (case, theirs) in cases.iter().zip(&theirs) {
            fixture.check_case(case, theirs.as_ref());
        }
    });
}

impl StoreFixture {
    fn check_case(&self, case: &Case<'_>, theirs: Option<&tree::Tree>) {
        let layers: Vec<Layer> = case.layers.iter().map(|tar| self.layer(tar)).collect();
        let result = self.unpack(&layers);
        match (&case.want, result) {
            (Want::Tree(facts), Ok(())) => self.look(&layers, |root| {
                for (path, wanted) in *facts {
                    // aufs itself: a link into a layer below is a file of its own
                    if path.ends_with("?links") && self.store.driver().kind() == DriverKind::Aufs {
                        continue;
                    }
                    assert_eq!(fact(root, path), *wanted, "{}: {path}", case.name);
                }
                if let Some(theirs) = theirs {
                    umoci::assert_same(case.name, theirs, root, self.store.driver().kind());
                }
            }),
            (Want::Error(parts), Err(text)) => {
                for part in *parts {
                    assert!(text.contains(part), "{}: {part:?} is not in {text:?}", case.name);
                }
                assert!(!text.contains('\n') && text.len() < 600, "{}: {text:?}", case.name);
                // no unfinished layer can be used
                let top = layers.iter().fold(None, |below: Option<Digest>, layer| {
                    Some(corm::model::digest::chain(below.as_ref(), &layer.diff_id))
                });
                assert!(!self.store.driver().has(&top.unwrap()), "{}: the layer is there", case.name);
            }
            (Want::Tree(_), Err(text)) => panic!("{}: {text}", case.name),
            (Want::Error(_), Ok(())) => panic!("{}: was applied", case.name),
        }
    }
}

/// Describes the file at a path: `none`, `file CONTENT`, `dir`, `link TARGET`, `fifo`, `char 1:3`, `block 8:0`; after a
/// blank and `@`, the property that follows the path and a question mark: `mode`, `owner`, `mtime`, `xattrs`, `links`.
pub(crate) fn fact(root: &Path, question: &str) -> String {
    let (path, attribute) = question.split_once('?').unwrap_or((question, ""));
    let at = root.join(path);
    let Ok(meta) = fs::symlink_metadata(&at) else { return "none".into() };
    let time = || format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
    match attribute {
        "" => {}
        "mode" => return format!("{:o}", meta.mode() & 0o7777),
        "owner" => return format!("{}:{}", meta.uid(), meta.gid()),
        "mtime" => return time(),
        "links" => return meta.nlink().to_string(),
        "size" => return meta.len().to_string(),
        "xattrs" => {
            let shown = |(name, value): (String, Vec<u8>)| format!("{name}={}", String::from_utf8_lossy(&value));
            return tree::xattrs(&at).into_iter().map(shown).collect::<Vec<_>>().join(" ");
        }
        other => panic!("{other}"),
    }
    let kind = meta.file_type();
    let device = |what: &str| format!("{what} {}:{}", libc::major(meta.rdev()), libc::minor(meta.rdev()));
    if kind.is_dir() {
        "dir".into()
    } else if kind.is_symlink() {
        format!("link {}", fs::read_link(&at).unwrap().display())
    } else if kind.is_fifo() {
        "fifo".into()
    } else if kind.is_char_device() {
        device("char")
    } else if kind.is_block_device() {
        device("block")
    } else if meta.len() > 4096 {
        format!("file of {}", meta.len())
    } else {
        format!("file {}", String::from_utf8_lossy(&fs::read(&at).unwrap()))
    }
}
