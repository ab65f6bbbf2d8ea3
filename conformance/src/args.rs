//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

pub const USAGE: &str = "\
usage: conformance --runtime PATH [OPTION...] [FILTER...]
  --runtime PATH   the runtime to test: a path, or a name in PATH
  --filter WORD    run the tests whose ID is WORD or begins with it (ST, ST-2), or whose title contains it;
                   several are alternatives, and an argument without an option is one as well
  --jobs N         as many tests side by side (2)
  --timeout N      seconds that one test may take (60)
  --format FORMAT  tap (as they end), table, json or markdown (all at the end)
  --json FILE      also write the results as JSON
  --also FILE      results of another machine, as JSON: markdown counts what is skipped here and passed there
  --list           print the tests (ID and title) and stop
  --coverage       print which requirements of the checklist have a test, and stop
Needs root, and a static busybox in PATH. Exit status: 0 all passed or were skipped, 1 a test failed, 2 usage.
";

/// The form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Tap,
    Table,
    Json,
    Markdown,
}

/// The parsed command line.
#[derive(Debug)]
pub struct Args {
    pub runtime: Option<PathBuf>,
    pub list: bool,
    pub coverage: bool,
    pub json: Option<PathBuf>,
    pub also: Option<PathBuf>,
    pub format: Format,
    pub jobs: usize,
    pub timeout: Duration,
    pub filters: Vec<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            runtime: None,
            list: false,
            coverage: false,
            json: None,
            also: None,
            format: Format::default(),
            jobs: 2,
            timeout: Duration::from_secs(60),
            filters: Vec::new(),
        }
    }
}

/// Parses the command line; returns `None` where it asks for help.
pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Args>> {
    let mut parsed = Args::default();
    while let Some(arg) = args.next() {
        // both `--jobs 2` and `--jobs=2`
        let (flag, mut inline) = match arg.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
            _ => (arg, None),
        };
        let mut value = || inline.take().or_else(|| args.next()).with_context(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--runtime" => parsed.runtime = Some(value()?.into()),
            "--json" => parsed.json = Some(value()?.into()),
            "--also" => parsed.also = Some(value()?.into()),
            "--filter" => parsed.filters.push(value()?),
            "--jobs" => parsed.jobs = number(&flag, &value()?)?,
            "--timeout" => parsed.timeout = Duration::from_secs(number(&flag, &value()?)? as u64),
            "--format" => parsed.format = format(&value()?)?,
            "--list" => parsed.list = true,
            "--coverage" => parsed.coverage = true,
            "--help" | "-h" => return Ok(None),
            flag if flag.starts_with('-') => bail!("unknown flag {flag}"),
            filter => parsed.filters.push(filter.to_owned()),
        }
        ensure!(inline.is_none(), "{flag} takes no value");
    }
    Ok(Some(parsed))
}

fn number(flag: &str, text: &str) -> Result<usize> {
    let number = text.parse().with_context(|| format!("{flag} {text:?}"))?;
    ensure!(number > 0, "{flag} 0");
    Ok(number)
}

fn format(name: &str) -> Result<Format> {
    Ok(match name {
        "tap" => Format::Tap,
        "table" => Format::Table,
        "json" => Format::Json,
        "markdown" => Format::Markdown,
        other => bail!("unknown format {other:?}: tap, table, json or markdown"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn words(line: &str) -> Result<Option<Args>> {
        parse(line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned))
    }

    #[test]
    fn options_and_filters_come_in_any_order() {
        let args = words("ST-1 --jobs 4 --filter PR --runtime=/bin/x --format json --timeout=7 HK").unwrap().unwrap();
        assert_eq!(args.filters, ["ST-1", "PR", "HK"]);
        assert_eq!((args.jobs, args.format, args.timeout), (4, Format::Json, Duration::from_secs(7)));
        assert_eq!(args.runtime, Some("/bin/x".into()));
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for line in ["--jobs 0", "--jobs x", "--format html", "--runtime", "--nosuch", "--list=1", "--timeout -1"] {
            assert!(words(line).is_err(), "{line}");
        }
        assert!(words("--help").unwrap().is_none());
    }
}
