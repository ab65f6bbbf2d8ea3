//! `corm inspect docker://REF`: an image in a registry, in skopeo's form.

use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};
use serde_json::{Map, Value, json};

use super::{print, remote};
use crate::cli::args;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::manifest::Document;
use crate::model::parts::parts;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry::{self, Client};

/// Maximum number of indexes inside of each other.
const MAX_DEPTH: usize = 4;

/// Prints the document, or the bytes of the manifest (`raw`), the configuration (`config`), or its bytes (both).
///
/// # Errors
/// The image is missing, or not for the platform.
pub(super) fn run(
    text: &str,
    (raw, config): (bool, bool),
    platform: Option<&str>,
    access: &args::Remote,
) -> Result<u8> {
    let (options, name) = (remote::options(access)?, remote::reference(text)?);
    let platform = platform.map(Platform::parse).transpose()?.unwrap_or_else(Platform::host);
    let find = |client: &Client| client.raw_manifest(&name.version());
    let (client, (top, declared)) =
        registry::at_first(&name, &options, &Progress::none(), find).with_context(|| name.to_string())?;
    if raw && !config {
        print::write(&top)?;
        return Ok(0);
    }
    let image = of_platform(&client, top.clone(), declared, &platform).with_context(|| name.to_string())?;
    let parsed = manifest::parse_manifest(&image)?;
    let bytes = client.small_blob(&manifest::digest_of(parsed.config())?, parsed.config().size())?;
    if raw {
        print::write(&bytes)?;
        return Ok(0);
    }
    let document: Value = serde_json::from_slice(&bytes).context("image configuration")?;
    if config {
        print::json(&document)?;
        return Ok(0);
    }
    print::json(&described(&name, &top, &image, &document, &client.tags()?)?)?;
    Ok(0)
}

/// Follows indexes to the manifest of a platform.
fn of_platform(client: &Client, mut bytes: Vec<u8>, declared: Option<String>, platform: &Platform) -> Result<Vec<u8>> {
    let mut declared = declared;
    for _ in 0..=MAX_DEPTH {
        let Document::Index(index) = manifest::parse(&bytes, declared.as_deref())? else { return Ok(bytes) };
        let entry = platform.choose(&index).with_code(Code::ImagePlatform, || platform.lacking(&index))?;
        bytes = client.raw_manifest(&manifest::digest_of(entry)?.to_string())?.0;
        declared = Some(entry.media_type().to_string());
    }
    bail!(coded!(UsageValue, "more than {MAX_DEPTH} indexes inside of each other"))
}

/// Returns skopeo's document.
fn described(name: &Reference, top: &[u8], image: &[u8], config: &Value, tags: &[String]) -> Result<Value> {
    let get = |key: &str| config.get(key).cloned().unwrap_or(Value::Null);
    let run = |key: &str| config.get("config").and_then(|run| run.get(key)).cloned().unwrap_or(Value::Null);
    let parsed = parts(image.to_vec(), None)?;
    let layers = parsed.blobs.get(1..).unwrap_or_default();
    let raw: Value = serde_json::from_slice(image)?;
    let annotations = |at: usize| raw.pointer(&format!("/layers/{at}/annotations")).cloned().unwrap_or(Value::Null);
    let data = |(at, layer): (usize, &crate::model::parts::Part)| {
        json!({
            "MIMEType": layer.media_type, "Digest": layer.digest, "Size": layer.size, "Annotations": annotations(at),
        })
    };
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| drop(all.insert(key.to_owned(), value));
    put("Name", json!(format!("{}/{}", name.registry(), name.path())));
    put("Digest", json!(Digest::of(top)));
    put("RepoTags", json!(tags));
    put("Created", get("created"));
    put("DockerVersion", json!(config.get("docker_version").and_then(Value::as_str).unwrap_or_default()));
    put("Labels", run("Labels"));
    put("Architecture", get("architecture"));
    put("Os", get("os"));
    put("Layers", json!(layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>()));
    put("LayersData", Value::Array(layers.iter().enumerate().map(data).collect()));
    put("Env", run("Env"));
    Ok(Value::Object(all))
}
