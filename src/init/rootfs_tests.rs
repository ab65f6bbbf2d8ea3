//! The whole way of a root file system, from a configuration to what a program in it sees.
//!
//! Each test runs this test binary again, under unshare(1), with a busybox root; `inside` is the part that builds and
//! then executes a script in the container. The wrapper makes all mounts shared and compares the mount table before and
//! after, so that every test also is G2 and G3.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use super::{build, finish, pivot};
use crate::plan::rootfs::{CgroupView, RootfsContext, RootfsPlan, plan};
use crate::sys::userns;

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
        println!("ERROR {}", crate::error::describe(&err));
        std::process::exit(3);
    }
}

fn enter(bundle: &Path, mode: &str) -> anyhow::Result<()> {
    let config = fs::read(bundle.join("config.json"))?;
    let spec: oci_spec::runtime::Spec = serde_json::from_slice(&config)?;
    let user_ns = mode == "userns" || mode == "rootless";
    let rootless = mode == "rootless";
    let maps = match mode {
        "userns" => vec![(0, 100_000, 65_536)],
        "rootless" => vec![(0, 65_534, 1)],
        _ => Vec::new(),
    };
    let own = std::env::var("CROCI_TEST_CGROUP").ok();
    let ctx = RootfsContext {
        bundle,
        user_ns,
        mount_ns: mode != "chroot",
        cgroup_ns: mode == "cgroupns",
        own_cgroup: match own {
            Some(dir) => CgroupView::Legacy(vec![
                ("cpu,cpuacct".to_owned(), dir.clone(), "/box".to_owned()),
                ("memory".to_owned(), dir, "/".to_owned()),
            ]),
            None if mode == "cgroupns" => CgroupView::Unified { path: "/".to_owned() },
            None => CgroupView::None,
        },
        terminal: false,
        no_pivot: mode == "no-pivot",
        id_maps: (maps.clone(), maps.clone()),
        user_ns_path: None,
    };
    let mut plan = plan(&spec, &ctx)?;
    if rootless {
        nix::unistd::setresgid(65_534.into(), 65_534.into(), 65_534.into())?;
        nix::unistd::setresuid(65_534.into(), 65_534.into(), 65_534.into())?;
        nix::sys::prctl::set_dumpable(true)?;
    }
    plan.open()?;
    let proc: OwnedFd = fs::File::open("/proc")?.into();
    let flags = match mode {
        "chroot" => 0,
        "cgroupns" => libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP,
        "userns" | "rootless" => libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC,
        _ => libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC,
    };
    let (mapped, say_mapped) = nix::unistd::pipe()?;
    let child = userns::fork_with(flags)?;
    if child == 0 {
        drop(say_mapped);
        nix::unistd::read(&mapped, &mut [0])?;
        if user_ns {
            nix::unistd::setresgid(0.into(), 0.into(), 0.into())?;
            nix::unistd::setresuid(0.into(), 0.into(), 0.into())?;
        }
        return become_program(&plan, &proc);
    }
    if user_ns {
        let map: String = maps.iter().map(|(inside, outside, size)| format!("{inside} {outside} {size}\n")).collect();
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

fn become_program(plan: &RootfsPlan, proc: &OwnedFd) -> anyhow::Result<()> {
    let root = build(plan, proc.as_fd())?;
    pivot(plan, &root)?;
    finish(plan, &root)?;
    let script = format!("{}\ntrue", std::env::var("CROCI_TEST_SCRIPT")?);
    Err(Command::new("/bin/busybox").args(["sh", "-c", &script]).env_clear().env("PATH", "/bin").exec().into())
}

struct Case {
    dir: PathBuf,
    config: Value,
}

impl Case {
    /// None, with a word why, where containers cannot be made.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
            println!("skipped: needs root and a static /bin/busybox");
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
        command.args(["--exact", "init::rootfs::tests::inside", "--nocapture", "--test-threads=1", "-q"]);
        command.env("CROCI_TEST_BUNDLE", &self.dir).env("CROCI_TEST_MODE", mode).env("CROCI_TEST_SCRIPT", script);
        command
    }

    /// What the script printed; the build must succeed and leave no mount behind.
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

    /// The error; nothing of the host may have changed.
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

    fn link(&self, says: &str, at: &str) {
        let at = self.dir.join("rootfs").join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(says, at).unwrap();
    }
}

/// The command with other words in place of the wrapper.
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

macro_rules! case {
    () => {
        match Case::new() {
            Some(case) => case,
            None => return,
        }
    };
}

#[test]
fn mt_10_the_default_configuration() {
    let case = case!();
    let seen = case.run("cat /proc/self/mounts; ls -l /dev; stat -c '%n %a %t:%T' /dev/null /dev/tty; ls /");
    for line in [
        "proc /proc proc rw,nosuid,nodev,noexec,relatime",
        "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755",
        "devpts /dev/pts devpts rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666",
        "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k",
        "mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime",
        "/dev/null 666 1:3",
        "/dev/tty 666 5:0",
        "fd -> /proc/self/fd",
        "stdin -> /proc/self/fd/0",
        "ptmx -> pts/ptmx",
    ] {
        assert!(seen.contains(line), "{line} in\n{seen}");
    }
    assert_eq!(seen.lines().filter(|l| l.contains("ext4") || l.contains("overlay")).count(), 1, "one root\n{seen}");
}

#[test]
fn g1_masked_and_readonly_paths() {
    let mut case = case!();
    case.host_file("rootfs/secret/file", "secret");
    case.host_file("rootfs/secret2/file", "secret");
    case.host_file("rootfs/plain", "secret");
    case.host_file("rootfs/plain2", "secret");
    case.host_file("rootfs/keep/file", "kept");
    case.config["linux"] = json!({
        "maskedPaths": ["/secret", "/secret2", "/secret/file", "/plain", "/plain2", "/none", "/plain/x", "/proc/cpuinfo"],
        "readonlyPaths": ["/keep", "/none", "/proc/sys"],
    });
    let seen = case.run(
        "cat /secret/* /secret2/* /plain /plain2; touch /keep/x; touch /secret/x; cat /keep/file; \
         echo x > /proc/sys/kernel/hostname; stat -c '%n %t:%T' /plain /proc/cpuinfo; touch /ok && echo rw-root",
    );
    assert!(!seen.contains("secret\n") && seen.contains("kept") && seen.contains("rw-root"), "{seen}");
    assert!(seen.contains("/plain 1:3") && seen.contains("/proc/cpuinfo 1:3"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 3, "{seen}");
}

#[test]
fn lx_2_a_masked_symlink_is_hidden_itself() {
    let mut case = case!();
    case.host_file("rootfs/real", "content");
    case.link("/real", "lnk");
    case.config["linux"] = json!({"maskedPaths": ["/lnk"]});
    assert!(case.run("cat /lnk; echo -; cat /real").contains("-\ncontent"));
}

#[test]
fn rt_2_a_read_only_root_with_its_mount_points_made() {
    let mut case = case!();
    case.config["root"]["readonly"] = json!(true);
    case.mount("/run/late", "tmpfs", "tmpfs", &["ro"]).mount("/run/late/below", "tmpfs", "tmpfs", &[]);
    let seen = case.run("touch /x; touch /run/late/x; touch /run/late/below/x && echo below; touch /dev/x && echo dev");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(seen.contains("below") && seen.contains("dev"), "{seen}");
}

#[test]
fn mt_3_binds_of_files_and_directories() {
    let mut case = case!();
    case.host_file("vol/file", "volume");
    let (vol, file) = (case.path("vol"), case.path("vol/file"));
    case.mount("/data/deep", "bind", &vol, &["rbind", "ro", "rprivate"])
        .mount("/etc/one", "bind", &file, &["bind", "noexec"])
        .mount("/relative", "none", "vol", &["bind"]);
    let seen = case.run(
        "cat /data/deep/file /etc/one /relative/file; touch /data/deep/x; touch /relative/y; cat /proc/self/mounts",
    );
    assert_eq!(seen.matches("volume").count(), 3, "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 1, "{seen}");
    assert!(seen.lines().any(|l| l.contains(" /etc/one ") && l.contains("noexec")), "{seen}");
    assert!(case.dir.join("vol/y").exists());
}

#[test]
fn mt_4_sources_that_do_not_fit() {
    for (destination, source, text) in [
        ("/d", "none", "source"),
        ("/bin", "host/marker", "not a directory"),
        ("/bin/busybox", "host", "not a directory"),
    ] {
        let mut case = case!();
        let source = case.path(source);
        case.mount(destination, "bind", &source, &["bind"]);
        let error = case.refused();
        assert!(error.contains(text) && error.contains(&format!("mounts[6]: destination {destination:?}")), "{error}");
    }
    let mut case = case!();
    case.mount("/d", "bind", "/no/such", &["bind"]);
    assert!(case.refused().ends_with("source \"/no/such\": no such file or directory"));
    case.config["mounts"].as_array_mut().unwrap().pop();
    case.mount("/d", "bind", "/no/such", &["bind", "nofail"]);
    assert!(case.run("echo fine").contains("fine"));
}

#[test]
fn mt_7_the_refused_option_is_named() {
    let mut case = case!();
    case.mount("/t", "tmpfs", "tmpfs", &["size=1m", "sizz=1"]);
    let error = case.refused();
    assert!(error.contains("\"sizz=1\"") && error.contains("Unknown parameter 'sizz'"), "{error}");
    let mut case = case!();
    case.mount("/t", "bind", "host", &["bind", "sizz"]);
    assert!(case.refused().contains("\"sizz\""));
    let mut case = case!();
    case.mount("/t", "nosuchfs", "x", &[]);
    assert!(case.refused().contains("nosuchfs"));
}

#[test]
fn a1_a2_a3_links_in_place_of_proc_sys_dev() {
    for place in ["proc", "sys", "dev"] {
        let mut case = case!();
        case.link(&case.path("host"), place);
        if place == "dev" {
            case.without("/dev");
            case.host_file("host/ptmx", "");
            fs::remove_file(case.dir.join("host/ptmx")).unwrap();
        }
        assert!(case.refused().contains("symbolic links"), "{place}");
    }
}

#[test]
fn a4_a_link_in_place_of_dev_null() {
    let mut case = case!();
    case.without("/dev");
    case.link(&case.path("host/marker"), "dev/null");
    let error = case.refused();
    assert!(error.contains("not the requested device"), "{error}");
}

#[test]
fn a6_a7_a8_links_on_the_way_stay_inside() {
    let mut case = case!();
    case.host_file("vol/file", "volume");
    case.link(&case.path("host"), "lnk");
    case.link(&case.path("host/resolv"), "etc/resolv.conf");
    case.mount("/lnk/sub/dir", "bind", "vol", &["bind"]).mount("/etc/resolv.conf", "bind", "vol/file", &["bind"]);
    case.config["linux"]["devices"] = json!([{"path": "/lnk/fuse", "type": "c", "major": 10, "minor": 229}]);
    let seen = case.run("cat /lnk/sub/dir/file /etc/resolv.conf; stat -c %t:%T /lnk/fuse");
    assert_eq!(seen.matches("volume").count(), 2, "{seen}");
    assert!(seen.contains("a:e5"), "{seen}");
    case.host_unchanged();
}

#[test]
fn b1_a_hostile_dev_lends_nothing_to_a_mask() {
    let mut case = case!();
    case.host_file("rootfs/secret", "secret");
    fs::create_dir_all(case.dir.join("hostile/pts")).unwrap();
    symlink("/proc/version", case.dir.join("hostile/null")).unwrap();
    case.without("/dev").mount("/dev", "bind", "hostile", &["rbind"]);
    case.config["linux"]["maskedPaths"] = json!(["/secret"]);
    let seen = case.run("cat /secret; stat -c '%t:%T' /secret; ls /dev");
    assert!(seen.contains("1:3") && !seen.contains("Linux version") && !seen.contains("zero"), "{seen}");
}

#[test]
fn c1_to_c6_nothing_goes_over_proc() {
    for (destination, fs) in [
        ("/proc/self/attr", "tmpfs"),
        ("/proc", "tmpfs"),
        ("/proc", "bind"),
        ("/proc/sys", "tmpfs"),
        ("/tmp/../proc/sysrq-trigger", "bind"),
        ("/lnk", "tmpfs"),
        ("/lnk/sub", "bind"),
    ] {
        let mut case = case!();
        case.link("/proc/self", "lnk");
        let options: &[&str] = if fs == "bind" { &["bind"] } else { &[] };
        case.mount(destination, fs, "host", options);
        let error = case.refused();
        assert!(error.contains("proc") || error.contains("no such file"), "{destination}: {error}");
    }
    let mut case = case!();
    case.host_file("meminfo", "fake");
    case.mount("/proc/meminfo", "bind", "meminfo", &["bind"]);
    assert!(case.run("cat /proc/meminfo").contains("fake"), "the customary list is allowed");
}

#[test]
fn g4_the_old_root_is_gone() {
    let case = case!();
    let marker = case.path("host/marker");
    for mode in ["plain", "no-pivot"] {
        let seen = case.run_as(mode, &format!("cat /..{marker} /proc/1/root{marker} /proc/self/root{marker}; ls /.."));
        assert!(!seen.contains("\nhost") && seen.contains("busybox") == seen.contains("/bin/busybox"), "{seen}");
        assert!(seen.lines().any(|l| l == "bin"), "{mode} {seen}");
    }
}

#[test]
fn g7_something_else_at_a_device_path() {
    let mut case = case!();
    case.host_file("rootfs/special", "");
    case.config["linux"]["devices"] = json!([{"path": "/special", "type": "c", "major": 1, "minor": 3}]);
    let error = case.refused();
    assert!(error.contains("linux.devices[0]: \"/special\""), "{error}");
}

#[test]
fn g8_a_recursively_read_only_tree() {
    let mut case = case!();
    fs::create_dir_all(case.dir.join("vol/sub")).unwrap();
    case.mount("/plain", "bind", "vol", &["rbind", "ro"]).mount("/tree", "bind", "vol", &["rbind", "rro"]);
    let script = "for d in plain tree; do for s in . sub; do touch /$d/$s/x && echo wrote $d/$s; done; done";
    let wrapped = format!("mount -t tmpfs none {}/vol/sub || exit 96\n{WRAPPER}", case.dir.display());
    let mut command = with_wrapper(&case.command("plain", script), &wrapped);
    let seen = case.finish(&mut command);
    assert!(
        seen.contains("wrote plain/sub") && !seen.contains("wrote tree") && !seen.contains("wrote plain/."),
        "{seen}"
    );
}

#[test]
fn dv_1_devices_with_exact_modes() {
    let mut case = case!();
    case.config["linux"]["devices"] = json!([
        {"path": "/dev/c", "type": "c", "major": 10, "minor": 666, "fileMode": 432, "uid": 7, "gid": 8},
        {"path": "/dev/b", "type": "b", "major": 8, "minor": 666, "fileMode": 432},
        {"path": "/dev/p", "type": "p", "major": 8, "minor": 666, "fileMode": 432},
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200},
    ]);
    let seen = case.run("stat -c '%n %a %F %t:%T %u:%g' /dev/c /dev/b /dev/p /dev/net/tun");
    for line in [
        "/dev/c 660 character special file a:29a 7:8",
        "/dev/b 660 block special file 8:29a 0:0",
        "/dev/p 660 fifo 0:0 0:0",
        "/dev/net/tun 666 character special file a:c8 0:0",
    ] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
}

#[test]
fn lx_1_propagation_of_the_root() {
    for (word, field) in [("shared", "shared:"), ("rslave", "master:"), ("private", "- "), ("unbindable", "unbindable")]
    {
        let mut case = case!();
        case.config["linux"] = json!({"rootfsPropagation": word, "readonlyPaths": ["/bin"]});
        let seen = case.run("grep ' / / ' /proc/self/mountinfo || grep ' / ' /proc/self/mountinfo");
        let line = seen.lines().find(|l| l.contains(" / ") && l.contains(" - ")).unwrap().to_owned();
        let optional = line.split_whitespace().nth(6).unwrap().to_owned();
        assert!(optional.starts_with(field.trim()), "{word}: {line}");
    }
}

#[test]
fn propagation_of_each_bind() {
    let mut case = case!();
    for word in ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"] {
        case.mount(&format!("/b/{word}"), "bind", "host", &["rbind", word, "mode=755", "size=1k"]);
        case.mount(&format!("/t/{word}"), "tmpfs", "tmpfs", &[word, "mode=755", "size=1k"]);
    }
    let seen = case.run("cat /proc/self/mountinfo");
    for (place, want) in [
        ("/b/shared", "shared:"),
        ("/b/rshared", "shared:"),
        ("/b/slave", "master:"),
        ("/b/rslave", "master:"),
        ("/b/private", "-"),
        ("/b/rprivate", "-"),
        ("/b/unbindable", "unbindable"),
        ("/b/runbindable", "unbindable"),
        ("/t/shared", "shared:"),
        ("/t/slave", "-"),
        ("/t/rprivate", "-"),
        ("/t/runbindable", "unbindable"),
    ] {
        let line = seen.lines().find(|l| l.split(' ').nth(4) == Some(place)).unwrap();
        assert!(line.split(' ').nth(6).unwrap().starts_with(want), "{place}: {line}");
    }
}

#[test]
fn tmpcopyup_keeps_what_was_there() {
    let mut case = case!();
    case.host_file("rootfs/conf/a", "one");
    case.host_file("rootfs/conf/sub/b", "two");
    let conf = case.dir.join("rootfs/conf");
    fs::hard_link(conf.join("a"), conf.join("hard")).unwrap();
    symlink("sub/b", conf.join("soft")).unwrap();
    fs::set_permissions(conf.join("a"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o711)).unwrap();
    nix::unistd::chown(&conf.join("sub"), Some(12.into()), Some(13.into())).unwrap();
    case.mount("/conf", "tmpfs", "tmpfs", &["tmpcopyup", "", "nodev"]);
    let seen = case.run(
        "cat /conf/a /conf/soft; stat -c '%n %a %u:%g %h' /conf /conf/a /conf/sub; readlink /conf/soft; touch /conf/new; \
         stat -f -c %T /conf",
    );
    for line in ["onetwo", "/conf 711 0:0", "/conf/a 4751 0:0 2", "/conf/sub 755 12:13", "sub/b", "tmpfs"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    assert!(!conf.join("new").exists());
}

#[test]
fn mi_4_id_mapped_binds() {
    let mut case = case!();
    case.host_file("vol/f", "");
    case.mount("/option", "bind", "vol", &["bind", "idmap=uids=0-1234-10;gids=0-4321-10"]);
    case.mount("/fields", "bind", "vol", &["bind"]);
    let last = case.config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
    last["uidMappings"] = json!([{"containerID": 0, "hostID": 77, "size": 5}]);
    last["gidMappings"] = json!([{"containerID": 0, "hostID": 88, "size": 5}]);
    case.mount("/tmpfs", "tmpfs", "tmpfs", &["idmap=uids=0-5-10;gids=0-6-10"]);
    let seen = case.run("stat -c '%n %u:%g' /option/f /fields/f /tmpfs");
    for line in ["/option/f 1234:4321", "/fields/f 77:88", "/tmpfs 5:6"] {
        assert!(seen.contains(line), "{line} in {seen}");
    }
    let mut case = case!();
    case.mount("/x", "bind", "host", &["bind", "idmap"]);
    assert!(case.refused().contains("idmap"), "MI-3: no mapping to use");
    let mut case = case!();
    case.mount("/x", "proc", "proc", &["idmap=uids=0-5-10;gids=0-6-10"]);
    assert!(case.refused().contains("does not support"), "MI-4");
}

#[test]
fn copy_symlink_and_nofollow() {
    let mut case = case!();
    case.host_file("vol/real", "real");
    symlink("real", case.dir.join("vol/lnk")).unwrap();
    case.link("/bin", "dest");
    case.host_file("rootfs/plain", "");
    case.mount("/copied", "bind", "vol/lnk", &["bind", "copy-symlink"])
        .mount("/linked", "bind", "vol/lnk", &["bind", "src-nofollow"])
        .mount("/dest", "bind", "vol/real", &["bind", "dest-nofollow"]);
    let seen = case.run("readlink /copied; readlink /linked; cat /dest; ls /bin/busybox");
    assert!(seen.contains("real\nreal\nreal/bin/busybox"), "{seen}");
}

#[test]
fn a_user_namespace_binds_devices_and_sysfs() {
    let mut case = case!();
    let root = case.dir.join("rootfs");
    nix::unistd::chown(&root, Some(100_000.into()), Some(100_000.into())).unwrap();
    case.host_file("closed/vol/f", "unreadable path");
    fs::set_permissions(case.dir.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    case.mount("/vol", "bind", "closed/vol", &["rbind", "ro"]);
    case.config["linux"] = json!({"maskedPaths": ["/proc/cpuinfo", "/sys/firmware"], "readonlyPaths": ["/proc/sys"]});
    case.config["root"]["readonly"] = json!(true);
    let seen = case.run_as(
        "userns",
        "stat -c '%n %t:%T' /dev/null /dev/tty; echo x > /dev/null; cat /vol/f; ls /sys; \
        ls /sys/firmware; touch /x; touch /vol/x; echo y > /proc/sys/kernel/hostname; readlink /dev/ptmx",
    );
    assert!(seen.contains("/dev/null 1:3") && seen.contains("/dev/tty 5:0"), "{seen}");
    assert!(seen.contains("unreadable path") && seen.contains("kernel") && seen.contains("pts/ptmx"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 3, "{seen}");
}

#[test]
fn devpts_group_outside_the_user_namespace() {
    let mut case = case!();
    case.mount("/pts2", "devpts", "devpts", &["newinstance", "gid=70000"]);
    let output = case.command("userns", "true").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("no group 70000"), "{text}");
}

#[test]
fn ns_5_without_a_mount_namespace() {
    let mut case = case!();
    case.without("/dev").without("/sys").without("/proc").mount("/vol", "bind", "host", &["bind"]);
    // the mounts stay in the caller's namespace: taken away by the wrapper's, not compared
    let output = case.command("chroot", "cat /vol/marker; ls /dev/null; ls /..").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("host/dev/null") && text.lines().any(|l| l == "bin"), "{text}");
    case.config["root"]["readonly"] = json!(true);
    let text = String::from_utf8_lossy(&case.command("chroot", "true").output().unwrap().stdout).into_owned();
    assert!(text.contains("root.readonly: needs a mount namespace"), "{text}");
}

#[test]
fn op_3_a_failed_build_takes_its_mount_points_back() {
    let mut case = case!();
    case.mount("/new/deep/dir", "tmpfs", "tmpfs", &[]).mount("/newer", "tmpfs", "tmpfs", &["nosuch=1"]);
    case.refused();
    let mut names: Vec<_> = fs::read_dir(case.dir.join("rootfs")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["bin"]);
}

#[test]
fn mt_6_cgroup_v1_is_a_tmpfs_of_binds() {
    let mut case = case!();
    case.host_file("cg/box/tasks", "own");
    case.host_file("cg/other", "foreign");
    case.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]);
    let mut command = case.command(
        "plain",
        "cd /sys/fs/cgroup; cat cpu/tasks cpuacct/tasks cpu,cpuacct/tasks; ls memory; touch x; touch cpu/x; ls",
    );
    command.env("CROCI_TEST_CGROUP", case.path("cg"));
    let seen = case.finish(&mut command);
    assert!(seen.contains("ownownown") && seen.contains("other"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
}

#[test]
fn remount_changes_what_is_there() {
    let mut case = case!();
    case.mount("/dev/shm", "tmpfs", "shm", &["remount", "size=1m", "ro"]);
    case.mount("/bin", "bind", "rootfs/bin", &["bind"]).mount(
        "/bin",
        "none",
        "x",
        &["bind", "remount", "ro", "nosuid"],
    );
    let seen = case.run("cat /proc/self/mounts");
    assert!(seen.contains("shm /dev/shm tmpfs ro,nosuid,nodev,noexec,relatime,size=1024k"), "{seen}");
    assert!(seen.lines().any(|l| l.contains(" /bin ") && l.contains("ro,nosuid")), "{seen}");
}

#[test]
fn many_binds_stay_within_the_limit_of_descriptors() {
    let mut case = case!();
    case.host_file("vol/f", "x");
    for index in 0..1000 {
        case.mount(&format!("/many/{index}"), "bind", "vol", &["bind", "ro"]);
    }
    let seen = case.run("cat /many/0/f /many/999/f; touch /many/999/x");
    assert!(seen.contains("xx") && seen.contains("Read-only"), "{seen}");
}

#[test]
fn rt_3_rootless_the_child_opens_and_locked_flags_stay() {
    let mut case = case!();
    case.host_file("vol/f", "volume");
    nix::unistd::chown(&case.dir.join("rootfs"), Some(65_534.into()), Some(65_534.into())).unwrap();
    let pts = &mut case.config["mounts"][2]["options"];
    *pts = json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]);
    case.mount("/vol", "bind", "vol", &["rbind", "ro"]);
    case.config["linux"] = json!({"maskedPaths": ["/proc/cpuinfo", "/sys/firmware"], "readonlyPaths": ["/proc/sys"]});
    case.config["root"]["readonly"] = json!(true);
    let seen = case.run_as(
        "rootless",
        "cat /vol/f; stat -c '%n %t:%T' /dev/null /proc/cpuinfo; touch /x /vol/x; ls /sys; ls /sys/firmware",
    );
    assert!(seen.contains("volume") && seen.contains("/dev/null 1:3") && seen.contains("/proc/cpuinfo 1:3"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");

    // a host mount that is nodev and read-only cannot be opened up from a user namespace
    let locked = |options: &str| {
        let vol = case.path("vol");
        format!("mount --bind {vol} {vol} && mount -o remount,bind,{options} {vol}\n{WRAPPER}")
    };
    let (nodev, readonly) = (locked("ro,nodev"), locked("ro"));
    case.config["mounts"].as_array_mut().unwrap().pop();
    case.mount("/vol", "bind", "vol", &["rbind"]);
    let script = "touch /vol/x; mount -o remount,bind,rw /vol && echo opened; grep vol /proc/self/mounts";
    for mode in ["rootless", "userns"] {
        let seen = case.finish(&mut with_wrapper(&case.command(mode, script), &nodev));
        assert!(seen.contains("Read-only") && !seen.contains("opened") && seen.contains("nodev"), "{mode} {seen}");
    }
    case.mount("/vol", "bind", "vol", &["rbind", "rw"]);
    let output = with_wrapper(&case.command("rootless", "true"), &readonly).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("locked") && text.contains("operation not permitted"), "MT-9: {text}");
}

#[test]
fn mt_6_cgroup_v2_in_a_namespace_of_its_own() {
    let mut case = case!();
    case.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"]);
    let seen = case.run_as("cgroupns", "grep /sys/fs/cgroup /proc/self/mountinfo; ls /sys/fs/cgroup");
    assert!(
        seen.contains("- cgroup2 cgroup") && seen.contains("cgroup.procs") && seen.contains(" ro,nosuid"),
        "{seen}"
    );
}

#[test]
fn shared_binds_under_a_shared_root_reach_the_host() {
    let mut case = case!();
    fs::create_dir_all(case.dir.join("vol/sub")).unwrap();
    case.mount("/both", "bind", "vol", &["rbind", "rshared"]).mount("/own", "bind", "vol", &["rbind", "rprivate"]);
    case.config["linux"]["rootfsPropagation"] = json!("rshared");
    let script =
        "mount -t tmpfs seen-by-host /both/sub; mount -t tmpfs unseen /own/sub; mount -t tmpfs unseen2 /sys/fs";
    let wrapped = WRAPPER.replace("exit $status", "cat /proc/self/mounts; exit $status");
    let output = with_wrapper(&case.command("plain", script), &wrapped).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("seen-by-host") && !text.contains("unseen"), "{text}");
}

