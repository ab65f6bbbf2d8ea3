//! Instructions: what a statement means. Variables are not expanded yet.

use base::coded;
use base::error::{Code, Coding as _};
use base::suggest::did_you_mean;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::flags::FlagList;
use super::lines::{Heredoc, Statement, heredoc};
use super::mount::RunMount;
use super::pairs;
use crate::model::duration;

/// The names of all instructions.
const NAMES: [&str; 18] = [
    "FROM",
    "ARG",
    "ENV",
    "LABEL",
    "RUN",
    "COPY",
    "ADD",
    "CMD",
    "ENTRYPOINT",
    "SHELL",
    "WORKDIR",
    "USER",
    "VOLUME",
    "EXPOSE",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ONBUILD",
    "MAINTAINER",
];

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Text for the shell.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

/// `RUN`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What runs.
    pub command: Command,
    /// Here-documents.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`
    pub mounts: Vec<RunMount>,
    /// `--network`
    pub network: Option<String>,
    /// `--security`
    pub security: Option<String>,
}

/// `COPY` and `ADD`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyArgs {
    /// Paths, patterns, for `ADD` also addresses; here-documents are in `heredocs`.
    pub sources: Vec<String>,
    /// Destination.
    pub destination: String,
    /// Here-documents that are copied as files.
    pub heredocs: Vec<Heredoc>,
    /// `--from`
    pub from: Option<String>,
    /// `--chown`
    pub chown: Option<String>,
    /// `--chmod`
    pub chmod: Option<String>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `--checksum` of `ADD`.
    pub checksum: Option<String>,
    /// `--keep-git-dir` of `ADD`.
    pub keep_git_dir: bool,
    /// `--unpack` of `ADD`; absent: archives of the context are unpacked, downloads are not.
    pub unpack: Option<bool>,
}

/// `HEALTHCHECK`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// The check; `None` for none.
    pub command: Option<Command>,
    /// `--interval`, `--timeout`, `--start-period` and `--start-interval`.
    pub times: [Option<Duration>; 4],
    /// `--retries`
    pub retries: Option<u32>,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `FROM`
    From {
        /// Base: an image, a stage, or `scratch`.
        image: String,
        /// Name of the stage, in lower case.
        name: Option<String>,
        /// `--platform`
        platform: Option<String>,
    },
    /// `ARG`
    Arg(Vec<(String, Option<String>)>),
    /// `ENV`
    Env(Vec<(String, String)>),
    /// `LABEL`
    Label(Vec<(String, String)>),
    /// `RUN`
    Run(Run),
    /// `COPY`
    Copy(CopyArgs),
    /// `ADD`
    Add(CopyArgs),
    /// `CMD`
    Cmd(Command),
    /// `ENTRYPOINT`
    Entrypoint(Command),
    /// `SHELL`
    Shell(Vec<String>),
    /// `WORKDIR`
    Workdir(String),
    /// `USER`
    User(String),
    /// `VOLUME`
    Volume(Vec<String>),
    /// `EXPOSE`
    Expose(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(String),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `ONBUILD`, with the text of its trigger.
    OnBuild(String),
    /// `MAINTAINER`
    Maintainer(String),
}

