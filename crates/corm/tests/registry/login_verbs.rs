//! `login` and `logout`: what they test, what they write, and who reads it.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::PathBuf;

use base::fs::lock::{How, lock};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::interop::{podman, skopeo};
use crate::real::{Registry, installed, load};
use crate::server::{Response, Server};
use crate::{corm, hidden, killed_at_each_file};
use test_support::pty::{Terminal, on_terminal};
use test_support::{Sandbox, skip};

/// The credentials `user:hunter2` in base64.
const BASIC: &str = "dXNlcjpodW50ZXIy";

fn auth_json(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("containers/auth.json")
}

fn read(path: &PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Starts a server that accepts `user:hunter2` and nothing else.
fn basic() -> Server {
    Server::new(|request| match request.header("authorization") {
        Some(header) if header == format!("Basic {BASIC}") => Response::new(200, &[], "{}"),
        _ => Response::new(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
    })
}

#[test]
fn a_login_is_tested_then_stored_and_other_tools_use_it() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox, fixture) = (Registry::start(true, None), Sandbox::new(), Fixture::new());
    let address = registry.address.as_str();
    let login = |password: &str| {
        let args = ["--log-level", "debug", "login", "-u", "user", "--password-stdin", "-v", address];
        corm(&sandbox, &args).stdin(format!("{password}\n")).out()
    };
    let out = login("hunter3").exits(1);
    assert!(out.stderr.contains("not accepted") && !format!("{out:?}").contains("hunter3"), "{out:?}");
    assert!(!auth_json(&sandbox).exists(), "nothing is stored that was refused");
    let out = login("hunter2").ok();
    assert_eq!(out.stdout, format!("Used:  {}\nLogin Succeeded!\n", auth_json(&sandbox).display()));
    assert!(!format!("{out:?}").contains("hunter2") && !format!("{out:?}").contains(BASIC), "{out:?}");
    assert_eq!(std::fs::metadata(auth_json(&sandbox)).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(read(&auth_json(&sandbox)), json!({ "auths": { address: { "auth": BASIC } } }));
    assert_eq!(corm(&sandbox, &["login", "--get-login", address]).out().ok().stdout, "user\n");
    let out = corm(&sandbox, &["login", address]).out().ok();
    assert!(out.stdout.contains("Existing credentials are valid"), "{out:?}");

    load(&sandbox, &fixture, "web:v1");
    let name = registry.name("team/web:v1");
    corm(&sandbox, &["push", "-q", "web:v1", &name]).out().ok();
    if installed("skopeo") {
        let inspect = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")];
        let out = skopeo(&sandbox, &inspect).env("XDG_RUNTIME_DIR", &sandbox.dir).out().ok();
        assert_eq!(out.stdout.trim(), fixture.manifest);
    }
    let out = corm(&sandbox, &["logout", address]).out().ok();
    assert_eq!(out.stdout, format!("Removed login credentials for {address}\n"));
    assert_eq!(read(&auth_json(&sandbox)), json!({ "auths": {} }));
    corm(&sandbox, &["login", "--get-login", address]).out().exits(1).stderr_contains("not logged into");
    corm(&sandbox, &["logout", address]).out().exits(1).stderr_contains("not logged into");
    corm(&sandbox, &["pull", &name]).out().exits(1);
    if installed("podman") {
        let login = ["login", "--tls-verify=false", "-u", "user", "-p", "hunter2", address];
        podman(&sandbox, &login).env("XDG_RUNTIME_DIR", &sandbox.dir).out().ok();
        assert_eq!(corm(&sandbox, &["pull", "-q", &name]).out().ok().stdout.trim(), fixture.id());
        corm(&sandbox, &["logout", "--all"]).out().ok();
        let get = podman(&sandbox, &["login", "--get-login", address]).env("XDG_RUNTIME_DIR", &sandbox.dir).out();
        assert_ne!(get.code, Some(0), "{get:?}");
    }
    // credentials of the command line, for this command only
    assert_eq!(corm(&sandbox, &["pull", "--creds", "user:hunter2", &name]).out().ok().stdout.trim(), fixture.id());
    corm(&sandbox, &["pull", "--creds", "user:hunter3", &name]).out().exits(1).stderr_contains("not accepted");
    assert!(!auth_json(&sandbox).exists() || read(&auth_json(&sandbox)).get("auths").is_none());
}

#[test]
fn what_others_keep_in_the_file_stays_and_names_have_every_form() {
    let (server, sandbox) = (basic(), Sandbox::new());
    let address = server.address.to_string();
    let before = json!({
        "auths": { "r.io": { "auth": "eDp5" }, format!("https://{address}/v1/"): { "auth": "b2xkOm9sZA==" } },
        "HttpHeaders": { "X": "y" },
    });
    let real = sandbox.write("real.json", before.to_string());
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o644)).unwrap();
    let link = sandbox.path("link.json");
    symlink(&real, &link).unwrap();
    let file = link.to_str().unwrap();
    let login =
        |registry: &str| corm(&sandbox, &["login", "--authfile", file, "-u", "user", "-p", "hunter2", registry]).out();
    login(&address).ok();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays");
    assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o7777, 0o600);
    let mut want =
        json!({ "auths": { "r.io": { "auth": "eDp5" }, &address: { "auth": BASIC } }, "HttpHeaders": { "X": "y" } });
    assert_eq!(read(&real), want);
    // a namespace, and an address as Docker takes it
    login(&format!("{address}/team")).ok();
    login(&format!("http://{address}/v2/")).ok();
    want["auths"][format!("{address}/team")] = json!({ "auth": BASIC });
    assert_eq!(read(&real), want);
    for bad in ["-x", "a b", "../x", &format!("{address}/team:v1"), ""] {
        login(bad).exits(1);
    }
    // a file that is none is not overwritten
    let junk = sandbox.write("junk.json", "{\"auths\": hunter2");
    let args = ["login", "--authfile", junk.to_str().unwrap(), "-u", "user", "-p", "hunter2", &address];
    let out = corm(&sandbox, &args).out().exits(1);
    assert!(!out.stderr.contains("hunter2"), "{out:?}");
    assert_eq!(std::fs::read_to_string(&junk).unwrap(), "{\"auths\": hunter2");
    assert!(
        std::fs::read_dir(&sandbox.dir)
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_str().unwrap().starts_with(".corm-") })
    );
    let out = corm(&sandbox, &["login", "--authfile", file, "--password-stdin", &address]).out().exits(1);
    assert!(out.stderr.contains("--password-stdin requires --username"), "{out:?}");
    let out = corm(&sandbox, &["login", "-u", "user", &address]).out().exits(1);
    assert!(out.stderr.contains("no terminal"), "{out:?}");
}

