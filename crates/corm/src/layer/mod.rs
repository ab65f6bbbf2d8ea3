//! Layers: archives of what one step of an image changed. Reading them safely is `unpack`, writing them `pack` and
//! `build::write_blob`.
//!
//! Everything in a layer is hostile. It is read by a reader that allocates nothing for claims (`archive`), and
//! applied by descriptor and name (`apply`), with the root as its own world: `/` and `..` of symlinks end there.

mod apply;
mod archive;
mod attributes;
mod compression;
mod dirs;
mod entry;
mod header;
pub mod pack;
pub(super) mod path;
mod pax;
mod pipe;
mod stream;
mod whiteout;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result, bail};

use super::model::layer::WhiteoutFormat;
use crate::model::digest::Digest;

pub use super::model::limits::Limits;
pub use attributes::is_layer_xattr;
pub use compression::{Compression, detect, detect_file};
pub use entry::{Entry, TarEntryType, shown};
pub use stream::{entries, unpack_to};

/// Where a layer is applied, and how.
pub struct Target {
    /// The tree up to the layer below, or an empty directory for what this layer changes.
    pub root: OwnedFd,
    /// How deleted names are kept.
    pub whiteouts: WhiteoutFormat,
    /// Without privileges: devices are left out, owners stay the caller's, of the extended attributes only `user.*` is
    /// set, and the caller may always read and write files and search directories.
    pub unprivileged: bool,
}

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of its files, holes of sparse ones counted.
    pub size: u64,
    /// Devices and extended attributes left out by the rules of [`Target::unprivileged`] and [`is_layer_xattr`], or because
    /// the file system has none.
    pub dropped: u64,
    /// Directories that were created because something lies in them though they have no entry, each after what it lies in.
    /// In a delta they hide the attributes that a lower layer gives them.
    pub implied: Vec<Vec<u8>>,
}

/// Applies a layer: unpacks the blob, hashes what comes out and carries it out, in three threads that hand large buffers
/// on. `progress` gets the bytes of the blob since it was called last.
///
/// # Errors
/// Whatever is wrong with the layer, told with the entry's name; also when all was applied but `diff_id` is another.
/// What was applied so far stays for the caller to remove, who publishes it only after this returned.
pub fn unpack(
    blob: File,
    media_type: &str,
    diff_id: &Digest,
    target: &Target,
    limits: &Limits,
    progress: &dyn Fn(u64),
) -> Result<Applied> {
    let compression = Compression::of_media_type(media_type)?;
    let (applied, found, _) =
        decode_pipeline(blob, Some(compression), limits, progress, |input| apply::archive(input, target, limits))?;
    if found != *diff_id {
        bail!("the layer is {found}, its image says {diff_id}");
    }
    Ok(applied)
}

/// The digest and size of what a stream unpacks to, whatever it is packed with. It is not looked at otherwise.
///
/// # Errors
/// The stream's, and what cannot be unpacked within the limits.
pub fn diff_id(packed: impl io::Read + Send, limits: &Limits) -> Result<(Digest, u64)> {
    let ((), digest, size) = decode_pipeline(packed, None, limits, &|_| {}, |mut input| {
        io::copy(&mut input, &mut io::sink()).map(drop).map_err(Into::into)
    })?;
    Ok((digest, size))
}

/// Runs `last` on what the stream unpacks to, while other threads unpack and hash it.
fn decode_pipeline<T>(
    packed: impl io::Read + Send,
    how: Option<Compression>,
    limits: &Limits,
    progress: &dyn Fn(u64),
    last: impl FnOnce(ProgressReader<'_>) -> Result<T>,
) -> Result<(T, Digest, u64)> {
    let taken = AtomicU64::new(0);
    let pool = pipe::Pool::default();
    let (unpacked, to_hash) = pipe::pipe(&pool);
    let (hashed, to_last) = pipe::pipe(&pool);
    thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let counter = &taken;
        spawn("unpack")
            .spawn_scoped(scope, move || compression::unpack(packed, how, limits, counter, unpacked))
            .context("start a thread")?;
        let hash =
            spawn("hash").spawn_scoped(scope, move || pipe::hash(&to_hash, &hashed)).context("start a thread")?;
        // moved in, so that the threads end when it does
        let done = last(ProgressReader { inner: to_last, taken: &taken, reported: 0, progress })?;
        match hash.join() {
            Ok(Some((digest, size))) => Ok((done, digest, size)),
            _ => bail!("the layer was not read to its end"),
        }
    })
}

/// A pipe whose reader tells how much of the blob was taken.
struct ProgressReader<'a> {
    inner: pipe::Source,
    taken: &'a AtomicU64,
    reported: u64,
    progress: &'a dyn Fn(u64),
}

impl io::BufRead for ProgressReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken > self.reported {
            (self.progress)(taken - self.reported);
            self.reported = taken;
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl io::Read for ProgressReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use io::BufRead as _;
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// Level of gzip.
const LEVEL: u32 = 6;

/// Packs what `produce` writes, a tar, with gzip into `blob`: written here, hashed and compressed in threads of their own.
/// The same tar gives the same bytes: no time and no name is in them. Gives back `blob`, the tar's digest and its size.
///
/// # Errors
/// Those of `produce` and of `blob`.
pub fn compress<W: Write + Send>(
    blob: W,
    produce: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<(W, Digest, u64)> {
    let pool = pipe::Pool::default();
    let (mut tar, to_hash) = pipe::pipe(&pool);
    let (hashed, mut to_gzip) = pipe::pipe(&pool);
    thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let hash =
            spawn("hash").spawn_scoped(scope, move || pipe::hash(&to_hash, &hashed)).context("start a thread")?;
        let gzip = move || {
            let mut gzip = flate2::write::GzEncoder::new(blob, flate2::Compression::new(LEVEL));
            io::copy(&mut to_gzip, &mut gzip)?;
            gzip.finish()
        };
        let gzip = spawn("gzip").spawn_scoped(scope, gzip).context("start a thread")?;
        let produced = produce(&mut tar);
        match &produced {
            Ok(()) => tar.finish(Ok(())),
            Err(_) => drop(tar),
        }
        let packed = gzip.join().map_err(|_| anyhow::anyhow!("the thread that compresses ended"))?;
        match (produced, packed, hash.join()) {
            // what breaks the pipe is the end at fault
            (_, Err(err), _) if err.kind() != io::ErrorKind::BrokenPipe => Err(err).context("write the layer"),
            (Err(err), ..) => Err(err),
            (Ok(()), Ok(blob), Ok(Some((digest, size)))) => Ok((blob, digest, size)),
            _ => bail!("the layer was not written to its end"),
        }
    })
}

/// Tells what was left out.
fn warn(message: &str) {
    // no reader is left when standard error is closed
    let _ = writeln!(io::stderr(), "corm: warning: {}", base::error::escape::one_line(message));
}
