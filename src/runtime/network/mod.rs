//! Moving network interfaces into the container, and back when its creation fails.
//!
//! `plan::network` selects them, `linux::net` has the netlink messages. The kernel keeps an interface's attributes
//! (MTU, hardware address, alias) but sets it down, which removes its addresses: they are read before the move and
//! added again after it (ND-3). Routes are not kept. croci does not move interfaces back when a created container is
//! deleted (ND-5).

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};

use crate::plan::network::Device;

use linux::net::Address;
use linux::net::IFA_ADDRESS;
use linux::net::IFA_BROADCAST;
use linux::net::IFA_CACHEINFO;
use linux::net::IFA_LABEL;
use linux::net::IFA_LOCAL;
use linux::net::IFA_PROTO;
use linux::net::IFA_RT_PRIORITY;
use linux::net::Link;
use linux::net::RtNetlink;

/// Network namespace file of this thread, because tests have several threads.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";
/// Count of numbers to try for a name with `%d`.
const MAX_NUMBERS: u32 = 4096;

/// Attributes of an address that are copied: those that a user configures. Others depend on interface and namespace.
const COPIED_FIELDS: [u16; 7] =
    [IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_RT_PRIORITY, IFA_PROTO];
/// Address flags that a user sets: nodad, optimistic, home, mngtmpaddr, noprefixroute, autojoin. The kernel sets the
/// others itself.
const SETTABLE: u32 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;

/// The interfaces that were moved. Its sockets keep the container's network namespace in existence.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The runtime's network namespace.
    own: OwnedFd,
    /// Socket in the runtime's network namespace.
    host: RtNetlink,
    /// Socket in the container's network namespace.
    container: RtNetlink,
    links: Vec<MovedLink>,
}

/// A moved interface, with its attributes before the move.
#[derive(Debug)]
struct MovedLink {
    before: Link,
    addresses: Vec<Address>,
    /// Name in the container.
    name: String,
}

/// Moves `devices` into `netns`: all of them, or none.
///
/// # Errors
/// An interface is missing or cannot move, or its name exists in `netns`; `netns` is the runtime's own.
pub(crate) fn move_in(devices: &[Device], netns: BorrowedFd<'_>) -> Result<Moved> {
    let own = open(OWN_NETNS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).context("own network namespace")?;
    if same_file(own.as_fd(), netns)? {
        bail!(coded!(NetDevice, "linux.netDevices: the container's network namespace is the runtime's own"));
    }
    let mut host = RtNetlink::open().code(Code::NetDevice, "linux.netDevices: netlink socket")?;
    // checks all interfaces before it moves any
    let mut found = Vec::with_capacity(devices.len());
    for device in devices {
        let before = find_link(&mut host, device).with_context(|| field(device))?;
        let addresses = host.addresses(before.index).context("read addresses").with_context(|| field(device))?;
        let addresses = to_move(addresses);
        found.push((device, before, addresses));
    }
    let mut container = open_in(own.as_fd(), netns)?;
    for device in devices.iter().filter(|device| device.pattern().is_none()) {
        check_name_is_free(&mut container, &device.name).with_context(|| field(device))?;
    }
    let mut moved = Moved { own, host, container, links: Vec::with_capacity(devices.len()) };
    for (device, before, addresses) in found {
        if let Err(err) = moved.move_one(device, before, addresses, netns).with_context(|| field(device)) {
            // the first error, preceded by that of an interface that could not be moved back
            return Err(match moved.undo() {
                Ok(()) => err,
                Err(stuck) => err.context(base::error::describe(&stuck)),
            });
        }
    }
    Ok(moved)
}

impl Moved {
    /// Moves the interfaces back, with their names, addresses and up or down. Needed when `create` fails later, because
    /// the kernel deletes a virtual interface with its namespace, and an interface would remain in a joined namespace.
    ///
    /// # Errors
    /// The first interface that cannot be moved back, after all were tried.
    pub(crate) fn undo(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(link) = self.links.pop() {
            let back = self
                .move_back(&link)
                .with_code(Code::NetDevice, || format!("linux.netDevices.{}: move back", link.before.name));
            result = result.and(back);
        }
        result
    }

