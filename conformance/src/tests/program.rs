//! The program as it is executed: directory, lookup, environment, descriptors, terminal (checklist parts 2 and 6).

use std::fs;
use std::io::{IoSliceMut, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::json;

use super::Test;
use crate::container::Container;
use crate::harness::{Harness, wait_until};
use crate::proc_facts::{Facts, create_or_start, error_saying_one_of, expect, need_flag};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "FD-1", title: "descriptors that the caller left open do not reach the program", run: fd_1_caller },
    Test {
        id: "FD-1",
        title: "no descriptor of the runtime leads the working directory out of the root",
        run: fd_1_cwd,
    },
    Test {
        id: "FD-2",
        title: "--preserve-fds gives the program so many descriptors from 3 on, and no more",
        run: fd_2,
    },
    Test { id: "FD-2", title: "--preserve-fds beyond what is open is an error, and no hang", run: fd_2_missing },
    Test {
        id: "FD-2",
        title: "LISTEN_FDS of the caller reaches the program with descriptors and the pid inside",
        run: fd_2_listen,
    },
    Test {
        id: "FD-3",
        title: "closed standard descriptors of the runtime are no descriptors of its own in the program",
        run: fd_3,
    },
    Test { id: "PR-1", title: "a working directory that only the user may enter", run: pr_1_user },
    Test { id: "PR-1", title: "a working directory that is a file is an error", run: pr_1_file },
    Test {
        id: "PR-1",
        title: "a working directory that leads out of the root by a link is taken inside, or is an error",
        run: pr_1_link,
    },
    Test {
        id: "PR-2",
        title: "a name with a slash is taken from the working directory and not searched",
        run: pr_2_slash,
    },
    Test { id: "PR-2", title: "the first argument reaches the program as it is written", run: pr_2_name },
    Test { id: "PR-2", title: "the runtime's own PATH finds nothing", run: pr_2_path },
    Test { id: "PR-2", title: "what is executed need only be executable for the user, and has to be", run: pr_2_user },
    Test { id: "PR-3", title: "the environment is the list, in its order", run: pr_3_order },
    Test { id: "PR-3", title: "of one name given twice the last counts", run: pr_3_twice },
    Test { id: "PR-3", title: "an entry without a name or without = is an error", run: pr_3_bad },
    Test {
        id: "PR-4",
        title: "a terminal is on 0, 1 and 2, controls the program, and its master comes over the socket",
        run: pr_4,
    },
    Test { id: "PR-4", title: "a terminal belongs to the program's user", run: pr_4_owner },
    Test {
        id: "PR-4",
        title: "a terminal without a console socket, and a socket without a terminal, are errors of create",
        run: pr_4_socket,
    },
    Test { id: "PR-5", title: "consoleSize is the terminal's size, and is ignored without a terminal", run: pr_5 },
];

/// Prepares `create` by way of a shell that opens and closes descriptors first.
fn create_with(b: &Harness, c: &Container<'_>, redirections: &str, flags: &[&str]) -> Result<Command> {
    c.write_config()?;
    let mut command = Command::new("/bin/sh");
    // `--root` and its value, which the name of a call leaves out
    command
        .args(["-c", &format!("LISTEN_PID=$$ exec \"$@\" {redirections}"), "sh"])
        .arg(b.runtime())
        .arg("--root")
        .arg(b.root());
    command.args(["create", "--bundle"]).arg(&c.bundle).args(flags).arg(&c.id).stdin(std::process::Stdio::null());
    Ok(command)
}

fn fd_1_caller(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    c.create_as_it_is(&mut create_with(b, &c, "3</dev/null 4</ 7</etc/passwd 9>/dev/null", &[])?).ok()?;
    c.start().ok()?;
    expect("descriptors of the program", Facts::of_program(&c)?.descriptors()?, vec![0, 1, 2])
}

