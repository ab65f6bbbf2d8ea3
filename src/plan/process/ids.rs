//! User and group ids: range, mapping, and the user strings of `exec -u`.

use super::{IdRange, ProcessContext};
use anyhow::{Context as _, Result, bail, ensure};

/// What an id must not be: to setresuid it means "leave as it is" (PR-6).
const NO_CHANGE: u32 = u32::MAX;

/// The most supplementary groups that the kernel takes.
const GROUPS_MAX: usize = 65_536;

/// `id`, if a process can have it in the user namespace with these maps.
pub(super) fn mapped(id: u32, maps: &[IdRange]) -> Result<u32> {
    ensure!(id != NO_CHANGE, "{id} is not a valid id");
    let inside = |(first, _, count): &IdRange| id >= *first && id - first < *count;
    ensure!(maps.is_empty() || maps.iter().any(inside), "{id} is not mapped in the user namespace");
    Ok(id)
}

/// The supplementary groups to set; `None` where none can or shall be set.
pub(super) fn groups(groups: &[u32], ctx: &ProcessContext) -> Result<Option<Vec<u32>>> {
    if ctx.keep_groups {
        return Ok(None);
    }
    if ctx.setgroups_denied {
        ensure!(groups.is_empty(), "process.user.additionalGids: setgroups is denied in this user namespace");
        return Ok(None);
    }
    ensure!(groups.len() <= GROUPS_MAX, "process.user.additionalGids: more than {GROUPS_MAX} groups");
    for (index, gid) in groups.iter().enumerate() {
        mapped(*gid, &ctx.gid_maps).with_context(|| format!("process.user.additionalGids[{index}]"))?;
    }
    Ok(Some(groups.to_vec()))
}

/// A user or a group as a person writes it: a number, or a name to look up in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Decimal, the whole string, 0 to 2³²-2.
    Id(u32),
    /// Anything else that can stand in a passwd or group file.
    Name(String),
}

/// The argument of `exec -u`: `USER` or `USER:GROUP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// Before the colon.
    pub user: Name,
    /// After the colon, if there is one.
    pub group: Option<Name>,
}

/// Reads `USER[:GROUP]`, whole and strictly: half-read user strings became root elsewhere (CVE-2026-30892).
///
/// # Errors
/// An empty part, a sign, a blank, a control character, a second colon, a number above 2³²-2.
pub fn parse_user(text: &str) -> Result<UserSpec> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    Ok(UserSpec {
        user: parse_name(user).with_context(|| format!("user {text:?}"))?,
        group: group.map(parse_name).transpose().with_context(|| format!("group of user {text:?}"))?,
    })
}

/// Reads a group as [`parse_user`] does.
///
/// # Errors
/// As [`parse_user`].
pub fn parse_name(text: &str) -> Result<Name> {
    ensure!(!text.is_empty(), "must not be empty");
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = text.parse().ok().filter(|id| *id != NO_CHANGE);
        return id.map(Name::Id).context("is more than 4294967294");
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        // a name that begins like a number is more likely a slip than a user
        bail!("is neither a number nor a name");
    }
    ensure!(!text.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()), "is not a name");
    Ok(Name::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn e2_user_strings_are_read_whole() {
        let id = |uid, gid: Option<u32>| UserSpec { user: Name::Id(uid), group: gid.map(Name::Id) };
        for (text, spec) in [
            ("0", id(0, None)),
            ("1", id(1, None)),
            ("1:2", id(1, Some(2))),
            ("65534:65534", id(65_534, Some(65_534))),
            ("4294967294", id(4_294_967_294, None)),
            ("0000", id(0, None)),
        ] {
            assert_eq!(parse_user(text).unwrap(), spec, "{text:?}");
        }
        let named = UserSpec { user: Name::Name("www-data".into()), group: Some(Name::Name("adm".into())) };
        assert_eq!(parse_user("www-data:adm").unwrap(), named);
    }

    #[test]
    fn e2_garbage_is_never_read_as_root() {
        for text in [
            "",
            "-1",
            "4294967295",
            "4294967296",
            "1:",
            ":1",
            ":",
            "1:x y",
            "99999999999999999999",
            "1 2",
            " 1",
            "1 ",
            "+1",
            "1\n",
            "1:2:3",
            "0x0",
            "1e3",
            "a b",
            "a\tb",
            "a\u{0}",
            "\u{661}\u{a0}",
            "1a",
        ] {
            assert!(parse_user(text).is_err(), "{text:?} was taken as {:?}", parse_user(text));
        }
    }

    #[test]
    fn pr_6_no_change_and_unmapped_ids_are_refused() {
        assert!(mapped(u32::MAX, &[]).is_err());
        assert_eq!(mapped(1 << 31, &[]).unwrap(), 1 << 31);
        let maps = [(0, 100_000, 10), (1000, 1000, 1), (u32::MAX - 5, 7, 5)];
        for (id, ok) in [(0, true), (9, true), (10, false), (999, false), (1000, true), (1001, false)] {
            assert_eq!(mapped(id, &maps).is_ok(), ok, "id {id}");
        }
        assert!(mapped(u32::MAX - 1, &maps).is_ok());
    }

    #[test]
    fn pr_6_setgroups_denied_allows_no_groups_only() {
        let denied = ProcessContext { setgroups_denied: true, ..ProcessContext::default() };
        assert_eq!(groups(&[], &denied).unwrap(), None);
        assert!(groups(&[5], &denied).is_err());
        // absent means none, and none is set: never the caller's
        assert_eq!(groups(&[], &ProcessContext::default()).unwrap(), Some(vec![]));
        assert!(groups(&[u32::MAX], &ProcessContext::default()).is_err());
    }
}
