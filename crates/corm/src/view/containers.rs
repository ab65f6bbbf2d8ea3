//! Rows of `ps`: containers with their status, and its filters.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd as _;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::filter::Filters;
use super::units;
use crate::config::network::Port;
use crate::config::short_id;
use crate::container::changes;
use crate::container::network::{self, Made};
use crate::container::run_dir::RunDir;
use crate::container::status::{self, Last, Status};
use crate::driver::Tree;
use crate::model::change::ChangeKind;
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::store::{ContainerRecord, Store};

/// Names of filters.
pub const FILTERS: [&str; 13] = [
    "id", "name", "label", "label!", "status", "exited", "ancestor", "before", "since", "until", "volume", "command",
    "network",
];

/// Values of the filter `status`.
const STATES: [&str; 7] = ["created", "running", "paused", "exited", "stopped", "bundle", "unknown"];

/// Maximum length of a command in the table.
const COMMAND_LENGTH: usize = 17;

/// A container with what its record does not have.
#[derive(Debug)]
pub struct Row {
    /// Record.
    pub record: ContainerRecord,
    /// Status.
    pub status: Status,
    /// Last run.
    pub last: Last,
    /// Labels of its image and its own.
    pub labels: BTreeMap<String, String>,
    /// Sizes, if they were asked for.
    pub size: Option<Size>,
    /// Network, while there is one.
    pub made: Option<Made>,
}

/// Disk usage of a container.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Bytes of the files that it added or changed.
    pub written: u64,
    /// Bytes of its whole tree, about.
    pub whole: u64,
}

/// Returns the labels of an image's configuration; none where it cannot be read, because the container is shown anyway.
fn image_labels(store: &Store, image: &Digest) -> BTreeMap<String, String> {
    let config = store.read_blob(image).and_then(|bytes| manifest::parse_config(&bytes));
    config.ok().and_then(|config| config.labels_of_config().cloned()).into_iter().flatten().collect()
}

/// Returns the labels of a container: its image's and its own.
pub fn labels(store: &Store, record: &ContainerRecord) -> BTreeMap<String, String> {
    let mut labels = image_labels(store, &record.image);
    labels.extend(record.setup.overrides.labels.clone());
    labels
}

/// Returns all containers, the oldest first.
///
/// # Errors
/// A record cannot be read, or a runtime cannot be executed.
pub fn all(store: &Store, run: &RunDir) -> Result<Vec<Row>> {
    let mut of_images: HashMap<Digest, BTreeMap<String, String>> = HashMap::new();
    let mut rows = Vec::new();
    for record in store.containers()?.into_iter().rev() {
        let status = status::of(store, run, &record)?;
        let last = Last::read(&store.container_dir(&record.id))?.unwrap_or_default();
        let known = of_images.entry(record.image.clone()).or_insert_with(|| image_labels(store, &record.image));
        let mut labels = known.clone();
        labels.extend(record.setup.overrides.labels.clone());
        let made = network::made(run, &record.id);
        rows.push(Row { record, status, last, labels, size: None, made });
    }
    Ok(rows)
}

/// Returns the IDs of the containers that the filters admit; `None` without filters: all are.
///
/// # Errors
/// Those of [`all`] and of [`Conditions::new`].
pub fn that_fit(store: &Store, run: &RunDir, filters: &Filters) -> Result<Option<HashSet<String>>> {
    if filters.is_empty() {
        return Ok(None);
    }
    let conditions = Conditions::new(store, filters)?;
    let mut ids = HashSet::new();
    for row in all(store, run)? {
        if conditions.admit(&row)? {
            ids.insert(row.record.id);
        }
    }
    Ok(Some(ids))
}

/// Measures a container.
///
/// # Errors
/// Those of the driver.
pub fn size(store: &Store, record: &ContainerRecord) -> Result<Size> {
    let changes = changes::of(store, record)?;
    let mut written = 0_u64;
    for change in changes.list.iter().filter(|change| change.kind != ChangeKind::Deleted) {
        let stat = fstatat(changes.root.as_fd(), &change.path, AtFlags::AT_SYMLINK_NOFOLLOW);
        // removed since the list was made
        let Ok(stat) = stat else { continue };
        if stat.st_mode & libc::S_IFMT == libc::S_IFREG {
            written = written.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        }
    }
    let mut whole = written;
    if let Ok(image) = store.find_image(&record.image.to_string()) {
        for layer in image.chain_ids() {
            whole = whole.saturating_add(store.driver().usage(Tree::Layer(&layer)).unwrap_or(0));
        }
    }
    Ok(Size { written, whole })
}

/// Filters with their values checked and looked up.
pub struct Conditions<'a> {
    filters: &'a Filters,
    names: Vec<Regex>,
    commands: Vec<Regex>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    ancestors: Vec<Digest>,
}

