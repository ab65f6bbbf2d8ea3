//! Digests: SHA-256 in the form of image manifests.

use base::coded;
use std::fmt;
use std::io::{self, Read, Write};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// Length of a SHA-256 in hexadecimal digits.
const HEX: usize = 64;

/// Prefix of the only accepted algorithm, because every registry and tool writes it.
const ALGORITHM: &str = "sha256:";

/// A digest: `sha256:` and 64 lower-case hexadecimal digits. It serves as a file name, so no other form is accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Parses a digest of a manifest.
    ///
    /// # Errors
    /// Another algorithm, another length, other characters than `0-9a-f`.
    pub fn parse(text: &str) -> Result<Self> {
        let Some(hex) = text.strip_prefix(ALGORITHM) else {
            bail!(coded!(
                ImageInvalid,
                "digest {text:?}: not of the form {ALGORITHM}…, no other algorithm is supported"
            ));
        };
        if hex.len() != HEX || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            bail!(coded!(ImageInvalid, "digest {text:?}: not {HEX} digits of 0-9a-f"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Computes the digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Returns the 64 digits, without the algorithm.
    pub fn hex(&self) -> &str {
        self.0.get(ALGORITHM.len()..).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Returns the ChainID of the image specification: the digest of a layer and all layers below it.
pub fn chain(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    parent.map_or_else(|| diff_id.clone(), |parent| Digest::of(format!("{parent} {diff_id}").as_bytes()))
}

/// An incremental SHA-256.
#[derive(Clone)]
pub struct Hasher(ring::digest::Context);

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher {
    /// Creates a hasher that has read no bytes.
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> Digest {
        use fmt::Write as _;
        let mut text = String::with_capacity(ALGORITHM.len() + HEX);
        text.push_str(ALGORITHM);
        for byte in self.0.finish().as_ref() {
            // writing to a string does not fail
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }
}

/// A reader or writer that hashes and counts its bytes.
pub struct Hashing<T> {
    inner: T,
    hasher: Hasher,
    count: u64,
}

impl<T> Hashing<T> {
    /// Wraps `inner`, which is at its start.
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: Hasher::new(), count: 0 }
    }

    /// Returns the inner value, the digest and the number of bytes.
    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, self.hasher.finish(), self.count)
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.count = self.count.saturating_add(bytes.len() as u64);
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.passed(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.passed(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_sha256_in_lower_case_is_a_digest() {
        assert_eq!(Digest::parse(EMPTY).unwrap().to_string(), EMPTY);
        let upper = EMPTY.to_uppercase().replace("SHA", "sha");
        let bad = ["", "sha256:", "sha512:00", &EMPTY[..70], &upper, "sha256:../../../etc/passwd", &EMPTY[7..]];
        for text in bad.into_iter().chain([&*format!("{EMPTY}0"), &*EMPTY.replace('e', "/")]) {
            assert!(Digest::parse(text).is_err(), "{text}");
            assert!(serde_json::from_value::<Digest>(serde_json::json!(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_passes_is_hashed_and_counted() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let mut writer = Hashing::new(Vec::new());
        writer.write_all(b"ab").unwrap();
        writer.write_all(b"c").unwrap();
        let (bytes, digest, count) = writer.finish();
        assert_eq!((bytes, digest, count), (b"abc".to_vec(), Digest::of(b"abc"), 3));
        let mut reader = Hashing::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish().1, Digest::of(b"abc"));
    }

    #[test]
    fn a_chain_is_the_layer_itself_or_a_digest_of_both() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain(None, &a), a);
        assert_eq!(chain(Some(&a), &b), Digest::of(format!("{a} {b}").as_bytes()));
    }
}
