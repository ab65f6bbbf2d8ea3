//! Go's templates (`--format '{{.ID}}'`): the library gotmpl, the functions of Podman and Docker, and errors with their
//! position.

use anyhow::{Error, Result, anyhow};
use base::coded;
use gotmpl::TemplateError;
use serde_json::Value;

use super::{check, functions};

/// Name of a template in the library.
const NAME: &str = "format";

/// A parsed template.
pub struct Template {
    source: String,
    data: gotmpl::Template,
    headings: gotmpl::Template,
}

impl Template {
    /// Parses a template. `\t` and `\n` outside of `{{}}` are a tab and a line end, as in Docker and Podman.
    ///
    /// # Errors
    /// Names line and column.
    pub fn parse(text: &str) -> Result<Self> {
        let source = unescaped(text);
        check_ends(&source)?;
        let parse = |functions| gotmpl::Template::new(NAME).funcs(functions).parse(&source).map_err(|err| error(&err));
        let (data, headings) = (parse(functions::of_data())?, parse(functions::of_headings())?);
        Ok(Self { source, data, headings })
    }

    /// Applies the template to a value and adds a line end, unless the template has one: as Podman does, whatever the last
    /// action prints.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_line(&self, value: &Value) -> Result<String> {
        let end = if self.source.ends_with('\n') { "" } else { "\n" };
        Ok(self.render(value)? + end)
    }

    /// Applies the template to a value.
    ///
    /// # Errors
    /// A field that does not exist, with line and column; a function that fails.
    pub fn render(&self, value: &Value) -> Result<String> {
        if let Some(body) = self.data.lookup(NAME) {
            check::fields(body, Some(value), value).map_err(|missing| {
                let (line, column) = place(&self.source, missing.pos.offset);
                anyhow!(coded!(UsageValue, "line {line}, column {column}: there is no field {:?}", missing.name))
            })?;
        }
        run(&self.data, value)
    }

    /// Returns the names of the fields that the template has.
    pub fn names(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(body) = self.data.lookup(NAME) {
            check::names(body, &mut all);
        }
        all
    }

    /// Applies the template to headings, on which the functions of values have no effect.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_headings(&self, headings: &Value) -> Result<String> {
        run(&self.headings, headings)
    }
}

