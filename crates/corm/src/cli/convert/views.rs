//! Conversion of the flags of the verbs that show something.

use anyhow::{Result, ensure};
use base::coded;

use super::common::{self, format};
use super::registry;
use crate::cli::args::views::{
    ContainerOrder, Diff, History, ImageOrder, Images, Inspect, Kind, List, Logs, Ps, SystemDf,
};
use crate::cli::args::{ContainerVerb, ImageVerb, Remote, SystemVerb, Verb};
use crate::view::listing::Format;
use crate::view::{containers, images as image_rows, time};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

fn list(given: &mut ParsedArgs, filters: &[&str]) -> Result<List> {
    Ok(List {
        quiet: given.switch("quiet")?,
        no_trunc: given.switch("no-trunc")?,
        noheading: given.switch("noheading")?,
        filters: common::filters(given, filters)?,
        format: format(given)?,
    })
}

pub(in crate::cli) fn images(given: &mut ParsedArgs) -> Result<Verb> {
    let orders = [
        ("created", ImageOrder::Created),
        ("id", ImageOrder::Id),
        ("repository", ImageOrder::Repository),
        ("size", ImageOrder::Size),
        ("tag", ImageOrder::Tag),
    ];
    // accepted without an effect: there are no intermediate images
    given.switch("all")?;
    let mut list = list(given, &image_rows::FILTERS)?;
    if let Some(pattern) = given.operands.pop() {
        list.filters.add("reference", pattern);
    }
    Ok(ImageVerb::Images(Images { list, digests: given.switch("digests")?, order: given.choice("sort", &orders)? })
        .into())
}

pub(in crate::cli) fn ps(given: &mut ParsedArgs) -> Result<Verb> {
    let orders = [
        ("created", ContainerOrder::Created),
        ("runningfor", ContainerOrder::Created),
        ("command", ContainerOrder::Command),
        ("id", ContainerOrder::Id),
        ("image", ContainerOrder::Image),
        ("names", ContainerOrder::Names),
        ("size", ContainerOrder::Size),
        ("status", ContainerOrder::Status),
    ];
    let latest = given.switch("latest")?;
    // -1 is the default of Docker and Podman
    let last = given.parsed("last", values::signed)?.and_then(|number| usize::try_from(number).ok());
    ensure!(!latest || last.is_none(), coded!(UsageArguments, "--latest and --last exclude each other"));
    let list = list(given, &containers::FILTERS)?;
    let size = given.switch("size")?;
    ensure!(!(list.quiet && size), coded!(UsageArguments, "--quiet and --size exclude each other"));
    let all = given.switch("all")?;
    Ok(ContainerVerb::Ps(Ps {
        list,
        all,
        last: if latest { Some(1) } else { last },
        size,
        order: given.choice("sort", &orders)?,
    })
    .into())
}

pub(in crate::cli) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    if given.operands.iter().any(|name| name.starts_with("docker://")) {
        ensure!(given.operands.len() == 1, coded!(UsageValue, "one image docker://REF at a time, without others"));
        return registry::inspect(given);
    }
    let remote = registry::remote(given)?;
    let only = given.switch("raw")? || given.switch("config")? || given.text("platform")?.is_some();
    ensure!(!only && remote == Remote::default(), coded!(UsageValue, "a flag that only an image docker://REF has"));
    let kinds = [("all", Kind::All), ("image", Kind::Image), ("container", Kind::Container)];
    Ok(ImageVerb::Inspect(Inspect {
        kind: given.choice("type", &kinds)?,
        size: given.switch("size")?,
        format: format(given)?,
        names: std::mem::take(&mut given.operands),
    })
    .into())
}

pub(in crate::cli) fn history(given: &mut ParsedArgs) -> Result<Verb> {
    Ok(ImageVerb::History(History {
        quiet: given.switch("quiet")?,
        no_trunc: given.switch("no-trunc")?,
        human: given.parsed("human", values::parse_bool)?.unwrap_or(true),
        format: format(given)?,
        image: given.id(),
    })
    .into())
}

pub(in crate::cli) fn diff(given: &mut ParsedArgs) -> Result<Verb> {
    let json = given.choice("format", &[("table", false), ("json", true)])?;
    Ok(ImageVerb::Diff(Diff { json, what: given.id() }).into())
}

pub(in crate::cli) fn logs(given: &mut ParsedArgs) -> Result<Verb> {
    // -1 and all are all lines, as in Docker and Podman
    let tail = |text: &str| match text {
        "all" | "-1" => Ok(None),
        text => values::unsigned(text, u64::MAX).map(Some),
    };
    Ok(ContainerVerb::Logs(Logs {
        follow: given.switch("follow")?,
        tail: given.parsed("tail", tail)?.flatten(),
        since: given.parsed("since", time::parse)?,
        until: given.parsed("until", time::parse)?,
        timestamps: given.switch("timestamps")?,
        names: given.switch("names")?,
        containers: std::mem::take(&mut given.operands),
    })
    .into())
}

/// Converts the flags of `system df`.
pub(in crate::cli) fn system_df(given: &mut ParsedArgs) -> Result<Verb> {
    let verbose = given.switch("verbose")?;
    let format = format(given)?;
    ensure!(!verbose || format == Format::Default, coded!(UsageArguments, "--verbose and --format exclude each other"));
    Ok(SystemVerb::SystemDf(SystemDf { format, verbose }).into())
}
