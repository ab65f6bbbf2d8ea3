//! What a person sees of a long pull: bars on a terminal of any width, and each failure that is tried again.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::fixture::{Fixture, noise, tar_of};
use crate::server::{Response, Server};
use crate::{corm, fixture};
use test_support::Sandbox;
use test_support::pty::{Terminal, on_terminal};

/// Returns what a terminal shows as lines: without escape sequences, each drawing of a line by itself.
fn drawn(seen: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut letters = seen.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, lines.last_mut()) {
            ('\u{1b}', _) => while !letters.next().is_none_or(|c| c.is_ascii_alphabetic()) {},
            ('\r' | '\n', _) => lines.push(String::new()),
            (_, Some(line)) => line.push(letter),
            _ => {}
        }
    }
    lines
}

/// Returns whether a line of the terminal is empty or begins as a bar does, and not with the rest of one that was too long.
fn is_begin_of_bar(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    let digest = first.len() == 12 && first.chars().all(|letter| letter.is_ascii_hexdigit());
    digest || ["", "pulling", "pulled", "unpacking", "unpacked"].contains(&first)
}

#[test]
fn bars_fit_the_terminal_and_name_what_is_done() {
    let layer = tar_of(&[("noise", &noise(3_000_000))]);
    let fixture = Fixture::of_layers(&[layer], &serde_json::json!({}));
    let server = Server::new({
        let fixture = fixture.clone();
        move |request| fixture.answer(request)
    });
    let name = format!("{}/team/web:v1", server.address);
    for columns in [120, 80, 79, 60, 40] {
        let sandbox = Sandbox::new();
        let mut terminal = Terminal::open(24, columns);
        let pull = corm(&sandbox, &["pull", "--tls-verify=false", &name]).env("TERM", "xterm");
        let pull = on_terminal(pull, &terminal).spawn();
        let short = &fixture.layers[0].split_at("sha256:".len()).1[..12];
        let seen = terminal.expect(&format!("unpacked {short}"));
        pull.wait().ok();
        for line in drawn(&seen.replace(fixture.id(), "")) {
            // bars are filled up to the width, and the next one follows without a newline
            let letters: Vec<char> = line.chars().collect();
            for part in letters.chunks(usize::from(columns)) {
                assert!(is_begin_of_bar(&part.iter().collect::<String>()), "{columns}: {line:?}");
            }
            assert!(!line.contains("iB"), "MB only: {line:?}");
        }
        assert!(seen.contains("pulling") && seen.contains("unpacking"), "{columns}: {seen:?}");
        // the bar of the transfer becomes that of the unpacking
        let lasting = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        let stays = seen.split('\n').any(|line| lasting(line).contains(&format!("pulled {short}")));
        assert!(!stays, "one line for a layer: {seen:?}");
    }
}

#[test]
fn each_try_is_reported() {
    let fixture = fixture::Fixture::new();
    let failures = AtomicU32::new(0);
    let server = Server::new(move |request| match failures.fetch_add(1, Ordering::Relaxed) {
        1 => Response::new(500, &[], "a failure"),
        3 => Response::new(429, &[("retry-after", "1")], "slow down"),
        _ => fixture.answer(request),
    });
    let (sandbox, name) = (Sandbox::new(), format!("{}/team/web:v1", server.address));
    let out = corm(&sandbox, &["pull", "--tls-verify=false", &name]).out().ok();
    let reported: Vec<&str> = out.stderr.lines().filter(|line| line.contains("; try 2 of 5 in ")).collect();
    assert_eq!(reported.len(), 2, "{out:?}");
    assert!(reported[0].contains("500") && reported[1].contains("429"), "{reported:?}");
    assert!(reported[1].ends_with("in 1.0 s"), "{reported:?}");
    // it is no message where warnings are not wanted
    let sandbox = Sandbox::new();
    let quiet = corm(&sandbox, &["--log-level", "error", "pull", "--tls-verify=false", &name]);
    assert_eq!(quiet.out().ok().stderr, "");
}

#[test]
fn a_verb_that_prints_nothing_has_one_line_on_a_terminal() {
    let fixture = Fixture::new();
    let server = Server::new(move |request| fixture.answer(request));
    let (sandbox, name) = (Sandbox::new(), format!("{}/team/web:v1", server.address));
    corm(&sandbox, &["pull", "--quiet", "--tls-verify=false", &name]).out().ok();
    for where_to in ["file", "terminal"] {
        let second = format!("{where_to}:2");
        let (saved, dir) = (sandbox.path(&format!("{where_to}.tar")), sandbox.path(where_to));
        for (args, want) in [
            (["tag", &name, &second, ""], "is also"),
            (["save", "-o", saved.to_str().unwrap(), &second], "saved to"),
            (["bundle", &second, dir.to_str().unwrap(), ""], "to run by `croci run"),
            (["fsck", "", "", ""], "no image, layer or record is damaged"),
        ] {
            let args: Vec<&str> = args.into_iter().filter(|arg| !arg.is_empty()).collect();
            if where_to == "file" {
                let out = corm(&sandbox, &args).out().ok();
                assert_eq!((out.stdout, out.stderr), (String::new(), String::new()), "{args:?}");
                continue;
            }
            let mut terminal = Terminal::open(24, 200);
            let verb = on_terminal(corm(&sandbox, &args), &terminal).spawn();
            let lines = drawn(&terminal.expect(want));
            verb.wait().ok();
            assert_eq!(lines.iter().filter(|line| !line.is_empty()).count(), 1, "{args:?}: {lines:?}");
        }
        corm(&sandbox, &["unbundle", dir.to_str().unwrap()]).out().ok();
    }
}
