//! Output on standard output: tables, lines and JSON, with control characters escaped.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use tabwriter::TabWriter;

use base::error::escape;

/// Prints a table: columns two spaces apart below headers, without lines, as `ps` and `docker` do.
pub fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<()> {
    let mut writer = TabWriter::new(Vec::new()).padding(2);
    writeln!(writer, "{}", headers.join("\t"))?;
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escape::one_line(cell).replace('\t', "\\t")).collect();
        writeln!(writer, "{}", cells.join("\t"))?;
    }
    writer.flush()?;
    let table = String::from_utf8(writer.into_inner().map_err(|err| anyhow!("table: {err}"))?)?;
    let text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    write(text.as_bytes())
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
