//! The first half of `run` and `create`: options, image, container.

use base::coded;
use base::error::{Code, Coding as _};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Context, remote};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::config::RunOptions;
use crate::container::Purpose;
use crate::container::cleanup;
use crate::container::create;
use crate::container::create::New;
use crate::container::monitor;
use crate::container::run_dir::RunDir;
use crate::container::run_dir::SupervisorLock;
use crate::container::runtime;
use crate::model::platform::Platform;
use crate::store::ContainerRecord;
use crate::store::ImageRecord;
use crate::store::Store;

/// Creates the container; this process is its supervisor.
///
/// # Errors
/// An invalid value, no such image, no space; nothing is left then.
pub(super) fn create(
    context: &Context,
    store: &Store,
    run: &RunDir,
    args: &args::Run,
) -> Result<(ContainerRecord, SupervisorLock)> {
    let options = RunOptions::new(args)?;
    let runtime = runtime::find(context.global.runtime.as_deref())?;
    if let Some(file) = args.cidfile.as_ref().filter(|file| file.exists()) {
        bail!(coded!(FileExists, "--cidfile {file:?} exists"));
    }
    let image = image(context, store, args)?;
    let report = |text: &str| context.report(LogLevel::Debug, text);
    replace(store, run, args)?;
    let new = New {
        options: &options,
        name: args.name.as_deref(),
        runtime,
        purpose: Purpose::Run,
        remove: args.rm,
        interactive: args.interactive,
        bundle: None,
        run: Some(run),
    };
    let (record, supervisor) = create::create(store, &image, &new, &report)?;
    let supervisor = supervisor.context("the container has no supervisor");
    let written = args.cidfile.as_deref().map_or(Ok(()), |file| write_id(file, &record.id));
    match written.and(supervisor) {
        Ok(supervisor) => Ok((record, supervisor)),
        Err(err) => {
            monitor::remove_not_started(store, run, &record);
            Err(err)
        }
    }
}

/// Returns the image, pulled where the store has none or the caller wants it.
fn image(context: &Context, store: &Store, args: &args::Run) -> Result<ImageRecord> {
    let wanted = args.pulled.platform.as_deref().map(Platform::parse).transpose()?;
    let missing = match remote::in_store(store, &args.image, args.pull, wanted.as_ref())? {
        Ok(image) => return Ok(image),
        Err(missing) => missing,
    };
    let pulled = || {
        let pull = args::Pull { quiet: args.quiet, ..args.pulled.clone() };
        remote::pull(context, store, &args.image, &pull)
    };
    match missing {
        Some(missing) => pulled().with_context(|| format!("{missing}, and it cannot be pulled")),
        None => pulled(),
    }
}

/// Removes the container of the same name, if the caller wants it replaced.
fn replace(store: &Store, run: &RunDir, args: &args::Run) -> Result<()> {
    if !args.settings.replace {
        return Ok(());
    }
    let name = args.name.as_deref().code(Code::UsageValue, "--replace: needs --name")?;
    match store.find_container(name) {
        Ok(old) if old.name == name => cleanup::remove_running(store, run, &old).code(Code::UsageValue, "--replace"),
        _ => Ok(()),
    }
}

/// Writes the ID of a container to a new file.
fn write_id(file: &Path, id: &str) -> Result<()> {
    let context = || format!("--cidfile {file:?}");
    // a new file: one that another user planted is an error
    let mut new = std::fs::File::create_new(file).with_context(context)?;
    new.write_all(id.as_bytes()).with_context(context)
}
