//! `--userns` and the mappings of IDs: `--uidmap`, `--gidmap`, `--subuidname`, `--subgidname`.
//!
//! Parsed here. `container::mapping` finds the ranges when the container is created, because some depend on the image and on
//! other containers.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Maximum number of ranges of a user namespace (user_namespaces(7)).
const MAX_RANGES: usize = 340;

/// A range of IDs of a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First ID in the container.
    pub inside: u32,
    /// First ID in corm's own user namespace.
    pub outside: u32,
    /// Number of IDs.
    pub count: u32,
}

impl Range {
    /// Parses `CONTAINER:HOST[:COUNT]`.
    ///
    /// # Errors
    /// Another form; no ID, or more than there are.
    pub fn parse(text: &str) -> Result<Self> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
        let range = match numbers.as_deref() {
            Some(&[inside, outside]) => Self { inside, outside, count: 1 },
            Some(&[inside, outside, count]) => Self { inside, outside, count },
            _ => bail!("must be CONTAINER:HOST:COUNT, three numbers"),
        };
        let ends = |first: u32| first.checked_add(range.count).is_some();
        ensure!(range.count > 0 && ends(range.inside) && ends(range.outside), "must have 1 to 4294967295 IDs");
        Ok(range)
    }

    /// Returns the ID outside for one inside.
    fn to_outside(self, id: u32) -> Option<u32> {
        let at = id.checked_sub(self.inside).filter(|at| *at < self.count)?;
        Some(self.outside + at)
    }

    /// Returns the ID inside for one outside.
    fn to_inside(self, id: u32) -> Option<u32> {
        Self { inside: self.outside, outside: self.inside, ..self }.to_outside(id)
    }
}

/// The IDs of a user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Users.
    pub uids: Vec<Range>,
    /// Groups.
    pub gids: Vec<Range>,
}

impl Mapping {
    /// Returns user and group outside for those of the container; `None` for one that is not mapped.
    pub fn to_outside(&self, (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
        let find = |ranges: &[Range], id| ranges.iter().find_map(|range| range.to_outside(id));
        Some((find(&self.uids, uid)?, find(&self.gids, gid)?))
    }

    /// Returns user and group in the container for those outside; 65534 for one that is not mapped, as the kernel has it.
    pub fn to_inside(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        let find = |ranges: &[Range], id| ranges.iter().find_map(|range| range.to_inside(id)).unwrap_or(65534);
        (find(&self.uids, uid), find(&self.gids, gid))
    }

    /// Returns the content of uid_map and gid_map.
    pub fn files(&self) -> [String; 2] {
        [&self.uids, &self.gids].map(|ranges| {
            ranges.iter().fold(String::new(), |mut text, range| {
                let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.count);
                text
            })
        })
    }

    /// Parses the content of uid_map and gid_map.
    ///
    /// # Errors
    /// Another form.
    pub fn of_files(texts: [&str; 2]) -> Result<Self> {
        let ranges = |text: &str| -> Result<Vec<Range>> {
            let line = |line: &str| Range::parse(&line.split_whitespace().collect::<Vec<_>>().join(":"));
            text.lines().map(line).collect()
        };
        Ok(Self { uids: ranges(texts[0])?, gids: ranges(texts[1])? })
    }

    /// Checks what the kernel would refuse when the container starts.
    ///
    /// # Errors
    /// Ranges that overlap, or too many; no root user.
    pub fn check(&self) -> Result<()> {
        for (what, ranges) in [("uidmap", &self.uids), ("gidmap", &self.gids)] {
            ensure!(ranges.len() <= MAX_RANGES, "--{what}: {} ranges, the kernel takes {MAX_RANGES}", ranges.len());
            let overlap = |first: fn(&Range) -> u32| {
                let mut sorted: Vec<(u32, u32)> = ranges.iter().map(|range| (first(range), range.count)).collect();
                sorted.sort_unstable();
                sorted.windows(2).any(|pair| pair.first().zip(pair.get(1)).is_some_and(|(a, b)| a.0 + a.1 > b.0))
            };
            ensure!(!overlap(|range| range.inside) && !overlap(|range| range.outside), "--{what}: ranges overlap");
        }
        ensure!(self.to_outside((0, 0)).is_some(), "--userns: the mapping has no ID 0: the container needs its root");
        Ok(())
    }
}

/// A user namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// Its IDs.
    pub mapping: Mapping,
    /// Path of the namespace that is joined; absent: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

