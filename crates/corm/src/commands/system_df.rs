//! `corm system df`: prints disk usage.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, print};
use crate::cli::args::views::SystemDf;
use crate::config::short_id;
use crate::container::run_dir::RunDir;
use crate::driver::Tree;
use crate::model::digest::Digest;
use crate::store::Store;
use crate::view::filter::Filters;
use crate::view::listing::{Format, Listing};
use crate::view::{containers as rows, images, units};

/// Significant digits of sizes.
const DIGITS: usize = 4;

/// Disk usage of one type of data.
#[derive(Debug)]
struct Row {
    kind: &'static str,
    total: usize,
    /// Number used by a container.
    active: usize,
    size: u64,
    /// Bytes that `system prune -a` frees.
    reclaimable: u64,
}

impl Row {
    fn reclaimable_text(&self) -> String {
        let percent = self.reclaimable.saturating_mul(100).checked_div(self.size).unwrap_or(0);
        format!("{} ({percent}%)", units::size(self.reclaimable, DIGITS))
    }

    fn fields(&self) -> Value {
        json!({
            "Type": self.kind, "Total": self.total, "Active": self.active, "Size": units::size(self.size, DIGITS),
            "Reclaimable": self.reclaimable_text(),
        })
    }

    fn document(&self) -> Value {
        json!({
            "Type": self.kind, "Total": self.total, "TotalCount": self.total, "Active": self.active, "RawSize": self.size,
            "RawReclaimable": self.reclaimable, "Size": units::size(self.size, DIGITS),
            "Reclaimable": self.reclaimable_text(),
        })
    }
}

/// Measures and prints the disk usage.
///
/// # Errors
/// A record is damaged, or the format is wrong.
pub(super) fn run(context: &Context, args: &SystemDf) -> Result<u8> {
    let store = context.store()?;
    let _lock = store.shared()?;
    if args.verbose {
        print::write(verbose(&store)?.as_bytes())?;
        return Ok(0);
    }
    let all = [blobs(&store)?, layers(&store)?, containers(&store)?];
    let own = "{{.Type}}\t{{.Total}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
    let listing = Listing { format: &args.format, own, noheading: false, headings: &[] };
    let fields: Vec<Value> = all.iter().map(Row::fields).collect();
    print::write(listing.text(&fields, || all.iter().map(Row::document).collect())?.as_bytes())?;
    Ok(0)
}

/// Formats a table for each image and one for each container.
fn verbose(store: &Store) -> Result<String> {
    let table = |own: &str, headings: &[(&str, &str)], fields: &[Value]| {
        Listing { format: &Format::Default, own, noheading: false, headings }.text(fields, || Value::Null)
    };
    let all = images::rows(store, &Filters::default())?;
    let mut users: HashMap<Digest, HashSet<Digest>> = HashMap::new();
    for row in &all {
        for blob in row.image.layers.iter().map(|layer| &layer.blob) {
            users.entry(blob.clone()).or_default().insert(row.image.id.clone());
        }
    }
    let of_image = |row: &images::Row| {
        let shared = row.image.layers.iter().map(|layer| &layer.blob).collect::<HashSet<_>>();
        let shared = shared.into_iter().filter(|blob| users.get(*blob).is_some_and(|images| images.len() > 1));
        let shared: u64 = shared.filter_map(|blob| store.has_blob(blob)).sum();
        let mut fields = row.fields(false);
        fields["Created"] = json!(units::since(&row.image.created));
        fields["Size"] = json!(units::size(row.image.size, DIGITS));
        fields["SharedSize"] = json!(units::size(shared, DIGITS));
        fields["UniqueSize"] = json!(units::size(row.image.size.saturating_sub(shared), DIGITS));
        fields
    };
    let image_fields: Vec<Value> = all.iter().map(of_image).collect();
    let mut container_fields = Vec::new();
    for mut row in rows::all(store, &RunDir::of(store.root())?)? {
        row.size = Some(rows::size(store, &row.record)?);
        let mut fields = row.fields(false);
        fields["Image"] = json!(short_id(row.record.image.hex()));
        fields["Created"] = json!(units::since(&row.record.created));
        fields["Size"] = json!(units::size(row.size.map_or(0, |size| size.written), DIGITS));
        fields["Status"] = json!(row.status.name());
        fields["LocalVolumes"] = json!(row.record.setup.volumes.len());
        container_fields.push(fields);
    }
    let images = table(
        "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Created}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
        &[("ID", "IMAGE ID"), ("SharedSize", "SHARED SIZE"), ("UniqueSize", "UNIQUE SIZE")],
        &image_fields,
    )?;
    let containers = table(
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.Created}}\t{{.Status}}\t{{.Names}}",
        &[("ID", "CONTAINER ID"), ("LocalVolumes", "LOCAL VOLUMES")],
        &container_fields,
    )?;
    Ok(format!("Images space usage:\n\n{images}\nContainers space usage:\n\n{containers}"))
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
    let mut row = Row { kind: "Images", total: images.len(), active: 0, size: 0, reclaimable: 0 };
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
    let mut row = Row { kind: "Layers", total: layers.len(), active: 0, size: 0, reclaimable: 0 };
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
    let mut row = Row { kind: "Containers", total: trees.len(), active: 0, size: 0, reclaimable: 0 };
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
