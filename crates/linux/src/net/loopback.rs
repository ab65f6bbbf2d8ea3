//! The loopback interface of a new network namespace, by one ioctl where there are sockets for it, because rtnetlink
//! needs two messages.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::RtNetlink;
use crate::cvt;

/// Sets the interface `lo` of this network namespace up.
///
/// # Errors
/// `EPERM`: the namespace is another user's.
pub fn loopback_up() -> io::Result<()> {
    let socket = match socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None) {
        Ok(socket) => socket,
        // a kernel without IPv4, or a service with `RestrictAddressFamilies=AF_UNIX AF_NETLINK`
        Err(err) => return by_netlink().map_err(|_| err.into()),
    };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_LOOPBACK | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives through the call and names an interface, as this ioctl requires.
    cvt(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &raw const request) }.into())?;
    Ok(())
}

fn by_netlink() -> io::Result<()> {
    let mut netlink = RtNetlink::open()?;
    let link = netlink.link("lo")?.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    netlink.set_up(link.index)
}