#[test]
fn a_login_that_is_killed_leaves_the_old_file_or_the_new_and_the_next_one_nothing_else() {
    let (server, sandbox) = (basic(), Sandbox::new());
    let address = server.address.to_string();
    let dir = sandbox.mkdir("auth");
    let file = dir.join("auth.json");
    let before = json!({ "auths": { "r.io": { "auth": "eDp5" } } });
    let login = || {
        let args = ["login", "--authfile", file.to_str().unwrap(), "-u", "user", "-p", "hunter2", &address];
        corm(&sandbox, &args)
    };
    std::fs::write(&file, before.to_string()).unwrap();
    let mut left = 0;
    killed_at_each_file(login, |_| {
        let names = hidden(&dir);
        left += names.len();
        let found = read(&file);
        assert!(found == before || found["auths"][&address]["auth"] == BASIC, "{found}");
        // an unfinished file of another process, and one that only looks like one
        let held = lock(File::create(dir.join(".corm-0123456789abcdef")).unwrap(), How::Exclusive).unwrap();
        std::fs::write(dir.join(".corm-mine"), "").unwrap();
        login().out().ok();
        assert_eq!(hidden(&dir), [".corm-0123456789abcdef", ".corm-mine"], "after {names:?}");
        drop(held);
        std::fs::remove_file(dir.join(".corm-mine")).unwrap();
        std::fs::write(&file, before.to_string()).unwrap();
        corm(&sandbox, &["logout", "--authfile", file.to_str().unwrap(), "r.io"]).out().ok();
        assert_eq!(hidden(&dir), [""; 0]);
        std::fs::write(&file, before.to_string()).unwrap();
    });
    assert!(left > 0, "no kill has left an unfinished file");
}

