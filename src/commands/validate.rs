//! `validate`: all problems of a configuration at once.
//!
//! The parser ends at the first problem. So the property that it names is taken out of a copy, or set to the template's
//! value where it is missing, and the copy is parsed again until nothing is wrong.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Context, print};
use crate::bundle;
use crate::bundle::Bundle;
use crate::cli::args;
use crate::cli::args::Format;
use crate::config;
use crate::runtime::options;
use crate::runtime::preview;
use base::error::Report;

/// Largest number of problems that are looked for.
const MAX_PROBLEMS: usize = 200;

/// A problem of the configuration.
struct Problem {
    /// JSON pointer to the property in the file; empty where the problem is of no property.
    pointer: String,
    report: Report,
}

/// The copy of the configuration, and which entries of its lists are those of the file.
struct Copy {
    value: Value,
    /// For each list from which entries were taken: the indices that the others have in the file. The key is the list's
    /// pointer in the file.
    left: BTreeMap<String, Vec<usize>>,
}

/// Prints the problems; returns 1 if there is one.
pub(super) fn validate(context: &Context<'_>, args: &args::Validate) -> Result<i32> {
    let text = bundle::read_config(&args.bundle)?;
    let create =
        options::Create { bundle: args.bundle.clone(), id: "validate".to_owned(), ..options::Create::default() };
    let check = |text: &[u8]| -> Result<Vec<String>> {
        let config = config::parse(text)?;
        if !args.host {
            return Ok(config.warnings);
        }
        let dir = args.bundle.canonicalize().with_context(|| format!("bundle {:?}", args.bundle))?;
        let bundle = Bundle { dir, text: text.to_vec(), config };
        Ok(preview::of_bundle(bundle, &create, context.global.cgroups())?.warnings)
    };
    let (problems, warnings) = find_all(&text, check);
    let shown = match args.format {
        Format::Json => format!("{}\n", document(&problems, &warnings)),
        Format::Table => {
            let problem = |problem: &Problem| {
                let at = if problem.pointer.is_empty() { String::new() } else { format!("{}: ", problem.pointer) };
                format!("{at}{}\n", problem.report.line())
            };
            let warnings = warnings.iter().map(|text| format!("warning: {}\n", base::error::escape::one_line(text)));
            let end = if problems.is_empty() { "valid\n" } else { "" };
            problems.iter().map(problem).chain(warnings).chain([end.to_owned()]).collect()
        }
    };
    print(&shown)?;
    Ok(i32::from(!problems.is_empty()))
}

fn document(problems: &[Problem], warnings: &[String]) -> Value {
    let one = |problem: &Problem| {
        let report = &problem.report;
        json!({
            "pointer": problem.pointer, "field": report.field, "code": report.code.name(),
            "message": report.message, "suggestion": report.hint(),
        })
    };
    json!({
        "valid": problems.is_empty(), "problems": problems.iter().map(one).collect::<Vec<_>>(), "warnings": warnings
    })
}

/// Returns all problems that `check` finds in the text and, when they are taken out, its warnings.
fn find_all(text: &[u8], check: impl Fn(&[u8]) -> Result<Vec<String>>) -> (Vec<Problem>, Vec<String>) {
    let Ok(value) = serde_json::from_slice(text) else {
        let report = check(text).err().map(|err| Report::of(&err));
        let problems = report.into_iter().map(|report| Problem { pointer: String::new(), report });
        return (problems.collect(), Vec::new());
    };
    let mut copy = Copy { value, left: BTreeMap::new() };
    let mut problems = Vec::new();
    // first as it is, because a duplicate key is gone in the copy
    let mut result = check(text);
    for _ in 0..MAX_PROBLEMS {
        let report = match &result {
            Ok(_) => break,
            Err(err) => Report::of(err),
        };
        let tokens = report.field.as_deref().map(tokens).unwrap_or_default();
        let before = copy.value.clone();
        let pointer = copy.file_pointer(&tokens);
        copy.take_out(&tokens, report.message.contains("is required"));
        // without the wrong value that was taken out, a required property is missing
        if !problems.iter().any(|known: &Problem| known.pointer == pointer) {
            problems.push(Problem { pointer, report });
        }
        if copy.value == before {
            // nothing to take out: what follows cannot be found
            break;
        }
        result = check(copy.value.to_string().as_bytes());
    }
    (problems, result.unwrap_or_default())
}

