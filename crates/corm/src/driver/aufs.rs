//! The aufs driver, for kernels with the aufs patches: branches in a union mount, whiteouts are files `.wh.NAME` as in
//! layers.

use base::coded;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::mount::MsFlags;

use super::delta::{DeltaBuilder, make_dir};
use super::diff_upper::{self, WhiteoutStyle, is_aufs_own};
use super::layout::{DriverDirs, TREE};
use super::mount_util::{self, FdPath};
use super::{Driver, DriverKind, DriverPaths, Ids, LayerBuilder, LayerFormat, View};
use crate::model::change::Change;
use crate::model::digest::Digest;
use crate::model::layer::WhiteoutFormat;
use base::fs::copy;
use base::fs::copy::copy_attributes_between;
use base::fs::copy::copy_tree_with;
use base::fs::remove::{remove_at, remove_tree};
use linux::path;

/// Branches in one mount call. Its options are limited to one page, and aufs for 6.1 writes about 90 branches into one
/// page without a bounds check.
const BRANCHES_PER_CALL: usize = 32;

/// Maximum number of branches in the usual build of aufs (CONFIG_AUFS_BRANCH_MAX_127).
const MAX_BRANCHES: usize = 127;

/// File that aufs creates at the top of a writable branch on mount. Creating it in advance keeps the root's mtime.
const OWN_FILE: &str = ".wh..wh.aufs";
const OWN_DIRS: [&str; 2] = [".wh..wh.plnk", ".wh..wh.orph"];

/// The aufs driver.
pub(super) struct Aufs {
    dirs: DriverDirs,
}

impl Aufs {
    /// Creates a driver with its trees at `dirs`.
    pub(super) fn new(dirs: DriverDirs) -> Self {
        Self { dirs }
    }

    fn upper(&self, container: &str) -> PathBuf {
        self.dirs.container(container).join("upper")
    }

    /// Mounts the branches of a chain, the writable one on top; aufs keeps its inode table (xino) beside it.
    fn join(&self, chain: &[Digest], upper: Option<&Path>) -> Result<OwnedFd> {
        let count = chain.len() + usize::from(upper.is_some());
        if count > MAX_BRANCHES {
            bail!(coded!(ImageInvalid, "{} layers: aufs joins {} branches at most", chain.len(), MAX_BRANCHES));
        }
        let mut open_dirs = Vec::new();
        let mut name = |path: &Path| -> Result<String> {
            let dir = FdPath::by_descriptor(path)?;
            let text = dir.text.to_string_lossy().into_owned();
            open_dirs.push(dir);
            Ok(text)
        };
        let mut branches = Vec::new();
        // without a table of inodes the names of one file would be files of their own
        let table = self.dirs.stage()?;
        let mut options = match upper {
            Some(upper) => {
                branches.push(format!("{}=rw", name(upper)?));
                format!("dirperm1,xino={}/xino", name(upper.parent().unwrap_or(upper))?)
            }
            None => format!("xino={}/xino", name(table.path())?),
        };
        for layer in chain.iter().rev() {
            branches.push(format!("{}=ro+wh", name(&self.dirs.require_layer(layer)?)?));
        }
        let (first, rest) = branches.split_at(branches.len().min(BRANCHES_PER_CALL));
        options.push_str(",br=");
        options.push_str(&first.join(":"));
        let place = self.dirs.stage()?;
        let context = || format!("aufs: join {} branches", branches.len());
        let mount = |flags, options: &str| {
            nix::mount::mount(Some("aufs"), place.path(), Some("aufs"), flags, Some(options)).with_context(context)
        };
        mount(MsFlags::empty(), &options)?;
        let more = rest.iter().try_for_each(|branch| mount(MsFlags::MS_REMOUNT, &format!("append={branch}")));
        let mounted = more.and_then(|()| mount_util::clone_mount(place.path()));
        mount_util::detach(place.path())?;
        mounted
    }

    fn lower(&self, chain: &[Digest]) -> Result<OwnedFd> {
        if chain.is_empty() { mount_util::open_dir(&self.dirs.empty()?) } else { self.join(chain, None) }
    }
}

/// Creates aufs' own files in a writable branch.
fn make_own_files(upper: &Path) -> Result<()> {
    for name in OWN_DIRS {
        make_dir(&upper.join(name))?;
    }
    File::create_new(upper.join(OWN_FILE)).with_context(|| format!("create {OWN_FILE} in {upper:?}"))?;
    Ok(())
}

