//! The program in the container: it prints facts about its process and surroundings as JSON, and does the acts that it
//! is given.
//!
//! `probe [ACT...]` prints one line: an object of facts (`proc_facts`), with the result of each act under `did`, by the
//! act's own word: `{"ok": value}` or `{"errno": "EROFS"}`. `acts` lists the acts. The program is static and needs
//! nothing in the container: a fact that depends on /proc is null where there is none.

mod acts;
mod proc_facts;
mod sys;

use std::io::Write as _;
use std::process::ExitCode;

use nix::sys::signal::SigSet;
use serde_json::{Value, json};

/// Collects the facts, does the acts, prints; then ends, or keeps running where the last act is `hold` or `signals`.
pub fn main(words: &[String]) -> ExitCode {
    let mut facts = proc_facts::all();
    let mut did = serde_json::Map::new();
    let mut last = Last::Exit(0);
    for word in words {
        match Last::parse(word) {
            Some(found) => last = found,
            None => drop(did.insert(word.clone(), acts::act(word))),
        }
    }
    facts["did"] = Value::Object(did);
    let blocked = SigSet::all();
    if matches!(last, Last::Signals) {
        // before the line is printed, because a test takes that for readiness
        let _ = blocked.thread_block();
    }
    print(&facts);
    match last {
        Last::Exit(status) => ExitCode::from(status),
        Last::Hold => loop {
            std::thread::park();
        },
        Last::Signals => loop {
            if let Ok(signal) = blocked.wait() {
                print(&json!({"signal": signal.as_str()}));
            }
        },
    }
}

/// The last act of the probe, once it has printed.
enum Last {
    /// `exit:N`
    Exit(u8),
    /// `hold`: keeps running until it is killed.
    Hold,
    /// `signals`: prints a line for each signal that it receives.
    Signals,
}

impl Last {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "hold" => Some(Self::Hold),
            "signals" => Some(Self::Signals),
            _ => word.strip_prefix("exit:").and_then(|status| status.parse().ok()).map(Self::Exit),
        }
    }
}

/// Prints one line in one write, so that a reader sees it whole or not at all.
fn print(value: &Value) {
    let _ = std::io::stdout().lock().write_all(format!("{value}\n").as_bytes());
}
