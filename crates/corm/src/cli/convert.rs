//! Conversion of parsed flags to the types of `args`: one function per verb.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::args::{
    Archive, CPU_PERIOD, Commit, Config, Exec, Format, Global, LogLevel, Pull, PullPolicy, Push, Run, Save, Verb,
};
use crate::container::log::Limits;
use crate::driver::DriverKind;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

pub(super) fn global(given: &mut ParsedArgs) -> (Global, Result<()>) {
    let mut global = Global::default();
    let result = fill_global(given, &mut global);
    (global, result)
}

fn fill_global(given: &mut ParsedArgs, global: &mut Global) -> Result<()> {
    let levels = [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    if given.place("log-level").is_some() {
        global.log_level = given.choice("log-level", &levels)?;
    }
    global.root = given.raw("root").map(PathBuf::from);
    // an empty value is refused, because the default is another store than the caller's
    ensure!(global.root.as_ref().is_none_or(|root| !root.as_os_str().is_empty()), "--root: is empty");
    global.driver = given.parsed("driver", str::parse::<DriverKind>)?;
    global.runtime = given.path("runtime");
    for text in given.texts("layer-limit")? {
        global.layer_limits.set(&text).with_context(|| format!("--layer-limit {text:?}"))?;
    }
    Ok(())
}

const FORMATS: &[(&str, Format)] = &[("table", Format::Table), ("json", Format::Json)];

pub(super) fn init(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Init { dir: given.id().into(), name: given.operands.pop() })
}

pub(super) fn import(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Import { file: given.id().into(), name: given.operands.pop() })
}

pub(super) fn load(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Load { name: given.text("name")?, path: given.id().into() })
}

/// Converts `--tls-verify`, which is on by default.
fn tls_verify(given: &mut ParsedArgs) -> Result<bool> {
    Ok(given.parsed("tls-verify", values::parse_bool)?.unwrap_or(true))
}

pub(super) fn pull(given: &mut ParsedArgs) -> Result<Verb> {
    let (platform, tls_verify) = (given.text("platform")?, tls_verify(given)?);
    Ok(Verb::Pull(Pull { reference: given.id(), platform, tls_verify }))
}

pub(super) fn push(given: &mut ParsedArgs) -> Result<Verb> {
    let tls_verify = tls_verify(given)?;
    Ok(Verb::Push(Push { image: given.id(), reference: given.id(), tls_verify }))
}

pub(super) fn save(given: &mut ParsedArgs) -> Result<Verb> {
    let formats = [("oci-archive", Archive::Oci), ("oci-dir", Archive::OciDir), ("docker-archive", Archive::Docker)];
    let format = given.choice("format", &formats)?;
    let output = given.path("output").context("-o PATH is missing: where to write it")?;
    Ok(Verb::Save(Save { image: given.id(), format, output }))
}

pub(super) fn export(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Export { output: given.path("output"), from: given.id() })
}

pub(super) fn images(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Images { quiet: given.switch("quiet")?, format: given.choice("format", FORMATS)? })
}

pub(super) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Inspect(given.id()))
}

pub(super) fn history(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::History { format: given.choice("format", FORMATS)?, image: given.id() })
}

pub(super) fn diff(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Diff(given.id()))
}

pub(super) fn tag(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Tag { image: given.id(), name: given.id() })
}

pub(super) fn rmi(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Rmi { force: given.switch("force")?, images: std::mem::take(&mut given.operands) })
}

pub(super) fn config(given: &mut ParsedArgs) -> Result<Verb> {
    let (cmd, entrypoint) = (given.text("cmd")?, given.text("entrypoint")?);
    let (env, labels) = (given.texts("env")?, given.texts("label")?);
    let (user, workdir) = (given.text("user")?, given.text("workdir")?);
    Ok(Verb::Config(Config { image: given.id(), name: given.id(), cmd, entrypoint, env, user, workdir, labels }))
}

pub(super) fn bundle(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Bundle { image: given.id(), dir: given.id().into() })
}

pub(super) fn unbundle(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Unbundle(given.id().into()))
}

/// Converts `--cpus`, a decimal number such as `1.5`. The kernel accepts no quota below a millisecond.
fn cpu_quota(text: &str) -> Result<u64> {
    match text.parse::<f64>() {
        Ok(number) if (0.01..=1e6).contains(&number) => Ok((number * CPU_PERIOD as f64).round() as u64),
        _ => bail!("must be a number, 0.01 or more"),
    }
}

/// Converts a size above 0. `64Mi` is Kubernetes' form of `64MiB`.
fn size(text: &str) -> Result<u64> {
    let end = text.strip_suffix(['i', 'I']).filter(|rest| rest.ends_with(|c: char| c.is_ascii_alphabetic()));
    match u64::try_from(values::size(end.unwrap_or(text))?) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => bail!("must be above 0"),
    }
}