    fn move_one(
        &mut self,
        device: &Device,
        before: Link,
        addresses: Vec<Address>,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let name = free_name(&mut self.container, device)?;
        if let Err(err) = self.host.move_link(before.index, netns, &name) {
            // because the kernel moves first and then renames: another process may have used the name in between
            if self.host.link(&before.name)?.is_none() {
                let name = before.name.clone();
                self.links.push(MovedLink { before, addresses, name });
            }
            return Err(err).with_context(|| format!("move it to the container as {name:?}"));
        }
        let old = before.name.clone();
        self.links.push(MovedLink { before, addresses: addresses.clone(), name: name.clone() });
        let link = self.container.link(&name)?.with_context(|| format!("{name:?} is not in the container"))?;
        restore(&mut self.container, link.index, &old, &name, addresses)?;
        self.container.set_up(link.index).context("set up")
    }

    fn move_back(&mut self, link: &MovedLink) -> Result<()> {
        let container = self.container.link(&link.name)?.context("it is not in the container")?;
        let name = &link.before.name;
        self.container.move_link(container.index, self.own.as_fd(), name)?;
        let host = self.host.link(name)?.with_context(|| format!("{name:?} has not arrived"))?;
        restore(&mut self.host, host.index, name, name, link.addresses.clone())?;
        if link.before.up {
            self.host.set_up(host.index).context("set up")?;
        }
        Ok(())
    }
}

fn field(device: &Device) -> String {
    format!("linux.netDevices.{}", device.host)
}

fn find_link(host: &mut RtNetlink, device: &Device) -> Result<Link> {
    let Some(link) = host.link(&device.host)? else { bail!(coded!(NetDevice, "no such network interface")) };
    if link.name != device.host {
        // because an interface cannot be renamed to one of its alternative names
        bail!(coded!(NetDevice, "this is another name of {:?}: use that one", link.name));
    }
    Ok(link)
}

fn check_name_is_free(container: &mut RtNetlink, name: &str) -> Result<()> {
    if container.link(name)?.is_some() {
        bail!(coded!(NetDevice, "a network interface {name:?} exists already in the container's network namespace"));
    }
    Ok(())
}

/// Returns the device's name in the container, with a free number for `%d`. Not left to the kernel, because that
/// returns no name and treats the interface's present name as used.
fn free_name(container: &mut RtNetlink, device: &Device) -> Result<String> {
    let Some(prefix) = device.pattern() else { return Ok(device.name.clone()) };
    for number in 0..MAX_NUMBERS {
        let name = format!("{prefix}{number}");
        if name.len() >= libc::IFNAMSIZ {
            break;
        }
        if container.link(&name)?.is_none() {
            return Ok(name);
        }
    }
    bail!(coded!(NetDevice, "no number is free for {:?}", device.name))
}

/// Returns the addresses to add again: permanent ones of global scope.
fn to_move(addresses: Vec<Address>) -> Vec<Address> {
    let is_kept = |address: &Address| address.is_permanent() && address.is_global();
    addresses.into_iter().filter(is_kept).map(|address| address.only(SETTABLE, &COPIED_FIELDS)).collect()
}

fn restore(route: &mut RtNetlink, index: u32, old: &str, new: &str, addresses: Vec<Address>) -> Result<()> {
    for mut address in addresses {
        address.relabel(old, new);
        route.add_address(index, &address).with_context(|| format!("address {address}"))?;
    }
    Ok(())
}

/// Opens an rtnetlink socket in `netns`: enters it for that, because a socket is in the namespace of its creation.
fn open_in(own: BorrowedFd<'_>, netns: BorrowedFd<'_>) -> Result<RtNetlink> {
    linux::process::setns(netns, libc::CLONE_NEWNET)
        .code(Code::NetDevice, "linux.netDevices: enter the container's network namespace")?;
    let container = RtNetlink::open();
    linux::process::setns(own, libc::CLONE_NEWNET).context("return to the own network namespace")?;
    container.code(Code::NetDevice, "linux.netDevices: netlink socket")
}

fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool> {
    let (a, b) = (fstat(a).context("own network namespace")?, fstat(b).context("network namespace")?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

#[cfg(test)]
mod tests;
