//! Options of a build, parsed and checked before anything begins.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::mounts::{Secret, secret};
use crate::cli::args;
use crate::config::network::Mode;
use crate::config::settings::Settings;
use crate::config::settings::names::Names;
use crate::config::volume::{self, Volume};
use crate::model::platform::Platform;
use crate::model::reference;

/// Where the result is written, besides the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The tree, into a directory.
    Local(PathBuf),
    /// The tree, as a tar.
    Tar(PathBuf),
    /// The image, as an OCI archive.
    Oci(PathBuf),
    /// The image, as a docker archive.
    Docker(PathBuf),
}

/// What `--allow` lets a command have: the host's network.
pub const HOST_NETWORK: &str = "network.host";

/// What `--allow` lets a command have: all privileges.
pub const INSECURE: &str = "security.insecure";

/// Options.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of the image.
    pub names: Vec<String>,
    /// Platform of the image.
    pub platform: Platform,
    /// Use nothing of the cache.
    pub no_cache: bool,
    /// Stages that use nothing of it, by name or number.
    pub no_cache_stages: Vec<String>,
    /// What flags set in the image.
    pub image: args::ImageFlags,
    /// Volumes of commands.
    pub volumes: Vec<Volume>,
    /// What commands may ask for.
    allow: Vec<String>,
    /// Labels of the image.
    pub labels: Vec<(String, String)>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Replace the layers of the build by one.
    pub squash: bool,
    /// Those of the base image, too.
    pub squash_all: bool,
    /// Network of commands.
    pub network: Mode,
    /// Limits and names of hosts.
    pub settings: Settings,
    /// Secrets.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of SSH agents.
    pub agents: BTreeMap<String, PathBuf>,
    /// Named contexts.
    pub contexts: Vec<(String, String)>,
    /// Where the result is written.
    pub output: Option<Output>,
}

impl Options {
    /// Checks the flags.
    ///
    /// # Errors
    /// Names the flag and the value.
    pub fn new(args: &args::Build) -> Result<Self> {
        let names = args
            .tags
            .iter()
            .map(|name| reference::local_name(name).with_code(Code::UsageValue, || format!("--tag {name:?}")));
        let platform =
            args.platform.as_deref().map(Platform::parse).transpose().code(Code::ImagePlatform, "--platform")?;
        let network = match args.network.as_deref() {
            None => Mode::None,
            Some("default" | "private") => Mode::Bridge(crate::config::network::DEFAULT_NETWORK.to_owned()),
            Some(text) => Mode::parse(text).with_code(Code::UsageValue, || format!("--network {text:?}"))?,
        };
        args.settings.check(args.settings.namespaces.own_hostname())?;
        for word in &args.allow {
            let known = [HOST_NETWORK, INSECURE].contains(&word.as_str());
            ensure!(known, coded!(UsageValue, "--allow {word:?}: is neither {HOST_NETWORK} nor {INSECURE}"));
        }
        ensure!(
            !args.image.docker || args.annotations.is_empty(),
            coded!(UsageArguments, "--annotation: Docker's form of a manifest has none")
        );
        let mut secrets = BTreeMap::new();
        for text in &args.secrets {
            let (id, given) = secret(text).with_code(Code::UsageValue, || format!("--secret {text:?}"))?;
            ensure!(
                secrets.insert(id, given).is_none(),
                coded!(UsageValue, "--secret {text:?}: this ID is given twice")
            );
        }
        Ok(Self {
            names: names.collect::<Result<_>>()?,
            platform: platform.unwrap_or_else(Platform::host),
            no_cache: args.no_cache,
            no_cache_stages: args.no_cache_stages.clone(),
            image: args.image.clone(),
            volumes: args.volumes.iter().map(|text| volume_of(text)).collect::<Result<_>>()?,
            allow: args.allow.clone(),
            labels: args.labels.iter().map(|text| pair("--label", text)).collect::<Result<_>>()?,
            annotations: args.annotations.iter().map(|text| pair("--annotation", text)).collect::<Result<_>>()?,
            squash: args.squash || args.squash_all,
            squash_all: args.squash_all,
            network,
            settings: args.settings.clone(),
            secrets,
            agents: args
                .ssh
                .iter()
                .map(|text| agent(text).with_code(Code::UsageValue, || format!("--ssh {text:?}")))
                .collect::<Result<_>>()?,
            contexts: args.contexts.iter().map(|text| context(text)).collect::<Result<_>>()?,
            output: args
                .output
                .as_deref()
                .map(|text| output(text).with_code(Code::UsageValue, || format!("--output {text:?}")))
                .transpose()?,
        })
    }

