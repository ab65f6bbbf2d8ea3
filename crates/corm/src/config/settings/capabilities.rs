//! Capabilities of a container: the default ones, with `--cap-add` and `--cap-drop`.

use anyhow::{Result, bail, ensure};
use base::coded;

use base::capability::NAMES as ALL;

/// Capabilities of root in a container, as in other engines.
pub const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The word that means all capabilities.
const EVERY: &str = "ALL";

/// Capabilities that the caller adds and drops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Added ones, or `ALL`.
    add: Vec<&'static str>,
    /// Dropped ones, or `ALL`.
    drop: Vec<&'static str>,
}

impl Changes {
    /// Parses the values of `--cap-add` and `--cap-drop`: names with or without `CAP_`, in any case, several with commas.
    ///
    /// # Errors
    /// An unknown name; a capability that is added and dropped.
    pub fn parse(add: &[String], drop: &[String]) -> Result<Self> {
        let changes = Self { add: names(add, "--cap-add")?, drop: names(drop, "--cap-drop")? };
        let both = changes.add.iter().find(|name| changes.drop.contains(name));
        ensure!(both.is_none(), coded!(UsageValue, "--cap-add and --cap-drop: {} is in both", both.unwrap_or(&EVERY)));
        Ok(changes)
    }

    /// Returns the capabilities that root has: those added are in it also where all are dropped.
    pub fn of_root(&self, privileged: bool) -> Vec<&'static str> {
        let dropped = |name: &&&str| !self.drop.contains(name);
        if privileged || self.add.contains(&EVERY) {
            // those dropped by name stay out, as in Podman
            let dropped = |name: &&&str| privileged || dropped(name);
            return ALL.iter().filter(dropped).copied().filter(|name| is_possible(name)).collect();
        }
        let mut all: Vec<&str> =
            if self.drop.contains(&EVERY) { Vec::new() } else { DEFAULT.iter().filter(dropped).copied().collect() };
        all.extend(self.of_others());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the capabilities that a user other than root has: those that were asked for, as in Podman.
    pub fn of_others(&self) -> Vec<&'static str> {
        let every = self.add.contains(&EVERY);
        let wanted = |name: &&&str| if every { !self.drop.contains(name) } else { self.add.contains(name) };
        ALL.iter().filter(wanted).copied().filter(|name| !every || is_possible(name)).collect()
    }
}

/// Parses names of capabilities.
fn names(texts: &[String], flag: &str) -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    for text in texts.iter().flat_map(|text| text.split(',')) {
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let known = || ALL.iter().find(|name| name.strip_prefix("CAP_") == Some(short));
        match known() {
            _ if upper == EVERY => found.push(EVERY),
            Some(name) => found.push(*name),
            None => bail!(coded!(UsageValue, "{flag} {text:?}: unknown capability")),
        }
    }
    Ok(found)
}

/// Returns whether corm itself may give the capability: the kernel has it, and it is in corm's bounding set.
fn is_possible(name: &str) -> bool {
    let number = ALL.iter().position(|other| *other == name).and_then(|at| u8::try_from(at).ok());
    number.is_some_and(|number| linux::cred::in_bounding(number).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn changes(add: &[&str], drop: &[&str]) -> Result<Changes> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Changes::parse(&owned(add), &owned(drop))
    }

    #[test]
    fn capabilities_are_added_and_dropped_by_name() {
        let of = |add: &[&str], drop: &[&str]| changes(add, drop).unwrap().of_root(false);
        assert_eq!(of(&[], &[]), DEFAULT);
        assert_eq!(of(&["net_admin", "CAP_SYS_TIME"], &["all"]), ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
        assert_eq!(of(&[], &["ALL"]), Vec::<&str>::new());
        let less = of(&["chown"], &["mknod,CAP_net_raw"]);
        assert_eq!(less.len(), DEFAULT.len() - 2);
        assert!(!of(&["ALL"], &["CAP_CHOWN"]).contains(&"CAP_CHOWN"));
        assert_eq!(changes(&["kill"], &[]).unwrap().of_others(), ["CAP_KILL"]);
        assert_eq!(changes(&[], &[]).unwrap().of_others(), Vec::<&str>::new());
    }

    #[test]
    fn what_is_no_capability_is_told() {
        for (add, drop) in [
            (&["nothing"][..], &[][..]),
            (&[], &[""]),
            (&["CAP_CAP_KILL"], &[]),
            (&["kill"], &["KILL"]),
            (&["all"], &["ALL"]),
        ] {
            assert!(changes(add, drop).is_err(), "{add:?} {drop:?}");
        }
    }
}
