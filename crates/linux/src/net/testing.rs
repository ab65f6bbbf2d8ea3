//! Support for tests that create interfaces and namespaces. Nothing here changes an interface of the machine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::*;

/// Runs `test` in a new network namespace that stands for the host's, with another new one that stands for the
/// container's, on a thread that ends with it. Without root, or where the kernel has no veth interfaces, reports a skip
/// and does not run it.
pub fn in_new_namespaces(test: impl FnOnce(OwnedFd) + Send) {
    if crate::process::euid() != 0 {
        return crate::testing::report_skip("not root");
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            if let Err(err) = crate::process::unshare(libc::CLONE_NEWNET) {
                return crate::testing::report_skip(&format!("no new network namespaces: {err}"));
            }
            let container =
                open("/proc/thread-self/ns/net", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
            crate::process::unshare(libc::CLONE_NEWNET).unwrap();
            if let Err(err) = RtNetlink::open().unwrap().make("probe", &[]) {
                return crate::testing::report_skip(&format!("no veth interfaces: {err}"));
            }
            test(container);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Opens an rtnetlink socket in another network namespace.
pub fn route_in(netns: &OwnedFd) -> RtNetlink {
    use std::os::fd::AsFd as _;
    let own = open("/proc/thread-self/ns/net", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    crate::process::setns(netns.as_fd(), libc::CLONE_NEWNET).unwrap();
    let route = RtNetlink::open().unwrap();
    crate::process::setns(own.as_fd(), libc::CLONE_NEWNET).unwrap();
    route
}

impl RtNetlink {
    /// Creates a veth interface; the kernel names its other end `veth0` and so on.
    pub fn make(&mut self, name: &str, attributes: &[(u16, &[u8])]) -> io::Result<()> {
        const IFLA_LINKINFO: u16 = 18;
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let mut request = Request::new(libc::RTM_NEWLINK, flags as u16, &link_body(0, 0, 0));
        request.name(IFLA_IFNAME, name)?;
        // IFLA_INFO_KIND
        request.attribute(IFLA_LINKINFO, &[&[8, 0, 1, 0][..], b"veth"].concat())?;
        for (kind, value) in attributes {
            request.attribute(*kind, value)?;
        }
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Sets one attribute of an interface.
    pub fn change(&mut self, index: u32, kind: u16, value: &[u8]) -> io::Result<()> {
        let mut request = Request::new(libc::RTM_SETLINK, libc::NLM_F_ACK as u16, &link_body(index, 0, 0));
        request.attribute(kind, value)?;
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Gives an interface another name beside its own.
    pub fn other_name(&mut self, index: u32, name: &str) -> io::Result<()> {
        const RTM_NEWLINKPROP: u16 = 108;
        const IFLA_PROP_LIST: u16 = 52;
        const IFLA_ALT_IFNAME: u16 = 53;
        let mut list = (5 + name.len() as u16).to_ne_bytes().to_vec();
        list.extend_from_slice(&IFLA_ALT_IFNAME.to_ne_bytes());
        list.extend_from_slice(name.as_bytes());
        list.push(0);
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_APPEND;
        let mut request = Request::new(RTM_NEWLINKPROP, flags as u16, &link_body(index, 0, 0));
        request.attribute(IFLA_PROP_LIST | 0x8000, &list)?;
        self.ask(request, |_| Ok(())).map(drop)
    }

    /// Returns one attribute of an interface.
    pub fn link_attribute(&mut self, name: &str, wanted: u16) -> Option<Vec<u8>> {
        let mut request = Request::new(libc::RTM_GETLINK, libc::NLM_F_ACK as u16, &link_body(0, 0, 0));
        request.name(IFLA_IFNAME, name).unwrap();
        let mut value = None;
        self.ask(request, |message| {
            let found = attributes(message.payload.get(16..).unwrap_or_default())?;
            value = found.into_iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec());
            Ok(())
        })
        .unwrap();
        value
    }
}

impl Address {
    /// Returns an address from its parts: `local/prefix`, scope, flags and further attributes.
    pub fn new(local: std::net::IpAddr, prefix: u8, scope: u8, flags: u32, more: &[(u16, &[u8])]) -> Address {
        let (family, bytes) = match local {
            std::net::IpAddr::V4(four) => (libc::AF_INET as u8, four.octets().to_vec()),
            std::net::IpAddr::V6(six) => (libc::AF_INET6 as u8, six.octets().to_vec()),
        };
        let mut attributes = vec![(IFA_LOCAL, bytes)];
        attributes.extend(more.iter().map(|(kind, value)| (*kind, value.to_vec())));
        Address { family, prefix, flags, scope, attributes }
    }

    /// Returns the address as `ip address` shows it: address, peer, broadcast, label.
    pub fn shown(&self) -> String {
        let mut text = self.to_string();
        for (kind, name) in [(IFA_ADDRESS, "peer"), (IFA_BROADCAST, "brd"), (IFA_LABEL, "label")] {
            let Some((_, value)) = self.attributes.iter().find(|(found, _)| *found == kind) else { continue };
            match <[u8; 4]>::try_from(value.as_slice()) {
                Ok(four) if kind != IFA_LABEL => text.push_str(&format!(" {name} {}", Ipv4Addr::from(four))),
                _ if kind == IFA_LABEL => {
                    text.push_str(&format!(" {name} {}", String::from_utf8_lossy(value).trim_end_matches('\0')));
                }
                _ => {}
            }
        }
        text
    }
}
