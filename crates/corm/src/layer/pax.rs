//! Records of pax extended headers (POSIX, with the keywords of GNU tar, star and libarchive).

use base::coded;
use std::ffi::CString;

use anyhow::{Context as _, Result, bail};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};

use super::entry::{Time, shown};
use crate::model::limits::Limits;

/// Base64 with or without padding, because writers differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Attributes for the next entry. An empty value removes an earlier record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pax {
    /// Path, in place of the header's.
    pub path: Option<Vec<u8>>,
    /// Link target, in place of the header's.
    pub linkpath: Option<Vec<u8>>,
    /// Size of the data, in place of the header's.
    pub size: Option<u64>,
    /// Owner.
    pub uid: Option<i128>,
    /// Group.
    pub gid: Option<i128>,
    /// Modification time.
    pub mtime: Option<Time>,
    /// Extended attributes.
    pub xattrs: Vec<(CString, Vec<u8>)>,
    /// GNU's sparse formats 0.0, 0.1 and 1.0.
    pub sparse: Sparse,
}

/// The `GNU.sparse.*` records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sparse {
    /// Major version of the format 1.x, which has the map in the data.
    pub major: Option<u64>,
    /// Minor version.
    pub minor: Option<u64>,
    /// Name of the file (0.1 and 1.0: that in the header is generated).
    pub name: Option<Vec<u8>>,
    /// Size of the file: `GNU.sparse.size` or `.realsize`.
    pub size: Option<u64>,
    /// Sparse map of the formats 0.x.
    pub extents: Vec<(u64, u64)>,
    /// Offset of format 0.0 whose length follows.
    offset: Option<u64>,
}

impl Pax {
    /// Parses all records.
    ///
    /// # Errors
    /// A record with a wrong length, a name with NUL, an invalid number.
    pub(super) fn parse(mut data: &[u8], limits: &Limits) -> Result<Self> {
        let mut pax = Self::default();
        while let Some((key, value, rest)) = record(data)? {
            pax.set(key, value, limits).with_context(|| format!("pax record {}", shown(key)))?;
            data = rest;
        }
        if pax.sparse.offset.is_some() {
            bail!(coded!(ImageInvalid, "pax record \"GNU.sparse.offset\" without its length"));
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            return self.xattr(name.to_vec(), value.to_vec(), limits);
        }
        if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
            let name = percent_decoded(name).context("its name is not URL-encoded")?;
            let value = BASE64.decode(value).context("its value is not base64")?;
            return self.xattr(name, value, limits);
        }
        let given = (!value.is_empty()).then_some(value);
        match key {
            b"path" => self.path = given.map(name).transpose()?,
            b"linkpath" => self.linkpath = given.map(name).transpose()?,
            b"size" => self.size = given.map(unsigned).transpose()?,
            b"uid" => self.uid = given.map(signed).transpose()?,
            b"gid" => self.gid = given.map(signed).transpose()?,
            b"mtime" => self.mtime = given.map(time).transpose()?,
            _ => {
                // others are comment, atime, ctime, uname, charset …: not applied
                if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(key, value, limits.extents)?;
                }
            }
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>, limits: &Limits) -> Result<()> {
        if name.is_empty() || name.len() > 255 || value.len() > limits.xattr {
            bail!(coded!(ImageInvalid, "a name of {} and a value of {} bytes", name.len(), value.len()));
        }
        let name = CString::new(name).context("NUL in a name")?;
        // libarchive writes each attribute in both forms
        self.xattrs.retain(|(known, _)| *known != name);
        if self.xattrs.len() >= limits.xattrs {
            bail!(coded!(ImageInvalid, "more than {} extended attributes", limits.xattrs));
        }
        self.xattrs.push((name, value));
        Ok(())
    }

    /// Returns whether no record changes an entry.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8], most: usize) -> Result<()> {
        match key {
            b"major" => self.major = Some(unsigned(value)?),
            b"minor" => self.minor = Some(unsigned(value)?),
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.size = Some(unsigned(value)?),
            b"offset" => self.offset = Some(unsigned(value)?),
            b"numbytes" => {
                let offset = self.offset.take().context("a length without its offset")?;
                self.push(offset, unsigned(value)?, most)?;
            }
            b"map" if !value.is_empty() => {
                let mut numbers = value.split(|&byte| byte == b',').map(unsigned);
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().context("an odd number of numbers")?;
                    self.push(offset?, length?, most)?;
                }
            }
            _ => {} // numblocks, and an empty map
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64, most: usize) -> Result<()> {
        if self.extents.len() >= most {
            bail!(coded!(ImageInvalid, "more than {most} pieces"));
        }
        self.extents.push((offset, length));
        Ok(())
    }
}

