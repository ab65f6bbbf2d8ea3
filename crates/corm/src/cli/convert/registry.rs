//! Conversion of the flags of the verbs on registries.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;

use super::common::format;
use crate::cli::args::{Copy, Login, Logout, Recompress, RegistryVerb, Remote, Search, Verb};
use crate::layer::Compression;
use crate::model::secret::Secret;
use crate::view::filter::Filters;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

/// Converts `--tls-verify`, `--authfile` and `--creds`.
pub(in crate::cli) fn remote(given: &mut ParsedArgs) -> Result<Remote> {
    Ok(Remote {
        tls_verify: given.parsed("tls-verify", values::parse_bool)?,
        authfile: given.path("authfile"),
        creds: given.text("creds")?.map(Secret::new),
    })
}

/// Converts `--compression-format` and `--compression-level`.
pub(in crate::cli) fn compression(given: &mut ParsedArgs) -> Result<Option<Recompress>> {
    let format = given.parsed("compression-format", |text| match text {
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        "zstd:chunked" => {
            bail!(coded!(UsageValue, "is not built: corm has no use of a table of contents, and others read zstd"))
        }
        _ => bail!(coded!(UsageValue, "must be gzip or zstd")),
    })?;
    let level = given.parsed("compression-level", values::signed)?;
    let Some(format) = format.or_else(|| level.map(|_| Compression::Gzip)) else { return Ok(None) };
    let range = if format == Compression::Zstd { 1..=20 } else { 1..=9 };
    let level = level.map(|level| i32::try_from(level).ok().filter(|level| range.contains(level)));
    ensure!(
        level != Some(None),
        coded!(UsageValue, "--compression-level: must be {} to {}", range.start(), range.end())
    );
    Ok(Some(Recompress { format, level: level.flatten() }))
}

pub(in crate::cli) fn login(given: &mut ParsedArgs) -> Result<Verb> {
    let login = Login {
        user: given.text("username")?,
        password: given.text("password")?.map(Secret::new),
        password_stdin: given.switch("password-stdin")?,
        get_login: given.switch("get-login")?,
        verbose: given.switch("verbose")?,
        remote: Remote {
            tls_verify: given.parsed("tls-verify", values::parse_bool)?,
            authfile: given.path("authfile"),
            creds: None,
        },
        registry: given.operands.pop(),
    };
    ensure!(
        !(login.password.is_some() && login.password_stdin),
        coded!(UsageArguments, "--password and --password-stdin are both given")
    );
    ensure!(!login.password_stdin || login.user.is_some(), coded!(UsageValue, "--password-stdin requires --username"));
    Ok(RegistryVerb::Login(login).into())
}

pub(in crate::cli) fn logout(given: &mut ParsedArgs) -> Result<Verb> {
    let (all, authfile) = (given.switch("all")?, given.path("authfile"));
    let logout = Logout { registry: given.operands.pop(), all, authfile };
    ensure!(!(logout.all && logout.registry.is_some()), coded!(UsageArguments, "--all and a registry are both given"));
    Ok(RegistryVerb::Logout(logout).into())
}

/// Converts the access to one side of a copy: its own flags, else those for both.
fn side(given: &mut ParsedArgs, both: &Remote, [tls_verify, authfile, creds]: [&str; 3]) -> Result<Remote> {
    Ok(Remote {
        tls_verify: given.parsed(tls_verify, values::parse_bool)?.or(both.tls_verify),
        authfile: given.path(authfile).or_else(|| both.authfile.clone()),
        creds: given.text(creds)?.map(Secret::new),
    })
}

pub(in crate::cli) fn copy(given: &mut ParsedArgs) -> Result<Verb> {
    let both = Remote {
        tls_verify: given.parsed("tls-verify", values::parse_bool)?,
        authfile: given.path("authfile"),
        creds: None,
    };
    let copy = Copy {
        source: side(given, &both, ["src-tls-verify", "src-authfile", "src-creds"])?,
        target: side(given, &both, ["dest-tls-verify", "dest-authfile", "dest-creds"])?,
        all: given.switch("all")?,
        platform: given.text("platform")?,
        preserve_digests: given.switch("preserve-digests")?,
        compression: compression(given)?,
        digestfile: given.path("digestfile"),
        quiet: given.switch("quiet")?,
        from: given.id(),
        to: given.id(),
    };
    ensure!(!(copy.all && copy.platform.is_some()), coded!(UsageArguments, "--all and --platform are both given"));
    ensure!(
        !(copy.preserve_digests && copy.compression.is_some()),
        coded!(UsageValue, "--preserve-digests: other compression changes them")
    );
    ensure!(
        !(copy.all && copy.compression.is_some()),
        coded!(UsageValue, "--all: the compression of all images is not changed together")
    );
    Ok(RegistryVerb::Copy(Box::new(copy)).into())
}

pub(in crate::cli) fn tags(given: &mut ParsedArgs) -> Result<Verb> {
    let (format, remote) = (format(given)?, remote(given)?);
    Ok(RegistryVerb::Tags { repository: given.id(), format, remote }.into())
}

pub(in crate::cli) fn search(given: &mut ParsedArgs) -> Result<Verb> {
    let limit = given.parsed("limit", |text| values::unsigned(text, 100_000))?.unwrap_or(0);
    let search = Search {
        // 25 is Podman's default
        limit: usize::try_from(limit)?.checked_sub(1).map_or(25, |less| less + 1),
        list_tags: given.switch("list-tags")?,
        no_trunc: given.switch("no-trunc")?,
        compatible: given.switch("compatible")?,
        filters: Filters::parse(&given.texts("filter")?, &["stars", "is-official", "is-automated"])?,
        format: format(given)?,
        remote: remote(given)?,
        term: given.id(),
    };
    Ok(RegistryVerb::Search(Box::new(search)).into())
}

pub(in crate::cli) fn delete(given: &mut ParsedArgs) -> Result<Verb> {
    let remote = remote(given)?;
    Ok(RegistryVerb::Delete { references: std::mem::take(&mut given.operands), remote }.into())
}

/// Converts an `inspect` of an image in a registry.
pub(super) fn inspect(given: &mut ParsedArgs) -> Result<Verb> {
    let (raw, config) = (given.switch("raw")?, given.switch("config")?);
    let (platform, remote) = (given.text("platform")?, remote(given)?);
    let reference = given.operands.pop().context("no image is given")?;
    Ok(RegistryVerb::Inspect { reference, raw, config, platform, remote }.into())
}
