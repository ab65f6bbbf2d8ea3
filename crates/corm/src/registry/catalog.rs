//! Tags of a repository, and the removal of a manifest.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use serde_json::Value;
use ureq::http::{Method, Uri};

use super::client::Client;
use super::url;
use crate::model::digest::Digest;
use crate::model::manifest::MAX_DOCUMENT;
use crate::model::reference::Reference;

/// Maximum number of pages of a list, because a server may send them without end.
const MAX_PAGES: usize = 1000;

/// Maximum number of tags, for the memory that they take.
const MAX_TAGS: usize = 1 << 20;

impl Client {
    /// Returns the tags of the repository in the order of the registry, over all pages.
    ///
    /// # Errors
    /// The registry refuses, a tag is invalid, or the list has no end.
    pub fn tags(&self) -> Result<Vec<String>> {
        let mut tags: Vec<String> = Vec::new();
        self.pages(self.url("tags/list")?, "list of tags", &mut |bytes| {
            tags.extend(read_tags(bytes).context("list of tags")?);
            ensure!(tags.len() <= MAX_TAGS, coded!(RegistryAnswer, "list of tags: more than {MAX_TAGS}"));
            Ok(true)
        })?;
        Ok(tags)
    }

    /// Calls `read` with each page of a list, until it returns `false`.
    pub(super) fn pages(&self, first: Uri, what: &str, read: &mut dyn FnMut(&[u8]) -> Result<bool>) -> Result<()> {
        let mut next = Some(first);
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { return Ok(()) };
            let (bytes, link) = self.timing().retry(|| {
                let response = self.request(&Method::GET, &url, &[])?;
                if response.status != 200 {
                    return Err(response.into_error().into());
                }
                let link = response.find("link").map(str::to_owned);
                Ok((response.bytes(MAX_DOCUMENT)?, link))
            })?;
            if !read(&bytes)? {
                return Ok(());
            }
            let link = link.and_then(|link| next_page(&link));
            next = link.map(|link| page(&url, &link).with_context(|| what.to_owned())).transpose()?;
        }
        bail!(coded!(FileInvalid, "{what}: more than {MAX_PAGES} pages"))
    }

    /// Removes a manifest or index by the digest that a reference has now; returns the digest.
    ///
    /// # Errors
    /// There is none, or the registry does not remove any.
    pub fn delete(&self, name: &Reference) -> Result<Digest> {
        let digest = match name.digest() {
            Some(digest) => digest.clone(),
            None => Digest::of(&self.raw_manifest(&name.version())?.0),
        };
        let url = self.url(&format!("manifests/{digest}"))?;
        self.timing().retry(|| {
            let response = self.request(&Method::DELETE, &url, &[])?;
            match response.status {
                200..=204 => Ok(()),
                405 => {
                    let error = response.into_error();
                    Err(error.context("the registry is configured not to remove images").into())
                }
                _ => Err(response.into_error().into()),
            }
        })?;
        Ok(digest)
    }
}

/// Returns the URL of the next page, which is on the same server.
fn page(before: &Uri, link: &str) -> Result<Uri> {
    let next = url::resolve(before, link).context("next page")?;
    if url::Origin::of(&next)? != url::Origin::of(before)? {
        bail!(coded!(RegistryAnswer, "the next page is on another server, {}", url::shown(&next)));
    }
    if next == *before {
        bail!(coded!(RegistryAnswer, "the next page is the same one"));
    }
    Ok(next)
}

fn read_tags(bytes: &[u8]) -> Result<Vec<String>> {
    let document: Value = serde_json::from_slice(bytes).context("not JSON")?;
    let tags = match document.get("tags") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(tags)) => tags,
        Some(_) => bail!(coded!(RegistryAnswer, "tags: not a list")),
    };
    let tag = |tag: &Value| -> Result<String> {
        let text = tag.as_str().context("tags: not a string")?;
        // a tag is printed, and used in names
        let named = Reference::parse(&format!("x.io/x:{text}")).ok();
        let is_tag = named.is_some_and(|named| named.tag() == Some(text));
        if is_tag { Ok(text.to_owned()) } else { bail!(coded!(RegistryAnswer, "tags: {text:?} is no tag")) }
    };
    tags.iter().map(tag).collect()
}

/// Returns the target of `Link: <URL>; rel="next"`.
fn next_page(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|one| matches!(one.trim(), "rel=\"next\"" | "rel=next"));
        next.then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn pages_and_tags_are_read_as_registries_send_them() {
        for (header, want) in [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2")),
            ("<https://x/y>;rel=next", Some("https://x/y")),
            ("<x>; rel=\"prev\", <y>; rel=\"next\"", Some("y")),
            ("x; rel=\"next\"", None),
            ("<x>", None),
        ] {
            assert_eq!(next_page(header).as_deref(), want, "{header}");
        }
        assert_eq!(read_tags(br#"{"name":"a","tags":["1","latest"]}"#).unwrap(), ["1", "latest"]);
        assert_eq!(read_tags(br#"{"name":"a","tags":null}"#).unwrap(), [""; 0]);
        for bad in
            [&b"[]x"[..], br#"{"tags":"x"}"#, br#"{"tags":[1]}"#, br#"{"tags":["a\u001bb"]}"#, br#"{"tags":["../x"]}"#]
        {
            assert!(read_tags(bad).is_err());
        }
    }
}
