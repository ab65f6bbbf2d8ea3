//! Images and containers that try to get access to the host through corm: by users and groups, volumes, names.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::need_root;
use test_support::pty::{Terminal, on_terminal};
use test_support::{Out, host, json, wait_for};

/// Returns the supplementary groups in the output of `cat /proc/self/status`.
#[track_caller]
fn groups(out: &Out) -> Vec<u32> {
    let line = out.stdout.lines().find_map(|line| line.strip_prefix("Groups:"));
    let line = line.unwrap_or_else(|| panic!("no line of groups: {out:?}"));
    line.split_whitespace().map(|gid| gid.parse().unwrap()).collect()
}

#[test]
fn the_primary_group_is_among_the_supplementary_ones() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.corm(["config", "base", "as-user", "--user", "user"]).out().ok();
        fixture.corm(["config", "base", "as-1000", "--user", "1000:2000"]).out().ok();
        let status = ["cat", "/proc/self/status"];
        fixture.detached(&["--name", "up"], "base", &["sleep", "1000"]);
        for (user, want) in [
            ("", &[0][..]),
            ("root", &[0]),
            ("0", &[0]),
            ("user", &[1000, 2000]),
            ("1000", &[1000, 2000]),
            ("user:extra", &[2000]),
            ("user:7", &[7]),
            ("1000:extra", &[2000]),
            ("1000:2000", &[2000]),
            ("4242", &[0]),
            ("4242:4243", &[4243]),
        ] {
            let flags = ["-u", user];
            let flags = if user.is_empty() { &[][..] } else { &flags };
            let out = fixture.run(&[&["--rm"], flags].concat(), "base", &status).out().ok();
            assert_eq!(groups(&out), want, "run -u {user:?}");
            let out = fixture.corm(["exec"]).args(flags).arg("up").args(status).out().ok();
            assert_eq!(groups(&out), want, "exec -u {user:?}");
        }
        for (image, want) in [("as-user", &[1000, 2000][..]), ("as-1000", &[2000])] {
            let out = fixture.run(&["--name", image], image, &["sh", "-c", "cat /proc/self/status; sleep 1000"]);
            let running = out.spawn();
            wait_for("its status", || running.stdout().contains("Groups:"));
            // without -u: the container's own user
            let out = fixture.corm(["exec", image]).args(status).out().ok();
            assert_eq!(groups(&out), want, "exec in {image}");
            fixture.corm(["rm", "-f", image]).out().ok();
            assert_eq!(groups(&running.wait()), want, "image {image}");
        }
        fixture.corm(["rm", "-f", "up"]).out().ok();
        fixture.no_container_left();
    });
}

/// Creates an image `plain` with symlinks that lead, by detours, to /proc, /sys, /dev and the root.
fn image_with_links(fixture: &CormFixture) {
    let dir = fixture.busybox_dir("linked");
    for (target, link) in [
        ("proc", "lnk"),
        ("/../../sys", "abs"),
        ("/dev", "devices"),
        ("lnk/sys/..", "chain"),
        ("/", "top"),
        ("loop", "loop"),
    ] {
        symlink(target, dir.join(link)).unwrap();
    }
    symlink("../../lnk", dir.join("home/up")).unwrap();
    fixture.corm(["init"]).arg(&dir).arg("plain").out().ok();
}

#[test]
fn an_image_declares_no_volume_below_dev_proc_and_sys() {
    need_root!();
    over_one(|fixture| {
        image_with_links(fixture);
        let named =
            ["/proc", "/proc/1/attr", "//proc/./sys", "/sys", "/sys/fs/cgroup", "/dev", "/dev/shm", "//dev/new"];
        let detours = ["/a/../proc", "/lnk", "/lnk/1", "/abs/kernel", "/devices/shm", "/chain"];
        let more = ["/home/up/x", "/top", "/loop/x"];
        for (number, volume) in named.into_iter().chain(detours).chain(more).enumerate() {
            let image = format!("declares{number}");
            fixture.reconfigured("plain", &image, |config| config["config"]["Volumes"] = json!({ volume: {} }));
            let out = fixture.run(&[], &image, &["true"]).out().exits(125).one_line().no_panic();
            assert!(out.stderr.contains("config.Volumes") && out.stderr.contains(volume), "{volume}: {out:?}");
            let detached = fixture.run(&["-d", "--name", "n"], &image, &["true"]).out();
            detached.exits(125).one_line().stderr_contains("config.Volumes");
            let bundle = fixture.sandbox.path("bundle");
            fixture.corm(["bundle", &image]).arg(&bundle).out().fails().one_line().stderr_contains("config.Volumes");
            assert!(bundle.symlink_metadata().is_err());
            fixture.no_container_left();
        }
    });
}

