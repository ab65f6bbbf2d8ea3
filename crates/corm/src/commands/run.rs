//! `corm run`: runs a container from an image, supervised by this process or a fork.

use std::io::Write as _;

use anyhow::Result;

use super::{Context, attach, foreground, new_container, print, rmi};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::container::attach::client::Left;
use crate::container::monitor;
use crate::container::run_dir::RunDir;
use crate::container::session::NotStarted;
use base::error::Report;

/// Runs the container: returns the program's status in the foreground, 125 to 127 when it did not start.
///
/// # Errors
/// An error before the start; nothing is left then.
pub(super) fn run(context: &Context, args: &args::Run) -> Result<u8> {
    // before anything is created
    attach::detach_keys(args.caller.keys.as_deref())?;
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let (record, supervisor) = new_container::create(context, &store, &run, args)?;
    let report = |text: &str| context.report(LogLevel::Debug, text);
    let started = if args.detach {
        monitor::detach(&store, &run, &record, supervisor, None, &report)
            .and_then(|()| Ok(print::line(&record.id).map(|()| Left::Detached)?))
    } else {
        foreground::options(&record, args.interactive, &args.caller)
            .map_err(NotStarted::from)
            .and_then(|options| foreground::run(context, (&store, &run, &record), supervisor, options))
    };
    match started {
        Ok(Left::Detached) => Ok(0),
        Ok(Left::Ended(status)) => {
            if args.rmi && rmi::unused(context, &record, &args.image)? != 0 {
                context.report(LogLevel::Warning, "corm: warning: --rmi: the image stays");
            }
            Ok(u8::try_from(status).unwrap_or(u8::MAX))
        }
        Err(failed) => {
            monitor::remove_not_started(&store, &run, &record);
            let _ = writeln!(std::io::stderr(), "corm: {}", Report::of(&failed.error).line());
            Ok(failed.status)
        }
    }
}
