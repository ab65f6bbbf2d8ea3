//! The environment of one test: a temporary directory, a state root, and a token by which everything that the test
//! creates can be found on the host.

use super::cmd::{self, Cmd};
use super::{cgroup, host};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub struct Sandbox {
    /// The temporary directory, removed on drop.
    pub dir: PathBuf,
    /// The state root of the runtime, which creates it.
    pub root: PathBuf,
    /// The part of every ID, cgroup name and environment that marks this test.
    pub token: String,
    next: AtomicU32,
}

impl Sandbox {
    pub fn new() -> Arc<Sandbox> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        super::reaper::start();
        let token = format!("ct{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&token);
        std::fs::create_dir(&dir).unwrap();
        Arc::new(Sandbox { root: dir.join("state"), dir, token: format!("{token}t"), next: AtomicU32::new(0) })
    }

    /// Returns a container ID that no other container has.
    pub fn id(&self) -> String {
        format!("{}-{}", self.token, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Prepares a call of the runtime with this sandbox's state root; global flags may come first in `args`.
    pub fn croci<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Cmd {
        cmd::croci(&self.dir, &self.token, &self.root).args(args)
    }

    /// Prepares a call of the runtime without a state root of its own, for verbs that need none.
    pub fn bare<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(&self, args: I) -> Cmd {
        Cmd::new(super::runtime(), &self.dir, &self.token).args(args)
    }

    /// Prepares a call of another program.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        Cmd::new(program, &self.dir, &self.token)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn mkdir(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.dir.join(name);
        cmd::script(&path, body);
        path
    }

    /// Returns everything of this test that is still on the host: processes, cgroups, mounts, state entries, sockets.
    /// One line each.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        found.extend(host::processes_with(&self.token).into_iter().map(|(pid, name)| format!("process {pid} {name}")));
        found.extend(cgroup::dirs_with(&self.token).into_iter().map(|dir| format!("cgroup {}", dir.display())));
        found.extend(host::mounts_below(&self.dir).into_iter().map(|line| format!("mount {line}")));
        found.extend(state_entries(&self.root).into_iter().map(|name| format!("state {name}")));
        found.extend(host::kernel_lines("net/unix", &self.token).into_iter().map(|line| format!("socket {line}")));
        found
    }

    /// Waits for the dead processes of this sandbox, and returns the keys of it that are left: a process that no other
    /// has waited for has its session keyring still.
    pub fn keys_left(&self) -> Vec<String> {
        let token = self.token.as_bytes();
        let is_of_it = |pid: &i32| {
            let text = std::fs::read(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            !host::alive(*pid) && text.windows(token.len()).any(|part| part == token)
        };
        for pid in host::pids().into_iter().filter(is_of_it) {
            super::reaper::status(pid);
        }
        host::kernel_lines("keys", &self.token)
    }

    /// Fails unless nothing is left (a process that is being killed has a quarter of the deadline to end).
    #[track_caller]
    pub fn nothing_left(&self) {
        let end = std::time::Instant::now() + super::DEADLINE / 4;
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < end, "left behind: {left:#?}");
            std::thread::yield_now();
        }
    }
}

/// Returns the names of the containers in the state root.
pub fn state_entries(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // the runtime may keep files of its own beside the containers, marked by a leading dot
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for id in state_entries(&self.root) {
            let _ = self.croci(["delete", "--force", &id]).command.output();
        }
        cgroup::thaw_all(&self.token);
        for _ in 0..50 {
            let alive = host::processes_with(&self.token);
            if alive.is_empty() {
                break;
            }
            for (pid, _) in alive {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
                cmd::wait_pid_ready(pid, std::time::Duration::from_millis(200));
            }
        }
        cgroup::remove_all(&self.token);
        for line in host::mounts_below(&self.dir).into_iter().rev() {
            if let Some(target) = line.split(' ').nth(4) {
                let _ = nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH);
            }
        }
        if std::env::var_os("KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
