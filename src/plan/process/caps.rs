//! The five capability sets as bit masks, without capabilities that the kernel would refuse.

use caps::Capability;
use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};
use std::str::FromStr as _;

/// The five sets, bit n for capability n. A set that is absent in the configuration is empty (PR-12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Limit of the capabilities that an execve(2) can grant.
    pub bounding: u64,
    /// Capabilities that permission checks use.
    pub effective: u64,
    /// Capabilities that stay across an execve(2) of a file with them in its inheritable set.
    pub inheritable: u64,
    /// Limit of the effective set.
    pub permitted: u64,
    /// Capabilities that stay across every execve(2) of an unprivileged file.
    pub ambient: u64,
}

/// Plans the configured sets without capabilities that the kernel would refuse; `warnings` gets their names (PR-13).
pub(super) fn plan(
    wanted: Option<&LinuxCapabilities>,
    available: Option<u64>,
    warnings: &mut Vec<String>,
) -> Capabilities {
    let Some(wanted) = wanted else { return Capabilities::default() };
    let requested = Capabilities {
        bounding: mask(wanted.bounding().as_ref()),
        effective: mask(wanted.effective().as_ref()),
        inheritable: mask(wanted.inheritable().as_ref()),
        permitted: mask(wanted.permitted().as_ref()),
        ambient: mask(wanted.ambient().as_ref()),
    };
    let granted = grant(&requested, available.unwrap_or(u64::MAX));
    let all = |sets: &Capabilities| {
        [
            ("bounding", sets.bounding),
            ("effective", sets.effective),
            ("inheritable", sets.inheritable),
            ("permitted", sets.permitted),
            ("ambient", sets.ambient),
        ]
    };
    // names by what they lost and why, because one reason often concerns a dozen
    let mut others: Vec<(String, Vec<String>)> = Vec::new();
    for bit in 0..64 {
        let lost: Vec<&str> = all(&requested)
            .iter()
            .zip(all(&granted))
            .filter(|((_, requested), (_, granted))| (requested & !granted) >> bit & 1 == 1)
            .map(|((name, _), _)| *name)
            .collect();
        // Podman 4 and Buildah 1 write an ambient set and, since CVE-2022-29162, never an inheritable one
        let unneeded = requested.inheritable == 0 && lost == ["ambient"];
        if lost.is_empty() || unneeded {
            continue;
        }
        let why = match available {
            Some(have) if have >> bit & 1 == 0 => "the runtime does not hold it",
            _ if granted.bounding >> bit & 1 == 0 => "the bounding set does not have it",
            _ => "the other sets do not allow it",
        };
        let reason = format!("left out of {}: {why}", lost.join(", "));
        if lost.contains(&"ambient") {
            // the words are runc's
            warnings.push(format!("process.capabilities: can't raise ambient capability {}: {reason}", name(bit)));
        } else if let Some((_, names)) = others.iter_mut().find(|(other, _)| *other == reason) {
            names.push(name(bit));
        } else {
            others.push((reason, vec![name(bit)]));
        }
    }
    let line = |(reason, names): (String, Vec<String>)| format!("process.capabilities: {} {reason}", names.join(", "));
    warnings.extend(others.into_iter().map(line));
    granted
}

/// Reduces the sets to what the program can have: permitted and inheritable in bounding (the kernel accepts a permitted
/// set above the bounding set, and takes the rest away at the execve), effective in permitted, ambient in permitted and
/// inheritable.
fn grant(requested: &Capabilities, available: u64) -> Capabilities {
    let bounding = requested.bounding & available;
    let permitted = requested.permitted & bounding;
    let inheritable = requested.inheritable & bounding;
    Capabilities {
        bounding,
        effective: requested.effective & permitted,
        inheritable,
        permitted,
        ambient: requested.ambient & permitted & inheritable,
    }
}

fn mask(names: Option<&Names>) -> u64 {
    // `config` has dropped unknown names with a warning
    names.into_iter().flatten().filter_map(|name| bit(&name.to_string())).fold(0, |mask, bit| mask | bit)
}

/// Returns the bit of a capability by name, with or without `CAP_`, in any case.
pub(crate) fn bit(name: &str) -> Option<u64> {
    let name = name.to_ascii_uppercase();
    let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
    Capability::from_str(&name).ok().map(|capability| capability.bitmask())
}

