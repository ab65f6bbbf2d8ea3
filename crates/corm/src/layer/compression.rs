//! Compression of blobs: gzip (of several members), zstd (of several frames), or none.

use base::coded;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use flate2::bufread::GzDecoder;

use super::pipe::Sender;
use crate::model::limits::Limits;

/// Maximum zstd window, as a power of two: 128 MiB, which `zstd --long` writes and every decoder of other tools accepts.
const ZSTD_WINDOW: u32 = 27;

/// Maximum memory of xz, in KiB: `xz -9` needs 65 MiB, and a header may ask for 4 GiB.
const XZ_MEMORY_KIB: u32 = 136 << 10;

/// Compression format of a layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Uncompressed.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// zstd, RFC 8878.
    Zstd,
}

impl Compression {
    /// Returns the media type of a layer with this compression.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// Compression format of an archive, which may have more than a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// One that a layer may have.
    AsLayer(Compression),
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
}

/// Detects the compression of an archive by its first six bytes.
pub fn detect_archive(first: &[u8]) -> Packed {
    match first {
        [0x1f, 0x8b, ..] => Packed::AsLayer(Compression::Gzip),
        // a frame, or a skippable frame before it
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packed::AsLayer(Compression::Zstd),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Packed::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packed::Xz,
        _ => Packed::AsLayer(Compression::None),
    }
}

/// Detects the compression of a layer by its first six bytes.
///
/// # Errors
/// The compression is not used for layers: no media type names it, so other tools could not read the image.
fn detect(first: &[u8]) -> Result<Compression> {
    match detect_archive(first) {
        Packed::AsLayer(compression) => Ok(compression),
        Packed::Bzip2 => bail!(coded!(ImageInvalid, "packed with bzip2: neither gzip, zstd nor a plain tar")),
        Packed::Xz => bail!(coded!(ImageInvalid, "packed with xz: neither gzip, zstd nor a plain tar")),
    }
}

/// Returns a reader of the uncompressed bytes.
///
/// # Errors
/// As malloc(3).
pub fn decoder<'a>(how: Packed, from: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match how {
        Packed::AsLayer(Compression::None) => Box::new(from),
        Packed::AsLayer(Compression::Gzip) => Box::new(Members { current: Some(GzDecoder::new(from)) }),
        Packed::AsLayer(Compression::Zstd) => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(from)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        Packed::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(from)),
        Packed::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(from, true, XZ_MEMORY_KIB)),
    })
}

/// A reader that counts bytes in a shared counter.
struct CountingReader<'a, R> {
    inner: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Decoder for gzip of several members. Zeros after the last are padding (of tapes and block devices); other bytes are
/// an error.
struct Members<R: BufRead> {
    current: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.current {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let Some(mut rest) = self.current.take().map(GzDecoder::into_inner) else { break };
            match rest.fill_buf()?.first() {
                None => {}
                Some(0) => only_zeros(&mut rest)?,
                Some(_) => self.current = Some(GzDecoder::new(rest)),
            }
        }
        Ok(0)
    }
}

fn only_zeros(rest: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "junk after the end of the gzip data"));
        }
        let length = bytes.len();
        rest.consume(length);
    }
}

/// Unpacks `blob` into `out`, as a thread; `taken` counts the bytes read from the blob.
/// The bytes decide the compression, because other tools read layers whose media type is wrong; the DiffID protects.
/// With `any`, an archive may have a compression that no layer has.
pub(super) fn unpack(blob: impl Read + Send, any: bool, limits: &Limits, taken: &AtomicU64, mut out: Sender) {
    let result = unpack_into(blob, any, limits, taken, &mut out);
    out.finish(result);
}

fn unpack_into(
    blob: impl Read + Send,
    any: bool,
    limits: &Limits,
    taken: &AtomicU64,
    out: &mut Sender,
) -> io::Result<()> {
    let invalid = |err: anyhow::Error| io::Error::new(io::ErrorKind::InvalidData, err.to_string());
    let mut blob = BufReader::with_capacity(64 << 10, CountingReader { inner: blob, count: taken });
    let first = blob.fill_buf()?;
    let how = if any { detect_archive(first) } else { Packed::AsLayer(detect(first).map_err(invalid)?) };
    let mut within = |unpacked: u64| {
        let taken = taken.load(Ordering::Relaxed);
        if unpacked > limits.tar {
            return Err(invalid(anyhow::anyhow!(coded!(
                ImageInvalid,
                "more than {} bytes unpacked (--layer-limit size=SIZE)",
                limits.tar
            ))));
        }
        if unpacked > limits.ratio_from && unpacked / limits.ratio.max(1) > taken {
            let most = limits.ratio;
            let message =
                format!("{taken} bytes unpack to {unpacked} and more, over {most} times (--layer-limit ratio=N)");
            return Err(invalid(anyhow::anyhow!(message)));
        }
        Ok(())
    };
    match how {
        // without a second box around the reader, because most bytes come this way
        Packed::AsLayer(Compression::None) => out.send_all(&mut blob, &mut within),
        how => out.send_all(&mut decoder(how, blob)?, &mut within),
    }
}

/// Detects the compression of a file; its offset is unchanged.
///
/// # Errors
/// As those of an unknown format, and pread(2).
pub fn detect_file(file: &File) -> Result<Compression> {
    let mut first = [0; 6];
    let read = linux::file::read_at(file, &mut first, 0)?;
    detect(first.get(..read).unwrap_or_default())
}
