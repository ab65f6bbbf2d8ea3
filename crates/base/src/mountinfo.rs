//! A parser for the mount table of a process, `/proc/PID/mountinfo`: see proc_pid_mountinfo(5).
//!
//! Mount points are bytes, as all paths, because an untrusted process may choose them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount ID.
    pub id: u64,
    /// Mount ID of the parent mount.
    pub parent: u64,
    /// Path of the mount's root in its file system.
    pub root: PathBuf,
    /// Mount point, below the root directory of the process.
    pub mount_point: PathBuf,
    /// Per-mount options: `rw,nosuid`.
    pub options: Vec<u8>,
    /// File system type.
    pub fs_type: Vec<u8>,
    /// Superblock options.
    pub super_options: Vec<u8>,
}

impl Mount {
    /// Parses a line: `36 35 98:0 /root /mount/point rw,noatime shared:1 - ext3 /dev/root rw,errors=continue`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let _device = fields.next()?;
        let root = unescape(fields.next()?);
        let mount_point = unescape(fields.next()?);
        let options = fields.next()?.to_vec();
        // zero or more optional fields end with a hyphen
        fields.by_ref().find(|field| *field == b"-")?;
        let fs_type = fields.next()?.to_vec();
        let _source = fields.next()?;
        let super_options = fields.collect::<Vec<_>>().join(&b' ');
        Some(Mount { id, parent, root, mount_point, options, fs_type, super_options })
    }

    /// Returns whether the mount or its superblock has this option.
    pub fn has_option(&self, name: &str) -> bool {
        has_word(&self.options, name) || self.has_super_option(name)
    }

    /// Returns whether the superblock has this option.
    pub fn has_super_option(&self, name: &str) -> bool {
        has_word(&self.super_options, name)
    }
}

fn has_word(options: &[u8], name: &str) -> bool {
    options.split(|byte| *byte == b',').any(|option| option == name.as_bytes())
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Reads and parses a mount table.
///
/// # Errors
/// As open(2) and read(2).
pub fn read(path: &str) -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read(path)?))
}

/// Parses a mount table; lines of another form are skipped.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect()
}

/// Decodes the octal escapes.
fn unescape(field: &[u8]) -> PathBuf {
    OsString::from_vec(linux::procfs::unescape(field)).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_field_of_a_line() {
        // the example of proc_pid_mountinfo(5)
        let line = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount {
            id: 36,
            parent: 35,
            root: "/mnt1".into(),
            mount_point: "/mnt2".into(),
            options: b"rw,noatime".to_vec(),
            fs_type: b"ext3".to_vec(),
            super_options: b"rw,errors=continue".to_vec(),
        };
        assert_eq!(parse(line), [mount]);
    }

    #[test]
    fn optional_fields_and_odd_sources() {
        for (line, fs_type, super_options) in [
            ("1 0 0:1 / / rw - tmpfs none rw", "tmpfs", "rw"),
            ("1 0 0:1 / / rw shared:2 master:1 propagate_from:3 unbindable - proc proc rw", "proc", "rw"),
            ("1 0 0:1 / / rw shared:1 - - - rw", "-", "rw"),
            ("1 0 0:1 / / rw -  x rw", "", "rw"),
            ("1 0 0:1 / / rw - tmpfs  rw", "tmpfs", "rw"),
            ("1 0 0:1 / / rw - fuse x rw,name=a b", "fuse", "rw,name=a b"),
            ("1 0 0:1 / / rw - fuse x", "fuse", ""),
        ] {
            let mounts = parse(line.as_bytes());
            let got = mounts.first().map(|mount| (mount.fs_type.as_slice(), mount.super_options.as_slice()));
            assert_eq!(got, Some((fs_type.as_bytes(), super_options.as_bytes())), "{line}");
        }
    }

    #[test]
    fn paths_are_bytes_with_octal_escapes() {
        for (field, want) in [
            (&br"/mnt\040a\134b\011c\012d\043"[..], &b"/mnt a\\b\tc\nd#"[..]),
            (br"/tail\04", br"/tail\04"),
            (br"/tail\", br"/tail\"),
            (br"/\999\777\08a", br"/\999\777\08a"),
            (br"/\134040", br"/\040"),
            (b"/\xff\xfe", b"/\xff\xfe"),
        ] {
            assert_eq!(unescape(field).as_os_str().as_encoded_bytes(), want);
        }
        let mounts = parse(b"1 0 0:1 /r\\040t /p\\011\xff rw - tmpfs none rw\n");
        let paths = mounts.first().map(|mount| (mount.root.clone(), mount.mount_point.clone()));
        assert_eq!(paths, Some(("/r t".into(), OsString::from_vec(b"/p\t\xff".to_vec()).into())));
    }

    #[test]
    fn other_lines_are_left_out() {
        for line in ["", "x", "x 0 0:1 / / rw - t s rw", "1 0 0:1 / / rw", "1 0 0:1 /", "-1 0 0:1 / / rw - t s rw"] {
            assert_eq!(parse(line.as_bytes()), [], "{line:?}");
        }
        let ids =
            parse(b"x\n1 0 0:1 / / rw - t s rw\n\n2 1 0:1 / /a rw - t s rw\n").iter().map(|m| m.id).collect::<Vec<_>>();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn options_are_whole_words() {
        let mounts = parse(b"1 0 0:1 / / ro,nosuid - cgroup c rw,cpu,name=systemd\n");
        let mount = mounts.first().unwrap();
        for (name, any, of_super) in [
            ("ro", true, false),
            ("rw", true, true),
            ("suid", false, false),
            ("cpu", true, true),
            ("name=systemd", true, true),
            ("name", false, false),
        ] {
            assert_eq!((mount.has_option(name), mount.has_super_option(name)), (any, of_super), "{name}");
        }
    }

    #[test]
    fn every_line_of_this_machine_is_read() {
        let text = std::fs::read("/proc/self/mountinfo").unwrap();
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        assert_eq!(read("/proc/self/mountinfo").unwrap().len(), lines);
        assert!(lines > 0);
    }
}
