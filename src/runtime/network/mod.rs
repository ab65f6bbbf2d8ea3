//! Moving network interfaces into the container, and back when its making fails.
//!
//! Which ones is `plan::network`, the messages to the kernel are `linux::net`. The kernel keeps an interface's
//! attributes (MTU, hardware address, alias) but closes it on the way, with which its addresses are gone: they are
//! read before and given back after (ND-3). Routes are not kept. Once the container is created, its interfaces are its own
//! affair (ND-5).

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

/// Of the thread: croci has one, and tests have many.
const OWN: &str = "/proc/thread-self/ns/net";
/// Numbers that are tried for a name with `%d`.
const NUMBERS: u32 = 4096;

/// What makes an address what its owner configured; all else (interface, namespace, counters) belongs to its old place.
const COPIED_FIELDS: [u16; 7] =
    [IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_RT_PRIORITY, IFA_PROTO];
/// Flags that a user sets: nodad, optimistic, home, mngtmpaddr, noprefixroute, autojoin. The others are the kernel's
/// findings, which it makes anew.
const SETTABLE: u32 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;

/// Interfaces that were moved. While this lives, so does the container's network namespace.
#[derive(Debug)]
pub(crate) struct Moved {
    own: OwnedFd,
    here: RtNetlink,
    there: RtNetlink,
    links: Vec<MovedLink>,
}

/// One of them, with what it was before.
#[derive(Debug)]
struct MovedLink {
    before: Link,
    addresses: Vec<Address>,
    /// Its name there.
    name: String,
}

/// Moves `devices` into `netns`: all of them, or none.
///
/// # Errors
/// An interface is missing, cannot move, or its name is taken there; the namespace is the one of the runtime.
pub(crate) fn move_in(devices: &[Device], netns: BorrowedFd<'_>) -> Result<Moved> {
    let own = open(OWN, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).context("own network namespace")?;
    if same_file(own.as_fd(), netns)? {
        bail!("linux.netDevices: the container's network namespace is the runtime's own");
    }
    let mut here = RtNetlink::open().context("linux.netDevices: netlink socket")?;
    // everything is looked at before anything is changed
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
            // the reason counts; an interface that does not come back either is named after it
            return Err(match moved.undo() {
                Ok(()) => err,
                Err(stuck) => err.context(base::error::describe(&stuck)),
            });
        }
    }
    Ok(moved)
}

impl Moved {
    /// Moves everything back as it was: name, addresses, up or down. For a `create` that fails later on: a virtual
    /// interface would end with the container's namespace, one in a joined namespace would stay there.
    ///
    /// # Errors
    /// The first interface that does not come back; the others are tried all the same.
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
            // the kernel moves first and renames then: another process may have taken the name in between
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
        // moved under a name that is one of its own other names, it could not be renamed any more
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

/// The device's name there. The number for `%d` is found here and not by the kernel, which would have to be asked
/// afterwards what it has chosen, and counts the interface's present name among the taken ones.
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

/// The addresses that go with an interface: permanent ones that are valid everywhere.
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

/// A conversation with the kernel about `netns`: a socket belongs to the namespace that it was created in.
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
