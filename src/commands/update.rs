//! `update`: new limits for a living container, all of them or none (UP-1).

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use super::{Context, Found, found};
use crate::cgroup::{Cgroup, resources};
use crate::cli::args;
use crate::container::status::{self, Action};
use crate::container::store::CONFIG;
use crate::spec::ContainerId;
use crate::{bundle, spec};

/// Where each flag goes in `linux.resources`.
const FIELDS: [(&str, &[&str]); 18] = [
    ("blkio-weight", &["blockIO", "weight"]),
    ("cpu-period", &["cpu", "period"]),
    ("cpu-quota", &["cpu", "quota"]),
    ("cpu-burst", &["cpu", "burst"]),
    ("cpu-idle", &["cpu", "idle"]),
    ("cpu-share", &["cpu", "shares"]),
    ("cpu-rt-period", &["cpu", "realtimePeriod"]),
    ("cpu-rt-runtime", &["cpu", "realtimeRuntime"]),
    ("cpuset-cpus", &["cpu", "cpus"]),
    ("cpuset-mems", &["cpu", "mems"]),
    ("memory", &["memory", "limit"]),
    ("memory-reservation", &["memory", "reservation"]),
    ("memory-swap", &["memory", "swap"]),
    ("kernel-memory", &["memory", "kernel"]),
    ("kernel-memory-tcp", &["memory", "kernelTCP"]),
    ("pids-limit", &["pids", "limit"]),
    ("l3-cache-schema", &["l3CacheSchema"]),
    ("mem-bw-schema", &["memBwSchema"]),
];

/// Writes the limits and keeps them in the state.
pub fn update(context: &Context<'_>, args: &args::Update) -> Result<i32> {
    let wanted = match &args.resources {
        Some(path) => spec::parse_resources(&read(path)?).context("--resources")?,
        None => {
            let text = serde_json::to_vec(&from_flags(&args.settings)?)?;
            spec::parse_resources(&text)?
        }
    };
    let entry = context.store.open(&ContainerId::new(&args.id)?)?;
    let _lock = entry.lock()?;
    let Found { entry, mut record, status, .. } = found(entry)?;
    status::check(Action::Update, status, &args.id)?;
    let current = match &record.resources {
        Some(resources) => spec::parse_resources(&serde_json::to_vec(resources)?)?,
        None => configured(&entry.read(CONFIG)?)?,
    };
    Cgroup::open(&record.cgroup).update(&wanted, &current)?;
    let after = resources::merge(&current, &wanted);
    record.resources = Some(serde_json::to_value(after)?);
    entry.save(&record)?;
    Ok(0)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return bundle::read_stdin();
    }
    bundle::read(path).with_context(|| format!("--resources {path:?}"))
}

fn configured(text: &[u8]) -> Result<LinuxResources> {
    let config = spec::parse(text).context("the container's configuration")?;
    let resources = config.spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    Ok(resources.unwrap_or_default())
}

fn from_flags(settings: &[(String, String)]) -> Result<Value> {
    let mut document = Value::Object(Map::new());
    for (flag, text) in settings {
        let Some((_, path)) = FIELDS.iter().find(|(name, _)| name == flag) else { bail!("--{flag}: unknown") };
        let value = match flag.as_str() {
            "cpuset-cpus" | "cpuset-mems" => json!(text),
            "l3-cache-schema" | "mem-bw-schema" => {
                bail!("--{flag}: this machine's resctrl cannot be changed by update")
            }
            _ => json!(text.parse::<i64>().with_context(|| format!("--{flag}: {text:?}"))?),
        };
        let mut place = &mut document;
        for key in *path {
            place = &mut place[*key];
        }
        *place = value;
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn up_1_flags_become_the_document() {
        let flags = [("memory", "1024"), ("cpuset-cpus", "0-1"), ("pids-limit", "-1")];
        let flags: Vec<_> = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let wanted = json!({"memory": {"limit": 1024}, "cpu": {"cpus": "0-1"}, "pids": {"limit": -1}});
        assert_eq!(from_flags(&flags).unwrap(), wanted);
    }
}
