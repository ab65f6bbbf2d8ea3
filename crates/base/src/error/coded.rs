//! How a code is attached to an error: where the error is made, as its type, so that no word of a message decides.
//!
//! The code nearest to the cause counts: [`Coding::code`] adds one only to an error that has none. A code of a kind, such
//! as `mount.failed`, is made more exact by the kernel's error ([`Code::refined`]). Errors of another process arrive with
//! their code by [`to_wire`] and [`from_wire`].

use std::fmt::{Display, Formatter};

use anyhow::Error;
use nix::errno::Errno;

use super::code::Code;
use super::named::{errno_of_text, without_code};
use super::{HasErrno as _, describe};

/// An error, or the context of one, whose code its maker knows.
#[derive(Debug)]
pub struct Coded {
    code: Code,
    /// The kernel's error, if the error is one of another process, whose cause is text here.
    errno: Option<i32>,
    /// Empty: the code of the error that this is the context of.
    message: String,
}

impl Display for Coded {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// Makes an error of a code and a message, as `format!`: `bail!(coded!(ConfigRequired, "{field}: is required"))`.
#[macro_export]
macro_rules! coded {
    ($code:ident, $($message:tt)+) => {
        $crate::error::Code::$code.error(::std::format!($($message)+))
    };
}

impl Code {
    /// Returns an error with this code.
    pub fn error(self, message: impl Into<String>) -> Coded {
        Coded { code: self, errno: None, message: message.into() }
    }

    /// Adds the code alone to an error, if it has none.
    pub fn attach(self, err: Error) -> Error {
        if attached(&err).is_some() { err } else { err.context(self.error("")) }
    }

    /// Returns the error of a line that croci or another runtime printed; this code counts for a line without one.
    pub fn of_line(self, line: &str) -> Coded {
        let (message, code) = without_code(line);
        Coded {
            code: code.unwrap_or(self),
            errno: errno_of_text(message).map(|errno| errno as i32),
            message: message.to_owned(),
        }
    }

    /// Adds a context to an error, and this code if it has none.
    pub fn add_to(self, err: Error, context: impl Into<String>) -> Error {
        if attached(&err).is_some() { err.context(context.into()) } else { err.context(self.error(context)) }
    }
}

/// Adds a code and a context to an error, as anyhow's `Context` adds a context.
pub trait Coding<T> {
    /// Adds the context, and the code if the error has none.
    ///
    /// # Errors
    /// As the result; `None` is an error whose message is the context.
    fn code(self, code: Code, context: impl Into<String>) -> Result<T, Error>;

    /// As [`Coding::code`], with a context that is made only for an error.
    ///
    /// # Errors
    /// As [`Coding::code`].
    fn with_code<M: Into<String>>(self, code: Code, context: impl FnOnce() -> M) -> Result<T, Error>;

    /// Adds the code alone, if the error has none.
    ///
    /// # Errors
    /// As the result.
    fn or_code(self, code: Code) -> Result<T, Error>;
}

impl<T, E: Into<Error>> Coding<T> for Result<T, E> {
    fn code(self, code: Code, context: impl Into<String>) -> Result<T, Error> {
        self.map_err(|err| code.add_to(err.into(), context))
    }

    fn with_code<M: Into<String>>(self, code: Code, context: impl FnOnce() -> M) -> Result<T, Error> {
        self.map_err(|err| code.add_to(err.into(), context()))
    }

    fn or_code(self, code: Code) -> Result<T, Error> {
        self.map_err(|err| code.attach(err.into()))
    }
}

impl<T> Coding<T> for Option<T> {
    fn code(self, code: Code, context: impl Into<String>) -> Result<T, Error> {
        self.ok_or_else(|| code.error(context).into())
    }

    fn with_code<M: Into<String>>(self, code: Code, context: impl FnOnce() -> M) -> Result<T, Error> {
        self.ok_or_else(|| code.error(context()).into())
    }

    fn or_code(self, code: Code) -> Result<T, Error> {
        self.code(code, "")
    }
}

/// Returns what is attached to an error, or to an error below it.
fn attached(err: &Error) -> Option<&Coded> {
    err.downcast_ref::<Coded>().or_else(|| err.chain().find_map(|cause| cause.downcast_ref::<Coded>()))
}

/// Returns the code of an error, made more exact by the kernel's error, and the kernel's error.
pub(super) fn code_of(err: &Error) -> (Code, Option<Errno>) {
    let coded = attached(err);
    let errno = err.errno().or_else(|| coded.and_then(|coded| coded.errno)).map(Errno::from_raw);
    (coded.map_or(Code::Failed, |coded| coded.code).refined(errno), errno)
}

/// Returns an error as text for another process: its code, the kernel's error and its message, a line each.
pub fn to_wire(err: &Error) -> String {
    let (code, errno) = code_of(err);
    format!("{}\n{}\n{}", code.name(), errno.map_or(0, |errno| errno as i32), describe(err))
}

/// Returns the error that another process has made text by [`to_wire`]; other text is an error without a code.
pub fn from_wire(text: &str) -> Error {
    let mut lines = text.splitn(3, '\n');
    let fields = (lines.next().and_then(Code::named), lines.next().and_then(|errno| errno.parse().ok()), lines.next());
    match fields {
        (Some(code), Some(errno), Some(message)) => {
            Coded { code, errno: Some(errno).filter(|errno| *errno != 0), message: message.to_owned() }.into()
        }
        _ => Error::msg(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::io;

    fn failure(errno: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn the_code_nearest_to_the_cause_counts() {
        let err = failure(libc::EACCES).code(Code::CgroupBusy, "a").code(Code::MountFailed, "b").unwrap_err();
        assert_eq!(code_of(&err), (Code::CgroupBusy, Some(Errno::EACCES)));
        assert_eq!(describe(&err), "b: a: permission denied");
        let err = Error::new(coded!(CgroupBusy, "{} b", 1)).context("a").context("b");
        assert_eq!(code_of(&Err::<(), _>(err).or_code(Code::Failed).unwrap_err()), (Code::CgroupBusy, None));
        assert_eq!(code_of(&None::<()>.code(Code::MountFailed, "nothing").unwrap_err()).0, Code::MountFailed);
    }

    #[test]
    fn a_code_alone_adds_no_words() {
        let err = failure(libc::ENOENT).or_code(Code::MountFailed).unwrap_err().context("a");
        assert_eq!(describe(&err), "a: no such file or directory");
        assert_eq!(code_of(&err).0, Code::MountSourceMissing);
    }

    #[test]
    fn another_process_keeps_code_and_errno() {
        let err = failure(libc::ENOENT).code(Code::MountFailed, "mounts[0]").unwrap_err();
        let got = from_wire(&to_wire(&err)).context("init");
        assert_eq!(code_of(&got), (Code::MountSourceMissing, Some(Errno::ENOENT)));
        assert_eq!(describe(&got), "init: mounts[0]: no such file or directory");
        assert_eq!(describe(&from_wire("no code")), "no code");
        assert_eq!(code_of(&from_wire("no.code\n2\nx")).0, Code::Failed);
    }
}
