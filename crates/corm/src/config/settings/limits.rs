//! Limits of memory, CPU, processes and others, and `--ulimit` and `--sysctl`.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use base::cli_parser::values;
use base::cpu_set::CpuSet;

/// Period of `--cpus`, in microseconds.
pub const CPU_PERIOD: u64 = 100_000;

/// Default limit of processes: ample, and low enough to stop a fork bomb.
const MAX_PROCESSES: i64 = 2048;

/// Limits of open files: soft for select(2), hard as systemd's.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// Names of `--ulimit`, which are those of `RLIMIT_*`.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Kernel parameters of an IPC namespace, beside `fs.mqueue.*`.
const IPC_SYSCTLS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// A limit of `--ulimit`; `u64::MAX` is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Name, a word of `ULIMITS`.
    name: &'static str,
    /// Soft limit.
    soft: u64,
    /// Hard limit.
    hard: u64,
}

impl Ulimit {
    /// Parses `NAME=SOFT[:HARD]`, where -1 and `unlimited` are no limit; the hard limit is the soft one by default.
    ///
    /// # Errors
    /// An unknown name, no number, a soft limit above the hard one.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, limits) = text.split_once('=').context("must be NAME=SOFT[:HARD]")?;
        let found = ULIMITS.iter().find(|known| known.eq_ignore_ascii_case(name));
        let name = found.with_context(|| format!("unknown limit (there are {})", ULIMITS.join(", ")))?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| match text {
            "-1" | "unlimited" => Ok(u64::MAX),
            _ => values::unsigned(text, i64::MAX as u64),
        };
        let limit = Self { name, soft: number(soft)?, hard: number(hard)? };
        ensure!(limit.soft <= limit.hard, coded!(UsageValue, "the soft limit is above the hard one"));
        Ok(limit)
    }
}

/// Limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory and swap in bytes; -1 for no limit.
    pub memory_swap: Option<i64>,
    /// Memory in bytes above which the kernel reclaims first.
    pub memory_reservation: Option<u64>,
    /// Tendency to swap, 0 to 100; only cgroup v1 has it.
    pub memory_swappiness: Option<u64>,
    /// Whether processes wait for memory and are not killed; only cgroup v1 has it.
    pub oom_kill_disable: bool,
    /// Change of the processes' OOM score, -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// CPU time in microseconds for each period.
    pub cpu_quota: Option<i64>,
    /// Period in microseconds; absent: [`CPU_PERIOD`].
    pub cpu_period: Option<u64>,
    /// Relative weight of CPU time.
    pub cpu_shares: Option<u64>,
    /// CPUs that it may use, such as `0-3,8`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that it may use.
    pub cpuset_mems: Option<String>,
    /// Maximum number of processes; -1 for no limit.
    pub pids_limit: Option<i64>,
    /// Relative weight of block I/O, 10 to 1000.
    pub blkio_weight: Option<u64>,
    /// Size of /dev/shm in bytes; 0 for no limit.
    pub shm_size: Option<u64>,
    /// Limits of each process.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
}

/// Parses `--cpuset-cpus` and `--cpuset-mems`.
///
/// # Errors
/// No list of numbers and ranges.
pub fn cpu_list(text: &str) -> Result<String> {
    CpuSet::parse(text)?;
    ensure!(!text.trim().is_empty(), coded!(UsageValue, "must be a list like 0-3,8"));
    Ok(text.to_owned())
}

/// Parses the values of `--sysctl`: kernel parameters of the container's own namespaces.
///
/// # Errors
/// Another parameter, which the whole machine would have.
pub fn sysctls(texts: &[String]) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for text in texts {
        let context = || format!("--sysctl {text:?}");
        let (name, value) = text.split_once('=').with_context(|| format!("{}: must be NAME=VALUE", context()))?;
        // a name with slashes is one, too
        let dotted = name.replace('/', ".");
        let (net, ipc) = (dotted.starts_with("net."), dotted.starts_with("fs.mqueue."));
        let uts = ["kernel.domainname", "kernel.hostname"].contains(&dotted.as_str());
        if !net && !ipc && !uts && !IPC_SYSCTLS.contains(&dotted.as_str()) {
            bail!(coded!(
                UsageValue,
                "{}: is of no namespace of the container: the whole machine would have it",
                context()
            ));
        }
        found.insert(name.to_owned(), value.to_owned());
    }
    Ok(found)
}