impl UserNamespace {
    /// Writes the namespace, and what depends on it, into a complete configuration: files of the store, whose directory is
    /// `own`, have the image's IDs and are ID-mapped.
    ///
    /// # Errors
    /// The configuration has no namespaces or mounts.
    pub fn apply(&self, config: &mut Value, own: &Path) -> Result<()> {
        let ranges = |ranges: &[Range]| -> Value {
            let of = |range: &Range| json!({"containerID": range.inside, "hostID": range.outside, "size": range.count});
            ranges.iter().map(of).collect()
        };
        let (uids, gids) = (ranges(&self.mapping.uids), ranges(&self.mapping.gids));
        let list = config["linux"]["namespaces"].as_array_mut().context("linux.namespaces")?;
        list.retain(|entry| entry.get("type") != Some(&json!("user")));
        let network = |entry: &&Value| entry.get("type") == Some(&json!("network"));
        let own_network = list.iter().find(network).is_some_and(|entry| entry.get("path").is_none());
        let own_pids = list.iter().any(|entry| entry.get("type") == Some(&json!("pid")));
        match &self.path {
            Some(path) => list.push(json!({"type": "user", "path": path})),
            None => {
                list.push(json!({"type": "user"}));
                config["linux"]["uidMappings"] = uids.clone();
                config["linux"]["gidMappings"] = gids.clone();
            }
        }
        for mount in config["mounts"].as_array_mut().context("mounts")? {
            let destination = mount.get("destination").and_then(Value::as_str).unwrap_or_default();
            let bind = |source: &str, write: &str| {
                json!({"destination": source, "type": "none", "source": source,
                    "options": ["rbind", "nosuid", "noexec", "nodev", write]})
            };
            match destination {
                // sysfs requires a network namespace of the own user namespace, and procfs a pid namespace of it
                "/sys" if !own_network => *mount = bind("/sys", "ro"),
                "/proc" if !own_pids => *mount = bind("/proc", "rw"),
                "/dev/pts" if self.mapping.to_outside((0, 5)).is_none() => {
                    if let Some(Value::Array(options)) = mount.get_mut("options") {
                        options.retain(|option| option != "gid=5");
                    }
                }
                _ => map_mount(mount, own, (&uids, &gids)),
            }
        }
        Ok(())
    }
}

/// Maps the IDs of a bind mount of a file of the store, or of one for which the caller asks that.
fn map_mount(mount: &mut Value, own: &Path, (uids, gids): (&Value, &Value)) {
    let is_bind = mount.get("type").and_then(Value::as_str) == Some("bind");
    let of_store = mount.get("source").and_then(Value::as_str).is_some_and(|source| Path::new(source).starts_with(own));
    let Some(Value::Array(options)) = mount.get_mut("options").filter(|_| is_bind) else { return };
    let asked = options.iter().any(|option| option == "idmap");
    if !of_store && !asked {
        return;
    }
    if !asked {
        options.push(json!("idmap"));
    }
    mount["uidMappings"] = uids.clone();
    mount["gidMappings"] = gids.clone();
}

/// Which user namespace a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mode {
    /// That of corm.
    #[default]
    Host,
    /// A new one, by the ranges of flags.
    Private,
    /// A new one in which the caller has these IDs, or its own.
    KeepId(Option<u32>, Option<u32>),
    /// A new one without the caller's own IDs.
    NoMap,
    /// A new one with IDs that no other container has, and their number.
    Auto(Option<u32>),
    /// That of another container, by name or ID.
    Container(String),
    /// That of a file such as `/proc/PID/ns/user`.
    Path(PathBuf),
}

/// The user namespace that the flags ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Mode.
    pub mode: Mode,
    /// Ranges of users and groups; those of `auto` are added to it.
    pub ranges: Mapping,
    /// Users whose subordinate IDs are taken: of /etc/subuid and of /etc/subgid.
    pub names: Option<(String, String)>,
}

impl Wanted {
    /// Parses the values of the flags.
    ///
    /// # Errors
    /// An unknown mode; flags that exclude each other.
    pub fn parse(mode: Option<&str>, ranges: Mapping, names: [Option<String>; 2]) -> Result<Self> {
        let [user, group] = names;
        let names = user.clone().or(group.clone()).zip(group.or(user));
        let mut wanted = Self { mode: Mode::Private, ranges, names };
        let flags = wanted.names.is_some() || !(wanted.ranges.uids.is_empty() && wanted.ranges.gids.is_empty());
        ensure!(
            wanted.names.is_none() || wanted.ranges == Mapping::default(),
            "--subuidname, --subgidname: exclude --uidmap and --gidmap"
        );
        match mode {
            None if !flags => wanted.mode = Mode::Host,
            None => {}
            Some(text) => {
                wanted.mode = wanted.parse_mode(text).with_context(|| format!("--userns {text:?}"))?;
                ensure!(
                    !flags || wanted.mode == Mode::Private,
                    "--userns {text}: excludes --uidmap, --gidmap, --subuidname and --subgidname"
                );
                ensure!(
                    flags || wanted.mode != Mode::Private,
                    "--userns private: needs --uidmap, --gidmap or --subuidname"
                );
            }
        }
        if wanted.ranges.uids.is_empty() {
            wanted.ranges.uids.clone_from(&wanted.ranges.gids);
        } else if wanted.ranges.gids.is_empty() {
            wanted.ranges.gids.clone_from(&wanted.ranges.uids);
        }
        if wanted.mode == Mode::Private && wanted.names.is_none() {
            wanted.ranges.check()?;
        }
        Ok(wanted)
    }

