//! Conversion of the flags of `run`.

use base::coded;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use super::common::{caller, platform};
use super::network;
use super::registry::remote;
use super::settings;
use super::settings::size;
use crate::cli::args::{Caller, ContainerVerb, Pull, PullPolicy, Run, Verb};
use crate::container::log::Limits;
use base::cli_parser::ParsedArgs;

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
                _ => bail!(coded!(UsageValue, "{}: must be a number from 1 to 1000", field())),
            },
            _ => bail!(coded!(UsageValue, "{}: unknown option (there are max-size and max-file)", field())),
        }
    }
    Ok(limits)
}

const PULL: &[(&str, PullPolicy)] =
    &[("missing", PullPolicy::Missing), ("always", PullPolicy::Always), ("never", PullPolicy::Never)];

pub(in crate::cli) fn run(given: &mut ParsedArgs) -> Result<Verb> {
    let (detach, rmi) = (given.switch("detach")?, given.switch("rmi")?);
    ensure!(!(detach && rmi), coded!(UsageArguments, "--rmi: excludes --detach, because nothing waits for the end"));
    let caller = Caller { streams: streams(&given.texts("attach")?)?, ..caller(given)? };
    ensure!(
        !(detach && caller.streams.is_some()),
        coded!(UsageArguments, "--attach: excludes --detach, which connects no stream")
    );
    let run = new(given)?;
    Ok(ContainerVerb::Run(Box::new(Run { detach, rmi, caller, rm: run.rm || rmi, ..run })).into())
}

pub(in crate::cli) fn create(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Create(Box::new(new(given)?)).into())
}

/// Converts the values of `--attach`.
fn streams(given: &[String]) -> Result<Option<[bool; 3]>> {
    const NAMES: [&str; 3] = ["stdin", "stdout", "stderr"];
    for text in given {
        ensure!(
            NAMES.contains(&text.to_ascii_lowercase().as_str()),
            coded!(UsageValue, "--attach {text:?}: must be stdin, stdout or stderr")
        );
    }
    let chosen = NAMES.map(|name| given.iter().any(|text| text.eq_ignore_ascii_case(name)));
    Ok((!given.is_empty()).then_some(chosen))
}

/// Converts the flags that `run` and `create` have both.
fn new(given: &mut ParsedArgs) -> Result<Run> {
    Ok(Run {
        detach: false,
        rmi: false,
        caller: Caller::default(),
        interactive: given.switch("interactive")?,
        tty: given.switch("tty")?,
        rm: given.switch("rm")?,
        name: given.text("name")?,
        volumes: given.texts("volume")?,
        pull: given.choice("pull", PULL)?,
        pulled: Pull { platform: platform(given)?, remote: remote(given)?, ..Pull::default() },
        quiet: given.switch("quiet")?,
        env_files: given.texts("env-file")?.into_iter().map(PathBuf::from).collect(),
        cidfile: given.path("cidfile"),
        label_files: given.texts("label-file")?.into_iter().map(PathBuf::from).collect(),
        entrypoint: given.text("entrypoint")?,
        labels: given.texts("label")?,
        env: given.texts("env")?,
        workdir: given.text("workdir")?,
        user: given.text("user")?,
        log: log_limits(&given.texts("log-opt")?)?,
        read_only: given.switch("read-only")?,
        hostname: given.text("hostname")?,
        network: network::flags(given)?,
        settings: settings::settings(given)?,
        image: given.id(),
        command: given.trailing_args(),
    })
}
