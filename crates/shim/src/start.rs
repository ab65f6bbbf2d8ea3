//! `start`: answers with the address of the shim that serves a container, and starts that shim unless its pod has one.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use prost::Message as _;
use serde::Deserialize;

use super::args::{Args, check_name};
use super::options::{self, Kept};
use super::proto::Any;
use super::proto::bootstrap::{BootstrapParams, BootstrapResult};
use super::proto::options::Options;

/// Directory of the sockets.
const SOCKETS: &str = "/run/containerd/s";

/// Annotations whose value is common to the containers of a pod.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// File of the bundle with the address of the shim, which containerd 1.x reads when it has been restarted.
pub(crate) const ADDRESS: &str = "address";

/// Variable with containerd's socket for events.
pub(crate) const EVENTS: &str = "TTRPC_ADDRESS";

/// Variable with the path of this program, which the shim runs from a copy of its mount.
pub(crate) const PROGRAM: &str = "CROCI_SHIM_PROGRAM";

/// Variables that are for containerd and not for containers.
const NOT_OURS: [&str; 4] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// The part of config.json that decides on the shim.
#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// What containerd has written to standard input.
struct Given {
    /// The parameters of containerd 2.3 and later, which are answered by a message.
    params: Option<BootstrapParams>,
    /// The options of the runtime, as far as they are known here.
    options: Options,
}

impl Given {
    /// Reads standard input.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(args: &Args) -> Result<Given> {
        let mut bytes = Vec::new();
        std::io::stdin().take(10 << 20).read_to_end(&mut bytes).context("standard input")?;
        Ok(Given::decode(&bytes, args))
    }

    /// Decodes what was read. Both messages begin with two strings; those of the parameters are on the command line, too.
    fn decode(bytes: &[u8], args: &Args) -> Given {
        let named = |params: &BootstrapParams| params.instance_id == args.id && params.namespace == args.namespace;
        let params = BootstrapParams::decode(bytes).ok().filter(named);
        let messages = match &params {
            Some(params) => params.extensions.iter().filter_map(|extension| extension.value.clone()).collect(),
            None => Any::decode(bytes).into_iter().collect::<Vec<_>>(),
        };
        // containerd may pass other messages here; the options of the container itself come by `Create`
        let mut options = messages.iter().filter_map(|any| options::decode(Some(any)).ok());
        let options = options.find(|options| *options != Options::default()).unwrap_or_default();
        Given { params, options }
    }

    /// Returns the directory of the socket.
    fn sockets(&self) -> &Path {
        let given = self.params.as_ref().map(|params| params.socket_dir.as_str()).filter(|dir| !dir.is_empty());
        Path::new(given.unwrap_or(SOCKETS))
    }

    /// Returns the answer with the shim's address.
    fn answer(&self, address: &str) -> Vec<u8> {
        let (address, protocol) = (address.to_owned(), "ttrpc".to_owned());
        if self.params.is_some() {
            return BootstrapResult { version: 3, address, protocol }.encode_to_vec();
        }
        let newest = std::env::var("MAX_SHIM_VERSION").ok().and_then(|text| text.parse::<u32>().ok());
        match newest {
            Some(version) if version >= 3 => {
                format!("{{\"version\":3,\"address\":\"{address}\",\"protocol\":\"{protocol}\"}}").into_bytes()
            }
            _ => address.into_bytes(),
        }
    }
}

/// Starts or finds the shim and prints its address.
///
/// # Errors
/// A configuration that cannot be read, no socket, no process.
pub(crate) fn start(args: &Args) -> Result<()> {
    check_name("-id", &args.id)?;
    let given = Given::read(args)?;
    let spec = read_spec()?;
    if given.options != Options::default() {
        let (root, systemd) = (options::root(&given.options, &args.namespace), given.options.systemd_cgroup);
        let kept = Kept { root, pid: 0, top: given.options.root.clone(), systemd };
        kept.write(Path::new("."))?;
    }
    let group = GROUPS.iter().find_map(|name| spec.annotations.get(*name)).unwrap_or(&args.id);
    let path = socket_path(given.sockets(), &args.address, &args.namespace, group);
    let address = format!("unix://{}", path.display());
    if let Some(listener) = listen(&path)? {
        let shim = serve(args, &given, listener).inspect_err(|_| drop(fs::remove_file(&path)))?;
        if let Err(err) = join_cgroup(shim, &given.options) {
            let _ = fs::remove_file(&path);
            return Err(err);
        }
    }
    fs::write(ADDRESS, &address).context("write the file address")?;
    std::io::stdout().write_all(&given.answer(&address)).context("standard output")
}