impl Limits {
    /// Checks the limits against each other.
    ///
    /// # Errors
    /// Two that exclude each other, as in Docker and Podman.
    pub fn check(&self) -> Result<()> {
        if let Some(swap) = self.memory_swap {
            let memory = self.memory.code(Code::UsageValue, "--memory-swap: needs --memory")?;
            let above = swap == -1 || u64::try_from(swap).is_ok_and(|swap| swap >= memory);
            ensure!(
                above,
                coded!(UsageValue, "--memory-swap: must not be below --memory, because it includes the memory")
            );
        }
        let above = self.memory.zip(self.memory_reservation).is_some_and(|(memory, soft)| soft > memory);
        ensure!(!above, coded!(UsageValue, "--memory-reservation: must not be above --memory"));
        let number =
            |bytes: u64, flag: &str| i64::try_from(bytes).map(drop).with_context(|| format!("{flag}: too large"));
        self.memory.map_or(Ok(()), |bytes| number(bytes, "--memory"))?;
        self.memory_reservation.map_or(Ok(()), |bytes| number(bytes, "--memory-reservation"))
    }

    /// Returns `linux.resources`, without the devices.
    ///
    /// # Errors
    /// A limit that this machine's cgroups do not have.
    pub fn resources(&self, unprivileged: bool, cgroup_v2: bool) -> Result<Value> {
        let mut resources = json!({});
        // without privileges there may be no writable cgroup: only explicit limits are set, and may fail
        if let Some(limit) = self.pids_limit.or((!unprivileged).then_some(MAX_PROCESSES)) {
            resources["pids"] = json!({"limit": limit});
        }
        ensure!(
            !cgroup_v2 || !self.oom_kill_disable,
            coded!(ConfigUnsupported, "--oom-kill-disable: cgroup v2 has no such setting")
        );
        ensure!(
            !cgroup_v2 || self.memory_swappiness.is_none(),
            coded!(ConfigUnsupported, "--memory-swappiness: cgroup v2 has no such setting")
        );
        let period = self.cpu_period.or(self.cpu_quota.map(|_| CPU_PERIOD));
        let mut set = |part: &str, name: &str, value: Value| {
            if !value.is_null() {
                resources[part][name] = value;
            }
        };
        set("memory", "limit", json!(self.memory));
        set("memory", "swap", json!(self.memory_swap));
        set("memory", "reservation", json!(self.memory_reservation));
        set("memory", "swappiness", json!(self.memory_swappiness));
        set("memory", "disableOOMKiller", json!(self.oom_kill_disable.then_some(true)));
        set("cpu", "quota", json!(self.cpu_quota));
        set("cpu", "period", json!(period));
        set("cpu", "shares", json!(self.cpu_shares));
        set("cpu", "cpus", json!(self.cpuset_cpus));
        set("cpu", "mems", json!(self.cpuset_mems));
        set("blockIO", "weight", json!(self.blkio_weight));
        Ok(resources)
    }

    /// Returns `process.rlimits`; `most_files` is the hard limit of corm's own open files.
    fn rlimits(&self, most_files: u64) -> Value {
        let hard = OPEN_FILES.1.min(most_files);
        let nofile = Ulimit { name: "nofile", soft: OPEN_FILES.0.min(hard), hard };
        let mut all: BTreeMap<&str, &Ulimit> = BTreeMap::from([("nofile", &nofile)]);
        // the last of one name counts
        all.extend(self.ulimits.iter().map(|limit| (limit.name, limit)));
        let entry = |limit: &&Ulimit| {
            let name = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
            json!({"type": name, "hard": limit.hard, "soft": limit.soft})
        };
        json!(all.values().map(entry).collect::<Vec<_>>())
    }

