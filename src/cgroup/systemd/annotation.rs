//! `org.systemd.property.NAME` annotations: the properties of a unit that a configuration may set, with values in the
//! text form of GVariant (`uint64 10000000`, `'mixed'`, `['a.service']`). Pure.
//!
//! Only properties that concern the container alone are allowed, because an engine's users can often write annotations,
//! and other properties can start units, run commands or reboot the host (CVE-2024-3154).

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;

use super::properties::Property;
use super::wire::Value;

/// The prefix of the annotations.
pub(crate) const PREFIX: &str = "org.systemd.property.";

/// The allowed properties by the D-Bus type of their value.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "s",
        &[
            "CollectMode",
            "Description",
            "KillMode",
            "ManagedOOMMemoryPressure",
            "ManagedOOMPreference",
            "ManagedOOMSwap",
            "OOMPolicy",
        ],
    ),
    ("b", &["DefaultDependencies", "SendSIGHUP", "SendSIGKILL"]),
    ("i", &["FinalKillSignal", "KillSignal", "WatchdogSignal"]),
    ("u", &["ManagedOOMMemoryPressureLimit"]),
    (
        "t",
        &[
            "CPUWeight",
            "IOWeight",
            "MemoryHigh",
            "MemoryLow",
            "MemoryMax",
            "MemoryMin",
            "MemorySwapMax",
            "RuntimeMaxUSec",
            "StartupCPUWeight",
            "StartupIOWeight",
            "TasksMax",
            "TimeoutStopUSec",
        ],
    ),
    ("as", &["After", "Before"]),
];

/// Returns the property that an annotation sets; `None` for any other annotation.
///
/// # Errors
/// A property that is not allowed, or a value of another type.
pub(crate) fn property(key: &str, text: &str) -> Result<Option<Property>> {
    let Some(name) = key.strip_prefix(PREFIX) else { return Ok(None) };
    let field = || format!("annotations[{key:?}]");
    // unit files have seconds where D-Bus has microseconds
    let (name, seconds) = match name.strip_suffix("USec").or(name.strip_suffix("Sec")) {
        Some(stem) => (format!("{stem}USec"), !name.ends_with("USec")),
        None => (name.to_owned(), false),
    };
    let kind = ALLOWED.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(kind, _)| *kind);
    let kind = kind.with_context(|| format!("{}: a configuration may not set this property", field()))?;
    let value = value(kind, text.trim(), seconds).with_context(field)?;
    Ok(Some(Property::new(&name, value)))
}

fn value(kind: &str, text: &str, seconds: bool) -> Result<Value> {
    let wrong = || format!("{text:?} is not a value of type {kind}");
    Ok(match kind {
        "s" => Value::Text(quoted(text).with_context(wrong)?.to_owned()),
        "as" => Value::Texts(list(text).with_context(wrong)?),
        "b" => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => bail!(coded!(CgroupSystemd, "{text:?} is not a value of type b")),
        },
        "i" => Value::I32(number(text).with_context(wrong)?.try_into().ok().with_context(wrong)?),
        "u" => Value::U32(number(text).with_context(wrong)?.try_into().ok().with_context(wrong)?),
        _ if seconds => Value::U64(microseconds(text).with_context(wrong)?),
        _ => Value::U64(number(text).with_context(wrong)?.try_into().ok().with_context(wrong)?),
    })
}

/// Removes the word for the type in front of a number.
fn bare(text: &str) -> &str {
    let words = ["byte ", "int16 ", "uint16 ", "int32 ", "uint32 ", "int64 ", "uint64 ", "double "];
    words.iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text).trim()
}

