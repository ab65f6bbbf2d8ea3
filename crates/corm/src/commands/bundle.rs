//! `corm bundle`: creates an OCI bundle from an image, for any runtime, or from a copy of a directory.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Context;
use crate::bundle;
use crate::cli::args::LogLevel;
use crate::config::RunOptions;
use crate::container::Purpose;
use crate::container::create;
use crate::container::create::New;
use crate::container::monitor;
use crate::container::run_dir::RunDir;
use crate::container::runtime;

/// Creates the bundle. A name that is no image's but a directory's means the directory.
///
/// # Errors
/// The bundle exists; an unfinished one is removed.
pub(super) fn run(context: &Context, image: &str, dir: &Path) -> Result<u8> {
    let found = context.store().and_then(|store| Ok((store.find_image(image)?, store)));
    let (image, store) = match found {
        Ok(found) => found,
        Err(_) if Path::new(image).is_dir() => return bundle::make(Path::new(image), dir).map(|()| 0),
        Err(err) => return Err(err),
    };
    let dir = std::path::absolute(dir).with_context(|| format!("{dir:?}"))?;
    let options = RunOptions { tty: true, fallback: vec!["sh".to_owned()], ..RunOptions::default() };
    let new = New {
        options: &options,
        name: None,
        // the program that starts the bundle chooses the runtime
        runtime: runtime::find(context.global.runtime.as_deref()).unwrap_or_default(),
        purpose: Purpose::Bundle,
        remove: false,
        interactive: false,
        bundle: Some(&dir),
        run: None,
    };
    let unfinished = bundle::begin(Some(&store), &dir)?;
    let (record, _) = create::create(&store, &image, &new, &|text| context.report(LogLevel::Debug, text))?;
    if let Err(err) = bundle::link(unfinished, &store.container_dir(&record.id)) {
        monitor::remove_not_started(&store, &RunDir::of(store.root())?, &record);
        return Err(err);
    }
    Ok(0)
}