#[test]
fn r1_a_race_on_a_shared_volume() {
    let case = &mut case!();
    for name in ["vol/d/inner", "other"] {
        fs::create_dir_all(case.dir.join(name)).unwrap();
    }
    symlink(case.path("host"), case.dir.join("vol/l")).unwrap();
    case.mount("/vol", "bind", "vol", &["rbind"]).mount("/vol/d/inner", "tmpfs", "tmpfs", &[]);
    case.mount("/vol/d/inner/deep", "bind", "other", &["bind"]);
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, vol) = (Arc::clone(&stop), case.dir.join("vol"));
    let swapper = std::thread::spawn(move || {
        let here = nix::fcntl::AT_FDCWD;
        let (d, l) = (vol.join("d"), vol.join("l"));
        while !flag.load(Ordering::Relaxed) {
            let _ = nix::fcntl::renameat2(here, &d, here, &l, nix::fcntl::RenameFlags::RENAME_EXCHANGE);
        }
    });
    let mut built = 0;
    for _ in 0..100 {
        let output = case.command("plain", "true").output().unwrap();
        assert!(!String::from_utf8_lossy(&output.stdout).contains("LEAK"));
        built += u32::from(output.status.success());
        case.host_unchanged();
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(built > 0, "a race may spoil a container, not all of them");
}
