//! `corm history`: prints the history of an image, the latest step first.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, print};
use crate::cli::args::views::History;
use crate::model::manifest;
use crate::store::{ImageRecord, Store};
use crate::view::images::short;
use crate::view::listing::{Format, Listing};
use crate::view::units;

/// Maximum length of a command in the table.
const COMMAND_LENGTH: usize = 45;

/// ID of the steps below the last, whose images are not in the store.
const MISSING: &str = "<missing>";

/// Prints the steps.
///
/// # Errors
/// The image does not exist, or the format is wrong.
pub(super) fn run(context: &Context, args: &History) -> Result<u8> {
    let store = context.store()?;
    let image = store.find_image(&args.image)?;
    let steps = steps(&store, &image)?;
    if args.quiet && args.format == Format::Default {
        for at in 0..steps.len() {
            print::line(id(&image, at, args.no_trunc))?;
        }
        return Ok(0);
    }
    let own = "{{.ID}}\t{{.Created}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
    let headings = [("ID", "ID"), ("CreatedBy", "CREATED BY")];
    let listing = Listing { format: &args.format, own, noheading: false, headings: &headings };
    let rows: Vec<Value> = steps.iter().enumerate().map(|(at, step)| step.fields(&image, at, args)).collect();
    let document = || steps.iter().enumerate().map(|(at, step)| step.document(&image, at)).collect();
    print::write(listing.text(&rows, document)?.as_bytes())?;
    Ok(0)
}

/// A step of the history.
#[derive(Debug, Default)]
struct Step {
    created: String,
    created_by: String,
    comment: String,
    size: u64,
    layer: Option<String>,
}

/// Returns the steps, the latest first.
fn steps(store: &Store, image: &ImageRecord) -> Result<Vec<Step>> {
    let config = manifest::parse_config(&store.read_blob(&image.id)?)?;
    let mut layers = image.layers.iter();
    let size = |layer: &crate::model::layer::Layer| store.has_blob(&layer.blob).unwrap_or(0);
    let mut steps = Vec::new();
    for step in config.history().iter().flatten() {
        let layer = if step.empty_layer().unwrap_or(false) { None } else { layers.next() };
        steps.push(Step {
            created: step.created().clone().unwrap_or_default(),
            created_by: step.created_by().clone().unwrap_or_default(),
            comment: step.comment().clone().unwrap_or_default(),
            size: layer.map_or(0, size),
            layer: layer.map(|layer| layer.blob.to_string()),
        });
    }
    // layers without a history entry are listed too
    steps.extend(layers.map(|layer| Step {
        size: size(layer),
        layer: Some(layer.blob.to_string()),
        ..Step::default()
    }));
    steps.reverse();
    Ok(steps)
}

fn id(image: &ImageRecord, at: usize, no_trunc: bool) -> String {
    match (at, no_trunc) {
        (0, false) => short(&image.id),
        (0, true) => image.id.hex().to_owned(),
        _ => MISSING.to_owned(),
    }
}

impl Step {
    fn fields(&self, image: &ImageRecord, at: usize, args: &History) -> Value {
        let ago = units::ago(&self.created);
        let by = if args.no_trunc { self.created_by.clone() } else { cut(&self.created_by) };
        let size = if args.human { units::image_size(self.size) } else { self.size.to_string() };
        json!({
            "ID": id(image, at, args.no_trunc), "Created": if args.human { &ago } else { &self.created },
            "CreatedSince": ago, "CreatedAt": self.created, "CreatedBy": by, "Size": size, "Comment": self.comment,
            "Layer": self.layer.clone().unwrap_or_default(), "Tags": if at == 0 { image.names.join(", ") } else { String::new() },
        })
    }

    fn document(&self, image: &ImageRecord, at: usize) -> Value {
        let tags = (at == 0).then_some(&image.names);
        json!({
            "id": id(image, at, true), "created": self.created, "CreatedBy": self.created_by, "size": self.size,
            "comment": self.comment, "tags": tags, "layer": self.layer,
        })
    }
}

/// Cuts a command for the table.
fn cut(command: &str) -> String {
    if command.chars().count() <= COMMAND_LENGTH {
        return command.to_owned();
    }
    command.chars().take(COMMAND_LENGTH - 3).collect::<String>() + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_as_podman_does() {
        let whole = "/bin/sh -c #(nop) ADD file:a574f5440aea6b430eafb5b768020749d93711bd9ff500ce3d5da74f07e34358 in /";
        assert_eq!(cut(whole), "/bin/sh -c #(nop) ADD file:a574f5440aea6b4...");
        assert_eq!(cut(&"é".repeat(45)), "é".repeat(45));
    }
}