fn name(bit: u8) -> String {
    let known = caps::all().into_iter().find(|capability| capability.index() == bit);
    known.map_or_else(|| format!("capability {bit}"), |capability| capability.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use oci_spec::runtime::{Capability as Spec, LinuxCapabilitiesBuilder};

    fn sets(five: [&[Spec]; 5]) -> LinuxCapabilities {
        let set = |names: &[Spec]| names.iter().copied().collect::<Names>();
        let [bounding, effective, inheritable, permitted, ambient] = five;
        LinuxCapabilitiesBuilder::default()
            .bounding(set(bounding))
            .effective(set(effective))
            .inheritable(set(inheritable))
            .permitted(set(permitted))
            .ambient(set(ambient))
            .build()
            .unwrap()
    }

    #[test]
    fn pr_13_all_41_capabilities_have_a_bit() {
        for capability in caps::all() {
            let json = format!("\"{capability}\"");
            let spec: Spec = serde_json::from_str(&json).unwrap();
            assert_eq!(mask(Some(&Names::from([spec]))), 1 << capability.index(), "{json}");
        }
        assert_eq!(caps::all().len(), 41);
        assert_eq!(bit("cap_checkpoint_restore"), Some(1 << 40));
        assert_eq!(bit("NET_RAW"), Some(1 << 13));
        assert_eq!(bit("CAP_TEST"), None);
    }

    #[test]
    fn pr_12_absent_is_empty() {
        let mut warnings = vec![];
        assert_eq!(plan(None, None, &mut warnings), Capabilities::default());
        let bounding_only = LinuxCapabilitiesBuilder::default().bounding(Names::from([Spec::Chown])).build().unwrap();
        // the configuration does not have the builder's defaults
        let json: LinuxCapabilities = serde_json::from_str(r#"{"bounding":["CAP_CHOWN"]}"#).unwrap();
        assert!(json.effective().is_none() && bounding_only.bounding().is_some());
        assert_eq!(plan(Some(&json), None, &mut warnings), Capabilities { bounding: 1, ..Capabilities::default() });
        assert!(warnings.is_empty());
    }

    #[test]
    fn pr_13_capabilities_that_the_runtime_lacks_are_dropped_with_a_warning() {
        let both: &[Spec] = &[Spec::Chown, Spec::SysResource];
        let mut warnings = vec![];
        let granted = plan(Some(&sets([both; 5])), Some(!(1 << 24)), &mut warnings);
        assert_eq!(granted, Capabilities { bounding: 1, effective: 1, inheritable: 1, permitted: 1, ambient: 1 });
        assert_eq!(
            warnings,
            [
                "process.capabilities: can't raise ambient capability CAP_SYS_RESOURCE: left out of bounding, effective, inheritable, permitted, \
              ambient: the runtime does not hold it"
            ]
        );
        // in a user namespace the runtime has all capabilities
        warnings.clear();
        assert_eq!(plan(Some(&sets([both; 5])), None, &mut warnings).bounding, 1 | 1 << 24);
        assert!(warnings.is_empty());
    }

    #[test]
    fn pr_13_an_ambient_set_without_any_inheritable_one_is_no_warning() {
        let (chown, kill): (&[Spec], &[Spec]) = (&[Spec::Chown], &[Spec::Kill]);
        for (five, count) in [
            ([chown, chown, &[], chown, chown], 0),
            ([chown, &[], &[], &[], chown], 0),
            ([chown, chown, kill, chown, chown], 2),
        ] {
            let mut warnings = vec![];
            assert_eq!(plan(Some(&sets(five)), None, &mut warnings).ambient, 0);
            assert_eq!(warnings.len(), count, "{warnings:?}");
        }
    }

    #[test]
    fn pr_12_contradicting_sets_are_reduced() {
        let chown: &[Spec] = &[Spec::Chown];
        for (five, want) in [
            // effective is not in permitted
            ([chown, chown, &[], &[], &[]], Capabilities { bounding: 1, ..Capabilities::default() }),
            // no set is in bounding
            ([&[], chown, chown, chown, chown], Capabilities::default()),
        ] {
            let mut warnings = vec![];
            assert_eq!(plan(Some(&sets(five)), None, &mut warnings), want);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
        }
    }
}
