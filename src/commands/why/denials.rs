//! Lines of the kernel log about a process: denials by seccomp and by AppArmor or SELinux.

use super::Finding;
use crate::seccomp;
use base::error::Code;

/// Returns the denial that an audit message tells of, if it is one of the process `pid`.
pub(super) fn of(message: &str, pid: i32) -> Option<Finding> {
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
        let found = of(seccomp, 77).unwrap();
        assert_eq!(found.code, Some(Code::SeccompKilled));
        #[cfg(target_arch = "x86_64")]
        assert!(found.text.contains("83 (mkdir)"), "{}", found.text);
        assert!(of(seccomp, 7).is_none());
        let apparmor = "audit: type=1400 audit(1.2:3): apparmor=\"DENIED\" operation=\"open\" profile=\"p\" \
                        name=\"/etc/x\" pid=5 comm=\"cat\"";
        assert!(of(apparmor, 5).unwrap().text.ends_with("name=\"/etc/x\" pid=5 comm=\"cat\""));
        assert!(of("usb 1-1: new device pid=5", 5).is_none());
    }
}
