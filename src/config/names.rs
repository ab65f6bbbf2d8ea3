//! Types for names that become part of a path in the kernel's file systems (security class 9).
//!
//! The constructor checks the name; later code takes the type and does not check again.

use std::fmt;

use anyhow::{Result, bail};
use oci_spec::runtime::LinuxNamespaceType;

/// The longest name of a directory entry; libc has no constant for it.
const NAME_MAX: usize = 255;

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

/// `linux.cgroupsPath`: a path that stays below the cgroup mount, or systemd's `slice:prefix:name` (CG-1).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CgroupPath(String);
name_type!(CgroupPath);

impl CgroupPath {
    /// Accepts absolute and relative paths, and keeps empty and `.` components.
    ///
    /// # Errors
    /// An empty or too long path, a control character, or a `..` component, which would leave the cgroup file system.
    pub fn new(path: &str) -> Result<Self> {
        if path.is_empty() || path.len() >= libc::PATH_MAX as usize {
            bail!("{path:?} is empty or too long");
        }
        if path.chars().any(char::is_control) {
            bail!("{path:?} contains a control character");
        }
        if path.split(['/', ':']).any(|component| component == "..") {
            bail!("{path:?} contains \"..\"");
        }
        if let Some(component) = path.split('/').find(|component| component.len() > NAME_MAX) {
            bail!("component {component:?} has more than {NAME_MAX} bytes");
        }
        Ok(Self(path.to_owned()))
    }
}

/// The name of a network interface (ND-1).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct IfName(String);
name_type!(IfName);

impl IfName {
    /// Accepts names by the kernel's rule (`dev_valid_name`): 1 to 15 bytes, no blank, `/` or `:`.
    ///
    /// # Errors
    /// Any other name.
    pub fn new(name: &str) -> Result<Self> {
        let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name == "." || name == ".." || !name.chars().all(allowed)
        {
            bail!("{name:?} is not the name of a network interface");
        }
        Ok(Self(name.to_owned()))
    }

    /// Accepts also a name that ends in `%d`, for which the kernel picks the number (ND-2).
    ///
    /// # Errors
    /// Any other name, and a `%` in another position.
    pub fn new_pattern(name: &str) -> Result<Self> {
        if name.strip_suffix("%d").unwrap_or(name).contains('%') {
            bail!("{name:?} is not the name of a network interface: \"%d\" is allowed only at its end");
        }
        Self::new(name)
    }
}

/// A resource control group: `linux.intelRdt.closID` (RD-11).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClosId {
    /// The root group `/`, of all tasks that are in no other group.
    Root,
    /// The name of a directory of resctrl.
    Group(String),
}

impl ClosId {
    /// Accepts `/` or the name of a group.
    ///
    /// # Errors
    /// A name that is not one path component, or that resctrl itself uses.
    pub fn new(id: &str) -> Result<Self> {
        if id == "/" {
            return Ok(Self::Root);
        }
        check_component(id)?;
        if ["info", "mon_groups", "mon_data"].contains(&id) {
            bail!("{id:?} is a directory of resctrl itself");
        }
        Ok(Self::Group(id.to_owned()))
    }
}

/// A key of `linux.resources.unified`: a file of the container's cgroup (UN-1).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnifiedKey(String);
name_type!(UnifiedKey);

impl UnifiedKey {
    /// Accepts the name of a file of a controller, also of one that croci does not know.
    ///
    /// # Errors
    /// A name that is not one path component, or a file that moves or kills processes instead of setting a limit.
    pub fn new(key: &str) -> Result<Self> {
        check_component(key)?;
        let control = ["procs", "threads", "subtree_control", "type", "kill", "freeze"];
        if key.strip_prefix("cgroup.").is_some_and(|file| control.contains(&file)) {
            bail!("{key:?} is under the control of the runtime");
        }
        if !key.contains('.') {
            bail!("{key:?} is not a file of a controller");
        }
        Ok(Self(key.to_owned()))
    }
}

fn check_component(name: &str) -> Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') || name.chars().any(char::is_control) {
        bail!("{name:?} is not a single path component");
    }
    if name.len() > NAME_MAX {
        bail!("{name:?} has more than {NAME_MAX} bytes");
    }
    Ok(())
}

/// A key of `linux.sysctl` as a path below `/proc/sys`, with the type of its namespace (SY-2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SysctlKey {
    path: String,
    namespace: LinuxNamespaceType,
}

