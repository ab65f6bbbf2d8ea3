//! Platforms, and the choice of an image from an index.

use base::coded;
use std::fmt;

use anyhow::{Result, bail};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, Platform as Described};

use super::manifest::is_foreign;

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
            _ => bail!(coded!(ImagePlatform, "platform {text:?}: not of the form OS/ARCH[/VARIANT]")),
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

    /// Returns operating system, architecture and variant.
    pub fn parts(&self) -> (&str, &str, Option<&str>) {
        (&self.os, &self.architecture, self.variant.as_deref())
    }

    /// Returns whether an image runs on this platform, by its configuration.
    pub fn runs(&self, config: &ImageConfiguration) -> bool {
        // tools that write no platform write images for any
        let is = |stated: &str, own: &str| stated.is_empty() || stated == own;
        is(&config.os().to_string(), &self.os) && is(&config.architecture().to_string(), &self.architecture)
    }

    /// Chooses the entry of an index: the requested variant, else a compatible one, else the first without a platform.
    /// One whose digest is of an algorithm that corm lacks is chosen only where no other fits.
    pub fn choose<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let (foreign, own): (Vec<_>, Vec<_>) = index.manifests().iter().partition(|entry| is_foreign(entry));
        self.choose_of(&own).or_else(|| self.choose_of(&foreign))
    }

    /// Returns the words about an index without an image for this platform: those that it has.
    pub fn lacking(&self, index: &ImageIndex) -> String {
        let described = index.manifests().iter().filter_map(|entry| entry.platform().as_ref());
        let mut all: Vec<String> = described
            .map(|platform| {
                let variant = platform.variant().as_deref().filter(|variant| !variant.is_empty());
                let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
                format!("{}/{}{variant}", platform.os(), platform.architecture())
            })
            // attestations
            .filter(|platform| platform != "unknown/unknown")
            .collect();
        all.dedup();
        let more = if all.len() > 20 { ", …" } else { "" };
        all.truncate(20);
        match all.as_slice() {
            [] => format!("no image for {self}"),
            all => format!("no image for {self} (there are {}{more}: choose one with --platform)", all.join(", ")),
        }
    }

    fn choose_of<'a>(&self, entries: &[&'a Descriptor]) -> Option<&'a Descriptor> {
        let of = |entry: &'a Descriptor, variant: Option<&str>| {
            entry.platform().as_ref().is_some_and(|platform| self.matches(platform, variant))
        };
        let best = self.variants().into_iter().find_map(|variant| entries.iter().find(|entry| of(entry, variant)));
        // attestations beside it have the platform unknown/unknown
        best.or_else(|| entries.iter().find(|entry| has_no_platform(entry))).copied()
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
            // the usual one since long, which other tools mean by `arm` too
            None if self.architecture == "arm" => vec![None, Some("v7"), Some("v6"), Some("v5")],
            None => std::iter::once(None).chain(known.last().copied().map(Some)).collect(),
        }
    }
}

/// Returns whether an entry of an index states no platform.
fn has_no_platform(entry: &Descriptor) -> bool {
    let empty =
        |platform: &Described| platform.os().to_string().is_empty() && platform.architecture().to_string().is_empty();
    entry.platform().as_ref().is_none_or(empty)
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
            ("linux/arm", usual, Some(1)),
            ("linux/arm", &["linux/arm/v6", "linux/arm/v7"], Some(1)),
            ("linux/arm", &["linux/arm/v5", "linux/arm", "linux/arm/v7"], Some(1)),
            ("linux/arm", &["linux/arm/v6"], Some(0)),
            ("linux/arm", &["linux/arm/v8"], None),
            ("linux/s390x", usual, None),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64/v1"], Some(1)),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v3", "linux/amd64/v4"], Some(1)),
            ("linux/amd64", &["linux/amd64/v3"], None),
            ("linux/amd64", &[""], Some(0)),
            ("linux/amd64", &["", ""], Some(0)),
            ("linux/amd64", &["unknown/unknown", ""], Some(1)),
            ("linux/amd64", &["", "linux/amd64"], Some(1)),
            ("linux/amd64", &["unknown/unknown"], None),
            ("linux/amd64", &[], None),
        ];
        for (platform, entries, want) in table {
            let index = index(entries);
            let found = Platform::parse(platform).unwrap().choose(&index).map(Descriptor::size);
            assert_eq!(found, *want, "{platform} of {entries:?}");
        }
    }

    #[test]
    fn an_entry_of_another_algorithm_comes_last() {
        let foreign = |at: usize, entries: &[&str]| {
            let mut index = serde_json::to_value(index(entries)).unwrap();
            index["manifests"][at]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
            serde_json::from_value::<ImageIndex>(index).unwrap()
        };
        let host = Platform::parse("linux/amd64").unwrap();
        let chosen = |index: &ImageIndex| host.choose(index).map(Descriptor::size);
        assert_eq!(chosen(&foreign(0, &["linux/arm64", "linux/amd64"])), Some(1));
        assert_eq!(chosen(&foreign(0, &["linux/amd64", "linux/amd64"])), Some(1));
        assert_eq!(chosen(&foreign(1, &["linux/arm64", "linux/amd64"])), Some(1));
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64/", "linux/am d64", "linux/\n"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Platform::parse("Linux/ARM64/V8").unwrap().to_string(), "linux/arm64/v8");
    }
}
