//! Platforms, and the choice of an image from an index.

use std::fmt;

use anyhow::{Result, bail};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, Platform as Described};

/// An operating system and architecture, as GOOS and GOARCH name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// Parses `OS/ARCH[/VARIANT]`.
    ///
    /// # Errors
    /// The text has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            !part.is_empty() && part.bytes().all(plain)
        };
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] if parts.iter().all(word) => (os, architecture, None),
            [os, architecture, variant] if parts.iter().all(word) => (os, architecture, Some(variant)),
            _ => bail!("platform {text:?}: not of the form OS/ARCH[/VARIANT]"),
        };
        let lower = |text: &&str| text.to_ascii_lowercase();
        let architecture = match lower(architecture).as_str() {
            "x86_64" | "x86-64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        };
        Ok(Self { os: lower(os), architecture, variant: variant.map(lower) })
    }

    /// Returns the platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "x86" => ("386", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "powerpc64" => ("ppc64", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Returns whether an image runs on this platform, by its configuration.
    pub fn runs(&self, config: &ImageConfiguration) -> bool {
        config.os().to_string() == self.os && config.architecture().to_string() == self.architecture
    }

    /// Chooses the entry of an index: the requested variant, else a compatible one. An index of a single image without
    /// a platform yields that image.
    pub fn choose<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let entries = index.manifests();
        let of = |entry: &'a Descriptor, variant: Option<&str>| {
            entry.platform().as_ref().is_some_and(|platform| self.matches(platform, variant))
        };
        let best = self.variants().into_iter().find_map(|variant| entries.iter().find(|entry| of(entry, variant)));
        match (best, entries.as_slice()) {
            (None, [only]) if only.platform().is_none() => Some(only),
            (best, _) => best,
        }
    }

    fn matches(&self, platform: &Described, variant: Option<&str>) -> bool {
        platform.os().to_string() == self.os
            && platform.architecture().to_string() == self.architecture
            && platform.variant().as_deref().filter(|variant| !variant.is_empty()) == variant
    }

    /// Returns the compatible variants, best first, because a processor runs code of its predecessors.
    fn variants(&self) -> Vec<Option<&str>> {
        let known: &[&str] = match self.architecture.as_str() {
            "arm" => &["v8", "v7", "v6", "v5"],
            "arm64" => &["v8"],
            "amd64" => &["v4", "v3", "v2", "v1"],
            _ => &[],
        };
        match self.variant.as_deref() {
            Some(wanted) => {
                let at = known.iter().position(|variant| *variant == wanted);
                let older = at.and_then(|at| known.get(at + 1..)).unwrap_or_default();
                std::iter::once(Some(wanted)).chain(older.iter().copied().map(Some)).chain([None]).collect()
            }
            None => std::iter::once(None).chain(known.last().copied().map(Some)).collect(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::{Value, json};

    fn index(platforms: &[&str]) -> ImageIndex {
        let entry = |(at, text): (usize, &&str)| -> Value {
            let parts: Vec<&str> = text.split('/').collect();
            let mut entry = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": at,
                "digest": format!("sha256:{}", "a".repeat(64)),
            });
            if let [os, architecture, rest @ ..] = parts.as_slice() {
                entry["platform"] = json!({ "os": os, "architecture": architecture, "variant": rest.first() });
            }
            entry
        };
        let manifests: Vec<Value> = platforms.iter().enumerate().map(entry).collect();
        serde_json::from_value(json!({ "schemaVersion": 2, "manifests": manifests })).unwrap()
    }

    #[test]
    fn the_best_image_of_an_index_is_chosen() {
        let usual: &[&str] = &[
            "linux/arm/v5",
            "linux/arm/v7",
            "linux/arm64/v8",
            "linux/amd64",
            "linux/386",
            "windows/amd64",
            "unknown/unknown",
        ];
        let table: &[(&str, &[&str], Option<u64>)] = &[
            ("linux/amd64", usual, Some(3)),
            ("linux/x86_64", usual, Some(3)),
            ("windows/amd64", usual, Some(5)),
            ("linux/arm64", usual, Some(2)),
            ("linux/aarch64/v8", usual, Some(2)),
            ("linux/arm/v7", usual, Some(1)),
            ("linux/arm/v6", usual, Some(0)),
            ("linux/arm", usual, Some(0)),
            ("linux/s390x", usual, None),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64/v1"], Some(1)),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v3", "linux/amd64/v4"], Some(1)),
            ("linux/amd64", &["linux/amd64/v3"], None),
            ("linux/amd64", &[""], Some(0)),
            ("linux/amd64", &["", ""], None),
            ("linux/amd64", &[], None),
        ];
        for (platform, entries, want) in table {
            let index = index(entries);
            let found = Platform::parse(platform).unwrap().choose(&index).map(Descriptor::size);
            assert_eq!(found, *want, "{platform} of {entries:?}");
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64/", "linux/am d64", "linux/\n"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Platform::parse("Linux/ARM64/V8").unwrap().to_string(), "linux/arm64/v8");
    }
}
