//! The five capability sets as bit masks, and which of them can be had.

use caps::Capability;
use oci_spec::runtime::{Capabilities as Names, LinuxCapabilities};
use std::str::FromStr as _;

/// The five sets, bit n for capability n. Absent is empty (PR-12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// What execve may ever give.
    pub bounding: u64,
    /// What counts now.
    pub effective: u64,
    /// What files may hand on.
    pub inheritable: u64,
    /// What may be taken up.
    pub permitted: u64,
    /// What every execve hands on.
    pub ambient: u64,
}

/// The sets that the configuration asks for, less what the kernel would refuse; that is told in `warnings` (PR-13).
pub(super) fn plan(
    wanted: Option<&LinuxCapabilities>,
    available: Option<u64>,
    warnings: &mut Vec<String>,
) -> Capabilities {
    let Some(wanted) = wanted else { return Capabilities::default() };
    let asked = Capabilities {
        bounding: mask(wanted.bounding().as_ref()),
        effective: mask(wanted.effective().as_ref()),
        inheritable: mask(wanted.inheritable().as_ref()),
        permitted: mask(wanted.permitted().as_ref()),
        ambient: mask(wanted.ambient().as_ref()),
    };
    let granted = grant(&asked, available.unwrap_or(u64::MAX));
    let all = |sets: &Capabilities| {
        [
            ("bounding", sets.bounding),
            ("effective", sets.effective),
            ("inheritable", sets.inheritable),
            ("permitted", sets.permitted),
            ("ambient", sets.ambient),
        ]
    };
    for bit in 0..64 {
        let lost: Vec<&str> = all(&asked)
            .iter()
            .zip(all(&granted))
            .filter(|((_, asked), (_, granted))| (asked & !granted) >> bit & 1 == 1)
            .map(|((name, _), _)| *name)
            .collect();
        if !lost.is_empty() {
            let why = match available {
                Some(have) if have >> bit & 1 == 0 => "the runtime does not hold it",
                _ => "the other sets do not allow it",
            };
            warnings.push(format!("process.capabilities: {} left out of {}: {why}", name(bit), lost.join(", ")));
        }
    }
    granted
}

/// What capset(2) and the ambient set take: effective within permitted, inheritable within bounding, ambient within both.
fn grant(asked: &Capabilities, available: u64) -> Capabilities {
    let bounding = asked.bounding & available;
    let permitted = asked.permitted & available;
    let inheritable = asked.inheritable & bounding;
    Capabilities {
        bounding,
        effective: asked.effective & permitted,
        inheritable,
        permitted,
        ambient: asked.ambient & permitted & inheritable,
    }
}

fn mask(names: Option<&Names>) -> u64 {
    // the parser of the configuration has left out the names it does not know, with a warning
    names.into_iter().flatten().filter_map(|name| bit(&name.to_string())).fold(0, |mask, bit| mask | bit)
}

/// The bit of a capability; `CAP_` in front and the case do not matter.
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
        // the builder's defaults for the rest are not what the configuration said
        let json: LinuxCapabilities = serde_json::from_str(r#"{"bounding":["CAP_CHOWN"]}"#).unwrap();
        assert!(json.effective().is_none() && bounding_only.bounding().is_some());
        assert_eq!(plan(Some(&json), None, &mut warnings), Capabilities { bounding: 1, ..Capabilities::default() });
        assert!(warnings.is_empty());
    }

    #[test]
    fn pr_13_what_the_runtime_lacks_is_left_out_with_a_warning() {
        let both: &[Spec] = &[Spec::Chown, Spec::SysResource];
        let mut warnings = vec![];
        let granted = plan(Some(&sets([both; 5])), Some(!(1 << 24)), &mut warnings);
        assert_eq!(granted, Capabilities { bounding: 1, effective: 1, inheritable: 1, permitted: 1, ambient: 1 });
        assert_eq!(
            warnings,
            ["process.capabilities: CAP_SYS_RESOURCE left out of bounding, effective, inheritable, permitted, \
              ambient: the runtime does not hold it"]
        );
        // in a user namespace all of them can be had
        warnings.clear();
        assert_eq!(plan(Some(&sets([both; 5])), None, &mut warnings).bounding, 1 | 1 << 24);
        assert!(warnings.is_empty());
    }

    #[test]
    fn pr_12_sets_that_contradict_each_other_are_made_possible() {
        let chown: &[Spec] = &[Spec::Chown];
        for (five, want) in [
            // effective outside permitted
            ([chown, chown, &[], &[], &[]], Capabilities { bounding: 1, ..Capabilities::default() }),
            // inheritable outside bounding takes ambient with it
            ([&[], chown, chown, chown, chown], Capabilities { effective: 1, permitted: 1, ..Capabilities::default() }),
            // ambient without inheritable
            (
                [chown, chown, &[], chown, chown],
                Capabilities { bounding: 1, effective: 1, permitted: 1, ..Capabilities::default() },
            ),
        ] {
            let mut warnings = vec![];
            assert_eq!(plan(Some(&sets(five)), None, &mut warnings), want);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
        }
    }
}
