//! The kernel's count of processes that it killed for want of memory, read before the runtime removes the cgroup.

use std::path::PathBuf;

/// The file with the count of one container.
#[derive(Debug)]
pub struct OomCount(Option<PathBuf>);

impl OomCount {
    /// Finds the file by the cgroup of the container's first process. Without a memory cgroup of its own there is none.
    pub fn of(pid: i32) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Self(text.lines().find_map(file))
    }

    /// Returns whether a process of the container was killed.
    pub fn killed(&self) -> bool {
        let text = self.0.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok());
        count.is_some_and(|count| count > 0)
    }
}

/// Returns the file for a line of `/proc/PID/cgroup`, if it is of the hierarchy with the memory controller.
fn file(line: &str) -> Option<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?.strip_prefix('/')?);
    // the root cgroup is the machine's, and `..` is outside of corm's cgroup namespace
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return None;
    }
    let found = match controllers {
        "" => PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            PathBuf::from("/sys/fs/cgroup/memory").join(path).join("memory.oom_control")
        }
        _ => return None,
    };
    found.exists().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cgroup_of_its_own_counts() {
        for line in ["", "0::/", "5:memory:/", "0::/../x", "5:memory:/../../x", "4:cpu:/x", "0::/no-such-cgroup"] {
            assert_eq!(file(line), None, "{line}");
        }
        assert!(!OomCount(None).killed());
    }
}
