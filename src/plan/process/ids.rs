//! User and group IDs: range and mapping. `base::users` parses user strings.

use super::ProcessContext;
use crate::id_mapping::IdMappings;
use anyhow::{Result, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use base::users::NO_CHANGE;

/// Most supplementary groups that the kernel accepts (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65_536;

/// Returns `id`, if a process can have it in the user namespace with these mappings. Empty mappings are not known and
/// allow every ID.
pub(super) fn mapped(id: u32, maps: &IdMappings) -> Result<u32> {
    ensure!(id != NO_CHANGE, coded!(ProcessUser, "{id} is not a valid id"));
    ensure!(maps.is_empty() || maps.contains(id), coded!(ProcessUser, "{id} is not mapped in the user namespace"));
    Ok(id)
}

/// Returns the supplementary groups to set; `None` where setgroups(2) is denied or the caller's groups stay.
///
/// Where it is denied, a list of the process's own group alone is left out with a warning: Podman writes group 0 for
/// every root of a user namespace with one id, and it would give no rights that the process has not by its group.
pub(super) fn groups(
    groups: &[u32],
    own: u32,
    ctx: &ProcessContext,
    warnings: &mut Vec<String>,
) -> Result<Option<Vec<u32>>> {
    if ctx.keep_groups {
        return Ok(None);
    }
    if ctx.setgroups_denied {
        const DENIED: &str = "setgroups is denied in this user namespace";
        ensure!(groups.iter().all(|gid| *gid == own), coded!(ProcessUser, "process.user.additionalGids: {DENIED}"));
        if !groups.is_empty() {
            warnings.push(format!("process.user.additionalGids: the process's own group {own} is left out: {DENIED}"));
        }
        return Ok(None);
    }
    ensure!(
        groups.len() <= GROUPS_MAX,
        coded!(ProcessUser, "process.user.additionalGids: more than {GROUPS_MAX} groups")
    );
    for (index, gid) in groups.iter().enumerate() {
        mapped(*gid, &ctx.gid_maps).with_code(Code::ProcessUser, || format!("process.user.additionalGids[{index}]"))?;
    }
    Ok(Some(groups.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn pr_6_no_change_and_unmapped_ids_are_refused() {
        assert!(mapped(u32::MAX, &IdMappings::default()).is_err());
        assert_eq!(mapped(1 << 31, &IdMappings::default()).unwrap(), 1 << 31);
        let maps = [(0, 100_000, 10), (1000, 1000, 1), (u32::MAX - 5, 7, 5)].into();
        for (id, ok) in [(0, true), (9, true), (10, false), (999, false), (1000, true), (1001, false)] {
            assert_eq!(mapped(id, &maps).is_ok(), ok, "id {id}");
        }
        assert!(mapped(u32::MAX - 1, &maps).is_ok());
    }

    #[test]
    fn pr_6_setgroups_denied_allows_no_group_but_its_own() {
        let denied = ProcessContext { setgroups_denied: true, ..ProcessContext::default() };
        for (list, own, warned) in
            [(&[][..], 0, Some(0)), (&[0], 0, Some(1)), (&[7, 7], 7, Some(1)), (&[5], 0, None), (&[0], 7, None)]
        {
            let mut warnings = Vec::new();
            let planned = groups(list, own, &denied, &mut warnings);
            assert_eq!(planned.is_ok(), warned.is_some(), "{list:?} {own}");
            assert_eq!(planned.unwrap_or(None), None, "{list:?} {own}");
            assert_eq!(warnings.len(), warned.unwrap_or(0), "{list:?} {own}");
        }
        // an absent list is set as an empty one: the caller's groups never stay
        assert_eq!(groups(&[], 0, &ProcessContext::default(), &mut Vec::new()).unwrap(), Some(vec![]));
        assert!(groups(&[u32::MAX], 0, &ProcessContext::default(), &mut Vec::new()).is_err());
    }
}
