//! The documents of `inspect`, with the keys of Podman and Docker: of an image from its configuration, of a container from
//! its record and the `config.json` that the runtime gets.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::containers::{self, Row};
use super::images;
use crate::config::network::Mode;
use crate::config::settings::capabilities::DEFAULT as CAPABILITIES;
use crate::container::network;
use crate::container::run_dir::RunDir;
use crate::container::status::{self, Last};
use crate::model::manifest;
use crate::store::{ContainerRecord, ImageRecord, Store};

/// Time of what has not happened, Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Maximum size of a container's config.json in bytes, which corm itself wrote.
const MAX_CONFIG: u64 = 16 << 20;

/// Returns the document of an image.
///
/// # Errors
/// Its manifest or configuration is missing or damaged.
pub fn of_image(store: &Store, image: &ImageRecord) -> Result<Value> {
    let document = |digest| -> Result<Value> { Ok(serde_json::from_slice(&store.read_blob(digest)?)?) };
    let (manifest, config) = (document(&image.manifest)?, document(&image.id)?);
    let parsed = manifest::parse_config(&store.read_blob(&image.id)?)?;
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let own = config.get("config").filter(|own| own.is_object()).cloned().unwrap_or_else(|| json!({}));
    let part = |name: &str| own.get(name).filter(|value| !value.is_null()).cloned();
    let history = config.get("history").filter(|list| list.is_array()).cloned().unwrap_or_else(|| json!([]));
    let comment = history.as_array().and_then(|list| list.last()).and_then(|step| step.get("comment")).cloned();
    let mut config_keys = own.as_object().cloned().unwrap_or_default();
    // keys that a template may ask for in every image
    for (name, empty) in [("Env", json!([])), ("Cmd", json!([])), ("Entrypoint", json!([])), ("Labels", json!({}))]
        .into_iter()
        .chain([("User", json!("")), ("WorkingDir", json!("")), ("StopSignal", json!(""))])
        .chain([("ExposedPorts", json!({})), ("Volumes", json!({}))])
    {
        if config_keys.get(name).is_none_or(Value::is_null) {
            config_keys.insert(name.to_owned(), empty);
        }
    }
    let driver = json!({"Name": store.driver().kind().name(), "Data": {}});
    let mut all = json!({
        "Id": image.id.hex(), "Digest": image.manifest, "RepoTags": images::repo_tags(image),
        "RepoDigests": images::repo_digests(image), "Parent": "", "Comment": comment.unwrap_or_else(|| json!("")),
        "Created": image.created, "Config": config_keys, "Version": "", "Author": text("author"),
        "Architecture": text("architecture"), "Variant": text("variant"), "Os": text("os"), "Size": image.size,
        "VirtualSize": image.size, "GraphDriver": driver,
        "RootFS": {"Type": "layers", "Layers": parsed.rootfs().diff_ids()},
        "Labels": part("Labels").unwrap_or_else(|| json!({})),
        "Annotations": manifest.get("annotations").filter(|map| map.is_object()).cloned().unwrap_or_else(|| json!({})),
        "ManifestType": manifest.get("mediaType").cloned().unwrap_or_else(|| json!("")),
        "User": part("User").unwrap_or_else(|| json!("")), "History": history, "NamesHistory": image.names,
    });
    add(&mut all, "Corm", record(image)?);
    Ok(all)
}

