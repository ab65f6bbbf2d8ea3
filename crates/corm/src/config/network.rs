//! The network of a container as the flags name it: mode, published ports, addresses, names. `container::network` makes it.

use base::coded;
use base::error::{Code, Coding as _};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// Name of the network of `--network bridge`.
pub const DEFAULT_NETWORK: &str = "corm";

/// Maximum number of ports that one container publishes, because each is held open.
const MAX_PORTS: usize = 1024;

/// Kind of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Only a loopback interface.
    #[default]
    None,
    /// The host's.
    Host,
    /// That of another container, by ID.
    Container(String),
    /// A network namespace, by path.
    Path(PathBuf),
    /// A network with a bridge, by name: netavark.
    Bridge(String),
    /// pasta.
    Pasta,
    /// slirp4netns.
    Slirp,
}

impl Mode {
    /// Parses `--network`.
    ///
    /// # Errors
    /// An empty or malformed name, a relative path.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("container", name)) if !name.is_empty() => Ok(Mode::Container(name.to_owned())),
            Some(("ns", path)) => {
                ensure!(Path::new(path).is_absolute(), coded!(UsageValue, "{path:?}: not an absolute path"));
                Ok(Mode::Path(path.into()))
            }
            _ => match text {
                "none" => Ok(Mode::None),
                "host" => Ok(Mode::Host),
                "bridge" => Ok(Mode::Bridge(DEFAULT_NETWORK.to_owned())),
                "pasta" => Ok(Mode::Pasta),
                "slirp4netns" => Ok(Mode::Slirp),
                name => {
                    check_name(name).code(Code::NetworkFailed, "must be none, host, container:NAME, ns:PATH, bridge, pasta, slirp4netns, or the name of a network",)?;
                    Ok(Mode::Bridge(name.to_owned()))
                }
            },
        }
    }

    /// Returns whether a program makes it, so that ports can be published.
    pub fn is_made(&self) -> bool {
        matches!(self, Mode::Bridge(_) | Mode::Pasta | Mode::Slirp)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::None => f.write_str("none"),
            Mode::Host => f.write_str("host"),
            Mode::Container(id) => write!(f, "container:{id}"),
            Mode::Path(path) => write!(f, "ns:{}", path.display()),
            Mode::Bridge(name) if name == DEFAULT_NETWORK => f.write_str("bridge"),
            Mode::Bridge(name) => f.write_str(name),
            Mode::Pasta => f.write_str("pasta"),
            Mode::Slirp => f.write_str("slirp4netns"),
        }
    }
}

/// Checks the name of a network, which becomes a file name.
///
/// # Errors
/// Other characters than letters, digits, `_`, `.` and `-`, which must not come first.
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    ensure!(
        first && name.len() <= 64 && name.chars().all(good),
        coded!(UsageValue, "{name:?}: not the name of a network")
    );
    Ok(())
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Protocol::Tcp { "tcp" } else { "udp" })
    }
}

/// Published ports: as many of the host from `host` as of the container from `container`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Address of the host; absent: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// First port of the host; 0 until one is chosen.
    pub host: u16,
    /// First port of the container.
    pub container: u16,
    /// Number of ports.
    pub count: u16,
    /// Transport.
    pub protocol: Protocol,
}

