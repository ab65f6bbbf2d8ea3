//! Settings of a container by flags that `run` and `create` share: parsed by `cli::convert::settings`, applied to the
//! configuration here. Each file has one subject.

pub mod accounts;
pub mod capabilities;
pub mod devices;
mod init;
pub mod limits;
pub mod mount_flag;
pub mod names;
pub mod namespaces;
mod seccomp_file;
pub mod security;
pub mod throttle;
pub mod tmpfs;
pub mod userns;

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Place;
use super::mounts;
use accounts::Accounts;
use base::users;
use base::users::User;
use devices::Device;
use limits::Limits;
use names::Names;
use namespaces::Namespaces;
use security::Security;
use throttle::Throttle;
use tmpfs::Tmpfs;

/// The word of `--group-add` that keeps the caller's groups.
const KEEP_GROUPS: &str = "keep-groups";

/// The annotation by which crun and croci keep them.
const KEEP_GROUPS_ANNOTATION: &str = "run.oci.keep_original_groups";

/// Directory with the data of time zones.
const ZONES: &str = "/usr/share/zoneinfo";

/// Settings of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Capabilities, system calls, masked paths.
    pub security: Security,
    /// Limits.
    pub limits: Limits,
    /// Limits of devices, the cgroup, the execution domain.
    pub throttle: Throttle,
    /// Namespaces of others.
    pub namespaces: Namespaces,
    /// User namespace.
    pub userns: userns::Wanted,
    /// Names of hosts.
    pub names: Names,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Values of `--mount`, parsed by `mount_flag`.
    pub mounts: Vec<String>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Containers whose volumes it has, too: `NAME[:ro]`.
    pub volumes_from: Vec<String>,
    /// Supplementary groups, by name or ID, or `keep-groups`.
    pub groups: Vec<String>,
    /// Annotations for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// Whether a small init program is the first process.
    pub init: bool,
    /// That program, in the place of the found one.
    pub init_path: Option<PathBuf>,
    /// Signal that asks the program to stop, in the place of the image's.
    pub stop_signal: Option<String>,
    /// Seconds between this signal and SIGKILL.
    pub stop_timeout: Option<u64>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Time zone, or `local`.
    pub zone: Option<String>,
    /// Whether the environment of corm is passed on.
    pub env_host: bool,
    /// Whether the variables of the environment of corm about proxies are passed on.
    pub proxies: bool,
    /// Entries of the container's `passwd` and `group`; absent: the image's files are left as they are.
    pub accounts: Option<Accounts>,
    /// Variables of the image and of corm that are left out.
    pub unset_env: Vec<String>,
    /// Whether all of them are.
    pub unset_all_env: bool,
    /// Whether a read-only container has no writable directories.
    pub no_read_only_tmpfs: bool,
    /// Whether a container of the same name is removed first.
    pub replace: bool,
}

impl Settings {
    /// Checks what can be checked before anything is created.
    ///
    /// # Errors
    /// Two settings that exclude each other; a file, device or program that is missing.
    pub fn check(&self, hostname: bool) -> Result<()> {
        self.limits.check()?;
        self.security.check()?;
        self.throttle.check()?;
        self.accounts.as_ref().map_or(Ok(()), Accounts::check)?;
        devices::check(&self.devices)?;
        self.namespaces.check(hostname, self.init)?;
        ensure!(
            !self.names.no_hosts || self.names.hosts.is_empty(),
            coded!(UsageArguments, "--add-host: excludes --no-hosts")
        );
        let keep = self.groups.iter().any(|group| group == KEEP_GROUPS);
        ensure!(
            !keep || self.groups.len() == 1,
            coded!(UsageArguments, "--group-add keep-groups: excludes other groups")
        );
        if self.init {
            init::find(self.init_path.as_deref())?;
        }
        self.zone_file().map(drop)
    }

    /// Returns the file of the host with the time zone.
    fn zone_file(&self) -> Result<Option<PathBuf>> {
        let Some(zone) = &self.zone else { return Ok(None) };
        let context = || format!("--tz {zone:?}");
        let path = match zone.as_str() {
            "local" => PathBuf::from("/etc/localtime"),
            name => {
                let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
                ensure!(plain && !name.is_empty(), coded!(UsageValue, "{}: is no name of a time zone", context()));
                Path::new(ZONES).join(name)
            }
        };
        let path = std::fs::canonicalize(path).with_context(context)?;
        ensure!(path.is_file(), coded!(UsageValue, "{}: is no time zone", context()));
        Ok(Some(path))
    }

    /// Adds the groups to those of the user; names are looked up below the container's root.
    ///
    /// # Errors
    /// An unknown name.
    pub fn add_groups(&self, user: &mut User, place: &Place<'_>) -> Result<()> {
        for text in self.groups.iter().filter(|text| *text != KEEP_GROUPS) {
            let group = users::parse_name(text).and_then(|name| users::resolve_group(&name, place.root));
            let gid = group.with_code(Code::UsageValue, || format!("--group-add {text:?}"))?;
            ensure!(
                !place.single_id || gid == 0,
                coded!(UsageValue, "--group-add {text:?}: this user namespace has no other group")
            );
            if !user.groups.contains(&gid) {
                user.groups.push(gid);
            }
        }
        Ok(())
    }

    /// Writes the settings into a configuration that has the mounts of the volumes.
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn apply(&self, config: &mut Value, user: &User, place: &Place<'_>, read_only: bool) -> Result<()> {
        let (unprivileged, privileged) = (place.unprivileged, self.security.privileged);
        self.limits.apply(config, unprivileged, place.cgroup_v2, place.most_files)?;
        self.security.apply(config, user)?;
        devices::apply(config, &self.devices, privileged, unprivileged)?;
        self.namespaces.apply(config, unprivileged);
        self.throttle.apply(config, place.id)?;
        if let Some(mask) = self.umask {
            config["process"]["user"]["umask"] = json!(mask);
        }
        for (key, value) in &self.annotations {
            config["annotations"][key] = json!(value);
        }
        if self.groups.iter().any(|group| group == KEEP_GROUPS) {
            config["annotations"][KEEP_GROUPS_ANNOTATION] = json!("1");
        }
        let mut more: Vec<Value> = self.tmpfs.iter().map(Tmpfs::mount).collect();
        let list = config["mounts"].as_array().map_or(&[][..], Vec::as_slice);
        if read_only && !self.no_read_only_tmpfs {
            let mut taken: Vec<&Path> = self.tmpfs.iter().map(|tmpfs| tmpfs.destination.as_path()).collect();
            taken.extend(list.iter().filter_map(|mount| mount.get("destination")?.as_str()).map(Path::new));
            more.extend(tmpfs::of_read_only(&taken)?.iter().map(Tmpfs::mount));
        }
        if let Some(zone) = self.zone_file()? {
            let options = json!(["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"]);
            more.push(json!({"destination": "/etc/localtime", "type": "bind", "source": zone, "options": options}));
        }
        if self.init {
            more.push(init::apply(config, &init::find(self.init_path.as_deref())?));
        }
        if let Some(Value::Array(list)) = config.get_mut("mounts") {
            mounts::insert(list, more);
        }
        Ok(())
    }
}
