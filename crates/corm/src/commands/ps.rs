//! `corm ps`: lists containers and their status.

use anyhow::Result;
use serde_json::json;

use super::{Context, print};
use crate::cli::args::Format;
use crate::config::short_id;
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::status::Last;
use crate::container::status::Status;
use crate::store::ContainerRecord;

/// Lists the running containers, or all.
///
/// # Errors
/// A record cannot be read, or a runtime cannot be executed.
pub(super) fn run(context: &Context, all: bool, quiet: bool, format: Format) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let mut shown: Vec<(ContainerRecord, Status)> = Vec::new();
    for record in store.containers()? {
        let now = status::of(&store, &run, &record)?;
        if all || now.pid().is_some() {
            shown.push((record, now));
        }
    }
    if quiet {
        shown.iter().try_for_each(|(record, _)| print::line(short_id(&record.id)))?;
        return Ok(0);
    }
    match format {
        Format::Json => {
            let mut list = Vec::with_capacity(shown.len());
            for (record, now) in &shown {
                let last = Last::read(&store.container_dir(&record.id))?.unwrap_or_default();
                let (status, started, finished) = (last.status, Some(last.started), last.finished);
                list.push(json!({
                    "id": record.id, "name": record.name, "image": record.image_name, "imageId": record.image,
                    "pid": now.pid().unwrap_or(0), "status": now.name(), "exitStatus": status, "command": record.command,
                    "created": record.created, "started": started.filter(|text| !text.is_empty()), "finished": finished,
                    "bundle": record.bundle,
                }));
            }
            print::json(&list)?;
        }
        Format::Table => {
            let rows = shown.iter().map(|(record, now)| {
                vec![
                    short_id(&record.id).to_owned(),
                    record.name.clone(),
                    record.image_name.clone(),
                    now.pid().map(|pid| pid.to_string()).unwrap_or_default(),
                    now.to_string(),
                    command(&record.command),
                    record.created.get(..19).unwrap_or(&record.created).replace('T', " "),
                ]
            });
            print::table(&["ID", "NAME", "IMAGE", "PID", "STATUS", "COMMAND", "CREATED"], rows)?;
        }
    }
    Ok(0)
}

/// Maximum width of a command in a table.
const MAX_WIDTH: usize = 40;

/// Cuts a command to one line of bounded length, because its words are untrusted.
fn command(words: &[String]) -> String {
    let text: String = words.join(" ").chars().flat_map(char::escape_debug).collect();
    let text = text.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().count() <= MAX_WIDTH { text } else { text.chars().take(MAX_WIDTH - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_short_line() {
        assert_eq!(command(&["sh".into(), "-c".into(), "echo 'a b'".into()]), "sh -c echo 'a b'");
        assert_eq!(command(&["a\nb\x1b[1m".into()]), "a\\nb\\u{1b}[1m");
        assert_eq!(command(&["x".repeat(99)]).chars().count(), MAX_WIDTH);
    }
}
