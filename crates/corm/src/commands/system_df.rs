//! `corm system df`: prints disk usage.

use std::collections::HashSet;

use anyhow::Result;
use serde::Serialize;

use super::{Context, print};
use crate::cli::args::Format;
use crate::driver::Tree;
use crate::store::Store;

/// Disk usage of one type of data.
#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    total: usize,
    /// Number used by a container.
    active: usize,
    size: u64,
    /// Bytes that `system prune -a` frees.
    reclaimable: u64,
}

/// Measures and prints the disk usage.
///
/// # Errors
/// A record is damaged.
pub(super) fn run(context: &Context, format: Format) -> Result<u8> {
    let store = context.store()?;
    let _lock = store.shared()?;
    let rows = [blobs(&store)?, layers(&store)?, containers(&store)?];
    match format {
        Format::Json => print::json(&rows)?,
        Format::Table => {
            let cells = |row: &Row| {
                let numbers = [row.total.to_string(), row.active.to_string()];
                [vec![row.kind.to_owned()], numbers.to_vec(), vec![print::size(row.size), print::size(row.reclaimable)]]
                    .concat()
            };
            print::table(&["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"], rows.iter().map(cells))?;
        }
    }
    Ok(0)
}

/// Measures images by their blobs; shared ones count once.
fn blobs(store: &Store) -> Result<Row> {
    let used: HashSet<_> = store.containers()?.into_iter().map(|container| container.image).collect();
    let images = store.images()?;
    let mut kept = HashSet::new();
    for image in images.iter().filter(|image| used.contains(&image.id)) {
        kept.extend([&image.id, &image.manifest]);
        kept.extend(image.layers.iter().map(|layer| &layer.blob));
    }
    let mut row = Row { kind: "images", total: images.len(), active: 0, size: 0, reclaimable: 0 };
    row.active = images.iter().filter(|image| used.contains(&image.id)).count();
    for blob in store.blobs()? {
        let size = store.has_blob(&blob).unwrap_or(0);
        row.size += size;
        row.reclaimable += if kept.contains(&blob) { 0 } else { size };
    }
    Ok(row)
}

fn layers(store: &Store) -> Result<Row> {
    let mut used = HashSet::new();
    for container in store.containers()? {
        used.extend(store.driver().base(&container.id)?);
    }
    let layers = store.driver().layers()?;
    let mut row = Row { kind: "layers", total: layers.len(), active: 0, size: 0, reclaimable: 0 };
    for layer in &layers {
        let size = store.driver().usage(Tree::Layer(layer))?;
        row.size += size;
        if used.contains(layer) {
            row.active += 1;
        } else {
            row.reclaimable += size;
        }
    }
    Ok(row)
}

fn containers(store: &Store) -> Result<Row> {
    let known: HashSet<_> = store.containers()?.into_iter().map(|container| container.id).collect();
    let trees = store.driver().containers()?;
    let mut row = Row { kind: "containers", total: trees.len(), active: 0, size: 0, reclaimable: 0 };
    for id in &trees {
        let size = store.driver().usage(Tree::Container(id))?;
        row.size += size;
        if known.contains(id) {
            row.active += 1;
        } else {
            row.reclaimable += size;
        }
    }
    Ok(row)
}
