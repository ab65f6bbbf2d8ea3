//! Conversion of the flags of `build`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use base::coded;

use super::registry::remote;
use super::{common, settings};
use crate::cli::args::{Build, ImageFlags, ImageVerb, PullPolicy, Verb};
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

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
    let is_layered = given.parsed("layers", values::parse_bool)?.unwrap_or(true);
    check_anyway(given)?;
    let (platform, platforms) = platforms(given)?;
    let build = Build {
        files: given.texts("file")?.into_iter().map(PathBuf::from).collect(),
        ignore_file: given.path("ignorefile"),
        tags: given.texts("tag")?,
        target: given.text("target")?.filter(|target| !target.is_empty()),
        build_args: given.texts("build-arg")?,
        platform,
        platforms,
        from: given.text("from")?.filter(|name| !name.is_empty()),
        all_stages: given.parsed("skip-unused-stages", values::parse_bool)? == Some(false),
        jobs: given.parsed("jobs", jobs)?.unwrap_or_default(),
        no_cache: given.switch("no-cache")? || !is_layered,
        no_cache_stages: list(given, "no-cache-filter")?,
        pull: given.choice("pull", PULL)?,
        secrets: given.texts("secret")?,
        ssh: given.texts("ssh")?,
        labels: given.texts("label")?,
        annotations: given.texts("annotation")?,
        image: image(given)?,
        timestamp: given.parsed("timestamp", values::signed)?,
        squash: given.switch("squash")? || !is_layered,
        squash_all: given.switch("squash-all")?,
        network: given.text("network")?,
        settings: settings::of_build(given)?,
        volumes: given.texts("volume")?,
        allow: list(given, "allow")?,
        output: given.text("output")?,
        manifest: given.text("manifest")?,
        push: given.switch("push")?,
        iidfile: given.path("iidfile"),
        metadata_file: given.path("metadata-file"),
        log_file: given.path("logfile"),
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

/// Converts `--platform`, which may be several, or `--os`, `--arch` and `--variant` in its place: the only one, or all.
fn platforms(given: &mut ParsedArgs) -> Result<(Option<String>, Vec<String>)> {
    let mut all = list(given, "platform")?;
    let of_parts = common::platform_of_parts(given)?;
    ensure!(
        all.is_empty() || of_parts.is_none(),
        coded!(UsageArguments, "--platform: excludes --os, --arch and --variant")
    );
    all.extend(of_parts);
    Ok(if all.len() < 2 { (all.pop(), Vec::new()) } else { (None, all) })
}

/// Converts the flags for the configuration of the image.
fn image(given: &mut ParsedArgs) -> Result<ImageFlags> {
    Ok(ImageFlags {
        env: given.texts("env")?,
        unset_env: given.texts("unsetenv")?,
        os_version: given.text("os-version")?,
        os_features: given.texts("os-feature")?,
        omit_history: given.switch("omit-history")?,
        docker: given.choice("format", &[("oci", false), ("docker", true)])?,
    })
}

/// Converts a repeatable flag whose values are lists with commas.
fn list(given: &mut ParsedArgs, name: &str) -> Result<Vec<String>> {
    let texts = given.texts(name)?;
    Ok(texts.iter().flat_map(|text| text.split(',')).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

fn jobs(text: &str) -> Result<usize> {
    Ok(usize::try_from(values::unsigned(text, u64::from(u32::MAX))?)?)
}

/// Checks the values of flags that ask for what corm does anyway.
fn check_anyway(given: &mut ParsedArgs) -> Result<()> {
    for name in ["rm", "force-rm", "load", "compress", "disable-compression", "disable-content-trust", "identity-label"]
    {
        given.switch(name)?;
    }
    let isolation = given.text("isolation")?;
    ensure!(
        isolation.as_deref().is_none_or(|kind| ["", "default", "oci", "rootless"].contains(&kind)),
        coded!(UsageValue, "--isolation: must be oci, because each RUN is a container of the runtime")
    );
    for name in ["provenance", "sbom"] {
        let wanted = given.text(name)?;
        ensure!(
            wanted.is_none_or(|value| ["false", "0", "disabled=true"].contains(&value.as_str())),
            coded!(UsageValue, "--{name}: must be false, because corm makes no attestations")
        );
    }
    Ok(())
}
