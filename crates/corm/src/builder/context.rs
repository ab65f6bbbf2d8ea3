//! The context of a build: files of the caller, and which of them are left out.
//!
//! Everything in it is opened below its directory, so that no symlink leads out of it.

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::container::cp;
use crate::containerfile::ignore::Ignore;
use crate::containerfile::{Containerfile, MAX_BYTES, parse};
use crate::driver::mount_util;
use crate::store::Store;
use base::fs::staging::StagedEntry;
use linux::path;
use linux::place;

/// Names of the file without `-f`, in the order in which they are looked for.
const FILES: [&str; 2] = ["Containerfile", "Dockerfile"];

/// Names of the files with what is left out.
const IGNORE_FILES: [&str; 2] = [".containerignore", ".dockerignore"];

/// A directory with files of the caller.
pub struct Context {
    root: OwnedFd,
    /// What is left out.
    pub ignore: Ignore,
    /// Removes what was unpacked.
    _held: Option<StagedEntry>,
}

impl Context {
    /// Opens a directory.
    ///
    /// # Errors
    /// There is none.
    pub fn dir(dir: &Path) -> Result<Self> {
        let context = || format!("context {dir:?}");
        let root = place::open_to_read(dir).with_context(context)?;
        ensure!(
            root.metadata().with_context(context)?.is_dir(),
            coded!(BuildInvalid, "{}: is no directory", context())
        );
        Ok(Self { root: root.into(), ignore: Ignore::default(), _held: None })
    }

    /// Unpacks a tar, compressed or not, into a directory of the store that is removed with the value.
    ///
    /// # Errors
    /// The bytes are no tar.
    pub fn tar(store: &Store, input: impl io::Read + Send, name: &str) -> Result<Self> {
        let (staged, path) = Self::stage(store)?;
        let text = path.to_str().context("the path of the store is not UTF-8")?;
        let given = cp::Given { text, path: &path, container: None };
        let rules = cp::Rules { owner: Some((0, 0)), overwrite: true, ..cp::Rules::default() };
        cp::from_tar(input, (&cp::View::host()?, given), &rules, store.limits(), &|_| {})
            .with_context(|| format!("context {name:?}"))?;
        Ok(Self { root: mount_util::open_dir(&path)?, ignore: Ignore::default(), _held: Some(staged) })
    }

