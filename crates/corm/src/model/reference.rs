//! Image references in Docker's grammar: `busybox` is `docker.io/library/busybox:latest`.
//!
//! The grammar is that of the distribution project, which registries, Podman and Docker enforce: a valid reference has
//! no characters with a meaning in a URL, a path or a header. `store` looks up the local image by the candidates of
//! this module.

use base::coded;
use base::error::{Code, Coding as _};
use std::fmt;

use anyhow::{Context as _, Result, bail};

use super::digest::Digest;

/// Maximum length of registry and repository together, as in the distribution project.
const MAX_NAME_BYTES: usize = 255;

/// Maximum length of a tag.
const MAX_TAG_BYTES: usize = 128;

/// Registry of references without one.
const DEFAULT_REGISTRY: &str = "docker.io";

/// Another host name of that registry.
const DEFAULT_REGISTRY_ALIAS: &str = "index.docker.io";

/// Namespace of Docker's official images in the default registry.
const OFFICIAL_NAMESPACE: &str = "library/";

/// Tag of references without one.
const DEFAULT_TAG: &str = "latest";

/// The part of a reference after the repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Version {
    Tag(String),
    Digest(Digest),
}

/// A complete image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    path: String,
    version: Version,
}

/// Words before a colon that name a place of images for `corm copy`, and no registry.
const TRANSPORTS: [&str; 4] = ["oci", "oci-archive", "docker-archive", "dir"];

