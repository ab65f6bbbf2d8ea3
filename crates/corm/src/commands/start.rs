//! `corm start`: starts stopped containers again, with their trees.

use anyhow::{Context as _, Result};

use super::{Context, for_each, print};
use crate::cli::args::LogLevel;
use crate::container::Purpose;
use crate::container::create;
use crate::container::files;
use crate::container::monitor;
use crate::container::run_dir::RunDir;
use crate::container::session;

/// Starts each container, detached; for a bundle, mounts the tree again after a reboot.
///
/// # Errors
/// As [`for_each`].
pub(super) fn run(context: &Context, names: &[String]) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    for_each(context, names, |name| {
        let record = store.find_container(name)?;
        if record.setup.purpose == Purpose::Bundle {
            let rootfs = create::mount(&store, &record.id)?;
            context.report(LogLevel::Info, format_args!("bundle {:?}: its tree is at {rootfs:?}", record.bundle));
            return Ok(());
        }
        for volume in &record.setup.volumes {
            volume.check_source(store.root()).context("--volume")?;
        }
        let supervisor = session::prepare(&store, &run, &record)?;
        files::refresh_names(&store.container_dir(&record.id))?;
        let report = |text: &str| context.report(LogLevel::Debug, text);
        monitor::detach(&store, &run, &record, supervisor, &report).map_err(|failed| failed.error)?;
        print::line(&record.id)
    })
}
