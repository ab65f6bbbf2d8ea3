//! URLs from a registry: resolution, origin, and redaction.
//!
//! Registries and their redirects are untrusted: only `http` and `https` are accepted, without user and password.

use anyhow::{Context as _, Result, bail};
use base::coded;
use ureq::http::Uri;

/// Scheme, host and port: the scope of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an absolute URL.
    ///
    /// # Errors
    /// Another scheme than `http` or `https`, no host, or user information.
    pub(super) fn of(url: &Uri) -> Result<Self> {
        let scheme = url.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => bail!(coded!(RegistryAnswer, "{}: neither http nor https", shown(url))),
        };
        let authority = url.authority().with_context(|| format!("{}: no host", shown(url)))?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            bail!(coded!(RegistryAnswer, "{}: a user's name in it, or no host", shown(url)));
        }
        Ok(Self { scheme, host: authority.host().to_ascii_lowercase(), port: url.port_u16().unwrap_or(default) })
    }

    /// Returns whether the connection is unencrypted.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme == "http"
    }
}

/// Returns whether a host, without a port, is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Resolves a `Location` header of a response from `base`.
///
/// # Errors
/// The header is no URL, or one that must not be followed.
pub(super) fn resolve(base: &Uri, location: &str) -> Result<Uri> {
    let scheme = base.scheme_str().unwrap_or_default();
    let authority = base.authority().map(ToString::to_string).unwrap_or_default();
    let text = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else if has_scheme(location) {
        location.to_owned()
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    // the error omits the text, because the query may be a signature that grants access
    let url: Uri = text.parse().context("the location is not a URL")?;
    Origin::of(&url)?;
    Ok(url)
}

fn has_scheme(location: &str) -> bool {
    location.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

/// Appends query parameters to a URL.
///
/// # Errors
/// The result is no URL.
pub(super) fn with_query(url: &Uri, query: &[(&str, &str)]) -> Result<Uri> {
    let mut text = url.to_string();
    for (name, value) in query {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        escape(&mut text, value);
    }
    text.parse().context("a URL with its parameters")
}

/// Appends text with percent-encoding for a query or a form.
pub(super) fn escape(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // writing to a string does not fail
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
}

/// Formats a URL for messages, without parts that may be secret. What no URL has, but a registry can send, is
/// percent-encoded.
pub(super) fn shown(url: &Uri) -> String {
    let host = url.host().unwrap_or_default();
    let port = url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let text = format!("{}://{host}{port}{}", url.scheme_str().unwrap_or_default(), url.path());
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_graphic() { shown.push(letter) } else { escape(&mut shown, letter.encode_utf8(&mut [0; 4])) }
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn locations_are_relative_to_what_was_asked() {
        let base: Uri = "http://r.io:5000/v2/a/blobs/x?y=1".parse().unwrap();
        let table = [
            ("/v2/b", "http://r.io:5000/v2/b"),
            ("https://cdn.io/x?sig=1", "https://cdn.io/x?sig=1"),
            ("//cdn.io/x", "http://cdn.io/x"),
            ("z", "http://r.io:5000/v2/a/blobs/z"),
            ("?_state=1", "http://r.io:5000/v2/a/blobs/x?_state=1"),
        ];
        for (location, want) in table {
            assert_eq!(resolve(&base, location).unwrap().to_string(), want);
        }
        let bad = [
            "file:///etc/passwd",
            "ftp://x/y",
            "gopher:x",
            "javascript:x",
            "http://",
            "http://user:pass@x.io/",
            "http://x@y/",
            "unix:/run/docker.sock",
            "data:text/plain,x",
            "https:///x",
            "a b",
            "/a\nb",
            "//",
        ];
        for location in bad {
            assert!(resolve(&base, location).is_err(), "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let of = |url: &str| Origin::of(&url.parse().unwrap()).unwrap();
        assert_eq!(of("https://R.io/x"), of("https://r.io:443/y"));
        for other in ["http://r.io/", "https://r.io:444/", "https://r.io.evil/", "https://evil/r.io"] {
            assert_ne!(of("https://r.io/"), of(other));
        }
        for (host, want) in
            [("127.1.2.3", true), ("[::1]", true), ("localhost", true), ("127.0.0.1.io", false), ("10.0.0.1", false)]
        {
            assert_eq!(is_loopback(host), want, "{host}");
        }
    }

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        assert_eq!(shown(&"https://r.io:1/a/b?token=secret".parse().unwrap()), "https://r.io:1/a/b");
        let hostile = resolve(&"https://r.io/v2/".parse().unwrap(), "a\u{82}b").unwrap();
        assert_eq!(shown(&hostile), "https://r.io/v2/a%C2%82b");
        let url = with_query(&"http://r.io/x?a=1".parse().unwrap(), &[("scope", "repository:a/b:pull,push")]).unwrap();
        assert_eq!(url.to_string(), "http://r.io/x?a=1&scope=repository%3Aa%2Fb%3Apull%2Cpush");
    }
}
