//! Content of `hosts` and `resolv.conf`: `--add-host`, `--no-hosts`, `--dns`, `--dns-search`, `--dns-option`.

use base::coded;
use base::error::{Code, Coding as _};
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Maximum length of a name in bytes, as in the DNS.
const MAX_NAME: usize = 253;

/// What a container finds about names of hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    /// Lines of `hosts`: a name and its address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<(String, IpAddr)>,
    /// Whether the image's `hosts` is left as it is.
    pub no_hosts: bool,
    /// Whether the image's `resolv.conf` is left as it is (`--dns none`).
    pub no_resolv: bool,
    /// Addresses of name servers in the place of the host's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Search domains in the place of the host's; `.` alone is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options in the place of the host's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Names {
    /// Parses the values of the flags.
    ///
    /// # Errors
    /// An address, a name or an option that is none.
    pub fn parse(hosts: &[String], dns: &[String], search: &[String], options: &[String]) -> Result<Self> {
        let mut names = Self { no_resolv: dns.iter().any(|text| text == "none"), ..Self::default() };
        ensure!(
            !names.no_resolv || dns.len() + search.len() + options.len() == 1,
            coded!(UsageArguments, "--dns none: excludes other servers")
        );
        for text in hosts {
            names.add_hosts(text).with_code(Code::UsageValue, || format!("--add-host {text:?}"))?;
        }
        for text in dns.iter().filter(|text| *text != "none") {
            let address =
                text.parse().ok().with_code(Code::UsageValue, || format!("--dns {text:?}: is no IP address"))?;
            names.servers.push(address);
        }
        for text in search {
            ensure!(text == "." || is_name(text), coded!(UsageValue, "--dns-search {text:?}: is no domain"));
        }
        for text in options {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
            ensure!(plain, coded!(UsageValue, "--dns-option {text:?}: is no option of resolv.conf"));
        }
        Ok(Self { search: search.to_vec(), options: options.to_vec(), ..names })
    }

    /// Adds `NAME[;NAME...]:ADDRESS`, or with `=` in the place of the colon.
    fn add_hosts(&mut self, text: &str) -> Result<()> {
        let split = text.find(['=', ':']).context("must be NAME:ADDRESS")?;
        let (names, address) = (text.get(..split).unwrap_or_default(), text.get(split + 1..).unwrap_or_default());
        if address == "host-gateway" {
            bail!(coded!(UsageValue, "host-gateway is not built: give the address"));
        }
        // an IPv6 address may be in brackets
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address: IpAddr = bare.parse().ok().with_context(|| format!("{address:?} is no IP address"))?;
        for name in names.split(';') {
            ensure!(is_name(name), coded!(UsageValue, "{name:?} is no host name"));
            self.hosts.push((name.to_owned(), address));
        }
        Ok(())
    }

    /// Returns whether corm writes this file of /etc for the container.
    pub fn writes(&self, file: &str) -> bool {
        match file {
            "hosts" => !self.no_hosts,
            "resolv.conf" => !self.no_resolv,
            _ => true,
        }
    }

    /// Returns the lines that the caller adds to `hosts`.
    pub fn host_lines(&self) -> String {
        self.hosts.iter().map(|(name, address)| format!("{address}\t{name}\n")).collect()
    }

    /// Returns the content of `resolv.conf` from the host's.
    pub fn resolv_conf(&self, host: &[u8]) -> Vec<u8> {
        if self.servers.is_empty() && self.search.is_empty() && self.options.is_empty() {
            return host.to_vec();
        }
        let text = String::from_utf8_lossy(host);
        let of_host = |keyword: &str| -> Vec<String> {
            let lines = text.lines().filter_map(|line| line.trim().strip_prefix(keyword));
            lines.filter(|rest| rest.starts_with(char::is_whitespace)).map(|rest| rest.trim().to_owned()).collect()
        };
        let servers: Vec<String> = self.servers.iter().map(IpAddr::to_string).collect();
        let mut lines = Vec::new();
        let mut add = |keyword: &str, words: Vec<String>, joined: bool| {
            if joined && !words.is_empty() {
                lines.push(format!("{keyword} {}\n", words.join(" ")));
            } else {
                lines.extend(words.iter().map(|word| format!("{keyword} {word}\n")));
            }
        };
        match self.search.as_slice() {
            // the last line counts (resolv.conf(5))
            [] => add("search", of_host("search").pop().into_iter().collect(), true),
            [dot] if dot == "." => {}
            given => add("search", given.to_vec(), true),
        }
        add("nameserver", if servers.is_empty() { of_host("nameserver") } else { servers }, false);
        add("options", if self.options.is_empty() { of_host("options") } else { self.options.clone() }, true);
        lines.concat().into_bytes()
    }
}

/// Returns whether a text can be a host name or a domain in a file of words.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn hosts_have_names_and_addresses() {
        let hosts = owned(&["a:1.2.3.4", "b;c:::1", "d=[fe80::2]", "e:[::1]"]);
        let names = Names::parse(&hosts, &[], &[], &[]).unwrap();
        assert_eq!(names.host_lines(), "1.2.3.4\ta\n::1\tb\n::1\tc\nfe80::2\td\n::1\te\n");
        for bad in ["a", "a:", ":1.2.3.4", "a b:1.2.3.4", "a:1.2.3", "a:1.2.3.4\nb", "a:host-gateway", "a\n:1.2.3.4"] {
            assert!(Names::parse(&owned(&[bad]), &[], &[], &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_given_takes_the_place_of_the_hosts() {
        let host = b"# comment\nnameserver 1.1.1.1\nsearch old\nsearch a b\nnameserver 2.2.2.2\noptions ndots:2\n";
        let written = |dns: &[&str], search: &[&str], options: &[&str]| {
            let names = Names::parse(&[], &owned(dns), &owned(search), &owned(options)).unwrap();
            String::from_utf8(names.resolv_conf(host)).unwrap()
        };
        assert_eq!(written(&[], &[], &[]).as_bytes(), host);
        assert_eq!(
            written(&["9.9.9.9", "::1"], &[], &[]),
            "search a b\nnameserver 9.9.9.9\nnameserver ::1\noptions ndots:2\n"
        );
        assert_eq!(
            written(&[], &["x.y", "z"], &["rotate", "ndots:1"]),
            "search x.y z\nnameserver 1.1.1.1\nnameserver 2.2.2.2\noptions rotate ndots:1\n"
        );
        assert!(!written(&["9.9.9.9"], &["."], &[]).contains("search"));
        for (dns, search, options) in [
            (&["x"][..], &[][..], &[][..]),
            (&["none", "1.1.1.1"], &[], &[]),
            (&["1.1.1.1\nsearch x"], &[], &[]),
            (&[], &["a b"], &[]),
            (&[], &[], &["a\nb"]),
            (&["none"], &["a"], &[]),
        ] {
            assert!(Names::parse(&[], &owned(dns), &owned(search), &owned(options)).is_err(), "{dns:?}");
        }
        assert!(Names::parse(&[], &owned(&["none"]), &[], &[]).unwrap().no_resolv);
    }
}