    /// Writes the process, `linux` and the size of /dev/shm of a configuration.
    ///
    /// # Errors
    /// As [`Limits::resources`].
    pub fn apply(&self, config: &mut Value, unprivileged: bool, cgroup_v2: bool, most_files: u64) -> Result<()> {
        config["process"]["rlimits"] = self.rlimits(most_files);
        if let Some(score) = self.oom_score_adj {
            config["process"]["oomScoreAdj"] = json!(score);
        }
        config["linux"]["resources"] = self.resources(unprivileged, cgroup_v2)?;
        if !self.sysctls.is_empty() {
            config["linux"]["sysctl"] = json!(self.sysctls);
        }
        if let Some(size) = self.shm_size {
            let shm = |mount: &&mut Value| mount.get("destination") == Some(&json!("/dev/shm"));
            let mount = config["mounts"].as_array_mut().and_then(|mounts| mounts.iter_mut().find(shm));
            if let Some(Value::Array(options)) = mount.and_then(|mount| mount.get_mut("options")) {
                options.retain(|option| !option.as_str().is_some_and(|option| option.starts_with("size=")));
                options.push(json!(format!("size={size}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ulimits_are_named_and_ordered() {
        let parse = |text: &str| Ulimit::parse(text).map(|limit| (limit.name, limit.soft, limit.hard));
        assert_eq!(parse("nofile=10:20").unwrap(), ("nofile", 10, 20));
        assert_eq!(parse("CORE=0").unwrap(), ("core", 0, 0));
        assert_eq!(parse("memlock=-1:-1").unwrap(), ("memlock", u64::MAX, u64::MAX));
        for bad in ["nofile", "nofile=", "nofile=2:1", "files=1", "=1", "nofile=1:2:3", "nofile=-2", "nofile=-1:5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let limits = Limits { ulimits: vec![Ulimit::parse("nofile=5").unwrap()], ..Limits::default() };
        assert_eq!(limits.rlimits(4096), json!([{"type": "RLIMIT_NOFILE", "hard": 5, "soft": 5}]));
    }

    #[test]
    fn limits_that_exclude_each_other_are_told() {
        let of = |memory, memory_swap, memory_reservation| {
            Limits { memory, memory_swap, memory_reservation, ..Limits::default() }.check()
        };
        assert!(of(Some(9), Some(9), Some(9)).is_ok() && of(Some(9), Some(-1), None).is_ok());
        assert!(of(None, Some(9), None).is_err() && of(Some(9), Some(8), None).is_err());
        assert!(of(Some(9), None, Some(10)).is_err() && of(Some(u64::MAX), None, None).is_err());
        let v1_only = Limits { oom_kill_disable: true, ..Limits::default() };
        assert!(v1_only.resources(false, false).is_ok() && v1_only.resources(false, true).is_err());
    }

    #[test]
    fn without_privileges_only_what_is_asked_for_is_limited() {
        assert_eq!(Limits::default().resources(true, true).unwrap(), json!({}));
        assert_eq!(Limits::default().resources(false, true).unwrap(), json!({"pids": {"limit": MAX_PROCESSES}}));
    }

    #[test]
    fn sysctls_are_those_of_namespaces() {
        let parse = |text: &str| sysctls(&[text.to_owned()]);
        for good in ["net.ipv4.ip_forward=1", "kernel.shmmax=1", "fs.mqueue.msg_max=9", "net/core/somaxconn=1"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["vm.swappiness=1", "kernel.core_pattern=x", "net.a", "=1", "fs.file-max=1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(cpu_list("0-1,3").is_ok() && cpu_list("").is_err() && cpu_list("x").is_err());
    }
}
