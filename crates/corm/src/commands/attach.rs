//! `corm attach`: the streams of a container in the background.

use base::coded;
use base::error::{Code, Coding as _};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::Context;
use crate::cli::args;
use crate::container::attach::client::{self, Left, Options};
use crate::container::attach::keys::{self, DetachKeys};
use crate::container::run_dir::{RunDir, SupervisorHandle};
use crate::container::status;

/// Time limit for the supervisor's cleanup after the container's end.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// Stays attached until the container ends, and returns its exit status, or until the caller types the keys.
///
/// # Errors
/// The container does not run, or its supervisor was killed.
pub(super) fn run(context: &Context, args: &args::Attach) -> Result<u8> {
    let keys = detach_keys(args.keys.as_deref())?;
    let store = context.store()?;
    let record = store.find_container(&args.container)?;
    let run = RunDir::of(store.root())?;
    let supervisor = run.supervisor(&record.id)?;
    let runs = status::of(&store, &run, &record)?.pid().is_some();
    ensure!(runs, coded!(ContainerNotRunning, "you can only attach to running containers (`corm start` starts one)"));
    let supervisor = supervisor.context("the container's supervisor was killed, so that nothing reads its output")?;
    let options = Options {
        input: record.setup.interactive && !args.no_stdin,
        tty: record.setup.tty,
        outputs: [true; 2],
        forward_signals: args.sig_proxy,
        keys,
    };
    let left = client::visit(&run, &record.id, options)?;
    settle(&left, Some(supervisor))?;
    match left {
        Left::Detached => Ok(0),
        Left::Ended(status) => Ok(u8::try_from(status).unwrap_or(u8::MAX)),
    }
}

/// Parses `--detach-keys`.
///
/// # Errors
/// It names another key than a letter, with or without control.
pub(super) fn detach_keys(given: Option<&str>) -> Result<DetachKeys> {
    DetachKeys::parse(given.unwrap_or(keys::DEFAULT)).code(Code::UsageValue, "--detach-keys")
}

/// Waits for the cleanup of a container that has ended, so that the caller can start it again, or use its name.
///
/// # Errors
/// As flock(2).
pub(super) fn settle(left: &Left, supervisor: Option<SupervisorHandle>) -> Result<()> {
    if let (Left::Ended(_), Some(supervisor)) = (left, supervisor) {
        supervisor.wait_at_most(END_TIMEOUT)?;
    }
    Ok(())
}
