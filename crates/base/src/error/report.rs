//! An error as it is logged and printed: the message, and what the log's JSON line and `explain` have besides.

use nix::errno::Errno;

use super::code::Code;
use super::coded::code_of;
use super::named;
use super::named::without_code;
use super::{describe, escape};

/// An error, ready to be logged and printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The whole chain of causes on one line, control characters escaped.
    pub message: String,
    /// The code.
    pub code: Code,
    /// The property of config.json or the flag that the message names.
    pub field: Option<String>,
    /// The absolute path that the message names.
    pub path: Option<String>,
    /// The name of the kernel's error: `ENOENT`.
    pub errno: Option<String>,
}

impl Report {
    /// Returns the report of an error.
    pub fn of(err: &anyhow::Error) -> Report {
        let (code, errno) = code_of(err);
        Report::new(&describe(err), code, errno)
    }

    /// Returns the report of a line that croci or corm printed.
    pub fn of_text(text: &str) -> Report {
        let text = escape::one_line(text.trim());
        let text =
            ["croci: ", "corm: ", "error: "].iter().fold(&*text, |text, lead| text.strip_prefix(lead).unwrap_or(text));
        let (message, printed) = without_code(text);
        Report::new(message, printed.unwrap_or(Code::Failed), named::errno_of_text(message))
    }

    fn new(message: &str, code: Code, errno: Option<Errno>) -> Report {
        Report {
            message: message.to_owned(),
            code,
            field: named::field(message).map(str::to_owned),
            path: named::path(message).map(str::to_owned),
            errno: errno.map(|errno| format!("{errno:?}")),
        }
    }

    /// Returns what to do, if the message does not have it in parentheses at its end.
    pub fn hint(&self) -> Option<&'static str> {
        (!self.code.hint().is_empty() && !self.message.ends_with(')')).then(|| self.code.hint())
    }

    /// Returns the line for a person: the message, what to do, and the code.
    pub fn line(&self) -> String {
        let hint = self.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}{hint} [{}]", self.message, self.code.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_line_is_read_back() {
        let err = std::io::Error::from_raw_os_error(libc::ENOENT);
        let err = Code::MountFailed.add_to(err.into(), "mounts[1]: open \"/x\"");
        let report = Report::of(&err);
        assert_eq!(report.code, Code::MountSourceMissing);
        assert_eq!((report.field.as_deref(), report.path.as_deref()), (Some("mounts[1]"), Some("/x")));
        assert_eq!(report.errno.as_deref(), Some("ENOENT"));
        let line = report.line();
        assert!(line.ends_with(" [mount.source_missing]") && line.contains(" (create it, or"), "{line}");
        assert_eq!(Report::of_text(&format!("croci: error: {line}")).code, Code::MountSourceMissing);
    }
}
