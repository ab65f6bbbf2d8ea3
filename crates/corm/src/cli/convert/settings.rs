//! Conversion of the flags of a new container's settings.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;

use crate::config::settings::Settings;
use crate::config::settings::accounts::Accounts;
use crate::config::settings::capabilities::Changes;
use crate::config::settings::devices::Device;
use crate::config::settings::limits::{self, CPU_PERIOD, Limits, Ulimit};
use crate::config::settings::names::Names;
use crate::config::settings::namespaces::{Mode, Namespaces};
use crate::config::settings::security::Security;
use crate::config::settings::throttle::{self, OfDevice, RATES, Rule, Throttle};
use crate::config::settings::tmpfs::Tmpfs;
use crate::config::settings::userns::{Mapping, Range, Wanted};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;
use base::signal;

/// Longest `--stop-timeout`, in seconds.
const MAX_TIMEOUT: u64 = u32::MAX as u64;

/// Converts the flags of `syntax::settings`, with `--memory`, `--cpus` and `--pids-limit`.
pub(super) fn settings(given: &mut ParsedArgs) -> Result<Settings> {
    let capabilities = Changes::parse(&given.texts("cap-add")?, &given.texts("cap-drop")?)?;
    Ok(Settings {
        security: Security::parse(given.switch("privileged")?, capabilities, &given.texts("security-opt")?)?,
        limits: limits(given)?,
        throttle: throttle(given)?,
        namespaces: namespaces(given)?,
        userns: user_namespace(given)?,
        names: names(given)?,
        devices: each(given, "device", Device::parse)?,
        tmpfs: each(given, "tmpfs", Tmpfs::parse)?,
        volumes_from: given.texts("volumes-from")?,
        groups: given.texts("group-add")?.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect(),
        annotations: each(given, "annotation", annotation)?.into_iter().collect(),
        init: given.switch("init")?,
        init_path: given.path("init-path"),
        stop_signal: given.parsed("stop-signal", |text| signal::parse(text).map(|_| text.to_owned()))?,
        stop_timeout: given.parsed("stop-timeout", |text| values::unsigned(text, MAX_TIMEOUT))?,
        umask: given.parsed("umask", umask)?,
        zone: given.text("tz")?,
        env_host: given.switch("env-host")?,
        proxies: given.parsed("http-proxy", values::parse_bool)?.unwrap_or(true),
        accounts: accounts(given)?,
        unset_env: given.texts("unsetenv")?,
        unset_all_env: given.switch("unsetenv-all")?,
        no_read_only_tmpfs: given.parsed("read-only-tmpfs", values::parse_bool)? == Some(false),
        replace: given.switch("replace")?,
        mounts: given.texts("mount")?,
    })
}

/// Converts the flags of `build` for its commands: limits, names of hosts, what they may do.
pub(super) fn of_build(given: &mut ParsedArgs) -> Result<Settings> {
    let capabilities = Changes::parse(&given.texts("cap-add")?, &given.texts("cap-drop")?)?;
    Ok(Settings {
        security: Security::parse(false, capabilities, &given.texts("security-opt")?)?,
        throttle: Throttle {
            parent: given.parsed("cgroup-parent", throttle::parent)?,
            own_cgroups: given.parsed("cgroupns", throttle::own_cgroups)?,
            ..Throttle::default()
        },
        namespaces: namespaces(given)?,
        devices: each(given, "device", Device::parse)?,
        proxies: given.parsed("http-proxy", values::parse_bool)?.unwrap_or(true),
        limits: Limits {
            memory: given.parsed("memory", memory)?.flatten(),
            memory_swap: given.parsed("memory-swap", values::size)?.filter(|&bytes| bytes != 0),
            cpu_quota: given.parsed("cpu-quota", values::signed)?.filter(|&quota| quota != 0),
            cpu_period: given.parsed("cpu-period", cpu_period)?.filter(|&period| period != 0),
            cpu_shares: given
                .parsed("cpu-shares", |text| values::unsigned(text, 262_144))?
                .filter(|&shares| shares != 0),
            cpuset_cpus: given.parsed("cpuset-cpus", limits::cpu_list)?,
            cpuset_mems: given.parsed("cpuset-mems", limits::cpu_list)?,
            shm_size: given.parsed("shm-size", shm_size)?,
            ulimits: each(given, "ulimit", Ulimit::parse)?,
            ..Limits::default()
        },
        names: names(given)?,
        ..Settings::default()
    })
}

/// Converts each value of a repeatable flag; an error names the flag and the value.
fn each<T>(given: &mut ParsedArgs, name: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    let texts = given.texts(name)?;
    texts.iter().map(|text| parse(text).with_context(|| format!("--{name} {text:?}"))).collect()
}

fn names(given: &mut ParsedArgs) -> Result<Names> {
    let lists = ["add-host", "dns", "dns-search", "dns-option"].map(|name| given.texts(name));
    let [hosts, dns, search, options] = lists;
    let names = Names::parse(&hosts?, &dns?, &search?, &options?)?;
    Ok(Names { no_hosts: given.switch("no-hosts")?, ..names })
}

fn namespaces(given: &mut ParsedArgs) -> Result<Namespaces> {
    let mut mode = |name: &str| given.parsed(name, |text| Mode::parse(text, name == "ipc"));
    Ok(Namespaces {
        pid: mode("pid")?.unwrap_or_default(),
        ipc: mode("ipc")?.unwrap_or_default(),
        uts: mode("uts")?.unwrap_or_default(),
    })
}

