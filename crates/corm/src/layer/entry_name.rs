//! Names of entries: normalisation, validation, and whiteouts.

use anyhow::{Result, bail};
use base::coded;

use crate::model::limits::Limits;

/// Maximum length of a path component.
const MAX_NAME_BYTES: usize = 255;

/// A path below the root: components joined by `/`, none of them empty, `.` or `..`; empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LayerPath(Vec<u8>);

impl LayerPath {
    /// Normalises a name of an archive. A leading `/` is removed, as tar does.
    ///
    /// # Errors
    /// The name has `..` or NUL, or exceeds the limits.
    pub(crate) fn new(raw: &[u8], limits: &Limits) -> Result<Self> {
        if raw.is_empty() {
            bail!(coded!(ImageInvalid, "an empty name"));
        }
        if raw.contains(&0) {
            bail!(coded!(ImageInvalid, "NUL in a name"));
        }
        if raw.len() > limits.path {
            bail!(coded!(ImageInvalid, "a path of {} bytes, over the limit of {}", raw.len(), limits.path));
        }
        let mut path = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for part in raw.split(|&byte| byte == b'/').filter(|part| !matches!(part, [] | [b'.'])) {
            if part == b".." {
                bail!(coded!(ImageInvalid, "\"..\" in a path"));
            }
            if part.len() > MAX_NAME_BYTES {
                bail!(coded!(ImageInvalid, "a name of {} bytes, over the limit of {MAX_NAME_BYTES}", part.len()));
            }
            if depth > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(part);
            depth += 1;
        }
        if depth > limits.depth {
            bail!(coded!(ImageInvalid, "{depth} directories deep, over the limit of {}", limits.depth));
        }
        Ok(Self(path))
    }

    /// Returns the bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Splits off the last component; `None` for the root.
    pub(crate) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(at) => {
                let (parent, name) = self.0.split_at(at);
                Some((parent, name.get(1..).unwrap_or_default()))
            }
            None => Some((&[], &self.0)),
        }
    }
}

/// Meaning of a path's last component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// The name of a file.
    Plain(&'a [u8]),
    /// A whiteout of this name.
    Whiteout(&'a [u8]),
    /// An opaque whiteout: it hides the directory's content in lower layers.
    Opaque,
    /// aufs' own files (`.wh..wh.plnk`, `.wh..wh.aufs` …) and the content of its directories.
    Aufs,
}

/// Prefix of whiteouts.
pub(crate) const WHITEOUT: &[u8] = b".wh.";

/// Name of the opaque whiteout.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Classifies a path by its reserved names.
///
/// # Errors
/// A whiteout without a name, of `.` or `..`; a directory with a reserved name.
pub(crate) fn classify(path: &LayerPath) -> Result<Name<'_>> {
    let Some((parent, name)) = path.split() else { return Ok(Name::Plain(&[])) };
    match parent.split(|&byte| byte == b'/').find_map(|part| part.strip_prefix(WHITEOUT)) {
        Some(part) if part.starts_with(WHITEOUT) => return Ok(Name::Aufs),
        Some(_) => bail!(coded!(ImageInvalid, "a whiteout is no directory")),
        None => {}
    }
    match name.strip_prefix(WHITEOUT) {
        None => Ok(Name::Plain(name)),
        Some(b".wh..opq") => Ok(Name::Opaque),
        Some(rest) if rest.starts_with(WHITEOUT) => Ok(Name::Aufs),
        Some(b"" | b"." | b"..") => bail!(coded!(ImageInvalid, "a whiteout of no name")),
        Some(name) => Ok(Name::Whiteout(name)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_are_made_plain_or_refused() {
        let long = [b'a'; 256];
        let path = "a/".repeat(3000);
        let deep = "a/".repeat(1100);
        let cases: [(&[u8], Option<&[u8]>); 14] = [
            (b"a", Some(b"a")),
            (b"./", Some(b"")),
            (b"/", Some(b"")),
            (b"///a//b/./c/", Some(b"a/b/c")),
            (b"...", Some(b"...")),
            (b"a\nb\x1b[0m\xff", Some(b"a\nb\x1b[0m\xff")),
            (b"", None),
            (b"..", None),
            (b"a/../b", None),
            (b"/..", None),
            (b"a\0b", None),
            (&long, None),
            (path.as_bytes(), None),
            (deep.as_bytes(), None),
        ];
        for (raw, inner) in cases {
            let got = LayerPath::new(raw, &Limits::default()).ok();
            assert_eq!(got.as_ref().map(LayerPath::bytes), inner, "{}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn reserved_names() {
        let cases: [(&str, Option<Name<'_>>); 13] = [
            ("a/b", Some(Name::Plain(b"b"))),
            ("a/.wha", Some(Name::Plain(b".wha"))),
            ("a/.wh.b", Some(Name::Whiteout(b"b"))),
            (".wh.b", Some(Name::Whiteout(b"b"))),
            ("a/.wh..b", Some(Name::Whiteout(b".b"))),
            ("a/.wh..wh..opq", Some(Name::Opaque)),
            (".wh..wh.aufs", Some(Name::Aufs)),
            (".wh..wh.plnk/1.2", Some(Name::Aufs)),
            (".wh.", None),
            (".wh..", None),
            (".wh...", None),
            (".wh.a/b", None),
            ("a/.wh.b/c/d", None),
        ];
        for (path, expected) in cases {
            let path = LayerPath::new(path.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(classify(&path).ok(), expected, "{path:?}");
        }
    }
}
