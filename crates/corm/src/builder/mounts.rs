//! `RUN --mount`: what is mounted for a command, and what of it the cache of the build depends on.

use base::coded;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::source::Found;
use crate::config::Volume;
use crate::config::settings::tmpfs::Tmpfs;
use crate::config::volume;
use crate::containerfile::mount::{MountType, RunMount, Sharing};
use crate::driver::mount_util;
use crate::model::digest::Digest;
use crate::store::Store;
use base::fs::lock::{How, Locked, lock};
use base::fs::staging::{MOUNT, StagedEntry};
use linux::{mount, path, place};

/// Label of the volumes that are caches.
pub const CACHE_LABEL: &str = "corm.build.cache";

/// Directory of secrets in a container.
const SECRETS: &str = "/run/secrets";

/// Maximum size of a secret in bytes.
const MAX_SECRET: u64 = 1 << 20;

/// Number of private caches of one name.
const MAX_PRIVATE: u32 = 64;

/// What a command finds mounted; dropped after it.
#[derive(Default)]
pub struct Mounts {
    /// Bind mounts and volumes.
    pub volumes: Vec<Volume>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Variables of secrets and of the agent.
    pub env: Vec<String>,
    /// Directories with a mount.
    binds: Vec<Bound>,
    /// Locks of caches.
    locks: Vec<Locked>,
}

/// A mount in a directory of the store.
struct Bound {
    place: PathBuf,
    staged: Option<StagedEntry>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // what cannot be unmounted is left to the next removal
        let _ = mount_util::detach(&self.place);
        drop(self.staged.take());
    }
}

/// A secret of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// A file.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

/// Parses `--secret id=ID[,src=PATH][,env=NAME][,type=file|env]`.
///
/// # Errors
/// Another form.
pub fn secret(text: &str) -> Result<(String, Secret)> {
    let (mut id, mut source, mut env, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (name, value) = field.split_once('=').with_context(|| format!("{field:?}: not of the form NAME=VALUE"))?;
        match name {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => source = Some(value),
            "env" => env = Some(value),
            "type" => kind = Some(value),
            other => bail!(coded!(BuildInvalid, "{other:?}: is not id, src, env or type")),
        }
    }
    let id = id.filter(|id| is_plain(id)).context("needs id=NAME, of letters, digits, `-`, `_` and `.`")?;
    let secret = match (kind, source, env) {
        (None | Some("file"), Some(path), None) => Secret::File(path.into()),
        (Some("env"), Some(name), None) | (None | Some("env"), None, Some(name)) => Secret::Env(name.to_owned()),
        // as Docker: a variable of that name, else a file
        (None, None, None) if std::env::var_os(&id).is_some() => Secret::Env(id.clone()),
        (None | Some("file"), None, None) => Secret::File((&id).into()),
        _ => bail!(coded!(BuildInvalid, "type, src and env do not fit each other")),
    };
    Ok((id, secret))
}

/// Returns whether a name can be that of a file.
fn is_plain(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 128 && name.chars().all(good) && !name.starts_with('.')
}

/// Places that all mounts of a build share.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    /// Directory in memory for secrets.
    pub private: &'a Path,
    /// `--secret`
    pub secrets: &'a BTreeMap<String, Secret>,
    /// `--ssh`: sockets of agents.
    pub agents: &'a BTreeMap<String, PathBuf>,
}

impl Mounts {
    /// Adds a mount of files: a copy of the mount of `found`, which is writable as an overlay of the container's own.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn bind(&mut self, store: &Store, found: &Found, target: &str, writable: bool) -> Result<()> {
        let source = path::openat(found.dir.as_fd(), &found.name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        let bound = attach(store, source.as_fd(), found.is_dir)?;
        let overlay = writable && found.is_dir;
        self.volumes.push(Volume {
            source: bound.place.clone(),
            destination: volume::destination_path(target)?,
            read_only: !overlay,
            overlay,
            ..Volume::default()
        });
        self.binds.push(bound);
        Ok(())
    }

    /// Adds a file with this content, as that of a here-document.
    ///
    /// # Errors
    /// No space.
    pub fn script(&mut self, shared: Shared<'_>, content: &[u8], target: &str) -> Result<()> {
        let path = write_private(shared.private, content, (0, 0), 0o755)?;
        self.volumes.push(Volume { source: path, destination: target.into(), read_only: true, ..Volume::default() });
        Ok(())
    }

