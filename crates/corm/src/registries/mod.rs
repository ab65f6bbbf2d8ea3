//! registries.conf (containers-registries.conf(5), version 2): where images of a name are, and what a short name means.
//!
//! The files are the user's and the system's own. Without any of them every name means its own registry, and a short
//! name Docker's.

mod file;
mod short_names;

use anyhow::{Context as _, Result, bail};
use base::coded;

use crate::model::reference::Reference;
use file::{MirrorUse, Registry};
use short_names::ShortNames;

/// A place from which a repository is read, or to which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Registry: a host name or address, perhaps with a port.
    pub registry: String,
    /// Repository in the registry.
    pub path: String,
    /// Whether plain HTTP and unknown certificate authorities are accepted, where the command line does not say.
    pub insecure: bool,
    /// Whether it is the registry of the name, and no mirror: only it gets credentials of the command line.
    pub named: bool,
}

impl Endpoint {
    /// Returns the endpoint of a registry itself, for a login.
    pub fn of_registry(registry: &str, insecure: bool) -> Self {
        Self { registry: registry.to_owned(), path: String::new(), insecure, named: true }
    }
}

/// What all files together configure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    short_names: ShortNames,
    registries: Vec<Registry>,
}

impl Registries {
    /// Reads the files of this user and the system.
    ///
    /// # Errors
    /// A file cannot be read, or is not of the format.
    pub fn load() -> Result<Self> {
        let mut all = Self::default();
        for path in file::paths(&|name| std::env::var_os(name).filter(|value| !value.is_empty()))? {
            let read = file::read(&path).and_then(|content| content.map_or(Ok(()), |content| all.add(content)));
            read.with_context(|| format!("{path:?}"))?;
        }
        Ok(all)
    }

    /// Adds a file that is read later: its registries replace those of the same prefix.
    fn add(&mut self, content: file::Content) -> Result<()> {
        for registry in content.registries()? {
            self.registries.retain(|before| before.prefix != registry.prefix);
            self.registries.push(registry);
        }
        self.short_names.add(content)
    }

    /// Returns the references that a name may mean, in the order in which they are tried; a full name is itself.
    ///
    /// # Errors
    /// The text is no name, or it is short and has several meanings that only a question could decide.
    pub fn references(&self, text: &str) -> Result<Vec<Reference>> {
        self.short_names.references(text)
    }

    /// Returns the registry of a `login` without one.
    pub fn default_registry(&self) -> &str {
        self.short_names.search().and_then(|search| search.first()).map_or("docker.io", String::as_str)
    }

    /// Returns the registries in which a word is looked for.
    pub fn to_search(&self) -> Vec<String> {
        self.short_names.search().map_or_else(|| vec!["docker.io".to_owned()], <[String]>::to_vec)
    }

    /// Returns whether the configuration allows plain HTTP for a registry itself.
    ///
    /// # Errors
    /// The registry is blocked.
    pub fn is_insecure(&self, registry: &str) -> Result<bool> {
        Ok(self.find(registry)?.is_some_and(|found| found.insecure))
    }

    /// Returns the places of an image that is read: its mirrors, then its own.
    ///
    /// # Errors
    /// The registry is blocked, or a location is no name.
    pub fn to_read(&self, name: &Reference) -> Result<Vec<Endpoint>> {
        let Some(found) = self.find(&name.name())? else { return Ok(vec![own(name, false)]) };
        let by_digest = name.digest().is_some();
        let uses = |wanted: MirrorUse| match wanted {
            MirrorUse::All => true,
            MirrorUse::DigestOnly => by_digest,
            MirrorUse::TagOnly => !by_digest,
        };
        let mut endpoints = Vec::new();
        for mirror in found.mirrors.iter().filter(|mirror| uses(mirror.uses)) {
            let moved = moved(name, &found.prefix, &mirror.location)?;
            endpoints.push(Endpoint { named: false, ..own(&moved, mirror.insecure) });
        }
        let location = found.location.as_deref().unwrap_or(&found.prefix);
        let moved = if found.prefix.starts_with("*.") && found.location.is_none() {
            name.clone()
        } else {
            moved(name, &found.prefix, location)?
        };
        let named = moved.registry() == name.registry();
        endpoints.push(Endpoint { named, ..own(&moved, found.insecure) });
        Ok(endpoints)
    }

    /// Returns the place of an image that is written or removed: its own, as in Podman.
    ///
    /// # Errors
    /// The registry is blocked.
    pub fn to_write(&self, name: &Reference) -> Result<Endpoint> {
        Ok(own(name, self.find(&name.name())?.is_some_and(|found| found.insecure)))
    }

    /// Finds the table with the longest prefix of a name.
    fn find(&self, name: &str) -> Result<Option<&Registry>> {
        let fits = self.registries.iter().filter(|registry| matched(&registry.prefix, name).is_some());
        let found = fits.max_by_key(|registry| matched(&registry.prefix, name));
        if let Some(blocked) = found.filter(|found| found.blocked) {
            bail!(coded!(RegistryConfig, "{name}: registries.conf blocks {:?}", blocked.prefix));
        }
        Ok(found)
    }
}

fn own(name: &Reference, insecure: bool) -> Endpoint {
    Endpoint { registry: name.registry().to_owned(), path: name.path().to_owned(), insecure, named: true }
}

/// Returns the length of the part of a name that a prefix matches; `None` where it does not.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        return (host.len() > domain.len() && host.ends_with(domain)).then_some(domain.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with([':', '/', '@'])).then_some(prefix.len())
}

/// Returns the name below another location.
fn moved(name: &Reference, prefix: &str, location: &str) -> Result<Reference> {
    let full = name.name();
    let rest = if prefix.starts_with("*.") { full.get(name.registry().len()..) } else { full.get(prefix.len()..) };
    let text = format!("{location}{}", rest.unwrap_or_default());
    let moved = Reference::parse(&text).with_context(|| format!("registries.conf: location {location:?}"))?;
    let host = location.split('/').next().unwrap_or_default();
    if moved.registry() != host {
        bail!(coded!(RegistryConfig, "registries.conf: location {location:?}: does not begin with a registry"));
    }
    Ok(moved)
}

#[cfg(test)]
mod tests;
