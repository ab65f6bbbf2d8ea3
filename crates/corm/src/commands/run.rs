//! `corm run`: runs a container from an image, supervised by this process or a fork.

use std::io::Write as _;

use anyhow::{Context as _, Result};

use super::{Context, print};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::config::RunOptions;
use crate::container::Purpose;
use crate::container::create;
use crate::container::create::New;
use crate::container::monitor;
use crate::container::run_dir::RunDir;
use crate::container::runtime;
use crate::container::session;
use crate::container::session::NotStarted;
use crate::container::session::Streams;
use base::error::describe;

/// Runs the container: returns the program's status in the foreground, 125 to 127 when it did not start.
///
/// # Errors
/// An error before the start; nothing is left then.
pub(super) fn run(context: &Context, args: &args::Run) -> Result<u8> {
    let options = RunOptions::new(args)?;
    let runtime = runtime::find(context.global.runtime.as_deref())?;
    let store = context.store()?;
    let image = store.find_image(&args.image)?;
    let run = RunDir::of(store.root())?;
    let report = |text: &str| context.report(LogLevel::Debug, text);
    let new = New {
        options: &options,
        name: args.name.as_deref(),
        runtime,
        purpose: Purpose::Run,
        remove: args.rm,
        bundle: None,
        run: Some(&run),
    };
    let (record, supervisor) = create::create(&store, &image, &new, &report)?;
    let supervisor = supervisor.context("the container has no supervisor");
    let started = match supervisor.map_err(NotStarted::from) {
        Err(failed) => Err(failed),
        Ok(supervisor) if args.detach => monitor::detach(&store, &run, &record, supervisor, &report)
            .and_then(|()| Ok(print::line(&record.id).map(|()| 0)?)),
        Ok(supervisor) => {
            let streams = Streams { foreground: true, interactive: args.interactive };
            session::start(&store, &run, &record, supervisor, streams, &report).and_then(|session| {
                let ended = session.wait(true, &report)?;
                if let Err(problem) = ended.cleanup {
                    context.report(LogLevel::Warning, format_args!("corm: warning: {}", describe(&problem)));
                }
                Ok(ended.status)
            })
        }
    };
    match started {
        Ok(status) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(failed) => {
            monitor::remove_not_started(&store, &run, &record);
            let _ = writeln!(std::io::stderr(), "corm: {}", describe(&failed.error));
            Ok(failed.status)
        }
    }
}