fn fd_1_cwd(b: &Harness) -> Result<()> {
    for fd in 3..10 {
        let mut c = Container::new(b)?;
        c.config["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        // an error, or a directory of the container
        if create_or_start(&c).error().is_ok() {
            continue;
        }
        ensure!(Facts::of(&c)?.cwd_is_inside()?, "descriptor {fd}: the working directory lies on the host");
    }
    Ok(())
}

fn fd_2(b: &Harness) -> Result<()> {
    need_flag(b, "create", "preserve-fds")?;
    let c = Container::new(b)?;
    let open = "3</dev/null 4</dev/zero 5</dev/full";
    c.create_as_it_is(&mut create_with(b, &c, open, &["--preserve-fds", "2"])?).ok()?;
    c.start().ok()?;
    let facts = Facts::of_program(&c)?;
    expect("descriptors of the program", facts.descriptors()?, vec![0, 1, 2, 3, 4])?;
    expect("what 3 and 4 are", [facts.link("fd/3")?, facts.link("fd/4")?], ["/dev/null", "/dev/zero"])
}

fn fd_2_missing(b: &Harness) -> Result<()> {
    need_flag(b, "create", "preserve-fds")?;
    let c = Container::new(b)?;
    c.create_as_it_is(&mut create_with(b, &c, "3</dev/null 4<&- 5<&-", &["--preserve-fds", "3"])?).error()?;
    c.must_be_gone()
}

fn fd_2_listen(b: &Harness) -> Result<()> {
    let c = Container::new(b)?;
    let mut command = create_with(b, &c, "3</dev/zero 4</dev/full 5</dev/null", &[])?;
    c.create_as_it_is(command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "one:two")).ok()?;
    c.start().ok()?;
    let facts = Facts::of_program(&c)?;
    if facts.descriptors()? == [0, 1, 2] && !facts.read("environ")?.contains("LISTEN_FDS") {
        return crate::harness::skip("this runtime has no socket activation");
    }
    expect("descriptors of the program", facts.descriptors()?, vec![0, 1, 2, 3, 4])?;
    expect("what 3 and 4 are", [facts.link("fd/3")?, facts.link("fd/4")?], ["/dev/zero", "/dev/full"])?;
    let env = facts.words("environ")?;
    for wanted in ["LISTEN_FDS=2", "LISTEN_PID=1"] {
        ensure!(env.iter().any(|entry| entry == wanted), "the environment lacks {wanted}: {env:?}");
    }
    Ok(())
}

fn fd_3(b: &Harness) -> Result<()> {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let c = Container::new(b)?;
        let mut command = create_with(b, &c, closed, &[])?;
        let done = c.create_as_it_is(&mut command);
        ensure!(matches!(&done.status, Ok(status) if status.success()), "create with {closed}: {done:?}");
        let done = c.start();
        ensure!(matches!(&done.status, Ok(status) if status.success()), "start after {closed}: {done:?}");
        let facts = Facts::of_program(&c)?;
        for fd in facts.descriptors()? {
            ensure!(fd <= 2, "{closed}: the program has descriptor {fd}, {}", facts.link(&format!("fd/{fd}"))?);
            let what = facts.link(&format!("fd/{fd}"))?;
            let known = what == "/dev/null" || what.starts_with(&*c.bundle.to_string_lossy());
            ensure!(known, "{closed}: descriptor {fd} of the program is {what}");
        }
    }
    Ok(())
}

fn pr_1_user(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::create_dir_all(c.path("/home/user/inner"))?;
    for dir in ["/home/user", "/home/user/inner"] {
        chown(c.path(dir), Some(1000), Some(1000))?;
        fs::set_permissions(c.path(dir), fs::Permissions::from_mode(0o700))?;
    }
    c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    c.config["process"]["cwd"] = json!("/home/user/inner");
    // without CAP_DAC_OVERRIDE root may not enter it
    expect("the working directory", Facts::run(&c)?.link("cwd")?.as_str(), "/home/user/inner")
}

fn pr_1_file(b: &Harness) -> Result<()> {
    for cwd in ["/etc/passwd", "/etc/passwd/below"] {
        let mut c = Container::new(b)?;
        c.config["process"]["cwd"] = json!(cwd);
        create_or_start(&c).error().with_context(|| format!("cwd {cwd}"))?;
    }
    Ok(())
}