    /// Adds a cache: a volume that is kept. `fill` returns what a new one begins with.
    ///
    /// # Errors
    /// It cannot be created or locked.
    pub fn cache(
        &mut self,
        store: &Store,
        mount: &RunMount,
        target: &str,
        fill: &dyn Fn() -> Result<Option<OwnedFd>>,
    ) -> Result<()> {
        let name = cache_name(mount, target);
        for number in 1..=MAX_PRIVATE {
            let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
            let labels =
                BTreeMap::from([(CACHE_LABEL.to_owned(), mount.id.clone().unwrap_or_else(|| target.to_owned()))]);
            let new = store.create_volume(&name, labels)?;
            let data = store.volume_data(&name);
            if new {
                prepare_cache(&data, mount, fill)?;
            }
            if mount.sharing != Sharing::Shared {
                let how = if mount.sharing == Sharing::Locked { How::Exclusive } else { How::TryExclusive };
                // the directory itself, because the volume's record is locked by creators of containers
                match lock(File::open(&data).with_context(|| format!("{data:?}"))?, how) {
                    Ok(held) => self.locks.push(held),
                    Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => continue,
                    Err(err) => return Err(err).with_context(|| format!("lock cache {name}")),
                }
            }
            let read_only = mount.writable == Some(false);
            let (name, options) = (Some(name), vec!["nocopy".to_owned()]);
            let destination = volume::destination_path(target)?;
            self.volumes.push(Volume { name, destination, read_only, options, ..Volume::default() });
            return Ok(());
        }
        bail!(coded!(BuildInvalid, "{MAX_PRIVATE} private caches of this name are in use"))
    }

    /// Adds a file system in memory.
    ///
    /// # Errors
    /// An invalid size or mode.
    pub fn tmpfs(&mut self, mount: &RunMount, target: &str) -> Result<()> {
        let mut text = format!("{target}:rw,exec,notmpcopyup");
        for (name, value) in [("size", &mount.size), ("mode", &mount.mode)] {
            if let Some(value) = value {
                text.push_str(&format!(",{name}={value}"));
            }
        }
        self.tmpfs.push(Tmpfs::parse(&text)?);
        Ok(())
    }

    /// Adds a secret: a file, a variable, or both.
    ///
    /// # Errors
    /// It is required and not given; it cannot be read.
    pub fn secret(&mut self, shared: Shared<'_>, mount: &RunMount, target: Option<&str>) -> Result<()> {
        let id = secret_id(mount, target)?;
        let Some(given) = shared.secrets.get(&id) else {
            ensure!(!mount.required, coded!(BuildInvalid, "secret {id:?}: is required, and no --secret gives it"));
            return Ok(());
        };
        let content = read_secret(given).with_context(|| format!("secret {id:?}"))?;
        if let Some(name) = &mount.env {
            let value = String::from_utf8(content.clone()).ok().filter(|value| !value.contains('\0'));
            self.env.push(format!("{name}={}", value.with_context(|| format!("secret {id:?}: is no text"))?));
        }
        if mount.env.is_none() || target.is_some() {
            let destination = target.map_or_else(|| format!("{SECRETS}/{id}"), str::to_owned);
            let path = write_private(shared.private, &content, owner(mount)?, mode(mount, 0o400)?)?;
            let destination = volume::destination_path(&destination)?;
            self.volumes.push(Volume { source: path, destination, read_only: true, ..Volume::default() });
        }
        Ok(())
    }

    /// Adds the socket of an agent, and the variable that names it.
    ///
    /// # Errors
    /// It is required and not given.
    pub fn agent(&mut self, shared: Shared<'_>, mount: &RunMount, target: Option<&str>) -> Result<()> {
        let id = mount.id.as_deref().unwrap_or("default");
        let Some(socket) = shared.agents.get(id) else {
            ensure!(!mount.required, coded!(BuildInvalid, "agent {id:?}: is required, and no --ssh gives it"));
            return Ok(());
        };
        let number = self.env.iter().filter(|variable| variable.starts_with("SSH_AUTH_SOCK=")).count();
        let destination = target.map_or_else(|| format!("/run/buildkit/ssh_agent.{number}"), str::to_owned);
        self.env.push(format!("SSH_AUTH_SOCK={destination}"));
        let destination = volume::destination_path(&destination)?;
        self.volumes.push(Volume { source: socket.clone(), destination, ..Volume::default() });
        Ok(())
    }
}

/// Returns what a mount adds to the key of the cache: not the content of caches, secrets and agents.
pub fn key(mount: &RunMount, target: Option<&str>, content: Option<&Digest>) -> Value {
    json!({
        "kind": format!("{:?}", mount.kind), "target": target, "content": content, "id": mount.id,
        "size": mount.size, "mode": mount.mode, "uid": mount.uid, "gid": mount.gid, "env": mount.env,
        "writable": mount.writable,
    })
}

/// Returns the ID of a secret: the given one, or the name of its file.
fn secret_id(mount: &RunMount, target: Option<&str>) -> Result<String> {
    let name = target.and_then(|target| target.rsplit('/').next());
    let id = mount.id.as_deref().or(mount.source.as_deref()).or(name);
    id.filter(|id| is_plain(id)).map(str::to_owned).context("needs id=NAME")
}

