//! A small synchronous rtnetlink client: network interfaces and addresses of the socket's network namespace.
//!
//! A socket belongs to the network namespace of its creation, and keeps it alive. croci's `runtime::network` decides
//! what is moved.

mod loopback;
mod wire;

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, send, socket};

use super::cvt;
pub use loopback::loopback_up;
pub use wire::errno;
use wire::{Message, Request, ack, attributes, messages, u32_at};

/// Buffer size in bytes, above the kernel's maximum for a datagram of a dump (32 KiB).
const BUFFER: usize = 64 * 1024;
/// Maximum number of tries of a dump that changed meanwhile (`NLM_F_DUMP_INTR`).
const DUMP_TRIES: usize = 16;

const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
/// Address attribute: the peer's address, or the local one.
pub const IFA_ADDRESS: u16 = 1;
/// Address attribute: the local address.
pub const IFA_LOCAL: u16 = 2;
/// Address attribute: the label, which begins with the interface's name.
pub const IFA_LABEL: u16 = 3;
/// Address attribute: the broadcast address.
pub const IFA_BROADCAST: u16 = 4;
/// Address attribute: the lifetimes.
pub const IFA_CACHEINFO: u16 = 6;
/// Address attribute: flags of more than 8 bits.
const IFA_FLAGS: u16 = 8;
/// Address attribute: the metric of its route.
pub const IFA_RT_PRIORITY: u16 = 9;
/// Address attribute: the protocol that set it.
pub const IFA_PROTO: u16 = 11;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Index in its namespace.
    pub index: u32,
    /// Name, which may differ from an alternative name in the request.
    pub name: String,
    /// `IFF_UP`
    pub up: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    scope: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// An rtnetlink socket.
#[derive(Debug)]
pub struct RtNetlink {
    socket: OwnedFd,
    sequence: u32,
}

impl RtNetlink {
    /// Opens a socket in this network namespace.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open() -> io::Result<RtNetlink> {
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        // error messages, replies without a copy of the request, dumps of one interface only; older kernels lack some
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            let yes: libc::c_int = 1;
            // SAFETY: the pointer and the length describe `yes`, which lives through the call.
            let _ = cvt(unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    (&raw const yes).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
                .into()
            });
        }
        Ok(RtNetlink { socket, sequence: 0 })
    }

    /// Returns the interface `name`; `None` for an unknown one.
    ///
    /// # Errors
    /// Those of the kernel.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut request = Request::new(libc::RTM_GETLINK, libc::NLM_F_ACK as u16, &link_body(0, 0, 0));
        request.name(IFLA_IFNAME, name)?;
        let mut found = None;
        let done = self.ask(request, |message| {
            if message.kind == libc::RTM_NEWLINK {
                found = Some(parse_link(message.payload)?);
            }
            Ok(())
        });
        match done {
            Err(err) if errno(&err) == Some(libc::ENODEV) => Ok(None),
            Err(err) => Err(err),
            Ok(_) => Ok(found),
        }
    }

    /// Returns the addresses of an interface, in the kernel's order (primary ones first).
    ///
    /// # Errors
    /// Those of the kernel; `EINTR`: the list changed during each try.
    pub fn addresses(&mut self, index: u32) -> io::Result<Vec<Address>> {
        for _ in 0..DUMP_TRIES {
            let mut body = [0u8; 8];
            for (place, byte) in body.iter_mut().skip(4).zip(index.to_ne_bytes()) {
                *place = byte;
            }
            let mut found = Vec::new();
            let whole = self.ask(Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP as u16, &body), |message| {
                if message.kind == libc::RTM_NEWADDR {
                    found.extend(parse_address(message.payload, index)?);
                }
                Ok(())
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EINTR))
    }

    /// Moves an interface into another network namespace and renames it to `name`.
    ///
    /// The kernel moves first, so after a name conflict the interface is moved and not renamed.
    ///
    /// # Errors
    /// `ENODEV`; `EEXIST`: the name or an alternative name is in use there; `EINVAL`: the interface cannot be moved.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let mut request = Request::new(libc::RTM_SETLINK, libc::NLM_F_ACK as u16, &link_body(index, 0, 0));
        request.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())?;
        request.name(IFLA_IFNAME, name)?;
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Adds an address to an interface.
    ///
    /// # Errors
    /// `EACCES`: IPv6 is disabled; `EADDRNOTAVAIL`: the interface does not support the address.
    pub fn add_address(&mut self, index: u32, address: &Address) -> io::Result<()> {
        let mut body = vec![address.family, address.prefix, 0, address.scope];
        body.extend_from_slice(&index.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let mut request = Request::new(libc::RTM_NEWADDR, flags as u16, &body);
        request.attribute(IFA_FLAGS, &address.flags.to_ne_bytes())?;
        for (kind, value) in &address.attributes {
            request.attribute(*kind, value)?;
        }
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Sets an interface up.
    ///
    /// # Errors
    /// Those of the interface's driver.
    pub fn set_up(&mut self, index: u32) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        let request = Request::new(libc::RTM_SETLINK, libc::NLM_F_ACK as u16, &link_body(index, up, up));
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Sends a request and passes every message of the reply to `take`; returns whether a dump was consistent.
    fn ask(&mut self, request: Request, mut take: impl FnMut(&Message<'_>) -> io::Result<()>) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence)?;
        loop {
            match send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty()) {
                Err(nix::Error::EINTR) => {}
                other => break other.map(drop)?,
            }
        }
        let mut whole = true;
        let mut buffer = vec![0u8; BUFFER];
        loop {
            let length = self.receive(&mut buffer)?;
            for message in messages(buffer.get(..length).unwrap_or_default())? {
                // a reply to an earlier, abandoned request
                if message.sequence != self.sequence {
                    continue;
                }
                whole &= i32::from(message.flags) & libc::NLM_F_DUMP_INTR == 0;
                if [libc::NLMSG_ERROR, libc::NLMSG_DONE].contains(&message.kind.into()) {
                    return ack(&message).map(|()| whole);
                }
                take(&message)?;
            }
        }
    }

    /// Receives a datagram of the kernel; skips those of other processes.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut parts = [IoSliceMut::new(buffer)];
            let received = match recvmsg::<NetlinkAddr>(self.socket.as_raw_fd(), &mut parts, None, MsgFlags::empty()) {
                Err(nix::Error::EINTR) => continue,
                other => other?,
            };
            if received.flags.contains(MsgFlags::MSG_TRUNC) {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            if received.address.is_some_and(|sender| sender.pid() == 0) {
                return Ok(received.bytes);
            }
        }
    }
}

