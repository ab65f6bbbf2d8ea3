//! Conversion of the flags of `run`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::network;
use super::registry::remote;
use crate::cli::args::{CPU_PERIOD, ContainerVerb, Pull, PullPolicy, Run, Verb};
use crate::container::log::Limits;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

/// Converts `--cpus`, a decimal number such as `1.5`. The kernel accepts no quota below a millisecond.
pub(super) fn cpu_quota(text: &str) -> Result<u64> {
    match text.parse::<f64>() {
        Ok(number) if (0.01..=1e6).contains(&number) => Ok((number * CPU_PERIOD as f64).round() as u64),
        _ => bail!("must be a number, 0.01 or more"),
    }
}

/// Converts a size above 0. `64Mi` is Kubernetes' form of `64MiB`.
pub(super) fn size(text: &str) -> Result<u64> {
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

pub(super) fn pids(text: &str) -> Result<i64> {
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

pub(in crate::cli) fn run(given: &mut ParsedArgs) -> Result<Verb> {
    let detach = given.switch("detach")?;
    Ok(ContainerVerb::Run(Box::new(Run { detach, ..new(given)? })).into())
}

pub(in crate::cli) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Create(Box::new(new(given)?)).into())
}

/// Converts the flags that `run` and `create` have both.
fn new(given: &mut ParsedArgs) -> Result<Run> {
    Ok(Run {
        detach: false,
        interactive: given.switch("interactive")?,
        tty: given.switch("tty")?,
        rm: given.switch("rm")?,
        name: given.text("name")?,
        volumes: given.texts("volume")?,
        pull: given.choice("pull", PULL)?,
        pulled: Pull { platform: given.text("platform")?, remote: remote(given)?, ..Pull::default() },
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
        network: network::flags(given)?,
        image: given.id(),
        command: given.trailing_args(),
    })
}
