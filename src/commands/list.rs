//! `list`: lists all containers of the state root.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::json;

use super::{Context, LoadedContainer, load, print, state};
use crate::cli::args;
use crate::cli::args::Format;
use crate::state::store::is_damage;
use base::error::escape::one_line;
use base::host;

/// Prints IDs, a table or JSON. A damaged container is listed as damaged, and does not hide the others.
pub(super) fn list(context: &Context<'_>, args: &args::List) -> Result<i32> {
    // as runc: without --root there may have been no container yet
    if let Some(root) = context.global.root.as_ref().filter(|root| !root.exists()) {
        bail!("--root {root:?}: no such file or directory");
    }
    let ids = context.store.ids()?;
    if args.quiet {
        print(&ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect::<String>())?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    let mut unreadable = None;
    let mut owners = BTreeMap::new();
    for id in &ids {
        // a container that has just been deleted is not listed
        let loaded = match context.store.try_open(id) {
            Ok(None) => continue,
            Ok(Some(entry)) => load(entry),
            Err(err) => Err(err),
        };
        match loaded {
            Ok(LoadedContainer { record, status, init, .. }) => {
                let pid = init.map_or(0, |init| init.pid);
                if args.format == Format::Json {
                    documents.push(serde_json::to_string(&state::document(&record, status, pid))?);
                } else {
                    let bundle = record.bundle.display().to_string();
                    rows.push([
                        id.to_string(),
                        pid.to_string(),
                        status.to_string(),
                        bundle,
                        record.created.clone(),
                        owners.entry(record.owner).or_insert_with_key(|uid| host::user_name(*uid)).clone(),
                    ]);
                }
            }
            Err(err) => {
                let error = base::error::describe(&err);
                let damaged = json!({"id": id.as_str(), "pid": 0, "status": "stopped", "error": error});
                documents.push(damaged.to_string());
                if !is_damage(&err) {
                    unreadable = Some(err);
                }
                rows.push([id.to_string(), "0".into(), "damaged".into(), String::new(), String::new(), String::new()]);
            }
        }
    }
    if args.format == Format::Json {
        print(&format!("[{}]\n", documents.join(",")))?;
    } else {
        print(&table(rows))?;
    }
    // of no container that is damaged: the list is not complete
    unreadable.map_or(Ok(0), Err)
}

fn table(rows: Vec<[String; 6]>) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = rows.into_iter().map(|row| row.map(|cell| one_line(&cell).into_owned()));
    let all: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    let mut widths = [8; 6];
    for row in &all {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:0$}", width + 3));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    all.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let row = ["a-long-identifier", "7", "running", "/b", "2026", "root"].map(str::to_owned);
        let text = table(vec![row]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].find("PID"), lines[1].find('7'));
        assert_eq!(lines[0].find("BUNDLE"), lines[1].find("/b"));
    }
}
