//! A pod of the sandbox service: its own process, which holds the namespaces, and the files that its containers have in common.
//!
//! containerd names the pod's namespaces as those of a process. That is this program in a container without an image: its root
//! is an empty directory with the program bound read-only, its user has no rights (65534), and it has no capabilities.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::exit::Exit;
use super::options::{self, Kept};
use super::proto::Timestamp;
use super::proto::options::Options;
use super::proto::sandbox::{Dns, PodConfig, PodNamespaces, mode};
use super::proto::task::Mount;
use super::rootfs;
use super::wire::Caller;
use croci::api::{Container, Runtime};
use linux::signal::{self, SignalSet};

/// Directory of the sandbox's bundle with what is the pod's.
const DIR: &str = "pod";
/// Argument by which the program is the pod's process.
pub(crate) const ACTION: &str = "pause";
/// User and group of the process.
const NOBODY: u32 = 65_534;

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    /// Sandbox ID.
    pub id: String,
    /// Bundle that containerd has made for it.
    pub bundle: PathBuf,
    /// The container of its process.
    pub container: Container,
    /// Pid of its process; 0 before the start.
    pub pid: i32,
    /// When it was started.
    pub created: Option<Timestamp>,
    /// The end of its process.
    pub exit: Option<Exit>,
    /// A verb is at work on it.
    pub busy: bool,
    /// Calls that wait for its end.
    pub waiting: Vec<Caller>,
    config: PodConfig,
    network: String,
    systemd: bool,
    namespace: String,
}

impl Pod {
    /// Returns a pod that is not started.
    ///
    /// # Errors
    /// It has its own user namespace: containerd gives no mapping for that.
    pub(crate) fn new(namespace: &str, id: &str, bundle: &Path, config: PodConfig, network: &str) -> Result<Pod> {
        let kept = Kept::read(bundle);
        let given = Options { root: kept.top, systemd_cgroup: kept.systemd, ..Default::default() };
        let root = options::root(&given, namespace);
        let container = Container::named(&Runtime::new().root(root).systemd_cgroups(kept.systemd), id);
        let (id, bundle, network) = (id.to_owned(), bundle.to_owned(), network.to_owned());
        let pod = Pod {
            id,
            bundle,
            container,
            pid: 0,
            created: None,
            exit: None,
            busy: false,
            waiting: Vec::new(),
            config,
            network,
            systemd: kept.systemd,
            namespace: namespace.to_owned(),
        };
        if pod.namespaces().user.is_some_and(|user| user.mode == mode::POD) {
            bail!("a pod with a user namespace needs the sandboxer \"podsandbox\"");
        }
        Ok(pod)
    }

    /// Returns the modes of the namespaces.
    fn namespaces(&self) -> PodNamespaces {
        let given = self.config.linux.as_ref().and_then(|linux| linux.security.as_ref());
        let given = given.and_then(|security| security.namespaces.clone());
        // without a configuration of Kubernetes each container has its own pids
        given.unwrap_or(PodNamespaces { pid: mode::CONTAINER, ..PodNamespaces::default() })
    }

    /// Returns the directory of what is the pod's.
    pub(crate) fn dir(&self) -> PathBuf {
        self.bundle.join(DIR)
    }

    /// Returns whether the process runs.
    pub(crate) fn is_ready(&self) -> bool {
        self.created.is_some() && self.exit.is_none()
    }

    /// Writes the bundle of the process, and the files for the containers. `program` is the path of this program.
    ///
    /// # Errors
    /// A file cannot be written, or the directory for shared memory not be mounted.
    pub(crate) fn write(&self, program: &Path) -> Result<()> {
        let dir = self.dir();
        let root = dir.join("rootfs");
        fs::create_dir_all(&root).with_context(|| format!("create {root:?}"))?;
        let write = |name: &str, text: &[u8]| {
            let path = dir.join(name);
            fs::write(&path, text).with_context(|| format!("write {path:?}"))
        };
        write("config.json", &serde_json::to_vec(&self.configuration(program)?)?)?;
        write("resolv.conf", &self.config.dns.as_ref().map_or_else(|| read("/etc/resolv.conf"), resolv_conf))?;
        write("hosts", &read("/etc/hosts"))?;
        let hostname = if self.config.hostname.is_empty() {
            read("/etc/hostname")
        } else {
            format!("{}\n", self.config.hostname).into()
        };
        write("hostname", &hostname)?;
        if self.namespaces().ipc == mode::NODE {
            return Ok(());
        }
        let options = ["nosuid", "nodev", "noexec", "mode=1777", "size=65536k"].map(str::to_owned).to_vec();
        let memory = Mount { kind: "tmpfs".to_owned(), source: "shm".to_owned(), target: String::new(), options };
        rootfs::mount(&[memory], &dir.join("shm"))
    }

