//! Namespaces that a container shares: `--pid`, `--ipc`, `--uts`.

use base::coded;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

/// Whose namespace of one type a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mode {
    /// Its own.
    #[default]
    Private,
    /// Its own, and for `--ipc` no /dev/shm.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or ID.
    Container(String),
    /// That of a file such as `/proc/PID/ns/pid`.
    Path(PathBuf),
}

impl Mode {
    /// Parses the value of `--pid`, `--ipc` or `--uts`; `None` is of `--ipc` only.
    ///
    /// # Errors
    /// An unknown mode.
    pub fn parse(text: &str, ipc: bool) -> Result<Self> {
        match text {
            "" | "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            "shareable" if ipc => Ok(Self::Private),
            "none" if ipc => Ok(Self::None),
            _ => match text.split_once(':') {
                Some(("container", name)) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
                Some(("ns", path)) if path.starts_with('/') => Ok(Self::Path(path.into())),
                _ => bail!(coded!(UsageValue, "must be private, host, container:NAME or ns:PATH")),
            },
        }
    }

    /// Returns whether the container has its own namespace.
    fn is_private(&self) -> bool {
        matches!(self, Self::Private | Self::None)
    }
}

/// Namespaces of a container that are another's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Process IDs.
    pub pid: Mode,
    /// System V IPC, message queues.
    pub ipc: Mode,
    /// Host name.
    pub uts: Mode,
}

impl Namespaces {
    /// Returns the types, in the words of the configuration, with their modes.
    fn all(&self) -> [(&'static str, &Mode); 3] {
        [("pid", &self.pid), ("ipc", &self.ipc), ("uts", &self.uts)]
    }

    /// Returns the containers whose namespaces are joined, each with the type.
    pub fn joined(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.all().into_iter().filter_map(|(kind, mode)| match mode {
            Mode::Container(name) => Some((kind, name.as_str())),
            _ => None,
        })
    }

    /// Returns whether the container has its own host name.
    pub fn own_hostname(&self) -> bool {
        self.uts.is_private()
    }

    /// Checks the files of namespaces, and flags that need an own namespace.
    ///
    /// # Errors
    /// A missing file; `--hostname` or `--init` without the namespace.
    pub fn check(&self, hostname: bool, init: bool) -> Result<()> {
        ensure!(!hostname || self.own_hostname(), coded!(UsageArguments, "--hostname: excludes a --uts of another"));
        ensure!(
            !init || self.pid.is_private(),
            coded!(UsageArguments, "--init: excludes a --pid of another, where it is not the first process")
        );
        for (kind, mode) in self.all() {
            if let Mode::Path(path) = mode {
                path.symlink_metadata().with_context(|| format!("--{kind} ns:{}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Writes the namespaces and what depends on them. The namespaces of other containers are found at each start
    /// (`container::join`), because their process has another ID then.
    pub(super) fn apply(&self, config: &mut Value, unprivileged: bool) {
        for (kind, mode) in self.all() {
            let Some(Value::Array(list)) = config["linux"].get_mut("namespaces") else { return };
            let is_it = |entry: &Value| entry.get("type").and_then(Value::as_str) == Some(kind);
            match mode {
                Mode::Private | Mode::None => {}
                Mode::Host => list.retain(|entry| !is_it(entry)),
                Mode::Path(path) => set_path(list, is_it, &json!(path)),
                Mode::Container(_) => set_path(list, is_it, &json!(format!("/proc/0/ns/{kind}"))),
            }
        }
        if !self.own_hostname()
            && let Some(top) = config.as_object_mut()
        {
            top.remove("hostname");
        }
        let Some(Value::Array(mounts)) = config.get_mut("mounts") else { return };
        let bind = |mounts: &mut Vec<Value>, place: &str, options: Value| {
            for mount in mounts.iter_mut().filter(|mount| mount.get("destination") == Some(&json!(place))) {
                *mount = json!({"destination": place, "type": "bind", "source": place, "options": options});
            }
        };
        match self.ipc {
            Mode::Host => {
                bind(mounts, "/dev/shm", json!(["bind", "nosuid", "noexec", "nodev"]));
                // a new one requires an IPC namespace of the own user namespace
                if unprivileged && std::path::Path::new("/dev/mqueue").exists() {
                    bind(mounts, "/dev/mqueue", json!(["bind", "nosuid", "noexec", "nodev"]));
                } else if unprivileged {
                    mounts.retain(|mount| mount.get("destination") != Some(&json!("/dev/mqueue")));
                }
            }
            Mode::None => mounts.retain(|mount| mount.get("destination") != Some(&json!("/dev/shm"))),
            _ => {}
        }
        if unprivileged && matches!(self.pid, Mode::Host) {
            // a new procfs requires a pid namespace of the own user namespace
            bind(mounts, "/proc", json!(["rbind", "nosuid", "noexec", "nodev"]));
        }
    }
}

/// Sets the path of a namespace.
fn set_path(list: &mut [Value], is_it: impl Fn(&Value) -> bool, path: &Value) {
    for entry in list.iter_mut().filter(|entry| is_it(entry)) {
        entry["path"] = path.clone();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_mode_names_an_owner() {
        for (text, want) in [
            ("", Mode::Private),
            ("private", Mode::Private),
            ("host", Mode::Host),
            ("container:a", Mode::Container("a".to_owned())),
            ("ns:/proc/1/ns/pid", Mode::Path("/proc/1/ns/pid".into())),
        ] {
            assert_eq!(Mode::parse(text, false).unwrap(), want, "{text}");
        }
        for bad in ["none", "shareable", "container:", "ns:x", "other"] {
            assert!(Mode::parse(bad, false).is_err(), "{bad}");
        }
        assert_eq!(Mode::parse("none", true).unwrap(), Mode::None);
    }

    #[test]
    fn flags_that_need_an_own_namespace_are_told() {
        let host = Namespaces { pid: Mode::Host, uts: Mode::Host, ..Namespaces::default() };
        assert!(
            host.check(false, false).is_ok() && host.check(true, false).is_err() && host.check(false, true).is_err()
        );
        let missing = Namespaces { ipc: Mode::Path("/no/such/file".into()), ..Namespaces::default() };
        assert!(missing.check(false, false).is_err());
    }
}
