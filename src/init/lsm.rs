//! Labels that the kernel applies at the program's execve(2): AppArmor profile and SELinux label.
//!
//! They are written to the host's procfs, through a descriptor that was checked when it was opened, because an image
//! controls the container's own /proc (CVE-2019-16884, CVE-2023-28642, CVE-2025-62596). Labels of mounts are
//! `rootfs::mount`.

use crate::plan::process::ProcessPlan;
use anyhow::{Context as _, Result, ensure};
use base::coded;
use base::error::HasErrno as _;
use base::error::{Code, Coding as _};
use nix::fcntl::{OFlag, ResolveFlag};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

/// Checks that this host supports the labels of the plan; in the parent, before anything is created.
///
/// An AppArmor profile is ignored with a warning on a host without AppArmor, as crun does and the official conformance
/// suite requires; a SELinux label without SELinux is an error (PR-11).
///
/// # Errors
/// The plan has a SELinux label and SELinux is not enabled; as [`apparmor_is_enabled`].
pub(crate) fn check(plan: &mut ProcessPlan) -> Result<()> {
    if let Some(profile) = &plan.apparmor
        && !apparmor_is_enabled()?
    {
        plan.unprotected
            .push(format!("process.apparmorProfile: {profile:?} ignored: AppArmor is not enabled on this host"));
        plan.apparmor = None;
    }
    if plan.selinux.is_some() {
        ensure!(selinux_is_enabled(), coded!(LsmFailed, "process.selinuxLabel: SELinux is not enabled on this host"));
    }
    Ok(())
}

/// Returns whether AppArmor is enabled on this host.
///
/// # Errors
/// The kernel's own word cannot be read, though it is there.
pub(crate) fn apparmor_is_enabled() -> Result<bool> {
    const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
    match std::fs::read(ENABLED) {
        // no such module, or a sandbox that hides the file
        Err(err) if err.is_errno(&[libc::ENOENT, libc::ENOTDIR, libc::EACCES]) => Ok(false),
        text => Ok(text.with_context(|| format!("is AppArmor enabled: {ENABLED}"))?.starts_with(b"Y")),
    }
}

fn selinux_is_enabled() -> bool {
    nix::sys::statfs::statfs("/sys/fs/selinux").is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::SELINUX_MAGIC)
}

/// Sets the labels for the next execve of this process.
///
/// # Errors
/// As write(2), with the path in back quotes, because Podman matches it; `ENOENT`: an unknown profile.
pub(crate) fn prepare(plan: &ProcessPlan, proc_fd: BorrowedFd<'_>) -> Result<()> {
    if let Some(profile) = &plan.apparmor {
        apparmor(profile, proc_fd).with_code(Code::LsmFailed, || format!("process.apparmorProfile: {profile:?}"))?;
    }
    if let Some(label) = &plan.selinux {
        write_attribute(proc_fd, c"self/attr/exec", label.to_bytes())
            .with_code(Code::LsmFailed, || format!("process.selinuxLabel: {label:?}"))?;
    }
    Ok(())
}

fn apparmor(profile: &CStr, proc_fd: BorrowedFd<'_>) -> Result<()> {
    let text = [b"exec ", profile.to_bytes()].concat();
    // attr/apparmor exists since Linux 5.8; attr/exec is that of the first security module
    match open_proc(proc_fd, c"self/attr/apparmor/exec", true) {
        Err(err) if err.raw_os_error() == Some(libc::ENOENT) => write_attribute(proc_fd, c"self/attr/exec", &text),
        file => file.and_then(|mut file| file.write_all(&text)).context("write `/proc/self/attr/apparmor/exec`"),
    }
}

/// Sets the label of keys that this process creates from now on (PR-20), until [`unlabel_keys`].
///
/// # Errors
/// As [`prepare`].
pub(crate) fn label_keys(plan: &ProcessPlan, proc_fd: BorrowedFd<'_>) -> Result<()> {
    match &plan.selinux {
        Some(label) if plan.new_keyring => write_attribute(proc_fd, c"self/attr/keycreate", label.to_bytes())
            .code(Code::LsmFailed, "process.selinuxLabel"),
        _ => Ok(()),
    }
}

