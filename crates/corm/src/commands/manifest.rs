//! `corm manifest …`: makes and pushes an index of images.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use serde_json::{Value, json};

use super::{Context, for_each, print, remote};
use crate::cli::args::{EntryChange, ManifestVerb, Remote};
use crate::copy::{Location, Side, copy_list};
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::parts::{Part, parts};
use crate::model::platform::Platform;
use crate::model::reference;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry::{self, Client};
use crate::store::{ImageList, ImageRecord, ListEntry, Store};

/// Runs the verb.
///
/// # Errors
/// There is no such list or image, or a registry refuses.
pub(super) fn run(context: &Context, verb: &ManifestVerb) -> Result<u8> {
    let store = context.store()?;
    match verb {
        ManifestVerb::Create { list, images, all, amend, annotations, remote } => {
            let name = reference::local_name(list)?;
            let _adding = store.shared()?;
            let mut new = ImageList::default();
            new.annotations.extend(pairs(annotations)?);
            for image in images {
                new.entries.extend(entries(&store, image, *all, &EntryChange::default(), remote)?);
            }
            change(&store, |lists| {
                let taken = !*amend && lists.contains_key(&name);
                ensure!(!taken, coded!(NameTaken, "manifest list {name:?} exists (--amend adds to it)"));
                let list = lists.entry(name.clone()).or_default();
                list.annotations.extend(new.annotations);
                add(list, new.entries);
                Ok(name.clone())
            })
        }
        ManifestVerb::Add { list, image, all, change: stated, remote } => {
            let _adding = store.shared()?;
            let added = entries(&store, image, *all, stated, remote)?;
            change_list(&store, list, |list| {
                add(list, added);
                Ok(())
            })
        }
        ManifestVerb::Annotate { list, image, change: stated } => {
            let digest = digest_of(&store, image)?;
            change_list(&store, list, |list| {
                let entry = list.entries.iter_mut().find(|entry| entry.digest == digest);
                apply(entry.with_context(|| format!("{image:?} is not in the list"))?, stated)
            })
        }
        ManifestVerb::Remove { list, image } => {
            let digest = digest_of(&store, image)?;
            change_list(&store, list, |list| {
                let before = list.entries.len();
                list.entries.retain(|entry| entry.digest != digest);
                ensure!(list.entries.len() < before, coded!(UsageValue, "{image:?} is not in the list"));
                Ok(())
            })
        }
        ManifestVerb::Inspect { list, remote } => inspect(&store, list, remote),
        ManifestVerb::Push { list, to, rm, quiet, digestfile, remote } => {
            let progress = remote::progress(context, *quiet);
            let digest = push(&store, list, to.as_deref(), *rm, remote, &progress)?;
            remote::write_digest(digestfile.as_deref(), &digest)?;
            print::line(digest)?;
            Ok(0)
        }
        ManifestVerb::Rm(lists) => {
            let done = for_each(context, lists, |list| remove(&store, &reference::local_name(list)?));
            store.collect()?;
            done
        }
        ManifestVerb::Exists(list) => Ok(u8::from(!store.lists()?.contains_key(&reference::local_name(list)?))),
    }
}

/// Adds entries to a list, in the place of those with the same digest.
fn add(list: &mut ImageList, added: Vec<ListEntry>) {
    list.entries.retain(|old| !added.iter().any(|new| new.digest == old.digest));
    list.entries.extend(added);
}

/// Changes the lists, and prints the digest of the index whose name `work` returns.
fn change(store: &Store, work: impl FnOnce(&mut crate::store::Lists) -> Result<String>) -> Result<u8> {
    let document = store.change_lists(|lists| {
        let name = work(lists)?;
        lists.get(&name).with_code(Code::ImageInvalid, || format!("No manifest list named '{name}' exists"))?.document()
    })?;
    print::line(Digest::of(&document).hex())?;
    Ok(0)
}

