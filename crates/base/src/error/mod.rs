//! Error messages: one line, causes joined by ": ", the kernel's errors as strerror(3) text.
//!
//! Callers match on these texts in lower case and without Rust's "(os error 2)": Podman and Docker derive their exit
//! status from "no such file or directory" and similar texts (callers' list, CL-21).

pub mod code;
mod coded;
pub mod escape;
mod named;
mod refine;
mod report;

use std::error::Error;
use std::io;

pub use code::Code;
pub use coded::{Coded, Coding, from_wire, to_wire};
pub use report::Report;

/// Returns the strerror(3) text of an errno with a lower-case first letter: `no such file or directory`.
pub fn errno_text(errno: i32) -> String {
    let text = match nix::errno::Errno::from_raw(errno) {
        // glibc's words, because those of nix hide what happened
        nix::errno::Errno::ERANGE => "numerical result out of range",
        nix::errno::Errno::EAGAIN => "resource temporarily unavailable",
        nix::errno::Errno::EOPNOTSUPP => "operation not supported",
        errno => errno.desc(),
    };
    let mut letters = text.chars();
    match letters.next() {
        // "I/O error" and "RFS specific error" stay as they are
        Some(first) if !text.chars().nth(1).is_some_and(|c| c.is_uppercase() || c == '/') => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Returns the whole chain of causes on one line, with control characters escaped.
pub fn describe(err: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in err.chain() {
        let words = describe_one(cause);
        // a context that only adds a code has none
        if !line.is_empty() && !words.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&words);
    }
    // a name from the configuration may hold any character; the log has one line per message
    escape::one_line(&line).into_owned()
}

fn describe_one(cause: &(dyn Error + 'static)) -> String {
    errno_of(cause).map_or_else(|| cause.to_string(), errno_text)
}

/// Errors that may carry an errno: of a system call, or with one as their cause.
pub trait HasErrno {
    /// Returns the errno.
    fn errno(&self) -> Option<i32>;

    /// Returns whether the errno is one of `wanted`.
    fn is_errno(&self, wanted: &[i32]) -> bool {
        self.errno().is_some_and(|errno| wanted.contains(&errno))
    }

    /// Returns whether the errno is no answer about a file: no descriptor or memory was left, or its device fails.
    fn is_no_answer(&self) -> bool {
        self.is_errno(&[libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EIO])
    }
}

impl HasErrno for io::Error {
    fn errno(&self) -> Option<i32> {
        self.raw_os_error()
    }
}

impl HasErrno for anyhow::Error {
    fn errno(&self) -> Option<i32> {
        self.chain().find_map(errno_of)
    }
}

fn errno_of(cause: &(dyn Error + 'static)) -> Option<i32> {
    let of_nix = || cause.downcast_ref::<nix::errno::Errno>().map(|errno| *errno as i32);
    cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).or_else(of_nix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn cl_21_errno_is_told_in_words_that_callers_match() {
        let err =
            Err::<(), _>(io::Error::from_raw_os_error(libc::ENOENT)).context("open \"/x\"").map_err(|e| describe(&e));
        assert_eq!(err, Err("open \"/x\": no such file or directory".to_owned()));
    }

    #[test]
    fn an_errno_is_found_below_what_was_added_to_it() {
        let io = || io::Error::from_raw_os_error(libc::ENOENT);
        for (err, errno) in [
            (anyhow::Error::new(io()), Some(libc::ENOENT)),
            (anyhow::Error::new(io()).context("a").context("b"), Some(libc::ENOENT)),
            (anyhow::Error::new(nix::errno::Errno::EPERM).context("a"), Some(libc::EPERM)),
            (anyhow::Error::new(io::Error::other("no errno")).context("a"), None),
            (anyhow::anyhow!("no such file or directory"), None),
        ] {
            assert_eq!(err.errno(), errno, "{err:#}");
            assert_eq!(err.is_errno(&[libc::EPERM, libc::ENOENT]), errno.is_some(), "{err:#}");
            assert!(!err.is_errno(&[libc::EIO]) && !err.is_errno(&[]), "{err:#}");
        }
        assert!(io().is_errno(&[libc::ENOENT]) && !io().is_errno(&[libc::ENOTDIR]));
        assert!(!io::Error::from(io::ErrorKind::NotFound).is_errno(&[libc::ENOENT]), "not the kernel's");
    }

    #[test]
    fn a_newline_in_a_name_keeps_the_message_on_one_line() {
        assert_eq!(describe(&anyhow::anyhow!("id \"a\nb\"")), "id \"a\\nb\"");
        assert_eq!(describe(&anyhow::anyhow!("said: \x1b[2J\u{9b}1m")), "said: \\x1b[2J\\u{9b}1m");
    }
}
