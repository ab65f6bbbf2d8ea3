//! `corm start`: starts stopped containers again, with their trees, and those of `create`.

use std::io::Write as _;

use anyhow::Result;

use super::{Context, foreground, print, select};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::container::Purpose;
use crate::container::attach::client::Left;
use crate::container::create;
use crate::container::lifecycle;
use crate::container::run_dir::RunDir;
use crate::store::Store;
use base::error::Report;

/// Starts each container, in the background or one in the foreground; for a bundle, mounts the tree again after a reboot.
///
/// # Errors
/// As [`super::for_each`].
pub(super) fn run(context: &Context, args: &args::Start) -> Result<u8> {
    if let Some(name) = args.which.names.first().filter(|_| args.attach) {
        let store = context.store()?;
        return attached(context, (&store, &RunDir::of(store.root())?), name, args);
    }
    select::each(
        context,
        &args.which,
        |status| status.pid().is_none(),
        |store, run, name| {
            let record = store.find_container(name)?;
            if record.setup.purpose == Purpose::Bundle {
                let rootfs = create::mount(store, &record.id)?;
                context.report(LogLevel::Info, format_args!("bundle {:?}: its tree is at {rootfs:?}", record.bundle));
                return Ok(());
            }
            let report = |text: &str| context.report(LogLevel::Debug, text);
            lifecycle::start(store, run, &record, &report).map_err(|failed| failed.error)?;
            print::line(name)
        },
    )
}

/// Starts one container in the foreground; returns its program's exit status, 125 to 127 when it did not start.
fn attached(context: &Context, (store, run): (&Store, &RunDir), name: &str, args: &args::Start) -> Result<u8> {
    let record = store.find_container(name)?;
    let options = foreground::options(&record, args.interactive && record.setup.interactive, &args.caller)?;
    let supervisor = lifecycle::begin(store, run, &record)?;
    match foreground::run(context, (store, run, &record), supervisor, options) {
        Ok(Left::Detached) => Ok(0),
        Ok(Left::Ended(status)) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(failed) => {
            lifecycle::undo(store, run, &record);
            let _ = writeln!(std::io::stderr(), "corm: {}", Report::of(&failed.error).line());
            Ok(failed.status)
        }
    }
}