impl<'a> Conditions<'a> {
    /// Checks the filters.
    ///
    /// # Errors
    /// A value that the name does not have, a container that does not exist.
    pub fn new(store: &Store, filters: &'a Filters) -> Result<Self> {
        let created = |name: &str| -> Result<Vec<Timestamp>> {
            let of = |value: &String| Ok(store.find_container(value)?.created.parse()?);
            let all: Result<Vec<Timestamp>> = filters.values(name).iter().map(of).collect();
            all.with_code(Code::UsageValue, || format!("--filter {name}"))
        };
        let patterns = |name: &str| -> Result<Vec<Regex>> {
            let all: Result<_, _> = filters.values(name).iter().map(|value| Regex::new(value)).collect();
            all.with_code(Code::UsageValue, || format!("--filter {name}: not a regular expression"))
        };
        for value in filters.values("status") {
            ensure!(
                STATES.contains(&&**value),
                coded!(UsageValue, "--filter status={value:?}: must be one of {}", STATES.join(", "))
            );
        }
        for value in filters.values("exited") {
            value
                .parse::<i32>()
                .with_code(Code::UsageValue, || format!("--filter exited={value:?}: not an exit status"))?;
        }
        let before = created("before")?.into_iter().chain(filters.until()?);
        let ancestors = filters.values("ancestor").iter().filter_map(|name| store.find_image(name).ok());
        Ok(Self {
            filters,
            names: patterns("name")?,
            commands: patterns("command")?,
            before: before.min(),
            since: created("since")?.into_iter().max(),
            ancestors: ancestors.map(|image| image.id).collect(),
        })
    }

    /// Returns whether the filters admit a container.
    ///
    /// # Errors
    /// None of values that [`Conditions::new`] has checked.
    pub fn admit(&self, row: &Row) -> Result<bool> {
        let (record, filters) = (&row.record, self.filters);
        let created: Option<Timestamp> = record.created.parse().ok();
        let some =
            |patterns: &[Regex], text: &str| patterns.is_empty() || patterns.iter().any(|one| one.is_match(text));
        let in_time = self.before.is_none_or(|bound| created.is_some_and(|created| created < bound))
            && self.since.is_none_or(|bound| created.is_some_and(|created| created > bound));
        let state = row.status.name();
        let volume = |value: &str| {
            record.setup.volumes.iter().any(|volume| {
                let is = |path: &std::path::Path, text: &str| path == std::path::Path::new(text);
                match value.split_once(':') {
                    Some((source, destination)) => is(&volume.source, source) && is(&volume.destination, destination),
                    None => is(&volume.destination, value) || is(&volume.source, value),
                }
            })
        };
        Ok(in_time
            && some(&self.names, &record.name)
            && some(&self.commands, record.command.first().map_or("", String::as_str))
            && filters.any("id", |value| Ok(record.id.starts_with(value)))?
            && filters.any("status", |value| Ok(value == state || value == "stopped" && state == "exited"))?
            && filters.any("exited", |value| Ok(row.exit_code().is_some_and(|code| code.to_string() == value)))?
            && filters.any("volume", |value| Ok(volume(value)))?
            && filters.any("network", |value| {
                Ok(row.networks().iter().any(|name| name == value) || record.setup.network.mode.to_string() == value)
            })?
            && filters
                .any("ancestor", |value| Ok(self.ancestors.contains(&record.image) || record.image_name == value))?
            && filters.labels(|key| row.labels.get(key).map(String::as_str)))
    }
}

impl Row {
    /// Returns the exit status of a container that has ended, if it is known.
    pub fn exit_code(&self) -> Option<i32> {
        match self.status {
            Status::Exited(status) => status,
            _ => None,
        }
    }

    /// Returns the status as people read it: `Up 5 minutes`, `Exited (1) 3 hours ago`.
    pub fn describe(&self) -> String {
        match &self.status {
            Status::Running(_) => format!("Up {}", units::since(&self.last.started)),
            Status::Paused(_) => "Paused".to_owned(),
            Status::Created => "Created".to_owned(),
            Status::Bundle => "Bundle".to_owned(),
            Status::Exited(code) => {
                let code = code.map_or_else(|| "?".to_owned(), |code| code.to_string());
                let when = self.last.finished.as_deref().map(units::ago).unwrap_or_default();
                // signals by which people end a container are no reason
                let sent = [libc::SIGTERM, libc::SIGKILL, libc::SIGINT, libc::SIGHUP];
                let reason = self
                    .last
                    .reason()
                    .filter(|_| self.last.oom_killed || self.last.signal.is_some_and(|signal| !sent.contains(&signal)));
                let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{}{reason}", format!("Exited ({code}) {when}").trim_end())
            }
        }
    }