impl Port {
    /// Parses `-p`: `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, where HOST and CONTAINER may be ranges.
    ///
    /// # Errors
    /// Another form, ranges of different lengths.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, protocol) = protocol(text)?;
        let (ip, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
            Some((ip, rest)) => (Some(ip), rest),
            None => match rest.split_once(':') {
                // an address of IPv4 is followed by two more parts
                Some((ip, after)) if after.contains(':') => (Some(ip).filter(|ip| !ip.is_empty()), after),
                _ => (None, rest),
            },
        };
        let ip = ip.map(|ip| ip.parse::<IpAddr>().with_context(|| format!("{ip:?}: not an IP address"))).transpose()?;
        let (host, container) = match rest.split_once(':') {
            Some((host, container)) => (host, container),
            None => ("", rest),
        };
        let (container, count) = range(container)?;
        let host = match host {
            "" => 0,
            host => {
                let (first, of_host) = range(host)?;
                ensure!(
                    of_host == count,
                    coded!(UsageValue, "{of_host} ports of the host and {count} of the container")
                );
                first
            }
        };
        Ok(Self { ip, host, container, count, protocol })
    }

    /// Formats it as `ps` prints it: `0.0.0.0:8080->80/tcp`.
    pub fn describe(&self) -> String {
        let ip = match self.ip {
            None => "0.0.0.0".to_owned(),
            Some(IpAddr::V4(ip)) => ip.to_string(),
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
        };
        let range = |first: u16| match self.count {
            1 => first.to_string(),
            count => format!("{first}-{}", u32::from(first) + u32::from(count) - 1),
        };
        format!("{ip}:{}->{}/{}", range(self.host), range(self.container), self.protocol)
    }
}

/// Splits `/tcp` or `/udp` off.
fn protocol(text: &str) -> Result<(&str, Protocol)> {
    match text.rsplit_once('/') {
        None => Ok((text, Protocol::Tcp)),
        Some((rest, "tcp")) => Ok((rest, Protocol::Tcp)),
        Some((rest, "udp")) => Ok((rest, Protocol::Udp)),
        Some((_, other)) => bail!(coded!(UsageValue, "{other:?}: must be tcp or udp")),
    }
}

/// Parses a port or a range; returns the first one and their number.
fn range(text: &str) -> Result<(u16, u16)> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => bail!(coded!(UsageValue, "{text:?}: not a port from 1 to 65535")),
    };
    match text.split_once('-') {
        None => Ok((port(text)?, 1)),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            ensure!(first <= last, coded!(UsageValue, "{text:?}: the range is empty"));
            Ok((first, last.saturating_sub(first).saturating_add(1)))
        }
    }
}

/// The flags of `run` about the network, as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFlags {
    /// `--network`
    pub modes: Vec<String>,
    /// `--publish`
    pub publish: Vec<String>,
    /// `--publish-all`
    pub publish_all: bool,
    /// `--expose`
    pub expose: Vec<String>,
    /// `--ip`
    pub ip: Option<String>,
    /// `--ip6`
    pub ip6: Option<String>,
    /// `--mac-address`
    pub mac: Option<String>,
    /// `--network-alias`
    pub aliases: Vec<String>,
}

/// The place of a container in a network with a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// Name of the network.
    pub name: String,
    /// Addresses that the caller chose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// Hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Further names of the container in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Interface in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Attachment {
    /// Parses the options of `--network NAME:OPTION,…`, or those of `network connect`.
    ///
    /// # Errors
    /// An unknown option, a malformed value.
    pub fn parse(name: &str, options: &str) -> Result<Self> {
        let mut made = Self { name: name.to_owned(), ..Self::default() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("ip" | "ip6", value)) => {
                    made.ips.push(value.parse().with_context(|| format!("{option:?}: not an IP address"))?);
                }
                Some(("mac", value)) => made.mac = Some(mac(value)?),
                Some(("alias", value)) => {
                    check_name(value).with_context(|| option.to_owned())?;
                    made.aliases.push(value.to_owned());
                }
                Some(("interface_name", value)) => {
                    check_name(value).with_context(|| option.to_owned())?;
                    ensure!(value.len() < 16, coded!(UsageValue, "{option:?}: an interface has 15 characters at most"));
                    made.interface = Some(value.to_owned());
                }
                _ => bail!(coded!(UsageValue, "{option:?}: must be ip=, ip6=, mac=, alias= or interface_name=")),
            }
        }
        Ok(made)
    }
}

/// The network of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// Mode.
    pub mode: Mode,
    /// Published ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Exposed ports of the caller and, after the container was created, of the image: `80/tcp`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<String>,
    /// Whether every exposed port is published.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub publish_all: bool,
    /// Its place in each network with a bridge; the first one's network is the mode.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
}

