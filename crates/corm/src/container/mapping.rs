//! The user namespace of a new container: its ranges of IDs.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use linux::process;
use linux::process::CloneResult;

use super::userns::{self, ranges_of};
use crate::config::settings::userns::{Mapping, Mode, Range, UserNamespace, Wanted};
use crate::store::Store;
use base::fs::lock::{Locked, create_locked};
use base::users;

/// User whose subordinate IDs `auto` takes, as in Podman.
const AUTO_USER: &str = "containers";

/// Least number of IDs of `auto`, and most without `size=`.
const AUTO_SIZES: (u32, u32) = (1024, 65536);

/// ID of a user who owns nothing, which needs no place in a range.
const NOBODY: u32 = 65534;

/// The namespace of a container, and for `auto` the lock to hold until its record is written.
pub(super) type Found = (UserNamespace, Option<Locked>);

/// Finds the namespace; `None` for corm's own. `user` is the container's, for the size of `auto`.
///
/// # Errors
/// No ranges; another container or file that does not exist; what needs root, or an ordinary user.
pub(super) fn find(store: &Store, wanted: &Wanted, root: BorrowedFd<'_>, user: (u32, u32)) -> Result<Option<Found>> {
    let new = |mapping: Mapping| Ok(Some((UserNamespace { mapping, path: None }, None)));
    match &wanted.mode {
        Mode::Host => Ok(None),
        _ if userns::unprivileged() => bail!("--userns: only host is built without root"),
        Mode::Private => match &wanted.names {
            None => new(wanted.ranges.clone()),
            Some((user, group)) => new(of_names(user, group)?),
        },
        Mode::KeepId(None, None) => {
            let all = vec![Range { inside: 0, outside: 0, count: u32::MAX }];
            new(Mapping { uids: all.clone(), gids: all })
        }
        Mode::KeepId(..) => bail!("--userns keep-id:uid=,gid=: root keeps all IDs, so there is none to choose"),
        Mode::NoMap => bail!("--userns nomap: is not for root, without whose IDs there would be none"),
        Mode::Auto(size) => {
            let lock = store.root().join("userns.lock");
            let lock = create_locked(&lock).with_context(|| format!("lock {lock:?}"))?;
            let mapping = auto(store, *size, &wanted.ranges, root, user).context("--userns auto")?;
            Ok(Some((UserNamespace { mapping, path: None }, Some(lock))))
        }
        Mode::Container(name) => {
            let other = store.find_container(name).with_context(|| format!("--userns container:{name}"))?;
            // its process is found at each start (`container::join`)
            let path = Some("/proc/0/ns/user".into());
            Ok(other.setup.userns.map(|found| (UserNamespace { path, ..found }, None)))
        }
        Mode::Path(path) => {
            let mapping = of_namespace(path).with_context(|| format!("--userns ns:{}", path.display()))?;
            Ok(Some((UserNamespace { mapping, path: Some(path.clone()) }, None)))
        }
    }
}

/// Returns the subordinate IDs of two users, in the container from 0 on.
fn of_names(user: &str, group: &str) -> Result<Mapping> {
    let find = |file: &str, name: &str| -> Result<Vec<Range>> {
        let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
        let ranges = ranges_of(&text, name, name.parse().ok());
        ensure!(!ranges.is_empty(), "{file}: has no range of {name:?}");
        let mut inside = 0;
        let mut all = Vec::new();
        for (outside, count) in ranges {
            all.push(Range { inside, outside, count });
            inside = inside.checked_add(count).with_context(|| format!("{file}: too many IDs of {name:?}"))?;
        }
        Ok(all)
    };
    let mapping = Mapping { uids: find("/etc/subuid", user)?, gids: find("/etc/subgid", group)? };
    mapping.check()?;
    Ok(mapping)
}

/// Chooses IDs that no other container has.
fn auto(store: &Store, size: Option<u32>, given: &Mapping, root: BorrowedFd<'_>, user: (u32, u32)) -> Result<Mapping> {
    let size = size.map_or_else(|| size_for(root, user), Ok)?;
    let find = |file: &str| -> Result<Vec<(u32, u32)>> {
        let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
        let ranges = ranges_of(&text, AUTO_USER, None);
        ensure!(!ranges.is_empty(), "{file}: has no range of the user {AUTO_USER:?}: add {AUTO_USER}:FIRST:COUNT");
        Ok(ranges)
    };
    let (users, groups) = (find("/etc/subuid")?, find("/etc/subgid")?);
    let taken: Vec<Mapping> =
        store.containers()?.into_iter().filter_map(|other| Some(other.setup.userns?.mapping)).collect();
    let free = |ranges: &[(u32, u32)], own: &[Range], of: fn(&Mapping) -> &Vec<Range>| -> Result<Vec<Range>> {
        let used: Vec<(u32, u32)> =
            taken.iter().flat_map(of).chain(own).map(|range| (range.outside, range.count)).collect();
        let outside = first_free(ranges, used, size).with_context(|| format!("no {size} IDs are free"))?;
        let mut all = without(size, outside, own);
        all.extend(own);
        Ok(all)
    };
    let mapping = Mapping {
        uids: free(&users, &given.uids, |mapping| &mapping.uids)?,
        gids: free(&groups, &given.gids, |mapping| &mapping.gids)?,
    };
    mapping.check()?;
    Ok(mapping)
}

