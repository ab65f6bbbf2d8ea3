//! The exercise in Python: a root directory by an environment variable, messages for what is not there, commits over an
//! image that exists, commands as words and never as a line for a shell.

use crate::fixture::{World, over_all};
use test_support::need_root;
use test_support::wait_until;

#[test]
fn exercise_row_step_by_step() {
    need_root!();
    over_all(walk);
}

fn walk(world: &World) {
    // help, and usage on missing arguments
    assert!(
        world.corm(["help"]).out().stdout.contains("commit")
            || world.corm(["--help"]).out().ok().stdout.contains("commit")
    );
    for wrong in [&["run"][..], &["commit"], &["commit", "x"], &["init"], &["rm"], &["nonsense"]] {
        let out = world.corm(wrong).out().no_panic();
        assert!(out.code == Some(1) || wrong == ["run"] && out.code == Some(125), "{out:?}");
        assert!(out.stderr.to_lowercase().contains("usage"), "{out:?}");
    }

    // what is not there
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
        let out = world.corm(verb).out().fails().one_line();
        assert_eq!(out.stderr, "corm: No container named 'nobody' exists\n", "{out:?}");
    }
    let out = world.run(&[], "nothing", &["true"]).out().exits(125);
    assert_eq!(out.stderr, "corm: No image named 'nothing' exists\n");

    // init, images, run with its output as it comes
    world.image("base");
    assert!(world.corm(["images"]).out().ok().stdout.contains("base"));
    let gate = world.sandbox.mkdir("gate");
    let given = format!("{}:/gate", gate.display());
    let script = "echo first; until [ -e /gate/open ]; do usleep 1000; done; echo second";
    let running = world.run(&["--name", "slow", "-v", &given], "base", &["sh", "-c", script]).spawn();
    wait_until("output before the end", || (running.stdout() == "first\n").then_some(()));
    std::fs::write(gate.join("open"), "").unwrap();
    assert_eq!(running.wait().ok().stdout, "first\nsecond\n");

    // the command and a log are kept; resolv.conf is the host's; /proc is mounted
    assert_eq!(world.shown("slow")["command"][2], script);
    assert_eq!(world.corm(["logs", "slow"]).out().ok().stdout, "first\nsecond\n");
    let seen = world.run(&["--rm"], "base", &["sh", "-c", "cat /etc/resolv.conf; test -d /proc/1"]).out().ok();
    assert_eq!(seen.stdout, std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default());

    // commit over an image that exists; what is known of the base survives
    world.corm(["config", "base", "base", "--env", "KEPT=a b", "--label", "l=1"]).out().ok();
    let old = world.json(&["inspect", "base"]);
    world.run(&["--name", "c"], "base", &["sh", "-c", "echo new > /new"]).out().ok();
    let committed = world.corm(["commit", "-m", "a message", "-a", "Me <me@x>", "c", "base"]).out().ok();
    let new = world.json(&["inspect", "base"]).to_string();
    assert!(new.contains(committed.text()) && !old.to_string().contains(committed.text()));
    for kept in ["KEPT=a b", "\"l\"", "a message", "Me <me@x>", "base"] {
        assert!(new.contains(kept), "{kept} in {new}");
    }
    assert_eq!(world.run(&["--rm"], "base", &["cat", "/new"]).out().ok().stdout, "new\n");
    // the container of the image that lost its name goes on
    world.corm(["start", "c"]).out().ok();
    world.corm(["wait", "c"]).out().ok();

    // rm
    world.corm(["rm", "c", "slow"]).out().ok();
    world.no_container_left();
    let id = world.corm(["images", "-q"]).out().ok().lines()[0].to_owned();
    assert!(world.corm(["rm", &id]).out().ok().stdout.starts_with("Removed: "));
}

#[test]
fn exercise_words_are_never_given_to_a_shell() {
    need_root!();
    over_all(|world| {
        world.image("base");
        let words = ["a b", "'", "\"", "$(touch /pwned)", "`x`", "a\nb", "", "*", "\\", "-x", ";", "é"];
        let out =
            world.run(&["--rm", "-e", "V=a b'$(x)"], "base", &[&["printf", "<%s>"], &words[..]].concat()).out().ok();
        assert_eq!(out.stdout, words.map(|word| format!("<{word}>")).concat());
        let id = world.detached(&[], "base", &["sleep", "1000"]);
        let out = world.corm([&["exec", &id, "printf", "<%s>"], &words[..]].concat()).out().ok();
        assert_eq!(out.stdout, words.map(|word| format!("<{word}>")).concat());
        for name in ["a b", "../x", "a/b", "-x", "'", "", "a\nb"] {
            world.run(&[&format!("--name={name}")], "base", &["true"]).out().exits(125).no_panic();
        }
        world.corm(["rm", "-f", &id]).out().ok();
        world.no_container_left();
    });
}

#[test]
fn exercise_a_commit_that_fails_leaves_the_old_image() {
    need_root!();
    over_all(|world| {
        world.image("base");
        world.run(&["--name", "c"], "base", &["sh", "-c", "echo new > /new"]).out().ok();
        let before = world.json(&["inspect", "base"]);
        // no file may grow: writing the layer fails
        world.corm(["commit", "c", "base"]).rlimit(libc::RLIMIT_FSIZE, 64).out();
        assert_eq!(world.json(&["inspect", "base"]), before);
        world.run(&["--rm"], "base", &["test", "!", "-e", "/new"]).out().ok();
        for bad in ["UPPER", "a b", "x@sha256:00", ""] {
            world.corm(["commit", "c", bad]).out().fails().no_panic();
        }
        assert_eq!(world.json(&["inspect", "base"]), before);
        world.corm(["commit", "c", "base"]).out().ok();
        world.run(&["--rm"], "base", &["test", "-e", "/new"]).out().ok();
        world.corm(["rm", "c"]).out().ok();
        // what the killed one left goes with the next removal
        world.corm(["system", "prune"]).out().ok();
        world.no_container_left();
    });
}
