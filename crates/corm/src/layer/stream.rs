//! Reading of archives that contain images, such as those of `docker save`.
//!
//! It uses the reader and the limits of layers; `archive` interprets the entries.

use std::io::{self, BufRead, Read, Write};
use std::sync::atomic::AtomicU64;
use std::thread;

use anyhow::Result;
use oci_spec::image::MediaType;

use super::compression;
use super::entry::Entry;
use super::tar_reader::Archive;
use super::{decode_pipeline, pipe};
use crate::model::digest::Digest;
use crate::model::limits::Limits;
use crate::model::manifest::layer_type;

/// The data of an entry.
struct Data<'a, 'b, R>(&'a mut Archive<'b, R>);

impl<R: BufRead> Read for Data<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.chunk().map_err(io::Error::other)?.read(buffer)?;
        self.0.consume(read);
        Ok(read)
    }
}

/// Calls `each` with every entry of an archive, compressed or not, and its data.
///
/// # Errors
/// Those of `each` and of the stream; exceeded limits.
pub fn entries(
    packed: impl Read + Send,
    limits: &Limits,
    each: &mut dyn FnMut(Entry, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let taken = AtomicU64::new(0);
    let pool = pipe::Pool::default();
    let (unpacked, to_read) = pipe::pipe(&pool);
    thread::scope(|scope| {
        let unpack = || compression::unpack(packed, true, limits, &taken, unpacked);
        base::thread::start(scope, "unpack", unpack)?;
        let mut archive = Archive::new(to_read, limits);
        while let Some(entry) = archive.next()? {
            each(entry, &mut Data(&mut archive))?;
        }
        archive.drain()
    })
}

/// Writes the uncompressed content of a blob to `out`; returns its digest and size.
///
/// # Errors
/// As [`super::unpack`]; `out` has a part then.
pub fn unpack_to(
    packed: impl Read + Send,
    media_type: &str,
    limits: &Limits,
    out: &mut dyn Write,
) -> Result<(Digest, u64)> {
    layer_type(&MediaType::from(media_type))?;
    let ((), digest, size) =
        decode_pipeline(packed, limits, &|_| {}, |mut input| io::copy(&mut input, out).map(drop).map_err(Into::into))?;
    Ok((digest, size))
}
