//! `corm inspect`: prints the data of an image or a container as one JSON document.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, ImageOrContainer, find_image_or_container, print};
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::status::Last;
use crate::store::ContainerRecord;
use crate::store::ImageRecord;
use crate::store::Store;

/// Prints the document: an image precedes a container, a container an image's ID.
///
/// # Errors
/// Neither has this name.
pub(super) fn run(context: &Context, what: &str) -> Result<u8> {
    let store = context.store()?;
    let value = match find_image_or_container(&store, what)? {
        ImageOrContainer::Image(image) => of_image(&store, &image)?,
        ImageOrContainer::Container(container) => of_container(&store, &container)?,
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

fn of_container(store: &Store, container: &ContainerRecord) -> Result<Value> {
    let mut value = serde_json::to_value(container)?;
    let now = status::of(store, &RunDir::of(store.root())?, container)?;
    let last = Last::read(&store.container_dir(&container.id))?.unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("type".into(), json!("container"));
        let state = json!({
            "status": now.name(), "pid": now.pid().unwrap_or(0), "exitStatus": last.status, "oomKilled": last.oom_killed,
            "started": Some(last.started).filter(|text| !text.is_empty()), "finished": last.finished,
        });
        fields.insert("state".into(), state);
    }
    Ok(value)
}