/// Reads the configuration; a sandbox has none.
fn read_spec() -> Result<Spec> {
    match fs::read("config.json") {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(Spec::default()),
        text => serde_json::from_slice(&text.context("config.json")?).context("config.json"),
    }
}

/// Returns the path of the socket: a digest, because the path of a socket has at most 107 bytes.
fn socket_path(dir: &Path, containerd: &str, namespace: &str, group: &str) -> PathBuf {
    let half = |number: u8| {
        let mut hasher = DefaultHasher::new();
        (number, containerd, namespace, group).hash(&mut hasher);
        hasher.finish()
    };
    dir.join(format!("croci-{:016x}{:016x}", half(0), half(1)))
}

/// Listens at the path; `None` if the shim of this pod does already.
fn listen(path: &Path) -> Result<Option<UnixListener>> {
    let dir = path.parent().unwrap_or(Path::new(SOCKETS));
    fs::DirBuilder::new().recursive(true).mode(0o711).create(dir).with_context(|| format!("create {dir:?}"))?;
    loop {
        match UnixListener::bind(path) {
            Err(err) if err.kind() == ErrorKind::AddrInUse => {}
            // of mode 0755 at most, so that root alone can connect
            bound => return bound.map(Some).with_context(|| format!("listen at {path:?}")),
        }
        if UnixStream::connect(path).is_ok() {
            return Ok(None);
        }
        // of a shim that was killed
        match fs::remove_file(path) {
            Err(err) if err.kind() != ErrorKind::NotFound => {
                return Err(err).with_context(|| format!("remove {path:?}"));
            }
            _ => {}
        }
    }
}

/// Starts the shim with the socket as its standard input.
fn serve(args: &Args, given: &Given, listener: UnixListener) -> Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("containerd-shim-croci-v2");
    command.args(["-namespace", &args.namespace, "-id", &args.id, "-address", &args.address]);
    if args.debug {
        command.arg("-debug");
    }
    if let Some(params) = given.params.as_ref().filter(|params| !params.containerd_ttrpc_address.is_empty()) {
        command.env(EVENTS, &params.containerd_ttrpc_address);
    }
    command.env(PROGRAM, std::env::current_exe().context("path of the shim")?);
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command.arg("serve").process_group(0);
    // containerd reads both to their end
    command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn().context("start the shim")?.id())
}

/// Moves the shim into the cgroup of the option `ShimCgroup`.
fn join_cgroup(shim: u32, options: &Options) -> Result<()> {
    if options.shim_cgroup.is_empty() {
        return Ok(());
    }
    let relative = options.shim_cgroup.trim_start_matches('/');
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let roots: Vec<PathBuf> = match unified {
        true => vec!["/sys/fs/cgroup".into()],
        false => {
            fs::read_dir("/sys/fs/cgroup").context("/sys/fs/cgroup")?.flatten().map(|entry| entry.path()).collect()
        }
    };
    for root in roots {
        let dir = root.join(relative);
        if dir.is_dir() {
            fs::write(dir.join("cgroup.procs"), shim.to_string()).with_context(|| format!("ShimCgroup: {dir:?}"))?;
        } else if unified {
            anyhow::bail!("ShimCgroup: {dir:?} does not exist");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proto::bootstrap::Extension;

    #[test]
    fn standard_input_is_options_or_parameters_with_options() {
        let args = Args { id: "c".to_owned(), namespace: "n".to_owned(), ..Args::default() };
        let options = Options { shim_cgroup: "/s".to_owned(), ..Options::default() };
        let any = Any::pack("containerd.runc.v1.Options", &options);
        let given = Given::decode(&any.encode_to_vec(), &args);
        assert!(given.params.is_none() && given.options == options && given.sockets() == Path::new(SOCKETS));
        let other = Any { type_url: "containerd.io/cri.v1.PodSandboxConfig".to_owned(), value: vec![1] };
        let extensions = [other, any].map(|any| Extension { value: Some(any) }).to_vec();
        let (instance_id, namespace) = ("c".to_owned(), "n".to_owned());
        let params = BootstrapParams {
            instance_id,
            namespace,
            log_level: -4,
            extensions,
            socket_dir: "/d".to_owned(),
            ..Default::default()
        };
        let given = Given::decode(&params.encode_to_vec(), &args);
        assert!(given.options == options && given.sockets() == Path::new("/d"));
        let answer = BootstrapResult::decode(&*given.answer("unix:///d/s")).unwrap();
        assert_eq!((answer.version, answer.address.as_str(), answer.protocol.as_str()), (3, "unix:///d/s", "ttrpc"));
        assert!(Given::decode(&[], &args).params.is_none());
    }
}
