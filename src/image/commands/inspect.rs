//! `corm inspect`: all that is known of an image or a container, as one JSON document.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Context, print};
use crate::image::store::{ContainerRecord, ImageRecord, Store};

/// Prints it: an image before a container, a container before an image's id.
///
/// # Errors
/// Neither is called so.
pub fn run(context: &Context, what: &str) -> Result<u8> {
    let store = context.store()?;
    let value = match (store.find_image(what), store.find_container(what)) {
        (Ok(image), Err(_)) => of_image(&store, &image)?,
        (Ok(image), Ok(container)) if container.name != what => of_image(&store, &image)?,
        (_, Ok(container)) => of_container(&container)?,
        (Err(image), Err(container)) => {
            // "several begin so" and "is damaged" tell more than "No image named"
            let missing = |err: &anyhow::Error| err.to_string().starts_with("No ");
            return match (missing(&image), missing(&container)) {
                (false, _) => Err(image),
                (true, false) => Err(container),
                (true, true) => bail!("No image or container named '{what}' exists"),
            };
        }
    };
    print::json(&value)?;
    Ok(0)
}

fn of_image(store: &Store, image: &ImageRecord) -> Result<Value> {
    let document = |digest| -> Result<Value> { Ok(serde_json::from_slice(&store.read_blob(digest)?)?) };
    let mut value = serde_json::to_value(image)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("type".into(), json!("image"));
        fields.insert("manifestDocument".into(), document(&image.manifest)?);
        fields.insert("configuration".into(), document(&image.id)?);
    }
    Ok(value)
}

fn of_container(container: &ContainerRecord) -> Result<Value> {
    let mut value = serde_json::to_value(container)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("type".into(), json!("container"));
    }
    Ok(value)
}