impl Network {
    /// Checks the flags.
    ///
    /// # Errors
    /// Names the flag that is wrong, or that the mode does not have.
    pub fn new(flags: &NetworkFlags) -> Result<Self> {
        let (mode, mut attachments) = modes(&flags.modes)?;
        let mut ports = Vec::new();
        for text in &flags.publish {
            ports.push(Port::parse(text).with_code(Code::UsageValue, || format!("--publish {text:?}"))?);
        }
        let exposed =
            flags.expose.iter().map(|text| expose(text).with_code(Code::UsageValue, || format!("--expose {text:?}")));
        let network = Self {
            ports,
            exposed: exposed.collect::<Result<Vec<_>>>()?.concat(),
            publish_all: flags.publish_all,
            attachments: {
                flags.attach(&mode, &mut attachments)?;
                attachments
            },
            mode,
        };
        // with the host's network every port is the host's already, as in Docker and Podman
        let published = !network.ports.is_empty() || network.publish_all;
        let mode = &network.mode;
        ensure!(
            !published || mode.is_made() || *mode == Mode::Host,
            coded!(
                NetworkFailed,
                "--publish: not with --network {mode}: choose --network bridge, pasta or slirp4netns"
            )
        );
        network.check_count()?;
        Ok(network)
    }

    /// Returns its places in networks with a bridge.
    pub fn places(&self) -> Vec<Attachment> {
        match &self.mode {
            Mode::Bridge(name) if self.attachments.is_empty() => {
                vec![Attachment { name: name.clone(), ..Attachment::default() }]
            }
            _ => self.attachments.clone(),
        }
    }

    /// Returns the names of the networks with a bridge.
    pub fn names(&self) -> Vec<String> {
        self.places().into_iter().map(|place| place.name).collect()
    }

    /// Returns the further names of the container.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.attachments.iter().flat_map(|attachment| &attachment.aliases).map(String::as_str)
    }

    fn check_count(&self) -> Result<()> {
        let count: usize = self.ports.iter().map(|port| usize::from(port.count)).sum();
        ensure!(
            count <= MAX_PORTS,
            coded!(UsageValue, "--publish: {count} ports, at most {MAX_PORTS} can be published")
        );
        Ok(())
    }

    /// Adds the ports that the image exposes, and publishes all if the caller wants it.
    ///
    /// # Errors
    /// A port of the image is malformed, where it is to be published.
    pub fn expose(&mut self, image: &[String]) -> Result<()> {
        for text in image {
            match expose(text) {
                Ok(ports) => self.exposed.extend(ports),
                Err(err) if self.publish_all => {
                    return Err(err).code(Code::ImageInvalid, format!("config.ExposedPorts of the image: {text:?}"));
                }
                Err(_) => {}
            }
        }
        self.exposed.sort();
        self.exposed.dedup();
        if self.publish_all {
            let known = |port: &Port| self.ports.iter().any(|other| other.contains(port));
            let new: Vec<Port> =
                self.exposed.iter().filter_map(|text| Port::parse(text).ok()).filter(|p| !known(p)).collect();
            self.ports.extend(new);
            self.check_count()?;
        }
        Ok(())
    }
}

