//! From the flags that were given to the structures of `args`: one function per verb.
//!
//! Numbers are parsed and words are checked against their lists here; each error names its flag.

mod checkpoint;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::args::{
    CgroupManager, Create, Delete, Events, Exec, Format, Global, Kill, List, LogFormat, LogLevel, Ps, Run, SpecArgs,
    State, Update, Verb,
};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;
pub(super) use checkpoint::{checkpoint, mounts, restore};

/// Words before the verb. What was understood is there also beside an error, so that the error can go to the log.
pub(super) fn global(given: &mut ParsedArgs) -> (Global, Result<()>) {
    let mut global = Global::default();
    let result = fill_global(given, &mut global);
    (global, result)
}

fn fill_global(given: &mut ParsedArgs, global: &mut Global) -> Result<()> {
    global.log = given.text("log")?.filter(|log| !log.is_empty());
    global.log_format = given.choice("log-format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
    let levels = [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    global.log_level = given.choice("log-level", &levels)?;
    if given.switch("debug")? {
        global.log_level = LogLevel::Debug;
    }
    global.root = given.raw("root").map(PathBuf::from);
    // the default instead would be another directory than the caller's other calls use
    ensure!(global.root.as_ref().is_none_or(|root| !root.as_os_str().is_empty()), "--root: is empty");
    global.criu = given.path("criu");
    let when = |text: &str| match text {
        "auto" => Ok(None),
        _ => values::parse_bool(text).map(Some).map_err(|_| anyhow::anyhow!("must be auto, true or false")),
    };
    global.rootless = given.parsed("rootless", when)?.flatten();
    let manager = |text: &str| match text {
        "cgroupfs" => Ok(CgroupManager::Cgroupfs),
        "disabled" => Ok(CgroupManager::Disabled),
        "systemd" => Ok(CgroupManager::Systemd),
        _ => bail!("must be one of cgroupfs, systemd, disabled"),
    };
    global.cgroup_manager = given.parsed("cgroup-manager", manager)?.unwrap_or_default();
    // Podman sends both for a container without a cgroup
    if given.switch("systemd-cgroup")? && global.cgroup_manager != CgroupManager::Disabled {
        global.cgroup_manager = CgroupManager::Systemd;
    }
    Ok(())
}

fn preserve_fds(given: &mut ParsedArgs) -> Result<u32> {
    // a descriptor is an int, and the first one is 3
    let number = given.parsed("preserve-fds", |text| values::unsigned(text, i32::MAX as u64 - 3))?;
    Ok(number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default())
}

fn creation(given: &mut ParsedArgs) -> Result<Create> {
    Ok(Create {
        bundle: given.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        config: given.path("config"),
        console_socket: given.path("console-socket"),
        pidfd_socket: given.path("pidfd-socket"),
        pid_file: given.path("pid-file"),
        no_pivot: given.switch("no-pivot")?,
        no_new_keyring: given.switch("no-new-keyring")?,
        preserve_fds: preserve_fds(given)?,
        no_subreaper: given.switch("no-subreaper")?,
        no_verify: given.switch("no-verify")?,
        id: given.id(),
    })
}

pub(super) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    given.switch("detach")?; // go-runc can send it; there is nothing to wait for
    creation(given).map(Verb::Create)
}

pub(super) fn run(given: &mut ParsedArgs) -> Result<Verb> {
    let (detach, keep) = (given.switch("detach")?, given.switch("keep")?);
    Ok(Verb::Run(Run { create: creation(given)?, detach, keep }))
}

pub(super) fn start(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Start(std::mem::take(&mut given.operands)))
}

pub(super) fn state(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::State(State { verify: given.switch("verify")?, id: given.id() }))
}

pub(super) fn pause(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Pause(given.id()))
}

pub(super) fn resume(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Resume(given.id()))
}

pub(super) fn kill(given: &mut ParsedArgs) -> Result<Verb> {
    let (all, regex) = (given.switch("all")?, given.switch("regex")?);
    Ok(Verb::Kill(Kill { id: given.id(), signal: given.operands.pop(), all, regex }))
}

pub(super) fn delete(given: &mut ParsedArgs) -> Result<Verb> {
    let (force, regex) = (given.switch("force")?, given.switch("regex")?);
    Ok(Verb::Delete(Delete { ids: std::mem::take(&mut given.operands), force, regex }))
}

