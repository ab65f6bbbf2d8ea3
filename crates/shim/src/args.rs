//! The command line: flags as containerd gives them, in the form of Go's `flag` package.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    /// `-namespace`
    pub namespace: String,
    /// `-id`: of the container, or of the pod's sandbox.
    pub id: String,
    /// `-address`: containerd's socket for gRPC.
    pub address: String,
    /// `-bundle`, of `delete` alone.
    pub bundle: Option<PathBuf>,
    /// `-debug`
    pub debug: bool,
    /// `-v`, `-version`
    pub version: bool,
    /// `-info`
    pub info: bool,
    /// `start`, `delete`, `serve` (from `start` to itself), or none.
    pub action: String,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// A flag that does not exist or has no value.
pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Args> {
    let mut args = Args::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            args.action = word;
            return Ok(args);
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        };
        let switch = match name.as_str() {
            "debug" => Some(&mut args.debug),
            "v" | "version" => Some(&mut args.version),
            "info" => Some(&mut args.info),
            _ => None,
        };
        if let Some(switch) = switch {
            *switch = value.is_none_or(|value| value == "true" || value == "1");
            continue;
        }
        let Some(value) = value.or_else(|| words.next()) else { bail!("-{name}: a value is missing") };
        match name.as_str() {
            "namespace" => args.namespace = value,
            "id" => args.id = value,
            "address" => args.address = value,
            "bundle" => args.bundle = Some(value.into()),
            // the socket is inherited, and events are sent to the address in the environment
            "publish-binary" | "socket" | "debug-socket" => {}
            _ => bail!("-{name}: there is no such flag"),
        }
    }
    Ok(args)
}

/// Checks that a name can be part of a path, as containerd's identifiers can.
///
/// # Errors
/// It is empty, or has another character than letters, digits and `_ - .`.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > 255 || name.starts_with('.') || !name.chars().all(allowed) {
        bail!("{what} {name:?}: must be letters, digits and _ - . only");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn flags_have_both_forms() {
        let words = "-namespace n --id=c -address /a -publish-binary /b -debug -bundle /d delete";
        let args = parse(words.split(' ').map(str::to_owned)).unwrap();
        assert_eq!((args.namespace.as_str(), args.id.as_str(), args.action.as_str()), ("n", "c", "delete"));
        assert!(args.debug && args.bundle == Some("/d".into()));
        assert!(parse(["-nothing".to_owned(), "x".to_owned()]).is_err() && parse(["-id".to_owned()]).is_err());
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for (name, good) in [("k8s.io", true), ("..", false), ("a/b", false), ("", false), ("a b", false)] {
            assert_eq!(check_name("namespace", name).is_ok(), good, "{name}");
        }
    }
}