fn user_namespace(given: &mut ParsedArgs) -> Result<Wanted> {
    let ranges = Mapping { uids: each(given, "uidmap", Range::parse)?, gids: each(given, "gidmap", Range::parse)? };
    let names = [given.text("subuidname")?, given.text("subgidname")?];
    Wanted::parse(given.text("userns")?.as_deref(), ranges, names)
}

fn throttle(given: &mut ParsedArgs) -> Result<Throttle> {
    let mut devices = each(given, "blkio-weight-device", OfDevice::weight)?;
    for (flag, key) in RATES {
        devices.extend(each(given, flag, |text| OfDevice::rate(text, key))?);
    }
    Ok(Throttle {
        devices,
        rules: each(given, "device-cgroup-rule", Rule::parse)?,
        parent: given.parsed("cgroup-parent", throttle::parent)?,
        own_cgroups: given.parsed("cgroupns", throttle::own_cgroups)?,
        personality: given.parsed("personality", throttle::personality)?,
    })
}

fn accounts(given: &mut ParsedArgs) -> Result<Option<Accounts>> {
    let accounts = Accounts {
        passwd_entry: given.text("passwd-entry")?,
        group_entry: given.text("group-entry")?,
        host_users: given.texts("hostuser")?,
    };
    let wanted = given.parsed("passwd", values::parse_bool)?.unwrap_or(true);
    Ok(wanted.then_some(accounts))
}

fn limits(given: &mut ParsedArgs) -> Result<Limits> {
    let cpus = given.parsed("cpus", cpu_quota)?;
    let (quota, period) = (given.parsed("cpu-quota", values::signed)?, given.parsed("cpu-period", cpu_period)?);
    ensure!(
        cpus.is_none() || quota.or(period.map(|_| 0)).is_none(),
        coded!(UsageArguments, "--cpus: excludes --cpu-quota and --cpu-period")
    );
    let weight = |text: &str| ranged(text, 10, 1000);
    Ok(Limits {
        memory: given.parsed("memory", memory)?.flatten(),
        memory_swap: given.parsed("memory-swap", values::size)?.filter(|&bytes| bytes != 0),
        memory_reservation: given.parsed("memory-reservation", memory)?.flatten(),
        // -1 is the machine's own
        memory_swappiness: given
            .parsed("memory-swappiness", |text| ranged(text, -1, 100))?
            .and_then(|number| u64::try_from(number).ok()),
        oom_kill_disable: given.switch("oom-kill-disable")?,
        oom_score_adj: given.parsed("oom-score-adj", |text| ranged(text, -1000, 1000))?,
        cpu_quota: cpus.or(quota.filter(|&quota| quota != 0)),
        cpu_period: period.filter(|&period| period != 0),
        cpu_shares: given.parsed("cpu-shares", |text| values::unsigned(text, 262_144))?.filter(|&shares| shares != 0),
        cpuset_cpus: given.parsed("cpuset-cpus", limits::cpu_list)?,
        cpuset_mems: given.parsed("cpuset-mems", limits::cpu_list)?,
        pids_limit: given.parsed("pids-limit", pids)?,
        blkio_weight: given.parsed("blkio-weight", weight)?.and_then(|number| u64::try_from(number).ok()),
        shm_size: given.parsed("shm-size", shm_size)?,
        ulimits: each(given, "ulimit", Ulimit::parse)?,
        sysctls: limits::sysctls(&given.texts("sysctl")?)?,
    })
}

/// Converts a number of a range.
fn ranged(text: &str, least: i64, most: i64) -> Result<i64> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => bail!(coded!(UsageValue, "must be a number from {least} to {most}")),
    }
}

/// Converts `--cpus`, a decimal number such as `1.5`. The kernel accepts no quota below a millisecond.
pub(super) fn cpu_quota(text: &str) -> Result<i64> {
    match text.parse::<f64>() {
        Ok(number) if (0.01..=1e6).contains(&number) => Ok((number * CPU_PERIOD as f64).round() as i64),
        _ => bail!(coded!(UsageValue, "must be a number, 0.01 or more")),
    }
}

/// Converts `--cpu-period`, of which the kernel accepts 1 ms to 1 s.
fn cpu_period(text: &str) -> Result<u64> {
    let period = values::unsigned(text, 1_000_000)?;
    ensure!(period == 0 || period >= 1000, coded!(UsageValue, "must be 1000 or more"));
    Ok(period)
}

/// Converts a size above 0.
pub(super) fn size(text: &str) -> Result<u64> {
    match u64::try_from(values::size(text)?) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => bail!(coded!(UsageValue, "must be above 0")),
    }
}

/// Converts `--memory`; 0 and -1 mean no limit, as in Docker and Podman.
fn memory(text: &str) -> Result<Option<u64>> {
    if matches!(values::size(text), Ok(0 | -1)) { Ok(None) } else { size(text).map(Some) }
}

/// Converts `--shm-size`; 0 means no limit.
fn shm_size(text: &str) -> Result<u64> {
    u64::try_from(values::size(text)?).ok().context("must be 0 or more")
}

pub(super) fn pids(text: &str) -> Result<i64> {
    let number = values::signed(text)?;
    ensure!(number == -1 || number > 0, coded!(UsageValue, "must be above 0, or -1 for no limit"));
    Ok(number)
}

/// Converts an octal number up to 0777.
fn umask(text: &str) -> Result<u32> {
    let mask = u32::from_str_radix(text, 8).ok().filter(|&mask| mask <= 0o777 && !text.starts_with('+'));
    mask.context("must be an octal number from 0 to 0777")
}

fn annotation(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').context("must be KEY=VALUE")?;
    ensure!(!key.is_empty(), coded!(UsageValue, "must be KEY=VALUE"));
    Ok((key.to_owned(), value.to_owned()))
}
