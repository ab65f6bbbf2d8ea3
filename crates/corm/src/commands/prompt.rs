//! Questions on the terminal, for a name or for a password that is not shown.

use base::coded;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::{Context as _, Result, bail};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::model::secret::Secret;
use base::signal_guard::SignalGuard;

/// Maximum number of bytes of an answer.
const MAX_ANSWER: u64 = 64 << 10;

/// Reads a line from the terminal.
///
/// # Errors
/// Standard input is no terminal: then `instead` names the flag that answers.
pub(super) fn line(question: &str, instead: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        bail!(coded!(TerminalNone, "standard input is no terminal to ask on (use {instead})"));
    }
    let _ = write!(io::stderr(), "{question}");
    let mut text = String::new();
    io::stdin().lock().take(MAX_ANSWER).read_line(&mut text).context("standard input")?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Reads a line from the terminal, which does not show it.
///
/// # Errors
/// As [`line()`]; a signal interrupts: then the terminal is as before.
pub(super) fn password(question: &str, instead: &str) -> Result<Secret> {
    if !io::stdin().is_terminal() {
        bail!(coded!(TerminalNone, "standard input is no terminal to ask on (use {instead})"));
    }
    // declared first, so that a signal is delivered when the terminal is as before
    let signals = SignalGuard::block()?;
    let stdin = io::stdin();
    let hidden = Hidden::new(stdin.as_fd()).context("terminal")?;
    let _ = write!(io::stderr(), "{question}");
    signals.wait_readable(stdin.as_fd())?;
    let mut text = String::new();
    let read = stdin.lock().take(MAX_ANSWER).read_line(&mut text);
    drop(hidden);
    let _ = writeln!(io::stderr());
    read.context("standard input")?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Reads a password from standard input, without the newline at its end.
///
/// # Errors
/// It is too long or no text.
pub(super) fn password_from_stdin() -> Result<Secret> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_ANSWER + 1).read_to_string(&mut text).context("password on standard input")?;
    if text.len() as u64 > MAX_ANSWER {
        bail!(coded!(UsageValue, "password on standard input: longer than {MAX_ANSWER} bytes"));
    }
    Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

/// A terminal that does not show what is typed, until dropped.
struct Hidden<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn new(terminal: BorrowedFd<'a>) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut changed = before.clone();
        changed.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &changed)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, SetArg::TCSANOW, &self.before);
    }
}
