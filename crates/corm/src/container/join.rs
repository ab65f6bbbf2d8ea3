//! Namespaces and volumes of another container.
//!
//! Which container is recorded by its ID. The namespaces are found at each start, because the other's process has another
//! ID after its own.

use base::coded;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::run_dir::RunDir;
use super::{config_file, status};
use crate::config::settings::Settings;
use crate::config::settings::userns::Mode;
use crate::config::volume::Volume;
use crate::store::ContainerRecord;
use crate::store::Store;
use base::fs::atomic_file::Durability;

/// Finds the containers whose namespaces are joined: the type of each namespace, with the ID.
///
/// # Errors
/// There is no such container.
pub fn find(store: &Store, settings: &Settings) -> Result<BTreeMap<String, String>> {
    let id = |(kind, name): (&str, &str)| {
        let other = store.find_container(name).with_context(|| format!("--{kind} container:{name}"))?;
        Ok((kind.to_owned(), other.id))
    };
    let user = match &settings.userns.mode {
        Mode::Container(name) => Some(("userns", name.as_str())),
        _ => None,
    };
    settings.namespaces.joined().chain(user).map(id).collect()
}

/// Returns the volumes of `--volumes-from`, without those whose destination is taken.
///
/// # Errors
/// There is no such container; an unknown option.
pub fn volumes_from(store: &Store, settings: &Settings, taken: &[Volume]) -> Result<Vec<Volume>> {
    let mut found: Vec<Volume> = Vec::new();
    for text in &settings.volumes_from {
        let (name, option) = text.split_once(':').unwrap_or((text, ""));
        let context = || format!("--volumes-from {text:?}");
        ensure!(["", "ro", "rw", "z"].contains(&option), "{}: the option must be ro, rw or z", context());
        for mut volume in store.find_container(name).with_context(context)?.setup.volumes {
            if taken.iter().chain(&found).any(|other| other.destination == volume.destination) {
                continue;
            }
            volume.read_only |= option == "ro";
            volume.check_source(store.root()).with_context(context)?;
            found.push(volume);
        }
    }
    Ok(found)
}

/// Returns the host name of a container that shares the UTS namespace with another container or the host.
///
/// # Errors
/// The host's name is none.
pub fn hostname(store: &Store, joins: &BTreeMap<String, String>) -> Result<String> {
    if let Some(id) = joins.get("uts") {
        let file = store.container_dir(id).join("hostname");
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {file:?}"))?;
        return Ok(text.trim().to_owned());
    }
    nix::unistd::gethostname().context("host name")?.into_string().ok().context("the host's name is not UTF-8")
}

/// Writes the paths of the joined namespaces into the configuration of a container that is to start.
///
/// # Errors
/// A container does not run.
pub fn write_paths(store: &Store, run: &RunDir, record: &ContainerRecord) -> Result<()> {
    if record.setup.joins.is_empty() {
        return Ok(());
    }
    config_file::change(store, &record.id, Durability::Content, |config| {
        for (kind, id) in &record.setup.joins {
            let other = store.find_container(id).with_context(|| format!("--{kind}"))?;
            let Some(pid) = status::of(store, run, &other)?.pid() else {
                bail!(coded!(ContainerNotRunning, "--{kind}: container '{}' is not running", other.name));
            };
            if kind != "userns" {
                set_path(config, kind, Path::new(&format!("/proc/{pid}/ns/{kind}")))?;
            } else if record.setup.userns.is_some() {
                set_path(config, "user", Path::new(&format!("/proc/{pid}/ns/user")))?;
            }
        }
        Ok(())
    })
}

/// Sets the path of the namespace of one type.
fn set_path(config: &mut Value, kind: &str, path: &Path) -> Result<()> {
    let list = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut).context("linux.namespaces")?;
    let entry = list.iter_mut().find(|entry| entry.get("type").and_then(Value::as_str) == Some(kind));
    entry.with_context(|| format!("linux.namespaces has no {kind}"))?["path"] = json!(path);
    Ok(())
}
