//! File system options that are too long for fsconfig(2): `lowerdir` of an overlay directory by directory, others by
//! mount(2).

use base::coded;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail};

use super::unmount;
use crate::plan::mount::FsOption;
use crate::plan::mount::NewFs;
use linux::mount as sys_mount;
use linux::mount::FsContext;
use linux::path as sys_path;

/// Length of the longest value in bytes that fsconfig(2) takes.
const MAX_VALUE: usize = 255;

/// Length in bytes of the longest data of mount(2): a page, with its NUL. The kernel cuts more without an error.
const MAX_DATA: usize = 4095;

/// Reports whether the value of an option is too long for fsconfig(2).
fn is_long(option: &FsOption) -> bool {
    option.value.as_ref().is_some_and(|value| value.as_bytes().len() > MAX_VALUE)
}

/// Reports whether an option is too long for fsconfig(2).
pub(super) fn any(options: &[FsOption]) -> bool {
    options.iter().any(is_long)
}

/// Returns the directories of a long `lowerdir`; `None` for another option, or if one is too long.
fn long_lowerdir(new: &NewFs, option: &FsOption) -> Option<Vec<(&'static CStr, CString)>> {
    let is_lowerdir = new.fs.as_c_str() == c"overlay" && option.key.as_c_str() == c"lowerdir" && is_long(option);
    is_lowerdir.then(|| layers(option.value.as_deref().unwrap_or_default())).flatten()
}

/// Reports whether fsconfig(2) takes all options, a long `lowerdir` directory by directory. `fs` is a context to try
/// that: Linux 6.7 and newer do.
pub(super) fn is_by_directory(fs: &FsContext, new: &NewFs) -> bool {
    let others = new.options.iter().all(|option| !is_long(option) || long_lowerdir(new, option).is_some());
    others && fs.option(c"lowerdir+", Some(c"/")).is_ok()
}

/// Sets a long `lowerdir` directory by directory; `false` for another option.
///
/// # Errors
/// As fsconfig(2).
pub(super) fn set_lowerdir(fs: &FsContext, new: &NewFs, option: &FsOption) -> Result<bool> {
    let Some(layers) = long_lowerdir(new, option) else { return Ok(false) };
    for (key, layer) in &layers {
        fs.option(key, Some(layer)).with_context(|| format!("option {key:?} {layer:?}"))?;
    }
    Ok(true)
}

/// Splits a `lowerdir` at the colons that no backslash precedes, and removes the backslashes. After `::` are directories
/// with data alone. `None`: one is too long.
fn layers(value: &CStr) -> Option<Vec<(&'static CStr, CString)>> {
    let (mut list, mut current, mut key) = (Vec::new(), Vec::new(), c"lowerdir+");
    let mut bytes = value.to_bytes().iter().copied();
    loop {
        match bytes.next() {
            Some(b'\\') => current.extend(bytes.next()),
            Some(byte) if byte != b':' => current.push(byte),
            Some(_) if current.is_empty() => key = c"datadir+",
            end => {
                if current.len() > MAX_VALUE {
                    return None;
                }
                list.push((key, CString::new(std::mem::take(&mut current)).ok()?));
                if end.is_none() {
                    return Some(list);
                }
            }
        }
    }
}

/// Creates a file system by mount(2) and returns its detached mount. `place` is a directory on which a tmpfs is mounted
/// meanwhile, because mount(2) needs a mount point, and no other process can change that one.
///
/// # Errors
/// As mount(2); the options together are too long.
pub(super) fn mount(
    new: &NewFs,
    label: Option<(&CStr, &CStr)>,
    place: BorrowedFd<'_>,
    proc_dir: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    let (flags, data) = flags_and_data(&new.options, label)?;
    let fs = FsContext::open(c"tmpfs").context("tmpfs")?;
    fs.create().context("tmpfs")?;
    let tmpfs = fs.mount(sys_mount::ATTR_NOSUID | sys_mount::ATTR_NODEV).context("tmpfs")?;
    sys_path::mkdirat(tmpfs.as_fd(), c"m", 0o700)?;
    sys_mount::move_mount(tmpfs.as_fd(), place).context("tmpfs")?;
    let mounted = mount_in(new, flags, &data, tmpfs.as_fd(), proc_dir);
    unmount::detach(tmpfs.as_fd(), proc_dir)?;
    mounted
}

fn mount_in(new: &NewFs, flags: u64, data: &CStr, tmpfs: BorrowedFd<'_>, proc_dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let place = sys_path::openat(tmpfs, c"m", libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
    let link = CString::new(format!("self/fd/{}", place.as_raw_fd()))?;
    unmount::in_directory(proc_dir, || sys_mount::mount(&new.source, &link, &new.fs, flags, data))
        .with_context(|| format!("{:?} with {:?}", new.fs, data.to_string_lossy()))?;
    let mounted = sys_path::openat(tmpfs, c"m", libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
    Ok(sys_mount::clone_fd(mounted.as_fd(), false)?)
}

/// Returns the options as flags and data of mount(2).
fn flags_and_data(options: &[FsOption], label: Option<(&CStr, &CStr)>) -> Result<(u64, CString)> {
    const FLAGS: [(&CStr, u64); 5] = [
        (c"ro", libc::MS_RDONLY),
        (c"sync", libc::MS_SYNCHRONOUS),
        (c"dirsync", libc::MS_DIRSYNC),
        (c"mand", libc::MS_MANDLOCK),
        (c"lazytime", 1 << 25),
    ];
    let (mut flags, mut data) = (0, Vec::new());
    let options = options.iter().map(|option| (option.key.as_c_str(), option.value.as_deref()));
    for (key, value) in label.map(|(key, value)| (key, Some(value))).into_iter().chain(options) {
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| value.is_none() && *name == key) {
            flags |= flag;
            continue;
        }
        if !data.is_empty() {
            data.push(b',');
        }
        data.extend_from_slice(key.to_bytes());
        if let Some(value) = value {
            data.push(b'=');
            data.extend_from_slice(value.to_bytes());
        }
    }
    if data.len() > MAX_DATA {
        bail!(coded!(MountOptions, "the options have {} bytes, at most {MAX_DATA} are possible", data.len()));
    }
    Ok((flags, CString::new(data)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lower_directories_are_split_at_colons_without_a_backslash() {
        let list = |value| layers(value).unwrap();
        let lower = |path: &CStr| (c"lowerdir+", path.to_owned());
        assert_eq!(list(c"/a:/b"), [lower(c"/a"), lower(c"/b")]);
        assert_eq!(list(c"/a\\:b:/c\\,d"), [lower(c"/a:b"), lower(c"/c,d")]);
        assert_eq!(list(c"/a::/d:"), [lower(c"/a"), (c"datadir+", c"/d".to_owned()), (c"datadir+", c"".to_owned())]);
        assert_eq!(layers(&CString::new("x".repeat(256)).unwrap()), None);
    }

    #[test]
    fn flags_of_the_superblock_are_no_data() {
        let option =
            |key: &CStr, value: Option<&CStr>| FsOption { key: key.to_owned(), value: value.map(CStr::to_owned) };
        let options = [option(c"ro", None), option(c"upperdir", Some(c"/u")), option(c"userxattr", None)];
        let (flags, data) = flags_and_data(&options, Some((c"context", c"x"))).unwrap();
        assert_eq!((flags, data.as_c_str()), (libc::MS_RDONLY, c"context=x,upperdir=/u,userxattr"));
        assert!(flags_and_data(&[option(c"upperdir", Some(&CString::new("x".repeat(4090)).unwrap()))], None).is_err());
    }
}