/// Returns the first ID of `size` free ones.
fn first_free(ranges: &[(u32, u32)], mut used: Vec<(u32, u32)>, size: u32) -> Option<u32> {
    used.sort_unstable();
    ranges.iter().find_map(|&(first, count)| {
        let end = u64::from(first) + u64::from(count);
        let mut at = u64::from(first);
        for &(start, count) in &used {
            let (start, stop) = (u64::from(start), u64::from(start) + u64::from(count));
            if at + u64::from(size) > start && stop > at {
                at = stop;
            }
        }
        u32::try_from(at).ok().filter(|_| at + u64::from(size) <= end)
    })
}

/// Returns the ranges of `size` IDs from 0 on, without those that are given.
fn without(size: u32, outside: u32, given: &[Range]) -> Vec<Range> {
    let mut sorted = given.to_vec();
    sorted.sort_unstable_by_key(|range| range.inside);
    let (mut inside, mut outside, mut left) = (0, outside, size);
    let mut all = Vec::new();
    let mut push = |inside: u32, outside: u32, count: u32| {
        if count > 0 {
            all.push(Range { inside, outside, count });
        }
    };
    for range in sorted {
        let count = range.inside.saturating_sub(inside).min(left);
        push(inside, outside, count);
        (inside, outside, left) = (range.inside.saturating_add(range.count), outside + count, left - count);
    }
    push(inside, outside, left.min(u32::MAX - inside));
    all
}

/// Returns how many IDs the image's users and groups, and the container's own, need.
fn size_for(root: BorrowedFd<'_>, (uid, gid): (u32, u32)) -> Result<u32> {
    let mut largest = uid.max(gid);
    for file in [c"etc/passwd", c"etc/group"] {
        // an image may have none
        let bytes = users::read(root, file).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let ids = text.lines().flat_map(|line| line.split(':').skip(2).take(2)).filter_map(|word| word.parse().ok());
        largest = ids.filter(|id| *id < NOBODY).fold(largest, u32::max);
    }
    ensure!(largest < u32::MAX, "the user has no place in a range");
    Ok((largest + 1).clamp(AUTO_SIZES.0, AUTO_SIZES.1.max(largest + 1)))
}

/// Returns the mapping of an existing user namespace, as this process sees it.
fn of_namespace(path: &Path) -> Result<Mapping> {
    let namespace = File::open(path)?;
    let (wait, done) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
    let (joined, tell) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
    // the kernel shows the mapping of a namespace by a process in it
    let (pid, child) = match process::clone3(0, None).context("fork")? {
        CloneResult::Child => {
            drop((done, joined));
            process::exit(i32::from(!in_namespace(&namespace, &tell, &wait)))
        }
        CloneResult::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((wait, tell));
    let found = nix::unistd::read(&joined, &mut [0]).context("pipe").and_then(|count| {
        ensure!(count == 1, "is no user namespace that can be joined");
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).with_context(|| name.to_owned());
        let (uids, gids) = (read("uid_map")?, read("gid_map")?);
        let mapping = Mapping::of_files([&uids, &gids])?;
        mapping.check()?;
        Ok(mapping)
    });
    drop(done);
    process::wait(child.as_fd(), true).context("wait for a fork")?;
    found
}

/// Joins the namespace, reports that, and waits until the parent closes its end.
fn in_namespace(namespace: &File, tell: &OwnedFd, wait: &OwnedFd) -> bool {
    process::setns(namespace.as_fd(), libc::CLONE_NEWUSER).is_ok()
        && nix::unistd::write(tell, b"x").is_ok()
        && nix::unistd::read(wait, &mut [0]).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ids_of_other_containers_are_left_out() {
        assert_eq!(first_free(&[(100, 50)], vec![], 50), Some(100));
        assert_eq!(first_free(&[(100, 50)], vec![(110, 10), (100, 10)], 30), Some(120));
        assert_eq!(first_free(&[(100, 50)], vec![(110, 10)], 10), Some(100));
        assert_eq!(first_free(&[(100, 50), (500, 40)], vec![(120, 10)], 30), Some(500));
        assert_eq!(first_free(&[(100, 50)], vec![], 51), None);
    }

    #[test]
    fn given_ranges_have_their_places() {
        let given = [Range { inside: 10, outside: 5, count: 2 }];
        let all: Vec<_> = without(20, 1000, &given).iter().map(|r| (r.inside, r.outside, r.count)).collect();
        assert_eq!(all, [(0, 1000, 10), (12, 1010, 10)]);
        assert_eq!(without(3, 7, &[]), [Range { inside: 0, outside: 7, count: 3 }]);
    }
}