    /// Reads standard input: a tar, or a Containerfile alone, whose context is empty.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn standard_input(store: &Store) -> Result<Self> {
        let file = StagedEntry::file(&store.tmp())?;
        io::copy(&mut io::stdin(), &mut file.file_ref().try_clone()?).context("standard input")?;
        Self::file(store, file.file_ref(), "standard input")
    }

    /// Reads a file: a tar, or a Containerfile alone, whose context is empty.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(store: &Store, file: &File, name: &str) -> Result<Self> {
        let open = || -> Result<File> {
            let mut open = file.try_clone()?;
            io::Seek::rewind(&mut open)?;
            Ok(open)
        };
        if super::copy::is_tar(open()?, store.limits()) {
            return Self::tar(store, open()?, name);
        }
        let bytes = read_all(name, open()?)?;
        Self::filled(store, |dir| Ok(std::fs::write(dir.join(FILES[0]), bytes)?))
    }

    /// Returns a directory of the store that `fill` fills, removed with the value.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn filled(store: &Store, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let (staged, path) = Self::stage(store)?;
        fill(&path)?;
        Ok(Self { root: mount_util::open_dir(&path)?, ignore: Ignore::default(), _held: Some(staged) })
    }

    /// Creates an empty directory of the store.
    fn stage(store: &Store) -> Result<(StagedEntry, std::path::PathBuf)> {
        let staged = StagedEntry::dir(&store.tmp())?;
        let path = staged.path().join("context");
        std::fs::create_dir(&path).with_context(|| format!("create {path:?}"))?;
        Ok((staged, path))
    }

    /// Returns its root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Reads a small file below the root; `None` where there is none.
    ///
    /// # Errors
    /// It is no regular file, or too large.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let below = std::ffi::CString::new(name.trim_start_matches('/'))?;
        let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
        match path::openat2(self.root(), &below, libc::O_RDONLY | libc::O_NONBLOCK, resolve) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            other => read_file(name, File::from(other.with_context(|| name.to_owned())?)).map(Some),
        }
    }

    /// Finds and parses the Containerfile: the given one, on the host or else in the context, or one of the usual names.
    /// Also reads what is left out.
    ///
    /// # Errors
    /// There is none; a parse error of either file.
    pub fn containerfile(&mut self, given: &[PathBuf], ignore: Option<&Path>) -> Result<Containerfile> {
        let first = given.first().map(PathBuf::as_path);
        let mut whole = self.one_file(first)?;
        self.read_ignore(&whole.name, first, ignore)?;
        for path in given.iter().skip(1) {
            whole.append(self.one_file(Some(path))?)?;
        }
        Ok(whole)
    }

    /// Reads and parses a file: the given one, else the one of the context.
    fn one_file(&self, given: Option<&Path>) -> Result<Containerfile> {
        let (name, bytes) = match given {
            Some(path) if path == Path::new("-") => {
                ("standard input".to_owned(), read_all("standard input", io::stdin())?)
            }
            Some(path) => (path.to_string_lossy().into_owned(), self.of_caller(path)?),
            None => {
                let found = FILES.into_iter().find_map(|name| self.read(name).transpose().map(|read| (name, read)));
                let (name, bytes) = found.with_code(Code::FileMissing, || {
                    format!("the context has neither {} (create one, or name it with --file)", FILES.join(" nor "))
                })?;
                (name.to_owned(), bytes?)
            }
        };
        parse(&name, &bytes)
    }

    /// Reads a file that the caller named: of the host, or of the context.
    fn of_caller(&self, path: &Path) -> Result<Vec<u8>> {
        let context = || format!("{path:?}");
        match place::open_to_read(path) {
            Ok(file) => read_file(&context(), file),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let text = path.to_str().with_context(|| format!("{}: is not UTF-8", context()))?;
                self.read(text)?.with_code(Code::FileMissing, || {
                    format!("{}: no such file, neither here nor in the context", context())
                })
            }
            Err(err) => Err(err).with_context(context),
        }
    }

    /// Reads what is left out: the given file, one beside the Containerfile with its name, or one of the context.
    fn read_ignore(&mut self, name: &str, file: Option<&Path>, given: Option<&Path>) -> Result<()> {
        if let Some(given) = given {
            return self.set_ignore(&given.to_string_lossy(), &self.of_caller(given)?);
        }
        for end in ["containerignore", "dockerignore"] {
            let beside = format!("{name}.{end}");
            let bytes = match file.map(|_| place::open_to_read(Path::new(&beside))) {
                Some(Ok(file)) => Some(read_file(&beside, file)?),
                _ => self.read(&beside)?,
            };
            if let Some(bytes) = bytes {
                return self.set_ignore(&beside, &bytes);
            }
        }
        for name in IGNORE_FILES {
            if let Some(bytes) = self.read(name)? {
                return self.set_ignore(name, &bytes);
            }
        }
        Ok(())
    }

    fn set_ignore(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.ignore = Ignore::parse(name, &String::from_utf8_lossy(bytes))?;
        Ok(())
    }
}

/// Reads a regular file of a limited size.
fn read_file(name: &str, file: File) -> Result<Vec<u8>> {
    let meta = file.metadata().with_context(|| name.to_owned())?;
    ensure!(!meta.is_dir(), coded!(BuildInvalid, "{name}: is a directory"));
    read_all(name, file)
}

/// Reads to the end, up to the limit of a Containerfile.
fn read_all(name: &str, input: impl io::Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(|| format!("read {name}"))?;
    ensure!(bytes.len() <= MAX_BYTES, coded!(BuildInvalid, "{name}: more than {MAX_BYTES} bytes"));
    Ok(bytes)
}
