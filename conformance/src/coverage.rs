//! The checklist's requirements, and which of them have a test.

use std::collections::BTreeSet;

use crate::tests;

/// The checklist whose IDs name the tests.
const CHECKLIST: &str = include_str!("../../docs/reference/spec-checklist.md");

/// Requirements that no test can show, because a runtime that keeps them and one that does not look the same from outside.
pub const UNOBSERVABLE: &[(&str, &str)] = &[
    (
        "CF-7",
        "when a runtime checks a configuration cannot be seen from the error; that an error leaves nothing is OP-3",
    ),
    ("CL-5", "Docker calls by way of containerd; make test-callers runs both"),
];

/// A requirement of the checklist.
pub struct Requirement {
    pub id: &'static str,
    /// M, S, O, X, or two of them where it depends.
    pub strength: &'static str,
    /// The text of the requirement.
    pub text: &'static str,
}

impl Requirement {
    /// Returns whether the specification requires or recommends it.
    pub fn is_binding(&self) -> bool {
        self.strength.contains(['M', 'S'])
    }

    /// Returns the reason why no test can show the requirement, where there is one.
    pub fn unobservable(&self) -> Option<&'static str> {
        UNOBSERVABLE.iter().find(|(id, _)| *id == self.id).map(|(_, why)| *why)
    }
}

/// A part of the checklist: its heading and its requirements.
pub struct Part {
    pub title: &'static str,
    pub requirements: Vec<Requirement>,
}

/// Returns the parts that have requirements with an ID, in order.
pub fn parts() -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in CHECKLIST.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            parts.push(Part { title, requirements: Vec::new() });
        } else if let (Some(part), Some(requirement)) = (parts.last_mut(), row(line)) {
            part.requirements.push(requirement);
        }
    }
    parts.retain(|part| !part.requirements.is_empty());
    parts
}

/// Parses a line of a table whose first cell is an ID.
fn row(line: &'static str) -> Option<Requirement> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let (id, strength) = (cells.next()?, cells.next()?);
    let (area, number) = id.split_once('-')?;
    let is_id = area.len() == 2 && area.chars().all(|c| c.is_ascii_uppercase()) && number.parse::<u32>().is_ok();
    // the second column of part 20 names callers: what they use is outside of the specification
    let is_strength = !strength.is_empty() && strength.chars().all(|c| "MSOX/→".contains(c));
    let text = cells.find(|cell| cell.len() > 2)?;
    is_id.then_some(Requirement { id, strength: if is_strength { strength } else { "X" }, text })
}

/// Returns the number of binding requirements that can be shown, and those of them that no test shows.
pub fn missing() -> (usize, Vec<Requirement>) {
    let tested: BTreeSet<&str> = tests::all().map(|test| test.id).collect();
    let all = parts().into_iter().flat_map(|part| part.requirements);
    let wanted: Vec<_> = all.filter(|one| one.is_binding() && one.unobservable().is_none()).collect();
    let total = wanted.len();
    (total, wanted.into_iter().filter(|one| !tested.contains(one.id)).collect())
}

/// Returns the strength of the requirement with this ID.
pub fn strength(id: &str) -> &'static str {
    parts().into_iter().flat_map(|part| part.requirements).find(|one| one.id == id).map_or("", |one| one.strength)
}

/// Returns a table of the requirements with the number of their tests, for people.
pub fn table() -> String {
    let mut text = String::new();
    for part in parts() {
        text += &format!("{}\n", part.title);
        for one in part.requirements {
            let tests = tests::all().filter(|test| test.id == one.id).count();
            let note = one.unobservable().map(|why| format!("cannot be shown: {why}")).unwrap_or_default();
            text += &format!("  {:6} {:4} {tests:3}  {note}\n", one.id, one.strength);
        }
    }
    let (total, missing) = missing();
    let covered = total - missing.len();
    text +=
        &format!("{covered} of {total} requirements with M or S have a test ({} %)\n", covered * 100 / total.max(1));
    for one in missing {
        text += &format!("  without: {} {}\n", one.id, one.text);
    }
    text + &format!("{} tests in all\n", tests::all().count())
}

#[cfg(test)]
mod checks {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_checklist_is_read() {
        let parts = parts();
        let find = |id: &str| parts.iter().flat_map(|part| &part.requirements).find(|one| one.id == id).unwrap();
        for (id, strength) in
            [("CF-1", "M"), ("CG-2", "O→M"), ("UN-3", "O/M"), ("LX-2", "M"), ("RD-10", "M"), ("CL-6", "X")]
        {
            assert_eq!(find(id).strength, strength, "{id}");
        }
        assert!(find("AN-3").is_binding() && !find("CL-6").is_binding() && !find("LX-4").is_binding());
        assert!(find("FE-1").text.starts_with("Content fixed"), "{}", find("FE-1").text);
    }

    #[test]
    fn nearly_all_binding_requirements_have_a_test() {
        let (total, missing) = missing();
        let names: Vec<_> = missing.iter().map(|one| one.id).collect();
        assert!(missing.len() * 100 <= total * 5, "of {total}, these have none: {names:?}");
    }

    #[test]
    fn every_test_names_a_requirement_and_every_exception_one_without_tests() {
        let ids: BTreeSet<_> = parts().into_iter().flat_map(|part| part.requirements).map(|one| one.id).collect();
        for test in tests::all() {
            assert!(ids.contains(test.id), "{} {}", test.id, test.title);
        }
        for (id, _) in UNOBSERVABLE {
            assert!(ids.contains(id) && tests::all().all(|test| test.id != *id), "{id}");
        }
    }
}
