//! Cgroups below a container's, as `exec --cgroup` names them.

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Cgroup, CgroupDir, open_dir};

impl Cgroup {
    /// Opens cgroups below the container's for a new process: the v2 directory for the clone, and the v1 files to write
    /// to. Each of `specs` is `PATH` for every hierarchy, or `CONTROLLER[,CONTROLLER]:PATH`.
    ///
    /// # Errors
    /// A path that leaves the container's cgroup (F5), a controller that is not mounted, a cgroup that does
    /// not exist.
    pub(crate) fn below(&self, specs: &[String]) -> Result<(Option<OwnedFd>, Vec<OwnedFd>)> {
        let mut paths: Vec<String> = self.record.dirs.iter().map(|dir| self.record.path_in(dir)).collect();
        for spec in specs {
            let (controllers, sub) = match spec.split_once(':') {
                Some((controllers, sub)) => (Some(controllers.split(',').collect::<Vec<_>>()), sub),
                None => (None, spec.as_str()),
            };
            let sub = sub.trim_matches('/');
            ensure!(
                !sub.split('/').any(|part| part == "..") && !sub.contains('\0'),
                "--cgroup: {spec:?} leaves the container's cgroup"
            );
            let mut found = 0;
            let pure = self.record.is_pure_v2();
            for (dir, path) in self.record.dirs.iter().zip(&mut paths) {
                let named = |wanted: &Vec<&str>| wanted.iter().any(|name| has_controller(dir, name, pure));
                if controllers.as_ref().is_none_or(named) {
                    *path = format!("{}/{sub}", self.record.path_in(dir)).trim_end_matches('/').to_owned();
                    found += 1;
                }
            }
            if found == 0 {
                bail!("--cgroup: {spec:?}: the container has no such cgroup");
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

/// Reports whether a hierarchy has this controller; on pure v2 the only hierarchy has all.
fn has_controller(dir: &CgroupDir, controller: &str, pure_v2: bool) -> bool {
    pure_v2 || dir.has(controller) || controller.strip_prefix("name=").is_some_and(|name| dir.mount.ends_with(name))
}
