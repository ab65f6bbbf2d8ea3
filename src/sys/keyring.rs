//! Session keyrings.

use super::cvt;
use std::ffi::CStr;
use std::io;

/// Gives this process a session keyring called `name`: a new one, or that of the same name if its owner lets us search it.
/// [keyctl(2)](https://man7.org/linux/man-pages/man2/keyctl.2.html)
///
/// # Errors
/// `EDQUOT` where the user's quota of keys is used up, `ENOSYS` on a kernel without keys.
pub fn join_session(name: &CStr) -> io::Result<i32> {
    // SAFETY: the name is NUL-terminated and lives for the call.
    let serial = cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(serial as i32)
}
