//! Output of a saved image: a tar or a directory, staged and renamed when complete.

use base::coded;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fstatat, mkdirat};

use crate::store::{OutputNote, Store};
use base::fs::staging::StagedEntry;
use linux::open::openat;
use linux::place::Place;

/// Size of a tar block in bytes.
const BLOCK: u64 = 512;

/// An unfinished tar or directory.
pub(super) struct Sink {
    staged: StagedEntry,
    /// Where it appears; `None` is standard output.
    target: Option<Place>,
    path: PathBuf,
    tar: bool,
    // dropped last, so that a killed process leaves nothing that no note names
    _note: Option<OutputNote>,
}

impl Sink {
    /// Begins a tar for `path`; an existing file will be replaced.
    ///
    /// # Errors
    /// `path` is no regular file, or its directory is not writable.
    pub(super) fn tar(store: &Store, path: &Path) -> Result<Self> {
        let context = || format!("{path:?}");
        // a symlink is followed to the file that is to be replaced
        let target = Place::resolve(path).with_context(context)?;
        // a device must not be replaced
        if target.stat().with_context(context)?.is_some_and(|stat| stat.st_mode & libc::S_IFMT != libc::S_IFREG) {
            bail!(coded!(FileExists, "{path:?}: exists, and is not a regular file"));
        }
        let staged = store.output(&target, |before| StagedEntry::file_beside(&target, 0o666, before));
        let (staged, note) = staged.with_context(context)?;
        Ok(Self { staged, target: Some(target), path: path.to_owned(), tar: true, _note: Some(note) })
    }

    /// Begins a tar for standard output, which gets it when it is complete.
    ///
    /// # Errors
    /// No space in the store.
    pub(super) fn stdout(store: &Store) -> Result<Self> {
        let staged = StagedEntry::file(&store.tmp())?;
        Ok(Self { staged, target: None, path: PathBuf::from("-"), tar: true, _note: None })
    }

    /// Begins a directory for `path`, which must not exist.
    ///
    /// # Errors
    /// `path` exists, or its parent directory is not writable.
    pub(super) fn directory(store: &Store, path: &Path) -> Result<Self> {
        let context = || format!("{path:?}");
        let target = Place::find(path).with_context(context)?;
        if target.stat().with_context(context)?.is_some() {
            bail!(coded!(NameTaken, "{path:?}: already exists"));
        }
        let staged = store.output(&target, |before| StagedEntry::dir_beside(&target, before));
        let (staged, note) = staged.with_context(context)?;
        Ok(Self { staged, target: Some(target), path: path.to_owned(), tar: false, _note: Some(note) })
    }

    /// Writes a file of known size.
    ///
    /// # Errors
    /// As write(2), or the data has another size.
    pub(super) fn file(&mut self, name: &str, size: u64, data: &mut dyn Read) -> Result<()> {
        let written = self.stream(name, &mut |out| Ok(io::copy(data, out)?))?;
        if written != size {
            bail!(coded!(ImageDigest, "{name}: {written} bytes instead of {size}"));
        }
        Ok(())
    }

    /// Writes a file of unknown size; `write` returns it.
    ///
    /// # Errors
    /// As write(2), and those of `write`.
    pub(super) fn stream(&mut self, name: &str, write: &mut dyn FnMut(&mut File) -> Result<u64>) -> Result<u64> {
        let context = || format!("write {name}");
        if !self.tar {
            let mut file = self.file_in_directory(Path::new(name)).with_context(context)?;
            return write(&mut file).with_context(context);
        }
        let mut file = self.staged.file_ref();
        let start = file.stream_position().with_context(context)?;
        file.write_all(&[0; BLOCK as usize]).with_context(context)?;
        let size = write(&mut file.try_clone().with_context(context)?).with_context(context)?;
        let padding = size.wrapping_neg() % BLOCK;
        file.write_all(&[0; BLOCK as usize][..padding as usize]).with_context(context)?;
        let end = file.stream_position().with_context(context)?;
        if end != start + BLOCK + size + padding {
            bail!(coded!(ImageDigest, "write {name}: {size} bytes were announced"));
        }
        file.seek(SeekFrom::Start(start)).with_context(context)?;
        file.write_all(header(name, size).with_context(context)?.as_bytes()).with_context(context)?;
        file.seek(SeekFrom::Start(end)).with_context(context)?;
        Ok(size)
    }

    /// Creates a file and its parent directories, by the descriptor of the staging directory.
    fn file_in_directory(&self, name: &Path) -> Result<File> {
        let top = self.staged.file_ref();
        let mut above: Vec<&Path> = name.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
        above.reverse();
        for dir in above {
            match mkdirat(top, dir, Mode::from_bits_truncate(0o777)) {
                Err(Errno::EEXIST) => {}
                other => other?,
            }
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(top, name, flags, Mode::from_bits_truncate(0o666))?.into())
    }

    /// Publishes the output.
    ///
    /// # Errors
    /// As rename(2), or `path` exists by now.
    pub(super) fn finish(self) -> Result<()> {
        let context = || format!("{:?}", self.path);
        let mut file = self.staged.file_ref();
        if self.tar {
            file.write_all(&[0; 2 * BLOCK as usize]).with_context(context)?;
            let Some(target) = &self.target else {
                file.rewind().context("standard output")?;
                let mut out = io::stdout().lock();
                io::copy(&mut file, &mut out).and_then(|_| out.flush()).context("standard output")?;
                return self.staged.remove();
            };
            return self.staged.replace_at(target).with_context(context);
        }
        let Some(target) = &self.target else { bail!(coded!(ArchiveInvalid, "a directory is no standard output")) };
        // the mode that the umask set on the files in it, because the caller decides who may read an image
        let mode = |name: &str| fstatat(file, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| stat.st_mode & 0o777);
        let searchable = |mode: u32| mode | (mode & 0o444) >> 2;
        let mode = mode("blobs").or_else(|_| mode("version").map(searchable)).unwrap_or(0o700);
        file.set_permissions(Permissions::from_mode(mode)).with_context(context)?;
        if !self.staged.publish_new_at(target).with_context(context)? {
            bail!(coded!(NameTaken, "{:?}: already exists", self.path));
        }
        Ok(())
    }
}

/// Returns a tar header without time and owner, so that equal images give equal tars.
fn header(name: &str, size: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}
