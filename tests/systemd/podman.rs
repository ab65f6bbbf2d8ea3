//! Podman with `--cgroup-manager=systemd`, as root and as an ordinary user: `run`, limits, `update`, `rm`.

use crate::need_systemd;
use std::path::{Path, PathBuf};
use test_support::cmd::Cmd;
use test_support::user::{User, own_tree};
use test_support::*;

/// Returns a command of Podman with storage of its own below `dir`.
fn podman(command: Cmd, dir: &Path, runtime: &Path) -> Cmd {
    let place = |name: &str| dir.join(name);
    let cmd = command.env("HOME", dir).arg("--root").arg(place("storage")).arg("--runroot").arg(place("run"));
    let cmd = cmd.arg("--tmpdir").arg(place("tmp")).arg("--runtime").arg(runtime);
    // needs neither netavark nor an image nor a signature policy, because the container is that of a directory
    cmd.args(["--storage-driver", "vfs", "--cgroup-manager", "systemd", "--events-backend", "file"])
}

fn lacks_podman() -> bool {
    !["/usr/bin/podman", "/usr/local/bin/podman"].iter().any(|path| Path::new(path).exists())
}

/// Runs a container with limits, updates and removes it. `place` is the slice or service in which its cgroup must be.
fn run_update_and_remove(podman: &dyn Fn() -> Cmd, rootfs: &Path, place: &str) {
    let run = ["run", "--detach", "--network", "none", "--memory", "64m", "--pids-limit", "50", "--cpu-shares", "512"];
    let out = podman().args(run).arg("--rootfs").arg(rootfs).args(["sleep", "1000"]).out().ok();
    let id = out.lines().last().unwrap().to_string();
    let pid: i32 = podman().args(["inspect", "--format", "{{.State.Pid}}", &id]).out().ok().text().parse().unwrap();
    let dir: PathBuf = cgroup::dir_of(pid, "name=systemd").unwrap();
    // Podman's own settings move the process into a cgroup of that name below the scope, or leave it there
    let scope = dir.ancestors().find(|path| path.extension().is_some_and(|end| end == "scope")).unwrap().to_owned();
    assert!(scope.ends_with(format!("{place}/libpod-{id}.scope")), "{dir:?}");
    let file = |name: &str| std::fs::read_to_string(scope.join(name)).unwrap().trim().to_owned();
    assert_eq!([file("memory.max"), file("pids.max"), file("cpu.weight")], ["67108864", "50", "59"]);
    let exec = podman().args(["exec", &id, "sh", "-c", "id -u; cat /proc/self/cgroup"]).out().ok();
    assert_eq!(exec.lines()[0], "0");
    podman().args(["pause", &id]).out().ok();
    let paused = podman().args(["inspect", "--format", "{{.State.Status}}", &id]).out().ok();
    assert_eq!(paused.text(), "paused");
    podman().args(["unpause", &id]).out().ok();
    podman().args(["rm", "--force", "--time", "0", &id]).out().ok();
    assert!(!scope.exists(), "{scope:?}");
    let out =
        podman().args(["run", "--rm", "--network", "none", "--rootfs"]).arg(rootfs).args(["sh", "-c", "exit 9"]).out();
    assert_eq!(out.code, Some(9), "{out:?}");
    assert_eq!(podman().args(["ps", "--all", "--quiet"]).out().ok().text(), "");
}

#[test]
fn as_root() {
    need_systemd!();
    if lacks_podman() {
        skip!("no podman");
    }
    if !cgroup::is_v2() {
        skip!("needs cgroup v2");
    }
    let sandbox = Sandbox::new();
    let rootfs = bundle::make_rootfs(&sandbox.dir);
    let dir = sandbox.mkdir("podman");
    run_update_and_remove(&|| podman(sandbox.program("podman"), &dir, &runtime()), &rootfs, "machine.slice");
}

#[test]
fn as_an_ordinary_user() {
    need_systemd!();
    if lacks_podman() {
        skip!("no podman");
    }
    let Some(user) = User::with_manager().filter(|_| cgroup::is_v2()) else {
        skip!("no user with subordinate ids and a service manager (loginctl enable-linger NAME)")
    };
    let rootfs = bundle::make_rootfs(&user.sandbox.dir);
    own_tree(&rootfs, user.id);
    let dir = user.sandbox.mkdir("podman");
    own_tree(&dir, user.id);
    run_update_and_remove(&|| podman(user.command("podman"), &dir, &user.runtime).cwd(&dir), &rootfs, "user.slice");
    // ends the process that holds the user namespace
    podman(user.command("podman"), &dir, &user.runtime).cwd(&dir).args(["system", "migrate"]).out().ok();
}
