//! The host's state, before and after: processes, mounts, keys, descriptors, and snapshots of directory trees.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Returns the running processes whose environment, command line or cgroup contains `token`, and their descendants: the
/// runtime, its children and the containers of a test. Zombies have none of these, so they are not counted.
pub fn processes_with(token: &str) -> Vec<(i32, String)> {
    let own = i32::try_from(std::process::id()).unwrap();
    let mut found: Vec<i32> =
        pids().into_iter().filter(|pid| *pid != own && alive(*pid) && mentions(*pid, token)).collect();
    if !found.is_empty() {
        // the child of a hook has neither an environment nor arguments of its own
        let parents: Vec<(i32, i32)> = pids().into_iter().filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
        let mut known = 0;
        while known < found.len() {
            let parent = found[known];
            let children = parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid);
            let fresh: Vec<i32> = children.filter(|pid| !found.contains(pid) && alive(*pid)).collect();
            found.extend(fresh);
            known += 1;
        }
    }
    let line = |pid: i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    found.into_iter().map(|pid| (pid, String::from_utf8_lossy(&line(pid)).replace('\0', " "))).collect()
}

fn mentions(pid: i32, token: &str) -> bool {
    ["environ", "cmdline", "cgroup"].iter().any(|name| {
        std::fs::read(format!("/proc/{pid}/{name}"))
            .is_ok_and(|bytes| bytes.windows(token.len()).any(|part| part == token.as_bytes()))
    })
}

pub fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The fields of /proc/PID/stat that tests use.
pub struct Stat {
    pub state: char,
    pub parent: i32,
    pub start: u64,
}

pub fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// Returns whether a process runs (a zombie does not).
pub fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

/// Returns a field of /proc/PID/status: `CapEff`, `NoNewPrivs`, …
pub fn status_field(pid: i32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Returns the lines of the host's mount table whose mount point or root is below `dir`.
pub fn mounts_below(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let below = |path: Option<&str>| path.is_some_and(|path| path == dir || path.starts_with(&format!("{dir}/")));
    mount_table().into_iter().filter(|line| below(line.split(' ').nth(4)) || below(line.split(' ').nth(3))).collect()
}

pub fn mount_table() -> Vec<String> {
    std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned).collect()
}

/// Returns the lines of a file below /proc that contain `token`: sockets in `net/unix`, keys in `keys`. Keys whose end is
/// only waited for by the kernel's garbage collector (flag `D` or `R`) are left out.
pub fn kernel_lines(name: &str, token: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let ends = |line: &str| name == "keys" && line.split(' ').nth(1).is_some_and(|flags| flags.contains(['D', 'R']));
    text.lines().filter(|line| line.contains(token) && !ends(line)).map(str::to_owned).collect()
}

/// Returns the number of session keyrings that the kernel has (those visible to root).
pub fn session_keyrings() -> usize {
    let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
    keys.lines().filter(|line| line.contains(" keyring ") && line.contains("_ses")).count()
}

/// Returns the number of descriptors open in this process.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns everything about a tree that a hostile image might try to change; access times are left out.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let mut line = format!("{:o} {}:{} rdev {}", meta.mode(), meta.uid(), meta.gid(), meta.rdev());
        if meta.is_symlink() {
            line += &format!(" -> {:?}", std::fs::read_link(&path).unwrap());
        } else if meta.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            line += &format!(" {} bytes, {:?}", bytes.len(), String::from_utf8_lossy(&bytes[..bytes.len().min(64)]));
        } else if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        }
        seen.insert(path, line);
    }
    seen
}

/// Returns the checksum of a file's bytes (FNV-1a, which is enough to detect a change).
pub fn checksum(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap();
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Moves this process into the cgroup of `procs`, a file `cgroup.procs`. It only makes system calls.
pub fn join_cgroup(procs: &std::ffi::CStr) -> std::io::Result<()> {
    use nix::fcntl::{OFlag, open};
    let procs = open(procs, OFlag::O_WRONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    nix::unistd::write(&procs, b"0")?;
    Ok(())
}

/// Creates a node or fifo with the permissions 0600.
pub fn mknod(path: &Path, kind: libc::mode_t, device: libc::dev_t) {
    use nix::sys::stat::{Mode, SFlag, mknod};
    mknod(path, SFlag::from_bits_truncate(kind), Mode::S_IRUSR | Mode::S_IWUSR, device)
        .unwrap_or_else(|err| panic!("mknod {path:?}: {err}"));
}

/// Returns a path as a C string.
pub fn cstr(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// Creates a symlink.
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) {
    std::os::unix::fs::symlink(target, link).unwrap();
}

/// Returns the value of a file below /proc/sys, with the kernel's newline.
pub fn sysctl(name: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap()
}
