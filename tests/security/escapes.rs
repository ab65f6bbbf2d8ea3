//! Escape sequences and control characters in texts of a container, a hook or a configuration.

use test_support::pty::{Terminal, on_terminal};
use test_support::*;

/// A text that clears the screen, sets the title, hides the text that follows, and reverses the direction of writing.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}8m\u{202e}\u{7f}";

/// Checks that the text has no control character of `HOSTILE`.
#[track_caller]
fn harmless(text: &str) {
    let raw = text.chars().find(|c| HOSTILE.contains(*c) && c.is_control() || *c == '\u{202e}');
    assert!(raw.is_none(), "{raw:?} is shown raw in {text:?}");
}

#[test]
fn escapes_1_errors_and_warnings_are_harmless_on_a_terminal() {
    need_root!();
    let c = Container::new(&["true"]);
    let hook = c.sandbox.script("hook", &format!("#!/bin/sh\nprintf '%s' '{HOSTILE}end-of-hook' >&2\nexit 1\n"));
    let c = c.edit(|config| config["hooks"] = json!({ "createRuntime": [{ "path": hook }] }));
    let mut terminal = Terminal::open(24, 200);
    let log = c.sandbox.path("log.json");
    c.write_config();
    let create = c.croci(["--log", log.to_str().unwrap(), "--log-format", "json", "create", "--bundle"]);
    let running = on_terminal(create.arg(&c.bundle).arg(&c.id), &terminal).spawn();
    let shown = terminal.expect("end-of-hook");
    assert_eq!(running.wait().code, Some(1));
    harmless(&shown);
    assert!(shown.contains("\\x1b[2J"), "the text is still there: {shown:?}");
    // the log has no such character either, because an engine shows it to its user
    let line: Value = serde_json::from_str(std::fs::read_to_string(log).unwrap().trim()).unwrap();
    let message = line["msg"].as_str().unwrap();
    assert!(message.contains("end-of-hook"), "{message:?}");
    harmless(message);
    c.nothing_left();
}

#[test]
fn escapes_2_state_and_list_are_harmless_and_show_the_same() {
    need_root!();
    let c = Container::new(&["sleep", "1000"]).edit(|config| config["annotations"] = json!({ "org.x": HOSTILE }));
    let c = c.up();
    let state = c.verb("state", &[]).out().ok();
    harmless(&state.stdout);
    assert_eq!(state.json()["annotations"]["org.x"], HOSTILE);
    let list = c.croci(["list", "--format", "json"]).out().ok();
    harmless(&list.stdout);
    assert_eq!(list.json()[0]["annotations"]["org.x"], HOSTILE);
}