/// Parses the values of `--network`: one mode, or networks with a bridge, each with its options; a comma separates names.
fn modes(texts: &[String]) -> Result<(Mode, Vec<Attachment>)> {
    let (mut mode, mut attachments): (Option<Mode>, Vec<Attachment>) = (None, Vec::new());
    for text in texts {
        let context = || format!("--network {text:?}");
        let (name, options) = match text.split_once(':') {
            Some((name, options)) if !["container", "ns"].contains(&name) => (name, options),
            _ => (text.as_str(), ""),
        };
        for name in name.split(',') {
            let parsed = Mode::parse(name).with_context(context)?;
            if let Mode::Bridge(name) = &parsed {
                ensure!(
                    !attachments.iter().any(|other| other.name == *name),
                    coded!(UsageValue, "{}: is there twice", context())
                );
                attachments.push(Attachment::parse(name, options).with_context(context)?);
            } else {
                ensure!(options.is_empty(), coded!(UsageValue, "{}: this mode has no options", context()));
            }
            let several = mode.is_some()
                && mode
                    .as_ref()
                    .zip(Some(&parsed))
                    .is_none_or(|(one, other)| !matches!((one, other), (Mode::Bridge(_), Mode::Bridge(_))));
            ensure!(!several, coded!(UsageValue, "{}: only networks with a bridge can be several", context()));
            mode.get_or_insert(parsed);
        }
    }
    Ok((mode.unwrap_or_default(), attachments))
}

impl NetworkFlags {
    /// Returns the place in a network that the flags of `network connect` describe.
    ///
    /// # Errors
    /// A malformed name or address.
    pub fn place(&self, network: &str) -> Result<Attachment> {
        let mode = Mode::parse(network)?;
        let Mode::Bridge(name) = &mode else { bail!(coded!(UsageValue, "{network:?}: is no network with a bridge")) };
        let mut place = Attachment { name: name.clone(), ..Attachment::default() };
        self.attach(&mode, std::slice::from_mut(&mut place))?;
        Ok(place)
    }

    /// Adds the addresses and names of the other flags to the place in the network, of which there must be one.
    fn attach(&self, mode: &Mode, attachments: &mut [Attachment]) -> Result<()> {
        let count = attachments.len();
        for (given, flag) in [
            (self.ip.is_some(), "--ip"),
            (self.ip6.is_some(), "--ip6"),
            (self.mac.is_some(), "--mac-address"),
            (!self.aliases.is_empty(), "--network-alias"),
        ] {
            ensure!(
                !given || count > 0,
                coded!(UsageValue, "{flag}: only with --network bridge or a network's name, not {mode}")
            );
            ensure!(
                !given || count == 1 || flag == "--network-alias",
                coded!(UsageValue, "{flag}: not with several networks: --network NAME:ip=")
            );
        }
        for (flag, ip) in [("--ip", &self.ip), ("--ip6", &self.ip6)] {
            let Some(text) = ip else { continue };
            let ip: IpAddr = text.parse().with_context(|| format!("{flag} {text:?}"))?;
            ensure!(
                ip.is_ipv6() == (flag == "--ip6"),
                coded!(UsageValue, "{flag} {text:?}: is an address of the other version")
            );
            attachments.iter_mut().for_each(|attachment| attachment.ips.push(ip));
        }
        if let Some(text) = &self.mac {
            let mac = mac(text)?;
            attachments.iter_mut().for_each(|attachment| attachment.mac = Some(mac.clone()));
        }
        for alias in &self.aliases {
            check_name(alias).with_code(Code::UsageValue, || format!("--network-alias {alias:?}"))?;
            attachments.iter_mut().for_each(|attachment| attachment.aliases.push(alias.clone()));
        }
        Ok(())
    }
}

impl Port {
    /// Returns whether another one's port of the container is among these.
    pub fn contains(&self, other: &Port) -> bool {
        let own = u32::from(self.container)..u32::from(self.container) + u32::from(self.count);
        self.protocol == other.protocol && own.contains(&u32::from(other.container))
    }
}

/// Parses `--expose`: a port or range with a protocol; returns each port.
fn expose(text: &str) -> Result<Vec<String>> {
    let (rest, protocol) = protocol(text)?;
    let (first, count) = range(rest)?;
    ensure!(usize::from(count) <= MAX_PORTS, coded!(UsageValue, "{count} ports, at most {MAX_PORTS}"));
    Ok((0..count).map(|step| format!("{}/{protocol}", u32::from(first) + u32::from(step))).collect())
}

