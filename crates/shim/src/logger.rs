//! Logs of `binary://`: a program of the user that reads a container's output.

use std::ffi::CString;
use std::fs::File;
use std::io::{PipeReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Time for the program to close its descriptor 5, by which it says that it is ready.
const READY: Duration = Duration::from_secs(10);

/// A URI of a log: scheme, path, and the parameters in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    /// `binary` or `file`.
    pub scheme: String,
    /// Absolute path.
    pub path: String,
    /// Names and values after `?`.
    pub parameters: Vec<(String, String)>,
}

impl Uri {
    /// Parses a URI; `None` for a path.
    ///
    /// # Errors
    /// A wrong escape.
    pub(crate) fn parse(text: &str) -> Result<Option<Uri>> {
        let Some((scheme, rest)) = text.split_once("://") else { return Ok(None) };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((unescape(&name.replace('+', " "))?, unescape(&value.replace('+', " "))?));
        }
        Ok(Some(Uri { scheme: scheme.to_owned(), path: unescape(path)?, parameters }))
    }
}

fn unescape(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            bail!("{text:?}: a percent sign without two digits");
        };
        bytes.push(byte);
        rest = rest.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).with_context(|| format!("{text:?} is not UTF-8"))
}

/// Starts the program; returns the container's ends of its standard output and error.
///
/// # Errors
/// It cannot be executed, or is not ready in time.
pub(crate) fn start(uri: &Uri, namespace: &str, id: &str) -> Result<(OwnedFd, OwnedFd)> {
    let pipe = || std::io::pipe().context("pipe");
    let ((out_read, out), (err_read, err), (ready, readying)) = (pipe()?, pipe()?, pipe()?);
    let text = |text: &str| CString::new(text).context("a NUL in the URI of the log");
    let mut arguments = vec![text(&uri.path)?];
    for (name, value) in &uri.parameters {
        arguments.push(text(name)?);
        arguments.push(text(value)?);
    }
    let environment = [("CONTAINER_ID", id), ("CONTAINER_NAMESPACE", namespace)];
    let environment = environment.iter().map(|(name, value)| text(&format!("{name}={value}")));
    let environment = environment.collect::<Result<Vec<_>>>()?;
    let given: [OwnedFd; 3] = [out_read.into(), err_read.into(), readying.into()];
    linux::worker::spawn_with(&text(&uri.path)?, &arguments, &environment, &given)
        .with_context(|| format!("execute the program of the log, {:?}", uri.path))?;
    drop(given);
    wait_ready(ready).with_context(|| format!("the program of the log, {:?}", uri.path))?;
    Ok((out.into(), err.into()))
}

/// Waits until the program writes a byte or closes its end.
fn wait_ready(ready: PipeReader) -> Result<()> {
    if !linux::socket::wait_readable(ready.as_fd(), READY).context("wait for it")? {
        bail!("it is not ready after {} s: it must close its descriptor 5", READY.as_secs());
    }
    let _ = File::from(OwnedFd::from(ready)).read(&mut [0]);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn uris_have_a_path_and_parameters_in_order() {
        let uri = Uri::parse("binary:///usr/bin/lo%67?b=1&a=x+y&c").unwrap().unwrap();
        assert_eq!((uri.scheme.as_str(), uri.path.as_str()), ("binary", "/usr/bin/log"));
        let pairs = [("b", "1"), ("a", "x y"), ("c", "")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(uri.parameters, pairs);
        assert_eq!(Uri::parse("/run/fifo").unwrap(), None);
        assert!(Uri::parse("file:///%zz").is_err());
    }
}
