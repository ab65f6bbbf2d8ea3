//! Cgroups of v2 below a threaded one: see cgroups(7), "cgroups v2 thread mode".

use anyhow::Result;

use super::Cgroup;
use super::files::{self, try_read};

impl Cgroup {
    /// Makes the container's v2 cgroup threaded, with those above it that need it; returns whether there was one.
    ///
    /// Below a threaded cgroup a new one is "domain invalid": it may hold no process (clone3(2) returns `EOPNOTSUPP`)
    /// until it is threaded as well. Then it has no domain controllers (memory, io), so that limits of these are errors of
    /// `create` before.
    ///
    /// # Errors
    /// The kernel refuses the change.
    pub(crate) fn make_threaded(&self) -> Result<bool> {
        let Some(dir) = self.record.dirs.iter().find(|dir| dir.unified) else { return Ok(false) };
        let mut changed = false;
        let mut path = dir.mount.clone();
        for name in self.record.path.split('/').filter(|name| !name.is_empty()) {
            path = format!("{path}/{name}");
            let file = format!("{path}/cgroup.type");
            if try_read(&file).is_ok_and(|kind| kind.trim() == "domain invalid") {
                files::write(&file, "threaded")?;
                changed = true;
            }
        }
        Ok(changed)
    }
}
