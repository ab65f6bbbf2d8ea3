//! Files of the container or the kernel: ID mappings, users and groups, cgroups, mount tables.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a target reports a finding"
)]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::check_error;
use crate::cgroup::fuzzing as cgroup;
use crate::id_mapping::{IdMapping, IdMappings};
use crate::state::status;
use base::users;

/// Parses ID mappings and maps IDs at the edges of each range, compared with the definition.
pub fn id_maps(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let maps = IdMappings::parse(&text);
    let again = IdMappings::parse(&maps.to_string());
    assert_eq!(maps, again, "another meaning when it is read again");
    let edges = |range: &IdMapping| {
        let end = range.container.wrapping_add(range.size);
        [range.container, range.container.wrapping_sub(1), end, end.wrapping_sub(1), range.host]
    };
    for id in maps.iter().flat_map(edges).chain([0, 1, u32::MAX - 1, u32::MAX]).take(200) {
        let found = maps.to_host(id);
        assert_eq!(found, to_host(&maps, id), "{id} in {maps:?}");
        assert_eq!(maps.contains(id), found.is_some());
        assert_eq!(maps.range_to_host(id, 1), found);
        for size in [0, 2, 1000, u32::MAX] {
            if let Some(first) = maps.range_to_host(id, size).filter(|_| size > 0) {
                assert!(first.checked_add(size - 1).is_some_and(|last| last != u32::MAX), "{id}+{size} in {maps:?}");
            }
        }
    }
}

/// Maps an ID by the definition, in 64 bits.
fn to_host(maps: &IdMappings, id: u32) -> Option<u32> {
    maps.iter().find_map(|range| {
        let (id, first) = (u64::from(id), u64::from(range.container));
        let host = u64::from(range.host) + id.checked_sub(first).filter(|offset| *offset < u64::from(range.size))?;
        u32::try_from(host).ok().filter(|host| *host != u32::MAX)
    })
}

/// A directory of this process in memory, which the target fills again for each input.
fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(format!("/dev/shm/croci-fuzzing-{}-{name}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory in /dev/shm");
    dir
}

/// Looks users up: the input is the text to resolve, and the files passwd and group of an image, separated by NUL.
pub fn users(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let root = scratch("users");
    fs::create_dir_all(root.join("etc")).expect("a directory");
    for name in ["etc/passwd", "etc/group"] {
        fs::write(root.join(name), parts.next().unwrap_or_default()).expect("a file");
    }
    let dir = File::open(&root).expect("the directory");
    for user in [users::resolve_user(&text, dir.as_fd()), users::resolve_image_user(&text, dir.as_fd())] {
        match user {
            // the number that means "no change" would leave the caller's ID
            Ok(user) => {
                let ids = [user.uid].into_iter().chain(user.gid).chain(user.groups);
                assert!(ids.into_iter().all(|id| id != users::NO_CHANGE), "{text:?} is no ID");
            }
            Err(err) => check_error(&err),
        }
    }
    match users::parse_name(&text).and_then(|name| users::resolve_group(&name, dir.as_fd())) {
        Ok(gid) => assert_ne!(gid, users::NO_CHANGE, "{text:?} is no ID"),
        Err(err) => check_error(&err),
    }
    for uid in [0, 1000] {
        let home = users::home(uid, dir.as_fd()).expect("the file can be read");
        assert!(home.is_none_or(|home| !home.is_empty() && !home.contains(&b'\n')));
    }
    fs::remove_dir_all(&root).expect("the directory can be removed");
}

/// Reads every file of a cgroup and of a process, all with the input as their text.
pub fn cgroup_files(data: &[u8]) {
    cgroup::texts(data);
    let text = String::from_utf8_lossy(data);
    let _ = status::parse_stat(&text);
    for mount in base::mountinfo::parse(data) {
        assert!(!mount.has_super_option("ro") || mount.has_option("ro"), "{mount:?}");
    }
    if let Ok(set) = base::cpu_set::CpuSet::parse(&text) {
        assert!(set.contains_all(&set) && set.words().len() <= 1024);
    }
    let dir = scratch("cgroup");
    fs::write(dir.join("text"), data).expect("a file");
    for name in cgroup::FILES {
        link(&dir, name);
    }
    cgroup::stats(dir.to_str().expect("a path in UTF-8"));
    fs::remove_dir_all(&dir).expect("the directory can be removed");
}

/// Makes a name of the file with the input.
fn link(dir: &Path, name: &str) {
    fs::hard_link(dir.join("text"), dir.join(name)).expect("a link");
}
