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
use super::options;
use super::proto::Any;

/// Directory of the sockets.
const SOCKETS: &str = "/run/containerd/s";

/// Annotations whose value is common to the containers of a pod.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// File of the bundle with the address of the shim, which containerd 1.x reads when it has been restarted.
pub(crate) const ADDRESS: &str = "address";

/// Variables that are for containerd and not for containers.
const NOT_OURS: [&str; 4] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// The part of config.json that decides on the shim.
#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

/// Starts or finds the shim and prints its address.
///
/// # Errors
/// No configuration in the current directory, no socket, no process.
pub(crate) fn start(args: &Args) -> Result<()> {
    check_name("-id", &args.id)?;
    let spec: Spec = serde_json::from_slice(&fs::read("config.json").context("config.json")?).context("config.json")?;
    let group = GROUPS.iter().find_map(|name| spec.annotations.get(*name)).unwrap_or(&args.id);
    let path = socket_path(&args.address, &args.namespace, group);
    let address = format!("unix://{}", path.display());
    if let Some(listener) = listen(&path)? {
        let shim = serve(args, listener).inspect_err(|_| drop(fs::remove_file(&path)))?;
        if let Err(err) = join_cgroup(shim) {
            let _ = fs::remove_file(&path);
            return Err(err);
        }
    }
    fs::write(ADDRESS, &address).context("write the file address")?;
    let newest = std::env::var("MAX_SHIM_VERSION").ok().and_then(|text| text.parse::<u32>().ok());
    let answer = match newest {
        Some(version) if version >= 3 => format!("{{\"version\":3,\"address\":\"{address}\",\"protocol\":\"ttrpc\"}}"),
        _ => address,
    };
    std::io::stdout().write_all(answer.as_bytes()).context("standard output")
}

/// Returns the path of the socket: a digest, because the path of a socket has at most 107 bytes.
fn socket_path(containerd: &str, namespace: &str, group: &str) -> PathBuf {
    let half = |number: u8| {
        let mut hasher = DefaultHasher::new();
        (number, containerd, namespace, group).hash(&mut hasher);
        hasher.finish()
    };
    Path::new(SOCKETS).join(format!("croci-{:016x}{:016x}", half(0), half(1)))
}

/// Listens at the path; `None` if the shim of this pod does already.
fn listen(path: &Path) -> Result<Option<UnixListener>> {
    fs::DirBuilder::new().recursive(true).mode(0o711).create(SOCKETS).with_context(|| format!("create {SOCKETS}"))?;
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
fn serve(args: &Args, listener: UnixListener) -> Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("containerd-shim-croci-v2");
    command.args(["-namespace", &args.namespace, "-id", &args.id, "-address", &args.address]);
    if args.debug {
        command.arg("-debug");
    }
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command.arg("serve").process_group(0);
    // containerd reads both to their end
    command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.spawn().context("start the shim")?.id())
}

/// Moves the shim into the cgroup of the option `ShimCgroup`.
fn join_cgroup(shim: u32) -> Result<()> {
    let mut given = Vec::new();
    std::io::stdin().take(10 << 20).read_to_end(&mut given).context("standard input")?;
    let Ok(any) = Any::decode(&*given) else { return Ok(()) };
    // containerd may pass another message here; the options of the container itself come by `Create`
    let options = options::decode(Some(&any)).unwrap_or_default();
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
