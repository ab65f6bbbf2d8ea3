//! A schema for JSON documents: a table of expected types, and the check of a value against it.
//!
//! Each error has the full name of its field (`linux.namespaces[2].type`), because the derived parsers of oci-spec do
//! not name it. Unknown properties and `null` are dropped (CF-4). The tables are in `schema`; rules between fields are
//! in `validate`.

use base::coded;
use base::error::Code;
use std::fmt;

use anyhow::{Result, bail};
use base::json::{is_plain, type_name, write_key};
use base::suggest::did_you_mean;
use serde_json::{Map, Number, Value};

/// The expected type of a value.
pub(super) enum JsonType {
    /// `true` or `false`
    Bool,
    /// A string without NUL.
    Text,
    /// A string without NUL. In an optional field the empty string is the same as an absent field.
    Name,
    /// An integer from the first number to the second, both included.
    Int(i128, i128),
    /// One of these strings; the first member is the noun for the error message.
    Choice(&'static str, &'static [&'static str]),
    /// A list whose members all have this type.
    List(&'static JsonType),
    /// An object with any keys, whose values all have this type.
    Map(&'static JsonType),
    /// An object with known keys.
    Object(&'static [Field]),
}

/// A member of [`JsonType::Object`].
pub(super) struct Field {
    pub(super) name: &'static str,
    required: bool,
    expected: JsonType,
}

/// A required member.
pub(super) const fn must(name: &'static str, expected: JsonType) -> Field {
    Field { name, required: true, expected }
}

/// An optional member.
pub(super) const fn may(name: &'static str, expected: JsonType) -> Field {
    Field { name, required: false, expected }
}

impl JsonType {
    /// The expected type in words, for the error message.
    fn description(&self) -> &'static str {
        match self {
            JsonType::Bool => "true or false",
            JsonType::Text | JsonType::Name | JsonType::Choice(..) => "a string",
            JsonType::Int(..) => "an integer",
            JsonType::Map(JsonType::Text) => "an object of strings",
            JsonType::Map(_) | JsonType::Object(_) => "an object",
            JsonType::List(JsonType::Text | JsonType::Name | JsonType::Choice(..)) => "a list of strings",
            JsonType::List(JsonType::Int(..)) => "a list of integers",
            JsonType::List(JsonType::Object(_)) => "a list of objects",
            JsonType::List(_) => "a list",
        }
    }
}

/// The position of a value in the document. Borrows its parents, because the name is formatted only for an error.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// The document, by its name in messages: empty for `config.json`, `process` for the file of `exec --process`.
    Top(&'a str),
    /// A member of an object.
    Key(&'a Path<'a>, &'a str),
    /// A member of a list.
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Top(name) => out.write_str(name),
            Path::Key(Path::Top(""), key) if is_plain(key) => out.write_str(key),
            Path::Key(parent, key) => {
                parent.fmt(out)?;
                write_key(out, key)
            }
            Path::Index(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// Names the word of the list that may be meant, else the whole list if it is short.
fn one_of(text: &str, names: &[&str]) -> String {
    match did_you_mean(text, names.iter().copied()) {
        near if !near.is_empty() => near,
        _ if names.len() <= 10 => format!(" (must be one of {})", names.join(", ")),
        _ => String::from(" (`croci features` lists those that are supported)"),
    }
}

/// Checks `value` against `expected`, and drops properties that the expected type does not list. A property whose name
/// differs in letter case alone is read, with a warning, as Go programs read it: dropped, it could be a protection.
///
/// # Errors
/// The first value of another type or out of range, with the full name of its field.
pub(super) fn check(value: &mut Value, expected: &JsonType, at: &Path<'_>, warnings: &mut Vec<String>) -> Result<()> {
    match (expected, &mut *value) {
        (JsonType::Bool, Value::Bool(_)) => Ok(()),
        (JsonType::Text | JsonType::Name, Value::String(text)) => no_nul(text, at),
        (JsonType::Int(min, max), Value::Number(number)) => in_range(number, *min, *max, at),
        (JsonType::Choice(what, names), Value::String(text)) => {
            if !names.contains(&text.as_str()) {
                bail!(coded!(ConfigUnknown, "{at}: unknown {what} {text:?}{}", one_of(text, names)));
            }
            Ok(())
        }
        (JsonType::List(member), Value::Array(items)) => {
            let mut indexed = items.iter_mut().enumerate();
            indexed.try_for_each(|(index, item)| check(item, member, &Path::Index(at, index), warnings))
        }
        (JsonType::Map(member), Value::Object(entries)) => entries.iter_mut().try_for_each(|(key, item)| {
            let at = Path::Key(at, key);
            no_nul(key, &at)?;
            check(item, member, &at, warnings)
        }),
        (JsonType::Object(fields), Value::Object(entries)) => check_fields(entries, fields, at, warnings),
        (expected, value) => {
            bail!(coded!(ConfigType, "{at}: expected {}, found {}", expected.description(), type_name(value)))
        }
    }
}

fn check_fields(
    entries: &mut Map<String, Value>,
    fields: &[Field],
    at: &Path<'_>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    correct_letter_case(entries, fields, at, warnings);
    entries.retain(|name, value| fields.iter().any(|field| field.name == name && !is_absent(field, value)));
    for field in fields {
        let at = Path::Key(at, field.name);
        match entries.get_mut(field.name) {
            Some(value) => check(value, &field.expected, &at, warnings)?,
            None if field.required && field.name == "ociVersion" => {
                bail!(coded!(ConfigVersion, "{at}: is required"))
            }
            None if field.required => bail!(coded!(ConfigRequired, "{at}: is required")),
            None => {}
        }
    }
    Ok(())
}

/// Gives properties the letter case of the field that they are but for it, unless there is one of the exact name.
fn correct_letter_case(entries: &mut Map<String, Value>, fields: &[Field], at: &Path<'_>, warnings: &mut Vec<String>) {
    let is_field = |name: &str| fields.iter().any(|field| field.name == name);
    let others: Vec<String> = entries.keys().filter(|name| !is_field(name)).cloned().collect();
    for name in others {
        let Some(field) = fields.iter().find(|field| field.name.eq_ignore_ascii_case(&name)) else { continue };
        if entries.contains_key(field.name) {
            continue;
        }
        if let Some(value) = entries.remove(&name) {
            entries.insert(field.name.to_owned(), value);
            warnings.push(format!("{}: is written {name:?}", Path::Key(at, field.name)));
        }
    }
}

/// Reports whether a field counts as absent: `null`, or the empty string of an optional field, as Go programs write it.
fn is_absent(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => {
            text.is_empty() && !field.required && matches!(field.expected, JsonType::Name | JsonType::Choice(..))
        }
        _ => false,
    }
}

/// Refuses NUL, because the kernel reads a string up to the first NUL and would use less than was checked (CF-8).
fn no_nul(text: &str, at: &Path<'_>) -> Result<()> {
    if text.contains('\0') {
        bail!("{at}: contains a NUL byte");
    }
    Ok(())
}

fn in_range(number: &Number, min: i128, max: i128, at: &Path<'_>) -> Result<()> {
    let value = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    match value {
        Some(value) if (min..=max).contains(&value) => Ok(()),
        Some(value) => {
            // an ID of a user or group
            let code = if at.to_string().starts_with("process.user") { Code::ProcessUser } else { Code::ConfigInvalid };
            bail!(code.error(format!("{at}: {value} is out of range ({min} to {max})")))
        }
        // serde_json parses an integer beyond 64 bits as a float, too
        None => bail!(coded!(ConfigType, "{at}: expected an integer from {min} to {max}, found {number}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    const INNER: JsonType = JsonType::Object(&[must("type", JsonType::Choice("colour", &["red", "blue"]))]);
    const OUTER: JsonType = JsonType::Object(&[
        may("list", JsonType::List(&INNER)),
        may("args", JsonType::List(&JsonType::Text)),
        may("map", JsonType::Map(&JsonType::Text)),
        may("id", JsonType::Int(0, 4_294_967_294)),
        may("name", JsonType::Name),
    ]);

    #[test]
    fn cf_5_the_error_names_the_path_of_the_field() {
        for (document, want) in [
            (json!([]), "x: expected an object, found a list"),
            (json!({"list": {}}), "x.list: expected a list of objects, found an object"),
            (json!({"list": [{"type": "red"}, {}]}), "x.list[1].type: is required"),
            (json!({"list": [{"type": "green"}]}), "x.list[0].type: unknown colour \"green\""),
            (json!({"list": [{"type": ""}]}), "x.list[0].type: unknown colour \"\""),
            (json!({"list": [null]}), "x.list[0]: expected an object, found null"),
            (json!({"args": "sh"}), "x.args: expected a list of strings, found a string"),
            (json!({"args": ["a", "b\u{0}c"]}), "x.args[1]: contains a NUL byte"),
            (json!({"map": {"a.b": 1}}), "x.map[\"a.b\"]: expected a string, found a number"),
            (json!({"map": {"a\u{0}b": "1"}}), "contains a NUL byte"),
            (json!({"id": -1}), "x.id: -1 is out of range (0 to 4294967294)"),
            (json!({"id": 4_294_967_295_u64}), "x.id: 4294967295 is out of range"),
            (json!({"id": 1.5}), "x.id: expected an integer from 0 to 4294967294, found 1.5"),
            (json!({"id": true}), "x.id: expected an integer, found a boolean"),
        ] {
            let mut value = document.clone();
            let err = check(&mut value, &OUTER, &Path::Top("x"), &mut Vec::new()).expect_err(want).to_string();
            assert!(err.contains(want), "{document}: {err:?} should hold {want:?}");
        }
    }

    #[test]
    fn cf_4_unknown_and_null_properties_are_dropped() {
        let mut value = json!({"new": {"a": [1]}, "args": null, "name": "", "list": [{"type": "red", "shade": 3}]});
        check(&mut value, &OUTER, &Path::Top(""), &mut Vec::new()).unwrap();
        assert_eq!(value, json!({"list": [{"type": "red"}]}));
    }

    #[test]
    fn a_path_reads_like_the_configuration() {
        let top = Path::Top("");
        let linux = Path::Key(&top, "linux");
        let list = Path::Key(&linux, "sysctl");
        assert_eq!(Path::Key(&list, "net.a").to_string(), "linux.sysctl[\"net.a\"]");
        assert_eq!(Path::Index(&list, 2).to_string(), "linux.sysctl[2]");
    }
}
