//! The self-check: what the kernel made of a container, against what was planned (SEC-15).
//!
//! Pure: plans and texts of procfs in, checks out. Files are read by `runtime::verify` (of the child, by its parent) and by
//! `init::check` (namespaces and mounts, by the child itself, because a parent without privilege may not look at them).

pub(crate) mod cgroup;
pub(crate) mod credentials;

use anyhow::{Result, bail};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// When the check is created: it decides how much a process may differ from its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The program does not run yet: everything is as planned.
    BeforeProgram,
    /// The program runs. It may have given up rights, and nothing else.
    Running,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As planned.
    Ok,
    /// Different in a way that is the right of a program that runs.
    Changed,
    /// Not to be found out, or not fixed by the plan.
    Unchecked,
    /// Different.
    Different,
}

/// One thing that was planned, and what the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The field of the configuration.
    pub name: String,
    /// What the kernel calls it, where that is another word.
    pub kernel: &'static str,
    /// As planned.
    pub expected: String,
    /// As the kernel has it.
    pub actual: String,
    /// Whether that is right.
    pub verdict: Verdict,
}

impl Check {
    /// A check without a word of the kernel's.
    pub(crate) fn new(
        name: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
        verdict: Verdict,
    ) -> Self {
        Check { name: name.into(), kernel: "", expected: expected.into(), actual: actual.into(), verdict }
    }

    /// One line: `process.capabilities.effective: CapEff is 1, not 0`.
    pub(crate) fn describe(&self) -> String {
        let Check { name, kernel, expected, actual, .. } = self;
        let kernel = if kernel.is_empty() { String::new() } else { format!(": {kernel}") };
        format!("{name}{kernel} is {actual}, not {expected}")
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (ok, note) = match self.verdict {
            Verdict::Ok => (Some(true), None),
            Verdict::Changed => (Some(true), Some("changed by the program")),
            Verdict::Unchecked => (None, Some("unchecked")),
            Verdict::Different => (Some(false), None),
        };
        let mut out = serializer.serialize_struct("Check", if note.is_some() { 5 } else { 4 })?;
        out.serialize_field("name", &self.name)?;
        out.serialize_field("expected", &self.expected)?;
        out.serialize_field("actual", &self.actual)?;
        out.serialize_field("ok", &ok)?;
        if let Some(note) = note {
            out.serialize_field("note", note)?;
        }
        out.end()
    }
}

/// The first difference as an error.
///
/// # Errors
/// `self-check: NAME is ACTUAL, not EXPECTED`; the number of further ones, if there are any.
pub(crate) fn demand(checks: &[Check]) -> Result<()> {
    let mut wrong = checks.iter().filter(|check| check.verdict == Verdict::Different);
    let Some(first) = wrong.next() else { return Ok(()) };
    match wrong.count() {
        0 => bail!("self-check: {}", first.describe()),
        more => bail!("self-check: {} (and {more} more)", first.describe()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_difference_is_an_error_that_names_it() {
        let check =
            |verdict| Check { kernel: "CapEff", ..Check::new("process.capabilities.effective", "0", "1", verdict) };
        assert!(demand(&[]).is_ok());
        assert!(demand(&[Verdict::Ok, Verdict::Changed, Verdict::Unchecked].map(check)).is_ok());
        let text = demand(&[check(Verdict::Ok), check(Verdict::Different)]).unwrap_err().to_string();
        assert_eq!(text, "self-check: process.capabilities.effective: CapEff is 1, not 0");
        let text = demand(&[Verdict::Different; 3].map(check)).unwrap_err().to_string();
        assert!(text.ends_with("not 0 (and 2 more)"), "{text}");
    }

    #[test]
    fn the_json_of_a_check() {
        for (verdict, rest) in [
            (Verdict::Ok, r#""ok":true"#),
            (Verdict::Changed, r#""ok":true,"note":"changed by the program""#),
            (Verdict::Unchecked, r#""ok":null,"note":"unchecked""#),
            (Verdict::Different, r#""ok":false"#),
        ] {
            let text = serde_json::to_string(&Check::new("n", "e", "a", verdict)).unwrap();
            assert_eq!(text, format!(r#"{{"name":"n","expected":"e","actual":"a",{rest}}}"#));
        }
    }
}
