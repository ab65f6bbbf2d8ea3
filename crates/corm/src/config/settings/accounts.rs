//! Entries of `/etc/passwd` and `/etc/group` beside the image's: of the container's user, where the image has none, and of
//! users of the host. `container::accounts` writes the files.

use anyhow::{Context as _, Result, ensure};
use base::coded;
use base::error::{Code, Coding as _};

/// Fields of an entry of `passwd`.
const PASSWD_FIELDS: usize = 7;

/// Fields of an entry of `group`.
const GROUP_FIELDS: usize = 4;

/// The user of a container's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who<'a> {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Home directory: the working directory.
    pub home: &'a str,
}

/// What is added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Entry of the container's user, with `$USERNAME`, `$UID`, `$GID`, `$NAME` and `$HOME`.
    pub passwd_entry: Option<String>,
    /// Entry of its group, with `$GROUPNAME`, `$GID` and `$USERLIST`.
    pub group_entry: Option<String>,
    /// Users of the host, by name or ID.
    pub host_users: Vec<String>,
}

impl Accounts {
    /// Checks the entries and the users of the host.
    ///
    /// # Errors
    /// An entry has another number of fields, or more than a line; there is no such user.
    pub fn check(&self) -> Result<()> {
        let fields = |flag: &str, text: &Option<String>, count: usize| -> Result<()> {
            let Some(text) = text else { return Ok(()) };
            let good = text.split(':').count() == count && !text.contains(['\n', '\0']);
            ensure!(good, coded!(UsageValue, "--{flag} {text:?}: must be one line of {count} fields"));
            Ok(())
        };
        fields("passwd-entry", &self.passwd_entry, PASSWD_FIELDS)?;
        fields("group-entry", &self.group_entry, GROUP_FIELDS)?;
        self.of_host().map(drop)
    }

    /// Returns the lines of the users of the host.
    fn of_host(&self) -> Result<Vec<String>> {
        if self.host_users.is_empty() {
            return Ok(Vec::new());
        }
        let passwd = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let line = |user: &String| {
            let is_it = |line: &&str| field(line, 0) == user || field(line, 2) == user;
            let found = passwd.lines().find(is_it);
            found
                .map(str::to_owned)
                .with_code(Code::UsageValue, || format!("--hostuser {user:?}: the host has no such user"))
        };
        self.host_users.iter().map(line).collect()
    }

    /// Returns `passwd` with the entries that are missing in the image's; `None` where none is.
    ///
    /// # Errors
    /// As [`Accounts::check`].
    pub fn passwd(&self, of_image: &str, who: &Who<'_>) -> Result<Option<String>> {
        let mut lines = self.of_host()?;
        let uid = who.uid.to_string();
        if !of_image.lines().chain(lines.iter().map(String::as_str)).any(|line| field(line, 2) == uid) {
            let form = self.passwd_entry.as_deref().unwrap_or("$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh");
            let gid = who.gid.to_string();
            let values = [
                ("$USERNAME", uid.as_str()),
                ("$NAME", "container user"),
                ("$UID", &uid),
                ("$GID", &gid),
                ("$HOME", who.home),
            ];
            lines.push(filled(form, &values));
        }
        lines.retain(|line| !of_image.lines().any(|other| field(other, 0) == field(line, 0)));
        Ok(added(of_image, &lines))
    }

    /// Returns `group` with the entry that is missing in the image's; `None` where none is.
    pub fn group(&self, of_image: &str, who: &Who<'_>) -> Option<String> {
        let gid = who.gid.to_string();
        if of_image.lines().any(|line| field(line, 2) == gid || field(line, 0) == gid) {
            return None;
        }
        let form = self.group_entry.as_deref().unwrap_or("$GROUPNAME:x:$GID:$USERLIST");
        let uid = who.uid.to_string();
        let values = [("$GROUPNAME", gid.as_str()), ("$GID", &gid), ("$USERLIST", &uid)];
        added(of_image, &[filled(form, &values)])
    }
}

/// Returns a field of an entry.
fn field(line: &str, number: usize) -> &str {
    line.split(':').nth(number).unwrap_or_default()
}

/// Replaces the words of an entry's form.
fn filled(form: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(form.to_owned(), |text, (word, value)| text.replace(word, value))
}

/// Appends lines; `None` without any.
fn added(text: &str, lines: &[String]) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let mut whole = text.to_owned();
    if !whole.is_empty() && !whole.ends_with('\n') {
        whole.push('\n');
    }
    lines.iter().for_each(|line| whole.extend([line.as_str(), "\n"]));
    Some(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_entry_is_added_for_a_user_without_one() {
        let who = |uid, gid| Who { uid, gid, home: "/work" };
        let none = Accounts::default();
        assert_eq!(none.passwd("root:x:0:0:::\n", &who(0, 0)).unwrap(), None);
        let added = none.passwd("root:x:0:0::/root:", &who(33, 44)).unwrap().unwrap();
        assert_eq!(added, "root:x:0:0::/root:\n33:*:33:44:container user:/work:/bin/sh\n");
        let form = Some("u$UID:x:$UID:$GID:$NAME:$HOME:/bin/false".to_owned());
        let own = Accounts { passwd_entry: form, ..Accounts::default() };
        assert_eq!(own.passwd("", &who(5, 6)).unwrap().unwrap(), "u5:x:5:6:container user:/work:/bin/false\n");
        assert_eq!(none.group("root:x:0:\n", &who(33, 0)), None);
        assert_eq!(none.group("", &who(33, 44)).unwrap(), "44:x:44:33\n");
        let host = Accounts { host_users: vec!["root".to_owned()], ..Accounts::default() };
        assert!(host.passwd("", &who(0, 0)).unwrap().unwrap().starts_with("root:x:0:0:"));
        assert!(Accounts { host_users: vec!["no such user".to_owned()], ..Accounts::default() }.check().is_err());
        for bad in ["a:b", "a:b:c:d:e:f:g\n", "a:b:c:d:e:f:g:h"] {
            let bad = Accounts { passwd_entry: Some(bad.to_owned()), ..Accounts::default() };
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