/// Reads a secret of the caller.
fn read_secret(secret: &Secret) -> Result<Vec<u8>> {
    match secret {
        Secret::Env(name) => {
            let value = std::env::var_os(name).with_context(|| format!("variable {name} is not set"))?;
            Ok(value.as_bytes().to_vec())
        }
        Secret::File(path) => {
            let context = || format!("{path:?}");
            let mut content = Vec::new();
            let file = place::open_to_read(path).with_context(context)?;
            file.take(MAX_SECRET + 1).read_to_end(&mut content).with_context(context)?;
            ensure!(
                content.len() as u64 <= MAX_SECRET,
                coded!(BuildInvalid, "{}: more than {MAX_SECRET} bytes", context())
            );
            Ok(content)
        }
    }
}

/// Returns owner and group of a mount.
fn owner(mount: &RunMount) -> Result<(u32, u32)> {
    let id = |text: &Option<String>, name: &str| match text {
        Some(text) => text.parse().with_context(|| format!("{name}={text:?}: is no number")),
        None => Ok(0),
    };
    Ok((id(&mount.uid, "uid")?, id(&mount.gid, "gid")?))
}

/// Returns the permissions of a mount.
fn mode(mount: &RunMount, default: u32) -> Result<u32> {
    let Some(text) = &mount.mode else { return Ok(default) };
    let mode = u32::from_str_radix(text, 8).ok().filter(|&mode| mode <= 0o7777);
    mode.with_context(|| format!("mode={text:?}: is no octal number up to 7777"))
}

/// Writes a file that only root reads until its owner is set; returns its path.
fn write_private(dir: &Path, content: &[u8], owner: (u32, u32), mode: u32) -> Result<PathBuf> {
    let path = dir.join(base::fs::staging::random_id()?);
    let context = || format!("write {path:?}");
    let open = File::options().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = open.with_context(context)?;
    file.write_all(content).with_context(context)?;
    path::chown_fd(file.as_fd(), owner.0, owner.1).with_context(context)?;
    file.set_permissions(Permissions::from_mode(mode)).with_context(context)?;
    Ok(path)
}

/// Returns the name of the volume of a cache, which depends on its ID and on where its content begins.
fn cache_name(mount: &RunMount, target: &str) -> String {
    let id = mount.id.as_deref().unwrap_or(target);
    let key = json!([id, mount.from, mount.source, mount.uid, mount.gid, mount.mode]).to_string();
    format!("build-cache-{}", Digest::of(key.as_bytes()).hex().get(..16).unwrap_or_default())
}

/// Sets what a new cache begins with, its owner and its permissions.
fn prepare_cache(data: &Path, mount: &RunMount, fill: &dyn Fn() -> Result<Option<OwnedFd>>) -> Result<()> {
    let open = mount_util::open_dir(data)?;
    if let Some(from) = fill()? {
        let to = mount_util::open_dir(data)?;
        base::fs::copy::fill_tree_of(
            from.as_fd(),
            Path::new("the source of the cache"),
            to,
            &base::fs::copy::Options::default(),
        )?;
    }
    let (uid, gid) = owner(mount)?;
    path::chown_fd(open.as_fd(), uid, gid).context("owner of the cache")?;
    path::fchmod(open.as_fd(), mode(mount, 0o755)?).context("permissions of the cache")
}

/// Mounts a file or a directory in the store, where the runtime finds it by a path without symlinks.
fn attach(store: &Store, source: BorrowedFd<'_>, is_dir: bool) -> Result<Bound> {
    let staged = StagedEntry::dir(&store.tmp())?;
    let place = staged.path().join(MOUNT);
    if is_dir {
        std::fs::create_dir(&place).with_context(|| format!("create {place:?}"))?;
    } else {
        File::create_new(&place).with_context(|| format!("create {place:?}"))?;
    }
    let name = CString::new(place.as_os_str().as_bytes())?;
    let target = path::openat(nix::fcntl::AT_FDCWD, &name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let tree = mount::clone_fd(source, false).context("clone the mount of the source")?;
    mount::move_mount(tree.as_fd(), target.as_fd()).with_context(|| format!("mount at {place:?}"))?;
    Ok(Bound { place, staged: Some(staged) })
}

/// Returns whether the kind of a mount depends on files of the build.
pub fn has_files(mount: &RunMount) -> bool {
    mount.kind == MountType::Bind || mount.kind == MountType::Cache && mount.from.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn secrets_of_the_caller_are_parsed() {
        let file = |path: &str| Secret::File(path.into());
        for (text, wanted) in [
            ("id=a,src=/x", ("a", file("/x"))),
            ("id=a,source=/x,type=file", ("a", file("/x"))),
            ("id=a,env=B", ("a", Secret::Env("B".into()))),
            ("id=a,type=env,src=B", ("a", Secret::Env("B".into()))),
            ("id=PATH", ("PATH", Secret::Env("PATH".into()))),
            ("id=surely-not-set", ("surely-not-set", file("surely-not-set"))),
        ] {
            assert_eq!(secret(text).unwrap(), (wanted.0.to_owned(), wanted.1), "{text}");
        }
        for bad in
            ["", "a", "src=/x", "id=,src=/x", "id=../x", "id=a/b", "id=a,x=y", "id=a,type=env", "id=a,src=b,env=c"]
        {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }
}