/// Returns line and column of a position, from 1.
fn place(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

fn run(template: &gotmpl::Template, value: &Value) -> Result<String> {
    let value = gotmpl::to_value(value).map_err(|err| error(&err))?;
    template.execute_to_string(&value).map_err(|err| error(&err))
}

fn error(err: &TemplateError) -> Error {
    match err {
        TemplateError::Parse { line, col, message, .. } | TemplateError::Lex { line, col, message, .. } => {
            anyhow!(coded!(UsageValue, "line {line}, column {col}: {message}"))
        }
        other => anyhow!(coded!(UsageValue, "{other}")),
    }
}

/// Checks that every block has its `{{end}}`, which the library does not.
fn check_ends(source: &str) -> Result<()> {
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(start) = source.get(at..).and_then(|rest| rest.find("{{")).map(|start| at + start) {
        let action = source.get(start + 2..).unwrap_or_default();
        let end = action.find("}}").unwrap_or(action.len());
        let words = action.get(..end).unwrap_or_default().trim_start_matches('-').trim_start();
        match words.split(|c: char| !c.is_ascii_alphabetic()).next() {
            Some(word @ ("if" | "range" | "with" | "block" | "define")) => open.push((start, word)),
            Some("end") if open.pop().is_none() => {
                let (line, column) = place(source, start);
                return Err(anyhow!(coded!(UsageValue, "line {line}, column {column}: end without a block")));
            }
            _ => {}
        }
        at = start + 2 + end;
    }
    match open.pop() {
        None => Ok(()),
        Some((start, word)) => {
            let (line, column) = place(source, start);
            Err(anyhow!(coded!(UsageValue, "line {line}, column {column}: {word} without end")))
        }
    }
}

/// Replaces `\t` and `\n` outside of actions.
fn unescaped(text: &str) -> String {
    outside(text, |part| part.replace("\\t", "\t").replace("\\n", "\n"))
}

/// Applies `change` to the text outside of `{{}}`.
pub(super) fn outside(text: &str, change: impl Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("{{") {
        let (before, action) = rest.split_at(start);
        let end = action.find("}}").map_or(action.len(), |end| end + 2);
        let (action, after) = action.split_at(end);
        out.push_str(&change(before));
        out.push_str(action);
        rest = after;
    }
    out + &change(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn data() -> Value {
        json!({
            "Id": "abc", "Name": "Web", "N": 3, "Big": 5_000_000_000_u64, "On": true, "Off": false, "Empty": "", "None": null,
            "Cmd": ["sh", "-c", "a b"], "Nothing": [],
            "Config": {"Labels": {"k": "v", "x.y": "z"}, "Env": ["A=1", "B=2"]},
            "Mounts": [{"Source": "/a", "RW": true}, {"Source": "/b", "RW": false}],
        })
    }

    /// What `text/template` of Go prints for the same template and data (maps, slices, strings, integers).
    #[test]
    fn templates_are_those_of_go() {
        let table = [
            ("{{.Id}}", "abc"),
            ("a{{.Id}}b{{ .Name }}c", "aabcbWebc"),
            ("{{.N}} {{.On}} {{.Big}}", "3 true 5000000000"),
            ("{{.Cmd}}", "[sh -c a b]"),
            ("{{.Config.Labels}}", "map[k:v x.y:z]"),
            ("{{.Config.Labels.k}} {{.Config.Labels.none}}", "v <no value>"),
            (r#"{{index .Config.Labels "x.y"}}"#, "z"),
            ("{{index .Cmd 2}} {{index .Mounts 1}}", "a b map[RW:false Source:/b]"),
            ("{{len .Cmd}} {{len .Name}} {{len .Config.Labels}}", "3 3 2"),
            ("{{json .Cmd}} {{json .Name}} {{json .None}}", r#"["sh","-c","a b"] "Web" null"#),
            ("{{json .Config}}", r#"{"Env":["A=1","B=2"],"Labels":{"k":"v","x.y":"z"}}"#),
            (r#"{{join .Cmd "|"}}"#, "sh|-c|a b"),
            (r#"{{range .Cmd}}<{{.}}>{{end}}"#, "<sh><-c><a b>"),
            ("{{range $i, $e := .Cmd}}{{$i}}={{$e}};{{end}}", "0=sh;1=-c;2=a b;"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}", "k:v x.y:z "),
            ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
            ("{{range .Mounts}}{{.Source}}{{if .RW}}:rw{{else}}:ro{{end}} {{end}}", "/a:rw /b:ro "),
            ("{{if .Off}}a{{else if .Empty}}b{{else}}c{{end}}", "c"),
            ("{{if and .On (not .Off)}}yes{{end}}{{if or .Empty .Name}}!{{end}}", "yes!"),
            (r#"{{if eq .Name "Web" "Db"}}one{{end}}{{if ne .N 3}}x{{end}}{{if gt .N 2}}big{{end}}"#, "onebig"),
            ("{{with .Config}}{{.Env}} {{$.Id}}{{end}}", "[A=1 B=2] abc"),
            ("{{.Name | lower}} {{.Name | upper}} {{upper .Id}}", "web WEB ABC"),
            (r#"{{title "a b-c"}}|{{pad .Id 1 2}}|{{truncate .Name 2}}"#, "A B-C| abc  |We"),
            (r#"{{range split "a,b" ","}}{{.}}.{{end}}"#, "a.b."),
            (r#"{{printf "%-5s|%03d|%v" .Id .N .On}}"#, "abc  |003|true"),
            ("{{println .Id .N}}", "abc 3\n"),
            ("{{- .Id -}}  x", "abcx"),
            ("{{/* nothing */}}{{$x := .N}}{{$x}}", "3"),
            ("a\\tb\\n", "a\tb\n"),
            (r#"{{"a\tb"}}"#, "a\tb"),
            (r#"{{(index .Mounts 0).Source}}"#, "/a"),
            (r#"{{slice .Name 1}} {{slice .Cmd 0 1}}"#, "eb [sh]"),
            ("{{.None}}", "<no value>"),
        ];
        for (template, want) in table {
            let got = Template::parse(template).and_then(|parsed| parsed.render(&data()));
            assert_eq!(got.unwrap_or_else(|err| panic!("{template}: {err}")), want, "{template}");
        }
    }

    #[test]
    fn an_error_names_its_place() {
        let table = [
            ("{{.Nope}}", "line 1, column 3: there is no field \"Nope\""),
            ("a\n  {{ .Config.Labls.x }}", "line 2, column 6: there is no field \"Labls\""),
            ("{{with .Config}}{{.Id}}{{end}}", "column 19: there is no field \"Id\""),
            ("{{range .Mounts}}{{.Sauce}}{{end}}", "there is no field \"Sauce\""),
            ("{{if .On}}{{json .Foo}}{{end}}", "there is no field \"Foo\""),
            ("{{len (index .Mounts 0).Source | printf .Bar}}", "there is no field \"Bar\""),
            ("{{.Id", "line 1, column "),
            ("{{if .On}}x", "line 1, column "),
            ("x\n{{nope .Id}}", "undefined function: nope"),
            ("{{end}}", "line 1, column "),
            ("{{join .Name}}", "join"),
            ("{{index .Cmd 9}}", "out of range"),
        ];
        for (template, want) in table {
            let got = Template::parse(template).and_then(|parsed| parsed.render(&data()));
            let got = format!("{:#}", got.err().unwrap_or_else(|| panic!("{template}: no error")));
            assert!(got.contains(want), "{template}: {got:?} should hold {want:?}");
        }
    }
}