/// A volume of the command line may cover a device, but not a path of procfs or sysfs.
#[test]
fn a_volume_of_the_command_line_covers_nothing_of_the_kernel() {
    need_root!();
    over_one(|fixture| {
        image_with_links(fixture);
        let data = fixture.sandbox.write("data", "text");
        let given =
            |place: &str| fixture.run(&["--rm", "-v", &format!("{}:{place}", data.display())], "plain", &["cat"]);
        for place in ["/lnk/x", "/abs/x", "/top", "/chain/version"] {
            given(place).out().exits(125).one_line().stderr_contains("--volume").stderr_contains(place);
        }
        assert_eq!(given("/devices/mine").arg("/dev/mine").out().ok().stdout, "text");
        fixture.no_container_left();
    });
}

#[test]
fn a_commit_of_volumes_follows_no_symlink_out_of_them() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let [outer, inner, victim] = ["outer", "inner", "victim"].map(|name| fixture.sandbox.mkdir(name));
        fs::create_dir_all(outer.join("sub/deep")).unwrap();
        fs::write(outer.join("one"), "").unwrap();
        fs::write(inner.join("planted"), "planted").unwrap();
        fs::write(victim.join("passwd"), "the host's").unwrap();
        let file = fixture.sandbox.write("file", "from the volume");
        let given = |from: &Path, to: &str| format!("{}:{to}", from.display());
        let around = given(&outer, "/v");
        fixture
            .run(&["--name", "dir", "-v", &around, "-v", &given(&inner, "/v/sub/deep")], "base", &["true"])
            .out()
            .ok();
        fixture.run(&["--name", "file", "-v", &around, "-v", &given(&file, "/v/one")], "base", &["true"]).out().ok();
        // changes that another container with the same volume can make
        fs::remove_dir_all(outer.join("sub")).unwrap();
        fs::remove_file(outer.join("one")).unwrap();
        symlink(&victim, outer.join("sub")).unwrap();
        symlink(victim.join("passwd"), outer.join("one")).unwrap();
        let before = host::snapshot(&victim);
        for name in ["dir", "file"] {
            let out = fixture.corm(["commit", "--include-volumes", name, &format!("of-{name}")]).out().no_panic();
            assert_eq!(before, host::snapshot(&victim), "the host's directory was changed: {out:?}");
        }
        // the file replaces whatever is at its path
        let seen = fixture.run(&["--rm"], "of-file", &["cat", "/v/one"]).out().ok();
        assert_eq!(seen.stdout, "from the volume");
        fixture.corm(["rm", "dir", "file"]).out().ok();
        fixture.no_container_left();
    });
}

/// A text that clears the screen, sets the title, hides the text that follows, and reverses the direction of writing.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}8m\u{202e}\u{7f}";

#[track_caller]
fn harmless(text: &str) {
    let raw = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r') || *c == '\u{202e}');
    assert!(raw.is_none(), "{raw:?} is shown raw in {text:?}");
}

/// Returns the output of corm on a terminal, up to and including `end`.
#[track_caller]
fn on_a_terminal(fixture: &CormFixture, args: &[&str], end: &str) -> String {
    let mut terminal = Terminal::open(24, 200);
    let running = on_terminal(fixture.corm(args), &terminal).spawn();
    let shown = terminal.expect(end);
    running.wait();
    shown
}

#[test]
fn names_and_labels_of_an_image_reach_no_terminal_raw() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let name = format!("a{HOSTILE}z-end");
        fixture.run(&["--name", "c"], "base", &["sh", "-c", "echo x > \"/$1\"", "sh", &name]).out().ok();
        let shown = on_a_terminal(fixture, &["diff", "c"], "z-end");
        harmless(&shown);
        assert!(shown.contains("A /a\\x1b[2J\\x1b]0;owned\\x07\\u{9b}8m\\u{202e}\\x7fz-end"), "{shown:?}");
        // the same in a pipe, so that a name is one line everywhere
        harmless(&fixture.corm(["diff", "c"]).out().ok().stdout);
        fixture.corm(["rm", "c"]).out().ok();

        fixture.reconfigured("base", "hostile", |config| {
            config["config"]["Labels"] = json!({ "org.x": format!("{HOSTILE}label-end") });
            config["history"] =
                json!([{ "created_by": format!("{HOSTILE}by"), "comment": format!("{HOSTILE}comment-end") }]);
        });
        harmless(&on_a_terminal(fixture, &["inspect", "hostile"], "label-end"));
        harmless(&on_a_terminal(fixture, &["history", "hostile"], "comment-end"));
        harmless(&on_a_terminal(fixture, &["history", "--format", "json", "hostile"], "comment-end"));
        let inspected = fixture.inspected("hostile");
        assert_eq!(inspected["Config"]["Labels"]["org.x"], format!("{HOSTILE}label-end"));

        // text of the caller in an error and in a table
        harmless(&on_a_terminal(fixture, &["inspect", &format!("{HOSTILE}none-end")], "none-end"));
        fixture.run(&["--name", "p"], "base", &["true", "\u{1b}[2J\u{202e}word"]).out().ok();
        harmless(&on_a_terminal(fixture, &["ps", "-a"], "word"));
        fixture.corm(["rm", "p"]).out().ok();
        fixture.no_container_left();
    });
}
