//! Reader of a tar, entry by entry: ustar, pax, GNU long names, the sparse formats. It allocates no memory by sizes
//! that a header only claims. `apply` applies the entries.

use base::coded;
use base::error::{Code, Coding as _};
use std::io::{BufRead, ErrorKind};

use anyhow::{Context as _, Result, bail};

use super::entry::{Entry, TarEntryType, shown};
use super::header::{BLOCK, HeaderBlock, extension_block};
use super::pax::{Pax, unsigned};
use crate::model::limits::Limits;

/// A tar archive that is being read.
pub(super) struct Archive<'a, R> {
    input: R,
    limits: &'a Limits,
    /// Unread bytes of the current entry's data.
    data: u64,
    /// Bytes of padding after the data.
    padding: u64,
    /// Name of the current entry.
    name: Vec<u8>,
}

/// Extended headers that precede an entry's own header.
#[derive(Default)]
struct ExtendedHeaders {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Pax,
}

impl<'a, R: BufRead> Archive<'a, R> {
    /// Reads from the start of an archive.
    pub(super) fn new(input: R, limits: &'a Limits) -> Self {
        Self { input, limits, data: 0, padding: 0, name: Vec::new() }
    }

    /// Returns the next entry and skips unread data of the previous one; `None` at the end.
    ///
    /// # Errors
    /// The bytes are no tar, or exceed the limits.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        self.skip_rest().with_context(|| format!("entry {}", shown(&self.name)))?;
        let mut before = ExtendedHeaders::default();
        loop {
            let Some(block) = self.block()? else { return Ok(None) };
            let Some(raw) = HeaderBlock::new(&block)? else { return Ok(None) };
            match raw.flag() {
                b'x' => before.pax = self.pax(&raw)?,
                b'L' => before.long_name = Some(self.long(&raw)?),
                b'K' => before.long_link = Some(self.long(&raw)?),
                b'g' => {
                    // refused, because tools disagree whether global headers apply to all later entries
                    if !self.pax(&raw)?.is_empty() {
                        bail!(coded!(
                            ImageInvalid,
                            "global header {} that changes entries: tools disagree on it",
                            shown(&raw.path())
                        ));
                    }
                }
                _ => {
                    self.name = before.name(&raw);
                    let entry = self.entry(&raw, before);
                    return entry.map(Some).with_context(|| format!("entry {}", shown(&self.name)));
                }
            }
        }
    }

    /// Returns buffered bytes of the current entry's data; empty at its end.
    ///
    /// # Errors
    /// Those of the stream, and its premature end.
    pub(super) fn chunk(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let most = usize::try_from(self.data).unwrap_or(usize::MAX);
        let bytes = self.input.fill_buf()?;
        if bytes.is_empty() {
            bail!(coded!(ArchiveInvalid, "the archive ends within its data"));
        }
        Ok(bytes.get(..most.min(bytes.len())).unwrap_or_default())
    }

    /// Consumes bytes of the last chunk.
    pub(super) fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
        self.data = self.data.saturating_sub(amount as u64);
    }

    /// Reads the stream to its end, past the end of the archive.
    ///
    /// # Errors
    /// Those of the stream.
    pub(super) fn drain(mut self) -> Result<()> {
        loop {
            let length = self.input.fill_buf()?.len();
            if length == 0 {
                return Ok(());
            }
            self.input.consume(length);
        }
    }

    fn skip_rest(&mut self) -> Result<()> {
        self.data = self.data.saturating_add(std::mem::take(&mut self.padding));
        while self.data > 0 {
            let length = self.chunk()?.len();
            self.consume(length);
        }
        Ok(())
    }

    /// Reads a block; `None` at the end of the stream, because many writers omit the end marker.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        if self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        match self.input.read_exact(&mut block) {
            Err(err) if err.kind() == ErrorKind::UnexpectedEof => {
                bail!(coded!(ArchiveInvalid, "the archive ends within a header"))
            }
            other => other?,
        }
        Ok(Some(block))
    }

    fn begin(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Reads the data of an extended header into memory.
    fn read_data(&mut self, raw: &HeaderBlock<'_>, most: u64) -> Result<Vec<u8>> {
        let size = raw.size()?;
        if size > most {
            bail!(coded!(
                ImageInvalid,
                "a header of {size} bytes before {}, over the limit of {most}",
                shown(&raw.path())
            ));
        }
        self.begin(size);
        let mut data = Vec::new();
        while self.data > 0 {
            let chunk = self.chunk()?;
            data.extend_from_slice(chunk);
            let length = chunk.len();
            self.consume(length);
        }
        self.skip_rest()?;
        Ok(data)
    }

    fn pax(&mut self, raw: &HeaderBlock<'_>) -> Result<Pax> {
        Pax::parse(&self.read_data(raw, self.limits.pax)?, self.limits)
            .with_context(|| format!("pax header {}", shown(&raw.path())))
    }

    fn long(&mut self, raw: &HeaderBlock<'_>) -> Result<Vec<u8>> {
        // far above the limit of paths, whose error has the name
        let mut name = self.read_data(raw, 64 << 10)?;
        let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        name.truncate(length);
        Ok(name)
    }

    fn entry(&mut self, raw: &HeaderBlock<'_>, before: ExtendedHeaders) -> Result<Entry> {
        let path = before.name(raw);
        let ExtendedHeaders { long_link, pax, .. } = before;
        let (uid, gid) = raw.owner()?;
        let link = || long_link.clone().or(pax.linkpath.clone()).unwrap_or_else(|| raw.link());
        let size = match pax.size {
            Some(size) => size,
            None => raw.size()?,
        };
        let kind = match raw.flag() {
            // the oldest tars mark a directory by a final slash only
            0 if path.ends_with(b"/") => TarEntryType::Directory,
            b'0' | 0 | b'7' => TarEntryType::File,
            b'1' => TarEntryType::HardLink(link()),
            b'2' => TarEntryType::Symlink(link()),
            b'3' => raw.device().map(|(major, minor)| TarEntryType::Character(major, minor))?,
            b'4' => raw.device().map(|(major, minor)| TarEntryType::Block(major, minor))?,
            b'5' => TarEntryType::Directory,
            b'6' => TarEntryType::Fifo,
            b'S' => self.old_sparse(raw)?,
            other => bail!(coded!(ImageInvalid, "type {:?} is not supported", char::from(other))),
        };
        // only regular files have data; old tars have sizes for other entries
        self.begin(if matches!(kind, TarEntryType::File | TarEntryType::Sparse { .. }) { size } else { 0 });
        let kind = match kind {
            TarEntryType::File => self.pax_sparse(&pax)?,
            other => other,
        };
        check_extents(&kind, self.data)?;
        Ok(Entry {
            path,
            kind,
            mode: raw.mode()?,
            uid: id("uid", pax.uid.unwrap_or(uid))?,
            gid: id("gid", pax.gid.unwrap_or(gid))?,
            mtime: pax.mtime.map_or_else(|| raw.mtime(), Ok)?,
            xattrs: pax.xattrs,
            size: self.data,
        })
    }

    fn old_sparse(&mut self, raw: &HeaderBlock<'_>) -> Result<TarEntryType> {
        let (mut extents, mut more, size) = raw.sparse()?;
        while more {
            let block = self.block()?.code(Code::ArchiveInvalid, "the archive ends within a sparse map")?;
            more = extension_block(&block, &mut extents)?;
            self.within(extents.len())?;
        }
        Ok(TarEntryType::Sparse { extents, size })
    }

    fn within(&self, extents: usize) -> Result<()> {
        if extents > self.limits.extents {
            bail!(coded!(ImageInvalid, "a sparse file of more than {} pieces", self.limits.extents));
        }
        Ok(())
    }

    /// Reads a sparse map: formats 0.0 and 0.1 have it in the pax header, 1.0 before the data.
    fn pax_sparse(&mut self, pax: &Pax) -> Result<TarEntryType> {
        let sparse = &pax.sparse;
        match (sparse.major, sparse.minor) {
            (None | Some(0), _) => match sparse.size {
                Some(size) => Ok(TarEntryType::Sparse { extents: sparse.extents.clone(), size }),
                None if sparse.extents.is_empty() => Ok(TarEntryType::File),
                None => bail!(coded!(ImageInvalid, "a sparse map without the file's size")),
            },
            (Some(1), Some(0)) => {
                let size = sparse.size.context("a sparse file without its size")?;
                Ok(TarEntryType::Sparse { extents: self.map_in_data()?, size })
            }
            (major, minor) => bail!(coded!(ImageInvalid, "sparse form {major:?}.{minor:?} is not supported")),
        }
    }

    /// Reads a map of format 1.0: decimal numbers, one a line: the count, then offset and length of each extent; padded
    /// to whole blocks.
    fn map_in_data(&mut self) -> Result<Vec<(u64, u64)>> {
        let start = self.data;
        let count = usize::try_from(self.line()?)?;
        self.within(count)?;
        let mut extents = Vec::new();
        for _ in 0..count {
            extents.push((self.line()?, self.line()?));
        }
        let mut fill = (start - self.data).wrapping_neg() % BLOCK as u64;
        while fill > 0 {
            let length = self.chunk()?.len().min(usize::try_from(fill)?);
            if length == 0 {
                bail!(coded!(ImageInvalid, "a sparse map that does not end"));
            }
            self.consume(length);
            fill -= length as u64;
        }
        Ok(extents)
    }

    fn line(&mut self) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            let Some(&byte) = self.chunk()?.first() else {
                bail!(coded!(ImageInvalid, "a sparse map that does not end"))
            };
            self.consume(1);
            match byte {
                b'\n' => return unsigned(&digits).context("sparse map"),
                _ if digits.len() >= 20 => bail!(coded!(ImageInvalid, "sparse map: a number of more than 20 digits")),
                digit => digits.push(digit),
            }
        }
    }
}