    /// Returns what commands see and may do by flags, for the keys of the cache; limits and proxies are no part of it.
    pub fn of_commands(&self) -> Value {
        let names = &self.settings.names;
        let hosts = json!(names.hosts.iter().map(|host| format!("{host:?}")).collect::<Vec<_>>());
        let plain = Settings {
            names: Names { hosts: names.hosts.clone(), ..Names::default() },
            limits: self.settings.limits.clone(),
            throttle: self.settings.throttle.clone(),
            proxies: self.settings.proxies,
            ..Settings::default()
        };
        if self.settings == plain && self.volumes.is_empty() {
            return hosts;
        }
        let settings = &self.settings;
        json!({"hosts": hosts, "dns": names, "security": format!("{:?}", settings.security),
            "devices": format!("{:?}", settings.devices), "namespaces": format!("{:?}", settings.namespaces),
            "volumes": self.volumes})
    }

    /// Returns the settings of a command, with all privileges where it has them.
    pub fn settings_of(&self, insecure: bool) -> Settings {
        let mut settings = self.settings.clone();
        settings.security.privileged = insecure;
        settings
    }

    /// Returns whether the caller lets commands have this.
    pub fn allows(&self, what: &str) -> bool {
        self.allow.iter().any(|allowed| allowed == what)
    }
}

/// Parses a value of `--volume`, which must be of the host: a volume of the store would be filled from the image.
fn volume_of(text: &str) -> Result<Volume> {
    let context = || format!("--volume {text:?}");
    let parsed = volume::parse(text).with_code(Code::UsageValue, context)?;
    ensure!(
        parsed.name.is_none() && !parsed.source.as_os_str().is_empty(),
        coded!(UsageValue, "{}: must begin with a path of the host; RUN --mount=type=cache keeps files", context())
    );
    Ok(parsed)
}

/// Parses `K=V`; one without a value is empty.
fn pair(flag: &str, text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    ensure!(!key.is_empty(), coded!(BuildInvalid, "{flag} {text:?}: not of the form NAME=VALUE"));
    Ok((key.to_owned(), value.to_owned()))
}

/// Parses `NAME=PLACE` of `--build-context`.
fn context(text: &str) -> Result<(String, String)> {
    let (name, place) = text.split_once('=').unwrap_or_default();
    ensure!(
        !name.is_empty() && !place.is_empty(),
        coded!(UsageValue, "--build-context {text:?}: not of the form NAME=PLACE")
    );
    Ok((name.to_ascii_lowercase(), place.to_owned()))
}

/// Parses `ID[=SOCKET]`; without a socket it is that of `SSH_AUTH_SOCK`.
fn agent(text: &str) -> Result<(String, PathBuf)> {
    let (id, socket) = text.split_once('=').map_or((text, None), |(id, socket)| (id, Some(PathBuf::from(socket))));
    let own = || std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
    let socket = socket.or_else(own).context("SSH_AUTH_SOCK is not set: no agent runs")?;
    let socket = std::fs::canonicalize(&socket).with_context(|| format!("{socket:?}"))?;
    use std::os::unix::fs::FileTypeExt as _;
    let meta = socket.symlink_metadata().with_context(|| format!("{socket:?}"))?;
    ensure!(
        meta.file_type().is_socket(),
        coded!(BuildInvalid, "{socket:?}: is no socket of an agent; ssh-add adds a key to one")
    );
    Ok((id.to_owned(), socket))
}

/// Parses `type=KIND,dest=PATH`, or a directory alone; `-` is a tar on standard output.
fn output(text: &str) -> Result<Output> {
    if !text.contains('=') {
        return Ok(if text == "-" { Output::Tar("-".into()) } else { Output::Local(text.into()) });
    }
    let (mut kind, mut dest) = (None, None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(("dest", value)) if !value.is_empty() => dest = Some(PathBuf::from(value)),
            _ => bail!(coded!(BuildInvalid, "{field:?}: is not type=KIND or dest=PATH")),
        }
    }
    let output = match kind {
        None | Some("local") => Output::Local,
        Some("tar") => Output::Tar,
        Some("oci") => Output::Oci,
        Some("docker") => Output::Docker,
        Some(other) => bail!(coded!(BuildInvalid, "type={other:?}: is not local, tar, oci or docker")),
    };
    dest.map(output).context("needs dest=PATH")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn outputs_are_parsed() {
        for (text, wanted) in [
            ("dir", Output::Local("dir".into())),
            ("-", Output::Tar("-".into())),
            ("type=tar,dest=/x", Output::Tar("/x".into())),
            ("dest=x,type=oci", Output::Oci("x".into())),
        ] {
            assert_eq!(output(text).unwrap(), wanted, "{text}");
        }
        for bad in ["type=tar", "type=x,dest=y", "dest=", "a=b"] {
            assert!(output(bad).is_err(), "{bad}");
        }
    }
}
