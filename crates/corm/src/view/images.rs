//! Rows of `images`: one for each name of an image, with its filters.

use base::error::{Code, Coding as _};
use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::filter::{self, Filters};
use super::units;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::store::{ImageRecord, Store};

/// Text in the place of a name that an image lacks.
const NONE: &str = "<none>";

/// Names of filters.
pub const FILTERS: [&str; 12] = [
    "reference",
    "dangling",
    "label",
    "label!",
    "before",
    "since",
    "after",
    "until",
    "id",
    "digest",
    "containers",
    "intermediate",
];

/// A line of the list: an image under one of its names.
#[derive(Debug)]
pub struct Row {
    /// Image.
    pub image: ImageRecord,
    /// Repository with its registry.
    pub repository: String,
    /// Tag.
    pub tag: String,
    /// Labels of its configuration.
    labels: HashMap<String, String>,
    /// Number of containers created from it.
    containers: usize,
}

/// Splits a name of the store into repository and tag.
pub fn split_name(name: &str) -> (&str, &str) {
    if let Some((repository, _)) = name.split_once('@') {
        return (repository, NONE);
    }
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, NONE),
    }
}

/// Returns the references by digest of an image, sorted.
pub fn repo_digests(image: &ImageRecord) -> Vec<String> {
    let mut all: Vec<String> =
        image.names.iter().map(|name| format!("{}@{}", split_name(name).0, image.manifest)).collect();
    all.sort();
    all.dedup();
    all
}

/// Returns the names with a tag of an image.
pub fn repo_tags(image: &ImageRecord) -> Vec<&String> {
    image.names.iter().filter(|name| !name.contains('@')).collect()
}

/// Returns the rows of the images that the filters admit, the newest first.
///
/// # Errors
/// A damaged record or configuration, an image that a filter names and that does not exist.
pub fn rows(store: &Store, filters: &Filters) -> Result<Vec<Row>> {
    let bounds = Bounds::of(store, filters)?;
    let mut users: HashMap<Digest, usize> = HashMap::new();
    for container in store.containers()? {
        *users.entry(container.image).or_default() += 1;
    }
    let mut rows = Vec::new();
    for image in store.images()? {
        let config =
            manifest::parse_config(&store.read_blob(&image.id)?).with_context(|| format!("image {}", image.id))?;
        let labels = config.labels_of_config().cloned().unwrap_or_default();
        let containers = users.get(&image.id).copied().unwrap_or_default();
        let names = if image.names.is_empty() { vec![NONE.to_owned()] } else { image.names.clone() };
        for name in names {
            let (repository, tag) = split_name(&name);
            let (repository, tag) = (repository.to_owned(), tag.to_owned());
            let row = Row { image: image.clone(), repository, tag, labels: labels.clone(), containers };
            if row.matches(filters, &bounds)? {
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

/// Times of creation that the filters `before`, `since` and `until` name.
struct Bounds {
    before: Option<jiff::Timestamp>,
    since: Option<jiff::Timestamp>,
}

impl Bounds {
    fn of(store: &Store, filters: &Filters) -> Result<Self> {
        let of_image = |name: &str, value: &String| -> Result<jiff::Timestamp> {
            let image = store.find_image(value).with_code(Code::UsageValue, || format!("--filter {name}={value}"))?;
            Ok(image.created.parse()?)
        };
        let times =
            |name: &str| filters.values(name).iter().map(|value| of_image(name, value)).collect::<Result<Vec<_>>>();
        let before = times("before")?.into_iter().chain(filters.until()?);
        let since = times("since")?.into_iter().chain(times("after")?);
        Ok(Self { before: before.min(), since: since.max() })
    }
}

impl Row {
    fn matches(&self, filters: &Filters, bounds: &Bounds) -> Result<bool> {
        let created: Option<jiff::Timestamp> = self.image.created.parse().ok();
        let in_time = bounds.before.is_none_or(|bound| created.is_some_and(|created| created < bound))
            && bounds.since.is_none_or(|bound| created.is_some_and(|created| created > bound));
        let dangling = self.image.names.is_empty();
        Ok(in_time
            && filters.any("reference", |pattern| self.has_name(pattern))?
            && filters.any("dangling", |value| Ok(filter::truth(value)? == dangling))?
            // every image of the store was named or is the result of a verb
            && filters.any("intermediate", |value| Ok(!filter::truth(value)?))?
            && filters.any("containers", |value| Ok(filter::truth(value)? == (self.containers > 0)))?
            && filters.any("id", |value| {
                Ok(self.image.id.hex().starts_with(value.strip_prefix("sha256:").unwrap_or(value)))
            })?
            && filters.any("digest", |value| Ok(self.image.manifest.to_string().starts_with(value)))?
            && filters.labels(|key| self.labels.get(key).map(String::as_str)))
    }

    /// Returns whether a pattern is one of the forms of the row's name: with and without registry and directories, with
    /// and without tag.
    fn has_name(&self, pattern: &str) -> Result<bool> {
        let mut found = false;
        let mut path = Some(self.repository.as_str());
        while let Some(repository) = path {
            found |=
                filter::glob(pattern, repository)? || filter::glob(pattern, &format!("{repository}:{}", self.tag))?;
            path = repository.split_once('/').map(|(_, rest)| rest);
        }
        found |= repo_digests(&self.image).iter().any(|name| name == pattern);
        Ok(found)
    }

    /// Returns the row for templates.
    pub fn fields(&self, no_trunc: bool) -> Value {
        let image = &self.image;
        let id = if no_trunc { image.id.to_string() } else { short(&image.id) };
        let (created, at) = (units::ago(&image.created), units::go_second(&image.created));
        let size = units::image_size(image.size);
        json!({
            "Repository": self.repository, "Tag": self.tag, "ID": id, "Id": id, "Digest": image.manifest,
            "Created": created, "CreatedSince": created, "CreatedAt": at, "CreatedTime": at, "Size": size,
            "VirtualSize": size, "SharedSize": "0 B", "Labels": self.labels, "Names": image.names,
            "RepoTags": repo_tags(image), "RepoDigests": repo_digests(image), "Containers": self.containers,
            "Dangling": image.names.is_empty(), "ParentId": "", "History": image.names.join(", "), "ReadOnly": false,
            "Source": image.source.clone().unwrap_or_default(),
        })
    }

    /// Returns the row for JSON.
    pub fn document(&self) -> Value {
        let image = &self.image;
        json!({
            "Id": image.id.hex(), "ParentId": "", "RepoTags": repo_tags(image), "RepoDigests": repo_digests(image),
            "Size": image.size, "SharedSize": 0, "VirtualSize": image.size, "Labels": self.labels,
            "Containers": self.containers, "Dangling": image.names.is_empty(), "Names": image.names, "Digest": image.manifest,
            "History": image.names, "Created": units::unix(&image.created), "CreatedAt": image.created,
            "Repository": self.repository, "Tag": self.tag, "Source": image.source,
        })
    }
}

/// Returns the short form of an image ID.
pub fn short(id: &Digest) -> String {
    id.hex().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_have_a_repository_and_a_tag() {
        for (name, want) in [
            ("localhost/base:1", ("localhost/base", "1")),
            ("localhost:5000/base", ("localhost:5000/base", NONE)),
            ("localhost:5000/base:v2", ("localhost:5000/base", "v2")),
            ("base@sha256:00", ("base", NONE)),
            ("base:1@sha256:00", ("base:1", NONE)),
        ] {
            assert_eq!(split_name(name), want);
        }
    }
}
