//! Conversion of the flags of verbs on containers.

use anyhow::Result;

use super::common::FORMATS;
use crate::cli::args::{Commit, ContainerVerb, Exec, Verb};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

pub(in crate::cli) fn ps(given: &mut ParsedArgs) -> Result<Verb> {
    let format = given.choice("format", FORMATS)?;
    Ok(ContainerVerb::Ps { all: given.switch("all")?, quiet: given.switch("quiet")?, format }.into())
}

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

pub(in crate::cli) fn logs(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Logs { follow: given.switch("follow")?, container: given.id() }.into())
}

pub(in crate::cli) fn wait(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Wait(std::mem::take(&mut given.operands)).into())
}

pub(in crate::cli) fn stop(given: &mut ParsedArgs) -> Result<Verb> {
    let timeout = given.parsed("time", |text| values::unsigned(text, u64::from(u32::MAX)))?.unwrap_or(10);
    Ok(ContainerVerb::Stop { timeout, containers: std::mem::take(&mut given.operands) }.into())
}

pub(in crate::cli) fn kill(given: &mut ParsedArgs) -> Result<Verb> {
    let signal = given.text("signal")?.unwrap_or_else(|| "KILL".to_owned());
    Ok(ContainerVerb::Kill { signal, containers: std::mem::take(&mut given.operands) }.into())
}

pub(in crate::cli) fn start(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Start(std::mem::take(&mut given.operands)).into())
}

pub(in crate::cli) fn rm(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ContainerVerb::Rm { force: given.switch("force")?, containers: std::mem::take(&mut given.operands) }.into())
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
