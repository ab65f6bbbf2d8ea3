//! mydocker, chapters 4.1 and 4.2: a shell in an image's root, and a write layer that is removed with its container.

use crate::fixture::{CormFixture, over_all};
use test_support::pty::{Terminal, on_terminal};
use test_support::{need_root, tree};

#[test]
fn mydocker_4_1_a_shell_on_a_terminal() {
    need_root!();
    over_all(|fixture| {
        fixture.image("busybox");
        let mut terminal = Terminal::open(33, 101);
        let mark = format!("CROCI_TEST={}", fixture.sandbox.token);
        let shell = fixture.corm(["--log-level", "debug", "run", "-ti", "--rm", "-e", &mark, "busybox", "sh"]);
        let shell = on_terminal(shell, &terminal).spawn();
        // the error output names each step
        for step in ["write layer", "root file system", "configuration", "run --bundle", "process"] {
            terminal.expect(step);
        }
        terminal.expect("/ # ");
        assert!(!terminal.is_cooked(), "keys go to the container as they are typed");
        terminal.write("echo cwd=$(pwd) pid=$$ term=$TERM tty=$(tty)\n");
        terminal.expect("cwd=/ pid=1 term=xterm tty=/dev/pts/0");
        terminal.write("stty size\n");
        terminal.expect("33 101");
        terminal.resize(20, 60);
        terminal.write("while [ \"$(stty size)\" != '20 60' ]; do usleep 1000; done; echo re''sized\n");
        terminal.expect("resized");
        terminal.write("awk '{ printf \"%s:%s;\", $2, $3 } END { print \"end\" }' /proc/mounts\n");
        let mounts = terminal.expect(";end");
        assert!(mounts.contains("/proc:proc;") && mounts.contains("/dev:tmpfs;"), "{mounts}");
        // the old root is unmounted: nothing of the host is mounted below another name
        assert!(!mounts.contains("/.old") && !mounts.contains("/put_old"), "{mounts}");
        terminal.write(&format!("ls -d {} ; echo lo''oked\n", fixture.place.path().display()));
        let looked = terminal.expect("looked");
        assert!(looked.contains("No such file"), "the host's tree is not there: {looked}");
        terminal.write("exit 7\n");
        shell.wait().exits(7);
        assert!(terminal.is_cooked(), "the terminal is the caller's again");
        fixture.no_container_left();
    });
}

#[test]
fn mydocker_4_2_changes_are_in_the_write_layer_only() {
    need_root!();
    over_all(walk);
}

fn walk(fixture: &CormFixture) {
    fixture.image("busybox");
    let before = shown(fixture);
    let layers = fixture.entries("layers");
    fixture
        .run(&["--name", "c"], "busybox", &["sh", "-c", "echo new > /tmp/new; rm /bin/env; echo x >> /etc/passwd"])
        .out()
        .ok();
    let diff = fixture.corm(["diff", "c"]).out().ok();
    let lines = diff.lines();
    for wanted in ["A /tmp/new", "D /bin/env", "C /etc/passwd"] {
        assert!(
            lines
                .iter()
                .any(|line| line.trim_start_matches('/') == wanted
                    || line.replace(" /", " ") == wanted.replace(" /", " ")),
            "{wanted} in {diff:?}"
        );
    }
    assert!(!diff.stdout.contains("resolv.conf") && !diff.stdout.contains("hostname"), "mount points: {diff:?}");
    tree::assert_same(&before, &shown(fixture));
    assert_eq!(layers, fixture.entries("layers"), "no layer was added or removed");
    fixture.corm(["rm", "c"]).out().ok();
    fixture.no_container_left();
    // after --rm no container is left to remove
    fixture.run(&["--rm"], "busybox", &["touch", "/x"]).out().ok();
    fixture.no_container_left();
    tree::assert_same(&before, &shown(fixture));
}

/// Returns the tree of the image, as a bundle of it has it.
fn shown(fixture: &CormFixture) -> tree::Tree {
    let bundle = fixture.sandbox.path("look");
    fixture.corm(["bundle", "busybox"]).arg(&bundle).out().ok();
    let seen = tree::read(&bundle.join("rootfs/"));
    fixture.corm(["unbundle"]).arg(&bundle).out().ok();
    seen
}