/// Returns the document of a container; with `sizes` also `SizeRw` and `SizeRootFs`.
///
/// # Errors
/// Its config.json cannot be read, or the runtime cannot be executed.
pub fn of_container(store: &Store, run: &RunDir, container: &ContainerRecord, sizes: bool) -> Result<Value> {
    let dir = store.container_dir(&container.id);
    let row = Row {
        status: status::of(store, run, container)?,
        last: Last::read(&dir)?.unwrap_or_default(),
        labels: containers::labels(store, container),
        record: container.clone(),
        size: None,
        made: network::made(run, &container.id),
    };
    let config = Spec::read(&dir)?;
    let image = store.find_image(&container.image.to_string()).ok();
    let (program, arguments) = container.command.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let capabilities = |set: &str| config.at(&format!("/process/capabilities/{set}"), json!([]));
    let mut all = json!({
        "Id": container.id, "Name": container.name, "Created": container.created, "Path": program, "Args": arguments,
        "State": state(&row, &config), "Image": container.image.hex(), "ImageName": container.image_name,
        "ImageDigest": image.as_ref().map(|image| image.manifest.to_string()).unwrap_or_default(),
        "Config": own_config(store, &row, &config), "HostConfig": host_config(&row, &config, &dir),
        "Mounts": mounts(container), "NetworkSettings": network_settings(&row, run),
        "ResolvConfPath": dir.join("resolv.conf"), "HostnamePath": dir.join("hostname"), "HostsPath": dir.join("hosts"),
        "StaticDir": dir, "OCIConfigPath": dir.join("config.json"), "OCIRuntime": container.setup.runtime,
        "PidFile": run.pid_file(&container.id), "LogPath": dir.join("log"), "Rootfs": config.at("/root/path", json!("")),
        "Driver": store.driver().kind().name(), "GraphDriver": {"Name": store.driver().kind().name(), "Data": {}},
        "BoundingCaps": capabilities("bounding"), "EffectiveCaps": capabilities("effective"),
        "AppArmorProfile": config.at("/process/apparmorProfile", json!("")),
        "ProcessLabel": config.at("/process/selinuxLabel", json!("")),
        "MountLabel": config.at("/linux/mountLabel", json!("")),
        "RestartCount": 0, "ExecIDs": [], "Dependencies": [], "Pod": "", "IsInfra": false,
    });
    if sizes {
        let size = containers::size(store, container)?;
        add(&mut all, "SizeRw", json!(size.written));
        add(&mut all, "SizeRootFs", json!(size.whole));
    }
    add(&mut all, "Corm", record(container)?);
    Ok(all)
}

/// Returns corm's own record, which has what neither Docker nor Podman has.
fn record(of: &impl serde::Serialize) -> Result<Value> {
    Ok(serde_json::to_value(of)?)
}

fn add(all: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = all {
        fields.insert(name.to_owned(), value);
    }
}

/// The runtime configuration of a container.
struct Spec(Value);

impl Spec {
    fn read(dir: &std::path::Path) -> Result<Self> {
        use std::io::Read as _;
        let path = dir.join("config.json");
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_CONFIG).read_to_end(&mut bytes));
        read.with_context(|| format!("read {path:?}"))?;
        Ok(Self(serde_json::from_slice(&bytes).with_context(|| format!("{path:?}"))?))
    }

    fn at(&self, pointer: &str, absent: Value) -> Value {
        self.0.pointer(pointer).filter(|value| !value.is_null()).cloned().unwrap_or(absent)
    }

    fn list(&self, pointer: &str) -> &[Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the mode of a namespace: `private`, `host`, or the path that is joined.
    fn namespace(&self, kind: &str) -> String {
        let is = |entry: &&Value| entry.get("type").and_then(Value::as_str) == Some(kind);
        match self.list("/linux/namespaces").iter().find(is) {
            None => "host".to_owned(),
            Some(entry) => match entry.get("path").and_then(Value::as_str).filter(|path| !path.is_empty()) {
                Some(path) => format!("ns:{path}"),
                None => "private".to_owned(),
            },
        }
    }
}

fn state(row: &Row, config: &Spec) -> Value {
    let time = |text: &str| if text.is_empty() { NEVER.to_owned() } else { text.to_owned() };
    let name = row.status.name();
    let exit_code = match name {
        "exited" => row.exit_code().unwrap_or(-1),
        "created" => row.last.status.unwrap_or(0),
        _ => 0,
    };
    json!({
        "OciVersion": config.at("/ociVersion", json!("")), "Status": name, "Running": name == "running",
        "Paused": name == "paused", "Restarting": false, "OOMKilled": row.last.oom_killed, "Dead": false,
        "Pid": row.status.pid().unwrap_or(0), "ExitCode": exit_code, "Error": row.last.error.as_deref().unwrap_or_default(),
        "ExitReason": if exit_code == 0 { String::new() } else { row.last.reason().unwrap_or_default() }, "StartedAt": time(&row.last.started),
        "FinishedAt": time(row.last.finished.as_deref().unwrap_or_default()),
        "Health": {"Status": "", "FailingStreak": 0, "Log": []},
    })
}

