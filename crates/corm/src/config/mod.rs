//! Conversion of an image's configuration to a runtime configuration for any OCI runtime.
//!
//! It follows the conversion rules of the image specification, on top of the default configuration of `croci spec`,
//! with the capabilities, masked paths and system calls of other engines. Users and missing directories are looked up
//! below a descriptor of the container's root.

mod annotations;
pub mod edit;
pub mod mounts;
pub mod network;
pub mod new_network;
pub mod options;
mod overrides;
pub mod process;
mod seccomp;
pub mod settings;
pub mod volume;
mod words;

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use oci_spec::image::{Config, ImageConfiguration};
use serde_json::{Map, Value, json};

use base::default_config::default_config;
use base::users;
use base::users::User;
pub use options::RunOptions;
pub use overrides::Overrides;
pub use volume::Volume;

/// Version of the runtime specification in the result: no newer feature is used, and older runtimes refuse newer
/// versions.
const VERSION: &str = "1.0.2";

/// Facts about the container and the machine that the configuration depends on.
#[derive(Debug)]
pub struct Place<'a> {
    /// ID of the container.
    pub id: &'a str,
    /// Host name without `--hostname`: the first digits of the ID, or that of the namespace that is shared.
    pub hostname: &'a str,
    /// Name of the image.
    pub image_name: Option<&'a str>,
    /// Path of the root file system.
    pub rootfs: &'a Path,
    /// Descriptor of the root file system.
    pub root: BorrowedFd<'a>,
    /// Directory with `hosts`, `hostname` and `resolv.conf`.
    pub dir: &'a Path,
    /// Whether corm runs without root privileges, in a user namespace.
    pub unprivileged: bool,
    /// Whether the user namespace has a single ID, so that the group `tty` is not mapped.
    pub single_id: bool,
    /// Hard limit of corm's own open files, which cannot be raised without CAP_SYS_RESOURCE.
    pub most_files: u64,
    /// Whether `/sys/fs/cgroup` is cgroup v2.
    pub cgroup_v2: bool,
    /// Path of the network namespace to join; absent: a new one, or the host's.
    pub network: Option<PathBuf>,
}

/// Creates the configuration.
///
/// # Errors
/// An invalid value in the image or the flags, or a user that is not in the image's files.
pub fn runtime_config(image: &ImageConfiguration, options: &RunOptions, place: &Place<'_>) -> Result<Value> {
    let nothing = Config::default();
    let config = image.config().as_ref().unwrap_or(&nothing);
    let mut whole = default_config(None, place.cgroup_v2);
    let user_text = options.user.as_deref().or(config.user().as_deref()).unwrap_or_default();
    let mut user = image_user(user_text, place.root).with_context(|| format!("user {user_text:?}"))?;
    options.settings.add_groups(&mut user, place)?;
    let cwd = process::cwd(config, options)?;
    let hostname = options.hostname.clone().unwrap_or_else(|| place.hostname.to_owned());

    let process = object(&mut whole, "process")?;
    process.insert("terminal".into(), json!(options.tty));
    if let Some((height, width)) = options.console_size {
        process.insert("consoleSize".into(), json!({"height": height, "width": width}));
    }
    process.insert("user".into(), process_user(&user, place.single_id));
    process.insert("args".into(), json!(process::args(config, options)?));
    process.insert("env".into(), json!(process::env(config, options, &hostname)?));
    process.insert("cwd".into(), json!(cwd));

    let top = whole.as_object_mut().context("the default configuration is no object")?;
    top.insert("ociVersion".into(), json!(VERSION));
    top.insert("root".into(), json!({"path": place.rootfs, "readonly": options.read_only}));
    top.insert("hostname".into(), json!(hostname));
    top.insert("annotations".into(), json!(annotations::annotations(image, place.image_name)));
    if let Some(Value::Array(list)) = top.get_mut("mounts") {
        fit_mounts(list, options, place);
        mounts::add(list, place.dir, &options.settings.names, &options.volumes, place.unprivileged);
    }
    let linux = object(&mut whole, "linux")?;
    if let Some(Value::Array(list)) = linux.get_mut("namespaces") {
        set_network(list, options, place.network.as_deref());
    }
    if let Some(propagation) = volume::root_propagation(&options.volumes) {
        linux.insert("rootfsPropagation".into(), json!(propagation));
    }
    options.settings.apply(&mut whole, &user, place, options.read_only)?;
    Ok(whole)
}

/// Resolves `USER[:GROUP]`; the group may be empty, as in Docker and Podman: `33:`.
///
/// # Errors
/// As [`users::resolve_image_user`].
pub fn image_user(text: &str, root: BorrowedFd<'_>) -> Result<User> {
    match text.strip_suffix(':') {
        Some(user) if !user.is_empty() && !user.contains(':') => users::resolve_image_user(user, root),
        _ => users::resolve_image_user(text, root),
    }
}

/// Returns `process.user`. In a user namespace with a single ID setgroups(2) is denied, so no groups are set.
pub fn process_user(user: &User, single_id: bool) -> Value {
    let groups = if single_id { &[][..] } else { &user.groups };
    json!({"uid": user.uid, "gid": user.gid, "additionalGids": groups})
}

/// Returns the short form of an ID.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn object<'a>(value: &'a mut Value, name: &str) -> Result<&'a mut Map<String, Value>> {
    let found = value.get_mut(name).and_then(Value::as_object_mut);
    found.with_context(|| format!("the default configuration has no {name}"))
}

/// Removes the network namespace of a container with the host's network, or sets the path of one that is joined.
fn set_network(namespaces: &mut Vec<Value>, options: &RunOptions, path: Option<&Path>) {
    let is_network = |namespace: &Value| namespace.get("type") == Some(&json!("network"));
    if options.host_network {
        namespaces.retain(|namespace| !is_network(namespace));
    }
    for namespace in namespaces.iter_mut().filter(|namespace| is_network(namespace)) {
        if let Some(path) = path {
            namespace["path"] = json!(path);
        }
    }
}

/// Replaces or removes default mounts that are not permitted without privileges.
fn fit_mounts(list: &mut Vec<Value>, options: &RunOptions, place: &Place<'_>) {
    if !place.unprivileged {
        return;
    }
    let is_at = |mount: &Value, place: &str| mount.get("destination") == Some(&json!(place));
    if !place.cgroup_v2 {
        // cgroup v1 cannot be mounted in a user namespace
        list.retain(|mount| !is_at(mount, "/sys/fs/cgroup"));
    }
    for mount in list {
        if is_at(mount, "/sys") && options.host_network {
            // sysfs requires a network namespace of the own user namespace, which the host's is not
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        } else if is_at(mount, "/dev/pts")
            && place.single_id
            && let Some(Value::Array(options)) = mount.get_mut("options")
        {
            options.retain(|option| option != "gid=5");
        }
    }
}

/// Returns the volumes that the image declares and the caller does not override.
///
/// # Errors
/// A path that is invalid for a volume.
pub fn image_volumes(image: &ImageConfiguration, options: &RunOptions) -> Result<Vec<PathBuf>> {
    let declared = image.config().as_ref().and_then(|config| config.volumes().as_deref()).unwrap_or_default();
    let mut found = declared.iter().map(|text| volume::of_image(text)).collect::<Result<Vec<_>>>()?;
    let of_volumes = options.volumes.iter().map(|volume| &volume.destination);
    let given: Vec<&PathBuf> =
        of_volumes.chain(options.settings.tmpfs.iter().map(|tmpfs| &tmpfs.destination)).collect();
    found.retain(|path| !given.contains(&path));
    // sorted, because the configuration's map has no order
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests;