/// Key, value, and the rest after the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits off the first record: `LENGTH KEY=VALUE
/// `, where the length counts all of it.
fn record(data: &[u8]) -> Result<Option<Record<'_>>> {
    if data.iter().all(|&byte| byte == 0) {
        return Ok(None); // some writers pad with zeros
    }
    let broken = || format!("broken pax record {}", shown(data));
    let digits = data.iter().position(|&byte| byte == b' ').filter(|&at| at < 20).with_context(broken)?;
    let length = usize::try_from(data.get(..digits).map_or(Ok(0), unsigned)?)?;
    let inner = data.get(digits + 1..length).and_then(|inner| inner.strip_suffix(b"\n")).with_context(broken)?;
    let equals = inner.iter().position(|&byte| byte == b'=').filter(|&at| at > 0).with_context(broken)?;
    let (key, value) = inner.split_at(equals);
    Ok(Some((key, value.get(1..).unwrap_or_default(), data.get(length..).unwrap_or_default())))
}

fn name(value: &[u8]) -> Result<Vec<u8>> {
    if value.contains(&0) {
        bail!(coded!(ImageInvalid, "NUL in the name {}", shown(value)));
    }
    Ok(value.to_vec())
}

/// Parses decimal digits that fit the kernel's signed sizes.
pub(super) fn unsigned(value: &[u8]) -> Result<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = text.and_then(|text| text.parse::<i64>().ok()).and_then(|number| u64::try_from(number).ok());
    number.with_context(|| format!("number {}", shown(value)))
}

fn signed(value: &[u8]) -> Result<i128> {
    let number = std::str::from_utf8(value).ok().filter(|text| text.len() < 30).and_then(|text| text.parse().ok());
    number.with_context(|| format!("number {}", shown(value)))
}

/// Parses a time; `-1.5` is 1.5 s before 1970.
fn time(value: &[u8]) -> Result<Time> {
    let wrong = || format!("time {}", shown(value));
    let text = std::str::from_utf8(value).ok().with_context(wrong)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        bail!(wrong());
    }
    let seconds: i64 = whole.parse().ok().with_context(wrong)?;
    // digits beyond nanoseconds are cut, missing ones are zeros
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok().with_context(wrong)?;
    if whole.starts_with('-') && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1).with_context(wrong)?;
        return Ok(Time { seconds, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Ok(Time { seconds, nanoseconds })
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(*rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn parse(data: &[u8]) -> Result<Pax> {
        Pax::parse(data, &Limits::default())
    }

    #[test]
    fn values_may_hold_any_byte() {
        assert!(parse(b"").unwrap().is_empty());
        let pax = parse(b"12 path=a\nb\n27 SCHILY.xattr.user.x=\0\n\xff\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(pax.xattrs, [(c"user.x".to_owned(), b"\0\n\xff".to_vec())]);
    }

    #[test]
    fn libarchive_encodes_and_repeats() {
        let both = b"38 LIBARCHIVE.xattr.user.%61=AP8KAQ==\n28 SCHILY.xattr.user.a=\0\xff\n\x01\n";
        let pax = parse(both).unwrap();
        assert_eq!(pax.xattrs, [(c"user.a".to_owned(), b"\0\xff\n\x01".to_vec())]);
        let texts: [(&[u8], Option<&[u8]>); 7] = [
            (b"", Some(b"")),
            (b"YQ==", Some(b"a")),
            (b"YQ", Some(b"a")),
            (b"YR==", Some(b"a")),
            (b"YWJj", Some(b"abc")),
            (b"Y", None),
            (b"Y*==", None),
        ];
        for (text, value) in texts {
            assert_eq!(BASE64.decode(text).ok().as_deref(), value, "{text:?}");
        }
    }

    #[test]
    fn times_before_1970_count_forwards() {
        let cases: [(&str, Option<(i64, u32)>); 9] = [
            ("0", Some((0, 0))),
            ("1.5", Some((1, 500_000_000))),
            ("-1.5", Some((-2, 500_000_000))),
            ("-0.25", Some((-1, 750_000_000))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("99999999999999999999", None),
            ("1.-5", None),
            ("1e9", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
            assert_eq!(time(text.as_bytes()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn broken_records_are_errors() {
        let cases: [&[u8]; 9] = [
            b"path=a\n",
            b"99 path=a\n",
            b"8 path=a\n",
            b"10 path=ab",
            b"6 path\n",
            b"5 =a\n",
            b"10 path=\0\n",
            b"18446744073709551615 path=a\n",
            b"0 path=a\n",
        ];
        for data in cases {
            assert!(parse(data).is_err(), "{:?}", String::from_utf8_lossy(data));
        }
        assert!(parse(b"27 GNU.sparse.map=1,2,3,4\n").is_err(), "wrong length");
        assert!(parse(b"24 GNU.sparse.map=1,2,3\n").is_err(), "odd");
        assert_eq!(parse(b"26 GNU.sparse.map=1,2,3,4\n").unwrap().sparse.extents, [(1, 2), (3, 4)]);
    }
}
