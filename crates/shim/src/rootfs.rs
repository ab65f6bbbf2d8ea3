//! The root file system: mounted as containerd says, on the bundle's `rootfs`.

use std::ffi::{CStr, CString};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::idmapped;
use super::proto::task::Mount;
use base::error::HasErrno as _;

/// Longest data of mount(2) in bytes: the kernel cuts more without an error.
const MAX_DATA: usize = 4095;

/// Options that are flags: the flag, and whether it is set or cleared.
const FLAGS: &[(&str, u64, bool)] = &[
    ("ro", libc::MS_RDONLY, true),
    ("rw", libc::MS_RDONLY, false),
    ("nosuid", libc::MS_NOSUID, true),
    ("suid", libc::MS_NOSUID, false),
    ("nodev", libc::MS_NODEV, true),
    ("dev", libc::MS_NODEV, false),
    ("noexec", libc::MS_NOEXEC, true),
    ("exec", libc::MS_NOEXEC, false),
    ("sync", libc::MS_SYNCHRONOUS, true),
    ("async", libc::MS_SYNCHRONOUS, false),
    ("dirsync", libc::MS_DIRSYNC, true),
    ("noatime", libc::MS_NOATIME, true),
    ("atime", libc::MS_NOATIME, false),
    ("nodiratime", libc::MS_NODIRATIME, true),
    ("diratime", libc::MS_NODIRATIME, false),
    ("relatime", libc::MS_RELATIME, true),
    ("norelatime", libc::MS_RELATIME, false),
    ("strictatime", libc::MS_STRICTATIME, true),
    ("nostrictatime", libc::MS_STRICTATIME, false),
    ("bind", libc::MS_BIND, true),
    ("rbind", libc::MS_BIND | libc::MS_REC, true),
    ("defaults", 0, true),
];

/// Mounts the root file system of a container; what was mounted before an error is unmounted.
///
/// # Errors
/// The kernel refuses one; a target that is not below the root.
pub(crate) fn mount(mounts: &[Mount], root: &Path) -> Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(root).with_context(|| format!("create {root:?}"))?;
    for (number, one) in mounts.iter().enumerate() {
        if let Err(err) = mount_one(one, root) {
            let _ = unmount(root);
            return Err(err.context(format!("rootfs[{number}]: mount {:?} on {root:?}", one.source)));
        }
    }
    Ok(())
}

fn mount_one(one: &Mount, root: &Path) -> Result<()> {
    let mut one = one.clone();
    // until the mount below has copies of them
    let _layers = idmapped::prepare(&mut one, root.parent().unwrap_or(root))?;
    let parts = Path::new(&one.target).components();
    if parts.clone().any(|part| matches!(part, std::path::Component::ParentDir)) {
        bail!("the target {:?} is not below the root", one.target);
    }
    // an image may have put a symbolic link into the root that is mounted already
    let below: std::path::PathBuf = parts.filter(|part| matches!(part, std::path::Component::Normal(_))).collect();
    let target = if below.as_os_str().is_empty() { root.to_owned() } else { in_root(root, &below)? };
    let (mut flags, mut data) = (0, Vec::new());
    for option in &one.options {
        match FLAGS.iter().find(|(name, ..)| name == option) {
            Some((_, flag, true)) => flags |= flag,
            Some((_, flag, false)) => flags &= !flag,
            None => data.push(option.as_str()),
        }
    }
    let data = data.join(",");
    if data.len() > MAX_DATA {
        return mount_long(&one, &target, flags);
    }
    let text = |text: &str| CString::new(text).context("a NUL in it");
    let target = text(target.to_str().context("the path is not UTF-8")?)?;
    let (source, kind, data) = (text(&one.source)?, text(&one.kind)?, text(&data)?);
    linux::mount::mount(&source, &target, &kind, flags, &data)?;
    const OTHERS: u64 = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    if flags & libc::MS_BIND != 0 && flags & OTHERS != 0 {
        // a bind takes its flags in a second call
        let again = libc::MS_REMOUNT | libc::MS_BIND | flags & OTHERS;
        linux::mount::mount(c"", &target, c"", again, c"").inspect_err(|_| drop(linux::mount::detach(&target)))?;
    }
    Ok(())
}

/// Returns a path below the root that has no symbolic link of an image in it.
fn in_root(root: &Path, below: &Path) -> Result<std::path::PathBuf> {
    let mut path = root.to_owned();
    for part in below {
        path.push(part);
        let meta = std::fs::symlink_metadata(&path).with_context(|| format!("{path:?}"))?;
        if !meta.is_dir() {
            bail!("{path:?} is not a directory");
        }
    }
    Ok(path)
}

/// Mounts an overlay whose list of lower directories is longer than a page, directory by directory.
fn mount_long(one: &Mount, target: &Path, flags: u64) -> Result<()> {
    use std::os::fd::AsFd as _;
    let text = |text: &str| CString::new(text).context("a NUL in it");
    let fs = linux::mount::FsContext::open(&text(&one.kind)?)?;
    fs.option(c"source", Some(&text(&one.source)?))?;
    for option in one.options.iter().filter(|option| !FLAGS.iter().any(|(name, ..)| name == option)) {
        match option.split_once('=') {
            Some(("lowerdir", list)) => {
                for dir in list.split(':') {
                    fs.option(c"lowerdir+", Some(&text(dir)?)).with_context(|| format!("lowerdir {dir:?}"))?;
                }
            }
            Some((key, value)) => {
                fs.option(&text(key)?, Some(&text(value)?)).with_context(|| format!("option {key}"))?;
            }
            None => fs.option(&text(option)?, None).with_context(|| format!("option {option}"))?,
        }
    }
    fs.create()?;
    let attributes = if flags & libc::MS_RDONLY != 0 { linux::mount::ATTR_RDONLY } else { 0 };
    let tree = fs.mount(attributes)?;
    let place = std::fs::File::open(target).with_context(|| format!("open {target:?}"))?;
    Ok(linux::mount::move_mount(tree.as_fd(), place.as_fd())?)
}

/// Unmounts all that is mounted on the directory; nothing if nothing is.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn unmount(root: &Path) -> Result<()> {
    let path = CString::new(root.to_str().context("the path of the root is not UTF-8")?).context("path of the root")?;
    loop {
        match detach(&path) {
            Ok(()) => {}
            Err(err) if err.is_errno(&[libc::EINVAL, libc::ENOENT]) => return Ok(()),
            Err(err) => return Err(err).with_context(|| format!("unmount {root:?}")),
        }
    }
}

fn detach(path: &CStr) -> std::io::Result<()> {
    linux::mount::detach(path)
}
