//! Conversion of the flags of verbs on containers.

use anyhow::{Result, ensure};

use super::common::FORMATS;
use crate::cli::args::{Attach, Commit, ContainerVerb, CopyFiles, Exec, Rm, Selection, Start, Stats, Verb};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

pub(in crate::cli) fn exec(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Exec(Exec {
        detach: given.switch("detach")?,
        interactive: given.switch("interactive")?,
        tty: given.switch("tty")?,
        env: given.texts("env")?,
        workdir: given.text("workdir")?,
        user: given.text("user")?,
        container: given.id(),
        command: given.trailing_args(),
    })
    .into())
}

pub(in crate::cli) fn wait(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Wait(std::mem::take(&mut given.operands)).into())
}

/// Converts `--all`, `--ignore` and the names of containers: one of the two is given.
fn selection(given: &mut ParsedArgs, all: bool, ignore: bool) -> Result<Selection> {
    let names = std::mem::take(&mut given.operands);
    ensure!(all || !names.is_empty(), "you must provide at least one name or id");
    ensure!(!all || names.is_empty(), "--all and containers exclude each other");
    Ok(Selection { names, all, ignore })
}

/// Converts `--time`, a number of seconds.
fn seconds(given: &mut ParsedArgs) -> Result<Option<u64>> {
    given.parsed("time", |text| values::unsigned(text, u64::from(u32::MAX)))
}

pub(in crate::cli) fn stop(given: &mut ParsedArgs) -> Result<Verb> {
    let timeout = seconds(given)?;
    let (all, ignore) = (given.switch("all")?, given.switch("ignore")?);
    Ok(ContainerVerb::Stop { timeout, which: selection(given, all, ignore)? }.into())
}

pub(in crate::cli) fn restart(given: &mut ParsedArgs) -> Result<Verb> {
    let timeout = seconds(given)?;
    let running = given.switch("running")?;
    let all = given.switch("all")? || (running && given.operands.is_empty());
    Ok(ContainerVerb::Restart { timeout, running, which: selection(given, all, false)? }.into())
}

pub(in crate::cli) fn kill(given: &mut ParsedArgs) -> Result<Verb> {
    let signal = given.text("signal")?.unwrap_or_else(|| "KILL".to_owned());
    let all = given.switch("all")?;
    Ok(ContainerVerb::Kill { signal, which: selection(given, all, false)? }.into())
}

pub(in crate::cli) fn start(given: &mut ParsedArgs) -> Result<Verb> {
    let (attach, interactive) = (given.switch("attach")?, given.switch("interactive")?);
    let all = given.switch("all")?;
    let which = selection(given, all, false)?;
    let one = !which.all && which.names.len() == 1;
    ensure!(one || !(attach || interactive), "you cannot start and attach multiple containers at once");
    Ok(ContainerVerb::Start(Start { attach: attach || interactive, interactive, which }).into())
}

pub(in crate::cli) fn rm(given: &mut ParsedArgs) -> Result<Verb> {
    // the volumes that belong to one container are removed with it, with and without the flag
    let _ = given.switch("volumes")?;
    let (force, timeout) = (given.switch("force")?, seconds(given)?);
    ensure!(timeout.is_none() || force, "--force option must be specified to use the --time option");
    let (all, ignore) = (given.switch("all")?, given.switch("ignore")?);
    Ok(ContainerVerb::Rm(Rm { force, timeout, which: selection(given, all, ignore)? }).into())
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
    ensure!(interval > 0, "--interval: must be above 0");
    let stats = Stats {
        all: given.switch("all")?,
        no_stream: given.switch("no-stream")?,
        no_reset: given.switch("no-reset")?,
        format: given.choice("format", FORMATS)?,
        interval,
        containers: std::mem::take(&mut given.operands),
    };
    Ok(ContainerVerb::Stats(stats).into())
}

pub(in crate::cli) fn copy(given: &mut ParsedArgs) -> Result<Verb> {
    let archive = given.parsed("archive", values::parse_bool)?.unwrap_or(true);
    let overwrite = given.switch("overwrite")?;
    Ok(ContainerVerb::Copy(CopyFiles { from: given.id(), to: given.id(), archive, overwrite }).into())
}

pub(in crate::cli) fn rename(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Rename { container: given.id(), name: given.id() }.into())
}

pub(in crate::cli) fn pause(given: &mut ParsedArgs) -> Result<Verb> {
    let all = given.switch("all")?;
    Ok(ContainerVerb::Pause(selection(given, all, false)?).into())
}

pub(in crate::cli) fn unpause(given: &mut ParsedArgs) -> Result<Verb> {
    let all = given.switch("all")?;
    Ok(ContainerVerb::Unpause(selection(given, all, false)?).into())
}

pub(in crate::cli) fn exists(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Exists(given.id()).into())
}

pub(in crate::cli) fn prune(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Prune { force: given.switch("force")? }.into())
}

pub(in crate::cli) fn commit(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Commit(Commit {
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
