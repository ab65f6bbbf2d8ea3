//! Options of a container: those of runc's shim, as a message or as TOML, and the file that keeps them for `delete`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use super::proto::Any;
use super::proto::options::{CreateOptions, Options, RuncOptions, RuntimeOptions};
use croci::api::Runtime;

/// File of the bundle with what `delete` must know.
const KEPT: &str = "croci-shim.json";

/// The options as TOML in containerd's config.toml, with the names of runc's shim.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Toml {
    no_pivot_root: bool,
    no_new_keyring: bool,
    shim_cgroup: String,
    io_uid: u32,
    io_gid: u32,
    binary_name: String,
    root: String,
    systemd_cgroup: bool,
    criu_image_path: String,
    criu_work_path: String,
}

/// What `delete` must know of a container.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The state root.
    pub root: String,
    /// The first process.
    pub pid: i32,
    /// Option `Root`, for a pod of the sandbox service, which gets no options by a call.
    #[serde(default)]
    pub top: String,
    /// Option `SystemdCgroup`, for such a pod.
    #[serde(default)]
    pub systemd: bool,
}

/// Decodes options; the defaults where there are none.
///
/// # Errors
/// They are of another type, or cannot be parsed.
pub(crate) fn decode(any: Option<&Any>) -> Result<Options> {
    let Some(any) = any.filter(|any| !any.type_url.is_empty()) else { return Ok(Options::default()) };
    if any.is("containerd.runc.v1.Options") {
        return Options::decode(&*any.value).context("options of the runtime");
    }
    // clients of containerd 1.x name the options so for any shim but runc's
    if any.is("containerd.linux.runc.CreateOptions") {
        let old = CreateOptions::decode(&*any.value).context("options of the runtime")?;
        return Ok(Options {
            no_pivot_root: old.no_pivot_root,
            no_new_keyring: old.no_new_keyring,
            shim_cgroup: old.shim_cgroup,
            io_uid: old.io_uid,
            io_gid: old.io_gid,
            criu_work_path: old.criu_work_path,
            criu_image_path: old.criu_image_path,
            ..Options::default()
        });
    }
    if any.is("containerd.linux.runc.RuncOptions") {
        let old = RuncOptions::decode(&*any.value).context("options of the runtime")?;
        let (binary_name, root) = (old.runtime, old.runtime_root);
        return Ok(Options { binary_name, root, systemd_cgroup: old.systemd_cgroup, ..Options::default() });
    }
    if any.is("containerd.runc.v1.CheckpointOptions") || any.is("containerd.linux.runc.CheckpointOptions") {
        return Ok(Options::default());
    }
    if !any.is("runtimeoptions.v1.Options") {
        bail!("options of the runtime: {:?} is no type of this shim", any.type_url);
    }
    let given = RuntimeOptions::decode(&*any.value).context("options of the runtime")?;
    let text = if given.config_body.is_empty() && !given.config_path.is_empty() {
        std::fs::read(&given.config_path)
            .with_context(|| format!("options of the runtime: ConfigPath {:?}", given.config_path))?
    } else {
        given.config_body
    };
    let toml: Toml = toml::from_slice(&text).context("options of the runtime")?;
    Ok(Options {
        no_pivot_root: toml.no_pivot_root,
        no_new_keyring: toml.no_new_keyring,
        shim_cgroup: toml.shim_cgroup,
        io_uid: toml.io_uid,
        io_gid: toml.io_gid,
        binary_name: toml.binary_name,
        root: toml.root,
        criu_path: String::new(),
        systemd_cgroup: toml.systemd_cgroup,
        criu_image_path: toml.criu_image_path,
        criu_work_path: toml.criu_work_path,
    })
}

/// Returns the state root of the containers of a namespace.
pub(crate) fn root(options: &Options, namespace: &str) -> String {
    let top = if options.root.is_empty() { "/run/containerd/croci" } else { options.root.as_str() };
    format!("{top}/{namespace}")
}

/// Returns the runtime of a container.
pub(crate) fn runtime(options: &Options, namespace: &str) -> Runtime {
    Runtime::new().root(root(options, namespace)).systemd_cgroups(options.systemd_cgroup)
}

impl Kept {
    /// Keeps it in the bundle.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, bundle: &Path) -> Result<()> {
        let path = bundle.join(KEPT);
        std::fs::write(&path, serde_json::to_vec(self)?).with_context(|| format!("write {path:?}"))
    }

    /// Reads it from the bundle; the defaults where there is none.
    pub(crate) fn read(bundle: &Path) -> Kept {
        let text = std::fs::read(bundle.join(KEPT)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_come_as_a_message_or_as_toml() {
        let options = Options { systemd_cgroup: true, root: "/r".to_owned(), ..Options::default() };
        let any = Any::pack("containerd.runc.v1.Options", &options);
        assert_eq!(decode(Some(&any)).unwrap(), options);
        let body = b"SystemdCgroup = true\nRoot = \"/r\"\nUnknown = 1\n".to_vec();
        let given = RuntimeOptions { config_body: body, ..RuntimeOptions::default() };
        assert_eq!(decode(Some(&Any::pack("runtimeoptions.v1.Options", &given))).unwrap(), options);
        assert_eq!(root(&options, "n"), "/r/n");
        assert!(decode(Some(&Any::pack("other.Options", &given))).is_err());
        assert_eq!(decode(None).unwrap(), Options::default());
    }
}
