//! Without root: an ordinary user with subordinate ids, in a user namespace that corm creates.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::Arc;

use test_support::{Cmd, Sandbox, bundle, wait_for};
use test_support::{need_root, skip};

/// A user with an entry in /etc/subuid.
struct User {
    sandbox: Arc<Sandbox>,
    id: u32,
    corm: PathBuf,
}

impl User {
    fn new() -> Option<User> {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        let id = subuid.lines().find_map(|line| {
            let name = line.split(':').next()?;
            let entry = passwd.lines().find(|entry| entry.starts_with(&format!("{name}:")))?;
            entry.split(':').nth(2)?.parse().ok().filter(|id| *id != 0)
        })?;
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

    fn corm(&self, args: &[&str]) -> Cmd {
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

#[test]
fn an_ordinary_user_runs_containers() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    let mark = format!("CROCI_TEST={}", user.sandbox.token);
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    // the container has root and other ids
    let out = user
        .corm(&["run", "--rm", "base", "sh", "-c", "id -u; echo x > /own; chown 33:44 /own; stat -c %u:%g /own"])
        .out()
        .ok();
    assert_eq!(out.stdout, "0\n33:44\n");
    assert_eq!(user.corm(&["run", "--rm", "-u", "user", "base", "id", "-u"]).out().ok().text(), "1000");
    assert_eq!(user.corm(&["run", "--rm", "base", "sh", "-c", "exit 6"]).out().code, Some(6));

    let run = user.corm(&["run", "-d", "--name", "n", "-e", &mark, "base", "sleep", "1000"]).out().ok();
    let id = run.text().to_owned();
    let shown = user.corm(&["ps"]).out().ok();
    assert!(shown.stdout.contains(&id[..12]) && shown.stdout.contains("running"), "{shown:?}");
    assert_eq!(user.corm(&["exec", "n", "sh", "-c", "echo in > /tmp/f; cat /tmp/f"]).out().ok().text(), "in");
    user.corm(&["commit", "n", "changed"]).out().ok();
    assert_eq!(user.corm(&["run", "--rm", "changed", "cat", "/tmp/f"]).out().ok().text(), "in");
    for (args, status) in [(&["no-such-program"][..], 127), (&["/etc/passwd"], 126), (&["sh", "-c", "exit 3"], 3)] {
        assert_eq!(user.corm(&[&["exec", "n"], args].concat()).out().code, Some(status), "{args:?}");
    }
    let state = user.corm(&["inspect", "n"]).out().ok().json()["state"].clone();
    assert!(state["status"] == "running" && state["oomKilled"] == false, "{state}");
    let out = user.corm(&["run", "--rm", "-v", "/dev/null:/f", "base", "sh", "-c", "echo x > /f; stat -c %t:%T /f"]);
    assert_eq!(out.out().ok().text(), "1:3");
    let both = ["kept1", "kept2"].map(|image| user.corm(&["commit", "-c", "USER 1000", "n", image]).spawn());
    both.into_iter().for_each(|commit| drop(commit.wait().ok()));
    assert_eq!(user.corm(&["run", "--rm", "kept2", "id", "-u"]).out().ok().text(), "1000");
    for _ in 0..3 {
        user.corm(&["run", "-d", "--rm", "--name", "again", "-e", &mark, "base", "sleep", "1000"]).out().ok();
        user.corm(&["kill", "again"]).out().ok();
    }
    let other = user.corm(&["run", "-d", "-e", &mark, "-u", "1000", "base", "sleep", "1000"]).out().ok();
    user.corm(&["rm", "-f", "n", other.text()]).out().ok();
    assert_eq!(user.corm(&["ps", "-aq"]).out().ok().stdout, "");
    let trees = user.sandbox.path("home/.local/share/corm/trees");
    wait_for("nothing left", || std::fs::read_dir(&trees).unwrap().next().is_none());
    user.sandbox.nothing_left();
}
