//! The operations that a process tries on the key of another.
//! [keyctl(2)](https://man7.org/linux/man-pages/man2/keyctl.2.html)

use std::io;

use crate::cvt;

/// `KEY_SPEC_SESSION_KEYRING`: the session keyring of the caller.
const SESSION: i64 = -3;

/// Links the key `serial` into the session keyring.
///
/// # Errors
/// `EACCES` without the right to link it, `ENOKEY` where there is no such key.
pub fn link(serial: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_LINK, serial, SESSION) }).map(drop)
}

/// Reads the key `serial`.
///
/// # Errors
/// `EACCES` without the right to read it, `ENOKEY` where there is no such key.
pub fn read(serial: i32) -> io::Result<()> {
    let mut content = [0_u8; 256];
    // SAFETY: pointer and length describe the array, which stays valid during the call.
    cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_READ, serial, content.as_mut_ptr(), content.len()) })
        .map(drop)
}

/// Searches the keyring `serial` for a keyring called "keyring".
///
/// # Errors
/// `EACCES` without the right to search it, `ENOKEY` where there is no such key or nothing is found.
pub fn search(serial: i32) -> io::Result<()> {
    let word = c"keyring".as_ptr();
    // SAFETY: type and description are static and end with NUL; 0 links the key found to no keyring.
    cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SEARCH, serial, word, word, 0) }).map(drop)
}

/// Reads type, owner, permissions and name of the key `serial`.
///
/// # Errors
/// `EACCES` without the right to view it, `ENOKEY` where there is no such key.
pub fn describe(serial: i32) -> io::Result<()> {
    let mut text = [0_u8; 256];
    // SAFETY: pointer and length describe the array, which stays valid during the call.
    cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_DESCRIBE, serial, text.as_mut_ptr(), text.len()) })
        .map(drop)
}

/// Gives possessor, user, group and others all rights to the key `serial`.
///
/// # Errors
/// `EACCES` without the right to change it, `ENOKEY` where there is no such key.
pub fn open_to_all(serial: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    cvt(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, serial, 0x3f3f_3f3f) }).map(drop)
}