#[test]
fn a_helper_gets_the_password_on_its_input_only() {
    let (server, sandbox) = (basic(), Sandbox::new());
    let address = server.address.to_string();
    sandbox.mkdir("bin");
    let log = sandbox.path("helper.log");
    // keeps what it is given; `get` answers with it
    let script = format!(
        "#!/bin/sh\necho \"$0 $*\" >> {log}\ncat > {dir}/input\ncase $1 in\nstore) cp {dir}/input {dir}/kept;;\n\
         get) [ -e {dir}/kept ] || {{ echo credentials not found in native keychain; exit 1; }}; cat {dir}/kept;;\n\
         erase) rm -f {dir}/kept;;\nesac\n",
        log = log.display(),
        dir = sandbox.dir.display()
    );
    let helper = sandbox.write("bin/docker-credential-test", script);
    std::fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", sandbox.path("bin").display());
    for text in [json!({ "credHelpers": { &address: "test" } }), json!({ "credsStore": "test" })] {
        let file = sandbox.write("auth.json", text.to_string());
        let run = |args: &[&str]| {
            let args = [args, &["--authfile", file.to_str().unwrap(), &address]].concat();
            corm(&sandbox, &args).env("PATH", &path).out()
        };
        run(&["login", "-u", "user", "-p", "hunter2"]).ok();
        let kept: Value = read(&sandbox.path("kept"));
        assert_eq!(kept, json!({ "ServerURL": address, "Username": "user", "Secret": "hunter2" }));
        let stored = std::fs::read_to_string(&file).unwrap();
        assert!(!stored.contains(BASIC) && !stored.contains("hunter2"), "{stored}");
        assert_eq!(run(&["login", "--get-login"]).ok().stdout, "user\n");
        run(&["logout"]).ok();
        assert!(!sandbox.path("kept").exists(), "the helper has removed them");
        run(&["logout"]).exits(1);
        let calls = std::fs::read_to_string(&log).unwrap();
        assert!(calls.contains(" store\n") && !calls.contains("hunter2"), "{calls}");
    }
    // a helper that is missing is an error: the password must not be stored elsewhere
    let file = sandbox.write("auth.json", json!({ "credsStore": "none" }).to_string());
    let args = ["login", "--authfile", file.to_str().unwrap(), "-u", "user", "-p", "hunter2", &address];
    corm(&sandbox, &args).out().exits(1).stderr_contains("docker-credential-none is not in $PATH");
    assert_eq!(read(&file), json!({ "credsStore": "none" }));
}

#[test]
fn a_password_that_is_typed_is_not_shown() {
    let (server, sandbox) = (basic(), Sandbox::new());
    let address = server.address.to_string();
    let mut terminal = Terminal::open(24, 80);
    let login = on_terminal(corm(&sandbox, &["login", &address]), &terminal).spawn();
    terminal.expect("Username: ");
    terminal.write("user\n");
    terminal.expect("Password: ");
    terminal.write("hunter2\n");
    terminal.expect("Login Succeeded!");
    assert!(!terminal.seen().contains("hunter2"));
    login.wait().ok();
    // a signal at the question leaves the terminal as it was
    let mut terminal = Terminal::open(24, 80);
    let login = on_terminal(corm(&sandbox, &["login", "-u", "user", &address]), &terminal).spawn();
    terminal.expect("Password: ");
    login.signal(libc::SIGINT);
    login.wait().exits(1);
    assert!(terminal.is_cooked());
}
