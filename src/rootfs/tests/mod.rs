//! Tests of a whole root file system, from the configuration to the view of a program in it.
//!
//! Each test runs this test binary again, under unshare(1), with a busybox root; `inside` is the part that builds and
//! then executes a script in the container. The wrapper makes all mounts shared and compares the mount table before and
//! after, so that every test also is G2 and G3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

mod hostile;
mod mounts;
mod namespaces;

use super::{Host, build, pivot, protect_paths};
use crate::id_mapping::IdMappings;
use crate::plan::context::CgroupView;
use crate::plan::context::Hierarchy;
use crate::plan::context::RootfsContext;
use crate::plan::rootfs::RootfsPlan;
use crate::plan::rootfs::plan;
use linux::userns;

const WRAPPER: &str = r#"
mount --make-rshared / || exit 97
before=$(cut -d' ' -f4- /proc/self/mountinfo)
"$@"
status=$?
[ "$before" = "$(cut -d' ' -f4- /proc/self/mountinfo)" ] || echo "LEAK of mounts"
exit $status
"#;

/// Runs in the second process only.
#[test]
fn inside() {
    let Some(bundle) = std::env::var_os("CROCI_TEST_BUNDLE").map(PathBuf::from) else { return };
    let mode = std::env::var("CROCI_TEST_MODE").unwrap();
    if let Err(err) = enter(&bundle, &mode) {
        println!("ERROR {}", base::error::describe(&err));
        std::process::exit(3);
    }
}

/// The id maps of a mode: `userns` has those of root, `rootless` those of an ordinary user.
fn id_maps(mode: &str) -> IdMappings {
    match mode {
        "userns" => IdMappings::from([(0, 100_000, 65_536)]),
        "rootless" => [(0, 65_534, 1)].into(),
        _ => IdMappings::default(),
    }
}

/// The cgroups that the container sees: those below `CROCI_TEST_CGROUP`, where that is set.
fn cgroup_view(mode: &str) -> CgroupView {
    match std::env::var("CROCI_TEST_CGROUP").ok() {
        Some(dir) => CgroupView::Legacy(vec![
            Hierarchy { name: "cpu,cpuacct".to_owned(), mount_point: dir.clone(), path: "/box".to_owned() },
            Hierarchy { name: "memory".to_owned(), mount_point: dir, path: "/".to_owned() },
        ]),
        None if mode == "cgroupns" => CgroupView::Unified { path: "/".to_owned() },
        None => CgroupView::None,
    }
}

fn clone_flags(mode: &str) -> i32 {
    match mode {
        "chroot" => 0,
        "cgroupns" => libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP,
        "userns" | "rootless" => libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC,
        _ => libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC,
    }
}

fn set_ids(id: u32) -> anyhow::Result<()> {
    nix::unistd::setresgid(id.into(), id.into(), id.into())?;
    nix::unistd::setresuid(id.into(), id.into(), id.into())?;
    Ok(())
}

fn enter(bundle: &Path, mode: &str) -> anyhow::Result<()> {
    let config = fs::read(bundle.join("config.json"))?;
    let spec: oci_spec::runtime::Spec = serde_json::from_slice(&config)?;
    let user_ns = mode == "userns" || mode == "rootless";
    let rootless = mode == "rootless";
    let maps = id_maps(mode);
    let ctx = RootfsContext {
        bundle,
        user_ns,
        mount_ns: mode != "chroot",
        cgroup_ns: mode == "cgroupns",
        own_cgroup: cgroup_view(mode),
        no_pivot: mode == "no-pivot",
        id_maps: (maps.clone(), maps.clone()),
        user_ns_path: None,
    };
    let plan = plan(&spec, &ctx)?;
    if rootless {
        set_ids(65_534)?;
        nix::sys::prctl::set_dumpable(true)?;
    }
    let opened = crate::rootfs::open(&plan)?;
    let proc: OwnedFd = fs::File::open("/proc")?.into();
    let (mapped, say_mapped) = nix::unistd::pipe()?;
    let child = userns::fork_with(clone_flags(mode))?;
    if child == 0 {
        drop(say_mapped);
        nix::unistd::read(&mapped, &mut [0])?;
        if user_ns {
            set_ids(0)?;
        }
        return become_program(&plan, &opened, &proc);
    }
    if user_ns {
        let map = maps.to_string();
        if rootless {
            fs::write(format!("/proc/{child}/setgroups"), "deny")?;
        }
        fs::write(format!("/proc/{child}/gid_map"), &map)?;
        fs::write(format!("/proc/{child}/uid_map"), &map)?;
    }
    drop(say_mapped);
    match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None)? {
        nix::sys::wait::WaitStatus::Exited(_, status) => std::process::exit(status),
        other => anyhow::bail!("{other:?}"),
    }
}

