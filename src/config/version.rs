//! The check of `ociVersion` (CF-3).

use anyhow::{Context, Result, bail};
use base::coded;
use base::error::{Code, Coding as _};

pub use base::default_config::SPEC_VERSION;
/// The oldest version croci accepts.
pub const SPEC_VERSION_MIN: &str = "1.0.0";

const MAJOR: u64 = 1;
const MINOR: u64 = 3;

/// Accepts every 1.x, and with a warning `1.0` for `1.0.0`, because some generators write it and both runc and crun take
/// it. Returns a warning for a newer minor version than ours, because its new properties are ignored
/// (CF-4).
///
/// # Errors
/// Text that is not a semantic version, or another major version.
pub(super) fn check(version: &str) -> Result<Option<String>> {
    if let Some((major, minor)) = version.split_once('.')
        && let (Ok(1), Ok(minor)) = (number(major), number(minor))
        && minor <= MINOR
    {
        return Ok(Some(format!("ociVersion: {version:?} is no semantic version, {version}.0 is meant")));
    }
    let (major, minor) = parse(version)
        .with_code(Code::ConfigVersion, || format!("ociVersion: {version:?} is not a semantic version"))?;
    if major != MAJOR {
        bail!(coded!(
            ConfigVersion,
            "ociVersion: version {version:?} is not supported, only {SPEC_VERSION_MIN} to {SPEC_VERSION}"
        ));
    }
    Ok((minor > MINOR).then(|| format!("ociVersion: {version} is newer than the supported {SPEC_VERSION}")))
}

/// Parses a [semantic version 2.0.0](https://semver.org/spec/v2.0.0.html) and returns major and minor.
fn parse(version: &str) -> Result<(u64, u64)> {
    let (rest, build) = split(version, '+');
    let (core, pre) = split(rest, '-');
    for identifier in build.into_iter().chain(pre).flat_map(|part| part.split('.')) {
        if identifier.is_empty() || !identifier.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            bail!("bad identifier {identifier:?}");
        }
    }
    for identifier in pre.into_iter().flat_map(|part| part.split('.')) {
        if identifier.bytes().all(|b| b.is_ascii_digit()) {
            number(identifier)?;
        }
    }
    let mut numbers = core.split('.').map(number);
    let (Some(major), Some(minor), Some(patch), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        bail!("expected three numbers");
    };
    patch?;
    Ok((major?, minor?))
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn number(text: &str) -> Result<u64> {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    if text.is_empty() || leading_zero || !text.bytes().all(|b| b.is_ascii_digit()) {
        bail!("bad number {text:?}");
    }
    text.parse().with_context(|| format!("bad number {text:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn cf_3_every_1_x_is_accepted() {
        for version in ["1.0.0", "1.0.2-dev", "1.1.0+dev", "1.2.1", "1.3.0", "1.3.9-rc.1+build.05", "1.0.0-a-b.x-1"] {
            assert_eq!(check(version).unwrap(), None, "{version}");
        }
        assert_eq!(check("1.0").unwrap().unwrap(), "ociVersion: \"1.0\" is no semantic version, 1.0.0 is meant");
        assert!(check("1.4.0").unwrap().unwrap().contains("newer"));
        assert!(check(SPEC_VERSION).unwrap().is_none() && check(SPEC_VERSION_MIN).unwrap().is_none());
    }

    #[test]
    fn cf_3_anything_else_is_refused() {
        for version in [
            "",
            "garbage",
            "9.9.9",
            "9.0.0",
            "0.9.0",
            "2.0.0",
            "1",
            "1.",
            "1.0.0.0",
            "1.0.x",
            "v1.0.0",
            "01.0.0",
            "1.00.0",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-a..b",
            "1.0.0-01",
            "1.0.0-é",
            "1.0.0 ",
            " 1.0.0",
            "1.-1.0",
            "1.+1.0",
            "1.99999999999999999999.0",
        ] {
            let err = check(version).expect_err(version).to_string();
            assert!(err.starts_with("ociVersion: "), "{version:?}: {err}");
        }
    }
}