impl ExtendedHeaders {
    /// Returns the entry's path. Of GNU's form and pax' the former counts, as in Go's archive/tar, the basis of Docker,
    /// Podman and umoci.
    fn name(&self, raw: &HeaderBlock<'_>) -> Vec<u8> {
        let sparse = self.pax.sparse.name.as_ref();
        sparse.or(self.long_name.as_ref()).or(self.pax.path.as_ref()).cloned().unwrap_or_else(|| raw.path())
    }
}

/// Checks that the extents are in order, inside the file, and as long as the data.
fn check_extents(kind: &TarEntryType, data: u64) -> Result<()> {
    let TarEntryType::Sparse { extents, size } = kind else { return Ok(()) };
    let (mut at, mut sum) = (0u64, 0u64);
    for &(offset, length) in extents {
        let end = offset.checked_add(length).filter(|end| offset >= at && end <= size);
        at = end.with_context(|| format!("sparse map: {length} bytes at {offset} in a file of {size}"))?;
        sum += length; // at most `at`, which is at most `size`
    }
    if sum != data {
        bail!(coded!(ImageInvalid, "sparse map: its pieces have {sum} bytes, {data} follow"));
    }
    Ok(())
}

/// Converts an ID; −1 is refused, because chown(2) reads it as "leave unchanged".
fn id(what: &str, value: i128) -> Result<u32> {
    u32::try_from(value).ok().filter(|&id| id != u32::MAX).with_context(|| format!("{what} {value} is out of range"))
}