const IPC_SYSCTLS: &[&str] = &["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

impl SysctlKey {
    /// Accepts `net.ipv4.conf.eth0/100.forwarding` and `net/ipv4/conf/eth0.100/forwarding` alike: the first separator
    /// decides which of the two characters separates, as in sysctl(8).
    ///
    /// # Errors
    /// Empty parts and `..`, or a sysctl that is not known to be per namespace, because it would be set for the host.
    pub fn new(name: &str) -> Result<Self> {
        let dots_separate = name.find(['.', '/']).is_some_and(|at| name.as_bytes().get(at) == Some(&b'.'));
        let path: String = name
            .chars()
            .map(|c| match c {
                '.' if dots_separate => '/',
                '/' if dots_separate => '.',
                other => other,
            })
            .collect();
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
            bail!("{name:?} is not the name of a sysctl");
        }
        if name.chars().any(char::is_control) {
            bail!("{name:?} contains a control character");
        }
        let namespace = match parts.as_slice() {
            ["kernel", leaf] if IPC_SYSCTLS.contains(leaf) => LinuxNamespaceType::Ipc,
            ["fs", "mqueue", _] => LinuxNamespaceType::Ipc,
            ["kernel", "domainname"] => LinuxNamespaceType::Uts,
            ["kernel", "hostname"] => bail!("{name:?} is set through the property \"hostname\""),
            ["net", _, ..] => LinuxNamespaceType::Network,
            ["user", _] => LinuxNamespaceType::User,
            _ => bail!("{name:?} does not belong to a namespace (it would change the host: set it there)"),
        };
        Ok(Self { path, namespace })
    }

    /// The path below `/proc/sys`, without a leading `/`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The type of the namespace that has the value.
    pub fn namespace(&self) -> LinuxNamespaceType {
        self.namespace
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn f3_a_cgroup_path_cannot_leave_the_hierarchy() {
        for path in ["/a/b", "a", "/", "a//b/./c", "system.slice:docker:0123", "::", "/user.slice/a..b/..."] {
            assert_eq!(CgroupPath::new(path).unwrap().as_str(), path);
        }
        let long = "x".repeat(256);
        for path in ["", "../../../../x", "/../x", "/a/../../x", "..", "a/..", "a\nb", "x.slice:..:y", &long] {
            assert!(CgroupPath::new(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn nd_1_interface_names() {
        for name in ["eth0", "a", "fifteen-bytes.x", "veth@1"] {
            assert_eq!(IfName::new(name).unwrap().to_string(), name);
        }
        for name in ["", ".", "..", "a/b", "a b", "a:b", "a\tb", "sixteen-bytes-xx", "a\u{7f}"] {
            assert!(IfName::new(name).is_err(), "{name:?}");
        }
        assert!(IfName::new_pattern("eth%d").is_ok());
        for name in ["%deth", "e%dh%d", "eth%s", "eth%"] {
            assert!(IfName::new_pattern(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn rd_11_clos_ids() {
        assert_eq!(ClosId::new("/").unwrap(), ClosId::Root);
        assert_eq!(ClosId::new("gold").unwrap(), ClosId::Group("gold".to_owned()));
        for id in ["", ".", "..", "a/b", "/a", "a\n", "info"] {
            assert!(ClosId::new(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn f4_unified_keys() {
        for key in ["memory.high", "cgroup.max.depth", "hugetlb.2MB.max"] {
            assert_eq!(UnifiedKey::new(key).unwrap().as_str(), key);
        }
        for key in [
            "",
            ".",
            "..",
            "../x/cgroup.freeze",
            "/etc/x",
            "cgroup.procs/../../x",
            "cgroup.procs",
            "cgroup.threads",
            "cgroup.subtree_control",
            "cgroup.kill",
            "cgroup.freeze",
            "cgroup.type",
            "a\nb.c",
            "memory",
        ] {
            assert!(UnifiedKey::new(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn sy_2_sysctls_of_a_namespace() {
        use LinuxNamespaceType::{Ipc, Network, User, Uts};
        for (name, path, namespace) in [
            ("kernel.msgmax", "kernel/msgmax", Ipc),
            ("kernel/shm_rmid_forced", "kernel/shm_rmid_forced", Ipc),
            ("fs.mqueue.msg_max", "fs/mqueue/msg_max", Ipc),
            ("kernel.domainname", "kernel/domainname", Uts),
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward", Network),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding", Network),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding", Network),
            ("user.max_user_namespaces", "user/max_user_namespaces", User),
        ] {
            let key = SysctlKey::new(name).unwrap();
            assert_eq!((key.path(), key.namespace()), (path, namespace), "{name}");
        }
    }

    #[test]
    fn f6_sysctls_of_the_host_are_refused() {
        for name in [
            "kernel.core_pattern",
            "kernel/core_pattern",
            "net/../kernel/core_pattern",
            "net.ipv4.../../../kernel.core_pattern",
            "net.ipv4.conf.../../../../sysrq-trigger",
            "net.//.x",
            "vm.swappiness",
            "fs.file-max",
            "kernel.hostname",
            "kernel.msgmax.x",
            "net",
            "net.",
            ".net.x",
            "/net/x",
            "",
            "net.a\nb",
        ] {
            assert!(SysctlKey::new(name).is_err(), "{name:?}");
        }
    }
}
