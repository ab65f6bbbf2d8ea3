//! A tar header block: numbers, names and checksum. `archive` adds pax headers and long names.

use anyhow::{Context as _, Result, bail};
use base::coded;
use tar::Header;

use super::entry::Time;

/// Offset and length of each data extent of a sparse file.
pub(super) type Extents = Vec<(u64, u64)>;

/// Size of a block in bytes; a header is one block, data is padded to whole ones.
pub(super) const BLOCK: usize = 512;

/// Parses a number: octal digits, or two's complement with the first bit set (GNU, star: "base-256").
///
/// # Errors
/// The field has neither form; a number of twelve bytes always fits the type.
pub(super) fn number(field: &[u8]) -> Result<i128> {
    match field.split_first() {
        Some((&first, rest)) if first & 0x80 != 0 => {
            // the first bit marks the format, the second is the sign
            let start = i128::from(first & 0x7f) - if first & 0x40 != 0 { 0x80 } else { 0 };
            Ok(rest.iter().fold(start, |value, &byte| (value << 8) | i128::from(byte)))
        }
        _ => octal(field),
    }
}

fn octal(field: &[u8]) -> Result<i128> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = field.get(start..).unwrap_or_default();
    let length = digits.iter().position(blank).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(length);
    if !digits.iter().all(|byte| matches!(byte, b'0'..=b'7')) || !rest.iter().all(blank) {
        bail!(coded!(ImageInvalid, "number {:?} is not octal", String::from_utf8_lossy(field)));
    }
    Ok(digits.iter().fold(0, |value, byte| value * 8 + i128::from(byte - b'0')))
}

/// Returns the bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A header block with a valid checksum.
pub(super) struct HeaderBlock<'a>(&'a Header);

impl<'a> HeaderBlock<'a> {
    /// Checks a block; `None` for a block of zeros, the end marker.
    ///
    /// # Errors
    /// The checksum is wrong: the bytes are no tar, or damaged.
    pub(super) fn new(block: &'a [u8; BLOCK]) -> Result<Option<Self>> {
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(block);
        let field = header.as_old().cksum;
        // the checksum field counts as blanks; some programs added signed bytes
        let others = |sum: fn(u8) -> i128| -> i128 {
            let all: i128 = block.iter().map(|&byte| sum(byte)).sum();
            all - field.iter().map(|&byte| sum(byte)).sum::<i128>() + 8 * i128::from(b' ')
        };
        let said = number(&field).context("checksum")?;
        if said != others(i128::from) && said != others(|byte| i128::from(byte as i8)) {
            bail!(coded!(ArchiveInvalid, "wrong checksum of a header: not a tar archive, or a damaged one"));
        }
        Ok(Some(Self(header)))
    }

    /// Returns the type flag.
    pub(super) fn flag(&self) -> u8 {
        let [flag] = self.0.as_old().linkflag;
        flag
    }

    /// Returns the name, joined with ustar's prefix.
    pub(super) fn path(&self) -> Vec<u8> {
        self.0.path_bytes().into_owned()
    }

    /// Returns the target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0.as_old().linkname).to_vec()
    }

    /// Returns the number of bytes of data.
    pub(super) fn size(&self) -> Result<u64> {
        let size = number(&self.0.as_old().size).context("size")?;
        u64::try_from(size).ok().filter(|&size| size <= i64::MAX as u64).with_context(|| format!("size {size}"))
    }

    /// Returns permissions with set-id and sticky bits.
    pub(super) fn mode(&self) -> Result<u32> {
        let mode = number(&self.0.as_old().mode).context("mode")?;
        Ok((mode & 0o7777) as u32)
    }

    /// Returns owner and group, unchecked.
    pub(super) fn owner(&self) -> Result<(i128, i128)> {
        let old = self.0.as_old();
        Ok((number(&old.uid).context("uid")?, number(&old.gid).context("gid")?))
    }

    /// Returns the modification time.
    pub(super) fn mtime(&self) -> Result<Time> {
        let seconds = number(&self.0.as_old().mtime).context("mtime")?;
        let seconds = i64::try_from(seconds).ok().with_context(|| format!("mtime {seconds} is out of range"))?;
        Ok(Time { seconds, nanoseconds: 0 })
    }

    /// Returns major and minor number of a device.
    pub(super) fn device(&self) -> Result<(u32, u32)> {
        let (major, minor) = match (self.0.as_ustar(), self.0.as_gnu()) {
            (Some(header), _) => (&header.dev_major, &header.dev_minor),
            (_, Some(header)) => (&header.dev_major, &header.dev_minor),
            _ => bail!(coded!(ImageInvalid, "a device without numbers: the header is of the oldest form")),
        };
        let fit = |field: &[u8]| -> Result<u32> {
            let value = number(field).context("device number")?;
            u32::try_from(value).ok().with_context(|| format!("device number {value}"))
        };
        Ok((fit(major)?, fit(minor)?))
    }

    /// Parses GNU's old sparse format: the first extents, whether an extension block follows, the file's size.
    pub(super) fn sparse(&self) -> Result<(Extents, bool, u64)> {
        let Some(gnu) = self.0.as_gnu() else {
            bail!(coded!(ImageInvalid, "a sparse file in a header that is not GNU's"))
        };
        let mut extents = Extents::new();
        for piece in &gnu.sparse {
            push_piece(&mut extents, &piece.offset, &piece.numbytes)?;
        }
        Ok((extents, gnu.isextended != [0], unsigned(&gnu.realsize)?))
    }
}

/// Parses an extension block of GNU's old sparse format; returns whether another one follows.
pub(super) fn extension_block(block: &[u8; BLOCK], extents: &mut Extents) -> Result<bool> {
    let (table, rest) = block.split_at(504);
    for piece in table.chunks(24) {
        let (offset, length) = piece.split_at(12);
        push_piece(extents, offset, length)?;
    }
    Ok(rest.first().is_some_and(|&more| more != 0))
}

fn push_piece(extents: &mut Extents, offset: &[u8], length: &[u8]) -> Result<()> {
    if offset.first().is_some_and(|&byte| byte != 0) && length.first().is_some_and(|&byte| byte != 0) {
        extents.push((unsigned(offset)?, unsigned(length)?));
    }
    Ok(())
}

fn unsigned(field: &[u8]) -> Result<u64> {
    let value = number(field).context("sparse map")?;
    u64::try_from(value).ok().with_context(|| format!("sparse map: {value}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn numbers_in_all_forms() {
        let cases: [(&[u8], Option<i128>); 12] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0\0\0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Some((1 << 94) - 1)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"644 644\0", None),
        ];
        for (field, value) in cases {
            assert_eq!(number(field).ok(), value, "{field:?}");
        }
    }

    #[test]
    fn a_header_is_known_by_its_checksum() {
        let mut header = Header::new_gnu();
        header.set_cksum();
        assert!(HeaderBlock::new(header.as_bytes()).unwrap().is_some());
        assert!(HeaderBlock::new(&[0; BLOCK]).unwrap().is_none());
        let mut damaged = *header.as_bytes();
        damaged[0] ^= 1;
        assert!(HeaderBlock::new(&damaged).is_err());
        assert!(HeaderBlock::new(&[b'A'; BLOCK]).is_err());
    }
}
