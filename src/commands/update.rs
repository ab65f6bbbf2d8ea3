//! `update`: sets new limits for a container, all of them or none (UP-1).

use base::coded;
use base::error::{Code, Coding as _};

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use super::{Context, LoadedContainer, load};
use crate::cgroup::Cgroup;
use crate::cgroup::resources;
use crate::cli::args;
use crate::config;
use crate::config::ContainerId;
use crate::runtime::rdt;
use crate::state::Record;
use crate::state::status;
use crate::state::status::Action;
use crate::state::store::CONFIG;

/// Flags and their fields in `linux.resources`.
const FIELDS: [(&str, &[&str]); 16] = [
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
];

/// Flags with a line for the container's resctrl group, which is not a cgroup.
const SCHEMAS: [&str; 2] = ["l3-cache-schema", "mem-bw-schema"];

/// Writes the limits to the cgroup and to the record.
pub(crate) fn update(context: &Context<'_>, args: &args::Update) -> Result<i32> {
    let wanted = match &args.resources {
        Some(document) => {
            let text = document.read("--resources")?;
            config::parse_resources(&text).with_code(Code::UsageValue, || document.name("--resources"))?
        }
        None => {
            let text = serde_json::to_vec(&from_flags(&args.settings)?)?;
            config::parse_resources(&text).or_code(Code::UsageValue).map_err(|err| of_flag(args, err))?
        }
    };
    let entry = context.store.open(&ContainerId::new(&args.id)?)?;
    let _lock = entry.lock()?;
    let LoadedContainer { entry, mut record, status, .. } = load(entry)?;
    status::check(Action::Update, status, &args.id)?;
    let current = match &record.resources {
        Some(resources) => config::parse_resources(&serde_json::to_vec(resources)?)?,
        None => configured(&entry.read(CONFIG)?)?,
    };
    let schemas = if args.resources.is_none() { schemas(&args.settings, &record)? } else { Vec::new() };
    Cgroup::open(&record.cgroup)
        .update(&wanted, &current)
        .or_code(Code::CgroupValue)
        .map_err(|err| of_flag(args, err))?;
    if let (false, Some(groups), Some(mount)) = (schemas.is_empty(), &record.resctrl, &record.resctrl_mount) {
        rdt::change(groups, mount, &schemas)?;
    }
    let after = resources::merge(&current, &wanted);
    record.resources = Some(serde_json::to_value(after)?);
    entry.save(&record)?;
    Ok(0)
}

/// Adds the flag to an error about the field that it has set.
fn of_flag(args: &args::Update, err: anyhow::Error) -> anyhow::Error {
    let text = base::error::describe(&err);
    let names = |path: &[&str]| text.strip_prefix("linux.resources.")?.strip_prefix(&path.join("."))?.strip_prefix(':');
    let given = |flag: &str| args.settings.iter().any(|(name, _)| name == flag);
    match FIELDS.iter().find(|(flag, path)| given(flag) && names(path).is_some()) {
        Some((flag, _)) => err.context(format!("--{flag}")),
        None => err,
    }
}

/// Returns the schemas among the flags.
///
/// # Errors
/// The container has no `linux.intelRdt`, and so no resctrl group.
fn schemas(settings: &[(String, String)], record: &Record) -> Result<Vec<(String, String)>> {
    let found = settings.iter().filter(|(flag, _)| SCHEMAS.contains(&flag.as_str()));
    let lines: Vec<_> = found.map(|(flag, line)| (format!("--{flag}"), line.clone())).collect();
    match lines.first() {
        Some((flag, _)) if record.resctrl.is_none() => {
            bail!(coded!(UsageValue, "{flag}: the container has no linux.intelRdt"))
        }
        _ => Ok(lines),
    }
}

fn configured(text: &[u8]) -> Result<LinuxResources> {
    let config = config::parse(text).context("the container's configuration")?;
    let resources = config.spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    Ok(resources.unwrap_or_default())
}

fn from_flags(settings: &[(String, String)]) -> Result<Value> {
    let mut document = Value::Object(Map::new());
    for (flag, text) in settings.iter().filter(|(flag, _)| !SCHEMAS.contains(&flag.as_str())) {
        let Some((_, path)) = FIELDS.iter().find(|(name, _)| name == flag) else {
            bail!(coded!(UsageFlag, "--{flag}: unknown"))
        };
        let value = match flag.as_str() {
            "cpuset-cpus" | "cpuset-mems" => json!(text),
            _ => json!(text.parse::<i64>().with_context(|| format!("--{flag}: {text:?}"))?),
        };
        // as the help says; with a limit of 0 nothing in the container could fork
        if flag == "pids-limit" && value == json!(0) {
            continue;
        }
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
    fn up_1_flags_are_converted_to_resources() {
        let flags = [("memory", "1024"), ("cpuset-cpus", "0-1"), ("pids-limit", "-1")];
        let flags: Vec<_> = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let wanted = json!({"memory": {"limit": 1024}, "cpu": {"cpus": "0-1"}, "pids": {"limit": -1}});
        assert_eq!(from_flags(&flags).unwrap(), wanted);
        assert_eq!(from_flags(&[("pids-limit".to_owned(), "0".to_owned())]).unwrap(), json!({}));
    }
}
