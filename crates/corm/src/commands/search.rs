//! `corm search`: repositories of registries by a word, or the tags of one.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{Context, print, remote};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::registry::{self, Access, Client, Found};
use crate::view::listing::Listing;
use base::error::describe;

/// Characters of a description without `--no-trunc`, as in Podman.
const DESCRIPTION: usize = 44;

/// Prints what is found; a term without a registry is looked for in those of registries.conf, or in Docker's.
///
/// # Errors
/// The registry of the term has no search; without one in the term, that of the last registry.
pub(super) fn run(context: &Context, search: &args::Search) -> Result<u8> {
    if search.list_tags {
        return tags(search);
    }
    let options = remote::options(&search.remote)?;
    let (registry, word) = split(&search.term);
    let registries: Vec<String> = match registry {
        Some(registry) => vec![registry.to_owned()],
        None => options.registries.to_search(),
    };
    let mut rows = Vec::new();
    let mut failed = None;
    for registry in &registries {
        match registry::search(registry, word, search.limit, &options).with_context(|| format!("search {registry}")) {
            Ok(found) => {
                rows.extend(found.iter().filter(|one| fits(search, one)).map(|one| row(registry, one, search)));
            }
            Err(err) if registries.len() > 1 => {
                context.report(LogLevel::Warning, format_args!("corm: warning: {}", describe(&err)));
                failed = Some(err);
            }
            Err(err) => return Err(err),
        }
    }
    if let Some(err) = failed.filter(|_| rows.is_empty()) {
        return Err(err);
    }
    let own = if search.compatible {
        "{{.Name}}\t{{.Description}}\t{{.Stars}}\t{{.Official}}\t{{.Automated}}"
    } else {
        "{{.Name}}\t{{.Description}}"
    };
    list(search, own, &rows)
}

fn list(search: &args::Search, own: &str, rows: &[Value]) -> Result<u8> {
    let listing = Listing { format: &search.format, own, noheading: rows.is_empty(), headings: &[] };
    print::write(listing.text(rows, || json!(rows))?.as_bytes())?;
    Ok(0)
}

/// Returns whether a repository fits the filters.
fn fits(search: &args::Search, found: &Found) -> bool {
    let is = |name: &str, is: bool| search.filters.values(name).iter().all(|value| value.parse().unwrap_or(true) == is);
    let enough = |value: &String| value.parse().is_ok_and(|stars: u64| found.star_count >= stars);
    search.filters.values("stars").iter().all(enough)
        && is("is-official", found.is_official)
        && is("is-automated", found.is_automated)
}

/// Splits the registry off a term.
fn split(term: &str) -> (Option<&str>, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, term),
    }
}

fn row(registry: &str, found: &Found, search: &args::Search) -> Value {
    // docker.io leaves out the namespace of its own images
    let library = if registry == "docker.io" && !found.name.contains('/') { "library/" } else { "" };
    let mut description = found.description.replace('\n', " ");
    if !search.no_trunc && description.chars().count() > DESCRIPTION {
        description = description.chars().take(DESCRIPTION).chain("...".chars()).collect();
    }
    let mark = |is: bool| if is { "[OK]" } else { "" };
    json!({"Index": registry, "Name": format!("{registry}/{library}{}", found.name), "Description": description,
        "Stars": found.star_count, "Official": mark(found.is_official), "Automated": mark(found.is_automated)})
}

/// Prints the tags of a repository.
fn tags(search: &args::Search) -> Result<u8> {
    let (options, name) = (remote::options(&search.remote)?, remote::reference(&search.term)?);
    ensure!(name.tag() == Some("latest"), "{}: a repository has no tag or digest", search.term);
    let client = Client::connect(&options.registries.to_write(&name)?, Access::Pull, &[], &options)?;
    let tags = client.tags().with_context(|| search.term.clone())?;
    let full = format!("{}/{}", name.registry(), name.path());
    if search.format == crate::view::listing::Format::Json {
        let tags: Vec<&String> = tags.iter().take(search.limit).collect();
        print::json(&json!([{ "Name": full, "Tags": tags }]))?;
        return Ok(0);
    }
    let rows: Vec<Value> = tags.iter().take(search.limit).map(|tag| json!({"Name": full, "Tag": tag})).collect();
    list(search, "{{.Name}}\t{{.Tag}}", &rows)
}