    /// Returns the published ports as people read them, then those that are only exposed.
    fn ports(&self) -> String {
        let network = &self.record.setup.network;
        let ports = self.made.as_ref().map_or(&network.ports, |made| &made.ports);
        let published = ports.iter().map(Port::describe);
        let exposed = network.exposed.iter().filter(|text| {
            Port::parse(text).is_ok_and(|port| !ports.iter().any(|published| published.contains(&port)))
        });
        published.chain(exposed.cloned()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the names of its networks.
    fn networks(&self) -> Vec<String> {
        self.record.setup.network.names()
    }

    /// Returns the published ports for JSON; none is `null`, as in Podman.
    fn port_list(&self) -> Value {
        let ports = self.made.as_ref().map_or(&self.record.setup.network.ports, |made| &made.ports);
        let port = |port: &Port| {
            json!({"host_ip": port.ip.map(|ip| ip.to_string()).unwrap_or_default(), "container_port": port.container,
                "host_port": port.host, "range": port.count, "protocol": port.protocol})
        };
        if ports.is_empty() { Value::Null } else { ports.iter().map(port).collect() }
    }

    /// Returns the row for templates.
    pub fn fields(&self, no_trunc: bool) -> Value {
        let record = &self.record;
        let id = if no_trunc { record.id.as_str() } else { short_id(&record.id) };
        let image_id = if no_trunc { record.image.hex() } else { short_id(record.image.hex()) };
        let command = record.command.join(" ");
        let command = if no_trunc { command } else { cut(&command) };
        let (ago, at) = (units::ago(&record.created), units::go_time(&record.created));
        let mounts: Vec<_> =
            record.setup.volumes.iter().map(|volume| volume.destination.display().to_string()).collect();
        let size =
            self.size.map(|size| format!("{} (virtual {})", units::size(size.written, 3), units::size(size.whole, 3)));
        json!({
            "ID": id, "Id": id, "Image": record.image_name, "ImageID": image_id, "Command": command, "CreatedAt": at,
            "Created": at, "CreatedHuman": ago, "RunningFor": ago, "Status": self.describe(), "State": self.status.name(),
            "Names": record.name, "Labels": self.labels, "Mounts": mounts, "Ports": self.ports(),
            "Networks": self.networks().join(","),
            "Size": size.unwrap_or_default(), "Pid": self.status.pid().unwrap_or(0), "PID": self.status.pid().unwrap_or(0),
            "ExitCode": self.exit_code().unwrap_or(0), "Exited": self.exited(), "AutoRemove": record.setup.remove,
            "StartedAt": units::unix(&self.last.started), "ExitedAt": self.exited_at(), "Restarts": 0, "Pod": "",
            "PodName": "", "IsInfra": false, "Bundle": record.bundle,
        })
    }

    fn exited(&self) -> bool {
        matches!(self.status, Status::Exited(_))
    }

    fn exited_at(&self) -> i64 {
        units::unix(self.last.finished.as_deref().unwrap_or_default())
    }

    /// Returns the row for JSON.
    pub fn document(&self) -> Value {
        let record = &self.record;
        let mounts: Vec<_> = record.setup.volumes.iter().map(|volume| &volume.destination).collect();
        // an exit status that is not known
        let exit_code = if self.exited() { self.exit_code().unwrap_or(-1) } else { 0 };
        json!({
            "AutoRemove": record.setup.remove, "Command": record.command, "CreatedAt": units::ago(&record.created),
            "Exited": self.exited(), "ExitedAt": self.exited_at(), "ExitCode": exit_code, "Id": record.id,
            "Image": record.image_name, "ImageID": record.image.hex(), "IsInfra": false, "Labels": self.labels,
            "Mounts": mounts, "Names": [record.name], "Namespaces": {}, "Networks": self.networks(), "Pid": self.status.pid().unwrap_or(0), "Pod": "",
            "PodName": "", "Ports": self.port_list(), "Restarts": 0,
            "Size": self.size.map(|size| json!({"rootFsSize": size.whole, "rwSize": size.written})),
            "StartedAt": units::unix(&self.last.started), "State": self.status.name(), "Status": self.describe(),
            "Created": units::unix(&record.created), "Bundle": record.bundle,
        })
    }
}

/// Cuts a command for the table.
fn cut(command: &str) -> String {
    if command.chars().count() <= COMMAND_LENGTH {
        return command.to_owned();
    }
    command.chars().take(COMMAND_LENGTH).collect::<String>() + "..."
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn commands_are_cut_as_podman_does() {
        assert_eq!(cut("sh -c echo out; echo err >&2; exit 3"), "sh -c echo out; e...");
        assert_eq!(cut("sh -c echo out; e"), "sh -c echo out; e");
        assert_eq!(cut(&"é".repeat(18)), "é".repeat(17) + "...");
    }
}
