//! `wait`: waits until containers have stopped, and prints their exit statuses.

use anyhow::{Result, bail};
use base::coded;

use super::{Context, LoadedContainer, for_each_id, print};
use crate::state::Status;
use crate::state::exit;
use crate::state::status;

/// Waits for each container in turn, and prints a line with its exit status: 128 + n for signal n, as a shell has it.
pub(super) fn wait(context: &Context<'_>, ids: &[String]) -> Result<i32> {
    for_each_id(context, ids, |id| wait_one(context, id))
}

fn wait_one(context: &Context<'_>, id: &str) -> Result<()> {
    let LoadedContainer { entry, record, status, init } = context.find(id)?;
    if status == Status::Creating {
        bail!(coded!(ContainerStatus, "cannot wait for container {id}: it is {status}, not created"));
    }
    let pidfd = init.map(status::open_pidfd).transpose()?.flatten();
    let ended = match (init, pidfd) {
        (Some(init), Some(pidfd)) => {
            let ended = exit::wait(init, &pidfd)?;
            if let Some(exit) = &ended {
                exit::keep(&entry, exit);
            }
            ended
        }
        _ => exit::find(&entry, &record)?,
    };
    match ended.and_then(|exit| exit.shell_status()) {
        Some(status) => print(&format!("{status}\n")),
        None => {
            bail!(coded!(
                ContainerStatus,
                "container {id} has stopped, and its exit status is not known (`wait` must be called before the end)"
            ))
        }
    }
}
