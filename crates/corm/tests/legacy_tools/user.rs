//! An ordinary user with subordinate IDs, and commands of corm as that user.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::Arc;

use test_support::{Cmd, Sandbox};

/// A user with an entry in /etc/subuid, which this thread and its commands see.
pub(crate) struct User {
    pub sandbox: Arc<Sandbox>,
    pub id: u32,
    corm: PathBuf,
}

impl User {
    pub(crate) fn new() -> Option<User> {
        let (id, _) = test_support::user::with_subordinate_ids()?;
        let sandbox = Sandbox::new();
        std::fs::set_permissions(&sandbox.dir, PermissionsExt::from_mode(0o755)).unwrap();
        for dir in ["home", "run"] {
            chown(sandbox.mkdir(dir), Some(id), Some(id)).unwrap();
        }
        // not copied by this process: another thread's child could inherit the file open for writing
        for binary in [test_support::corm(), test_support::runtime()] {
            sandbox.program("cp").arg(binary).arg(&sandbox.dir).out().ok();
        }
        Some(User { corm: sandbox.path("corm"), sandbox, id })
    }

    pub(crate) fn corm(&self, args: &[&str]) -> Cmd {
        let id = self.id.to_string();
        let me = self.sandbox.program("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
        let me = me.env("HOME", self.sandbox.path("home")).env("XDG_RUNTIME_DIR", self.sandbox.path("run"));
        me.cwd(self.sandbox.path("home")).arg(&self.corm).args(args)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let list = self.corm(&["ps", "-aq"]).command.output();
        for id in String::from_utf8_lossy(&list.map(|out| out.stdout).unwrap_or_default()).lines() {
            let _ = self.corm(&["rm", "-f", id]).command.output();
        }
    }
}
