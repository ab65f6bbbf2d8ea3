//! Look-ups in the container's passwd and group files: home directories, and the names of `exec -u` and of an image's
//! user.
//!
//! The image controls these files: they may be a fifo, endless, or malformed (CVE-2026-47262).

use super::{Name, parse_user};
use crate::coded;
use crate::error::{Code, Coding as _};
use anyhow::{Result, bail};
use nix::fcntl::{OFlag, ResolveFlag};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

/// Maximum size of a file, in bytes; a real one with 100 000 users has about 6 MiB.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Maximum length of a line, in bytes; the longest real ones are groups with thousands of members.
const MAX_LINE_BYTES: usize = 64 << 10;

/// The relevant fields of a passwd entry.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    uid: u32,
    gid: u32,
    home: Vec<u8>,
}

/// A resolved user of `exec -u`, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User ID.
    pub uid: u32,
    /// Group ID: the named one, else that of the passwd entry when the user was named, else unset.
    pub gid: Option<u32>,
    /// The groups that list the user, when the user was named and no group was given; for an image's user also `gid`,
    /// first.
    pub groups: Vec<u32>,
}

impl User {
    /// Adds the group to the supplementary groups, because a set-group-ID program that changes its group would
    /// otherwise bypass permissions that deny this group: they apply only while a process is a member (CVE-2022-36109).
    fn with_own_group(mut self) -> Self {
        if let Some(gid) = self.gid.filter(|gid| !self.groups.contains(gid)) {
            self.groups.insert(0, gid);
        }
        self
    }
}

/// Resolves `USER[:GROUP]` to numbers; names are looked up below `root`, the container's root directory.
///
/// # Errors
/// As [`parse_user`]; an unknown name.
pub fn resolve_user(text: &str, root: BorrowedFd<'_>) -> Result<User> {
    let spec = parse_user(text)?;
    let (uid, mut gid, mut groups) = match &spec.user {
        Name::Id(uid) => (*uid, None, vec![]),
        Name::Name(name) => {
            let passwd = read(root, c"etc/passwd").code(Code::ProcessUser, "/etc/passwd of the container")?;
            let entry = lines(&passwd).find_map(|line| passwd_entry(line, |found, _| found == name.as_bytes()));
            let Some(entry) = entry else {
                bail!(coded!(ProcessUser, "user {name:?}: no such user in /etc/passwd of the container"))
            };
            (entry.uid, Some(entry.gid), memberships(root, name)?)
        }
    };
    if let Some(group) = &spec.group {
        groups.clear();
        gid = Some(resolve_group(group, root)?);
    }
    Ok(User { uid, gid, groups })
}

/// Resolves the user of an image's configuration to numbers and always adds its group. An empty text means root. A
/// number gets the group and memberships of the image's files, and needs no files.
///
/// # Errors
/// As [`resolve_user`].
pub fn resolve_image_user(text: &str, root: BorrowedFd<'_>) -> Result<User> {
    let text = if text.is_empty() { "0" } else { text };
    let spec = parse_user(text)?;
    let user = match spec.user {
        Name::Id(uid) if spec.group.is_none() => user_of_id(uid, root),
        _ => resolve_user(text, root)?,
    };
    Ok(user.with_own_group())
}

/// Resolves a user ID; group and memberships are those of its first passwd entry, if there is one.
fn user_of_id(uid: u32, root: BorrowedFd<'_>) -> User {
    // unreadable, a fifo, endless: a number needs no file
    let passwd = read(root, c"etc/passwd").unwrap_or_default();
    let mut name = None;
    let mut matches = |found: &[u8], id: u32| {
        name = (id == uid).then(|| String::from_utf8_lossy(found).into_owned());
        name.is_some()
    };
    let entry = lines(&passwd).find_map(|line| passwd_entry(line, &mut matches));
    let groups = name.map(|name| memberships(root, &name).unwrap_or_default()).unwrap_or_default();
    User { uid, gid: Some(entry.map_or(0, |entry| entry.gid)), groups }
}

/// Resolves a group of `exec -u` or `exec -g` to a number.
///
/// # Errors
/// An unknown name.
pub fn resolve_group(group: &Name, root: BorrowedFd<'_>) -> Result<u32> {
    let name = match group {
        Name::Id(gid) => return Ok(*gid),
        Name::Name(name) => name,
    };
    let file = read(root, c"etc/group").code(Code::ProcessUser, "/etc/group of the container")?;
    let gid = lines(&file).find_map(|line| group_entry(line).filter(|(found, _, _)| *found == name.as_bytes()));
    let Some((_, gid, _)) = gid else {
        bail!(coded!(ProcessUser, "group {name:?}: no such group in /etc/group of the container"))
    };
    Ok(gid)
}

