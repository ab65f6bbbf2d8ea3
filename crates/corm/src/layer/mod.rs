//! Layers: tars of the changes of one image step. `unpack` applies them safely; `pack` and `build::write_blob` create
//! them.
//!
//! A layer is untrusted. Its reader allocates no memory by claimed sizes (`archive`), and entries are applied by
//! descriptor and name (`apply`), resolved as in a chroot: `/` and `..` of symlinks stay below the root.

mod apply;
mod attributes;
mod compression;
mod dirs;
mod entry;
pub(super) mod entry_name;
pub mod epoch;
mod header;
mod lower;
pub mod pack;
mod pax;
mod pipe;
mod stream;
mod tar_reader;
mod whiteout;

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, bail};
use base::thread::start;
use oci_spec::image::MediaType;

use super::model::layer::WhiteoutFormat;
use crate::model::digest::Digest;
use crate::model::manifest::layer_type;

pub use super::model::limits::Limits;
pub use attributes::is_layer_xattr;
pub use compression::{Compression, Packed, decoder, detect_archive, detect_file};
pub use entry::{Entry, TarEntryType, shown};
pub use lower::{NeedsLower, drop_ghosts};
pub use stream::{entries, unpack_to};

/// Destination of a layer, and rules for applying it.
pub struct Target {
    /// A whole tree, of which the layers below are a part; or an empty directory for a delta.
    pub root: OwnedFd,
    /// Format of whiteouts: `Delete` for a whole tree, another one for a delta.
    pub whiteouts: WhiteoutFormat,
    /// Whether corm runs without privileges, as root of a user namespace: devices are skipped, files keep the caller's
    /// owner, and only `user.*` attributes are set.
    pub unprivileged: bool,
}

/// Result of applying a layer.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Number of entries.
    pub entries: u64,
    /// Sum of the file sizes in bytes, holes included.
    pub size: u64,
    /// Devices and extended attributes skipped by the rules of [`Target::unprivileged`] and [`is_layer_xattr`], or
    /// because the file system does not support them.
    pub dropped: u64,
    /// Paths of the whiteouts in a delta, without symlinks: see [`drop_ghosts`].
    pub whiteouts: Vec<PathBuf>,
}

/// Applies a layer: unpacks the blob, hashes the tar and applies its entries, in three threads that pass large buffers.
/// `progress` receives the bytes of the blob since its last call.
///
/// # Errors
/// An invalid layer, with the entry's name; also when all was applied but the DiffID differs; [`NeedsLower`] for a
/// delta. The caller removes a partly applied tree, and publishes it only after success.
pub fn unpack(
    blob: File,
    media_type: &str,
    diff_id: &Digest,
    target: &Target,
    limits: &Limits,
    progress: &dyn Fn(u64),
) -> Result<Applied> {
    layer_type(&MediaType::from(media_type))?;
    let (applied, found, _) = decode_pipeline(blob, limits, progress, |input| apply::archive(input, target, limits))?;
    if found != *diff_id {
        bail!(coded!(ImageInvalid, "the layer is {found}, its image has {diff_id}"));
    }
    Ok(applied)
}

/// Returns digest and size of the uncompressed stream, without parsing it.
///
/// # Errors
/// Those of the stream, and exceeded limits.
pub fn diff_id(packed: impl io::Read + Send, limits: &Limits) -> Result<(Digest, u64)> {
    let ((), digest, size) = decode_pipeline(packed, limits, &|_| {}, |mut input| {
        io::copy(&mut input, &mut io::sink()).map(drop).map_err(Into::into)
    })?;
    Ok((digest, size))
}

/// Runs `last` on the uncompressed stream, while other threads unpack and hash it.
fn decode_pipeline<T>(
    packed: impl io::Read + Send,
    limits: &Limits,
    progress: &dyn Fn(u64),
    last: impl FnOnce(ProgressReader<'_>) -> Result<T>,
) -> Result<(T, Digest, u64)> {
    let taken = AtomicU64::new(0);
    let pool = pipe::Pool::default();
    let (unpacked, to_hash) = pipe::pipe(&pool);
    let (hashed, to_last) = pipe::pipe(&pool);
    thread::scope(|scope| {
        let counter = &taken;
        start(scope, "unpack", move || compression::unpack(packed, false, limits, counter, unpacked))?;
        let hash = start(scope, "hash", move || pipe::hash(&to_hash, &hashed))?;
        // moved into `last`, so that the threads end when it returns
        let done = last(ProgressReader { inner: to_last, taken: &taken, reported: 0, progress })?;
        match hash.join() {
            Ok(Some((digest, size))) => Ok((done, digest, size)),
            _ => bail!(coded!(ImageInvalid, "the layer was not read to its end")),
        }
    })
}

/// A reader that reports the bytes read from the blob.
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

/// Compression level of gzip.
const LEVEL: u32 = 6;

/// Compresses the tar that `produce` writes with gzip into `blob`; hashing and compression have their own threads.
/// Equal tars give equal bytes, because the gzip header has no time or name. Returns `blob`, the tar's digest and its
/// size.
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
        let hash = start(scope, "hash", move || pipe::hash(&to_hash, &hashed))?;
        let gzip = move || {
            let mut gzip = flate2::write::GzEncoder::new(blob, flate2::Compression::new(LEVEL));
            io::copy(&mut to_gzip, &mut gzip)?;
            gzip.finish()
        };
        let gzip = start(scope, "gzip", gzip)?;
        let produced = produce(&mut tar);
        match &produced {
            Ok(()) => tar.finish(Ok(())),
            Err(_) => drop(tar),
        }
        let packed = gzip.join().map_err(|_| anyhow::anyhow!(coded!(ImageInvalid, "the compression thread failed")))?;
        match (produced, packed, hash.join()) {
            // the thread that broke the pipe has the cause
            (_, Err(err), _) if err.kind() != io::ErrorKind::BrokenPipe => {
                Err(err).code(Code::ImageInvalid, "write the layer")
            }
            (Err(err), ..) => Err(err),
            (Ok(()), Ok(blob), Ok(Some((digest, size)))) => Ok((blob, digest, size)),
            _ => bail!(coded!(ImageInvalid, "the layer was not written to its end")),
        }
    })
}

/// Prints a warning.
fn warn(message: &str) {
    // write errors are ignored: standard error may be closed
    let _ = writeln!(io::stderr(), "corm: warning: {}", base::error::escape::one_line(message));
}
