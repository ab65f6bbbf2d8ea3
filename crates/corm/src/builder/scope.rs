//! Variables of a build: arguments before the first stage and in it, and those that are there without a declaration.
//!
//! Pure. A variable of the image's environment precedes an argument of the same name.

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::containerfile::words::Lexer;
use crate::model::platform::Platform;

/// Arguments that need no declaration and are in no history and no cache key.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What the caller gave, the same for every stage.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// `--build-arg`
    pub args: BTreeMap<String, String>,
    /// Variables of the platforms, and `TARGETSTAGE`.
    pub platform: BTreeMap<String, String>,
}

impl Given {
    /// Collects the arguments; one without a value has that of corm's own environment.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub fn new(args: &[String], target: &Platform, stage: &str) -> Result<Self> {
        let mut given = Self::default();
        for text in args {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => {
                    let value = std::env::var_os(text).map(|value| {
                        value
                            .into_string()
                            .ok()
                            .with_code(Code::UsageValue, || format!("--build-arg {text}: is not UTF-8"))
                    });
                    (text.as_str(), value.transpose()?)
                }
            };
            anyhow::ensure!(
                !name.is_empty(),
                coded!(BuildInvalid, "--build-arg {text:?}: not of the form NAME[=VALUE]")
            );
            given.args.extend(value.map(|value| (name.to_owned(), value)));
        }
        for (prefix, platform) in [("BUILD", &Platform::host()), ("TARGET", target)] {
            let (os, architecture, variant) = platform.parts();
            for (name, value) in [
                ("PLATFORM", platform.to_string()),
                ("OS", os.to_owned()),
                ("ARCH", architecture.to_owned()),
                ("VARIANT", variant.unwrap_or_default().to_owned()),
            ] {
                given.platform.insert(format!("{prefix}{name}"), value);
            }
        }
        given.platform.insert("TARGETSTAGE".to_owned(), if stage.is_empty() { "default" } else { stage }.to_owned());
        Ok(given)
    }

    /// Returns the proxies that the caller gave.
    pub fn proxies(&self) -> impl Iterator<Item = (&str, &str)> {
        PROXIES.iter().filter_map(|&name| Some((name, self.args.get(name)?.as_str())))
    }
}

/// The arguments in scope.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Declared ones; those without a value are `None`.
    declared: BTreeMap<String, Option<String>>,
    /// Names of `--build-arg` that a declaration has used.
    pub used: BTreeSet<String>,
}

impl Scope {
    /// Declares an argument of the global scope or of a stage; `globals` is the former for the latter.
    pub fn declare(&mut self, given: &Given, globals: Option<&Scope>, name: &str, default: Option<String>) {
        let value = match given.args.get(name) {
            Some(value) => {
                self.used.insert(name.to_owned());
                Some(value.clone())
            }
            None => default
                .or_else(|| globals.and_then(|globals| globals.declared.get(name).cloned().flatten()))
                .or_else(|| given.platform.get(name).cloned()),
        };
        self.declared.insert(name.to_owned(), value);
    }

    /// Returns the value of a declared argument.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.declared.get(name)?.as_deref()
    }

    /// Returns the arguments that have a value, by name.
    pub fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.declared.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    /// Expands a text before the first stage, where the platforms are declared.
    ///
    /// # Errors
    /// As [`Lexer::word`].
    pub fn expand_global(&self, escape: char, given: &Given, text: &str) -> Result<String> {
        let lookup = |name: &str| {
            let own = self.get(name).map(str::to_owned);
            own.or_else(|| given.platform.get(name).cloned())
        };
        Lexer::new(escape, &lookup).word(text)
    }
}

/// Returns the value of a variable `K=V` in a list.
pub fn of_env(env: &[String], name: &str) -> Option<String> {
    let value =
        |variable: &String| variable.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    env.iter().rev().find_map(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_argument_has_the_callers_value_then_its_default_then_the_global_one() {
        let given = Given::new(&["a=1".into(), "g=2".into()], &Platform::parse("linux/arm/v7").unwrap(), "s").unwrap();
        let mut globals = Scope::default();
        globals.declare(&given, None, "g", Some("x".into()));
        globals.declare(&given, None, "h", Some("3".into()));
        let mut stage = Scope::default();
        for (name, default, wanted) in [
            ("a", Some("0"), Some("1")),
            ("g", None, Some("2")),
            ("h", None, Some("3")),
            ("h", Some("4"), Some("4")),
            ("none", None, None),
            ("TARGETPLATFORM", None, Some("linux/arm/v7")),
            ("TARGETVARIANT", None, Some("v7")),
            ("TARGETSTAGE", None, Some("s")),
        ] {
            stage.declare(&given, Some(&globals), name, default.map(str::to_owned));
            assert_eq!(stage.get(name), wanted, "{name}");
        }
        assert_eq!(Scope::default().get("a"), None);
        assert_eq!(globals.expand_global('\\', &given, "$g-$TARGETARCH-$a").unwrap(), "2-arm-");
        assert_eq!(of_env(&["A=1".into(), "A=2".into()], "A").unwrap(), "2");
    }
}