/// Parses a statement.
///
/// # Errors
/// An unknown instruction or flag, missing operands.
pub(super) fn parse(statement: &Statement, escape: char) -> Result<Instruction> {
    let name = statement.name.as_str();
    let (mut flags, rest) = match name {
        "FROM" | "RUN" | "COPY" | "ADD" | "HEALTHCHECK" => FlagList::split(&statement.rest)?,
        _ => (FlagList::default(), statement.rest.clone()),
    };
    ensure!(
        NAMES.contains(&name),
        coded!(BuildInvalid, "{name}: is no instruction{}", did_you_mean(name, NAMES.iter().copied()))
    );
    ensure!(
        !rest.is_empty() || name == "CMD" || name == "ENTRYPOINT",
        coded!(BuildInvalid, "{name}: needs an operand")
    );
    let parsed = match name {
        "FROM" => from(&mut flags, &rest)?,
        "ARG" => Instruction::Arg(pairs::names(&rest, escape)?),
        "ENV" => Instruction::Env(pairs::pairs(&rest, escape)?),
        "LABEL" => Instruction::Label(pairs::pairs(&rest, escape)?),
        "RUN" => Instruction::Run(run(&mut flags, &rest, statement)?),
        "COPY" => Instruction::Copy(copy(&mut flags, &rest, statement, escape)?),
        "ADD" => Instruction::Add(add(&mut flags, &rest, statement, escape)?),
        "CMD" => Instruction::Cmd(command(&rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(&rest)?),
        "SHELL" => match command(&rest)? {
            Command::Exec(words) if !words.is_empty() => Instruction::Shell(words),
            _ => bail!(coded!(BuildInvalid, "SHELL: needs a JSON list of words")),
        },
        "WORKDIR" => Instruction::Workdir(rest),
        "USER" => Instruction::User(rest),
        "VOLUME" => Instruction::Volume(list(&rest)?),
        "EXPOSE" => Instruction::Expose(rest.split_whitespace().map(str::to_owned).collect()),
        "STOPSIGNAL" => Instruction::StopSignal(rest),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(&mut flags, &rest)?),
        "ONBUILD" => on_build(statement)?,
        "MAINTAINER" => Instruction::Maintainer(rest),
        other => bail!(coded!(BuildInvalid, "{other}: is no instruction")),
    };
    flags.end(name)?;
    Ok(parsed)
}

/// Checks that an instruction may be a trigger.
///
/// # Errors
/// It may not.
pub(super) fn check_trigger(name: &str) -> Result<()> {
    ensure!(
        !["ONBUILD", "FROM", "MAINTAINER"].contains(&name),
        coded!(BuildInvalid, "{name}: may not be an ONBUILD trigger")
    );
    Ok(())
}

/// Parses `FROM [--platform=P] IMAGE [AS NAME]`.
fn from(flags: &mut FlagList, rest: &str) -> Result<Instruction> {
    let platform = flags.one("platform")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, word, name] if word.eq_ignore_ascii_case("as") => (*image, Some(name.to_ascii_lowercase())),
        _ => bail!(coded!(BuildInvalid, "FROM: not of the form IMAGE [AS NAME]")),
    };
    if let Some(name) = &name {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        ensure!(starts && name.chars().all(plain), coded!(BuildInvalid, "FROM: {name:?} is no name of a stage"));
        ensure!(name != "scratch" && name != "context", coded!(BuildInvalid, "FROM: {name:?} is a reserved name"));
    }
    Ok(Instruction::From { image: image.to_owned(), name, platform })
}

/// Parses the operands of `RUN`.
fn run(flags: &mut FlagList, rest: &str, statement: &Statement) -> Result<Run> {
    let mounts = flags.many("mount")?;
    let mounts =
        mounts.iter().map(|text| RunMount::parse(text).with_code(Code::UsageValue, || format!("--mount={text:?}")));
    let run = Run {
        mounts: mounts.collect::<Result<_>>()?,
        network: flags.one("network")?,
        security: flags.one("security")?,
        command: command(rest)?,
        heredocs: statement.heredocs.clone(),
    };
    ensure!(run.command != Command::Exec(Vec::new()), coded!(BuildInvalid, "RUN: the list of words is empty"));
    Ok(run)
}

/// Parses the operands that `COPY` and `ADD` share.
fn sources(flags: &mut FlagList, rest: &str, statement: &Statement, escape: char) -> Result<CopyArgs> {
    let name = &statement.name;
    let mut words = list(rest)?;
    ensure!(words.len() > 1, coded!(BuildInvalid, "{name}: needs a source and a destination"));
    let destination = words.pop().context("no destination")?;
    let mut docs = statement.heredocs.clone();
    let mut sources = Vec::new();
    for word in words {
        match heredoc(&word, escape)? {
            Some(doc) if docs.iter().any(|other| other.name == doc.name) => {}
            _ => sources.push(word),
        }
    }
    if rest.starts_with('[') {
        docs.clear();
    }
    ensure!(
        heredoc(&destination, escape)?.is_none(),
        coded!(BuildInvalid, "{name}: the destination {destination:?} is a here-document")
    );
    Ok(CopyArgs {
        sources,
        destination,
        heredocs: docs,
        chown: flags.one("chown")?,
        chmod: flags.one("chmod")?,
        link: flags.switch("link")?,
        exclude: flags.many("exclude")?,
        ..CopyArgs::default()
    })
}

