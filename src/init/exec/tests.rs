//! Looking for programs, environment, working directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::error::describe;
use crate::plan::process::{ProcessContext, plan};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that ends with the value.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("croci-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn program(&self, name: &str, mode: u32, content: &[u8]) -> PathBuf {
        let path = self.write(name, content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn planned(program: &str, uid: u32) -> ProcessPlan {
    let process = json!({"user": {"uid": uid, "gid": uid}, "cwd": "/", "args": [program]});
    plan(&serde_json::from_value(process).unwrap(), None, &ProcessContext::default()).unwrap()
}

/// The path found, or the error as the user reads it.
fn look_up(program: &str, path: &str) -> Result<String, String> {
    let env = [CString::new(format!("PATH={path}")).unwrap()];
    find_executable(&planned(program, 0), &env).map(|p| p.into_string().unwrap()).map_err(|e| describe(&e))
}

#[test]
fn pr_2_the_path_is_searched_as_execvp_does() {
    let dir = TempDir::new();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    dir.program("a/tool", 0o755, b"#!/proc/self/exe\n");
    dir.program("b/tool", 0o755, b"#!/proc/self/exe\n");
    dir.program("b/plain", 0o644, b"x");
    std::fs::create_dir(dir.path().join("a/plain")).unwrap();
    std::fs::create_dir(dir.path().join("b/onlydir")).unwrap();
    let (a, b) = (at("a"), at("b"));
    for (name, path, want) in [
        ("tool", format!("{a}:{b}"), Ok(at("a/tool"))),
        ("tool", format!("{b}:{a}"), Ok(at("b/tool"))),
        ("tool", format!("/nonexistent::{a}"), Ok(at("a/tool"))),
        ("plain", format!("{a}:{b}"), Err("exec: \"plain\": permission denied")),
        ("onlydir", b.clone(), Err("exec: \"onlydir\": executable file not found in $PATH")),
        ("none", format!("{a}:{b}"), Err("exec: \"none\": executable file not found in $PATH")),
        ("tool", String::new(), Err("exec: \"tool\": executable file not found in $PATH")),
    ] {
        assert_eq!(look_up(name, &path), want.map_err(str::to_owned), "{name} in {path:?}");
    }
}

#[test]
fn pr_2_a_name_with_a_slash_is_not_searched() {
    let dir = TempDir::new();
    let file = dir.program("file", 0o644, b"x");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let show = |path: &Path| path.to_str().unwrap().to_owned();
    let missing = show(&dir.path().join("none"));
    for (path, want) in [
        (missing.clone(), format!("exec: {missing:?}: stat {missing}: no such file or directory")),
        (show(&file), format!("exec: {:?}: permission denied", show(&file))),
        (show(dir.path()), format!("exec: {:?}: is a directory", show(dir.path()))),
        (show(&fifo), format!("exec: {:?}: not a regular file: permission denied", show(&fifo))),
        (
            format!("{}/x", show(&file)),
            format!("exec: {:?}: stat {}/x: not a directory", format!("{}/x", show(&file)), show(&file)),
        ),
    ] {
        assert_eq!(look_up(&path, "/bin"), Err(want));
    }
}

#[test]
fn pr_2_a_missing_interpreter_is_named_at_once() {
    let dir = TempDir::new();
    let script = dir.program("script", 0o755, b"#!/no/such/interpreter -x\n");
    let script = script.to_str().unwrap();
    assert_eq!(
        look_up(script, "/bin"),
        Err(format!("exec: {script:?}: script interpreter /no/such/interpreter: no such file or directory"))
    );
    let mut elf = vec![0_u8; 512];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    for (at, value) in [(18, 62_u8), (32, 64), (54, 56), (56, 1), (64, 3), (73, 1), (96, 10)] {
        elf[at] = value;
    }
    elf[256..266].copy_from_slice(b"/no/ld.so\0");
    let program = dir.program("elf", 0o755, &elf);
    let program = program.to_str().unwrap();
    if cfg!(target_arch = "x86_64") {
        let want = format!("exec: {program:?}: dynamic loader /no/ld.so: no such file or directory");
        assert_eq!(look_up(program, "/bin"), Err(want));
    }
    // for another machine an emulator may be registered, with loaders of its own
    elf[18] = 183;
    let foreign = dir.program("foreign", 0o755, &elf);
    if !cfg!(target_arch = "aarch64") {
        assert_eq!(look_up(foreign.to_str().unwrap(), "/bin"), Ok(foreign.to_str().unwrap().to_owned()));
        assert!(
            lookup::explain(&CString::new(foreign.to_str().unwrap()).unwrap(), Errno::ENOEXEC)
                .unwrap()
                .starts_with("built for aarch64, this machine is ")
        );
    }
}

#[test]
fn pr_2_the_reason_of_a_bad_format_is_told() {
    let dir = TempDir::new();
    for (content, want) in [(&b""[..], "the file is empty"), (b"text\n", "neither a program nor a script with \"#!\"")]
    {
        let path = dir.program("bad", 0o755, content);
        let path = CString::new(path.to_str().unwrap()).unwrap();
        assert_eq!(lookup::explain(&path, Errno::ENOEXEC).as_deref(), Some(want));
        assert_eq!(lookup::explain(&path, Errno::E2BIG), None);
    }
}

#[test]
fn fd_2_listen_pid_is_that_of_the_program() {
    let mut plan = planned("sh", 0);
    plan.wants_listen_pid = true;
    plan.wants_home = false;
    let env = environment(&plan).unwrap();
    assert_eq!(env, [CString::new(format!("LISTEN_PID={}", std::process::id())).unwrap()]);
}
