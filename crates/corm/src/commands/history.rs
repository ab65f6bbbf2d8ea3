//! `corm history`: prints the history of an image, the latest step first.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, print};
use crate::cli::args::Format;
use crate::model::manifest;

/// Maximum width of a command in the table; JSON has all of it.
const MAX_WIDTH: usize = 60;

/// Prints the steps.
///
/// # Errors
/// The image does not exist.
pub(super) fn run(context: &Context, image: &str, format: Format) -> Result<u8> {
    let store = context.store()?;
    let image = store.find_image(image)?;
    let config = manifest::parse_config(&store.read_blob(&image.id)?)?;
    let mut layers = image.layers.iter();
    let mut steps: Vec<Value> = Vec::new();
    for step in config.history().iter().flatten() {
        let mut value = serde_json::to_value(step)?;
        let layer = if step.empty_layer().unwrap_or(false) { None } else { layers.next() };
        if let (Some(layer), Value::Object(fields)) = (layer, &mut value) {
            fields.insert("layer".into(), json!(layer.blob));
            fields.insert("size".into(), json!(store.has_blob(&layer.blob)));
        }
        steps.push(value);
    }
    // layers without a history entry are listed too
    for layer in layers {
        steps.push(json!({"layer": layer.blob, "size": store.has_blob(&layer.blob)}));
    }
    steps.reverse();
    match format {
        Format::Json => print::json(&steps)?,
        Format::Table => {
            print::table(&["LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT"], steps.iter().map(row))?;
        }
    }
    Ok(0)
}

fn row(step: &Value) -> Vec<String> {
    let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let layer = text("layer").trim_start_matches("sha256:").chars().take(12).collect();
    let size = step.get("size").and_then(Value::as_u64).unwrap_or(0);
    vec![
        layer,
        print::age(&text("created")),
        one_short_line(&text("created_by")),
        print::size(size),
        one_short_line(&text("comment")),
    ]
}

/// Cuts a text to one line of bounded length.
fn one_short_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.chars().count() <= MAX_WIDTH {
        return clean;
    }
    clean.chars().take(MAX_WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_without_escapes() {
        assert_eq!(one_short_line("RUN a\n\tb \x1b[31m"), "RUN a  b  [31m");
        assert_eq!(one_short_line(&"é".repeat(61)).chars().count(), 60);
        assert_eq!(one_short_line(&"é".repeat(60)), "é".repeat(60));
    }
}
