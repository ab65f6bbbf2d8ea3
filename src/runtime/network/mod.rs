//! Moves network interfaces into the container, and back when its creation fails.
//!
//! `plan::network` selects the interfaces, `linux::net` has the messages to the kernel. The kernel keeps an interface's
//! attributes (MTU, hardware address, alias) but sets the interface down during the move, which removes its addresses.
//! Therefore they are read before and added again after (ND-3). Routes are not kept. A container that was created
//! manages its interfaces itself (ND-5).

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

/// Network namespace of this thread; of the thread because tests have several.
const OWN: &str = "/proc/thread-self/ns/net";
/// Count of numbers to try for a name with `%d`.
const NUMBERS: u32 = 4096;

/// Attributes of an address that are configuration; the others (interface, namespace, counters) are those of the old
/// interface.
const COPIED_FIELDS: [u16; 7] =
    [IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_RT_PRIORITY, IFA_PROTO];
/// Flags of an address that a user can set: nodad, optimistic, home, mngtmpaddr, noprefixroute, autojoin. The kernel
/// sets the others itself.
const SETTABLE: u32 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;

/// Interfaces that were moved. The sockets keep the container's network namespace alive until this value is dropped.
#[derive(Debug)]
pub(crate) struct Moved {
    own: OwnedFd,
    here: RtNetlink,
    there: RtNetlink,
    links: Vec<MovedLink>,
}

/// An interface that was moved, with its former state.
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
/// An interface is missing, cannot move, or its name is taken in the container; the namespace is the runtime's own.
pub(crate) fn move_in(devices: &[Device], netns: BorrowedFd<'_>) -> Result<Moved> {
    let own = open(OWN, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).context("own network namespace")?;
    if same_file(own.as_fd(), netns)? {
        bail!("linux.netDevices: the container's network namespace is the runtime's own");
    }
    let mut here = RtNetlink::open().context("linux.netDevices: netlink socket")?;
    // read all before the first change
    let mut found = Vec::with_capacity(devices.len());
    for device in devices {
        let before = look_up(&mut here, device).with_context(|| field(device))?;
        let addresses = here.addresses(before.index).context("read addresses").with_context(|| field(device))?;
        let addresses = to_move(addresses);
        found.push((device, before, addresses));
    }
    let mut there = open_there(own.as_fd(), netns)?;
    for device in devices.iter().filter(|device| device.pattern().is_none()) {
        refuse_taken(&mut there, &device.name).with_context(|| field(device))?;
    }
    let mut moved = Moved { own, here, there, links: Vec::with_capacity(devices.len()) };
    for (device, before, addresses) in found {
        if let Err(err) = moved.one(device, before, addresses, netns).with_context(|| field(device)) {
            // an interface that cannot be moved back either is named after the first error
            return Err(match moved.undo() {
                Ok(()) => err,
                Err(stuck) => err.context(base::error::describe(&stuck)),
            });
        }
    }
    Ok(moved)
}

impl Moved {
    /// Moves all interfaces back with their former name, addresses and state (up or down), for a `create` that fails
    /// later. Otherwise a virtual interface would be destroyed with the container's namespace, and one in a joined
    /// namespace would remain there.
    ///
    /// # Errors
    /// The first interface that cannot be moved back; the others are moved all the same.
    pub(crate) fn undo(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(link) = self.links.pop() {
            let back = self.back(&link).with_context(|| format!("linux.netDevices.{}: move back", link.before.name));
            result = result.and(back);
        }
        result
    }

    fn one(&mut self, device: &Device, before: Link, addresses: Vec<Address>, netns: BorrowedFd<'_>) -> Result<()> {
        let name = free_name(&mut self.there, device)?;
        if let Err(err) = self.here.move_link(before.index, netns, &name) {
            // the kernel renames after the move: another process may have taken the name in between
            if self.here.link(&before.name)?.is_none() {
                let name = before.name.clone();
                self.links.push(MovedLink { before, addresses, name });
            }
            return Err(err).with_context(|| format!("move it to the container as {name:?}"));
        }
        let old = before.name.clone();
        self.links.push(MovedLink { before, addresses: addresses.clone(), name: name.clone() });
        let link = self.there.link(&name)?.with_context(|| format!("{name:?} is not in the container"))?;
        restore(&mut self.there, link.index, &old, &name, addresses)?;
        self.there.set_up(link.index).context("set up")
    }

    fn back(&mut self, link: &MovedLink) -> Result<()> {
        let there = self.there.link(&link.name)?.context("it is not in the container")?;
        let name = &link.before.name;
        self.there.move_link(there.index, self.own.as_fd(), name)?;
        let here = self.here.link(name)?.with_context(|| format!("{name:?} has not arrived"))?;
        restore(&mut self.here, here.index, name, name, link.addresses.clone())?;
        if link.before.up {
            self.here.set_up(here.index).context("set up")?;
        }
        Ok(())
    }
}

fn field(device: &Device) -> String {
    format!("linux.netDevices.{}", device.host)
}

fn look_up(here: &mut RtNetlink, device: &Device) -> Result<Link> {
    let Some(link) = here.link(&device.host)? else { bail!("no such network interface") };
    if link.name != device.host {
        // with a name that is one of its own alternative names it could not be renamed any more
        bail!("this is another name of {:?}: use that one", link.name);
    }
    Ok(link)
}

fn refuse_taken(there: &mut RtNetlink, name: &str) -> Result<()> {
    if there.link(name)?.is_some() {
        bail!("a network interface {name:?} exists already in the container's network namespace");
    }
    Ok(())
}

/// Returns the device's name in the container. The number for `%d` is not chosen by the kernel, because the kernel does
/// not return its choice and takes the interface's present name for a used one.
fn free_name(there: &mut RtNetlink, device: &Device) -> Result<String> {
    let Some(prefix) = device.pattern() else { return Ok(device.name.clone()) };
    for number in 0..NUMBERS {
        let name = format!("{prefix}{number}");
        if name.len() >= libc::IFNAMSIZ {
            break;
        }
        if there.link(&name)?.is_none() {
            return Ok(name);
        }
    }
    bail!("no number is free for {:?}", device.name)
}

/// Returns the addresses to move with an interface: permanent ones of global scope.
fn to_move(addresses: Vec<Address>) -> Vec<Address> {
    let goes = |address: &Address| address.is_permanent() && address.is_global();
    addresses.into_iter().filter(goes).map(|address| address.only(SETTABLE, &COPIED_FIELDS)).collect()
}

fn restore(route: &mut RtNetlink, index: u32, old: &str, new: &str, addresses: Vec<Address>) -> Result<()> {
    for mut address in addresses {
        address.relabel(old, new);
        route.add_address(index, &address).with_context(|| format!("address {address}"))?;
    }
    Ok(())
}

/// Opens an rtnetlink socket in `netns`, because a socket acts on the namespace in which it was created.
fn open_there(own: BorrowedFd<'_>, netns: BorrowedFd<'_>) -> Result<RtNetlink> {
    linux::process::setns(netns, libc::CLONE_NEWNET)
        .context("linux.netDevices: enter the container's network namespace")?;
    let there = RtNetlink::open();
    linux::process::setns(own, libc::CLONE_NEWNET).context("return to the own network namespace")?;
    there.context("linux.netDevices: netlink socket")
}

fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool> {
    let (a, b) = (fstat(a).context("own network namespace")?, fstat(b).context("network namespace")?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

#[cfg(test)]
mod tests;
