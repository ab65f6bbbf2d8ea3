//! Lines to statements: parser directives, comments, continued lines, here-documents.

use anyhow::{Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};

use super::words::Lexer;

/// What the parser directives at the start of the file set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directives {
    /// `# escape=`
    pub escape: char,
}

/// A here-document of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Number of the file descriptor before `<<`, usually empty.
    pub descriptor: String,
    /// Whether variables in it are expanded: its name is not quoted.
    pub expand: bool,
    /// Whether leading tabs are removed (`<<-`).
    pub chomp: bool,
    /// The lines, as they are in the file.
    pub content: String,
}

impl Heredoc {
    /// Returns the content as the instruction sees it: without leading tabs, if `<<-` asks for that.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// A statement: one instruction with its continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Number of its first line, from 1.
    pub line: usize,
    /// The joined text without here-documents.
    pub text: String,
    /// Name of the instruction in upper case.
    pub name: String,
    /// What follows the name, without blanks around it.
    pub rest: String,
    /// Here-documents, in the order of their lines.
    pub heredocs: Vec<Heredoc>,
}

impl Statement {
    /// Returns the statement as it can be parsed again, here-documents included.
    pub fn source(&self) -> String {
        let mut text = self.rest.clone();
        for doc in &self.heredocs {
            text.push('\n');
            text.push_str(&doc.content);
            text.push_str(&doc.name);
        }
        text
    }
}

/// Splits the text of a file into statements.
///
/// # Errors
/// Names the line.
pub(super) fn statements(file: &str, text: &str) -> Result<(Directives, Vec<Statement>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (directives, mut at) = directives(file, &lines)?;
    let mut found = Vec::new();
    while let Some(line) = lines.get(at) {
        let first = at;
        at += 1;
        let line = bare(line).trim_start();
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let joined = join(line, &lines, &mut at, directives.escape);
        let context = || format!("{file}:{}: {:?}", first + 1, shown(&joined));
        ensure!(!joined.contains('\0'), coded!(BuildInvalid, "{}: has a NUL", context()));
        let mut statement = split(first + 1, &joined);
        if takes_heredocs(&statement) {
            statement.heredocs = heredocs(&statement.rest, directives.escape).with_code(Code::BuildInvalid, context)?;
            for doc in &mut statement.heredocs {
                doc.content = content(doc, &lines, &mut at).with_code(Code::BuildInvalid, context)?;
            }
        }
        found.push(statement);
    }
    Ok((directives, found))
}

/// Returns the start of a line for a message.
fn shown(line: &str) -> String {
    line.chars().take(120).collect()
}

/// Returns a line without its end.
fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Reads the directives; returns them and the index of the first line after them.
fn directives(file: &str, lines: &[&str]) -> Result<(Directives, usize)> {
    let mut found = Directives { escape: '\\' };
    let mut seen: Vec<String> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((name, value)) = directive(bare(line)) else { return Ok((found, at)) };
        let name = name.to_ascii_lowercase();
        if !["syntax", "escape", "check"].contains(&name.as_str()) {
            return Ok((found, at));
        }
        ensure!(!seen.contains(&name), coded!(BuildInvalid, "{file}:{}: the directive {name} is given twice", at + 1));
        if name == "escape" {
            found.escape = match value {
                "\\" => '\\',
                "`" => '`',
                _ => bail!(coded!(
                    BuildInvalid,
                    "{file}:{}: escape={value:?}: is neither a backslash nor a backtick",
                    at + 1
                )),
            };
        }
        seen.push(name);
    }
    Ok((found, lines.len()))
}

/// Parses `# NAME=VALUE`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric());
    (word && !value.is_empty()).then_some((name, value))
}

/// Returns a line that continues in the next one, without the escape character at its end.
fn continued(line: &str, escape: char) -> Option<&str> {
    let start = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    // an escaped escape character is a character
    (!start.ends_with(escape)).then_some(start)
}

/// Joins a line with those that continue it; comments and empty lines between them are left out.
fn join(first: &str, lines: &[&str], at: &mut usize, escape: char) -> String {
    let mut joined = String::new();
    let mut line = first;
    while let Some(start) = continued(line, escape) {
        joined.push_str(start);
        line = loop {
            let Some(next) = lines.get(*at) else { return joined };
            *at += 1;
            let next = bare(next);
            if !next.trim().is_empty() && !next.trim_start().starts_with('#') {
                break next;
            }
        };
    }
    joined.push_str(line);
    joined
}

/// Splits the name of the instruction off.
fn split(line: usize, joined: &str) -> Statement {
    let text = joined.trim();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    Statement {
        line,
        text: text.to_owned(),
        name: name.to_ascii_uppercase(),
        rest: rest.trim().to_owned(),
        heredocs: Vec::new(),
    }
}

/// Returns whether here-documents may follow the statement.
fn takes_heredocs(statement: &Statement) -> bool {
    let takes = |name: &str| ["RUN", "COPY", "ADD"].contains(&name);
    match statement.name.as_str() {
        "ONBUILD" => {
            let inner = statement.rest.split_whitespace().next().unwrap_or_default();
            takes(&inner.to_ascii_uppercase())
        }
        name => takes(name),
    }
}

/// Finds the here-documents that a statement begins.
fn heredocs(rest: &str, escape: char) -> Result<Vec<Heredoc>> {
    // a JSON list has none
    if !rest.contains("<<") || rest.starts_with('[') {
        return Ok(Vec::new());
    }
    // a quote that does not end is the shell's to report
    let Ok(words) = Lexer::raw(escape).words(rest) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for word in words {
        found.extend(heredoc(&word, escape)?);
    }
    Ok(found)
}

/// Parses a word such as `<<EOF`, `<<-"EOF"` or `3<<EOF`; `None` for another word.
pub(super) fn heredoc(word: &str, escape: char) -> Result<Option<Heredoc>> {
    let after = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let descriptor = word.get(..word.len() - after.len()).unwrap_or_default().to_owned();
    let Some(rest) = after.strip_prefix("<<") else { return Ok(None) };
    let (chomp, quoted) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if quoted.is_empty() || quoted.contains('<') {
        return Ok(None);
    }
    let Ok(mut names) = Lexer::literal(escape).words(quoted) else { return Ok(None) };
    let (Some(name), true) = (names.pop(), names.is_empty()) else { return Ok(None) };
    ensure!(!name.is_empty() && !name.contains('\n'), coded!(BuildInvalid, "{word:?}: a here-document without a name"));
    let expand = !quoted.contains(['"', '\'']);
    Ok(Some(Heredoc { name, descriptor, expand, chomp, content: String::new() }))
}

/// Reads the lines of a here-document to its end.
fn content(doc: &Heredoc, lines: &[&str], at: &mut usize) -> Result<String> {
    let mut content = String::new();
    while let Some(line) = lines.get(*at) {
        *at += 1;
        let mut end = bare(line);
        if doc.chomp {
            end = end.trim_start_matches('\t');
        }
        if end == doc.name {
            ensure!(!content.contains('\0'), coded!(BuildInvalid, "the here-document {:?} has a NUL", doc.name));
            return Ok(content);
        }
        content.push_str(line);
    }
    bail!(coded!(BuildInvalid, "the here-document {:?} has no end", doc.name))
}
