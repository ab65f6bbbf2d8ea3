//! `corm ps`: lists containers and their status.

use anyhow::Result;
use serde_json::Value;

use super::{Context, print};
use crate::cli::args::views::{ContainerOrder, Ps};
use crate::config::short_id;
use crate::container::run_dir::RunDir;
use crate::view::containers::{self, Conditions, Row};
use crate::view::listing::{Format, Listing};

/// Headings that are not the field's name.
const HEADINGS: [(&str, &str); 7] = [
    ("ID", "CONTAINER ID"),
    ("Id", "CONTAINER ID"),
    ("CreatedHuman", "CREATED"),
    ("RunningFor", "RUNNING FOR"),
    ("PodName", "PODNAME"),
    ("Pod", "POD ID"),
    ("Pid", "PID"),
];

/// Lists the running containers, or all.
///
/// # Errors
/// A record cannot be read, a runtime cannot be executed, a filter or the format is wrong.
pub(super) fn run(context: &Context, args: &Ps) -> Result<u8> {
    let store = context.store()?;
    let filters = &args.list.filters;
    let conditions = Conditions::new(&store, filters)?;
    let mut rows = Vec::new();
    for row in containers::all(&store, &RunDir::of(store.root())?)? {
        // a filter by status finds containers in every one, as in Docker and Podman
        let all = args.all || args.last.is_some() || filters.has("status");
        if (all || row.status.pid().is_some()) && conditions.admit(&row)? {
            rows.push(row);
        }
    }
    if let Some(last) = args.last {
        rows.drain(..rows.len().saturating_sub(last));
    }
    if args.size || args.order == ContainerOrder::Size {
        for row in &mut rows {
            row.size = Some(containers::size(&store, &row.record)?);
        }
    }
    sort(&mut rows, args.order);
    if args.list.quiet && args.list.format == Format::Default {
        let id =
            |row: &Row| if args.list.no_trunc { row.record.id.clone() } else { short_id(&row.record.id).to_owned() };
        rows.iter().try_for_each(|row| print::line(id(row)))?;
        return Ok(0);
    }
    let mut own =
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.CreatedHuman}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}".to_owned();
    if args.size {
        own.push_str("\t{{.Size}}");
    }
    let listing = Listing { format: &args.list.format, own: &own, noheading: args.list.noheading, headings: &HEADINGS };
    let fields: Vec<Value> = rows.iter().map(|row| row.fields(args.list.no_trunc)).collect();
    let text = listing.text(&fields, || rows.iter().map(Row::document).collect())?;
    print::write(text.as_bytes())?;
    Ok(0)
}

fn sort(rows: &mut [Row], order: ContainerOrder) {
    match order {
        ContainerOrder::Created => {}
        ContainerOrder::Command => rows.sort_by(|a, b| a.record.command.cmp(&b.record.command)),
        ContainerOrder::Id => rows.sort_by(|a, b| a.record.id.cmp(&b.record.id)),
        ContainerOrder::Image => rows.sort_by(|a, b| a.record.image_name.cmp(&b.record.image_name)),
        ContainerOrder::Names => rows.sort_by(|a, b| a.record.name.cmp(&b.record.name)),
        ContainerOrder::Size => rows.sort_by_key(|row| row.size.map(|size| size.written)),
        ContainerOrder::Status => rows.sort_by_key(|row| row.status.name()),
    }
}
