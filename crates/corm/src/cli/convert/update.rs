//! Conversion of the flags of `update`.

use anyhow::{Context as _, Result, ensure};
use base::coded;
use serde_json::{Value, json};

use super::settings::{cpu_quota, pids, size};
use crate::cli::args::{ContainerVerb, Update, Verb};
use crate::config::settings::limits::CPU_PERIOD;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

/// A flag of a number, and its keys below `linux.resources`.
type Number = (&'static str, &'static [&'static str]);

/// Flags whose value is a number as it is.
const NUMBERS: [Number; 4] = [
    ("cpu-shares", &["cpu", "shares"]),
    ("cpu-period", &["cpu", "period"]),
    ("cpu-quota", &["cpu", "quota"]),
    ("blkio-weight", &["blockIO", "weight"]),
];

pub(in crate::cli) fn update(given: &mut ParsedArgs) -> Result<Verb> {
    let mut limits: Vec<(&'static [&'static str], Value)> = Vec::new();
    let bytes = |text: &str| match values::size(text) {
        Ok(-1) => Ok(-1),
        _ => size(text).and_then(|bytes| i64::try_from(bytes).context("too large")),
    };
    for (flag, path) in [
        ("memory", &["memory", "limit"]),
        ("memory-reservation", &["memory", "reservation"]),
        ("memory-swap", &["memory", "swap"]),
    ] {
        if let Some(bytes) = given.parsed(flag, bytes)? {
            limits.push((path, json!(bytes)));
        }
    }
    let quota = given.parsed("cpus", cpu_quota)?;
    for (flag, path) in NUMBERS {
        if let Some(number) = given.parsed(flag, values::signed)? {
            ensure!(
                quota.is_none() || !["cpu-period", "cpu-quota"].contains(&flag),
                coded!(UsageArguments, "--cpus and --{flag} exclude each other")
            );
            limits.push((path, json!(number)));
        }
    }
    if let Some(quota) = quota {
        limits.push((&["cpu", "quota"], json!(quota)));
        limits.push((&["cpu", "period"], json!(CPU_PERIOD)));
    }
    for (flag, path) in [("cpuset-cpus", &["cpu", "cpus"]), ("cpuset-mems", &["cpu", "mems"])] {
        if let Some(text) = given.text(flag)? {
            limits.push((path, json!(text)));
        }
    }
    if let Some(number) = given.parsed("pids-limit", pids)? {
        limits.push((&["pids", "limit"], json!(number)));
    }
    Ok(ContainerVerb::Update(Update { container: given.id(), limits }).into())
}
