//! `corm attach`: the streams of a container in the background.

use base::coded;
use base::error::{Code, Coding as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Context;
use crate::cli::args;
use crate::container::attach::client::{self, Left, Options};
use crate::container::attach::keys::{self, DetachKeys};
use crate::container::run_dir::RunDir;
use crate::container::status;

/// Time limit for the supervisor's cleanup after the container's end.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// Stays attached until the container ends, and returns its exit status, or until the caller types the keys.
///
/// # Errors
/// The container does not run, or its supervisor was killed.
pub(super) fn run(context: &Context, args: &args::Attach) -> Result<u8> {
    let keys =
        DetachKeys::parse(args.keys.as_deref().unwrap_or(keys::DEFAULT)).code(Code::UsageValue, "--detach-keys")?;
    let store = context.store()?;
    let record = store.find_container(&args.container)?;
    let run = RunDir::of(store.root())?;
    let supervisor = run.supervisor(&record.id)?;
    let runs = status::of(&store, &run, &record)?.pid().is_some();
    ensure!(runs, coded!(ContainerNotRunning, "you can only attach to running containers"));
    let supervisor = supervisor.context("the container's supervisor was killed, so that nothing reads its output")?;
    let options = Options {
        input: record.setup.interactive && !args.no_stdin,
        tty: record.setup.tty,
        forward_signals: args.sig_proxy,
        keys,
    };
    match client::visit(&run, &record.id, options)? {
        Left::Detached => Ok(0),
        Left::Ended(status) => {
            // so that the caller can start it again, or use its name
            supervisor.wait_at_most(END_TIMEOUT)?;
            Ok(u8::try_from(status).unwrap_or(u8::MAX))
        }
    }
}
