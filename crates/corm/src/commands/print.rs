//! Output on standard output: tables, lines and JSON, with control characters escaped.

use base::error::{Code, Coding as _, escape};
use std::io::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use crate::view::listing::{Format, Listing};
use crate::view::template::Template;

/// Prints a table of these headers and rows.
pub fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let keys: Vec<String> = (0..headers.len()).map(|number| format!("C{number}")).collect();
    let own = keys.iter().map(|key| format!("{{{{.{key}}}}}")).collect::<Vec<_>>().join("\t");
    let headings: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(headers.iter().copied()).collect();
    let object = |row: Vec<String>| -> Value {
        keys.iter().cloned().zip(row.into_iter().map(Value::from)).collect::<serde_json::Map<_, _>>().into()
    };
    let rows: Vec<Value> = rows.into_iter().map(object).collect();
    let listing = Listing { format: &Format::Default, own: &own, noheading: false, headings: &headings };
    write(listing.text(&rows, || Value::Null)?.as_bytes())
}

/// Prints documents: a JSON array, or each by a template.
pub fn documents(format: &Format, all: &[Value]) -> Result<()> {
    let (Format::Rows(text) | Format::Table(text)) = format else { return json(&all) };
    let template = Template::parse(text).code(Code::UsageValue, "--format")?;
    for one in all {
        let text = template.render_line(one).code(Code::UsageValue, "--format")?;
        write(escape::output(&text).as_bytes())?;
    }
    Ok(())
}

/// Prints a document about corm: as JSON, or by a template, which has the names of Go's fields; else in the verb's own form.
pub fn document(format: &Format, value: &Value, own: impl FnOnce() -> String) -> Result<()> {
    match format {
        Format::Default => write(escape::output(&own()).as_bytes()),
        Format::Json => json(value),
        Format::Rows(_) | Format::Table(_) => documents(format, &[with_fields(value)]),
    }
}

/// Adds the names of Go's fields to the keys of JSON: `OS` to `os`, `GraphRoot` to `graphRoot`.
fn with_fields(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let mut all = serde_json::Map::new();
    for (key, value) in map {
        let field = match key.as_str() {
            "os" => "OS".to_owned(),
            "cpus" => "CPUs".to_owned(),
            "ociRuntime" => "OCIRuntime".to_owned(),
            "cgroupVersion" => "CgroupsVersion".to_owned(),
            other => other.chars().take(1).flat_map(char::to_uppercase).chain(other.chars().skip(1)).collect(),
        };
        all.insert(field, with_fields(value));
        all.insert(key.clone(), with_fields(value));
    }
    all.into()
}

/// Prints one JSON document, indented.
pub fn json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(escape::output(&text).as_bytes())
}

/// Prints one line.
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    write(format!("{}\n", escape::one_line(&text.to_string())).as_bytes())
}

/// Writes bytes unbuffered; a closed reader is an error.
pub fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).context("standard output")
}