/// Splits the name of a field: `linux.seccomp.syscalls[2].names[0]`, `annotations["a.b"]`.
fn tokens(field: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        let (token, next) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        tokens.push(token.trim_matches('"').to_owned());
        rest = next.strip_prefix('.').unwrap_or(next);
    }
    tokens
}

impl Copy {
    /// Returns the JSON pointer of a field of the copy in the file.
    fn file_pointer(&self, tokens: &[String]) -> String {
        tokens.iter().fold(String::new(), |at, token| {
            let index = self.left.get(&at).and_then(|left| left.get(token.parse::<usize>().ok()?));
            let token = index.map_or_else(|| token.replace('~', "~0").replace('/', "~1"), usize::to_string);
            format!("{at}/{token}")
        })
    }

    /// Takes the field out of the copy: an entry of a list with all that is in it. One that is missing gets the
    /// template's value, or takes its parent with it.
    fn take_out(&mut self, tokens: &[String], is_missing: bool) {
        let Some((last, parents)) = tokens.split_last() else { return };
        if is_missing {
            let template = config::default_config(None, false);
            let value = template.pointer(&format!("/{}", tokens.join("/"))).cloned();
            let parent = self.value.pointer_mut(&pointer(parents)).and_then(Value::as_object_mut);
            match (value, parent) {
                (Some(value), Some(parent)) => drop(parent.insert(last.clone(), value)),
                _ => self.take_out(parents, false),
            }
            return;
        }
        // the innermost entry of a list, because a part of it may be required
        let in_list = (1..=tokens.len()).rev().find(|end| {
            tokens.get(end - 1).is_some_and(|token| token.parse::<usize>().is_ok())
                && self.value.pointer(&pointer(tokens.get(..end - 1).unwrap_or_default())).is_some_and(Value::is_array)
        });
        match in_list.and_then(|end| tokens.get(..end)?.split_last()) {
            Some((index, list)) => self.take_entry(list, index.parse().unwrap_or(usize::MAX)),
            None => {
                let parent = self.value.pointer_mut(&pointer(parents)).and_then(Value::as_object_mut);
                if parent.and_then(|parent| parent.remove(last)).is_none() {
                    self.take_out(parents, false);
                }
            }
        }
    }

    fn take_entry(&mut self, list: &[String], index: usize) {
        let at = self.file_pointer(list);
        let Some(entries) = self.value.pointer_mut(&pointer(list)).and_then(Value::as_array_mut) else { return };
        if index < entries.len() {
            let left = self.left.entry(at).or_insert_with(|| (0..entries.len()).collect());
            entries.remove(index);
            left.remove(index);
        }
    }
}

fn pointer(tokens: &[String]) -> String {
    tokens.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_found_with_their_place_in_the_file() {
        let mut config = config::default_config(None, false);
        config["process"]["cwd"] = json!(7);
        config["mounts"] = json!([{"destination": ""}, {"destination": "/a", "type": "tmpfs"}, {"source": "x"}]);
        config["linux"]["rootfsPropagation"] = json!("x");
        config["hostname"] = json!("h".repeat(70));
        let (problems, _) =
            find_all(config.to_string().as_bytes(), |text| config::parse(text).map(|config| config.warnings));
        let mut found: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
        found.sort_unstable();
        let want =
            ["/hostname", "/linux/rootfsPropagation", "/mounts/0/destination", "/mounts/2/destination", "/process/cwd"];
        assert_eq!(found, want);
    }

    #[test]
    fn a_file_that_is_no_json_is_one_problem() {
        let (problems, _) = find_all(b"{", |text| config::parse(text).map(|config| config.warnings));
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].report.code.name(), "config.syntax");
    }
}
