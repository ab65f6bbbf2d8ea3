//! File systems in memory: `--tmpfs`, and those of a read-only container.

use base::coded;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use crate::config::volume::destination_path;
use base::cli_parser::values;

/// Directories that stay writable in a read-only container, as in Podman.
const OF_READ_ONLY: [&str; 3] = ["/run", "/tmp", "/var/tmp"];

/// Options that every tmpfs has, unless the caller gives the opposite.
const DEFAULTS: [(&str, &str); 4] = [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("rprivate", "")];

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Path in the container, absolute, without `.` and `..`.
    pub destination: PathBuf,
    /// Mount options, the default ones included.
    options: Vec<String>,
}

impl Tmpfs {
    /// Parses `DESTINATION[:OPTION[,OPTION...]]`. Without options of the caller it is `nosuid,nodev,noexec` and begins with
    /// the content of the image, as in Podman.
    ///
    /// # Errors
    /// A relative path, an option that a tmpfs does not have.
    pub fn parse(text: &str) -> Result<Self> {
        let (destination, given) = text.split_once(':').unwrap_or((text, ""));
        let options = given.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        Self::new(destination, options)
    }

    /// Creates one with these options.
    ///
    /// # Errors
    /// As [`Tmpfs::parse`].
    pub fn new(destination: &str, mut options: Vec<String>) -> Result<Self> {
        for option in &mut options {
            *option = checked(option)?;
        }
        let given = |name: &str| options.iter().any(|option| option == name);
        let mut all: Vec<String> = DEFAULTS
            .iter()
            .filter(|(name, opposite)| !given(name) && !given(opposite))
            .map(|(name, _)| (*name).to_owned())
            .collect();
        if !given("notmpcopyup") && !given("tmpcopyup") {
            all.push("tmpcopyup".to_owned());
        }
        options.retain(|option| option != "notmpcopyup");
        all.extend(options);
        Ok(Self { destination: destination_path(destination)?, options: all })
    }

    /// Returns the mount of a configuration.
    pub(super) fn mount(&self) -> Value {
        json!({"destination": self.destination, "type": "tmpfs", "source": "tmpfs", "options": self.options})
    }
}

/// Checks an option; a size gets the form that the kernel reads.
fn checked(option: &str) -> Result<String> {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match (name, value) {
        ("size", text) => {
            // the kernel knows percents itself
            if text.ends_with('%') {
                return Ok(option.to_owned());
            }
            let bytes = values::size(text)?;
            ensure!(bytes >= 0, coded!(UsageValue, "size: must not be negative"));
            Ok(format!("size={bytes}"))
        }
        ("mode", text) => {
            let good = !text.is_empty() && text.len() <= 5 && text.chars().all(|c| ('0'..='7').contains(&c));
            ensure!(good, coded!(UsageValue, "{option:?}: must be an octal number"));
            Ok(option.to_owned())
        }
        ("uid" | "gid" | "nr_inodes" | "nr_blocks" | "huge" | "mpol", text) if !text.is_empty() => {
            Ok(option.to_owned())
        }
        (
            "ro" | "rw" | "suid" | "nosuid" | "dev" | "nodev" | "exec" | "noexec" | "sync" | "async" | "dirsync"
            | "atime" | "noatime" | "diratime" | "nodiratime" | "relatime" | "norelatime" | "strictatime"
            | "nostrictatime" | "tmpcopyup" | "notmpcopyup" | "private" | "rprivate" | "shared" | "rshared" | "slave"
            | "rslave" | "unbindable" | "runbindable",
            "",
        ) => Ok(option.to_owned()),
        _ => bail!(coded!(UsageValue, "{option:?}: a tmpfs has no such option")),
    }
}

/// Returns the file systems that keep a read-only container usable, where the caller has put nothing else.
pub(super) fn of_read_only(taken: &[&Path]) -> Result<Vec<Tmpfs>> {
    OF_READ_ONLY
        .iter()
        .filter(|place| !taken.contains(&Path::new(place)))
        .map(|place| Tmpfs::new(place, vec!["exec".to_owned(), "mode=1777".to_owned()]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn options_are_those_of_a_tmpfs() {
        let options = |text: &str| Tmpfs::parse(text).unwrap().options.join(",");
        assert_eq!(options("/t"), "nosuid,nodev,noexec,rprivate,tmpcopyup");
        assert_eq!(options("/t:exec,size=1k,mode=1777"), "nosuid,nodev,rprivate,tmpcopyup,exec,size=1024,mode=1777");
        assert!(!options("/t:notmpcopyup").contains("copyup"));
        for bad in ["", "t", "/", "/t:bind", "/t:size=x", "/t:mode=9", "/t:size", "/t:uid=", "/t:ro=1", "/t:size=-1"] {
            assert!(Tmpfs::parse(bad).is_err(), "{bad:?}");
        }
    }
}
