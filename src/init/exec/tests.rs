//! Looking for programs, environment, working directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::plan::process::ProcessContext;
use crate::plan::process::plan;
use base::error::describe;
use linux::testing::TempDir;
use linux::testing::forked;
use linux::testing::root_or_skip;
use serde_json::json;

fn planned(program: &str, uid: u32) -> ProcessPlan {
    let process = json!({"user": {"uid": uid, "gid": uid}, "cwd": "/", "args": [program]});
    plan(&serde_json::from_value(process).unwrap(), None, &ProcessContext::default()).unwrap()
}

/// Returns the path found, or the error message.
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
        ("plain", format!("{a}:{b}"), Err("exec: \"plain\": mode 0644 of user 0 and group 0: permission denied")),
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
        (show(&file), format!("exec: {:?}: mode 0644 of user 0 and group 0: permission denied", show(&file))),
        (show(dir.path()), format!("exec: {:?}: is a directory: permission denied", show(dir.path()))),
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
        Err(format!(
            "exec: {script:?}: exec {script}: no such file or directory: the script interpreter /no/such/interpreter is \
             missing"
        ))
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
        let want = format!(
            "exec: {program:?}: exec {program}: no such file or directory: the dynamic loader /no/ld.so is missing"
        );
        assert_eq!(look_up(program, "/bin"), Err(want));
    }
    // for another machine binfmt_misc may have an emulator with its own loaders
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
fn pr_2_the_reason_of_a_bad_format_is_reported() {
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
    let env = environment(&plan, &|_| Ok(())).unwrap();
    assert_eq!(env, [CString::new(format!("LISTEN_PID={}", std::process::id())).unwrap()]);
}

fn with(change: impl FnOnce(&mut ProcessPlan)) -> ProcessPlan {
    let mut plan = planned("sh", 0);
    change(&mut plan);
    plan
}

#[test]
fn pr_2_the_file_must_be_executable_for_the_programs_user() {
    if !root_or_skip() {
        return;
    }
    let dir = TempDir::new();
    let file = dir.program("owners-only", 0o700, b"#!/proc/self/exe\n");
    let name = file.to_str().unwrap().to_owned();
    forked(move || {
        let find = |change: fn(&mut ProcessPlan)| {
            let mut plan = planned(&name, 1000);
            change(&mut plan);
            find_executable(&plan, &[]).map(drop).map_err(|err| describe(&err))
        };
        assert_eq!(find(|_| {}), Err(format!("exec: {name:?}: mode 0700 of user 0 and group 0: permission denied")));
        // a program with CAP_DAC_OVERRIDE is not bound by the permissions now either
        assert_eq!(find(|plan| plan.caps.effective = 1 << 1), Ok(()));
        assert_eq!(find(|plan| plan.uid = 0), Ok(()));
        // and the check does not change the file system IDs
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Uid:\t0\t0\t0\t0\n") && status.contains("Gid:\t0\t0\t0\t0\n"), "{status}");
        assert_eq!(find(|plan| plan.uid = 0), Ok(()));
    });
}

#[test]
fn pr_1_a_missing_working_directory_is_created_and_entered() {
    let dir = TempDir::new();
    let cwd = dir.path().join("a/b/../c/d");
    forked(move || {
        let plan = with(|plan| plan.cwd = CString::new(cwd.to_str().unwrap()).unwrap());
        enter_cwd(&plan).unwrap();
        assert_eq!(nix::unistd::getcwd().unwrap(), dir.path().join("a/c/d"));
        std::mem::forget(dir);
    });
}

#[test]
fn pr_1_exec_does_not_create_the_directory() {
    let dir = TempDir::new();
    let cwd = dir.path().join("missing");
    let plan = with(|plan| {
        plan.cwd = CString::new(cwd.to_str().unwrap()).unwrap();
        plan.create_cwd = false;
    });
    forked(|| {
        let err = describe(&enter_cwd(&plan).unwrap_err());
        assert!(err.ends_with(": no such file or directory"), "{err}");
    });
    assert!(!cwd.exists());
}

#[test]
fn d_1_no_descriptor_of_the_host_becomes_the_working_directory() {
    use std::os::fd::AsRawFd as _;
    let host = TempDir::new();
    let open = std::fs::File::open(host.path()).unwrap();
    let fd = open.as_raw_fd();
    for (cwd, error) in [
        (format!("/proc/self/fd/{fd}"), "too many"),
        (format!("/proc/self/fd/{fd}/.."), "too many"),
        (format!("/proc/self/fd/{fd}/new"), "too many"),
        ("/proc/self/cwd".to_owned(), "too many"),
        ("/dev/null".to_owned(), "not a directory"),
        ("/dev/null/x".to_owned(), "not a directory"),
    ] {
        forked(|| {
            let plan = with(|plan| plan.cwd = CString::new(cwd.clone()).unwrap());
            let err = describe(&enter_cwd(&plan).unwrap_err());
            assert!(err.contains(error), "{cwd}: {err}");
        });
    }
    // also through a symlink in the image
    let image = TempDir::new();
    std::os::unix::fs::symlink(format!("/proc/self/fd/{fd}"), image.path().join("wd")).unwrap();
    for name in ["wd", "wd/new"] {
        let cwd = CString::new(image.path().join(name).to_str().unwrap()).unwrap();
        forked(|| assert!(enter_cwd(&with(|plan| plan.cwd = cwd)).is_err()));
    }
    assert_eq!(std::fs::read_dir(host.path()).unwrap().count(), 0);
}

#[test]
fn pr_1_a_directory_that_only_the_user_may_enter() {
    if !root_or_skip() {
        return;
    }
    let dir = TempDir::new();
    let cwd = dir.path().join("private");
    std::fs::create_dir(&cwd).unwrap();
    std::os::unix::fs::chown(&cwd, Some(1000), Some(1000)).unwrap();
    std::fs::set_permissions(&cwd, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    forked(|| {
        let mut plan = planned("sh", 1000);
        plan.cwd = CString::new(cwd.to_str().unwrap()).unwrap();
        // root without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, as on NFS
        let mut caps = linux::cred::capget().unwrap();
        caps.effective &= !0b110;
        caps.permitted &= !0b110;
        linux::cred::capset(&caps).unwrap();
        assert_eq!(change_directory(&plan.cwd), Err(Errno::EACCES));
        enter_cwd(&plan).unwrap();
        assert_eq!(nix::unistd::getcwd().unwrap(), cwd);
    });
}

#[test]
fn pr_2_a_failed_execve_is_explained() {
    let dir = TempDir::new();
    let path = dir.program("text", 0o755, b"no program\n");
    let plan = planned("text", 0);
    let program = Program { path: CString::new(path.to_str().unwrap()).unwrap(), env: vec![] };
    let want = format!("exec: {path:?}: neither a program nor a script with \"#!\": exec format error");
    assert_eq!(describe(&exec(&plan, &program)), want);
}
