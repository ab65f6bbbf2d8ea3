//! Conversion of the parsed flags to the structures of `args`: one function for each verb.
//!
//! Parses numbers and checks words against their lists; each error names its flag.

mod checkpoint;

use base::coded;
use base::error::{Code, Coding as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::args::{
    CgroupManager, Create, Delete, Document, Events, Exec, Format, Gc, Global, Kill, List, LogFormat, LogLevel, Plan,
    Ps, Run, SpecArgs, State, Update, Validate, Verb, Why,
};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;
pub(super) use checkpoint::{checkpoint, mounts, restore};

/// Converts the flags before the verb. Returns the flags before an error too, because they name the log.
pub(super) fn global(args: &mut ParsedArgs) -> (Global, Result<()>) {
    let mut global = Global::default();
    let result = fill_global(args, &mut global);
    (global, result)
}

fn fill_global(args: &mut ParsedArgs, global: &mut Global) -> Result<()> {
    global.log = args.text("log")?.filter(|log| !log.is_empty());
    global.log_format = args.choice("log-format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
    let levels = [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    global.log_level = args.choice("log-level", &levels)?;
    if args.switch("debug")? {
        global.log_level = LogLevel::Debug;
    }
    global.root = args.raw("root").map(PathBuf::from);
    // an error, because the default would not be the state root of the caller's other calls
    ensure!(
        global.root.as_ref().is_none_or(|root| !root.as_os_str().is_empty()),
        coded!(UsageValue, "--root: is empty")
    );
    global.criu = args.path("criu");
    let when = |text: &str| match text {
        "auto" => Ok(None),
        _ => values::parse_bool(text)
            .map(Some)
            .map_err(|_| anyhow::anyhow!(coded!(UsageValue, "must be auto, true or false"))),
    };
    global.rootless = args.parsed("rootless", when)?.flatten();
    let manager = |text: &str| match text {
        "cgroupfs" => Ok(CgroupManager::Cgroupfs),
        "disabled" => Ok(CgroupManager::Disabled),
        "systemd" => Ok(CgroupManager::Systemd),
        _ => bail!(coded!(UsageValue, "must be one of cgroupfs, systemd, disabled")),
    };
    global.cgroup_manager = args.parsed("cgroup-manager", manager)?.unwrap_or_default();
    // Podman sends both for a container without a cgroup
    if args.switch("systemd-cgroup")? && global.cgroup_manager != CgroupManager::Disabled {
        global.cgroup_manager = CgroupManager::Systemd;
    }
    Ok(())
}

fn preserve_fds(args: &mut ParsedArgs) -> Result<u32> {
    // a descriptor is an int, and the first one is 3
    let number = args.parsed("preserve-fds", |text| values::unsigned(text, i32::MAX as u64 - 3))?;
    Ok(number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default())
}

fn creation(args: &mut ParsedArgs) -> Result<Create> {
    Ok(Create {
        bundle: args.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        config: args.path("config"),
        console_socket: args.path("console-socket"),
        console: None,
        pidfd_socket: args.path("pidfd-socket"),
        pid_file: args.path("pid-file"),
        no_pivot: args.switch("no-pivot")?,
        no_new_keyring: args.switch("no-new-keyring")?,
        preserve_fds: preserve_fds(args)?,
        no_subreaper: args.switch("no-subreaper")?,
        no_verify: args.switch("no-verify")?,
        record_seccomp: None,
        id: args.id(),
    })
}

pub(super) fn create(args: &mut ParsedArgs) -> Result<Verb> {
    if args.switch("dry-run")? {
        return Ok(Verb::Plan(Plan { create: creation(args)?, format: Format::Table }));
    }
    args.switch("detach")?; // accepted because go-runc can send it
    creation(args).map(Verb::Create)
}

pub(super) fn run(args: &mut ParsedArgs) -> Result<Verb> {
    let (detach, keep) = (args.switch("detach")?, args.switch("keep")?);
    let create = Create { record_seccomp: args.path("record-seccomp"), ..creation(args)? };
    ensure!(
        !(detach && create.record_seccomp.is_some()),
        coded!(UsageArguments, "--record-seccomp excludes --detach, because croci must see the program's calls")
    );
    Ok(Verb::Run(Run { create, detach, keep }))
}

pub(super) fn start(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Start(std::mem::take(&mut args.operands)))
}

pub(super) fn state(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::State(State { verify: args.switch("verify")?, id: args.id() }))
}

pub(super) fn pause(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Pause(args.id()))
}

pub(super) fn resume(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Resume(args.id()))
}

pub(super) fn kill(args: &mut ParsedArgs) -> Result<Verb> {
    let (all, regex) = (args.switch("all")?, args.switch("regex")?);
    Ok(Verb::Kill(Kill { id: args.id(), signal: args.operands.pop(), all, regex }))
}

pub(super) fn delete(args: &mut ParsedArgs) -> Result<Verb> {
    let (force, regex) = (args.switch("force")?, args.switch("regex")?);
    Ok(Verb::Delete(Delete { ids: std::mem::take(&mut args.operands), force, regex }))
}