fn become_program(plan: &RootfsPlan, opened: &crate::rootfs::OpenedRootfs, proc: &OwnedFd) -> anyhow::Result<()> {
    let idmap_outside = |_: usize, _: BorrowedFd<'_>| anyhow::bail!("no runtime");
    let proc_dir = proc.as_fd();
    let host = Host { proc_dir, pid_namespace: None, idmap_outside: &idmap_outside, announce: &|_| Ok(()) };
    let root = build(plan, opened, &host)?;
    pivot(plan, &root)?;
    protect_paths(plan, &root)?;
    let script = format!("{}\ntrue", std::env::var("CROCI_TEST_SCRIPT")?);
    Err(Command::new("/bin/busybox").args(["sh", "-c", &script]).env_clear().env("PATH", "/bin").exec().into())
}

struct Case {
    dir: PathBuf,
    config: Value,
}

impl Case {
    /// Returns `None`, and prints why, where containers cannot be created.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
            linux::testing::report_skip("needs root and a static /bin/busybox");
            return None;
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("croci-rootfs-{}-{count}", std::process::id()));
        fs::create_dir_all(dir.join("rootfs/bin")).unwrap();
        fs::create_dir_all(dir.join("host")).unwrap();
        fs::write(dir.join("host/marker"), "host").unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy("/bin/busybox", dir.join("rootfs/bin/busybox")).unwrap();
        for name in ["sh", "ls", "cat", "stat", "mount", "grep", "readlink", "mkdir", "touch", "echo", "umount", "test"]
        {
            symlink("busybox", dir.join("rootfs/bin").join(name)).unwrap();
        }
        let config = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                 "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                 "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                 "options": ["nosuid", "noexec", "nodev", "ro"]}
            ],
            "linux": {}
        });
        Some(Self { dir, config })
    }

    fn mount(&mut self, destination: &str, fs: &str, source: &str, options: &[&str]) -> &mut Self {
        let mount = json!({"destination": destination, "type": fs, "source": source, "options": options});
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    fn without(&mut self, destination: &str) -> &mut Self {
        let under = format!("{destination}/");
        self.config["mounts"].as_array_mut().unwrap().retain(|mount| {
            let at = mount["destination"].as_str().unwrap();
            at != destination && !at.starts_with(&under)
        });
        self
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    fn host_file(&self, name: &str, content: &str) {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn command(&self, mode: &str, script: &str) -> Command {
        fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", WRAPPER, "sh"]);
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "rootfs::tests::inside", "--nocapture", "--test-threads=1", "-q"]);
        command.env("CROCI_TEST_BUNDLE", &self.dir).env("CROCI_TEST_MODE", mode).env("CROCI_TEST_SCRIPT", script);
        command
    }

    /// Returns the output of the script; the build must succeed and leave no mount.
    fn run_as(&self, mode: &str, script: &str) -> String {
        self.finish(&mut self.command(mode, script))
    }

    fn finish(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("ERROR ") && output.status.success(), "{} {text}", output.status);
        assert!(!text.contains("LEAK"), "{text}");
        text
    }

    fn run(&self, script: &str) -> String {
        self.run_as("plain", script)
    }

    /// Returns the error; the host must be unchanged.
    fn refused(&self) -> String {
        let output = self.command("plain", "true").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "succeeded: {text}");
        assert!(!text.contains("LEAK"), "{text}");
        self.host_unchanged();
        let error = text.lines().find_map(|line| line.split("ERROR ").nth(1));
        error.unwrap_or_else(|| panic!("no error in {text} {}", String::from_utf8_lossy(&output.stderr))).to_owned()
    }

    fn host_unchanged(&self) {
        let names: Vec<_> = fs::read_dir(self.dir.join("host")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["marker"]);
        assert_eq!(fs::read_to_string(self.dir.join("host/marker")).unwrap(), "host");
    }

    fn link(&self, target: &str, at: &str) {
        let at = self.dir.join("rootfs").join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(target, at).unwrap();
    }
}

/// Returns the command with another wrapper.
fn with_wrapper(command: &Command, wrapper: &str) -> Command {
    let mut changed = Command::new(command.get_program());
    changed.args(command.get_args().map(|arg| if arg == WRAPPER { wrapper.as_ref() } else { arg }));
    changed.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    changed
}

impl Drop for Case {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Creates a case, or ends the test where containers cannot be created.
macro_rules! case {
    () => {
        match Case::new() {
            Some(case) => case,
            None => return,
        }
    };
}

use case;
