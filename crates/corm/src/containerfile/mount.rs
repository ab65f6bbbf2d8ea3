//! `RUN --mount`: what the command finds mounted.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;

/// Kind of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MountType {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that is kept between builds.
    Cache,
    /// A file system in memory.
    Tmpfs,
    /// A secret of the caller.
    Secret,
    /// The caller's SSH agent.
    Ssh,
}

/// How builds share a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Several write at once.
    #[default]
    Shared,
    /// Each has its own.
    Private,
    /// One at a time.
    Locked,
}

/// A value of `--mount`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunMount {
    /// As written, with variables.
    pub text: String,
    /// Kind.
    pub kind: MountType,
    /// Place in the container.
    pub target: Option<String>,
    /// Path in the source.
    pub source: Option<String>,
    /// Stage, image or context.
    pub from: Option<String>,
    /// Name of a cache, a secret or an agent.
    pub id: Option<String>,
    /// Whether the mount is writable; absent: the default of its kind.
    pub writable: Option<bool>,
    /// Whether a missing secret or agent is an error.
    pub required: bool,
    /// Sharing of a cache.
    pub sharing: Sharing,
    /// Size of a tmpfs.
    pub size: Option<String>,
    /// Permissions, octal.
    pub mode: Option<String>,
    /// Owner.
    pub uid: Option<String>,
    /// Group.
    pub gid: Option<String>,
    /// Variable of the environment for a secret.
    pub env: Option<String>,
}

impl RunMount {
    /// Parses `type=KIND,NAME=VALUE,...`. Where a value has a variable, `from` alone is read: it decides what is built
    /// first, and has none.
    ///
    /// # Errors
    /// An unknown name, or one that the kind does not have; a variable in `from`.
    pub fn parse(text: &str) -> Result<Self> {
        let fields = fields(text)?;
        if !fields.iter().any(|(_, value)| value.as_ref().is_some_and(|value| value.contains('$'))) {
            return Self::of(text, &fields);
        }
        let from = fields.iter().find(|(name, _)| name == "from").and_then(|(_, value)| value.clone());
        if let Some(from) = from.as_ref().filter(|from| from.contains('$')) {
            bail!("from={from:?}: has no variables: name a stage for it");
        }
        Ok(Self { text: text.to_owned(), from, ..Self::default() })
    }

    /// Expands the variables of all values.
    ///
    /// # Errors
    /// Those of `word`, which expands one; as [`RunMount::parse`].
    pub fn expanded(&self, word: &dyn Fn(&str) -> Result<String>) -> Result<Self> {
        let mut fields = fields(&self.text)?;
        for value in fields.iter_mut().filter_map(|(_, value)| value.as_mut()) {
            *value = word(value)?;
        }
        Self::of(&self.text, &fields)
    }

    /// Takes the fields of a mount.
    fn of(text: &str, fields: &[(String, Option<String>)]) -> Result<Self> {
        let mut mount = Self { text: text.to_owned(), ..Self::default() };
        if let Some((_, kind)) = fields.iter().find(|(name, _)| name == "type") {
            mount.kind = match kind.as_deref().unwrap_or_default() {
                "bind" => MountType::Bind,
                "cache" => MountType::Cache,
                "tmpfs" => MountType::Tmpfs,
                "secret" => MountType::Secret,
                "ssh" => MountType::Ssh,
                other => bail!(coded!(BuildInvalid, "type={other:?}: is not bind, cache, tmpfs, secret or ssh")),
            };
        }
        for (name, value) in fields {
            mount.set(name, value.as_deref())?;
        }
        mount.check()?;
        Ok(mount)
    }

    /// Sets one field.
    fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let text = || {
            value.filter(|value| !value.is_empty()).map(str::to_owned).with_context(|| format!("{name}: needs a value"))
        };
        match name {
            "type" => {}
            "target" | "dst" | "destination" => self.target = Some(text()?),
            "source" | "src" => self.source = Some(text()?),
            "from" => self.from = Some(text()?),
            "id" => self.id = Some(text()?),
            "rw" | "readwrite" => self.writable = Some(switch(name, value)?),
            "ro" | "readonly" => self.writable = Some(!switch(name, value)?),
            "required" => self.required = switch(name, value)?,
            "sharing" => {
                self.sharing = match text()?.as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    other => bail!(coded!(BuildInvalid, "sharing={other:?}: is not shared, private or locked")),
                }
            }
            "size" | "tmpfs-size" => self.size = Some(text()?),
            "mode" | "tmpfs-mode" => self.mode = Some(text()?),
            "uid" => self.uid = Some(text()?),
            "gid" => self.gid = Some(text()?),
            "env" => self.env = Some(text()?),
            // of SELinux and of Podman, without an effect here
            "z" | "Z" | "U" | "relabel" | "bind-propagation" | "nosuid" | "nodev" | "noexec" => {}
            other => bail!(coded!(BuildInvalid, "{other}: is no option of a mount")),
        }
        Ok(())
    }

    /// Checks that the kind has what is given.
    fn check(&self) -> Result<()> {
        let must = |allowed: &[MountType], given: bool, name: &str| -> Result<()> {
            ensure!(
                !given || allowed.contains(&self.kind),
                coded!(BuildInvalid, "{name}: is no option of this kind of mount")
            );
            Ok(())
        };
        use MountType::{Bind, Cache, Secret, Ssh, Tmpfs};
        must(&[Bind, Cache], self.source.is_some() && self.kind != Secret, "source")?;
        must(&[Bind, Cache], self.from.is_some(), "from")?;
        must(&[Cache, Secret, Ssh], self.id.is_some(), "id")?;
        must(&[Tmpfs], self.size.is_some(), "size")?;
        must(&[Cache, Secret, Ssh, Tmpfs], self.mode.is_some(), "mode")?;
        must(&[Cache, Secret, Ssh], self.uid.is_some() || self.gid.is_some(), "uid and gid")?;
        must(&[Secret], self.env.is_some(), "env")?;
        must(&[Secret, Ssh], self.required, "required")?;
        must(&[Cache], self.sharing != Sharing::Shared, "sharing")?;
        let needs = matches!(self.kind, Bind | Cache | Tmpfs);
        ensure!(!needs || self.target.is_some(), coded!(BuildInvalid, "needs target=PATH"));
        Ok(())
    }
}

/// Parses a value that is on or off.
fn switch(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => bail!(coded!(BuildInvalid, "{name}={other:?}: is neither true nor false")),
    }
}

/// Splits at commas that are not in double quotes.
fn fields(text: &str) -> Result<Vec<(String, Option<String>)>> {
    let (mut all, mut field, mut quoted) = (Vec::new(), String::new(), false);
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    ensure!(!quoted, coded!(BuildInvalid, "a quote has no end"));
    all.push(field);
    let split = |field: String| match field.split_once('=') {
        Some((name, value)) => (name_of(name), Some(value.to_owned())),
        None => (name_of(&field), None),
    };
    Ok(all.into_iter().filter(|field| !field.is_empty()).map(split).collect())
}

/// Returns the name of an option in lower case, but for one of a single letter: `Z` is not `z`.
fn name_of(field: &str) -> String {
    let field = field.trim();
    if field.len() == 1 { field.to_owned() } else { field.to_ascii_lowercase() }
}
