//! The device access list of a container (DV-6): the rules in order. Pure.
//!
//! `program` compiles the list for v2 and `linux::bpf` attaches the program; `cgroup::create` writes the v1 files.

mod program;

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// Access bits, as the kernel has them in the context of a device program.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// The type of a device. `All` is v1's `a`: both types and every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceType {
    /// Every device.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The rule allows the access; `false`: it denies the access.
    pub allow: bool,
    /// The type of the devices.
    pub kind: DeviceType,
    /// The major number; `None`: any.
    pub major: Option<u32>,
    /// The minor number; `None`: any.
    pub minor: Option<u32>,
    access: u8,
    /// The runtime added the rule; it is not in the configuration.
    pub default: bool,
}

/// The whole list. Without rules a container has no access, as with runc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceList {
    /// The access to devices that no rule names: all or none.
    pub base_allow: bool,
    /// The rules in order; later rules override earlier ones.
    pub rules: Vec<Rule>,
}

impl fmt::Display for Rule {
    /// Writes the rule in the form of `devices.allow` and `devices.deny`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            DeviceType::All => return f.write_str("a"),
            DeviceType::Block => 'b',
            DeviceType::Char => 'c',
        };
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.letters())
    }
}

impl Rule {
    /// Reports whether this rule names every device that `other` names.
    fn covers(&self, other: &Rule) -> bool {
        let within = |own: Option<u32>, other: Option<u32>| own.is_none() || own == other;
        self.kind == other.kind && within(self.major, other.major) && within(self.minor, other.minor)
    }

    /// Reports whether some device is named by both rules.
    fn meets(&self, other: &Rule) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    /// The access as `rwm` or a part of it.
    pub(crate) fn letters(&self) -> String {
        let all = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        all.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }

    fn is_tun(&self) -> bool {
        (self.kind, self.major, self.minor) == (DeviceType::Char, Some(10), Some(200))
    }
}

impl DeviceList {
    /// Builds the list: the rules of the configuration in their order, then the runtime's defaults.
    ///
    /// # Errors
    /// A rule with an unknown type, access or number; the error names its index.
    pub(crate) fn new(config: &[LinuxDeviceCgroup]) -> Result<DeviceList> {
        let mut list = DeviceList { base_allow: false, rules: Vec::with_capacity(config.len() + 12) };
        for (index, rule) in config.iter().enumerate() {
            let rule = parse(rule).with_context(|| format!("linux.resources.devices[{index}]"))?;
            for rule in rule.into_iter().flatten() {
                if rule.kind == DeviceType::All {
                    // overrides all earlier rules
                    list = DeviceList { base_allow: rule.allow, rules: list.rules };
                    list.rules.clear();
                } else {
                    list.rules.push(rule);
                }
            }
        }
        // no default rule is needed where everything is allowed and no rule of the configuration denies
        if !list.base_allow || list.rules.iter().any(|rule| !rule.allow) {
            // no program needs tun to start, so a rule of the configuration for it has precedence, such as Docker's
            // `--device /dev/net/tun:/dev/net/tun:r`
            let named = list.rules.iter().any(|rule| rule.is_tun());
            list.rules.extend(defaults().filter(|rule| !(named && rule.is_tun())));
        }
        Ok(list)
    }

    /// Returns the rules for v1, whose files keep exceptions from the base; only a rule with the same numbers removes
    /// an exception.
    ///
    /// # Errors
    /// A rule that excepts a part of an earlier, wider rule, because v1 would ignore it without an error.
    pub(crate) fn v1_rules(&self) -> Result<Vec<Rule>> {
        let (mut exceptions, mut lines): (Vec<Rule>, Vec<Rule>) = (Vec::new(), Vec::new());
        for rule in &self.rules {
            if rule.allow != self.base_allow {
                exceptions.push(*rule);
                lines.push(*rule);
                continue;
            }
            for exception in
                exceptions.iter_mut().filter(|earlier| earlier.meets(rule) && earlier.access & rule.access != 0)
            {
                if rule.covers(exception) {
                    lines.push(Rule { allow: rule.allow, access: exception.access & rule.access, ..*exception });
                    exception.access &= !rule.access;
                } else if !rule.default {
                    bail!("linux.resources.devices: cgroup v1 cannot except {rule} from the earlier rule {exception}");
                }
            }
        }
        Ok(lines)
    }

    /// Reports whether every access is allowed, so that nothing has to be enforced.
    pub(crate) fn allows_everything(&self) -> bool {
        self.base_allow && self.rules.iter().all(|rule| rule.allow)
    }
}

/// Parses a rule of the configuration. Type `a` with a number or without `rwm` becomes one rule for each type.
fn parse(rule: &LinuxDeviceCgroup) -> Result<[Option<Rule>; 2]> {
    let access = rule.access().as_deref().unwrap_or_default();
    let mut bits = 0;
    for letter in access.chars() {
        bits |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            // `rwa` is written by callers that follow runc, which takes no notice of it; the safer meaning of `a` is all
            'a' if !rule.allow() => ALL,
            'a' => 0,
            _ => anyhow::bail!("access {access:?}: only the letters r, w and m are known"),
        };
    }
    anyhow::ensure!(bits != 0 || access.is_empty(), "access {access:?}: allows nothing");
    if access.is_empty() {
        bits = ALL; // absent means all, as in the v1 kernel interface
    }
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None), // -1 is written by callers that follow runc's "any"
        Some(n) => u32::try_from(n).map(Some).map_err(|_| anyhow::anyhow!("{name} {n} is out of range")),
    };
    let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
    let of = |kind| Rule { allow: rule.allow(), kind, major, minor, access: bits, default: false };
    Ok(match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A if major.is_none() && minor.is_none() && bits == ALL => [Some(of(DeviceType::All)), None],
        LinuxDeviceType::A => [Some(of(DeviceType::Char)), Some(of(DeviceType::Block))],
        LinuxDeviceType::B => [Some(of(DeviceType::Block)), None],
        LinuxDeviceType::C | LinuxDeviceType::U => [Some(of(DeviceType::Char)), None],
        LinuxDeviceType::P => {
            ensure!(false, "type \"p\": a fifo is not under device control");
            [None, None]
        }
    })
}

/// Returns the rules of every container: create any node (not use it), and use the devices of a terminal session
/// (DV-4, DV-6).
fn defaults() -> impl Iterator<Item = Rule> {
    let any = [(DeviceType::Char, None, None, MKNOD), (DeviceType::Block, None, None, MKNOD)];
    let used = [
        (1, Some(3)),    // null
        (1, Some(5)),    // zero
        (1, Some(7)),    // full
        (1, Some(8)),    // random
        (1, Some(9)),    // urandom
        (5, Some(0)),    // tty
        (5, Some(1)),    // console
        (5, Some(2)),    // ptmx
        (136, None),     // pts
        (10, Some(200)), // net/tun
    ];
    let used = used.into_iter().map(|(major, minor)| (DeviceType::Char, Some(major), minor, ALL));
    any.into_iter().chain(used).map(|(kind, major, minor, access)| Rule {
        allow: true,
        kind,
        major,
        minor,
        access,
        default: true,
    })
}

#[cfg(test)]
mod tests;
