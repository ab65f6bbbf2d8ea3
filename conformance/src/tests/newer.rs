//! Newer features that more than one part of the checklist names (part 23): passed sockets and terminals, masked paths,
//! propagation, labels (parts 2, 6 and 17).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::agent::Agent;
use crate::checks::{accepted, need_verb, refused, refused_or_created, with};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, skip};
use crate::proc_facts::{Facts, need_flag};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "FD-2", title: "sockets of LISTEN_FDS reach the program, with LISTEN_PID of its own", run: listen_fds },
    Test { id: "FD-2", title: "--preserve-fds of descriptors that are not open is an error", run: no_fds },
    Test { id: "FD-2", title: "without LISTEN_FDS of the runtime the program has none", run: no_listen_fds },
    Test { id: "PR-5", title: "consoleSize is the size of the terminal that the caller receives", run: console },
    Test {
        id: "PR-5",
        title: "consoleSize without a terminal is ignored",
        run: |b| {
            accepted(
                b,
                &["process", "consoleSize"],
                &[json!({"height": 11, "width": 33}), json!({"height": 0, "width": 0})],
            )
        },
    },
    Test {
        id: "PR-4",
        title: "a terminal without a console socket, and a console socket without a terminal, are errors",
        run: no_console,
    },
    Test { id: "PR-18", title: "execCPUAffinity is for processes of exec, not for init", run: affinity },
    Test {
        id: "PR-18",
        title: "execCPUAffinity that is no list of CPUs is an error",
        run: |b| {
            refused(
                b,
                &["process", "execCPUAffinity"],
                &[json!({"initial": "x"}), json!({"final": "1-"}), json!({"initial": 0}), json!({"final": "0;1"})],
            )
        },
    },
    Test {
        id: "LX-1",
        title: "the recursive names of rootfsPropagation are known",
        run: |b| accepted(b, PROPAGATION, &["rshared", "rslave", "rprivate", "runbindable"].map(|name| json!(name))),
    },
    Test {
        id: "LX-1",
        title: "an unknown rootfsPropagation is an error",
        run: |b| refused(b, PROPAGATION, &[json!("Private"), json!("none"), json!("shared,slave"), json!(7)]),
    },
    Test { id: "LX-1", title: "mounts of a container with shared propagation do not reach the host", run: no_leak },
    Test { id: "LX-1", title: "unset, the root of the program is private to it", run: private },
    Test { id: "LX-2", title: "a masked directory is empty and cannot be written to", run: masked_dir },
    Test { id: "LX-2", title: "a masked file is empty and is no way out", run: masked_file },
    Test {
        id: "LX-2",
        title: "what is not masked stays as it is",
        run: |b| {
            let mut c = Container::script(b, "cat /etc/passwd")?;
            c.config["linux"]["maskedPaths"] = json!(["/etc/no-such-file", "/proc/kcore"]);
            let out = c.run()?;
            ensure!(out.starts_with("root:"), "it printed {out:?}");
            Ok(())
        },
    },
    Test { id: "LX-3", title: "a read-only path keeps the other flags of its mount", run: keeps_flags },
    Test { id: "LX-3", title: "a read-only path cannot be written to, its neighbours can", run: read_only },
    Test { id: "LX-4", title: "mountLabel without SELinux has no effect or is an error", run: label },
    Test {
        id: "LX-4",
        title: "a mountLabel of several lines is an error",
        run: |b| refused(b, &["linux", "mountLabel"], &[json!("a\nb"), json!(7)]),
    },
];

const PROPAGATION: &[&str] = &["linux", "rootfsPropagation"];

/// Runs `create` by way of a shell that opens the descriptors that a caller passes; returns whether it succeeded.
fn create_with(
    b: &Harness,
    c: &Container<'_>,
    flags: &[&str],
    env: &[(&str, &str)],
    redirections: &str,
) -> Result<bool> {
    c.write_config()?;
    let bundle = c.bundle.to_string_lossy();
    let words = ["create", "--bundle", &bundle].into_iter().chain(flags.iter().copied()).chain([c.id.as_str()]);
    let create = b.command(words);
    let mut shell = Command::new("sh");
    // a program that a service manager starts checks by the pid that the sockets are meant for it
    shell
        .args(["-c", &format!("LISTEN_PID=$$ exec \"$@\" {redirections}"), "sh"])
        .arg(create.get_program())
        .args(create.get_args());
    shell.envs(env.iter().copied());
    Ok(c.create_as_it_is(&mut shell).ok().is_ok())
}

fn listen_fds(b: &Harness) -> Result<()> {
    let c = Container::script(b, "echo $LISTEN_FDS $LISTEN_PID $$ $LISTEN_FDNAMES; cat <&3; cat <&4")?;
    fs::write(c.bundle.join("three"), "of three\n")?;
    fs::write(c.bundle.join("four"), "of four\n")?;
    let opened = format!("3<{0}/three 4<{0}/four", c.bundle.display());
    ensure!(create_with(b, &c, &[], &[("LISTEN_FDS", "2")], &opened)?, "create failed: {}", c.output());
    c.start().ok()?;
    c.wait_stopped()?;
    let out = c.output();
    ensure!(out.trim_end() == "2 1 1\nof three\nof four", "it printed {out:?}");
    Ok(())
}

fn no_fds(b: &Harness) -> Result<()> {
    need_flag(b, "create", "--preserve-fds")?;
    let c = Container::new(b)?;
    ensure!(
        !create_with(b, &c, &["--preserve-fds", "2"], &[], "3</dev/null 4<&-")?,
        "create --preserve-fds 2 with one open succeeded"
    );
    c.must_be_gone()
}