fn memberships(root: BorrowedFd<'_>, user: &str) -> Result<Vec<u32>> {
    let file = match read(root, c"etc/group") {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        file => file.code(Code::ProcessUser, "/etc/group of the container")?,
    };
    let is_member = |members: &[u8]| members.split(|b| *b == b',').any(|member| member == user.as_bytes());
    Ok(lines(&file)
        .filter_map(group_entry)
        .filter(|(_, _, members)| is_member(members))
        .map(|(_, gid, _)| gid)
        .collect())
}

/// Returns the home directory of a user in the container's passwd file; `root` is the container's root directory.
/// `None`: the file is missing, or has no such user.
///
/// # Errors
/// The file cannot be read: it is none that croci reads (a fifo, a loop of symlinks), too many open files, no permission.
pub fn home(uid: u32, root: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    let passwd = match read(root, c"etc/passwd") {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        passwd => passwd?,
    };
    let entry = lines(&passwd).find_map(|line| passwd_entry(line, |_, found| found == uid));
    Ok(entry.map(|entry| entry.home).filter(|home| !home.is_empty()))
}

/// Reads a small regular file below `root`. Its type is checked before it is opened, because opening a device or fifo
/// has side effects, and kernel file systems may have content for the machine's root only (`/proc/kmsg`).
///
/// # Errors
/// It is missing, another type of file, or too large.
pub fn read(root: BorrowedFd<'_>, path: &std::ffi::CStr) -> io::Result<Vec<u8>> {
    let open = |flags: OFlag| -> io::Result<File> {
        let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        Ok(linux::resolve::open(root, path, flags, resolve)?.into())
    };
    let found = open(OFlag::O_PATH)?;
    let meta = found.metadata()?;
    if !meta.file_type().is_file() {
        let what = if meta.file_type().is_fifo() { "is a fifo" } else { "is not a regular file" };
        return Err(io::Error::other(what));
    }
    if is_pseudo_file_system(&found)? {
        return Err(io::Error::other("is a file that the kernel makes"));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("is larger than 8 MiB"));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    // reopened by its path, because this may be a process of the container, whose /proc is untrusted; without blocking
    let file = open(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (meta.dev(), meta.ino()) {
        return Err(io::Error::other("another file has taken its place"));
    }
    // the size may have changed
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns whether the file is on a kernel pseudo file system.
fn is_pseudo_file_system(file: &File) -> io::Result<bool> {
    const OTHERS: [i64; 8] = [
        0x6265_6572, // sysfs
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0xcafe_4a11, // bpf
        0xde5e_81e4, // efivarfs
    ];
    let kind = nix::sys::statfs::fstatfs(file)?.filesystem_type();
    Ok(kind == nix::sys::statfs::PROC_SUPER_MAGIC
        || OTHERS.iter().any(|other| i128::from(kind.0) == i128::from(*other)))
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n').filter(|line| line.len() <= MAX_LINE_BYTES)
}

/// Parses `name:password:uid:gid:gecos:home:shell` when `wanted` accepts name and uid; malformed lines are skipped.
fn passwd_entry(line: &[u8], mut wanted: impl FnMut(&[u8], u32) -> bool) -> Option<Entry> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?;
    fields.next()?;
    let uid = number(fields.next()?)?;
    if !wanted(name, uid) {
        return None;
    }
    let gid = number(fields.next()?)?;
    let home = fields.nth(1).unwrap_or_default();
    Some(Entry { uid, gid, home: home.to_vec() })
}

/// Parses `name:password:gid:members`.
fn group_entry(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?;
    fields.next()?;
    Some((name, number(fields.next()?)?, fields.next().unwrap_or_default()))
}

fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use linux::testing::TempDir;
    use std::os::fd::AsFd as _;
    use std::time::{Duration, Instant};

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# comment:x:5:5::/no:\n:x:7:7::/no:\nbad:x:-1:0::/no:\n\
        short:x:9:90\nweb:x:33:34:w w:/srv/web:/bin/false\nodd:x:4294967295:0::/no:\nroot2:x:0:5::/other:\nnohome:x:44:44:::\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nadm:x:4:syslog,web\nssl:x:110:web\nbad:x:x:web\nprefix:x:8:webby\n";

    #[test]
    fn e2_names_are_looked_up_in_the_container() {
        let dir = TempDir::new();
        dir.write("etc/passwd", PASSWD.as_bytes());
        dir.write("etc/group", GROUP.as_bytes());
        let root = File::open(dir.path()).unwrap();
        let user = |uid, gid, groups: &[u32]| User { uid, gid, groups: groups.to_vec() };
        for (text, want) in [
            ("0", user(0, None, &[])),
            ("12345", user(12345, None, &[])),
            ("12345:6", user(12345, Some(6), &[])),
            ("root", user(0, Some(0), &[])),
            ("web", user(33, Some(34), &[4, 110])),
            ("web:root", user(33, Some(0), &[])),
            ("web:7", user(33, Some(7), &[])),
            ("33:adm", user(33, Some(4), &[])),
            ("short", user(9, Some(90), &[])),
        ] {
            assert_eq!(resolve_user(text, root.as_fd()).unwrap(), want, "{text}");
        }
        for text in ["nobody", "bad", "odd", "comment", "web:none", "33:bad", "we", "webx", ""] {
            assert!(resolve_user(text, root.as_fd()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_user_of_an_image_always_has_a_group() {
        let dir = TempDir::new();
        let root = File::open(dir.path()).unwrap();
        let user = |uid, gid, groups: &[u32]| User { uid, gid: Some(gid), groups: groups.to_vec() };
        // without any files
        assert_eq!(resolve_image_user("", root.as_fd()).unwrap(), user(0, 0, &[0]));
        assert_eq!(resolve_image_user("33", root.as_fd()).unwrap(), user(33, 0, &[0]));
        assert_eq!(resolve_image_user("33:34", root.as_fd()).unwrap(), user(33, 34, &[34]));
        assert!(resolve_image_user("web", root.as_fd()).is_err());
        dir.write("etc/passwd", PASSWD.as_bytes());
        dir.write("etc/group", GROUP.as_bytes());
        for (text, want) in [
            ("", user(0, 0, &[0])),
            ("33", user(33, 34, &[34, 4, 110])),
            ("9", user(9, 90, &[90])),
            ("web", user(33, 34, &[34, 4, 110])),
            ("web:root", user(33, 0, &[0])),
            ("web:7", user(33, 7, &[7])),
            ("33:adm", user(33, 4, &[4])),
            ("2147483648", user(1 << 31, 0, &[0])),
        ] {
            assert_eq!(resolve_image_user(text, root.as_fd()).unwrap(), want, "{text}");
        }
        for text in ["-1", "4294967295", "4294967296", "33 ", "33\n", "web\n", " web", "nobody", "web:none"] {
            assert!(resolve_image_user(text, root.as_fd()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pr_3_home_comes_from_the_first_entry_of_the_uid() {
        let dir = TempDir::new();
        dir.write("etc/passwd", PASSWD.as_bytes());
        let root = File::open(dir.path()).unwrap();
        for (uid, want) in [(0, Some("/root")), (33, Some("/srv/web")), (44, None), (9, None), (5, None), (1234, None)]
        {
            assert_eq!(home(uid, root.as_fd()).unwrap().as_deref(), want.map(str::as_bytes), "uid {uid}");
        }
    }

    #[test]
    fn sec_20_odd_files_fail_fast() {
        let started = Instant::now();
        let dir = TempDir::new();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let root = File::open(dir.path()).unwrap();
        let passwd = dir.path().join("etc/passwd");
        let err = || format!("{:#}", resolve_user("web", root.as_fd()).unwrap_err());
        assert!(err().contains("No such file"), "missing");
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // a writer is let go as soon as a process opens the fifo to read
        let opened = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (seen, at) = (opened.clone(), passwd.clone());
        let writer = std::thread::spawn(move || {
            File::options().write(true).open(at).unwrap();
            seen.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(err().contains("is a fifo"), "{}", err());
        std::thread::sleep(Duration::from_millis(100));
        assert!(!opened.load(std::sync::atomic::Ordering::SeqCst), "the fifo was opened");
        drop(File::options().read(true).write(true).open(&passwd).unwrap());
        writer.join().unwrap();
        std::fs::remove_file(&passwd).unwrap();
        File::create(&passwd).unwrap().set_len(4 << 30).unwrap();
        assert!(err().contains("8 MiB"), "{}", err());
        std::fs::remove_file(&passwd).unwrap();
        std::fs::create_dir(&passwd).unwrap();
        assert!(err().contains("not a regular file"), "{}", err());
        std::fs::remove_dir(&passwd).unwrap();
        // a link that leaves the root is resolved inside of it
        std::os::unix::fs::symlink("../../../../../../etc/passwd", &passwd).unwrap();
        assert!(resolve_user("root", root.as_fd()).is_err());
        std::fs::remove_file(&passwd).unwrap();
        let long = [b"web:x:1:1:".as_slice(), &[b'a'; MAX_LINE_BYTES], b":/:\nweb:x:2:2::/:\n"].concat();
        std::fs::write(&passwd, long).unwrap();
        assert_eq!(resolve_user("web", root.as_fd()).unwrap().uid, 2, "the endless line is skipped");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
