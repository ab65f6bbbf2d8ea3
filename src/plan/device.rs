//! The device nodes and links of the container's `/dev`, in the order of creation.
//!
//! Pure. `cgroup::plan` has the access rules; `rootfs::device` creates the nodes.

use crate::config::path::clean;
use crate::config::path::container_path;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

/// A device node to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// The name in messages: `linux.devices[2]: "/dev/x"`.
    pub label: String,
    /// Absolute path in the container.
    pub path: CString,
    /// Permissions and file type, as for mknod(2).
    pub mode: libc::mode_t,
    /// Device numbers; 0 for a fifo.
    pub device: libc::dev_t,
    /// Owner and group, as IDs in the container.
    pub owner: (u32, u32),
    /// The configuration has it; it is no default.
    pub configured: bool,
}

/// Default devices (DV-4): name in /dev, major, minor.
const DEFAULTS: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Symlinks in /dev (DV-5): name, target.
pub(crate) const LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"core", c"/proc/kcore"),
];

/// Plans the default devices and those of the configuration, which replace a default of the same path.
///
/// # Errors
/// A wrong device, or one path with two devices; the error names the entry.
pub(crate) fn plan(configured: &[LinuxDevice]) -> Result<Vec<Device>> {
    let mut list = Vec::new();
    for (name, major, minor) in DEFAULTS {
        list.push(Device {
            label: format!("default device \"/dev/{name}\""),
            path: CString::new(format!("/dev/{name}"))?,
            mode: libc::S_IFCHR | 0o666,
            device: libc::makedev(major, minor),
            owner: (0, 0),
            configured: false,
        });
    }
    let mut seen = BTreeMap::new();
    for (index, device) in configured.iter().enumerate() {
        let label = format!("linux.devices[{index}]: {:?}", device.path());
        let device = one(device, label.clone()).context(label)?;
        // ptmx is always a link to the container's own devpts
        if device.path.as_c_str() == c"/dev/ptmx" && device.device == libc::makedev(5, 2) {
            continue;
        }
        if seen.insert(device.path.clone(), device.clone()).is_some_and(|before| !same_node(&before, &device)) {
            bail!("{}: listed before with another type or other numbers", device.label);
        }
        list.retain(|other| other.path != device.path);
        list.push(device);
    }
    Ok(list)
}

fn same_node(a: &Device, b: &Device) -> bool {
    a.mode & libc::S_IFMT == b.mode & libc::S_IFMT && a.device == b.device
}

fn one(device: &LinuxDevice, label: String) -> Result<Device> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => bail!("type: must be one of b, c, u, p"),
    };
    let number = |name: &str, value: i64| u32::try_from(value).with_context(|| format!("{name}: {value} out of range"));
    let numbers = match kind {
        libc::S_IFIFO => 0, // numbers of a fifo are ignored (DV-1)
        _ => libc::makedev(number("major", device.major())?, number("minor", device.minor())?),
    };
    Ok(Device {
        label,
        path: device_path(device.path())?,
        mode: kind | permissions(device.file_mode(), kind)?,
        device: numbers,
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        configured: true,
    })
}

/// Returns the permissions without the file type, which containerd and Podman include; refuses set-id bits (DV-1).
fn permissions(mode: Option<u32>, kind: libc::mode_t) -> Result<libc::mode_t> {
    let Some(mode) = mode else { return Ok(0o666) };
    let bits = if mode & libc::S_IFMT == kind { mode & !libc::S_IFMT } else { mode };
    if bits > 0o777 {
        bail!("fileMode: {mode} (0{mode:o}) is more than 0777");
    }
    Ok(bits)
}

fn device_path(path: &Path) -> Result<CString> {
    if !path.is_absolute() {
        bail!("path: must be absolute");
    }
    let cleaned = clean(path);
    if cleaned.as_os_str() == "/" {
        bail!("path: is the root");
    }
    container_path(&cleaned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn device(json: &str) -> LinuxDevice {
        serde_json::from_str(json).unwrap()
    }

    fn last(json: &str) -> Device {
        plan(&[device(json)]).unwrap().pop().unwrap()
    }

    fn refused(json: &str) -> String {
        base::error::describe(&plan(&[device(json)]).unwrap_err())
    }

    #[test]
    fn dv_4_defaults_are_always_there() {
        let paths: Vec<_> = plan(&[]).unwrap().into_iter().map(|d| d.path.into_string().unwrap()).collect();
        assert_eq!(paths, ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]);
    }

    #[test]
    fn dv_1_numbers_of_a_fifo_are_ignored() {
        let fifo = last(r#"{"path":"/dev/p","type":"p","major":8,"minor":666,"fileMode":432}"#);
        assert_eq!((fifo.mode, fifo.device), (libc::S_IFIFO | 0o660, 0));
    }

    #[test]
    fn dv_1_modes() {
        let with = |mode: u32| format!(r#"{{"path":"/dev/x","type":"c","major":10,"minor":229,"fileMode":{mode}}}"#);
        assert_eq!(last(&with(8576)).mode, libc::S_IFCHR | 0o600, "type bits as containerd sends them");
        assert_eq!(last(&with(0o777)).mode, libc::S_IFCHR | 0o777);
        assert!(refused(&with(0o4755)).contains("fileMode"));
        assert!(refused(&with(libc::S_IFBLK | 0o600)).contains("fileMode"), "another type's bits");
    }

    #[test]
    fn dv_4_a_configured_device_replaces_the_default() {
        let list =
            plan(&[device(r#"{"path":"/dev/null","type":"c","major":1,"minor":3,"uid":1000,"gid":1000}"#)]).unwrap();
        let null: Vec<_> = list.iter().filter(|d| d.path.as_c_str() == c"/dev/null").collect();
        assert_eq!(null.len(), 1);
        assert_eq!(null[0].owner, (1000, 1000));
    }

    #[test]
    fn ptmx_of_a_privileged_container_stays_a_link() {
        let list = plan(&[device(r#"{"path":"/dev/ptmx","type":"c","major":5,"minor":2}"#)]).unwrap();
        assert!(list.iter().all(|d| d.path.as_c_str() != c"/dev/ptmx"));
    }

    #[test]
    fn dv_1_bad_paths_and_numbers() {
        assert!(refused(r#"{"path":"dev/x","type":"c","major":1,"minor":1}"#).contains("absolute"));
        assert!(refused(r#"{"path":"/dev/x","type":"c","major":-1,"minor":1}"#).contains("major"));
        assert!(refused(r#"{"path":"/dev/x","type":"a","major":1,"minor":1}"#).contains("type"));
        assert!(refused(r#"{"path":"/","type":"p"}"#).contains("root"));
    }
}
