//! A container in the foreground, with this process as its supervisor: for `run` and `start --attach`.

use super::Context;
use crate::cli::args::LogLevel;
use crate::container::run_dir::{RunDir, SupervisorLock};
use crate::container::session;
use crate::container::session::NotStarted;
use crate::container::session::Streams;
use crate::store::ContainerRecord;
use crate::store::Store;
use base::error::describe;

/// Exit status when corm failed and not the program.
const OWN_FAILURE: i32 = 125;

/// Starts a container whose tree is mounted, and waits for its end; returns the program's exit status.
///
/// # Errors
/// The container did not start, or its end cannot be waited for.
pub(super) fn run(
    context: &Context,
    (store, run, record): (&Store, &RunDir, &ContainerRecord),
    supervisor: SupervisorLock,
    interactive: bool,
) -> Result<i32, NotStarted> {
    let report = |text: &str| context.report(LogLevel::Debug, text);
    let streams = Streams { foreground: true, interactive };
    let session = session::start(store, run, record, supervisor, streams, &report)?;
    let ended = session.wait(&report)?;
    if let Err(problem) = ended.cleanup {
        context.report(LogLevel::Warning, format_args!("corm: warning: {}", describe(&problem)));
    }
    match ended.streams {
        // lost output or input is a failure, unless the program's own status says so already
        Err(lost) => {
            context.report(LogLevel::Error, format_args!("corm: {}", describe(&lost)));
            Ok(if ended.status == 0 { OWN_FAILURE } else { ended.status })
        }
        Ok(()) => Ok(ended.status),
    }
}
