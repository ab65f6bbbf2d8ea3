//! Tar headers of an entry: ustar where sufficient, else preceded by a pax header.

use std::io::{self, Write};

use tar::{EntryType, Header};

use crate::layer::entry::Entry;
use crate::layer::entry::TarEntryType;
use crate::layer::entry::Time;
use crate::layer::header::BLOCK;

/// Maximum length of a name in the header.
const MAX_NAME_BYTES: usize = 100;

/// Maximum user or group ID in the header: seven octal digits.
const MAX_ID: u32 = 0o7_777_777;
const SIZE_MAX: u64 = 0o77_777_777_777;

/// Writes the header of an entry with `size` bytes of data.
pub(super) fn write(out: &mut dyn Write, entry: &Entry, size: u64) -> io::Result<()> {
    let mut path = entry.path.clone();
    if entry.kind == TarEntryType::Directory {
        // the root is "./"; the name of a directory ends in a slash
        path.extend_from_slice(if path.is_empty() { b"./" } else { b"/" });
    }
    let records = records(entry, &path, size);
    if !records.is_empty() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        set_name(&mut header, b"PaxHeaders.0");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        finish(out, header)?;
        out.write_all(&records)?;
        pad(out, records.len() as u64)?;
    }
    ustar(out, entry, &path, size)
}

/// Writes zeros to the end of the last block of `size` bytes.
pub(super) fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let fill = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
    out.write_all([0; BLOCK].get(..fill).unwrap_or_default())
}

/// Returns the map of GNU's sparse format 1.0, which precedes the data.
pub(super) fn map(extents: &[(u64, u64)]) -> Vec<u8> {
    let mut text = format!("{}\n", extents.len());
    for (offset, length) in extents {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

fn ustar(out: &mut dyn Write, entry: &Entry, path: &[u8], size: u64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    set_name(&mut header, path);
    header.set_mode(entry.mode);
    header.set_uid(u64::from(if entry.uid <= MAX_ID { entry.uid } else { 0 }));
    header.set_gid(u64::from(if entry.gid <= MAX_ID { entry.gid } else { 0 }));
    header.set_size(if size <= SIZE_MAX { size } else { 0 });
    header.set_mtime(u64::try_from(entry.mtime.seconds).ok().filter(|&time| time <= SIZE_MAX).unwrap_or(0));
    let mut link: &[u8] = &[];
    let kind = match &entry.kind {
        TarEntryType::File | TarEntryType::Sparse { .. } => EntryType::Regular,
        TarEntryType::Directory => EntryType::Directory,
        TarEntryType::Symlink(target) => {
            link = target;
            EntryType::Symlink
        }
        TarEntryType::HardLink(first) => {
            link = first;
            EntryType::Link
        }
        TarEntryType::Character(major, minor) => device(&mut header, EntryType::Char, *major, *minor)?,
        TarEntryType::Block(major, minor) => device(&mut header, EntryType::Block, *major, *minor)?,
        TarEntryType::Fifo => EntryType::Fifo,
    };
    header.set_entry_type(kind);
    copy_cut(&mut header.as_old_mut().linkname, link);
    finish(out, header)
}

fn device(header: &mut Header, kind: EntryType, major: u32, minor: u32) -> io::Result<EntryType> {
    header.set_device_major(major)?;
    header.set_device_minor(minor)?;
    Ok(kind)
}

fn finish(out: &mut dyn Write, mut header: Header) -> io::Result<()> {
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn set_name(header: &mut Header, name: &[u8]) {
    copy_cut(&mut header.as_old_mut().name, name);
}

fn copy_cut(field: &mut [u8; MAX_NAME_BYTES], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
}

/// Returns the pax records for values that do not fit into the header.
fn records(entry: &Entry, path: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if let TarEntryType::Sparse { size, .. } = entry.kind {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", path);
        record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
    }
    if path.len() > MAX_NAME_BYTES {
        record(&mut records, b"path", path);
    }
    if let TarEntryType::Symlink(link) | TarEntryType::HardLink(link) = &entry.kind
        && link.len() > MAX_NAME_BYTES
    {
        record(&mut records, b"linkpath", link);
    }
    if size > SIZE_MAX {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id > MAX_ID {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    let whole = u64::try_from(entry.mtime.seconds).is_ok_and(|seconds| seconds <= SIZE_MAX);
    if entry.mtime.nanoseconds != 0 || !whole {
        record(&mut records, b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.to_bytes()].concat(), value);
    }
    records
}

/// Formats seconds with the necessary digits of the nanoseconds; before 1970 both count backwards.
fn time(time: Time) -> String {
    let (mut seconds, mut nanoseconds, mut sign) = (i128::from(time.seconds), time.nanoseconds, "");
    if seconds < 0 {
        sign = "-";
        seconds = -seconds;
        if nanoseconds > 0 {
            seconds -= 1;
            nanoseconds = 1_000_000_000 - nanoseconds;
        }
    }
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let fraction = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// Appends `LENGTH KEY=VALUE
/// `, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3; // blank, equals sign, newline
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for (value, expected) in [("b", 6), ("bbbb", 9), ("bbbbb", 11), ("bbbbbb", 12)] {
            let mut records = Vec::new();
            record(&mut records, b"a", value.as_bytes());
            assert_eq!(records.len(), expected, "{value}");
            assert!(records.starts_with(expected.to_string().as_bytes()));
        }
    }

    #[test]
    fn times_before_1970_count_backwards() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (1, 1, "1.000000001"),
            (-1, 0, "-1"),
            (-2, 500_000_000, "-1.5"),
            (-1, 750_000_000, "-0.25"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            assert_eq!(time(Time { seconds, nanoseconds }), text);
        }
    }
}
