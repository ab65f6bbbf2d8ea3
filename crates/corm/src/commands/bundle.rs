//! `corm bundle`: creates an OCI bundle from an image, for any runtime, or from a copy of a directory.

use base::coded;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};

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
use crate::container::userns;
use crate::store::Store;

/// Creates the bundle. A name that is no image's but a directory's means the directory. Without `tty` its program has no
/// terminal, because a runtime that runs it in a script has none to give.
///
/// # Errors
/// The bundle exists; an unfinished one is removed.
pub(super) fn run(context: &Context, image: &str, dir: &Path, tty: bool) -> Result<u8> {
    let store = context.store();
    let found = match &store {
        Ok(store) => store.find_image(image),
        Err(err) => Err(anyhow!(coded!(UsageValue, "{err:#}"))),
    };
    let (image, store) = match (found, store) {
        (Ok(found), Ok(store)) => (found, store),
        (_, store) if Path::new(image).is_dir() => {
            let own_ids = userns::real_uid() != 0;
            return bundle::make(store.ok().as_ref(), Path::new(image), dir, tty, own_ids).map(|()| 0);
        }
        (_, Err(err)) | (Err(err), _) => return Err(err),
    };
    let dir = std::path::absolute(dir).with_context(|| format!("{dir:?}"))?;
    let options = RunOptions { tty, fallback: vec!["sh".to_owned()], ..RunOptions::default() };
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
    // until the bundle is complete: a removal, which waits for that, takes one that is not for a killed process's
    let _adding = store.shared()?;
    let unfinished = bundle::begin(Some(&store), &dir)?;
    let (record, _) = create::create(&store, &image, &new, &|text| context.report(LogLevel::Debug, text))?;
    let container = store.container_dir(&record.id);
    let finished = match userns::real_uid() {
        0 => bundle::link(unfinished, &container),
        _ => copy_for_user(&store, &record.id, unfinished),
    };
    if let Err(err) = finished {
        monitor::remove_not_started(&store, &RunDir::of(store.root())?, &record);
        return Err(err);
    }
    create::mark_published(&container)?;
    context.note(format_args!("bundle {}, to run by `croci run --bundle {} ID`", dir.display(), dir.display()));
    Ok(0)
}

/// Finishes the bundle of an ordinary user, which has a copy of the tree, because no other process sees what is mounted
/// in this process's mount namespace.
fn copy_for_user(store: &Store, id: &str, unfinished: bundle::Unfinished) -> Result<()> {
    let mounted = create::mount(store, id)?;
    let copied = bundle::copy(unfinished, &store.container_dir(id), &mounted);
    create::unmount(store, id)?;
    copied
}