fn number(text: &str) -> Option<i128> {
    let text = bare(text);
    match text.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn microseconds(text: &str) -> Option<u64> {
    if let Some(seconds) = number(text) {
        return u64::try_from(seconds).ok()?.checked_mul(1_000_000);
    }
    let seconds: f64 = bare(text).parse().ok()?;
    (seconds.is_finite() && (0.0..1e12).contains(&seconds)).then_some((seconds * 1e6) as u64)
}

/// Returns the text in single or double quotes. Refuses escapes, which no allowed value needs, and control characters,
/// because a newline would end the line of a unit file.
fn quoted(text: &str) -> Option<&str> {
    let inner = ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))?;
    (!inner.contains(['\'', '"', '\\']) && !inner.chars().any(char::is_control)).then_some(inner)
}

fn list(text: &str) -> Result<Vec<String>> {
    let text = text.strip_prefix("@as").unwrap_or(text).trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).context("no list")?.trim();
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    inner
        .split(',')
        .map(|item| {
            let name = quoted(item.trim()).context("an item without quotes")?;
            ensure!(
                !name.is_empty() && !name.contains('/'),
                coded!(CgroupSystemd, "{name:?} is not the name of a unit")
            );
            Ok(name.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn cg_5_what_callers_send() {
        for (name, text, expected) in [
            ("TimeoutStopUSec", "uint64 10000000", ("TimeoutStopUSec", Value::U64(10_000_000))),
            ("TimeoutStopSec", "uint64 10", ("TimeoutStopUSec", Value::U64(10_000_000))),
            ("TimeoutStopSec", "1.5", ("TimeoutStopUSec", Value::U64(1_500_000))),
            ("KillSignal", "37", ("KillSignal", Value::I32(37))),
            ("CollectMode", "'inactive-or-failed'", ("CollectMode", Value::Text("inactive-or-failed".into()))),
            ("Description", "\"a b\"", ("Description", Value::Text("a b".into()))),
            ("SendSIGKILL", "false", ("SendSIGKILL", Value::Bool(false))),
            (
                "After",
                "['a.service', \"b.target\"]",
                ("After", Value::Texts(vec!["a.service".into(), "b.target".into()])),
            ),
            ("Before", "@as []", ("Before", Value::Texts(vec![]))),
            ("MemoryHigh", "0x100000", ("MemoryHigh", Value::U64(1 << 20))),
            ("ManagedOOMMemoryPressureLimit", "uint32 5", ("ManagedOOMMemoryPressureLimit", Value::U32(5))),
        ] {
            let got = property(&format!("{PREFIX}{name}"), text).unwrap().unwrap();
            assert_eq!((got.name.as_str(), got.value), expected, "{name} {text}");
        }
        assert_eq!(property("org.criu.config", "x").unwrap(), None);
    }

    #[test]
    fn cve_2024_3154_what_reaches_beyond_the_container_is_refused() {
        for name in [
            "ExecStart",
            "ExecStopPost",
            "SuccessAction",
            "FailureAction",
            "JobTimeoutAction",
            "OnFailure",
            "Wants",
            "Requires",
            "BindsTo",
            "Slice",
            "PIDs",
            "Delegate",
            "DeviceAllow",
            "User",
            "",
            "killsignal",
            "KillSignal ",
            "a\nb",
        ] {
            let err = base::error::describe(&property(&format!("{PREFIX}{name}"), "'x'").unwrap_err());
            assert!(err.contains("may not set"), "{name}: {err}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (name, text) in [
            ("KillSignal", "'TERM'"),
            ("KillSignal", "uint64 4294967296"),
            ("TimeoutStopUSec", "-1"),
            ("TimeoutStopSec", "nan"),
            ("TimeoutStopSec", "uint64 18446744073709551615"),
            ("CollectMode", "inactive"),
            ("Description", "'a\nExecStart=/x'"),
            ("Description", "'a' 'b'"),
            ("SendSIGHUP", "1"),
            ("After", "'a.service'"),
            ("After", "['../a']"),
            ("After", "['a.service'"),
        ] {
            let err = base::error::describe(&property(&format!("{PREFIX}{name}"), text).unwrap_err());
            assert!(err.starts_with("annotations[\"org.systemd.property."), "{name} {text}: {err}");
        }
    }
}