pub(super) fn exec(given: &mut ParsedArgs) -> Result<Verb> {
    let exec = Exec {
        process: given.path("process"),
        detach: given.switch("detach")?,
        tty: given.switch("tty")?,
        console_socket: given.path("console-socket"),
        pid_file: given.path("pid-file"),
        pidfd_socket: given.path("pidfd-socket"),
        preserve_fds: preserve_fds(given)?,
        cwd: given.text("cwd")?.filter(|cwd| !cwd.is_empty()),
        env: given.texts("env")?,
        // never taken as not given: an empty user would be root (SEC-7)
        user: given.text("user")?,
        additional_gids: gids(&given.texts("additional-gids")?)?,
        no_new_privs: given.switch("no-new-privs")?,
        caps: given.texts("cap")?,
        apparmor: given.text("apparmor")?.filter(|profile| !profile.is_empty()),
        process_label: given.text("process-label")?.filter(|label| !label.is_empty()),
        cgroup: given.texts("cgroup")?,
        ignore_paused: given.switch("ignore-paused")?,
        no_subreaper: given.switch("no-subreaper")?,
        no_verify: given.switch("no-verify")?,
        id: given.id(),
        command: given.trailing_args(),
    };
    match (&exec.process, exec.command.is_empty()) {
        (None, true) => bail!("a COMMAND, or --process FILE, must be given"),
        (Some(_), false) => bail!("a COMMAND and --process FILE exclude each other"),
        _ => Ok(Verb::Exec(Box::new(exec))),
    }
}

fn gids(texts: &[String]) -> Result<Vec<u32>> {
    // 2^32-1 is the kernel's "no group"
    let gid = |text: &str| {
        let number = values::unsigned(text, u64::from(u32::MAX) - 1)?;
        u32::try_from(number).context("is no group ID")
    };
    let each = texts.iter().flat_map(|text| text.split(','));
    each.map(|text| gid(text).with_context(|| format!("--additional-gids {text:?}"))).collect()
}

const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];

pub(super) fn ps(given: &mut ParsedArgs) -> Result<Verb> {
    let format = given.choice("format", FORMATS)?;
    Ok(Verb::Ps(Ps { id: given.id(), format, options: given.trailing_args() }))
}

pub(super) fn list(given: &mut ParsedArgs) -> Result<Verb> {
    given.switch("all")?; // crun has it
    Ok(Verb::List(List { format: given.choice("format", FORMATS)?, quiet: given.switch("quiet")? }))
}

/// What the value of a flag of `update` is.
enum Setting {
    /// A number up to this one.
    Unsigned(u64),
    /// A number, -1 for no limit.
    Signed,
    /// Bytes, -1 for no limit.
    Size,
    /// Text for the kernel.
    Text,
}

const SETTINGS: &[(&str, Setting)] = &[
    ("blkio-weight", Setting::Unsigned(u16::MAX as u64)),
    ("cpu-period", Setting::Unsigned(u64::MAX)),
    ("cpu-quota", Setting::Signed),
    ("cpu-burst", Setting::Unsigned(u64::MAX)),
    ("cpu-idle", Setting::Unsigned(1)),
    ("cpu-share", Setting::Unsigned(u64::MAX)),
    ("cpu-rt-period", Setting::Unsigned(u64::MAX)),
    ("cpu-rt-runtime", Setting::Signed),
    ("cpuset-cpus", Setting::Text),
    ("cpuset-mems", Setting::Text),
    ("memory", Setting::Size),
    ("memory-reservation", Setting::Size),
    ("memory-swap", Setting::Size),
    ("kernel-memory", Setting::Size),
    ("kernel-memory-tcp", Setting::Size),
    ("pids-limit", Setting::Signed),
    ("l3-cache-schema", Setting::Text),
    ("mem-bw-schema", Setting::Text),
];

pub(super) fn update(given: &mut ParsedArgs) -> Result<Verb> {
    let resources = given.path("resources");
    let mut settings = Vec::new();
    for (name, setting) in SETTINGS {
        let place = given.place(name);
        let Some(text) = given.text(name)?.filter(|text| !text.is_empty()) else { continue };
        let value = match setting {
            Setting::Unsigned(most) => values::unsigned(&text, *most).map(|number| number.to_string()),
            Setting::Signed => values::signed(&text).map(|number| number.to_string()),
            Setting::Size => values::size(&text).map(|bytes| bytes.to_string()),
            // a second line would be a second setting for the kernel
            Setting::Text if text.contains('\n') => Err(anyhow::anyhow!("must be one line")),
            Setting::Text => Ok(text.clone()),
        };
        let value = value.with_context(|| format!("--{name} {text:?}"))?;
        settings.push((place, ((*name).to_owned(), value)));
    }
    settings.sort_by_key(|(place, _)| *place);
    let settings = settings.into_iter().map(|(_, setting)| setting).collect();
    Ok(Verb::Update(Box::new(Update { id: given.id(), resources, settings })))
}

pub(super) fn events(given: &mut ParsedArgs) -> Result<Verb> {
    let interval_ms = given.parsed("interval", values::parse_duration_ms)?.unwrap_or(5_000);
    Ok(Verb::Events(Events { id: given.id(), interval_ms, stats: given.switch("stats")? }))
}

pub(super) fn spec(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Spec(SpecArgs {
        bundle: given.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        file: given.path("file"),
        rootless: given.switch("rootless")?,
    }))
}

pub(super) fn features(_: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Features)
}