/// Checks a hardware address: six bytes of hexadecimal digits.
fn mac(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split(':').collect();
    let good = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(
        parts.len() == 6 && parts.iter().all(good),
        coded!(UsageValue, "--mac-address {text:?}: not of the form 02:00:00:00:00:01")
    );
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ports_have_the_forms_of_docker() {
        for (text, want) in [
            ("80", "0.0.0.0:0->80/tcp"),
            ("8080:80", "0.0.0.0:8080->80/tcp"),
            ("8080:80/udp", "0.0.0.0:8080->80/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp"),
            ("127.0.0.1::80", "127.0.0.1:0->80/tcp"),
            ("[::1]:8080:80", "[::1]:8080->80/tcp"),
            ("8000-8010:9000-9010/tcp", "0.0.0.0:8000-8010->9000-9010/tcp"),
            ("65535:65535", "0.0.0.0:65535->65535/tcp"),
        ] {
            assert_eq!(Port::parse(text).unwrap().describe(), want, "{text}");
        }
        for bad in [
            "",
            "x",
            "0",
            "65536",
            "-1",
            "+80",
            "80/sctp",
            "80/",
            "1:2:3:4",
            "x:1:2",
            "8000-8001:80",
            "9-8",
            "9-8:9-8",
            "[::1]80",
            "1.2.3:1:2",
            "80:",
        ] {
            assert!(Port::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn modes_are_checked() {
        for text in ["none", "host", "container:web", "ns:/run/netns/x", "bridge", "pasta", "slirp4netns", "mine.1"] {
            let mode = Mode::parse(text).unwrap();
            assert_eq!(mode.to_string(), text);
            let text = serde_json::to_string(&mode).unwrap();
            assert_eq!(serde_json::from_str::<Mode>(&text).unwrap(), mode);
        }
        for bad in ["", "container:", "ns:x", "ns:", "../x", "a b", "-x", "pasta:-t", "x/y"] {
            assert!(Mode::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn flags_belong_to_a_mode() {
        let flags = |mode: &str| NetworkFlags { modes: vec![mode.to_owned()], ..NetworkFlags::default() };
        let published = |mode: &str| NetworkFlags { publish: vec!["8080:80".into()], ..flags(mode) };
        for mode in ["bridge", "pasta", "slirp4netns", "host", "mine"] {
            Network::new(&published(mode)).unwrap();
        }
        for mode in ["none", "container:x", "ns:/x"] {
            let error = format!("{:#}", Network::new(&published(mode)).unwrap_err());
            assert!(error.starts_with("--publish: not with --network "), "{error}");
        }
        let ip = NetworkFlags { ip: Some("10.87.0.9".into()), ..flags("pasta") };
        assert!(format!("{:#}", Network::new(&ip).unwrap_err()).starts_with("--ip: only with"));
        assert!(Network::new(&NetworkFlags { modes: vec!["bridge".into()], ..ip }).is_ok());
        for bad in ["", "02:00", "02:00:00:00:00:0g", "02-00-00-00-00-01"] {
            assert!(Network::new(&NetworkFlags { mac: Some(bad.into()), ..flags("bridge") }).is_err(), "{bad:?}");
        }
        let many = NetworkFlags { publish: vec!["1-2000:1-2000".into()], ..flags("bridge") };
        assert!(Network::new(&many).is_err());
    }

    #[test]
    fn exposed_ports_are_published_once() {
        let flags = NetworkFlags {
            modes: vec!["bridge".into()],
            publish: vec!["8080:80".into()],
            expose: vec!["90-91/udp".into()],
            publish_all: true,
            ..NetworkFlags::default()
        };
        let mut network = Network::new(&flags).unwrap();
        network.expose(&["80/tcp".to_owned(), "443".to_owned()]).unwrap();
        let ports: Vec<String> = network.ports.iter().map(Port::describe).collect();
        assert_eq!(ports, ["0.0.0.0:8080->80/tcp", "0.0.0.0:0->443/tcp", "0.0.0.0:0->90/udp", "0.0.0.0:0->91/udp"]);
        assert!(network.expose(&["x".to_owned()]).is_err());
    }
}