    /// Unmounts what [`Pod::write`] has mounted.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn unmount(bundle: &Path) -> Result<()> {
        rootfs::unmount(&bundle.join(DIR).join("shm"))
    }

    /// Returns the configuration of the process's container.
    fn configuration(&self, program: &Path) -> Result<Value> {
        let program = program.to_str().context("the path of the shim is not UTF-8")?;
        let modes = self.namespaces();
        let mut namespaces = vec![json!({"type": "mount"})];
        if !self.network.is_empty() {
            namespaces.push(json!({"type": "network", "path": self.network}));
        }
        let own_name = modes.network != mode::NODE;
        let own = [(own_name, "uts"), (modes.ipc != mode::NODE, "ipc"), (modes.pid == mode::POD, "pid")];
        namespaces.extend(own.iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| json!({"type": kind})));
        let linux = self.config.linux.clone().unwrap_or_default();
        let mut spec = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "args": ["/pause", ACTION],
                "cwd": "/",
                "user": {"uid": NOBODY, "gid": NOBODY},
                "noNewPrivileges": true,
                "capabilities": {},
            },
            "mounts": [{"destination": "/pause", "type": "bind", "source": program, "options": ["bind", "ro", "nosuid", "nodev"]}],
            "linux": {
                "namespaces": namespaces,
                "sysctl": linux.sysctls,
                "cgroupsPath": self.cgroup(&linux.cgroup_parent),
            },
        });
        if own_name && !self.config.hostname.is_empty() {
            set(&mut spec, "hostname", json!(self.config.hostname));
        }
        Ok(spec)
    }

    /// Returns `cgroupsPath` of the process, as containerd forms it for containers.
    fn cgroup(&self, parent: &str) -> String {
        let parent = parent.trim_end_matches('/');
        if self.systemd {
            let slice = parent.rsplit('/').next().filter(|slice| slice.ends_with(".slice")).unwrap_or("system.slice");
            return format!("{slice}:cri-containerd:{}", self.id);
        }
        let parent = if parent.is_empty() { format!("/{}", self.namespace) } else { parent.to_owned() };
        format!("{parent}/{}", self.id)
    }

    /// Adds the pod's files to the configuration of a container that joins it, where containerd has given none.
    ///
    /// # Errors
    /// The configuration cannot be read or written.
    pub(crate) fn share(&self, bundle: &Path) -> Result<()> {
        let path = bundle.join("config.json");
        let text = fs::read(&path).with_context(|| format!("read {path:?}"))?;
        let mut spec: Value = serde_json::from_slice(&text).with_context(|| format!("{path:?}"))?;
        self.add_mounts(&mut spec);
        let new = bundle.join(".config.json");
        fs::write(&new, serde_json::to_vec(&spec)?).with_context(|| format!("write {new:?}"))?;
        fs::rename(&new, &path).with_context(|| format!("rename {new:?}"))
    }

    fn add_mounts(&self, spec: &mut Value) {
        let read_only = spec.pointer("/root/readonly").and_then(Value::as_bool).unwrap_or(false);
        let ipc = format!("/proc/{}/ns/ipc", self.pid);
        let joins = spec.pointer("/linux/namespaces").and_then(Value::as_array);
        let shares_memory = joins.is_some_and(|list| list.iter().any(|one| text(one, "path") == ipc))
            && self.namespaces().ipc != mode::NODE;
        let files = [("/etc/resolv.conf", "resolv.conf"), ("/etc/hosts", "hosts"), ("/etc/hostname", "hostname")];
        if spec.get("mounts").and_then(Value::as_array).is_none() {
            set(spec, "mounts", json!([]));
        }
        let Some(mounts) = spec.get_mut("mounts").and_then(Value::as_array_mut) else { return };
        if shares_memory {
            // each container's own, by containerd's default
            mounts.retain(|one| text(one, "destination") != "/dev/shm" || text(one, "type") == "bind");
        }
        let memory = shares_memory.then_some(("/dev/shm", "shm"));
        for (destination, name) in files.into_iter().chain(memory) {
            if !mounts.iter().any(|one| text(one, "destination") == destination) {
                let access = if read_only && name != "shm" { "ro" } else { "rw" };
                let source = self.dir().join(name).display().to_string();
                let options = ["rbind", "rprivate", access];
                mounts.push(json!({"destination": destination, "type": "bind", "source": source, "options": options}));
            }
        }
    }
}