/// Changes one list.
fn change_list(store: &Store, list: &str, work: impl FnOnce(&mut ImageList) -> Result<()>) -> Result<u8> {
    let name = reference::local_name(list)?;
    change(store, |lists| {
        work(
            lists.get_mut(&name).with_code(Code::ImageInvalid, || format!("No manifest list named '{name}' exists"))?,
        )?;
        Ok(name)
    })
}

fn remove(store: &Store, name: &str) -> Result<()> {
    store.change_lists(|lists| {
        lists.remove(name).map(drop).with_code(Code::ImageInvalid, || format!("No manifest list named '{name}' exists"))
    })
}

/// Prints the index of a list, else the manifest of an image in a registry.
fn inspect(store: &Store, list: &str, access: &Remote) -> Result<u8> {
    let found = reference::local_name(list).ok().and_then(|name| store.lists().ok()?.remove(&name));
    let bytes = match found {
        Some(list) => list.document()?,
        None => {
            let (options, name) = (remote::options(access)?, remote::reference(list)?);
            let find = |client: &Client| client.raw_manifest(&name.version());
            let found = registry::at_first(&name, &options, &Progress::none(), find);
            found
                .with_code(Code::ImageInvalid, || {
                    format!("No manifest list named '{list}' exists, and {name} cannot be read")
                })?
                .1
                .0
        }
    };
    print::json(&serde_json::from_slice::<Value>(&bytes)?)?;
    Ok(0)
}

/// Pushes a list, by default to its own name.
///
/// # Errors
/// There is no such list, or the registry refuses.
pub(super) fn push(
    store: &Store,
    list: &str,
    to: Option<&str>,
    rm: bool,
    access: &Remote,
    progress: &Progress,
) -> Result<Digest> {
    let (name, options) = (reference::local_name(list)?, remote::options(access)?);
    let to = to.unwrap_or(&name);
    let at = match Location::parse(to)? {
        Location::Store(_) => Location::Registry(Reference::parse(to)?),
        other => other,
    };
    let pushed = copy_list(store, &store.list(&name)?, &Side { at: &at, options: &options }, progress);
    if rm && pushed.is_ok() {
        remove(store, &name)?;
    }
    // what passed through
    store.collect()?;
    pushed
}

/// Returns the digest of an entry by itself, or by an image of the store.
fn digest_of(store: &Store, text: &str) -> Result<Digest> {
    match Digest::parse(text) {
        Ok(digest) => Ok(digest),
        Err(_) => Ok(store.find_image(text)?.manifest),
    }
}

/// Returns the entries for an image: of the store if it is there, else of a registry.
fn entries(store: &Store, image: &str, all: bool, stated: &EntryChange, access: &Remote) -> Result<Vec<ListEntry>> {
    let local = if image.starts_with(remote::DOCKER) { None } else { store.find_image(image).ok() };
    let mut entries = match local {
        Some(found) => vec![of_store(store, &found)?],
        None => of_registry(store, image, all, access)?,
    };
    for entry in &mut entries {
        apply(entry, stated)?;
    }
    Ok(entries)
}

/// Returns the entry for an image of the store.
fn of_store(store: &Store, image: &ImageRecord) -> Result<ListEntry> {
    let document = parts(store.read_blob(&image.manifest)?, None)?;
    let config = manifest::parse_config(&store.read_blob(&image.id)?)?;
    let (digest, size) = (document.digest, document.bytes.len() as u64);
    let platform = Some(platform_of(&serde_json::to_value(&config)?));
    let media_type = document.media_type;
    Ok(ListEntry { digest, size, media_type, platform, annotations: Default::default(), source: None })
}

/// Adds images to a list, which is created where there is none; each takes the place of one of the same platform. Returns
/// the digest of the index.
///
/// # Errors
/// The name is none; the lists cannot be written.
pub(super) fn add_images(store: &Store, list: &str, images: &[ImageRecord]) -> Result<Digest> {
    let name = reference::local_name(list)?;
    let _adding = store.shared()?;
    let added = images.iter().map(|image| of_store(store, image)).collect::<Result<Vec<_>>>()?;
    let document = store.change_lists(|lists| {
        let list = lists.entry(name).or_default();
        list.entries.retain(|old| !added.iter().any(|new| new.platform == old.platform || new.digest == old.digest));
        list.entries.extend(added);
        list.document()
    })?;
    Ok(Digest::of(&document))
}

