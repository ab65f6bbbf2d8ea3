//! A container in the foreground, for `run` and `start --attach`: with this process as its supervisor, or attached to one.

use anyhow::Result;

use super::{Context, attach};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::container::attach::client::{self, Left, Options};
use crate::container::monitor;
use crate::container::run_dir::{RunDir, SupervisorLock};
use crate::container::session;
use crate::container::session::NotStarted;
use crate::container::session::Streams;
use crate::store::ContainerRecord;
use crate::store::Store;
use base::error::{Report, describe};
use linux::term;

/// Exit status when corm failed and not the program.
const OWN_FAILURE: i32 = 125;

/// Starts a container whose tree is mounted, and waits for its end, or until the caller leaves it by the keys.
///
/// This process is the supervisor, unless the caller can leave, or is connected to some of the streams, or keeps its signals:
/// then it is attached to a supervisor in the background from the start.
///
/// # Errors
/// The container did not start, or its end cannot be waited for.
pub(super) fn run(
    context: &Context,
    (store, run, record): (&Store, &RunDir, &ContainerRecord),
    supervisor: SupervisorLock,
    options: Options,
) -> Result<Left, NotStarted> {
    let report = |text: &str| context.report(LogLevel::Debug, text);
    let types = options.input && options.tty && term::stdio_terminal(0).is_some();
    if (types && !options.keys.is_empty()) || !options.forward_signals || options.outputs != [true; 2] {
        client::block_signals(&options)?;
        let (own, other) = client::pair(&options)?;
        monitor::detach(store, run, record, supervisor, Some(other), &report)?;
        let supervisor = run.supervisor(&record.id)?;
        let left = client::stay(own, options)?;
        attach::settle(&left, supervisor)?;
        return Ok(left);
    }
    let streams = Streams { foreground: true, interactive: options.input, caller: None };
    let session = session::start(store, run, record, supervisor, streams, &report)?;
    let ended = session.wait(&report)?;
    if let Some(cause) = ended.cause {
        context.report(LogLevel::Error, format_args!("corm: {}", Report::of(&cause.into()).line()));
    }
    if let Err(problem) = ended.cleanup {
        context.report(LogLevel::Warning, format_args!("corm: warning: {}", describe(&problem)));
    }
    match ended.streams {
        // lost output or input is a failure, unless the program's own status says so already
        Err(lost) => {
            context.report(LogLevel::Error, format_args!("corm: {}", describe(&lost)));
            Ok(Left::Ended(if ended.status == 0 { OWN_FAILURE } else { ended.status }))
        }
        Ok(()) => Ok(Left::Ended(ended.status)),
    }
}

/// Returns how a caller is connected to a container that it starts.
///
/// # Errors
/// The keys are invalid.
pub(super) fn options(record: &ContainerRecord, interactive: bool, caller: &args::Caller) -> Result<Options> {
    let [input, outputs @ ..] = caller.streams.unwrap_or([true; 3]);
    Ok(Options {
        input: interactive && input,
        outputs,
        tty: record.setup.tty,
        forward_signals: !caller.keeps_signals,
        keys: attach::detach_keys(caller.keys.as_deref())?,
    })
}