/// Returns what the container's program gets: `Config`.
fn own_config(store: &Store, row: &Row, config: &Spec) -> Value {
    let overrides = &row.record.setup.overrides;
    let image = store.read_blob(&row.record.image).and_then(|bytes| manifest::parse_config(&bytes)).ok();
    let image = image.as_ref().and_then(|image| image.config().clone()).unwrap_or_default();
    let entrypoint = overrides.entrypoint.clone().or_else(|| image.entrypoint().clone()).unwrap_or_default();
    let cmd = match (&overrides.command, &overrides.entrypoint) {
        (command, _) if !command.is_empty() => command.clone(),
        (_, Some(_)) => Vec::new(),
        (_, None) => image.cmd().clone().unwrap_or_default(),
    };
    let user = overrides.user.clone().or_else(|| image.user().clone()).unwrap_or_default();
    let as_keys = |list: &Option<Vec<String>>| {
        list.iter().flatten().map(|key| (key.clone(), json!({}))).collect::<BTreeMap<_, _>>()
    };
    json!({
        "Hostname": config.at("/hostname", json!("")), "Domainname": config.at("/domainname", json!("")), "User": user,
        "Env": config.at("/process/env", json!([])), "Cmd": cmd, "Entrypoint": entrypoint, "Labels": row.labels,
        "Annotations": config.at("/annotations", json!({})), "WorkingDir": config.at("/process/cwd", json!("/")),
        "Tty": config.at("/process/terminal", json!(false)), "Image": row.record.image_name,
        "StopSignal": row.record.setup.stop_signal, "Volumes": as_keys(image.volumes()),
        "ExposedPorts": as_keys(image.exposed_ports()), "OnBuild": [], "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "OpenStdin": false, "StdinOnce": false,
        "Umask": config.at("/process/user/umask", json!(0o22)),
    })
}

/// Returns what the container has of the host, and its limits: `HostConfig`.
fn host_config(row: &Row, config: &Spec, dir: &std::path::Path) -> Value {
    let setup = &row.record.setup;
    let binds: Vec<String> = setup.volumes.iter().map(bind).collect();
    let mut all = limits(config);
    let (added, dropped) = capability_changes(config);
    let rest = json!({
        "Binds": binds, "NetworkMode": network_mode(row, config), "AutoRemove": setup.remove,
        "LogConfig": {"Type": "k8s-file", "Config": {"max-size": setup.log.max_size.to_string(), "max-file": setup.log.max_file.to_string()},
            "Path": dir.join("log"), "Tag": "", "Size": setup.log.max_size.to_string() + "B"},
        "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}, "PortBindings": bindings(row),
        "PublishAllPorts": setup.network.publish_all,
        "CapAdd": added, "CapDrop": dropped, "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": [],
        "GroupAdd": config.at("/process/user/additionalGids", json!([])), "IpcMode": config.namespace("ipc"),
        "PidMode": config.namespace("pid"), "UTSMode": config.namespace("uts"), "UsernsMode": user_namespace(config),
        "CgroupnsMode": config.namespace("cgroup"), "CgroupParent": "", "Cgroups": "default",
        "CgroupPath": config.at("/linux/cgroupsPath", json!("")), "Privileged": false,
        "ReadonlyRootfs": config.at("/root/readonly", json!(false)), "Tmpfs": tmpfs(config),
        "SecurityOpt": [], "ShmSize": shm_size(config), "Sysctls": config.at("/linux/sysctl", json!({})),
        "Devices": devices(config), "Ulimits": ulimits(config), "Runtime": setup.runtime, "ContainerIDFile": "",
        "Init": false, "VolumesFrom": [], "Links": [], "VolumeDriver": "", "Isolation": "",
    });
    if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
        all.extend(rest);
    }
    all
}

