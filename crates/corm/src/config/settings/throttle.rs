//! Limits of block devices, rules of devices, the cgroup and the execution domain: `--device-read-bps` and its like,
//! `--blkio-weight-device`, `--device-cgroup-rule`, `--cgroup-parent`, `--cgroupns`, `--personality`.

use base::coded;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use base::cli_parser::values;

/// The flags of rates, and their keys below `linux.resources.blockIO`.
pub const RATES: [(&str, &str); 4] = [
    ("device-read-bps", "throttleReadBpsDevice"),
    ("device-write-bps", "throttleWriteBpsDevice"),
    ("device-read-iops", "throttleReadIOPSDevice"),
    ("device-write-iops", "throttleWriteIOPSDevice"),
];

/// A limit of one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfDevice {
    /// Key below `linux.resources.blockIO`.
    key: &'static str,
    /// Name of the number there.
    number: &'static str,
    /// Device of the host.
    path: PathBuf,
    /// The number.
    value: u64,
}

impl OfDevice {
    /// Parses `DEVICE:RATE`, where a rate of bytes may have a unit.
    ///
    /// # Errors
    /// Another form.
    pub fn rate(text: &str, key: &'static str) -> Result<Self> {
        let (path, rate) = text.rsplit_once(':').context("must be DEVICE:RATE")?;
        let value =
            if key.contains("Bps") { u64::try_from(values::size(rate)?)? } else { values::unsigned(rate, u64::MAX)? };
        ensure!(
            path.starts_with('/') && value > 0,
            coded!(UsageValue, "must be DEVICE:RATE, with the path of a device and a rate above 0")
        );
        Ok(Self { key, number: "rate", path: path.into(), value })
    }

    /// Parses `DEVICE:WEIGHT`.
    ///
    /// # Errors
    /// Another form, a weight that is not 10 to 1000.
    pub fn weight(text: &str) -> Result<Self> {
        let (path, weight) = text.rsplit_once(':').context("must be DEVICE:WEIGHT")?;
        let value = values::unsigned(weight, 1000)?;
        ensure!(
            path.starts_with('/') && value >= 10,
            coded!(UsageValue, "must be DEVICE:WEIGHT, with a weight from 10 to 1000")
        );
        Ok(Self { key: "weightDevice", number: "weight", path: path.into(), value })
    }

    /// Returns its entry in the configuration.
    fn entry(&self) -> Result<Value> {
        let context = || format!("{:?}", self.path);
        let of = std::fs::metadata(&self.path).with_context(context)?;
        ensure!(of.file_type().is_block_device(), coded!(UsageValue, "{}: is no block device", context()));
        let device = of.rdev();
        Ok(json!({"major": libc::major(device), "minor": libc::minor(device), self.number: self.value}))
    }
}

/// A rule of `--device-cgroup-rule`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    kind: char,
    major: Option<u32>,
    minor: Option<u32>,
    access: String,
}

impl Rule {
    /// Parses `TYPE MAJOR:MINOR ACCESS`, such as `c 1:* rwm`.
    ///
    /// # Errors
    /// Another form.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [kind, numbers, access] = words.as_slice() else {
            bail!(coded!(UsageValue, "must be of the form \"c 1:3 rwm\""))
        };
        let kind = match *kind {
            "a" => 'a',
            "b" => 'b',
            "c" => 'c',
            _ => bail!(coded!(UsageValue, "the type must be a, b or c")),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            _ => text.parse().map(Some).ok().with_context(|| format!("{text:?}: is no number")),
        };
        let (major, minor) = numbers.split_once(':').context("the device must be MAJOR:MINOR")?;
        let good = !access.is_empty() && access.bytes().all(|byte| b"rwm".contains(&byte));
        ensure!(good, coded!(UsageValue, "the access must be of r, w and m"));
        Ok(Self { kind, major: number(major)?, minor: number(minor)?, access: (*access).to_owned() })
    }

    fn entry(&self) -> Value {
        let mut entry = json!({"allow": true, "type": self.kind.to_string(), "access": self.access});
        for (name, number) in [("major", self.major), ("minor", self.minor)] {
            if let Some(number) = number {
                entry[name] = json!(number);
            }
        }
        entry
    }
}

