//! The output of lists: a table with headings, a template for each row, or JSON.

use base::coded;
use base::error::{Code, Coding as _, escape};
use std::io::Write as _;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value};
use tabwriter::TabWriter;

use super::template::{self, Template};

/// Spaces between columns.
const PADDING: usize = 2;

/// Minimum width of a column without its padding.
const MIN_WIDTH: usize = 10;

/// How a list is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Format {
    /// The verb's own table.
    #[default]
    Default,
    /// JSON.
    Json,
    /// A template for each row.
    Rows(String),
    /// A template for each row, in aligned columns below headings.
    Table(String),
}

impl Format {
    /// Parses `--format`: `json`, `table`, `table TEMPLATE` or a template.
    pub fn parse(text: &str) -> Self {
        let compact: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match compact.as_str() {
            "json" | "{{json .}}" | "{{ json . }}" => Format::Json,
            "" | "table" => Format::Default,
            _ => match text.strip_prefix("table ") {
                // words of a table are columns
                Some(rest) => Format::Table(template::outside(rest.trim_start(), |part| part.replace(' ', "\t"))),
                None => Format::Rows(text.to_owned()),
            },
        }
    }
}

/// A list to print.
pub struct Listing<'a> {
    /// Format that the caller wants.
    pub format: &'a Format,
    /// Template of a row in the verb's own table; columns are separated by tabs.
    pub own: &'a str,
    /// Whether headings are left out.
    pub noheading: bool,
    /// Headings that are not the field's name in capitals.
    pub headings: &'a [(&'a str, &'a str)],
}

impl Listing<'_> {
    /// Formats the rows, objects with the fields of templates; `document` is the JSON form. Control characters are
    /// escaped.
    ///
    /// # Errors
    /// Those of the template.
    pub fn text(&self, rows: &[Value], document: impl FnOnce() -> Value) -> Result<String> {
        let of_user = |text: &str| -> Result<Template> { Template::parse(text).code(Code::UsageValue, "--format") };
        match self.format {
            Format::Json => {
                let text = serde_json::to_string_pretty(&document())? + "\n";
                Ok(escape::output(&text).into_owned())
            }
            Format::Default => {
                let safe: Vec<Value> = rows.iter().map(one_line).collect();
                self.table(&Template::parse(self.own)?, &safe)
            }
            Format::Table(text) => {
                let safe: Vec<Value> = rows.iter().map(one_line).collect();
                self.table(&of_user(text)?, &safe).code(Code::UsageValue, "--format")
            }
            Format::Rows(text) if text.trim_start().starts_with("{{range") => {
                let all = of_user(text)?.render_line(&Value::from(rows.to_vec())).code(Code::UsageValue, "--format")?;
                Ok(escape::output(&all).into_owned())
            }
            Format::Rows(text) => {
                let template = of_user(text)?;
                let mut all = String::new();
                for row in rows {
                    all.push_str(&template.render_line(row).code(Code::UsageValue, "--format")?);
                }
                Ok(escape::output(&all).into_owned())
            }
        }
    }

    fn table(&self, template: &Template, rows: &[Value]) -> Result<String> {
        let mut writer = TabWriter::new(Vec::new()).minwidth(MIN_WIDTH).padding(PADDING);
        if !self.noheading {
            let headings = template.render_headings(&self.heading_row(&template.names()))?;
            writer.write_all(with_line_end(headings).as_bytes())?;
        }
        for row in rows {
            writer.write_all(with_line_end(template.render(row)?).as_bytes())?;
        }
        writer.flush()?;
        let text = String::from_utf8(writer.into_inner().map_err(|err| anyhow!(coded!(UsageValue, "table: {err}")))?)?;
        // trailing spaces of an empty last column
        let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        Ok(escape::output(&text).into_owned())
    }

    /// Returns a heading for each field: in capitals, words apart.
    fn heading_row(&self, names: &[String]) -> Value {
        let mut row = Map::new();
        for name in names {
            row.insert(name.clone(), Value::from(spaced(name)));
        }
        for (name, heading) in self.headings {
            row.insert((*name).to_owned(), Value::from(*heading));
        }
        Value::Object(row)
    }
}

/// Converts `CreatedAt` to `CREATED AT`.
fn spaced(name: &str) -> String {
    let mut out = String::new();
    let mut before_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_lower {
            out.push(' ');
        }
        before_lower = c.is_lowercase();
        out.extend(c.to_uppercase());
    }
    out
}

fn with_line_end(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Escapes the texts of a row, so that none looks like two cells or two rows.
fn one_line(row: &Value) -> Value {
    match row {
        Value::String(text) => Value::from(escape::one_line(text).into_owned()),
        Value::Array(items) => items.iter().map(one_line).collect(),
        Value::Object(fields) => {
            let safe = |(name, value): (&String, &Value)| (escape::one_line(name).into_owned(), one_line(value));
            Value::Object(fields.iter().map(safe).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn printed(format: &str, noheading: bool) -> Result<String> {
        let rows = [
            json!({"ID": "a8793b6bf987", "Repository": "localhost/base", "CreatedAt": "now", "Labels": {"k": "v"}}),
            json!({"ID": "b", "Repository": "two\n\x1b[31m", "CreatedAt": "", "Labels": {}}),
        ];
        let format = Format::parse(format);
        let own = "{{.Repository}}\t{{.ID}}\t{{.CreatedAt}}";
        let listing = Listing { format: &format, own, noheading, headings: &[("ID", "IMAGE ID")] };
        listing.text(&rows, || json!(["\x1b"]))
    }

    #[test]
    fn lists_have_the_forms_of_podman() {
        let own = "REPOSITORY      IMAGE ID      CREATED AT\nlocalhost/base  a8793b6bf987  now\ntwo\\n\\x1b[31m   b\n";
        assert_eq!(printed("", false).unwrap(), own);
        assert_eq!(printed("table", false).unwrap(), own);
        assert!(!printed("", true).unwrap().contains("IMAGE ID"));
        let chosen = "IMAGE ID      CREATED AT\na8793b6bf987  now\nb\n";
        for format in
            ["table {{.ID}} {{.CreatedAt}}", "table {{ .ID }}\\t{{.CreatedAt}}", "table {{.ID}}\t{{.CreatedAt}}"]
        {
            assert_eq!(printed(format, false).unwrap(), chosen, "{format}");
        }
        assert_eq!(printed("{{.ID}}", false).unwrap(), "a8793b6bf987\nb\n");
        assert_eq!(printed("{{.ID}} {{json .Labels}}\\n", false).unwrap(), "a8793b6bf987 {\"k\":\"v\"}\nb {}\n");
        assert_eq!(printed("{{range .}}{{.ID}};{{end}}", false).unwrap(), "a8793b6bf987;b;\n");
        assert_eq!(printed("{{.Repository}}", false).unwrap(), "localhost/base\ntwo\n\\u001b[31m\n");
        for format in ["json", "{{json .}}", "{{ json . }}"] {
            assert_eq!(printed(format, false).unwrap(), "[\n  \"\\u001b\"\n]\n", "{format}");
        }
        assert_eq!(
            format!("{:#}", printed("{{.Id}}", false).unwrap_err()),
            "--format: line 1, column 3: there is no field \"Id\""
        );
    }

    #[test]
    fn a_list_without_rows_has_headings() {
        let format = Format::parse("table {{.ID}}\t{{.CreatedAt}}");
        let listing = Listing { format: &format, own: "", noheading: false, headings: &[("ID", "IMAGE ID")] };
        assert_eq!(listing.text(&[], || json!([])).unwrap(), "IMAGE ID    CREATED AT\n");
    }
}