fn limits(config: &Spec) -> Value {
    let number =
        |pointer: &str| config.0.pointer(&format!("/linux/resources/{pointer}")).and_then(Value::as_i64).unwrap_or(0);
    let (quota, period) = (number("cpu/quota"), number("cpu/period"));
    let nano = if period > 0 { quota.saturating_mul(1_000_000_000) / period } else { 0 };
    json!({
        "Memory": number("memory/limit"), "MemorySwap": number("memory/swap"), "MemoryReservation": number("memory/reservation"),
        "MemorySwappiness": number("memory/swappiness"), "NanoCpus": nano, "CpuQuota": quota, "CpuPeriod": period,
        "CpuShares": number("cpu/shares"), "CpusetCpus": config.at("/linux/resources/cpu/cpus", json!("")),
        "CpusetMems": config.at("/linux/resources/cpu/mems", json!("")), "PidsLimit": number("pids/limit"),
        "BlkioWeight": number("blockIO/weight"), "OomScoreAdj": config.at("/process/oomScoreAdj", json!(0)),
        "OomKillDisable": config.at("/linux/resources/memory/disableOOMKiller", json!(false)),
    })
}

/// Returns the capabilities beside those that a container has by default, and those of them that it lacks.
fn capability_changes(config: &Spec) -> (Vec<String>, Vec<String>) {
    let usual: BTreeSet<&str> = CAPABILITIES.into_iter().collect();
    let own: BTreeSet<&str> = config.list("/process/capabilities/bounding").iter().filter_map(Value::as_str).collect();
    let names = |list: Vec<&&str>| list.into_iter().map(|&name| name.to_owned()).collect();
    (names(own.difference(&usual).collect()), names(usual.difference(&own).collect()))
}

fn network_mode(row: &Row, config: &Spec) -> String {
    match config.namespace("network").as_str() {
        _ if row.record.setup.network.mode != Mode::None => row.record.setup.network.mode.to_string(),
        "private" => "none".to_owned(),
        other => other.to_owned(),
    }
}

fn user_namespace(config: &Spec) -> String {
    match config.namespace("user").as_str() {
        // that of the caller
        "host" => String::new(),
        other => other.to_owned(),
    }
}

fn mount_at<'a>(config: &'a Spec, destination: &str) -> Option<&'a Value> {
    config.list("/mounts").iter().rfind(|mount| mount.get("destination").and_then(Value::as_str) == Some(destination))
}

