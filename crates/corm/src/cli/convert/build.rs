//! Conversion of the flags of `build`.

use anyhow::{Result, ensure};
use base::coded;

use super::registry::remote;
use super::settings;
use crate::cli::args::{Build, ImageVerb, PullPolicy, Verb};
use base::cli_parser::ParsedArgs;

/// Words of `--pull`, which is also a switch.
const PULL: &[(&str, PullPolicy)] = &[
    ("missing", PullPolicy::Missing),
    ("ifmissing", PullPolicy::Missing),
    ("false", PullPolicy::Missing),
    ("always", PullPolicy::Always),
    ("true", PullPolicy::Always),
    ("newer", PullPolicy::Always),
    ("ifnewer", PullPolicy::Always),
    ("never", PullPolicy::Never),
];

pub(in crate::cli) fn build(given: &mut ParsedArgs) -> Result<Verb> {
    let progress = given.text("progress")?;
    let known = progress.as_deref().is_none_or(|word| ["auto", "plain", "tty", "quiet"].contains(&word));
    ensure!(known, coded!(UsageValue, "--progress: must be auto, plain or quiet"));
    let build = Build {
        file: given.path("file"),
        ignore_file: given.path("ignorefile"),
        tags: given.texts("tag")?,
        target: given.text("target")?.filter(|target| !target.is_empty()),
        build_args: given.texts("build-arg")?,
        platform: given.text("platform")?,
        no_cache: given.switch("no-cache")?,
        pull: given.choice("pull", PULL)?,
        secrets: given.texts("secret")?,
        ssh: given.texts("ssh")?,
        labels: given.texts("label")?,
        annotations: given.texts("annotation")?,
        squash: given.switch("squash")?,
        squash_all: given.switch("squash-all")?,
        network: given.text("network")?,
        settings: settings::of_build(given)?,
        output: given.text("output")?,
        iidfile: given.path("iidfile"),
        quiet: given.switch("quiet")? || progress.as_deref() == Some("quiet"),
        contexts: given.texts("build-context")?,
        cache_from: given.texts("cache-from")?,
        cache_to: given.texts("cache-to")?,
        remote: remote(given)?,
        context: given.id(),
    };
    Ok(ImageVerb::Build(Box::new(Build {
        context: if build.context.is_empty() { ".".to_owned() } else { build.context.clone() },
        ..build
    }))
    .into())
}
