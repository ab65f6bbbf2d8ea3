//! The kernel log, and its lines about a process: denials by seccomp and by AppArmor or SELinux.

use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use super::Finding;
use crate::seccomp;
use base::error::Code;

/// Largest number of records that are read: more than the ring buffer holds.
const MAX_RECORDS: usize = 100_000;
/// Size of the largest record in bytes (`PRINTK_MESSAGE_MAX`).
const MAX_RECORD_BYTES: usize = 2048;

/// Returns the messages that are in the ring buffer, oldest first; `None` if this user may not read them.
pub(super) fn read() -> Option<Vec<String>> {
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let mut messages = Vec::new();
    let mut buffer = [0; MAX_RECORD_BYTES * 4];
    for _ in 0..MAX_RECORDS {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let record = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                // "PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE", then lines with a blank
                let message = record.split_once(';').map_or("", |(_, message)| message);
                messages.push(message.lines().next().unwrap_or_default().to_owned());
            }
            // EPIPE: the record was overwritten meanwhile
            Err(err) if err.kind() == ErrorKind::Interrupted || err.raw_os_error() == Some(libc::EPIPE) => {}
            Err(err) if err.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return None,
        }
    }
    Some(messages)
}

/// Returns the denial that an audit message tells of, if it is one of the process `pid`.
pub(super) fn denial_of(message: &str, pid: i32) -> Option<Finding> {
    let is_of = |key: &str| value(message, key).and_then(|text| text.parse().ok()) == Some(pid);
    if !message.contains("audit") || !is_of("pid") {
        return None;
    }
    if message.contains("type=1326") {
        let number = value(message, "syscall").and_then(|text| text.parse().ok())?;
        let name = seccomp::name_of(number).map(|name| format!(" ({name})")).unwrap_or_default();
        let text = format!("the seccomp filter forbids system call {number}{name}: allow it in linux.seccomp");
        return Some(Finding { code: Some(Code::SeccompKilled), text });
    }
    let denied = ["apparmor=\"DENIED\"", "avc:  denied"].iter().any(|word| message.contains(word));
    denied.then(|| {
        let from = message.find("apparmor=").or(message.find("avc:")).unwrap_or_default();
        let text = format!("denied by the security module: {}", message.get(from..).unwrap_or_default());
        Finding { code: Some(Code::LsmFailed), text }
    })
}

/// Returns the value of ` KEY=VALUE` in a message.
fn value<'a>(message: &'a str, key: &str) -> Option<&'a str> {
    message.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).map(|text| text.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn denials_of_one_process() {
        let seccomp = "audit: type=1326 audit(1.2:3): auid=0 uid=0 gid=0 ses=1 pid=77 comm=\"x\" exe=\"/x\" sig=31 \
                       arch=c000003e syscall=83 compat=0 ip=0x1 code=0x80000000";
        let found = denial_of(seccomp, 77).unwrap();
        assert_eq!(found.code, Some(Code::SeccompKilled));
        #[cfg(target_arch = "x86_64")]
        assert!(found.text.contains("83 (mkdir)"), "{}", found.text);
        assert!(denial_of(seccomp, 7).is_none());
        let apparmor = "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" \
                        name=\"/etc/x\" pid=5 comm=\"cat\"";
        assert!(denial_of(apparmor, 5).unwrap().text.ends_with("name=\"/etc/x\" pid=5 comm=\"cat\""));
        assert!(denial_of("usb 1-1: new device pid=5", 5).is_none());
    }
}