impl Reference {
    /// Parses a reference and completes it. A digest takes precedence over a tag beside it, as in Podman.
    ///
    /// # Errors
    /// Names the part that the grammar does not allow.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_inner(text).with_code(Code::ImageName, || format!("image name {text:?}"))
    }

    fn parse_inner(text: &str) -> Result<Self> {
        if let Some((transport, _)) = text.split_once(':').filter(|(word, _)| TRANSPORTS.contains(word)) {
            bail!(coded!(
                ImageName,
                "{transport}: is no registry (`corm copy {text} NAME` and `corm load -i PATH` read archives)"
            ));
        }
        let parts = Parts::split(text)?;
        let (registry, path) = match split_registry(parts.name) {
            (None | Some(DEFAULT_REGISTRY | DEFAULT_REGISTRY_ALIAS), path) => {
                let official = if path.contains('/') { "" } else { OFFICIAL_NAMESPACE };
                (DEFAULT_REGISTRY.to_owned(), format!("{official}{path}"))
            }
            (Some(registry), path) => (registry.to_owned(), path.to_owned()),
        };
        check_registry(&registry)?;
        check_path(&path)?;
        if registry.len() + 1 + path.len() > MAX_NAME_BYTES {
            bail!(coded!(ImageName, "longer than {MAX_NAME_BYTES} bytes"));
        }
        if path.len() == 64 && path.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!(coded!(ImageName, "64 hexadecimal digits are an id, not a name"));
        }
        Ok(Self { registry, path, version: parts.version()? })
    }

    /// Returns the registry: a host name or address, perhaps with a port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag; `None` for a reference by digest.
    pub fn tag(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(tag) => Some(tag),
            Version::Digest(_) => None,
        }
    }

    /// Returns the digest of a reference by digest.
    pub fn digest(&self) -> Option<&Digest> {
        match &self.version {
            Version::Tag(_) => None,
            Version::Digest(digest) => Some(digest),
        }
    }

    /// Returns the tag or digest for the URL of the manifest.
    pub fn version(&self) -> String {
        match &self.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        }
    }

    /// Returns the full reference, `docker.io/library/busybox:latest`: equal for all forms of the same reference.
    pub fn name(&self) -> String {
        format!("{}/{}{}", self.registry, self.path, self.suffix())
    }

    /// Returns the familiar form: without the default registry and `library/`, but with the tag.
    pub fn short(&self) -> String {
        let suffix = self.suffix();
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}{suffix}", self.registry, self.path);
        }
        let path = match self.path.strip_prefix(OFFICIAL_NAMESPACE) {
            // without its prefix the rest could be read as another registry
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.path,
        };
        format!("{path}{suffix}")
    }

    fn suffix(&self) -> String {
        match &self.version {
            Version::Tag(tag) => format!(":{tag}"),
            Version::Digest(digest) => format!("@{digest}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Returns the name under which a new local image is recorded: as given, with `:latest` where it has no tag.
///
/// # Errors
/// The text is no reference, or has a digest, because the content determines the digest.
pub fn local_name(text: &str) -> Result<String> {
    let reference = Reference::parse(text)?;
    if reference.digest().is_some() {
        bail!(coded!(ImageName, "image name {text:?}: must not have a digest"));
    }
    let tagged = Parts::split(text)?.tag.is_some();
    Ok(if tagged { text.to_owned() } else { format!("{text}:{DEFAULT_TAG}") })
}

/// Returns the names under which the image may be recorded, best first: as given, with `:latest`, in full.
pub fn candidates(text: &str) -> Vec<String> {
    let mut names = vec![text.to_owned()];
    names.extend(local_name(text));
    // Podman and Buildah record a local name below `localhost`
    match text.strip_prefix("localhost/") {
        Some(bare) => names.extend(local_name(bare)),
        None if short(text).is_some() => names.extend(local_name(&format!("localhost/{text}"))),
        None => {}
    }
    names.extend(Reference::parse(text).map(|reference| reference.name()));
    names.dedup();
    names
}

/// Returns the key of a login: a registry, or a namespace or repository in it; in the form in which tools store it.
///
/// # Errors
/// The text has a tag, or is no such name.
pub fn login_key(text: &str) -> Result<String> {
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    // of an address as Docker takes it only the host counts
    let text = bare.map_or(text, |bare| bare.split('/').next().unwrap_or_default()).trim_end_matches('/');
    let check = || -> Result<String> {
        let (registry, path) = text.split_once('/').map_or((text, None), |(registry, path)| (registry, Some(path)));
        check_registry(registry)?;
        let registry = if registry == DEFAULT_REGISTRY_ALIAS { DEFAULT_REGISTRY } else { registry };
        let Some(path) = path else { return Ok(registry.to_owned()) };
        check_path(path)?;
        Ok(format!("{registry}/{path}"))
    };
    check().with_context(|| format!("registry {text:?}"))
}

/// Splits a name without a registry into its repository and the rest: the tag and the digest with their marks; `None`
/// for a name with a registry.
pub fn short(text: &str) -> Option<(&str, &str)> {
    let parts = Parts::split(text).ok()?;
    let version = text.get(parts.name.len()..).unwrap_or_default();
    split_registry(parts.name).0.is_none().then_some((parts.name, version))
}

/// A reference split into its parts.
struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // a colon before the last slash is of a port
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if name.is_empty() {
            bail!(coded!(ImageName, "no name"));
        }
        Ok(Self { name, tag, digest })
    }

    fn version(&self) -> Result<Version> {
        if let Some(tag) = self.tag {
            check_tag(tag)?;
        }
        Ok(match self.digest {
            Some(digest) => Version::Digest(Digest::parse(digest).map_err(|err| coded!(ImageName, "{err}"))?),
            None => Version::Tag(self.tag.unwrap_or(DEFAULT_TAG).to_owned()),
        })
    }
}

/// Splits off the registry: the first component, if it has a dot, a colon or a capital letter, or is `localhost`;
/// otherwise it is part of the repository.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':', '['])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_registry(registry: &str) -> Result<()> {
    let (host, port) = if registry.starts_with('[') {
        match registry.split_once(']') {
            Some((host, rest)) => (&registry[..=host.len()], rest),
            None => bail!(coded!(ImageName, "registry {registry:?}: no ']' after the address")),
        }
    } else {
        registry.split_at(registry.find(':').unwrap_or(registry.len()))
    };
    if let Some(port) = port.strip_prefix(':') {
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || port.parse::<u16>().is_err() {
            bail!(coded!(ImageName, "registry {registry:?}: {port:?} is not a port"));
        }
    } else if !port.is_empty() {
        bail!(coded!(ImageName, "registry {registry:?}: {port:?} is not a port"));
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => bail!(coded!(ImageName, "registry {registry:?}: {address:?} is not an address")),
        };
    }
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !host.split('.').all(component) {
        bail!(coded!(ImageName, "registry {registry:?}: not a host name"));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<()> {
    for part in path.split('/') {
        if !is_path_component(part) {
            bail!(coded!(
                ImageName,
                "{part:?} in it: only a-z and 0-9, with single '.', one or two '_' or any '-' between them"
            ));
        }
    }
    Ok(())
}

/// Matches `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_path_component(part: &str) -> bool {
    let alnum = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(alnum) || !bytes.last().is_some_and(alnum) {
        return false;
    }
    bytes
        .split(alnum)
        .all(|separator| matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-'))
}

fn check_tag(tag: &str) -> Result<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().is_some_and(word);
    if !first || tag.len() > MAX_TAG_BYTES || !tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-')) {
        bail!(coded!(
            ImageName,
            "tag {tag:?}: not up to {MAX_TAG_BYTES} of a-z, A-Z, 0-9, '_', '.', '-', of which the first is no '.' or '-'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        let pinned = format!("localhost:5000/a/b@{DIGEST}");
        let both = format!("busybox:1.36@{DIGEST}");
        let (official, eight) = (format!("docker.io/library/busybox@{DIGEST}"), "x".repeat(128));
        let long_tag = format!("a:{eight}");
        let table: &[(&str, &str, &str)] = &[
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/user/app:1", "docker.io/user/app:1", "user/app:1"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("quay.io/a/b/c:T_1.2-x", "quay.io/a/b/c:T_1.2-x", "quay.io/a/b/c:T_1.2-x"),
            ("localhost/web", "localhost/web:latest", "localhost/web:latest"),
            ("Registry/app", "Registry/app:latest", "Registry/app:latest"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x:latest"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x:latest"),
            ("a.b_c__d---e/f", "a.b_c__d---e/f:latest", ""),
            ("u/a.b_c__d---e", "docker.io/u/a.b_c__d---e:latest", "u/a.b_c__d---e:latest"),
            (&pinned, &pinned, &pinned),
            (&both, &official, &official["docker.io/library/".len()..]),
            (&long_tag, &format!("docker.io/library/{long_tag}"), &long_tag),
        ];
        for (text, name, short) in table {
            let Ok(reference) = Reference::parse(text) else {
                assert!(short.is_empty(), "{text} was refused");
                continue;
            };
            assert_eq!((&*reference.name(), &*reference.short()), (*name, *short), "{text}");
            assert_eq!(Reference::parse(&reference.name()).unwrap(), reference, "{text}: the full name");
            assert_eq!(Reference::parse(&reference.short()).unwrap(), reference, "{text}: the short name");
        }
    }

    #[track_caller]
    fn refused<'a>(table: impl IntoIterator<Item = &'a str>) {
        for text in table {
            assert!(Reference::parse(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_empty_or_misplaced_part_is_refused() {
        refused(["", ":", "@", ":tag", "/", "/a", "a/", "a//b", "a:", "a@", "a:b:c", "a@b@c", "x.io/"]);
    }

    #[test]
    fn a_path_with_other_characters_is_refused() {
        refused(["a b", "a\n", "a\0", "ä", "A", "a/B", "a?b", "a#b", "a%2fb", "http://a/b"]);
        refused(["-a", "a-", "a..b", "a___b", "a._b", ".a", "../a", "a/../b", "a/./b"]);
    }

    #[test]
    fn a_registry_that_is_no_host_with_a_port_is_refused() {
        refused(["-x.io/a", "x-.io/a", "x..io/a", "x_y.io/a", "user@x.io/a"]);
        refused(["x.io:/a", "x.io:99999/a", "x.io:+1/a", "x.io:5000:1/a"]);
        refused(["[::1/a", "[::1]x/a", "[zz]/a", "[::1]:/a"]);
        // without a path it is no registry, but a name with a tag
        assert_eq!(Reference::parse("localhost:5000").unwrap().name(), "docker.io/library/localhost:5000");
    }

    #[test]
    fn a_tag_or_digest_of_another_form_is_refused() {
        refused(["a:-x", "a:.x", "a:x/y:z w", "a@sha256:00"]);
        refused([&*format!("a@{}", DIGEST.replace("sha256", "sha512"))]);
    }

    #[test]
    fn what_is_too_long_or_looks_like_an_id_is_refused() {
        refused([&*"a".repeat(256), &format!("a:{}", "x".repeat(129)), &("a/".repeat(127) + "bb")]);
        refused([&*format!("x.io/{}", "0123456789abcdef".repeat(4))]);
    }

    #[test]
    fn a_local_name_stays_as_given() {
        assert_eq!(local_name("web").unwrap(), "web:latest");
        assert_eq!(local_name("web:1").unwrap(), "web:1");
        assert_eq!(local_name("localhost:5000/web").unwrap(), "localhost:5000/web:latest");
        assert!(local_name(&format!("web@{DIGEST}")).is_err());
        assert!(local_name("../web").is_err());
        assert_eq!(candidates("web"), ["web", "web:latest", "localhost/web:latest", "docker.io/library/web:latest"]);
        assert_eq!(candidates("web:1"), ["web:1", "localhost/web:1", "docker.io/library/web:1"]);
        assert_eq!(candidates("localhost/web:1"), ["localhost/web:1", "web:1", "localhost/web:1"]);
        assert_eq!(candidates("0123abc/"), ["0123abc/"]);
    }
}
