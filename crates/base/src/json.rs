//! A strict JSON parser to `serde_json::Value`.
//!
//! It refuses a byte order mark, bytes that are not UTF-8, a duplicate key in an object, and data after the document.
//! serde_json's recursion limit bounds the nesting.

use crate::coded;
use std::cell::RefCell;
use std::fmt;

use anyhow::{Result, anyhow, bail};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Maximum number of path components in an error message.
const MAX_TRAIL: usize = 16;

/// Parses a whole document.
///
/// # Errors
/// Names the path (`linux.seccomp`) where there is one, and always the line and column.
pub fn parse(bytes: &[u8]) -> Result<Value> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bail!(coded!(ConfigSyntax, "not valid JSON: starts with a byte order mark"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(err) => bail!(coded!(ConfigSyntax, "not valid JSON: byte {} is not UTF-8", err.valid_up_to())),
    };
    if text.trim_ascii().is_empty() {
        bail!(coded!(ConfigSyntax, "not valid JSON: empty document"));
    }
    let trail = Trail::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value =
        Strict { trail: &trail }.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    value.map_err(|err| trail.explain(&err))
}

/// Parses a document as [`parse`] does, which must be an object.
pub fn parse_object(bytes: &[u8]) -> Result<Value> {
    let value = parse(bytes)?;
    if !value.is_object() {
        bail!(coded!(ConfigType, "expected an object at the top level, found {}", type_name(&value)));
    }
    Ok(value)
}

/// Path of the parser at an error, innermost first. It is filled only while an error propagates, so that a valid
/// document has no cost.
#[derive(Default)]
struct Trail(RefCell<Vec<Step>>);

enum Step {
    Key(String),
    Index(usize),
}

impl Trail {
    fn add(&self, step: Step) {
        self.0.borrow_mut().push(step);
    }

    fn explain(&self, err: &serde_json::Error) -> anyhow::Error {
        let steps = self.0.borrow();
        if steps.is_empty() || steps.len() > MAX_TRAIL {
            return anyhow!(coded!(ConfigSyntax, "not valid JSON: {err}"));
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Key(key) => drop(write_key(&mut path, key)),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        anyhow!(coded!(ConfigSyntax, "{}: not valid JSON: {err}", path.trim_start_matches('.')))
    }
}

struct Strict<'a> {
    trail: &'a Trail,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            match seq.next_element_seed(Strict { trail: self.trail }) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::Array(items)),
                Err(err) => {
                    self.trail.add(Step::Index(items.len()));
                    return Err(err);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let vacant = match object.entry(key) {
                Entry::Vacant(vacant) => vacant,
                Entry::Occupied(first) => {
                    self.trail.add(Step::Key(first.key().clone()));
                    return Err(A::Error::custom("duplicate key"));
                }
            };
            match map.next_value_seed(Strict { trail: self.trail }) {
                Ok(value) => drop(vacant.insert(value)),
                Err(err) => {
                    self.trail.add(Step::Key(vacant.key().clone()));
                    return Err(err);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// Returns the JSON type of a value, with an article.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Returns whether a key needs no quotes in a path.
pub fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Writes a key after its parent: `.name`, or `["odd.name"]` where a dot would be ambiguous.
pub fn write_key(out: &mut impl fmt::Write, key: &str) -> fmt::Result {
    if is_plain(key) { write!(out, ".{key}") } else { write!(out, "[{key:?}]") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn cf_2_malformed_documents_are_refused_with_a_reason() {
        let deep_lists = "[".repeat(200_000);
        let deep_objects = "{\"a\":".repeat(100_000);
        let table: &[(&[u8], &str)] = &[
            (b"", "empty document"),
            (b"  \n", "empty document"),
            (b"{", "EOF"),
            (b"[]", "expected an object at the top level, found a list"),
            (b"null", "expected an object at the top level, found null"),
            (b"\"x\"", "expected an object at the top level, found a string"),
            (b"{} {}", "trailing characters at line 1 column 4"),
            (b"{}x", "trailing characters"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b"{\"a\":\"\xff\"}", "byte 6 is not UTF-8"),
            (b"{\"a\":1,\"a\":2}", "a: not valid JSON: duplicate key at line 1 column"),
            (b"{\"a\":{\"b\":[{\"c\":1,\"c\":1}]}}", "a.b[0].c: not valid JSON: duplicate key"),
            (b"{\"a\":{\"x.y\":1,\"x.y\":1}}", "a[\"x.y\"]: not valid JSON: duplicate key"),
            (b"{\"a\":1e999}", "a: not valid JSON: number out of range"),
            (b"{\"a\":[1,}", "a[1]: not valid JSON: expected value at line 1"),
            (b"{'a':1}", "key must be a string"),
            (b"{\"a\":1,}", "trailing comma"),
            (b"// x\n{}", "expected value"),
            (deep_lists.as_bytes(), "recursion limit exceeded"),
            (deep_objects.as_bytes(), "recursion limit exceeded"),
        ];
        for (document, want) in table {
            let err = parse_object(document).expect_err(want).to_string();
            assert!(err.contains(want), "{err:?} should hold {want:?}");
        }
    }

    #[test]
    fn cf_2_values_arrive_unchanged() {
        let text =
            r#"{"n":null,"t":true,"i":-3,"u":18446744073709551615,"f":1.5,"s":"a\u0000é","l":[1,[2]],"o":{"x":{}}}"#;
        assert_eq!(parse_object(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }
}