/// Returns a text of an object; empty if there is none.
fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Sets a member of an object.
fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

/// Returns the content of a file of the host; nothing if there is none.
fn read(path: &str) -> Vec<u8> {
    fs::read(path).unwrap_or_default()
}

/// Returns the file of resolv.conf(5); the host's without any setting.
fn resolv_conf(dns: &Dns) -> Vec<u8> {
    if *dns == Dns::default() {
        return read("/etc/resolv.conf");
    }
    let line = |name: &str, words: &[String]| {
        if words.is_empty() { String::new() } else { format!("{name} {}\n", words.join(" ")) }
    };
    let servers: String = dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    format!("{}{servers}{}", line("search", &dns.searches), line("options", &dns.options)).into()
}

/// Waits for SIGTERM or SIGINT and reaps children, as the first process of a pid namespace must.
///
/// # Errors
/// None in practice.
pub(crate) fn pause() -> Result<()> {
    let set = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT].iter();
    let set = set.fold(SignalSet::EMPTY, |set, signal| set.with(*signal));
    signal::set_mask(set).context("signal mask")?;
    let signals = signal::descriptor(set).context("signalfd")?;
    linux::image::release_code();
    loop {
        let mut list = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&signals), nix::poll::PollFlags::POLLIN)];
        let _ = nix::poll::poll(&mut list, nix::poll::PollTimeout::NONE);
        while let Ok(Some(number)) = signal::read(std::os::fd::AsFd::as_fd(&signals)) {
            if number != libc::SIGCHLD {
                return Ok(());
            }
        }
        while let Ok(Some(_)) = signal::reap() {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proto::sandbox::{PodLinux, PodSecurity, PodUser};

    fn pod(namespaces: PodNamespaces, network: &str) -> Result<Pod> {
        let security = Some(PodSecurity { namespaces: Some(namespaces) });
        let linux = PodLinux { security, cgroup_parent: "/kube/pod1/".to_owned(), ..PodLinux::default() };
        let config = PodConfig { hostname: "web".to_owned(), linux: Some(linux), ..PodConfig::default() };
        Pod::new("k8s.io", "p1", Path::new("/nowhere"), config, network)
    }

    #[test]
    fn a_pod_has_the_namespaces_of_its_configuration() {
        let all = PodNamespaces { pid: mode::POD, ..PodNamespaces::default() };
        let host = PodNamespaces { network: mode::NODE, pid: mode::NODE, ipc: mode::NODE, user: None };
        for (namespaces, network, kinds, hostname) in
            [(all, "/n", vec!["mount", "network", "uts", "ipc", "pid"], "web"), (host, "", vec!["mount"], "")]
        {
            let spec = pod(namespaces, network).unwrap().configuration(Path::new("/s")).unwrap();
            let list = spec.pointer("/linux/namespaces").unwrap().as_array().unwrap();
            assert_eq!(list.iter().map(|one| text(one, "type")).collect::<Vec<_>>(), kinds);
            assert_eq!(
                (text(&spec, "hostname"), text(spec.get("linux").unwrap(), "cgroupsPath")),
                (hostname, "/kube/pod1/p1")
            );
        }
        let mapped = PodNamespaces { user: Some(PodUser { mode: mode::POD }), ..PodNamespaces::default() };
        assert!(pod(mapped, "").unwrap_err().to_string().contains("user namespace"));
    }

    #[test]
    fn containers_get_the_files_that_containerd_has_not_given() {
        let mut pod = pod(PodNamespaces { pid: mode::CONTAINER, ..PodNamespaces::default() }, "").unwrap();
        pod.pid = 7;
        let mut spec = json!({
            "root": {"readonly": true},
            "mounts": [{"destination": "/dev/shm", "type": "tmpfs"}, {"destination": "/etc/hosts", "type": "bind", "source": "/own"}],
            "linux": {"namespaces": [{"type": "ipc", "path": "/proc/7/ns/ipc"}]},
        });
        pod.add_mounts(&mut spec);
        let mounts = spec.get("mounts").unwrap().as_array().unwrap();
        let list: Vec<_> = mounts.iter().map(|one| (text(one, "destination"), text(one, "source"))).collect();
        let wanted = [
            ("/etc/hosts", "/own"),
            ("/etc/resolv.conf", "/nowhere/pod/resolv.conf"),
            ("/etc/hostname", "/nowhere/pod/hostname"),
            ("/dev/shm", "/nowhere/pod/shm"),
        ];
        assert_eq!(list, wanted);
        assert_eq!(mounts.get(1).unwrap().pointer("/options/2"), Some(&json!("ro")));
    }
}
