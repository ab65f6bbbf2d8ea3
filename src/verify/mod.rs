//! The self-check: the container's state in the kernel against its plan (SEC-15).
//!
//! Pure: compares plans with texts of procfs. `runtime::verify` reads the child's files in the parent. `init::check`
//! reads namespaces and mounts in the child, because an unprivileged parent may not read them.

pub(crate) mod cgroup;
pub(crate) mod credentials;

use anyhow::{Result, bail};
use base::coded;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// The time of a check, which decides the differences that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The program does not run yet: no difference is allowed.
    BeforeProgram,
    /// The program runs: it may have dropped privileges.
    Running,
}

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The value is the planned one.
    Ok,
    /// The value differs as a running program is allowed to change it.
    Changed,
    /// The value cannot be read, or the plan does not set it.
    Unchecked,
    /// The value differs.
    Different,
}

/// One property of the plan, and its value in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The field of the configuration.
    pub name: String,
    /// Name of the value in procfs, if it is another; otherwise empty.
    pub kernel: &'static str,
    /// The value is the planned one.
    pub expected: String,
    /// Value in the kernel.
    pub actual: String,
    /// Result of the comparison.
    pub verdict: Verdict,
}

impl Check {
    /// Creates a check without a name in procfs.
    pub(crate) fn new(
        name: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
        verdict: Verdict,
    ) -> Self {
        Check { name: name.into(), kernel: "", expected: expected.into(), actual: actual.into(), verdict }
    }

    /// Formats the difference in one line: `process.capabilities.effective: CapEff is 1, not 0`.
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

/// Fails if a check has a difference.
///
/// # Errors
/// `self-check: NAME is ACTUAL, not EXPECTED` for the first difference, with the number of further ones.
pub(crate) fn ensure_ok(checks: &[Check]) -> Result<()> {
    let mut wrong = checks.iter().filter(|check| check.verdict == Verdict::Different);
    let Some(first) = wrong.next() else { return Ok(()) };
    match wrong.count() {
        0 => bail!(coded!(VerifyDiffers, "self-check: {}", first.describe())),
        more => bail!(coded!(VerifyDiffers, "self-check: {} (and {more} more)", first.describe())),
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
        assert!(ensure_ok(&[]).is_ok());
        assert!(ensure_ok(&[Verdict::Ok, Verdict::Changed, Verdict::Unchecked].map(check)).is_ok());
        let text = ensure_ok(&[check(Verdict::Ok), check(Verdict::Different)]).unwrap_err().to_string();
        assert_eq!(text, "self-check: process.capabilities.effective: CapEff is 1, not 0");
        let text = ensure_ok(&[Verdict::Different; 3].map(check)).unwrap_err().to_string();
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
