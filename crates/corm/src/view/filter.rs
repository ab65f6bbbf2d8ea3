//! Filters of lists: `NAME=VALUE`, repeatable. Values of one name are alternatives, labels and different names add up.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;

use super::time;

/// Names of the filters that every verb `prune` has.
pub const OF_PRUNE: [&str; 3] = ["label", "label!", "until"];

/// Filters of the command line, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Parses filters; only `known` names are accepted.
    ///
    /// # Errors
    /// No `=`, an unknown name.
    pub fn parse(texts: &[String], known: &[&str]) -> Result<Self> {
        let mut all = BTreeMap::<String, Vec<String>>::new();
        for text in texts {
            let context = || format!("--filter {text:?}");
            let (name, value) =
                text.split_once('=').with_context(|| format!("{}: not of the form NAME=VALUE", context()))?;
            if !known.contains(&name) {
                bail!(coded!(UsageValue, "{}: unknown name (there are {})", context(), known.join(", ")));
            }
            all.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        Ok(Self(all))
    }

    /// Returns whether there is no filter at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether there are filters of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a filter.
    pub fn add(&mut self, name: &str, value: String) {
        self.0.entry(name.to_owned()).or_default().push(value);
    }

    /// Returns the values of a name.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns whether one of the values of `name` matches; true without any.
    ///
    /// # Errors
    /// Those of `matches`, with the filter.
    pub fn any(&self, name: &str, mut matches: impl FnMut(&str) -> Result<bool>) -> Result<bool> {
        let mut found = !self.has(name);
        // all are looked at, so that a wrong value is an error in any place
        for value in self.values(name) {
            found |= matches(value).with_code(Code::UsageValue, || format!("--filter {name}={value:?}"))?;
        }
        Ok(found)
    }

    /// Returns the earliest time of the filters `until`.
    ///
    /// # Errors
    /// One is no time.
    pub fn until(&self) -> Result<Option<Timestamp>> {
        let parse =
            |value: &String| time::parse(value).with_code(Code::UsageValue, || format!("--filter until={value:?}"));
        Ok(self.values("until").iter().map(parse).collect::<Result<Vec<_>>>()?.into_iter().min())
    }

    /// Returns whether all labels `K` or `K=V` of the filters are there, and none of `label!`.
    pub fn labels<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        let matches = |text: &String| match text.split_once('=') {
            Some((key, value)) => get(key) == Some(value),
            None => get(text).is_some(),
        };
        self.values("label").iter().all(matches) && !self.values("label!").iter().any(matches)
    }
}

/// Returns whether something was created (RFC 3339) before `bound`; true without one.
pub fn is_older(created: &str, bound: Option<Timestamp>) -> bool {
    bound.is_none_or(|bound| created.parse::<Timestamp>().is_ok_and(|created| created < bound))
}

/// Parses a truth value of a filter.
///
/// # Errors
/// Another text than those of Go.
pub fn truth(text: &str) -> Result<bool> {
    base::cli_parser::values::parse_bool(text)
}

/// Returns whether a shell pattern (`*`, `?`, `[a-z]`) matches; `*` does not match `/`.
///
/// # Errors
/// The pattern is malformed.
pub fn glob(pattern: &str, text: &str) -> Result<bool> {
    ensure!(pattern.len() <= 4096, coded!(UsageValue, "the pattern is too long"));
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    Ok(glob::Pattern::new(pattern)?.matches_with(text, options))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn filters_of_one_name_are_alternatives() {
        let parse = |texts: &[&str]| {
            Filters::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), &["id", "label", "label!"])
        };
        let filters = parse(&["id=a", "id=b=c"]).unwrap();
        let is = |text: &str| filters.any("id", |value| Ok(value == text)).unwrap();
        assert_eq!((is("a"), is("b=c"), is("c")), (true, true, false));
        assert!(filters.any("label", |_| Ok(false)).unwrap());
        assert!(filters.any("id", truth).is_err());
        for bad in ["id", "name=x", "=x", ""] {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
        let get = |key: &str| [("a", "1"), ("b", "")].into_iter().find(|(k, _)| *k == key).map(|(_, v)| v);
        for (texts, want) in [
            (&["label=a"][..], true),
            (&["label=a=1", "label=b="], true),
            (&["label=a=2"], false),
            (&["label=a", "label=c"], false),
            (&["label!=a"], false),
            (&["label!=c", "label=b"], true),
        ] {
            assert_eq!(parse(texts).unwrap().labels(get), want, "{texts:?}");
        }
    }

    #[test]
    fn patterns_stop_at_a_slash() {
        for (pattern, text, want) in [
            ("base*", "base:1", true),
            ("*/base", "localhost/base", true),
            ("*", "a/b", false),
            ("b?se:[0-9]", "base:1", true),
            ("base", "base:1", false),
        ] {
            assert_eq!(glob(pattern, text).unwrap(), want, "{pattern}");
        }
        assert!(glob("[", "x").is_err());
    }
}