/// Resets the label that [`label_keys`] has set.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn unlabel_keys(plan: &ProcessPlan, proc_fd: BorrowedFd<'_>) -> Result<()> {
    if plan.selinux.is_some() && plan.new_keyring {
        // a newline resets the label; the kernel does not pass an empty write to the module
        write_attribute(proc_fd, c"self/attr/keycreate", b"\n").code(Code::LsmFailed, "process.selinuxLabel")?;
    }
    Ok(())
}

fn write_attribute(proc_fd: BorrowedFd<'_>, path: &CStr, text: &[u8]) -> Result<()> {
    open_proc(proc_fd, path, true)
        .and_then(|mut file| file.write_all(text))
        .with_context(|| format!("write `/proc/{}`", path.to_string_lossy()))
}

/// Opens a file of procfs below the descriptor of its root directory; follows no magic link and enters no other mount.
///
/// # Errors
/// As openat2(2); `EXDEV`: the file is not on a procfs.
pub(super) fn open_proc(proc_fd: BorrowedFd<'_>, path: &CStr, write: bool) -> io::Result<File> {
    let access = if write { OFlag::O_WRONLY } else { OFlag::O_RDONLY };
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file = linux::resolve::open(proc_fd, path, access | OFlag::O_NOFOLLOW, resolve)?;
    let fs = nix::sys::statfs::fstatfs(&file)?;
    if fs.filesystem_type() != nix::sys::statfs::PROC_SUPER_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::EXDEV));
    }
    Ok(File::from(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::plan::process::ProcessContext;
    use crate::plan::process::plan;
    use base::error::describe;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::path::Path;

    fn labelled(apparmor: Option<&str>, selinux: Option<&str>) -> ProcessPlan {
        let process = serde_json::json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"],
            "apparmorProfile": apparmor, "selinuxLabel": selinux});
        plan(&serde_json::from_value(process).unwrap(), None, &ProcessContext::default()).unwrap()
    }

    #[test]
    fn pr_10_a_profile_without_apparmor_is_a_warning() {
        if Path::new("/sys/module/apparmor").exists() {
            linux::testing::report_skip("this kernel has AppArmor");
            return;
        }
        let mut plan = labelled(Some("acme_secure_profile"), None);
        check(&mut plan).unwrap();
        assert_eq!(plan.apparmor, None);
        assert!(
            plan.unprotected.first().unwrap().contains("\"acme_secure_profile\" ignored"),
            "{:?}",
            plan.unprotected
        );
        // forgotten by the parent, it is no silent success in the child
        let proc = File::open("/proc").unwrap();
        let err = describe(&prepare(&labelled(Some("x"), None), proc.as_fd()).unwrap_err());
        assert!(err.starts_with("process.apparmorProfile: \"x\": write `/proc/self/attr/exec`: "), "{err}");
    }

    #[test]
    fn pr_11_a_label_without_selinux_is_an_error() {
        if selinux_is_enabled() {
            linux::testing::report_skip("SELinux is on");
            return;
        }
        assert!(check(&mut labelled(None, Some("a:b:c:s0"))).unwrap_err().to_string().contains("not enabled"));
        check(&mut labelled(Some(""), Some(""))).unwrap();
    }

    #[test]
    fn sec_4_only_procfs_is_written() {
        let proc = File::open("/proc").unwrap();
        let mut text = String::new();
        open_proc(proc.as_fd(), c"self/comm", false).unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
        let open = |dir: &File, path| open_proc(dir.as_fd(), path, false).unwrap_err().raw_os_error();
        assert_eq!(open(&proc, c"self/root/etc/passwd"), Some(libc::ELOOP), "no magic link");
        assert_eq!(open(&proc, c"../etc/passwd"), Some(libc::EXDEV), "not out of it");
        assert_eq!(open(&File::open("/etc").unwrap(), c"passwd"), Some(libc::EXDEV), "no other file system");
    }
}