/// Parses the operands of `COPY`.
fn copy(flags: &mut FlagList, rest: &str, statement: &Statement, escape: char) -> Result<CopyArgs> {
    let args = sources(flags, rest, statement, escape)?;
    Ok(CopyArgs { from: flags.one("from")?, parents: flags.switch("parents")?, ..args })
}

/// Parses the operands of `ADD`.
fn add(flags: &mut FlagList, rest: &str, statement: &Statement, escape: char) -> Result<CopyArgs> {
    let args = sources(flags, rest, statement, escape)?;
    let unpack = match flags.one("unpack")?.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => bail!(coded!(BuildInvalid, "--unpack={other:?}: is neither true nor false")),
    };
    Ok(CopyArgs { checksum: flags.one("checksum")?, keep_git_dir: flags.switch("keep-git-dir")?, unpack, ..args })
}

/// Parses a JSON list; `None` for another text.
fn json(text: &str) -> Result<Option<Vec<String>>> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    // as BuildKit: what is no list is text for the shell
    let Ok(list) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let word = |value: serde_json::Value| match value {
        serde_json::Value::String(word) if !word.contains('\0') => Ok(word),
        _ => bail!(coded!(BuildInvalid, "{text}: a JSON list must have strings only")),
    };
    list.into_iter().map(word).collect::<Result<Vec<_>>>().map(Some)
}

/// Parses a command line: a JSON list, or text for the shell.
fn command(text: &str) -> Result<Command> {
    Ok(match json(text)? {
        Some(words) => Command::Exec(words),
        None if text.is_empty() => Command::Exec(Vec::new()),
        None => Command::Shell(text.to_owned()),
    })
}

/// Parses a JSON list, or words.
fn list(text: &str) -> Result<Vec<String>> {
    Ok(json(text)?.unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect()))
}

/// Parses `HEALTHCHECK NONE` and `HEALTHCHECK [FLAG...] CMD COMMAND`.
fn healthcheck(flags: &mut FlagList, rest: &str) -> Result<Healthcheck> {
    let mut times = [None; 4];
    for (time, flag) in times.iter_mut().zip(["interval", "timeout", "start-period", "start-interval"]) {
        if let Some(text) = flags.one(flag)? {
            let length = duration::parse(&text).context("not a time such as 30s or 1m30s");
            *time = Some(length.with_context(|| format!("--{flag}={text:?}"))?);
        }
    }
    let retries = match flags.one("retries")? {
        Some(text) => Some(text.parse().with_code(Code::UsageValue, || format!("--retries={text:?}"))?),
        None => None,
    };
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = match kind.to_ascii_uppercase().as_str() {
        "NONE" => {
            ensure!(rest.trim().is_empty(), coded!(BuildInvalid, "HEALTHCHECK NONE: has no operands"));
            None
        }
        "CMD" => {
            let command = command(rest.trim())?;
            ensure!(command != Command::Exec(Vec::new()), coded!(BuildInvalid, "HEALTHCHECK CMD: needs a command"));
            Some(command)
        }
        other => bail!(coded!(BuildInvalid, "HEALTHCHECK {other}: is neither CMD nor NONE")),
    };
    Ok(Healthcheck { command, times, retries })
}

/// Checks a trigger and keeps its text.
fn on_build(statement: &Statement) -> Result<Instruction> {
    let name = statement.rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    check_trigger(&name)?;
    Ok(Instruction::OnBuild(statement.source()))
}