/// Removes aufs' own files from a writable branch that becomes a layer, and its inode table beside it. The times of the
/// branch stay.
fn remove_own_files(upper: &Path) -> Result<()> {
    let root = mount_util::open_dir(upper)?;
    let times = path::fstat(root.as_fd())?.times();
    for name in path::read_dir_names(root.as_fd())?.iter().map(|name| OsStr::from_bytes(name.to_bytes())) {
        if is_aufs_own(name) {
            remove_at(root.as_fd(), name)?;
        }
    }
    path::set_times(root.as_fd(), c".", &times)?;
    remove_tree(&upper.with_file_name("xino"))
}

/// Checks that the kernel has aufs and accepts a directory of this file system.
///
/// # Errors
/// The reason why aufs cannot be used.
pub(super) fn probe(paths: &DriverPaths) -> Result<()> {
    let dirs = DriverDirs::new(paths);
    let staged = dirs.stage()?;
    let upper = staged.path().join("upper");
    make_dir(&upper)?;
    Aufs::new(dirs).join(&[], Some(&upper)).map(drop)
}

impl Driver for Aufs {
    fn kind(&self) -> DriverKind {
        DriverKind::Aufs
    }

    fn dirs(&self) -> &DriverDirs {
        &self.dirs
    }

    fn form(&self) -> LayerFormat {
        LayerFormat::Delta
    }

    fn whiteouts(&self) -> WhiteoutFormat {
        WhiteoutFormat::Aufs
    }

    fn keeps_each(&self) -> bool {
        true
    }

    fn begin(&self, parent: Option<&Digest>) -> Result<Box<dyn LayerBuilder>> {
        Ok(Box::new(DeltaBuilder::begin(&self.dirs, parent)?))
    }

    fn begin_whole(&self, below: &[Digest]) -> Result<Box<dyn LayerBuilder>> {
        let mount = |upper: PathBuf, _| {
            make_own_files(&upper)?;
            self.join(below, Some(&upper))
        };
        Ok(Box::new(DeltaBuilder::begin(&self.dirs, below.last())?.merge(mount, remove_own_files)?))
    }

    fn create(&self, container: &str, chain: &[Digest], sync: bool) -> Result<()> {
        let staged = self.dirs.stage()?;
        let upper = staged.path().join("upper");
        make_dir(&upper)?;
        make_own_files(&upper)?;
        for layer in chain {
            self.dirs.require_layer(layer)?;
        }
        // the union's root has the attributes of the writable branch
        let top = self.dirs.top(chain)?;
        copy_attributes_between(&top, &upper, |_| true)?;
        self.dirs.publish_container(staged, (container, chain), sync)
    }

    fn mount(&self, container: &str, target: &Path) -> Result<PathBuf> {
        if !mount_util::is_mounted(target)? {
            let joined = self.join(&self.dirs.base(container)?, Some(&self.upper(container)))?;
            mount_util::at(joined.as_fd(), target)?;
        }
        Ok(target.to_owned())
    }

    fn mount_mapped(&self, _container: &str, _target: &Path, _ids: &Ids<'_>) -> Result<()> {
        bail!("the kernel maps no IDs of aufs: choose --userns host, or a store with another driver")
    }

    fn changes(&self, container: &str) -> Result<(OwnedFd, Vec<Change>)> {
        let upper = mount_util::open_dir(&self.upper(container))?;
        let lower = mount_util::reopen(self.lower(&self.dirs.base(container)?)?.as_fd())?;
        let list = diff_upper::of(upper.as_fd(), lower.as_fd(), WhiteoutStyle::Aufs)
            .with_context(|| format!("changes of container {container}"))?;
        Ok((upper, list))
    }

    fn commit(&self, container: &str, id: &Digest) -> Result<()> {
        let staged = self.dirs.stage()?;
        let options = copy::Options { keep_name: |name| !is_aufs_own(name), ..copy::Options::default() };
        copy_tree_with(&self.upper(container), &staged.path().join(TREE), &options)?;
        self.dirs.publish_layer(staged, id)
    }

    fn view(&self, chain: &[Digest]) -> Result<Box<dyn View>> {
        Ok(Box::new(mount_util::PlainView(self.lower(chain)?)))
    }
}
