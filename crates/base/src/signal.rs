//! Names and numbers of signals (KI-1).

use crate::coded;
use anyhow::{Result, bail};

use crate::suggest::did_you_mean;

/// Highest signal number on all supported architectures, because `libc::SIGRTMAX` is a function of the C library.
const RTMAX: i32 = 64;
/// First real-time signal that the C library does not use: the RTMIN of users.
const RTMIN: i32 = 34;

const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("RTMIN", RTMIN),
    ("RTMAX", RTMAX),
];

/// Parses a signal: `15`, `TERM`, `SIGTERM`, `RTMIN+3`, `RTMAX-1`, in any case.
///
/// # Errors
/// `unknown signal "X"`, also for 0, because kill(2) with 0 sends nothing and succeeds.
pub fn parse(text: &str) -> Result<i32> {
    match number(text).or_else(|| named(text)) {
        Some(signal) if (1..=RTMAX).contains(&signal) => Ok(signal),
        _ => {
            let upper = text.to_ascii_uppercase();
            let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
            bail!(coded!(
                SignalUnknown,
                "unknown signal {text:?}{}",
                did_you_mean(bare, NAMES.iter().map(|(name, _)| *name))
            ));
        }
    }
}

/// Returns the name of a signal without `SIG`: `KILL`; for one without a name its number.
pub fn name(signal: i32) -> String {
    NAMES.iter().find(|(_, known)| *known == signal).map_or_else(|| signal.to_string(), |(name, _)| (*name).to_owned())
}

/// Reports whether the default action of a signal ends the process.
pub fn terminates(number: i32) -> bool {
    let harmless = [
        0,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    !harmless.contains(&number)
}

fn number(text: &str) -> Option<i32> {
    // `parse` alone would take "+9"
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn named(text: &str) -> Option<i32> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        return number(offset).and_then(|offset| RTMIN.checked_add(offset));
    }
    if let Some(offset) = name.strip_prefix("RTMAX-") {
        return number(offset).map(|offset| RTMAX.saturating_sub(offset)).filter(|signal| *signal >= RTMIN);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|&(_, signal)| signal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ki_1_signals_by_name_and_number() {
        for (text, want) in [
            ("1", 1),
            ("15", 15),
            ("64", 64),
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigterm", 15),
            ("Kill", 9),
            ("IOT", 6),
            ("CLD", 17),
            ("POLL", 29),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmin+30", 64),
            ("RTMAX", 64),
            ("RTMAX-14", 50),
        ] {
            assert_eq!(parse(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn ki_1_zero_and_unknown_signals_are_errors() {
        for text in [
            "",
            "0",
            "00",
            "65",
            "-1",
            "+9",
            "9 ",
            "TERMINATE",
            "SIG",
            "SIGSIGTERM",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX-31",
            "RTMAX-99999999999",
            "RTMIN+",
            "99999999999",
            "1.0",
        ] {
            let err = parse(text).unwrap_err().to_string();
            assert!(err.starts_with(&format!("unknown signal {text:?}")), "{err}");
        }
        assert!(parse("SIGTREM").unwrap_err().to_string().ends_with(" (did you mean \"TERM\"?)"));
    }
}