/// Converts `--memory`; 0 and -1 mean no limit, as in Docker and Podman.
fn memory(text: &str) -> Result<Option<u64>> {
    if matches!(values::size(text), Ok(0 | -1)) { Ok(None) } else { size(text).map(Some) }
}

fn pids(text: &str) -> Result<i64> {
    let number = values::signed(text)?;
    ensure!(number == -1 || number > 0, "must be above 0, or -1 for no limit");
    Ok(number)
}

/// Converts `max-size=SIZE` and `max-file=N`, as Docker and Podman define them.
fn log_limits(options: &[String]) -> Result<Limits> {
    let mut limits = Limits::default();
    for option in options {
        let field = || format!("--log-opt {option:?}");
        let (name, value) = option.split_once('=').with_context(|| format!("{}: must be NAME=VALUE", field()))?;
        match name {
            "max-size" => limits.max_size = size(value).with_context(field)?,
            "max-file" => match value.parse() {
                Ok(number) if (1..=1000).contains(&number) => limits.max_file = number,
                _ => bail!("{}: must be a number from 1 to 1000", field()),
            },
            _ => bail!("{}: unknown option (there are max-size and max-file)", field()),
        }
    }
    Ok(limits)
}

const PULL: &[(&str, PullPolicy)] =
    &[("missing", PullPolicy::Missing), ("always", PullPolicy::Always), ("never", PullPolicy::Never)];

pub(super) fn run(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Run(Box::new(Run {
        detach: given.switch("detach")?,
        interactive: given.switch("interactive")?,
        tty: given.switch("tty")?,
        rm: given.switch("rm")?,
        name: given.text("name")?,
        volumes: given.texts("volume")?,
        pull: given.choice("pull", PULL)?,
        pulled: Pull { platform: given.text("platform")?, tls_verify: tls_verify(given)?, ..Pull::default() },
        quiet: given.switch("quiet")?,
        env_files: given.texts("env-file")?.into_iter().map(PathBuf::from).collect(),
        cidfile: given.path("cidfile"),
        entrypoint: given.text("entrypoint")?,
        labels: given.texts("label")?,
        env: given.texts("env")?,
        workdir: given.text("workdir")?,
        user: given.text("user")?,
        memory: given.parsed("memory", memory)?.flatten(),
        cpu_quota: given.parsed("cpus", cpu_quota)?,
        pids_limit: given.parsed("pids-limit", pids)?,
        log: log_limits(&given.texts("log-opt")?)?,
        read_only: given.switch("read-only")?,
        hostname: given.text("hostname")?,
        host_network: given.choice("network", &[("none", false), ("host", true)])?,
        image: given.id(),
        command: given.trailing_args(),
    })))
}

pub(super) fn ps(given: &mut ParsedArgs) -> Result<Verb> {
    let format = given.choice("format", FORMATS)?;
    Ok(Verb::Ps { all: given.switch("all")?, quiet: given.switch("quiet")?, format })
}

pub(super) fn exec(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Exec(Exec {
        detach: given.switch("detach")?,
        interactive: given.switch("interactive")?,
        tty: given.switch("tty")?,
        env: given.texts("env")?,
        workdir: given.text("workdir")?,
        user: given.text("user")?,
        container: given.id(),
        command: given.trailing_args(),
    }))
}

pub(super) fn logs(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Logs { follow: given.switch("follow")?, container: given.id() })
}

pub(super) fn wait(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Wait(std::mem::take(&mut given.operands)))
}

pub(super) fn stop(given: &mut ParsedArgs) -> Result<Verb> {
    let timeout = given.parsed("time", |text| values::unsigned(text, u64::from(u32::MAX)))?.unwrap_or(10);
    Ok(Verb::Stop { timeout, containers: std::mem::take(&mut given.operands) })
}

pub(super) fn kill(given: &mut ParsedArgs) -> Result<Verb> {
    let signal = given.text("signal")?.unwrap_or_else(|| "KILL".to_owned());
    Ok(Verb::Kill { signal, containers: std::mem::take(&mut given.operands) })
}

pub(super) fn start(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Start(std::mem::take(&mut given.operands)))
}

pub(super) fn rm(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Rm { force: given.switch("force")?, containers: std::mem::take(&mut given.operands) })
}

pub(super) fn commit(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Commit(Commit {
        message: given.text("message")?,
        author: given.text("author")?,
        changes: given.texts("change")?,
        include_volumes: given.switch("include-volumes")?,
        output: given.path("output"),
        container: given.id(),
        image: given.id(),
    }))
}

pub(super) fn system(given: &mut ParsedArgs) -> Result<Verb> {
    let (format, all) = (given.choice("format", FORMATS)?, given.switch("all")?);
    match given.id().as_str() {
        "df" => Ok(Verb::SystemDf { format }),
        "prune" => Ok(Verb::SystemPrune { all }),
        other => bail!("{other:?}: must be df or prune"),
    }
}

pub(super) fn fsck(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(Verb::Fsck { repair: given.switch("repair")? })
}
