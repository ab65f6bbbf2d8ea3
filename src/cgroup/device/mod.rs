//! The device access list of a container (DV-6): the rules in order. Pure.
//!
//! `program` makes the v2 program of it, which `sys::bpf` attaches; the v1 files are written in `cgroup::create`.

mod program;

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// Access bits, as the kernel has them in the context of a device program.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// The type of a device; `All` stands for both, and then for every number too, as in v1's `a`.
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
    /// Grants, or takes away.
    pub allow: bool,
    /// Which type.
    pub kind: DeviceType,
    /// `None`: any.
    pub major: Option<u32>,
    /// `None`: any.
    pub minor: Option<u32>,
    access: u8,
    /// Added by the runtime, not asked for by the configuration.
    pub default: bool,
}

/// The whole list. A container starts with no access (as with runc: a configuration without rules opens nothing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceList {
    /// What holds for a device that no rule names.
    pub base_allow: bool,
    /// Later rules override earlier ones.
    pub rules: Vec<Rule>,
}

impl fmt::Display for Rule {
    /// The form that `devices.allow` and `devices.deny` take.
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
    /// Whether each device of `other` is one of this rule.
    fn covers(&self, other: &Rule) -> bool {
        let within = |own: Option<u32>, other: Option<u32>| own.is_none() || own == other;
        self.kind == other.kind && within(self.major, other.major) && within(self.minor, other.minor)
    }

    /// Whether some device is one of both.
    fn meets(&self, other: &Rule) -> bool {
        let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    /// What is granted or taken away, as `rwm` or a part of it.
    pub(crate) fn letters(&self) -> String {
        let all = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')];
        all.iter().filter(|(bit, _)| self.access & bit != 0).map(|(_, letter)| letter).collect()
    }

    fn is_tun(&self) -> bool {
        (self.kind, self.major, self.minor) == (DeviceType::Char, Some(10), Some(200))
    }
}

impl DeviceList {
    /// The rules of the configuration in their order, then the runtime's own.
    pub(crate) fn new(config: &[LinuxDeviceCgroup]) -> Result<DeviceList> {
        let mut list = DeviceList { base_allow: false, rules: Vec::with_capacity(config.len() + 12) };
        for (index, rule) in config.iter().enumerate() {
            let rule = parse(rule).with_context(|| format!("linux.resources.devices[{index}]"))?;
            for rule in rule.into_iter().flatten() {
                if rule.kind == DeviceType::All {
                    // whatever came before is overruled
                    list = DeviceList { base_allow: rule.allow, rules: list.rules };
                    list.rules.clear();
                } else {
                    list.rules.push(rule);
                }
            }
        }
        // what is allowed anyway needs no default rule, unless a rule of the configuration may have taken it away
        if !list.base_allow || list.rules.iter().any(|rule| !rule.allow) {
            // no program needs tun to start: a rule for it, as `--device /dev/net/tun:/dev/net/tun:r` gives, is the last word
            let named = list.rules.iter().any(|rule| rule.is_tun());
            list.rules.extend(defaults().filter(|rule| !(named && rule.is_tun())));
        }
        Ok(list)
    }

    /// The rules for v1, whose files keep exceptions from the base: one goes away only by its own numbers.
    ///
    /// # Errors
    /// A rule would make a hole in an earlier, wider one: written all the same it would do nothing, and say nothing.
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

    /// Nothing is forbidden, so there is nothing to enforce.
    pub(crate) fn allows_everything(&self) -> bool {
        self.base_allow && self.rules.iter().all(|rule| rule.allow)
    }
}

/// A rule of the configuration; type `a` that does not cover everything becomes one rule for each type.
fn parse(rule: &LinuxDeviceCgroup) -> Result<[Option<Rule>; 2]> {
    let access = rule.access().as_deref().unwrap_or_default();
    let mut bits = 0;
    for letter in access.chars() {
        bits |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => anyhow::bail!("access {access:?}: only the letters r, w and m are known"),
        };
    }
    if access.is_empty() {
        bits = ALL; // unset: everything, as the v1 kernel interface takes it
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

/// What every container may do: make any node (not use it), and use the devices of a terminal session (DV-4, DV-6).
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