/// Returns the entries for an image or index in a registry, whose manifests are stored.
fn of_registry(store: &Store, image: &str, all: bool, access: &Remote) -> Result<Vec<ListEntry>> {
    let (options, name) = (remote::options(access)?, remote::reference(image)?);
    let find = |client: &Client| client.raw_manifest(&name.version());
    let (client, (bytes, declared)) =
        registry::at_first(&name, &options, &Progress::none(), find).with_context(|| name.to_string())?;
    let top = parts(bytes, declared.as_deref())?;
    let entry = |part: &Part, platform: Option<Value>| ListEntry {
        digest: part.digest.clone(),
        size: part.size,
        media_type: part.media_type.clone(),
        platform,
        annotations: Default::default(),
        source: Some(format!("{}/{}@{}", name.registry(), name.path(), part.digest)),
    };
    let Some(children) = &top.children else {
        let parsed = manifest::parse_manifest(&top.bytes)?;
        let config = client.small_blob(&manifest::digest_of(parsed.config())?, parsed.config().size())?;
        let platform = platform_of(&serde_json::from_slice(&config)?);
        store.put_blob(&top.bytes)?;
        let size = top.bytes.len() as u64;
        let part = Part { digest: top.digest, size, media_type: top.media_type, urls: Vec::new() };
        return Ok(vec![entry(&part, Some(platform))]);
    };
    let index: Value = serde_json::from_slice(&top.bytes)?;
    let chosen = if all { None } else { Some(chosen(&top.bytes)?) };
    let mut entries = Vec::new();
    for (at, child) in
        children.iter().enumerate().filter(|(_, child)| chosen.as_ref().is_none_or(|one| *one == child.digest))
    {
        store.put_blob(&client.raw_manifest(&child.digest.to_string())?.0)?;
        let stated = index.pointer(&format!("/manifests/{at}"));
        let mut entry = entry(child, stated.and_then(|stated| stated.get("platform")).cloned());
        let annotations = stated.and_then(|stated| stated.get("annotations")?.as_object());
        let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
        entry.annotations.extend(annotations.into_iter().flatten().filter_map(text));
        entries.push(entry);
    }
    Ok(entries)
}

/// Returns the digest of this machine's image of an index.
fn chosen(index: &[u8]) -> Result<Digest> {
    let (index, host) = (manifest::parse_index(index)?, Platform::host());
    let entry = host
        .choose(&index)
        .with_code(Code::ImageInvalid, || format!("no image for {host} in the index (--all adds every one)"))?;
    manifest::digest_of(entry)
}

/// Returns the platform of an index for a configuration.
fn platform_of(config: &Value) -> Value {
    let mut platform = json!({});
    for key in ["architecture", "os", "variant", "os.version"] {
        if let Some(text) = config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()) {
            platform[key] = json!(text);
        }
    }
    platform
}

/// Sets what the flags state of an entry.
fn apply(entry: &mut ListEntry, stated: &EntryChange) -> Result<()> {
    let mut platform = entry.platform.take().unwrap_or_else(|| json!({}));
    ensure!(platform.is_object(), coded!(ImagePlatform, "the platform of {} is no object", entry.digest));
    let texts = [
        ("os", &stated.os),
        ("architecture", &stated.arch),
        ("variant", &stated.variant),
        ("os.version", &stated.os_version),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            platform[key] = json!(text);
        }
    }
    if !stated.os_features.is_empty() {
        platform["os.features"] = json!(stated.os_features);
    }
    entry.platform = Some(platform).filter(|platform| platform.as_object().is_some_and(|all| !all.is_empty()));
    entry.annotations.extend(pairs(&stated.annotations)?);
    Ok(())
}

/// Splits words `K=V`.
fn pairs(words: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => bail!(coded!(UsageValue, "--annotation {word:?}: must be K=V")),
    };
    words.iter().map(pair).collect()
}