fn pr_1_link(b: &Harness) -> Result<()> {
    for cwd in ["/link", "/link/new/dir"] {
        let mut c = Container::new(b)?;
        let outside = c.bundle.join("outside");
        fs::create_dir(&outside)?;
        symlink(&outside, c.path("/link"))?;
        c.config["process"]["cwd"] = json!(cwd);
        let done = create_or_start(&c);
        ensure!(fs::read_dir(&outside)?.next().is_none(), "{cwd}: something was created outside of the root");
        if done.error().is_err() {
            ensure!(Facts::of(&c)?.cwd_is_inside()?, "{cwd}: the working directory lies on the host");
        }
    }
    Ok(())
}

fn pr_2_slash(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    fs::create_dir_all(c.path("/opt/bin"))?;
    symlink("/bin/busybox", c.path("/opt/bin/sleep"))?;
    c.config["process"]["cwd"] = json!("/opt");
    c.config["process"]["args"] = json!(["bin/sleep", "1000"]);
    Facts::run(&c)?;
    let mut c = Container::new(b)?;
    c.config["process"]["args"] = json!(["./sleep", "1000"]);
    error_saying_one_of(create_or_start(&c), &["no such file or directory", "executable file not found"])
}

fn pr_2_name(b: &Harness) -> Result<()> {
    for name in ["sleep", "/bin/sleep", "/bin/../bin/./sleep"] {
        let mut c = Container::new(b)?;
        c.config["process"]["args"] = json!([name, "1000", ""]);
        c.config["process"]["args"].as_array_mut().map(Vec::pop);
        let line = Facts::run(&c).with_context(|| format!("args[0] {name}"))?.words("cmdline")?;
        expect("the command line", line, vec![name.to_owned(), "1000".into()])?;
    }
    Ok(())
}

fn pr_2_path(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["env"] = json!(["PATH=/nowhere"]);
    c.write_config()?;
    let created = c.create_as_it_is(c.create_command().env("PATH", "/bin:/usr/bin"));
    let done = if matches!(&created.status, Ok(s) if s.success()) {
        b.call_to(b.command(["start", &c.id]).env("PATH", "/bin"), &c.bundle.join("s.out"), &c.bundle.join("s.err"))
    } else {
        created
    };
    error_saying_one_of(done, &["executable file not found", "no such file or directory"])
}

fn pr_2_user(b: &Harness) -> Result<()> {
    for (mode, runs) in [(0o711, true), (0o700, false)] {
        let mut c = Container::new(b)?;
        fs::copy(c.path("/bin/busybox"), c.path("/bin/own"))?;
        fs::set_permissions(c.path("/bin/own"), fs::Permissions::from_mode(mode))?;
        symlink("own", c.path("/bin/nap"))?;
        fs::remove_file(c.path("/bin/sleep"))?;
        fs::rename(c.path("/bin/nap"), c.path("/bin/sleep"))?;
        c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        if runs {
            Facts::run(&c).with_context(|| format!("mode {mode:o}"))?;
        } else {
            create_or_start(&c).error_saying("permission denied")?;
        }
    }
    Ok(())
}

fn pr_3_order(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let env = ["ZULU=1", "PATH=/bin", "alpha=two words", "HOME=/nowhere", "EMPTY=", "EQUALS=a=b=c", "_x.y-z=odd"];
    c.config["process"]["env"] = json!(env);
    expect("the environment", Facts::run(&c)?.words("environ")?, env.map(str::to_owned).to_vec())
}

fn pr_3_twice(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["env"] = json!(["TWICE=first", "PATH=/bin", "HOME=/", "TWICE=last"]);
    let env = Facts::run(&c)?.words("environ")?;
    // a program reads the first entry of a name
    let seen = env.iter().find(|entry| entry.starts_with("TWICE="));
    expect("the entry that a program finds", seen.map(String::as_str), Some("TWICE=last"))
}

fn pr_3_bad(b: &Harness) -> Result<()> {
    for entry in ["NO_EQUALS", "=value", ""] {
        let mut c = Container::new(b)?;
        c.push(&["process", "env"], json!(entry));
        c.must_be_refused().with_context(|| format!("entry {entry:?}"))?;
    }
    Ok(())
}

