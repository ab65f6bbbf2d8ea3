//! The cgroups below a container's own that `exec --cgroup` names.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Cgroup, CgroupDir, open_dir};

impl Cgroup {
    /// Where a process goes that shall be in cgroups below the container's: the v2 directory for the clone, and the
    /// v1 files to write to. Each of `places` is `PATH` for every hierarchy, or `CONTROLLER[,CONTROLLER]:PATH`.
    ///
    /// # Errors
    /// A path that leaves the container's cgroup (F5), a controller that is not there, a cgroup that does not exist.
    pub(crate) fn below(&self, places: &[String]) -> Result<(Option<OwnedFd>, Vec<OwnedFd>)> {
        let mut paths: Vec<String> = self.record.dirs.iter().map(|dir| self.record.path_in(dir)).collect();
        for place in places {
            let (controllers, sub) = match place.split_once(':') {
                Some((controllers, sub)) => (Some(controllers.split(',').collect::<Vec<_>>()), sub),
                None => (None, place.as_str()),
            };
            let sub = sub.trim_matches('/');
            ensure!(
                !sub.split('/').any(|part| part == "..") && !sub.contains('\0'),
                "--cgroup: {place:?} leaves the container's cgroup"
            );
            let mut found = 0;
            let pure = self.record.is_pure_v2();
            for (dir, path) in self.record.dirs.iter().zip(&mut paths) {
                let named = |wanted: &Vec<&str>| wanted.iter().any(|name| is(dir, name, pure));
                if controllers.as_ref().is_none_or(named) {
                    *path = format!("{}/{sub}", self.record.path_in(dir)).trim_end_matches('/').to_owned();
                    found += 1;
                }
            }
            if found == 0 {
                bail!("--cgroup: {place:?}: the container has no such cgroup");
            }
        }
        let (mut into, mut joins) = (None, Vec::new());
        for (dir, path) in self.record.dirs.iter().zip(paths) {
            if dir.unified {
                into = Some(open_dir(&path).context("--cgroup")?);
            } else {
                let path = format!("{path}/tasks");
                let file = std::fs::OpenOptions::new().write(true).open(&path);
                joins.push(OwnedFd::from(file.with_context(|| format!("--cgroup: open {path}"))?));
            }
        }
        Ok((into, joins))
    }
}

/// Whether a hierarchy is the one of this controller; on pure v2 there is one for all.
fn is(dir: &CgroupDir, controller: &str, pure_v2: bool) -> bool {
    pure_v2 || dir.has(controller) || controller.strip_prefix("name=").is_some_and(|name| dir.mount.ends_with(name))
}
