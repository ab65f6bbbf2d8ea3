//! Conversion of the flags of verbs on containers.

use anyhow::{Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use std::path::PathBuf;

use super::common::{caller, filters, format};
use crate::cli::args::{
    Attach, Commit, ContainerVerb, CopyFiles, Exec, Rm, Selection, Start, Stats, StopHow, Verb, Wait,
};
use crate::view::filter::Filters;
use crate::view::{containers, filter};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;
use base::signal;

pub(in crate::cli) fn exec(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Exec(Exec {
        detach: given.switch("detach")?,
        interactive: given.switch("interactive")?,
        tty: given.switch("tty")?,
        env_files: given.texts("env-file")?.into_iter().map(PathBuf::from).collect(),
        env: given.texts("env")?,
        workdir: given.text("workdir")?,
        user: given.text("user")?,
        container: given.id(),
        command: given.trailing_args(),
    })
    .into())
}

/// Statuses that can be waited for.
const CONDITIONS: [&str; 9] =
    ["configured", "created", "initialized", "running", "paused", "exited", "stopped", "stopping", "removing"];

/// Converts a time with the unit `ms`, `s` or `m`, or a number of milliseconds.
fn milliseconds(text: &str) -> Result<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => bail!(coded!(UsageValue, "must be a time such as 250ms or 2s")),
    };
    Ok(values::unsigned(number, 1_000_000)? * factor)
}

pub(in crate::cli) fn wait(given: &mut ParsedArgs) -> Result<Verb> {
    let conditions = given.texts("condition")?;
    for text in &conditions {
        ensure!(
            CONDITIONS.contains(&text.as_str()),
            coded!(UsageValue, "--condition {text:?}: must be one of {}", CONDITIONS.join(", "))
        );
    }
    let wait = Wait {
        conditions,
        interval: given.parsed("interval", milliseconds)?.unwrap_or(250),
        ignore: given.switch("ignore")?,
        containers: std::mem::take(&mut given.operands),
    };
    Ok(ContainerVerb::Wait(wait).into())
}

/// Converts `--all`, `--ignore` and the names of containers: one of the two is given.
fn selection(given: &mut ParsedArgs, all: bool, ignore: bool, filters: Filters) -> Result<Selection> {
    let names = std::mem::take(&mut given.operands);
    ensure!(filters.is_empty() || names.is_empty(), coded!(UsageArguments, "--filter takes no arguments"));
    ensure!(
        all || !filters.is_empty() || !names.is_empty(),
        coded!(UsageArguments, "you must provide at least one name or id")
    );
    ensure!(!all || names.is_empty(), coded!(UsageArguments, "--all and containers exclude each other"));
    Ok(Selection { names, all, ignore, filters })
}

/// As [`selection`], also with the containers of `--cidfile`; with `--ignore` a missing file names none.
fn selection_with_files(given: &mut ParsedArgs, all: bool, ignore: bool, filters: Filters) -> Result<Selection> {
    let files = given.texts("cidfile")?;
    for file in &files {
        match std::fs::read_to_string(file) {
            Err(err) if ignore && err.kind() == std::io::ErrorKind::NotFound => {}
            id => {
                given
                    .operands
                    .push(id.with_code(Code::UsageValue, || format!("--cidfile {file:?}"))?.trim().to_owned());
            }
        }
    }
    if !files.is_empty() && given.operands.is_empty() && filters.is_empty() {
        return Ok(Selection { ignore, ..Selection::default() });
    }
    selection(given, all, ignore, filters)
}

/// Converts `--filter` of the verbs that have it.
fn chosen_by(given: &mut ParsedArgs) -> Result<Filters> {
    filters(given, &containers::FILTERS)
}

/// Converts `--time`, a number of seconds.
fn seconds(given: &mut ParsedArgs) -> Result<Option<u64>> {
    given.parsed("time", |text| values::unsigned(text, u64::from(u32::MAX)))
}

/// Converts `--time` and `--signal`.
fn stop_how(given: &mut ParsedArgs) -> Result<StopHow> {
    let signal = given.text("signal")?;
    if let Some(text) = &signal {
        signal::parse(text).code(Code::UsageValue, "--signal")?;
    }
    Ok(StopHow { seconds: seconds(given)?, signal })
}

pub(in crate::cli) fn stop(given: &mut ParsedArgs) -> Result<Verb> {
    let how = stop_how(given)?;
    let (all, ignore) = (given.switch("all")?, given.switch("ignore")?);
    let filters = chosen_by(given)?;
    Ok(ContainerVerb::Stop { how, which: selection_with_files(given, all, ignore, filters)? }.into())
}

pub(in crate::cli) fn restart(given: &mut ParsedArgs) -> Result<Verb> {
    let how = stop_how(given)?;
    let running = given.switch("running")?;
    let all = given.switch("all")? || (running && given.operands.is_empty());
    let filters = chosen_by(given)?;
    Ok(ContainerVerb::Restart { how, running, which: selection_with_files(given, all, false, filters)? }.into())
}

