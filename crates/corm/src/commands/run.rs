//! `corm run`: runs a container from an image, supervised by this process or a fork.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Context, print};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::cli::args::PullPolicy;
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
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry;
use crate::registry::Options;
use crate::registry::Timeouts;
use crate::store::ImageRecord;
use crate::store::Store;
use base::error::describe;

/// Exit status when corm failed and not the program.
const OWN_FAILURE: i32 = 125;

/// Runs the container: returns the program's status in the foreground, 125 to 127 when it did not start.
///
/// # Errors
/// An error before the start; nothing is left then.
pub(super) fn run(context: &Context, args: &args::Run) -> Result<u8> {
    let options = RunOptions::new(args)?;
    let runtime = runtime::find(context.global.runtime.as_deref())?;
    let store = context.store()?;
    ensure!(args.cidfile.as_ref().is_none_or(|file| !file.exists()), "--cidfile: {:?} exists", args.cidfile);
    let image = image(context, &store, args)?;
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
    if let Err(err) = args.cidfile.as_deref().map_or(Ok(()), |file| write_id(file, &record.id)) {
        monitor::remove_not_started(&store, &run, &record);
        return Err(err);
    }
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
                match ended.output {
                    // lost output is a failure, unless the program's own status says so already
                    Err(lost) => {
                        context.report(LogLevel::Error, format_args!("corm: {}", describe(&lost)));
                        Ok(if ended.status == 0 { OWN_FAILURE } else { ended.status })
                    }
                    Ok(()) => Ok(ended.status),
                }
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

/// Returns the image, pulled where the store has none or the caller wants it.
fn image(context: &Context, store: &Store, args: &args::Run) -> Result<ImageRecord> {
    let missing = match (store.find_image(&args.image), args.pull) {
        (Ok(image), PullPolicy::Missing | PullPolicy::Never) => return Ok(image),
        (Err(err), PullPolicy::Never) => return Err(err),
        // an ambiguous ID or a damaged record is no reason to pull
        (Err(err), _) if !err.to_string().starts_with("No image named") => return Err(err),
        (found, _) => found.err(),
    };
    let pulled = || -> Result<ImageRecord> {
        let name = Reference::parse(&args.image)?;
        let platform = args.pulled.platform.as_deref().map(Platform::parse).transpose()?;
        let options = Options { tls_verify: args.pulled.tls_verify, timing: Timeouts::default() };
        let progress = Progress::new(if args.quiet { LogLevel::Warning } else { context.global.log_level });
        registry::pull(store, &name, platform.as_ref(), &options, &progress)
    };
    match missing {
        Some(missing) => pulled().with_context(|| format!("{missing}, and it cannot be pulled")),
        None => pulled(),
    }
}

/// Writes the ID of a container to a new file.
fn write_id(file: &Path, id: &str) -> Result<()> {
    let context = || format!("--cidfile {file:?}");
    // a new file: one that another user planted is an error
    let mut new = std::fs::File::create_new(file).with_context(context)?;
    new.write_all(id.as_bytes()).with_context(context)
}
