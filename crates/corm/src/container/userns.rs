//! The user namespace of an unprivileged corm, in which it is root, with the IDs of /etc/subuid and /etc/subgid.
//!
//! corm unshares it and calls newuidmap and newgidmap; no process remains to keep it. Trees are mounted in a mount
//! namespace of it, which only the container's supervisor shares: later verbs enter the namespaces of the supervisor,
//! or, if it was killed, of the container's first process.

use base::coded;
use base::error::{Code, Coding as _};
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use base::host;
use linux::process;
use linux::process::CloneResult;

/// Returns whether corm lacks root privileges in the initial user namespace, also when it is root in another one.
pub fn unprivileged() -> bool {
    host::rootless()
}

/// Returns the caller's user ID in the user namespace in which corm was started.
pub fn real_uid() -> u32 {
    static UID: OnceLock<u32> = OnceLock::new();
    *UID.get_or_init(process::euid)
}

/// Returns whether this user namespace does not map the group `tty` (5).
pub fn single_id() -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    !map.lines().any(|line| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        let (first, _, count) = (numbers.next().unwrap_or(0), numbers.next(), numbers.next().unwrap_or(0));
        (first..first.saturating_add(count)).contains(&5)
    })
}

/// Makes an unprivileged user root in a new user and mount namespace; does nothing for root. The process must have one
/// thread.
///
/// # Errors
/// The kernel permits no user namespaces.
pub fn enter() -> Result<()> {
    let uid = real_uid();
    if uid == 0 || process::euid() == 0 {
        return Ok(());
    }
    let gid = nix::unistd::getegid().as_raw();
    let ranges = Ranges::of(uid)?;
    let (ready, go) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
    // newuidmap maps the IDs of another process: a child, in the old namespace, calls it
    let me = std::process::id();
    let helper = match ranges {
        None => None,
        Some(ranges) => match process::clone3(0, None).context("fork")? {
            CloneResult::Child => {
                drop(go);
                let mapped = std::fs::File::from(ready).read_exact(&mut [0]).is_ok() && ranges.map(me, uid, gid);
                process::exit(i32::from(!mapped))
            }
            CloneResult::Parent { pidfd, .. } => Some(pidfd),
        },
    };
    process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
        .code(Code::NamespaceDenied, "create a user namespace (unprivileged ones may be disabled on this machine)")?;
    let mapped = match helper {
        None => false,
        Some(helper) => {
            nix::unistd::write(&go, b"x").context("pipe")?;
            process::wait(helper.as_fd(), true).code(Code::IdMapping, "wait for newuidmap")?
                == Some(process::ExitStatus::Exited(0))
        }
    };
    if !mapped {
        map_one(uid, gid)?;
    }
    Ok(())
}

/// Maps only the caller's own IDs, which needs no privilege.
fn map_one(uid: u32, gid: u32) -> Result<()> {
    let write =
        |file: &str, text: String| std::fs::write(format!("/proc/self/{file}"), text).with_context(|| file.to_owned());
    // required by the kernel, because dropping a group could bypass permissions that deny it
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

/// A range of subordinate IDs: the first and the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ranges {
    uids: (u32, u32),
    gids: (u32, u32),
}

impl Ranges {
    fn of(uid: u32) -> Result<Option<Self>> {
        let name = host::user_name(uid);
        let find = |file: &str| std::fs::read_to_string(file).ok().and_then(|text| subordinate_ids(&text, &name, uid));
        Ok(find("/etc/subuid").zip(find("/etc/subgid")).map(|(uids, gids)| Self { uids, gids }))
    }

    fn map(self, pid: u32, uid: u32, gid: u32) -> bool {
        let run = |program: &str, own: u32, (first, count): (u32, u32)| {
            let numbers = [pid, 0, own, 1, 1, first, count].map(|number| number.to_string());
            let quiet = Command::new(program).args(numbers).stdin(Stdio::null()).stdout(Stdio::null()).status();
            quiet.is_ok_and(|status| status.success())
        };
        run("newuidmap", uid, self.uids) && run("newgidmap", gid, self.gids)
    }
}

/// Returns the largest range of `NAME:FIRST:COUNT` lines for a user.
fn subordinate_ids(text: &str, name: &str, uid: u32) -> Option<(u32, u32)> {
    ranges_of(text, name, Some(uid)).into_iter().max_by_key(|(_, count)| *count)
}

/// Returns the ranges of `NAME:FIRST:COUNT` lines for a user, who is named by the number in some.
pub(super) fn ranges_of(text: &str, name: &str, uid: Option<u32>) -> Vec<(u32, u32)> {
    let number = uid.map(|uid| uid.to_string());
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let whose = fields.next()?;
            let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            let mine = !whose.is_empty() && (whose == name || Some(whose) == number.as_deref());
            (mine && count > 0 && fields.next().is_none()).then_some((first, count))
        })
        .collect()
}

/// Enters the namespaces with a container's mounted tree: those of its supervisor, else those of the container's first
/// process `init`, without the mount namespace; without either, new ones.
///
/// # Errors
/// The namespaces are another user's.
pub fn enter_existing(supervisor: Option<i32>, init: Option<i32>) -> Result<()> {
    if real_uid() == 0 || process::euid() == 0 {
        return Ok(());
    }
    let both = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
    if let Some(pidfd) = supervisor.and_then(|pid| process::pidfd_open(pid).ok()) {
        return process::setns(pidfd.as_fd(), both).context("enter the namespaces of the container's supervisor");
    }
    if let Some(pidfd) = init.and_then(|pid| process::pidfd_open(pid).ok()) {
        process::setns(pidfd.as_fd(), libc::CLONE_NEWUSER)
            .code(Code::NamespaceDenied, "enter the user namespace of the container")?;
        return process::unshare(libc::CLONE_NEWNS).context("create a mount namespace");
    }
    enter()?;
    if process::euid() != 0 {
        bail!(coded!(NamespaceDenied, "the user namespace has no root"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_range_of_the_user_is_taken() {
        let text = "# comment\nother:1:100\nme:100000:65536\nme:5:6\n1001:300000:70000\nme:x:9\nme:7:0\nme:1:2:3\n:1:99999999\n";
        assert_eq!(subordinate_ids(text, "me", 1001), Some((300_000, 70_000)));
        assert_eq!(subordinate_ids(text, "me", 5), Some((100_000, 65_536)));
        assert_eq!(subordinate_ids(text, "", 4), None);
        assert_eq!(subordinate_ids("", "me", 1), None);
    }
}