pub(super) fn exec(args: &mut ParsedArgs) -> Result<Verb> {
    let exec = Exec {
        process: args.path("process").map(Document::File),
        detach: args.switch("detach")?,
        tty: args.switch("tty")?,
        console_socket: args.path("console-socket"),
        console: None,
        pid_file: args.path("pid-file"),
        pidfd_socket: args.path("pidfd-socket"),
        preserve_fds: preserve_fds(args)?,
        cwd: args.text("cwd")?.filter(|cwd| !cwd.is_empty()),
        env: args.texts("env")?,
        // an empty value is kept and later an error, because without --user the process could run as root (SEC-7)
        user: args.text("user")?,
        additional_gids: gids(&args.texts("additional-gids")?)?,
        no_new_privs: args.switch("no-new-privs")?,
        caps: args.texts("cap")?,
        apparmor: args.text("apparmor")?.filter(|profile| !profile.is_empty()),
        process_label: args.text("process-label")?.filter(|label| !label.is_empty()),
        cgroup: args.texts("cgroup")?,
        ignore_paused: args.switch("ignore-paused")?,
        no_subreaper: args.switch("no-subreaper")?,
        no_verify: args.switch("no-verify")?,
        id: args.id(),
        command: args.trailing_args(),
    };
    match (&exec.process, exec.command.is_empty()) {
        (None, true) => bail!(coded!(UsageArguments, "a COMMAND, or --process FILE, must be given")),
        (Some(_), false) => bail!(coded!(UsageArguments, "a COMMAND and --process FILE exclude each other")),
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
    each.map(|text| gid(text).with_code(Code::ProcessUser, || format!("--additional-gids {text:?}"))).collect()
}

const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];

pub(super) fn ps(args: &mut ParsedArgs) -> Result<Verb> {
    let format = args.choice("format", FORMATS)?;
    Ok(Verb::Ps(Ps { id: args.id(), format, options: args.trailing_args() }))
}

pub(super) fn list(args: &mut ParsedArgs) -> Result<Verb> {
    args.switch("all")?; // accepted because crun has it
    Ok(Verb::List(List { format: args.choice("format", FORMATS)?, quiet: args.switch("quiet")? }))
}

/// The type of a flag's value in `update`.
enum Setting {
    /// A number from 0 to this one.
    Unsigned(u64),
    /// A number; -1 for no limit.
    Signed,
    /// A size in bytes; -1 for no limit.
    Size,
    /// A line of text that the kernel parses.
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

pub(super) fn update(args: &mut ParsedArgs) -> Result<Verb> {
    let resources = args.path("resources").map(Document::File);
    let mut settings = Vec::new();
    for (name, setting) in SETTINGS {
        let place = args.place(name);
        let Some(text) = args.text(name)?.filter(|text| !text.is_empty()) else { continue };
        let value = match setting {
            Setting::Unsigned(most) => values::unsigned(&text, *most).map(|number| number.to_string()),
            Setting::Signed => values::signed(&text).map(|number| number.to_string()),
            Setting::Size => values::size(&text).map(|bytes| bytes.to_string()),
            // because the kernel would read a second line as another setting
            Setting::Text if text.contains('\n') => Err(anyhow::anyhow!(coded!(UsageValue, "must be one line"))),
            Setting::Text => Ok(text.clone()),
        };
        let value = value.with_context(|| format!("--{name} {text:?}"))?;
        settings.push((place, ((*name).to_owned(), value)));
    }
    settings.sort_by_key(|(place, _)| *place);
    let settings = settings.into_iter().map(|(_, setting)| setting).collect();
    Ok(Verb::Update(Box::new(Update { id: args.id(), resources, settings })))
}

pub(super) fn events(args: &mut ParsedArgs) -> Result<Verb> {
    let interval_ms = args.parsed("interval", values::parse_duration_ms)?.unwrap_or(5_000);
    Ok(Verb::Events(Events { id: args.id(), interval_ms, stats: args.switch("stats")? }))
}

pub(super) fn spec(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Spec(SpecArgs {
        bundle: args.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        file: args.path("file"),
        rootless: args.switch("rootless")?,
    }))
}

pub(super) fn wait(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Wait(std::mem::take(&mut args.operands)))
}

pub(super) fn gc(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Gc(Gc { dry_run: args.switch("dry-run")? }))
}

pub(super) fn why(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Why(Why { format: args.choice("format", FORMATS)?, id: args.id() }))
}

pub(super) fn validate(args: &mut ParsedArgs) -> Result<Verb> {
    let bundle = args.path("bundle").unwrap_or_else(|| PathBuf::from("."));
    Ok(Verb::Validate(Validate { bundle, host: args.switch("host")?, format: args.choice("format", FORMATS)? }))
}

pub(super) fn plan(args: &mut ParsedArgs) -> Result<Verb> {
    let create = Create {
        bundle: args.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        config: args.path("config"),
        no_pivot: args.switch("no-pivot")?,
        ..Create::default()
    };
    let format = args.choice("format", FORMATS)?;
    let id = if args.operands.is_empty() { "plan".to_owned() } else { args.id() };
    Ok(Verb::Plan(Plan { create: Create { id, ..create }, format }))
}

pub(super) fn explain(args: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Explain(std::mem::take(&mut args.operands)))
}

pub(super) fn features(_: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Features)
}