/// Builds a `struct ifinfomsg`: any family, no type, then index, flags and change mask.
fn link_body(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut body = vec![0u8; 4];
    for number in [index, flags, change] {
        body.extend_from_slice(&number.to_ne_bytes());
    }
    body
}

fn parse_link(payload: &[u8]) -> io::Result<Link> {
    let cut = || io::Error::from(io::ErrorKind::InvalidData);
    let (index, flags) = (u32_at(payload, 4).ok_or_else(cut)?, u32_at(payload, 8).ok_or_else(cut)?);
    let found = attributes(payload.get(16..).ok_or_else(cut)?)?;
    let (_, name) = found.into_iter().find(|(kind, _)| *kind == IFLA_IFNAME).ok_or_else(cut)?;
    let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
    Ok(Link { index, name, up: flags & libc::IFF_UP as u32 != 0 })
}

/// Parses an `RTM_NEWADDR`; `None` for an address of another interface.
fn parse_address(payload: &[u8], index: u32) -> io::Result<Option<Address>> {
    let cut = || io::Error::from(io::ErrorKind::InvalidData);
    let (Some([family, prefix, short_flags, scope]), Some(owner)) = (payload.first_chunk(), u32_at(payload, 4)) else {
        return Err(cut());
    };
    let found = attributes(payload.get(8..).ok_or_else(cut)?)?;
    let long_flags = found.iter().find(|(kind, _)| *kind == IFA_FLAGS).and_then(|(_, value)| u32_at(value, 0));
    let flags = long_flags.unwrap_or_else(|| u32::from(*short_flags));
    if owner != index {
        return Ok(None);
    }
    let others = found.into_iter().filter(|(kind, _)| *kind != IFA_FLAGS);
    let attributes = others.map(|(kind, value)| (kind, value.to_vec())).collect();
    Ok(Some(Address { family: *family, prefix: *prefix, flags, scope: *scope, attributes }))
}

impl Address {
    /// Returns whether the address has no lifetime (`IFA_F_PERMANENT`).
    pub fn is_permanent(&self) -> bool {
        self.flags & libc::IFA_F_PERMANENT != 0
    }

    /// Returns whether the scope is global, not that of the link or the host.
    pub fn is_global(&self) -> bool {
        self.scope == libc::RT_SCOPE_UNIVERSE
    }

    /// Returns the address with only these flags and attributes.
    #[must_use]
    pub fn only(mut self, flags: u32, attributes: &[u16]) -> Self {
        self.flags &= flags;
        self.attributes.retain(|(kind, _)| attributes.contains(kind));
        self
    }

    /// Replaces the interface's name in the label (`eth0:1`); a label that would be too long is unchanged.
    pub fn relabel(&mut self, old: &str, new: &str) {
        for (kind, value) in &mut self.attributes {
            let label = String::from_utf8_lossy(value);
            let Some(rest) = label.trim_end_matches('\0').strip_prefix(old) else { continue };
            if *kind == IFA_LABEL && (rest.is_empty() || rest.starts_with(':')) {
                let label = format!("{new}{rest}\0");
                if label.len() <= libc::IFNAMSIZ {
                    *value = label.into_bytes();
                }
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |wanted| self.attributes.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let bytes = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS)).map(Vec::as_slice).unwrap_or_default();
        if let Ok(four) = <[u8; 4]>::try_from(bytes) {
            write!(f, "{}/{}", Ipv4Addr::from(four), self.prefix)
        } else if let Ok(six) = <[u8; 16]>::try_from(bytes) {
            write!(f, "{}/{}", Ipv6Addr::from(six), self.prefix)
        } else {
            write!(f, "{bytes:02x?}/{} of family {}", self.prefix, self.family)
        }
    }
}

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
