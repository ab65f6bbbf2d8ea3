//! The verdict on a test, and its JSON form, in which the process that ran the test passes it to the one that prints
//! it.

use std::fmt;

use anyhow::Error;
use serde_json::{Value, json};

/// The reason why this machine cannot show what a test checks; returned as an error.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skip {}

/// The wanted and the actual value, for failures that have both; returned as an error.
#[derive(Debug)]
pub struct Mismatch {
    /// The value that the requirement wants.
    pub expected: String,
    /// The value that the runtime gave.
    pub seen: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, seen {}", self.expected, self.seen)
    }
}

impl std::error::Error for Mismatch {}

/// The result of a test.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The requirement holds.
    Pass,
    /// The requirement does not hold: the wanted value where the title does not name it, and what was seen.
    Fail { expected: Option<String>, seen: String },
    /// The reason why this machine or this runtime cannot show it.
    Skip(String),
}

impl Verdict {
    /// Returns a failure without a wanted value.
    pub fn failed(seen: impl Into<String>) -> Self {
        Self::Fail { expected: None, seen: seen.into() }
    }

    /// Returns the verdict for a test's return value.
    pub fn of(result: Result<(), Error>) -> Self {
        let Err(err) = result else { return Self::Pass };
        if let Some(skip) = err.downcast_ref::<Skip>() {
            return Self::Skip(skip.0.clone());
        }
        let Some(mismatch) = err.downcast_ref::<Mismatch>() else { return Self::failed(format!("{err:#}")) };
        // the outer links are context; the mismatch itself is the last link
        let links: Vec<String> = err.chain().map(ToString::to_string).collect();
        let place = links.split_last().map(|(_, above)| above.join(": ")).filter(|place| !place.is_empty());
        let seen = place.map_or_else(|| mismatch.seen.clone(), |place| format!("{place}: {}", mismatch.seen));
        Self::Fail { expected: Some(mismatch.expected.clone()), seen }
    }

    /// Returns the name of the verdict.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "passed",
            Self::Fail { .. } => "failed",
            Self::Skip(_) => "skipped",
        }
    }

    /// Returns the verdict as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Pass => json!({"verdict": "pass"}),
            Self::Fail { expected, seen } => json!({"verdict": "fail", "expected": expected, "why": seen}),
            Self::Skip(why) => json!({"verdict": "skip", "why": why}),
        }
    }

    /// Parses the JSON of a verdict; returns `None` for any other JSON.
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        Some(match value["verdict"].as_str()? {
            "pass" => Self::Pass,
            "fail" => Self::Fail { expected: text("expected"), seen: text("why")? },
            "skip" => Self::Skip(text("why")?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_verdict_survives_its_journey() {
        for verdict in [
            Verdict::Pass,
            Verdict::failed("x\ny"),
            Verdict::Skip("no cat".into()),
            Verdict::Fail { expected: Some("1".into()), seen: "2".into() },
        ] {
            assert_eq!(Verdict::from_json(&verdict.to_json()), Some(verdict));
        }
        assert_eq!(Verdict::from_json(&json!({"verdict": "fine"})), None);
    }

    #[test]
    fn the_kind_of_error_is_the_verdict() {
        assert_eq!(Verdict::of(Ok(())), Verdict::Pass);
        let skip = Verdict::of(Err(Skip("no cat".into()).into()));
        assert_eq!(skip, Verdict::Skip("no cat".into()));
        let err = Err::<(), _>(Mismatch { expected: "1".into(), seen: "2".into() }).context("user 5");
        assert_eq!(Verdict::of(err), Verdict::Fail { expected: Some("1".into()), seen: "user 5: 2".into() });
    }
}
