//! Seccomp profiles of `--security-opt seccomp=FILE`: Docker's form, whose rules may have conditions, and the OCI's.

use base::coded;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use linux::place;

/// Maximum size of a profile, in bytes.
const MAX_PROFILE: u64 = 1 << 20;

/// A profile. Members that the OCI's form has, too, are passed on unchanged.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<Architecture>>,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// An architecture, and those whose programs it also runs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

/// A rule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    /// The only call, in an older form.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Value>>,
    #[serde(default)]
    includes: Option<Condition>,
    #[serde(default)]
    excludes: Option<Condition>,
}

/// A condition of a rule; an absent part is none.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

/// What conditions are compared with.
struct Facts<'a> {
    capabilities: &'a [&'a str],
    kernel: (u64, u64),
}

impl Condition {
    /// Returns whether a rule with this `includes` counts.
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let arch = self.arches.as_ref().is_none_or(|list| list.is_empty() || list.iter().any(|arch| arch == go_arch()));
        let caps = self.caps.iter().flatten().all(|cap| facts.capabilities.contains(&cap.as_str()));
        arch && caps && self.min_kernel.as_deref().is_none_or(|text| kernel(text) <= facts.kernel)
    }

    /// Returns whether a rule with this `excludes` does not count.
    fn excludes(&self, facts: &Facts<'_>) -> bool {
        let arch = self.arches.iter().flatten().any(|arch| arch == go_arch());
        let caps = self.caps.iter().flatten().any(|cap| facts.capabilities.contains(&cap.as_str()));
        arch || caps || self.min_kernel.as_deref().is_some_and(|text| kernel(text) <= facts.kernel)
    }
}

/// Reads a profile and returns it as `linux.seccomp` for a container with these capabilities.
///
/// # Errors
/// The file cannot be read, is too large, or is no profile.
pub(super) fn read(path: &Path, capabilities: &[&str]) -> Result<Value> {
    let mut text = String::new();
    place::open_to_read(path)?.take(MAX_PROFILE + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= MAX_PROFILE, coded!(UsageValue, "more than {MAX_PROFILE} bytes"));
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("version of the kernel")?;
    convert(&text, &Facts { capabilities, kernel: kernel(&release) })
}

fn convert(text: &str, facts: &Facts<'_>) -> Result<Value> {
    let profile: Profile = serde_json::from_str(text).context("no seccomp profile")?;
    let given = profile.architectures.unwrap_or_default();
    let map = profile.arch_map.unwrap_or_default();
    ensure!(
        given.is_empty() || map.is_empty(),
        coded!(UsageValue, "has architectures and archMap, of which one may be set")
    );
    let of_map = map.into_iter().find(|entry| entry.architecture == scmp_arch()).map(|entry| {
        std::iter::once(entry.architecture).chain(entry.sub_architectures.unwrap_or_default()).collect::<Vec<_>>()
    });
    let mut rules = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        let names = rule.names.unwrap_or_default();
        ensure!(
            rule.name.is_none() || names.is_empty(),
            coded!(UsageValue, "a rule has name and names, of which one may be set")
        );
        let counts = rule.includes.as_ref().is_none_or(|condition| condition.holds(facts))
            && !rule.excludes.as_ref().is_some_and(|condition| condition.excludes(facts));
        if !counts {
            continue;
        }
        let names: Vec<String> = rule.name.into_iter().chain(names).collect();
        let mut line = json!({"names": names, "action": rule.action});
        if let Some(number) = rule.errno_ret {
            line["errnoRet"] = json!(number);
        }
        if let Some(args) = rule.args.filter(|args| !args.is_empty()) {
            line["args"] = json!(args);
        }
        rules.push(line);
    }
    let mut whole = json!({"defaultAction": profile.default_action, "syscalls": rules});
    let architectures = of_map.unwrap_or(given);
    if !architectures.is_empty() {
        whole["architectures"] = json!(architectures);
    }
    for name in ["defaultErrnoRet", "flags", "listenerPath", "listenerMetadata"] {
        if let Some(value) = profile.rest.get(name).filter(|value| !value.is_null()) {
            whole[name] = value.clone();
        }
    }
    Ok(whole)
}

/// Parses the first two numbers of a kernel's version; what is no number is 0.
fn kernel(text: &str) -> (u64, u64) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Returns the name of the machine's architecture in Go, which conditions have.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Returns the name of the machine's architecture in `archMap`.
fn scmp_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64",
        "aarch64" => "SCMP_ARCH_AARCH64",
        "riscv64" => "SCMP_ARCH_RISCV64",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn converted(profile: &Value, capabilities: &[&str]) -> Result<Value> {
        convert(&profile.to_string(), &Facts { capabilities, kernel: (6, 1) })
    }

    #[test]
    fn rules_with_conditions_count_where_they_hold() {
        let rule = |name: &str, includes: Value, excludes: Value| json!({"names": [name], "action": "SCMP_ACT_ALLOW", "includes": includes, "excludes": excludes, "args": null});
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}],
        "syscalls": [
            rule("plain", json!({}), json!({})),
            rule("admin", json!({"caps": ["CAP_SYS_ADMIN"]}), json!({})),
            rule("nobody", json!({}), json!({"caps": ["CAP_SYS_ADMIN"]})),
            rule("old", json!({"minKernel": "4.8"}), json!({})),
            rule("new", json!({"minKernel": "99.0"}), json!({})),
            rule("other", json!({"arches": ["s390x"]}), json!({})),
            {"name": "single", "action": "SCMP_ACT_LOG"},
        ]});
        let names = |capabilities: &[&str]| -> Vec<String> {
            let list = converted(&profile, capabilities).unwrap()["syscalls"].clone();
            list.as_array().unwrap().iter().map(|rule| rule["names"][0].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&[]), ["plain", "nobody", "old", "single"]);
        assert_eq!(names(&["CAP_SYS_ADMIN"]), ["plain", "admin", "old", "single"]);
        let whole = converted(&profile, &[]).unwrap();
        assert_eq!(
            (whole["defaultErrnoRet"].as_i64(), !whole["architectures"].as_array().unwrap().is_empty()),
            (Some(1), true)
        );
    }

    #[test]
    fn what_is_no_profile_is_told() {
        let rule = json!({"name": "a", "names": ["b"], "action": "SCMP_ACT_ALLOW"});
        for bad in [
            json!([]),
            json!({}),
            json!({"defaultAction": 1}),
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}),
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x"], "archMap": [{"architecture": "y"}]}),
        ] {
            assert!(converted(&bad, &[]).is_err(), "{bad}");
        }
        assert!(convert("", &Facts { capabilities: &[], kernel: (0, 0) }).is_err());
    }
}
