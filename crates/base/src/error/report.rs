//! An error as it is logged and printed: the message, and what the log's JSON line and `explain` have besides.

use nix::errno::Errno;

use super::classify;
use super::code::{Code, Coded};
use super::{HasErrno as _, describe, escape};

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
        let coded = err.downcast_ref::<Coded>();
        let code =
            coded.or_else(|| err.chain().find_map(|cause| cause.downcast_ref::<Coded>())).map(|coded| coded.code);
        Report::new(&describe(err), code, err.errno().map(Errno::from_raw))
    }

    /// Returns the report of a message: of an error that has become text, or of a line that croci or corm printed.
    pub fn of_text(text: &str) -> Report {
        let text = escape::one_line(text.trim());
        let text =
            ["croci: ", "corm: ", "error: "].iter().fold(&*text, |text, lead| text.strip_prefix(lead).unwrap_or(text));
        Report::new(text, None, None)
    }

    fn new(text: &str, code: Option<Code>, errno: Option<Errno>) -> Report {
        let (message, printed) = without_code(text);
        let field = classify::field(message);
        let errno = errno.or_else(|| classify::errno_of_text(message));
        let code = code.or(printed).unwrap_or_else(|| classify::code(message, field, errno));
        Report {
            message: message.to_owned(),
            code,
            field: field.map(str::to_owned),
            path: classify::path(message).map(str::to_owned),
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

/// Returns the text without the code in brackets that [`Report::line`] has put at its end, and the code.
fn without_code(text: &str) -> (&str, Option<Code>) {
    let split = text.strip_suffix(']').and_then(|text| text.rsplit_once(" ["));
    match split.and_then(|(text, name)| Some((text, Code::named(name)?))) {
        Some((text, code)) => (text, Some(code)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_line_is_read_back() {
        let err = anyhow::Error::new(std::io::Error::from_raw_os_error(libc::ENOENT)).context("mounts[1]: open \"/x\"");
        let report = Report::of(&err);
        assert_eq!(report.code, Code::MountSourceMissing);
        assert_eq!((report.field.as_deref(), report.path.as_deref()), (Some("mounts[1]"), Some("/x")));
        assert_eq!(report.errno.as_deref(), Some("ENOENT"));
        let line = report.line();
        assert!(line.ends_with(" [mount.source_missing]") && line.contains(" (create it, or"), "{line}");
        assert_eq!(Report::of_text(&format!("croci: error: {line}")).code, Code::MountSourceMissing);
    }

    #[test]
    fn the_makers_code_counts() {
        let err = anyhow::Error::new(Code::CgroupBusy.error("permission denied")).context("a").context("b");
        assert_eq!(Report::of(&err).code, Code::CgroupBusy);
        let err = anyhow::anyhow!("permission denied").context(Code::CgroupBusy.error("a")).context("b");
        assert_eq!(Report::of(&err).code, Code::CgroupBusy);
        assert_eq!(describe(&err), "b: a: permission denied");
    }
}
