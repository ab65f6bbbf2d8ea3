//! Parser for user strings: a user and perhaps a group (`web`, `33`, `web:adm`, `33:4`), as names and numbers.
//!
//! Pure. `files` looks names up in the container's passwd and group files.

mod files;

use crate::coded;
use anyhow::{Context as _, Result, bail, ensure};

pub use files::{User, home, read, resolve_group, resolve_image_user, resolve_user};

/// The ID that is refused, because setresuid(2) reads it as "leave unchanged" (PR-6).
pub const NO_CHANGE: u32 = u32::MAX;

/// A user or group: a number, or a name to look up in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A decimal number, 0 to 2³²-2.
    Id(u32),
    /// A name that a passwd or group file can contain.
    Name(String),
}

/// A parsed argument of `exec -u`: `USER` or `USER:GROUP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// The part before the colon.
    pub user: Name,
    /// The part after the colon, if there is one.
    pub group: Option<Name>,
}

/// Parses `USER[:GROUP]` strictly, because partly parsed user strings became root elsewhere (CVE-2026-30892).
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

/// Parses a group as [`parse_user`] does.
///
/// # Errors
/// As [`parse_user`].
pub fn parse_name(text: &str) -> Result<Name> {
    ensure!(!text.is_empty(), coded!(ProcessUser, "must not be empty"));
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let id = text.parse().ok().filter(|id| *id != NO_CHANGE);
        return id.map(Name::Id).context("is more than 4294967294");
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        // a name that begins like a number is more likely a typo than a name
        bail!(coded!(ProcessUser, "is neither a number nor a name"));
    }
    ensure!(
        !text.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()),
        coded!(ProcessUser, "is not a name")
    );
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
}