fn mount_options(mount: &Value) -> impl Iterator<Item = &str> {
    mount.get("options").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn shm_size(config: &Spec) -> i64 {
    let option =
        mount_at(config, "/dev/shm").and_then(|mount| mount_options(mount).find_map(|text| text.strip_prefix("size=")));
    option.and_then(|text| base::cli_parser::values::size(text).ok()).unwrap_or(0)
}

/// Returns the tmpfs mounts beside those that every container has.
fn tmpfs(config: &Spec) -> Map<String, Value> {
    let is_tmpfs = |mount: &&Value| mount.get("type").and_then(Value::as_str) == Some("tmpfs");
    let usual = ["/dev", "/dev/shm", "/run", "/sys/fs/cgroup"];
    let entry = |mount: &Value| {
        let destination = mount.get("destination").and_then(Value::as_str)?;
        let options = mount_options(mount).collect::<Vec<_>>().join(",");
        (!usual.contains(&destination)).then(|| (destination.to_owned(), json!(options)))
    };
    config.list("/mounts").iter().filter(is_tmpfs).filter_map(entry).collect()
}

fn devices(config: &Spec) -> Vec<Value> {
    let device = |device: &Value| {
        let path = device.get("path").cloned().unwrap_or_default();
        json!({"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": ""})
    };
    config.list("/linux/devices").iter().map(device).collect()
}

fn ulimits(config: &Spec) -> Vec<Value> {
    let limit = |limit: &Value| json!({"Name": limit["type"], "Soft": limit["soft"], "Hard": limit["hard"]});
    config.list("/process/rlimits").iter().map(limit).collect()
}

/// Formats a volume as `-v` takes it.
fn bind(volume: &crate::config::Volume) -> String {
    let access = if volume.read_only { "ro" } else { "rw" };
    let options: Vec<&str> = std::iter::once(access).chain(volume.options.iter().map(String::as_str)).collect();
    format!("{}:{}:{}", volume.source.display(), volume.destination.display(), options.join(","))
}

fn mounts(container: &ContainerRecord) -> Vec<Value> {
    let mount = |volume: &crate::config::Volume| {
        let propagations = ["private", "shared", "slave", "unbindable"];
        let is = |option: &&String| propagations.contains(&option.strip_prefix('r').unwrap_or(option));
        let propagation = volume.options.iter().find(is).map_or("rprivate", String::as_str);
        json!({
            "Type": "bind", "Source": volume.source, "Destination": volume.destination, "Driver": "", "Mode": "",
            "Options": volume.options, "RW": !volume.read_only, "Propagation": propagation, "Name": "",
        })
    };
    container.setup.volumes.iter().map(mount).collect()
}

/// Returns the published ports by port of the container: `80/tcp`; an exposed one that is not published has none.
fn bindings(row: &Row) -> Value {
    let network = &row.record.setup.network;
    let mut all: BTreeMap<String, Vec<Value>> = network.exposed.iter().map(|port| (port.clone(), Vec::new())).collect();
    for port in row.made.as_ref().map_or(&network.ports, |made| &made.ports) {
        for step in 0..port.count {
            let host = json!({"HostIp": port.ip.map(|ip| ip.to_string()).unwrap_or_default(),
                "HostPort": (u32::from(port.host) + u32::from(step)).to_string()});
            all.entry(format!("{}/{}", u32::from(port.container) + u32::from(step), port.protocol))
                .or_default()
                .push(host);
        }
    }
    json!(all)
}

fn network_settings(row: &Row, run: &RunDir) -> Value {
    let empty = json!({
        "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "MacAddress": "",
    });
    let mut all = empty.clone();
    let mut networks = Map::new();
    let made = row.made.as_ref();
    for (name, network) in made.and_then(|made| made.answer.as_object()).into_iter().flatten() {
        let interfaces = network.get("interfaces").and_then(Value::as_object);
        for interface in interfaces.into_iter().flat_map(|all| all.values()) {
            let mut one = empty.clone();
            for subnet in interface.get("subnets").and_then(Value::as_array).into_iter().flatten() {
                let net = subnet.get("ipnet").and_then(Value::as_str).unwrap_or_default();
                let (ip, bits) = net.split_once('/').unwrap_or_default();
                let keys = match ip.contains(':') {
                    true => ["GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"],
                    false => ["IPAddress", "IPPrefixLen", "Gateway"],
                };
                one[keys[0]] = json!(ip);
                one[keys[1]] = json!(bits.parse::<u8>().unwrap_or(0));
                one[keys[2]] = subnet.get("gateway").cloned().unwrap_or_else(|| json!(""));
            }
            one["MacAddress"] = interface.get("mac_address").cloned().unwrap_or_else(|| json!(""));
            if networks.is_empty() {
                all = one.clone();
            }
            one["NetworkID"] = json!(name);
            let own = row.record.setup.network.attachments.iter().find(|own| own.name == *name);
            one["Aliases"] = json!(own.map(|own| &own.aliases));
            networks.insert(name.clone(), one);
        }
    }
    if let (true, Some(ip)) = (networks.is_empty(), made.and_then(|made| made.addresses.first())) {
        all["IPAddress"] = json!(ip);
    }
    let path = made.map(|_| run.netns(&row.record.id)).unwrap_or_default();
    let rest = json!({
        "Bridge": "", "SandboxID": "", "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "Ports": bindings(row), "SandboxKey": path, "Networks": networks,
    });
    if let (Value::Object(all), Value::Object(rest)) = (&mut all, rest) {
        all.extend(rest);
    }
    all
}