    fn parse_mode(&mut self, text: &str) -> Result<Mode> {
        let (word, rest) = text.split_once(':').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let number = |value: &str| value.parse::<u32>().ok().with_context(|| format!("{value:?} is no number"));
        Ok(match (word, rest) {
            ("" | "host", None) => Mode::Host,
            ("private", None) => Mode::Private,
            ("nomap", None) => Mode::NoMap,
            ("keep-id", None) => Mode::KeepId(None, None),
            ("keep-id", Some(rest)) => {
                let (mut uid, mut gid) = (None, None);
                for option in rest.split(',') {
                    match option.split_once('=') {
                        Some(("uid", value)) => uid = Some(number(value)?),
                        Some(("gid", value)) => gid = Some(number(value)?),
                        _ => bail!("{option:?}: must be uid=N or gid=N"),
                    }
                }
                Mode::KeepId(uid, gid)
            }
            ("auto", rest) => self.parse_auto(rest.unwrap_or_default())?,
            ("container", Some(name)) if !name.is_empty() => Mode::Container(name.to_owned()),
            ("ns", Some(path)) if path.starts_with('/') => Mode::Path(path.into()),
            _ => bail!("must be host, private, keep-id, nomap, auto, container:NAME or ns:PATH"),
        })
    }

    /// Parses `size=N`, `uidmapping=RANGE` and `gidmapping=RANGE` of `auto`.
    fn parse_auto(&mut self, options: &str) -> Result<Mode> {
        let mut size = None;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", value)) => {
                    let count = value.parse::<u32>().ok().filter(|count| *count > 0);
                    size = Some(count.with_context(|| format!("size={value}: must be a number above 0"))?);
                }
                Some(("uidmapping", value)) => self.ranges.uids.push(Range::parse(value)?),
                Some(("gidmapping", value)) => self.ranges.gids.push(Range::parse(value)?),
                _ => bail!("{option:?}: must be size=N, uidmapping=C:H:N or gidmapping=C:H:N"),
            }
        }
        Ok(Mode::Auto(size))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn of(mode: Option<&str>, uids: &[&str], names: [Option<&str>; 2]) -> Result<Wanted> {
        let uids = uids.iter().map(|text| Range::parse(text)).collect::<Result<_>>()?;
        Wanted::parse(mode, Mapping { uids, gids: Vec::new() }, names.map(|name| name.map(str::to_owned)))
    }

    #[test]
    fn a_mode_and_ranges_name_a_namespace() {
        let mode = |text| of(Some(text), &[], [None, None]).map(|wanted| wanted.mode);
        assert_eq!(mode("host").unwrap(), Mode::Host);
        assert_eq!(mode("keep-id:uid=5,gid=6").unwrap(), Mode::KeepId(Some(5), Some(6)));
        assert_eq!(mode("auto:size=9").unwrap(), Mode::Auto(Some(9)));
        assert_eq!(mode("container:a").unwrap(), Mode::Container("a".to_owned()));
        for bad in ["other", "private", "keep-id:x", "auto:size=0", "auto:x=1", "container:", "ns:x", "nomap:1"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        let ranges = of(None, &["0:100000:10", "10:5"], [None, None]).unwrap();
        assert!(ranges.mode == Mode::Private && ranges.ranges.gids == ranges.ranges.uids, "{ranges:?}");
        assert_eq!(ranges.ranges.to_outside((9, 10)), Some((100_009, 5)));
        assert_eq!(ranges.ranges.to_outside((11, 0)), None);
        assert_eq!(ranges.ranges.to_inside((100_003, 7)), (3, 65534));
        for bad in
            [&["0:1:0"][..], &["0:0:9", "5:100:1"], &["0:9:5", "10:11:1"], &["1:5:9"], &["x"], &["0:4294967295:2"]]
        {
            assert!(of(None, bad, [None, None]).is_err(), "{bad:?}");
        }
        assert!(of(Some("auto"), &["0:1:5"], [None, None]).is_err());
        assert!(of(None, &["0:1:5"], [Some("me"), None]).is_err());
        assert_eq!(of(None, &[], [None, Some("me")]).unwrap().names, Some(("me".to_owned(), "me".to_owned())));
    }

    #[test]
    fn the_files_of_the_kernel_are_read_as_they_are_written() {
        let mapping = of(None, &["0:100000:10", "10:5:1"], [None, None]).unwrap().ranges;
        let [uids, gids] = mapping.files();
        assert_eq!(uids, "0 100000 10\n10 5 1\n");
        assert_eq!(Mapping::of_files([&uids, &gids]).unwrap(), mapping);
    }
}