/// Receives the terminal in the first message over the connection that the runtime opens.
fn receive(listener: &UnixListener) -> Result<OwnedFd> {
    listener.set_nonblocking(true)?;
    let connection: UnixStream = wait_until("the runtime connects", || match listener.accept() {
        Ok((connection, _)) => Ok(Some(connection)),
        Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
        Err(err) => Err(err.into()),
    })?;
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(crate::harness::EVENT_LIMIT))?;
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096];
    recvmsg(&connection, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.context("the runtime sent no descriptor")
}

/// Creates a container with a terminal, and returns the terminal's master.
fn terminal(c: &mut Container<'_>, b: &Harness) -> Result<OwnedFd> {
    need_flag(b, "create", "console-socket")?;
    c.config["process"]["terminal"] = json!(true);
    c.write_config()?;
    let socket = c.bundle.join("tty");
    let listener = UnixListener::bind(&socket)?;
    let bundle = c.bundle.to_string_lossy().into_owned();
    let mut command = b.command(["create", "--bundle", &bundle, "--console-socket", &socket.to_string_lossy(), &c.id]);
    c.create_as_it_is(&mut command).ok()?;
    receive(&listener)
}

fn pr_4(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "echo on the terminal; read answer; echo got $answer; sleep 1000")?;
    let mut master = fs::File::from(terminal(&mut c, b)?);
    c.start().ok()?;
    let mut seen = String::new();
    let mut until = |text: &str, master: &mut fs::File| -> Result<()> {
        let mut some = [0; 256];
        while !seen.contains(text) {
            let length = master.read(&mut some).context("read the master")?;
            ensure!(length > 0, "the terminal ended after {seen:?}");
            seen += &String::from_utf8_lossy(some.get(..length).unwrap_or_default());
        }
        Ok(())
    };
    until("on the terminal\r\n", &mut master)?;
    std::io::Write::write_all(&mut master, b"yes\n")?;
    until("got yes\r\n", &mut master)?;
    let facts = Facts::of(&c)?;
    for fd in 0..3 {
        let what = facts.link(&format!("fd/{fd}"))?;
        ensure!(what.starts_with("/dev/pts/") || what == "/dev/console", "descriptor {fd} is {what}");
    }
    ensure!(facts.stat(7)? != 0, "the program has no controlling terminal");
    expect("the session's leader", facts.stat(6)?, i64::from(facts.pid().as_raw()))?;
    ensure!(facts.mount("/dev/console").is_ok() || facts.path("root/dev/console").exists(), "there is no /dev/console");
    Ok(())
}

fn pr_4_owner(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["user"] = json!({"uid": 1000, "gid": 2000});
    let _master = terminal(&mut c, b)?;
    c.start().ok()?;
    let facts = Facts::of_program(&c)?;
    let meta = fs::metadata(facts.path("fd/0"))?;
    expect("the owner of the terminal", std::os::unix::fs::MetadataExt::uid(&meta), 1000)
}

fn pr_4_socket(b: &Harness) -> Result<()> {
    need_flag(b, "create", "console-socket")?;
    let mut c = Container::new(b)?;
    c.config["process"]["terminal"] = json!(true);
    c.must_be_refused().context("a terminal without a socket")?;
    let c = Container::new(b)?;
    c.write_config()?;
    let socket = c.bundle.join("tty");
    let _listener = UnixListener::bind(&socket)?;
    let bundle = c.bundle.to_string_lossy().into_owned();
    let mut command = b.command(["create", "--bundle", &bundle, "--console-socket", &socket.to_string_lossy(), &c.id]);
    c.create_as_it_is(&mut command).error().context("a socket without a terminal")?;
    c.must_be_gone()
}

fn pr_5(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["process"]["consoleSize"] = json!({"height": 17, "width": 93});
    Facts::run(&c).context("without a terminal")?;
    let mut c = Container::new(b)?;
    c.config["process"]["consoleSize"] = json!({"height": 17, "width": 93});
    let master = terminal(&mut c, b)?;
    c.start().ok()?;
    Facts::of_program(&c)?;
    let size = rustix::termios::tcgetwinsize(&master)?;
    expect("rows and columns of the terminal", (size.ws_row, size.ws_col), (17, 93))
}
