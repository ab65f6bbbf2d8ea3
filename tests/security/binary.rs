//! D5: the runtime's own binary cannot be written from inside a container (SEC-6).

use crate::attacker::{EXPENDABLE, attacker, nothing_bad, sightings};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use test_support::*;

/// Copies the runtime, because the attack may damage the file, with the end by which the attacker knows it.
fn copy(sandbox: &Sandbox, dir: &Path) -> PathBuf {
    let copy = dir.join("runtime-copy");
    std::fs::copy(runtime(), &copy).unwrap();
    let mut file = std::fs::OpenOptions::new().append(true).open(&copy).unwrap();
    std::io::Write::write_all(&mut file, EXPENDABLE).unwrap();
    assert!(copy.starts_with(&sandbox.dir));
    copy
}

/// Runs the command `words` with the copy, 40 times and until the attacker has found a target: for five minutes at most,
/// because on a busy machine the attacker may get little time. Checks that the copy is unchanged.
fn attack(sandbox: &Arc<Sandbox>, copy: &Path, more: &[&str], words: impl Fn(&Container) -> Vec<String>) {
    let before = host::checksum(copy);
    let c = attacker(sandbox, "write", more);
    cmd::script(&c.file("/bin/evil"), "#!/proc/self/exe\n");
    let hits = |text: &str| text.lines().any(|line| line.ends_with("target"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
    let found = || hits(&std::fs::read_to_string(c.file("/sightings")).unwrap_or_default());
    let mut rounds = 0;
    while rounds < 40 || std::time::Instant::now() < deadline && !found() {
        let run = Cmd::new(copy, &sandbox.dir, &sandbox.token).arg("--root").arg(&sandbox.root).args(words(&c));
        run.out().no_panic();
        rounds += 1;
    }
    let found = sightings(&c);
    assert!(found.get("target").is_some_and(|times| *times > 0), "no process of the runtime was seen: {found:#?}");
    assert!(!found.contains_key("always busy"), "{found:#?}");
    nothing_bad(&found);
    assert_eq!(host::checksum(copy), before, "the binary was changed: {found:#?}");
    c.delete_force().ok();
}

fn exec(program: &'static str) -> impl Fn(&Container) -> Vec<String> {
    move |c| ["exec", &c.id, program].map(str::to_owned).to_vec()
}

#[test]
fn d5_not_by_a_process_that_may_trace_an_exec() {
    need_root!();
    let sandbox = Sandbox::new();
    let copy = copy(&sandbox, &sandbox.dir);
    attack(&sandbox, &copy, &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"], exec("true"));
}

#[test]
fn d5_not_when_it_is_the_interpreter_of_a_script() {
    need_root!();
    let sandbox = Sandbox::new();
    let copy = copy(&sandbox, &sandbox.dir);
    attack(&sandbox, &copy, &[], exec("/bin/evil"));
}

#[test]
fn d5_not_when_it_is_the_program() {
    need_root!();
    let sandbox = Sandbox::new();
    let copy = copy(&sandbox, &sandbox.dir);
    attack(&sandbox, &copy, &[], exec("/proc/self/exe"));
}

#[test]
fn d5_not_by_a_process_that_may_mount() {
    need_root!();
    let sandbox = Sandbox::new();
    let copy = copy(&sandbox, &sandbox.dir);
    attack(&sandbox, &copy, &["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"], exec("/proc/self/exe"));
}

#[test]
fn d5_not_by_a_container_that_joins_the_pid_namespace() {
    need_root!();
    let sandbox = Sandbox::new();
    let copy = copy(&sandbox, &sandbox.dir);
    let other = Container::within(&sandbox, &["/proc/self/exe"]);
    attack(&sandbox, &copy, &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"], |c| {
        let mut config = other.config.clone();
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "pid");
        list.push(json!({ "type": "pid", "path": format!("/proc/{}/ns/pid", c.pid()) }));
        std::fs::write(other.bundle.join("config.json"), config.to_string()).unwrap();
        ["run", "--bundle", other.bundle.to_str().unwrap(), &other.id].map(str::to_owned).to_vec()
    });
}

/// croci runs a sealed copy where the mount of the binary cannot be cloned.
#[test]
fn d5_not_from_an_unbindable_mount() {
    need_root!();
    let sandbox = Sandbox::new();
    let dir = sandbox.mkdir("unbindable");
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&dir).status().unwrap();
    assert!(mounted.success());
    let unbindable = std::process::Command::new("mount").arg("--make-unbindable").arg(&dir).status().unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        assert!(unbindable.success());
        let copy = copy(&sandbox, &dir);
        attack(&sandbox, &copy, &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"], exec("/proc/self/exe"));
    }));
    assert!(std::process::Command::new("umount").arg("-l").arg(&dir).status().unwrap().success());
    result.unwrap();
}

/// The host's mount of the binary is read-only and becomes writable later, as for an update of an immutable /usr: the
/// file that the container has held open until then is not the host's.
#[test]
fn d5_not_when_a_read_only_mount_becomes_writable() {
    need_root!();
    let sandbox = Sandbox::new();
    let dir = sandbox.mkdir("read-only");
    let mount = |words: &[&str]| {
        assert!(std::process::Command::new("mount").args(words).arg(&dir).status().unwrap().success());
    };
    mount(&["-t", "tmpfs", "none"]);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let copy = copy(&sandbox, &dir);
        let before = host::checksum(&copy);
        mount(&["-o", "remount,ro"]);
        let c = attacker(&sandbox, "hold", &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        let held = || std::fs::read_to_string(c.file("/sightings")).is_ok_and(|text| text.contains("target"));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(300);
        while std::time::Instant::now() < deadline && !held() {
            let run = Cmd::new(&copy, &sandbox.dir, &sandbox.token).arg("--root").arg(&sandbox.root);
            run.args(["exec", &c.id, "/proc/self/exe"]).out().no_panic();
        }
        assert!(held(), "no process of the runtime was seen");
        mount(&["-o", "remount,rw"]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let found = sightings(&c);
        nothing_bad(&found);
        assert_eq!(host::checksum(&copy), before, "the binary was changed: {found:#?}");
        c.delete_force().ok();
    }));
    assert!(std::process::Command::new("umount").arg("-l").arg(&dir).status().unwrap().success());
    result.unwrap();
}

/// On a busy host the kernel may hold a page of the sealed copy for a moment, and refuses to seal it.
#[test]
fn the_copy_is_sealed_when_its_pages_are_free_again() {
    need_root!();
    let c = Container::sh("echo ran");
    let log = c.sandbox.path("strace.out");
    let strace = |calls: &str| {
        let strace = c.sandbox.program("strace").args(["-qq", "-o"]).arg(&log).args(["-e", "trace=open_tree,fcntl"]);
        let strace = strace.args(["-e", "inject=open_tree:error=EPERM:when=1..2", "-e", calls]).arg(runtime());
        strace.arg("--root").arg(&c.sandbox.root).args(["run", "--bundle", c.bundle.to_str().unwrap(), &c.id])
    };
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        skip!("needs strace");
    }
    c.write_config();
    let out = strace("inject=fcntl:error=EBUSY:when=1..4").out().ok();
    let text = std::fs::read_to_string(&log).unwrap();
    let refused = |line: &str| line.contains("F_ADD_SEALS") && line.contains("INJECTED");
    assert!(text.lines().any(refused), "no seal was refused: {text}");
    assert_eq!(out.stdout, "ran\n");
}
