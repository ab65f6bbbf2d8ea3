//! Repositories of a registry by a word: by the search of Docker's own registries, else from the catalog.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use ureq::http::Method;

use super::client::{Client, Options};
use super::url;
use crate::model::manifest::MAX_DOCUMENT;
use crate::registries::Endpoint;

/// Host of the search of docker.io.
const DOCKER_SEARCH: &str = "index.docker.io";

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its path in the registry.
    pub name: String,
    /// Description.
    pub description: String,
    /// Number of its users who like it.
    pub star_count: u64,
    /// Whether the registry's owner keeps it.
    pub is_official: bool,
    /// Whether it is built by the registry.
    pub is_automated: bool,
}

/// The answer to a search.
#[derive(Deserialize)]
struct Results {
    results: Vec<Found>,
}

/// A page of the catalog.
#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

/// Looks for repositories of a registry, `limit` at most; an empty word finds all.
///
/// # Errors
/// The registry has neither a search nor a catalog.
pub fn search(registry: &str, word: &str, limit: usize, options: &Options) -> Result<Vec<Found>> {
    let insecure = options.registries.is_insecure(registry)?;
    let (host, scopes) = match registry {
        "docker.io" => (DOCKER_SEARCH, Vec::new()),
        other => (other, vec!["registry:catalog:*".to_owned()]),
    };
    let credentials = match options.auth.given.clone() {
        None => options.auth.find(registry, "")?,
        given => given,
    };
    let client = Client::connect_as(&Endpoint::of_registry(host, insecure), credentials, scopes, options)?;
    if !word.is_empty()
        && let Some(found) = client.by_search(word, limit)?
    {
        return Ok(found);
    }
    client.by_catalog(word, limit)
}

impl Client {
    /// Asks the search of version 1 of the API; `None` where there is none.
    fn by_search(&self, word: &str, limit: usize) -> Result<Option<Vec<Found>>> {
        let url = self.of_host(&format!("/v1/search?q={}&n={limit}", escaped(word)))?;
        let bytes = self.timing().retry(|| {
            let response = self.request(&Method::GET, &url, &[])?;
            if response.status == 200 { Ok(Some(response.bytes(MAX_DOCUMENT)?)) } else { Ok(None) }
        })?;
        // a server without it may answer with a page for people
        let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Results>(&bytes).ok());
        Ok(parsed.map(|parsed| parsed.results.into_iter().take(limit).collect()))
    }

    /// Reads the catalog for names that have the word.
    fn by_catalog(&self, word: &str, limit: usize) -> Result<Vec<Found>> {
        let mut found: Vec<Found> = Vec::new();
        self.pages(self.of_host("/v2/_catalog")?, "catalog", &mut |bytes| {
            let page: Catalog = serde_json::from_slice(bytes).context("catalog: not JSON of one")?;
            let names = page.repositories.unwrap_or_default().into_iter().filter(|name| name.contains(word));
            found.extend(names.map(|name| Found { name, ..Found::default() }));
            Ok(found.len() < limit)
        })?;
        found.truncate(limit);
        Ok(found)
    }

    fn of_host(&self, path: &str) -> Result<ureq::http::Uri> {
        url::resolve(self.base(), path)
    }
}

/// Returns the text for a query of a URL.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => all.push(char::from(byte)),
            _ => drop(write!(all, "%{byte:02X}")),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_other_part_of_the_url() {
        assert_eq!(escaped("a/b c&n=1"), "a%2Fb%20c%26n%3D1");
    }
}