pub(in crate::cli) fn kill(given: &mut ParsedArgs) -> Result<Verb> {
    let signal = given.text("signal")?.unwrap_or_else(|| "KILL".to_owned());
    let all = given.switch("all")?;
    Ok(ContainerVerb::Kill { signal, which: selection_with_files(given, all, false, Filters::default())? }.into())
}

pub(in crate::cli) fn start(given: &mut ParsedArgs) -> Result<Verb> {
    let (attach, interactive) = (given.switch("attach")?, given.switch("interactive")?);
    let all = given.switch("all")?;
    let filters = chosen_by(given)?;
    let which = selection(given, all, false, filters)?;
    let caller = caller(given)?;
    let one = !which.all && which.names.len() == 1;
    ensure!(
        one || !(attach || interactive),
        coded!(UsageValue, "you cannot start and attach multiple containers at once")
    );
    Ok(ContainerVerb::Start(Start { attach: attach || interactive, interactive, caller, which }).into())
}

pub(in crate::cli) fn rm(given: &mut ParsedArgs) -> Result<Verb> {
    // the volumes that belong to one container are removed with it, with and without the flag
    let _ = given.switch("volumes")?;
    let (force, timeout) = (given.switch("force")?, seconds(given)?);
    ensure!(
        timeout.is_none() || force,
        coded!(UsageValue, "--force option must be specified to use the --time option")
    );
    // with --force a missing one is no error, as in Docker and Podman
    let (all, ignore) = (given.switch("all")?, given.switch("ignore")? || force);
    let filters = chosen_by(given)?;
    Ok(ContainerVerb::Rm(Rm { force, timeout, which: selection_with_files(given, all, ignore, filters)? }).into())
}

pub(in crate::cli) fn attach(given: &mut ParsedArgs) -> Result<Verb> {
    let keys = given.text("detach-keys")?;
    let no_stdin = given.switch("no-stdin")?;
    let sig_proxy = given.parsed("sig-proxy", values::parse_bool)?.unwrap_or(true);
    Ok(ContainerVerb::Attach(Attach { container: given.id(), keys, no_stdin, sig_proxy }).into())
}

pub(in crate::cli) fn top(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Top { container: given.id(), columns: given.trailing_args() }.into())
}

pub(in crate::cli) fn stats(given: &mut ParsedArgs) -> Result<Verb> {
    let interval = given.parsed("interval", |text| values::unsigned(text, 86_400))?.unwrap_or(5);
    ensure!(interval > 0, coded!(UsageValue, "--interval: must be above 0"));
    let stats = Stats {
        all: given.switch("all")?,
        no_stream: given.switch("no-stream")?,
        no_reset: given.switch("no-reset")?,
        no_trunc: given.switch("no-trunc")?,
        format: format(given)?,
        interval,
        containers: std::mem::take(&mut given.operands),
    };
    Ok(ContainerVerb::Stats(stats).into())
}

pub(in crate::cli) fn copy(given: &mut ParsedArgs) -> Result<Verb> {
    let archive = given.parsed("archive", values::parse_bool)?.unwrap_or(true);
    let overwrite = given.switch("overwrite")?;
    // as Podman always has it
    let _ = (given.switch("follow-link")?, given.switch("quiet")?);
    Ok(ContainerVerb::Copy(CopyFiles { from: given.id(), to: given.id(), archive, overwrite }).into())
}

pub(in crate::cli) fn rename(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Rename { container: given.id(), name: given.id() }.into())
}

pub(in crate::cli) fn pause(given: &mut ParsedArgs) -> Result<Verb> {
    let all = given.switch("all")?;
    let filters = chosen_by(given)?;
    Ok(ContainerVerb::Pause(selection_with_files(given, all, false, filters)?).into())
}

pub(in crate::cli) fn unpause(given: &mut ParsedArgs) -> Result<Verb> {
    let all = given.switch("all")?;
    let filters = chosen_by(given)?;
    Ok(ContainerVerb::Unpause(selection_with_files(given, all, false, filters)?).into())
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Exists(given.id()).into())
}

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Prune { force: given.switch("force")?, filters: filters(given, &filter::OF_PRUNE)? }.into())
}

pub(in crate::cli) fn commit(given: &mut ParsedArgs) -> Result<Verb> {
    let pause = given.parsed("pause", values::parse_bool)?.unwrap_or(true);
    ensure!(
        pause,
        coded!(UsageValue, "--pause=false: a container that runs is always paused, so that the layer is of one moment")
    );
    Ok(ContainerVerb::Commit(Commit {
        quiet: given.switch("quiet")?,
        iidfile: given.path("iidfile"),
        message: given.text("message")?,
        author: given.text("author")?,
        changes: given.texts("change")?,
        include_volumes: given.switch("include-volumes")?,
        output: given.path("output"),
        container: given.id(),
        image: given.id(),
    })
    .into())
}
