//! Session keyrings.

use super::cvt;
use std::ffi::CStr;
use std::io;

/// Joins the session keyring `name`: a new one, or an existing one that its owner permits to search.
/// [keyctl(2)](https://man7.org/linux/man-pages/man2/keyctl.2.html)
///
/// # Errors
/// `EDQUOT` where the user's quota of keys is used up, `ENOSYS` on a kernel without keys.
pub fn join_session(name: &CStr) -> io::Result<i32> {
    // SAFETY: the name is NUL-terminated and lives for the call.
    let serial = cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(serial as i32)
}

/// Removes all permissions on the key `serial` except for processes that possess it.
///
/// # Errors
/// `EACCES`: the caller may not change the key.
pub fn restrict_to_possessor(serial: i32) -> io::Result<()> {
    /// `KEY_POS_*`: view, read, write, search, link, setattr.
    const POSSESSOR_ALL: u32 = 0x3f00_0000;
    // SAFETY: numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, serial, POSSESSOR_ALL) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn e5_every_join_makes_a_keyring_of_its_own() {
        crate::testing::forked(|| {
            let serials = [c"_ses.croci-test", c"_ses.croci-test"].map(join_session);
            if serials.iter().any(|serial| serial.as_ref().is_err_and(|err| err.raw_os_error() == Some(libc::ENOSYS))) {
                return;
            }
            let [first, second] = serials.map(Result::unwrap);
            assert_ne!(first, second, "the name must not lead into another user's keyring");
        });
    }
}