fn no_listen_fds(b: &Harness) -> Result<()> {
    let facts = Container::probe(b, &[])?.facts()?;
    let env = facts["env"].to_string();
    ensure!(!env.contains("LISTEN_"), "the environment is {env}");
    Ok(())
}

fn console(b: &Harness) -> Result<()> {
    let mut c = Container::probe(b, &["hold"])?;
    c.config["process"]["terminal"] = json!(true);
    c.config["process"]["consoleSize"] = json!({"height": 11, "width": 33});
    let agent = Agent::listen(&c.bundle.join("console.sock"), 1)?;
    c.write_config()?;
    let (bundle, socket) = (c.bundle.to_string_lossy().into_owned(), agent.path.to_string_lossy().into_owned());
    c.create_as_it_is(&mut b.command(["create", "--bundle", &bundle, "--console-socket", &socket, &c.id])).ok()?;
    c.start().ok()?;
    let report = agent.one()?;
    let [master] = report.descriptors.as_slice() else { bail!("{} descriptors came", report.descriptors.len()) };
    let size = rustix::termios::tcgetwinsize(master)?;
    ensure!((size.ws_row, size.ws_col) == (11, 33), "the terminal has {} rows of {} columns", size.ws_row, size.ws_col);
    Ok(())
}

fn no_console(b: &Harness) -> Result<()> {
    let c = with(b, &["process", "terminal"], &json!(true))?;
    c.must_be_refused().context("a terminal without a console socket")?;
    let c = Container::new(b)?;
    let agent = std::os::unix::net::UnixListener::bind(c.bundle.join("console.sock"))?;
    c.write_config()?;
    let (bundle, socket) = (c.bundle.to_string_lossy().into_owned(), c.bundle.join("console.sock"));
    let words = ["create", "--bundle", &bundle, "--console-socket", &socket.to_string_lossy(), &c.id];
    c.create_as_it_is(&mut b.command(words)).error().context("a console socket without a terminal")?;
    drop(agent);
    c.must_be_gone()
}

fn affinity(b: &Harness) -> Result<()> {
    need_verb(b, "exec")?;
    let all = std::thread::available_parallelism()?.get();
    if all < 2 {
        return skip("this machine has one CPU: every affinity is the same");
    }
    let mut c = Container::probe(b, &["hold"])?;
    c.config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    c.create().ok()?;
    c.start().ok()?;
    let init = c.wait_facts()?["affinity"].clone();
    ensure!(init.as_array().map(Vec::len) == Some(all), "init may use the CPUs {init}, of {all}");
    let mut process = c.config["process"].clone();
    process["args"] = json!([crate::container::PROBE_PATH]);
    let file = c.bundle.join("process.json");
    fs::write(&file, process.to_string())?;
    let done = b.call(["exec", "--process", &file.to_string_lossy(), &c.id]).ok()?;
    let now = crate::container::parse_facts(&done.out)?["affinity"].clone();
    ensure!(now == json!([1]), "the process of exec may use the CPUs {now}, it has to be [1]");
    Ok(())
}

fn no_leak(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "mount -t tmpfs tmpfs /tmp && echo mounted; sleep 1000")?;
    c.config["linux"]["rootfsPropagation"] = json!("shared");
    let all = json!(["CAP_SYS_ADMIN"]);
    c.config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    c.create().ok()?;
    c.start().ok()?;
    c.wait_output("mounted")?;
    let host = read(Path::new("/proc/self/mountinfo"));
    let leaked: Vec<&str> = host.lines().filter(|line| line.contains(&c.id)).collect();
    ensure!(leaked.is_empty(), "the host has {leaked:?}");
    Ok(())
}

fn private(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.remove(PROPAGATION);
    let facts = Facts::run(&c)?;
    let root = facts.mount("/")?;
    ensure!(!root.propagation.contains("shared:"), "the propagation of / is {:?}", root.propagation);
    Ok(())
}

fn masked_dir(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "ls -A /secret; touch /secret/x 2>/dev/null || echo denied; ls -A /secret")?;
    fs::create_dir(c.path("/secret"))?;
    fs::write(c.path("/secret/file"), "words")?;
    c.config["linux"]["maskedPaths"] = json!(["/secret"]);
    let out = c.run()?;
    ensure!(out == "denied\n", "it printed {out:?}");
    ensure!(read(&c.path("/secret/file")) == "words", "the image's file has changed");
    Ok(())
}

fn masked_file(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "cat /secret; echo x >/secret; cat /secret; echo end")?;
    fs::write(c.path("/secret"), "words")?;
    c.config["linux"]["maskedPaths"] = json!(["/secret"]);
    let out = c.run()?;
    ensure!(!out.contains("words") && out.ends_with("end\n") && !out.contains('x'), "it printed {out:?}");
    ensure!(read(&c.path("/secret")) == "words", "the image's file has changed");
    Ok(())
}

fn keeps_flags(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(
        &["mounts"],
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "nodev"]}),
    );
    c.config["linux"]["readonlyPaths"] = json!(["/tmp"]);
    Facts::run(&c)?.mount("/tmp")?.must_have(&["ro", "nosuid", "noexec", "nodev"], &[])
}

fn read_only(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "touch /etc/x 2>/dev/null || echo denied; touch /tmp/x && echo written")?;
    c.config["linux"]["readonlyPaths"] = json!(["/etc", "/no/such/path"]);
    let out = c.run()?;
    ensure!(out == "denied\nwritten\n", "it printed {out:?}");
    Ok(())
}

fn label(b: &Harness) -> Result<()> {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return skip("SELinux is on here: a label would have to be one of its policy");
    }
    let c = with(b, &["linux", "mountLabel"], &Value::from("system_u:object_r:container_file_t:s0"))?;
    if refused_or_created(&c)? {
        c.start().ok()?;
        c.must_be("running")?;
    }
    Ok(())
}
