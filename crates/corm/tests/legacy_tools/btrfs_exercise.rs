//! The exercise in Python: a root directory by an environment variable, messages for names that do not exist, commits
//! to the name of an image that exists, commands as arguments and never as a line for a shell.

use crate::fixture::{CormFixture, over_all};
use test_support::need_root;
use test_support::wait_until;

#[test]
fn exercise_row_step_by_step() {
    need_root!();
    over_all(|fixture| {
        prints_help_and_usage(fixture);
        names_what_does_not_exist(fixture);
        fixture.image("base");
        assert!(fixture.corm(["images"]).out().ok().stdout.contains("base"));
        prints_output_as_it_comes_and_keeps_it(fixture);
        commits_over_an_existing_image(fixture);
        fixture.corm(["rm", "c", "slow"]).out().ok();
        fixture.no_container_left();
        let id = fixture.corm(["images", "-q"]).out().ok().lines()[0].to_owned();
        assert!(fixture.corm(["rm", &id]).out().ok().stdout.starts_with("Removed: "));
    });
}

fn prints_help_and_usage(fixture: &CormFixture) {
    assert!(
        fixture.corm(["help"]).out().stdout.contains("commit")
            || fixture.corm(["--help"]).out().ok().stdout.contains("commit")
    );
    for wrong in [&["run"][..], &["commit"], &["commit", "x"], &["init"], &["rm"], &["nonsense"]] {
        let out = fixture.corm(wrong).out().no_panic();
        assert!(out.code == Some(1) || wrong == ["run"] && out.code == Some(125), "{out:?}");
        assert!(out.stderr.to_lowercase().contains("usage"), "{out:?}");
    }
}

fn names_what_does_not_exist(fixture: &CormFixture) {
    for verb in [
        &["commit", "nobody", "image"][..],
        &["rm", "nobody"],
        &["logs", "nobody"],
        &["exec", "nobody", "true"],
        &["stop", "nobody"],
        &["kill", "nobody"],
        &["wait", "nobody"],
        &["start", "nobody"],
    ] {
        // `exec` leaves 1 to the program
        let out = fixture.corm(verb).out().exits(if verb[0] == "exec" { 125 } else { 1 }).one_line();
        assert!(out.stderr.starts_with("corm: No container named 'nobody' exists ("), "{out:?}");
    }
    let out = fixture.run(&["--pull", "never"], "nothing", &["true"]).out().exits(125);
    assert_eq!(
        out.stderr,
        "corm: No image named 'nothing' exists (`corm pull nothing` fetches it) [image.not_found]\n"
    );
}

/// Checks that the command and the log of a container are kept, its resolv.conf is the host's, and /proc is mounted.
fn prints_output_as_it_comes_and_keeps_it(fixture: &CormFixture) {
    let gate = fixture.sandbox.mkdir("gate");
    let given = format!("{}:/gate", gate.display());
    let script = "echo first; until [ -e /gate/open ]; do usleep 1000; done; echo second";
    let running = fixture.run(&["--name", "slow", "-v", &given], "base", &["sh", "-c", script]).spawn();
    wait_until("output before the end", || (running.stdout() == "first\n").then_some(()));
    std::fs::write(gate.join("open"), "").unwrap();
    assert_eq!(running.wait().ok().stdout, "first\nsecond\n");

    assert_eq!(fixture.shown("slow")["Command"][2], script);
    assert_eq!(fixture.corm(["logs", "slow"]).out().ok().stdout, "first\nsecond\n");
    let seen = fixture.run(&["--rm"], "base", &["sh", "-c", "cat /etc/resolv.conf; test -d /proc/1"]).out().ok();
    assert_eq!(seen.stdout, std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
}

/// Checks that the new image keeps the configuration of the old one.
fn commits_over_an_existing_image(fixture: &CormFixture) {
    fixture.corm(["config", "base", "base", "--env", "KEPT=a b", "--label", "l=1"]).out().ok();
    let old = fixture.inspected("base");
    fixture.run(&["--name", "c"], "base", &["sh", "-c", "echo new > /new"]).out().ok();
    let committed = fixture.corm(["commit", "-m", "a message", "-a", "Me <me@x>", "c", "base"]).out().ok();
    let new = fixture.inspected("base").to_string();
    assert!(new.contains(committed.text()) && !old.to_string().contains(committed.text()));
    for kept in ["KEPT=a b", "\"l\"", "a message", "Me <me@x>", "base"] {
        assert!(new.contains(kept), "{kept} in {new}");
    }
    assert_eq!(fixture.run(&["--rm"], "base", &["cat", "/new"]).out().ok().stdout, "new\n");
    // a container of the image that no longer has a name can still be started
    fixture.corm(["start", "c"]).out().ok();
    fixture.corm(["wait", "c"]).out().ok();
}

#[test]
fn exercise_arguments_are_never_passed_to_a_shell() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let words = ["a b", "'", "\"", "$(touch /pwned)", "`x`", "a\nb", "", "*", "\\", "-x", ";", "é"];
        let out =
            fixture.run(&["--rm", "-e", "V=a b'$(x)"], "base", &[&["printf", "<%s>"], &words[..]].concat()).out().ok();
        assert_eq!(out.stdout, words.map(|word| format!("<{word}>")).concat());
        let id = fixture.detached(&[], "base", &["sleep", "1000"]);
        let out = fixture.corm([&["exec", &id, "printf", "<%s>"], &words[..]].concat()).out().ok();
        assert_eq!(out.stdout, words.map(|word| format!("<{word}>")).concat());
        for name in ["a b", "../x", "a/b", "-x", "'", "", "a\nb"] {
            fixture.run(&[&format!("--name={name}")], "base", &["true"]).out().exits(125).no_panic();
        }
        fixture.corm(["rm", "-f", &id]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn exercise_a_commit_that_fails_leaves_the_old_image() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        fixture.run(&["--name", "c"], "base", &["sh", "-c", "echo new > /new"]).out().ok();
        let before = fixture.inspected("base");
        // limits the size of files, so that writing the layer fails
        fixture.corm(["commit", "c", "base"]).rlimit(libc::RLIMIT_FSIZE, 64).out();
        assert_eq!(fixture.inspected("base"), before);
        fixture.run(&["--rm"], "base", &["test", "!", "-e", "/new"]).out().ok();
        for bad in ["UPPER", "a b", "x@sha256:00", ""] {
            fixture.corm(["commit", "c", bad]).out().fails().no_panic();
        }
        assert_eq!(fixture.inspected("base"), before);
        fixture.corm(["commit", "c", "base"]).out().ok();
        fixture.run(&["--rm"], "base", &["test", "-e", "/new"]).out().ok();
        fixture.corm(["rm", "c"]).out().ok();
        // prune deletes what the killed commit left
        fixture.corm(["system", "prune"]).out().ok();
        fixture.no_container_left();
    });
}