/// Settings of this file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Limits of block devices.
    pub devices: Vec<OfDevice>,
    /// Rules of devices.
    pub rules: Vec<Rule>,
    /// Cgroup below which the container's is made.
    pub parent: Option<PathBuf>,
    /// Whether the container has a cgroup namespace; absent: on cgroup v2.
    pub own_cgroups: Option<bool>,
    /// Execution domain.
    pub personality: Option<&'static str>,
}

/// Parses `--cgroup-parent`.
///
/// # Errors
/// A relative path, or one with `..`.
pub fn parent(text: &str) -> Result<PathBuf> {
    let plain = Path::new(text).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    ensure!(
        text.starts_with('/') && plain && !text.contains('\0'),
        coded!(UsageValue, "must be an absolute path without `..`")
    );
    Ok(text.into())
}

/// Parses `--cgroupns`: whether the container has its own.
///
/// # Errors
/// Another word than private and host.
pub fn own_cgroups(text: &str) -> Result<bool> {
    match text {
        "private" => Ok(true),
        "host" => Ok(false),
        _ => bail!(coded!(UsageValue, "must be private or host")),
    }
}

/// Parses `--personality`.
///
/// # Errors
/// Another domain than LINUX and LINUX32.
pub fn personality(text: &str) -> Result<&'static str> {
    match text {
        "LINUX" => Ok("LINUX"),
        "LINUX32" => Ok("LINUX32"),
        _ => bail!(coded!(UsageValue, "must be LINUX or LINUX32")),
    }
}

impl Throttle {
    /// Checks the devices before anything is created.
    ///
    /// # Errors
    /// One is missing, or no block device.
    pub fn check(&self) -> Result<()> {
        self.devices.iter().try_for_each(|device| device.entry().map(drop))
    }

    /// Writes the settings into a configuration that has its other limits; `id` is that of the container.
    ///
    /// # Errors
    /// As [`Throttle::check`].
    pub fn apply(&self, config: &mut Value, id: &str) -> Result<()> {
        let resources = &mut config["linux"]["resources"];
        for device in &self.devices {
            push(&mut resources["blockIO"][device.key], device.entry()?);
        }
        for rule in &self.rules {
            push(&mut resources["devices"], rule.entry());
        }
        if let Some(parent) = &self.parent {
            config["linux"]["cgroupsPath"] = json!(parent.join(id));
        }
        if let Some(domain) = self.personality {
            config["linux"]["personality"] = json!({"domain": domain});
        }
        if let (Some(own), Some(Value::Array(list))) = (self.own_cgroups, config["linux"].get_mut("namespaces")) {
            list.retain(|entry| entry.get("type") != Some(&json!("cgroup")));
            list.extend(own.then(|| json!({"type": "cgroup"})));
        }
        Ok(())
    }
}

/// Appends to a list that may not be there yet.
fn push(place: &mut Value, entry: Value) {
    match place {
        Value::Array(list) => list.push(entry),
        _ => *place = json!([entry]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn rates_and_rules_have_forms() {
        let rate = OfDevice::rate("/dev/vda:1m", RATES[0].1).unwrap();
        assert_eq!((rate.path.as_path(), rate.value), (Path::new("/dev/vda"), 1 << 20));
        for bad in ["/dev/vda", "vda:1", "/dev/vda:0", "/dev/vda:x", "/dev/vda:-1"] {
            assert!(OfDevice::rate(bad, RATES[0].1).is_err() && OfDevice::rate(bad, RATES[2].1).is_err(), "{bad}");
        }
        assert!(OfDevice::rate("/dev/vda:1m", RATES[2].1).is_err(), "operations have no unit");
        assert!(OfDevice::weight("/dev/vda:1000").is_ok() && OfDevice::weight("/dev/vda:9").is_err());
        let rule = Rule::parse("c 1:* rm").unwrap().entry();
        assert_eq!(rule, json!({"allow": true, "type": "c", "access": "rm", "major": 1}));
        for bad in ["", "c 1:3", "x 1:3 r", "c 1 r", "c a:3 r", "c 1:3 x", "c 1:3 r w"] {
            assert!(Rule::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["a", "/a/../b", ""] {
            assert!(parent(bad).is_err(), "{bad:?}");
        }
    }
}
