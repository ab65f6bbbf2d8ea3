//! Conversion of flags that several verbs have.

use anyhow::{Result, ensure};
use base::coded;

use crate::cli::args::Caller;
use crate::model::platform::Platform;
use crate::view::filter::Filters;
use crate::view::listing::Format;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

/// Converts `--format`.
pub(super) fn format(given: &mut ParsedArgs) -> Result<Format> {
    Ok(given.text("format")?.map(|text| Format::parse(&text)).unwrap_or_default())
}

/// Converts `--filter`, of these names.
pub(super) fn filters(given: &mut ParsedArgs, names: &[&str]) -> Result<Filters> {
    Filters::parse(&given.texts("filter")?, names)
}

/// Converts `--platform`, or `--os`, `--arch` and `--variant` in its place.
pub(super) fn platform(given: &mut ParsedArgs) -> Result<Option<String>> {
    let (whole, of_parts) = (given.text("platform")?, platform_of_parts(given)?);
    ensure!(
        whole.is_none() || of_parts.is_none(),
        coded!(UsageArguments, "--platform: excludes --os, --arch and --variant")
    );
    // also where the image is here, and nothing is chosen
    if let Some(text) = whole.as_ref().filter(|text| !text.is_empty()) {
        let parsed = Platform::parse(text).is_ok();
        ensure!(parsed, coded!(UsageValue, "--platform {text:?}: must be of the form OS/ARCH[/VARIANT]"));
    }
    Ok(whole.or(of_parts))
}

/// Converts `--os`, `--arch` and `--variant`; what is not given is that of this machine.
pub(super) fn platform_of_parts(given: &mut ParsedArgs) -> Result<Option<String>> {
    let (os, arch, variant) = (given.text("os")?, given.text("arch")?, given.text("variant")?);
    if os.is_none() && arch.is_none() && variant.is_none() {
        return Ok(None);
    }
    let host = Platform::host().to_string();
    let mut parts = host.split('/');
    let (own_os, own_arch) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let mut text = format!("{}/{}", os.as_deref().unwrap_or(own_os), arch.as_deref().unwrap_or(own_arch));
    if let Some(variant) = variant {
        text.push('/');
        text.push_str(&variant);
    }
    Ok(Some(text))
}

/// Converts `--detach-keys` and `--sig-proxy`.
pub(super) fn caller(given: &mut ParsedArgs) -> Result<Caller> {
    let keys = given.text("detach-keys")?;
    let forwards = given.parsed("sig-proxy", values::parse_bool)?.unwrap_or(true);
    Ok(Caller { streams: None, keys, keeps_signals: !forwards })
}
