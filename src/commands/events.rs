//! `events`: statistics and OOM kills as JSON lines, until the container ends.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{Context, LoadedContainer, print};
use crate::cgroup::Cgroup;
use crate::cgroup::Stats;
use crate::cli::args;
use crate::state::status;
use crate::state::status::Action;

/// Prints one line with `--stats`, else one for each interval and one for each OOM kill.
pub(super) fn events(context: &Context<'_>, args: &args::Events) -> Result<i32> {
    let LoadedContainer { record, status, init, .. } = context.find(&args.id)?;
    status::check(Action::Events, status, &args.id)?;
    let cgroup = Cgroup::open(&record.cgroup);
    if args.stats {
        line("stats", &args.id, Some(&cgroup.stats()?))?;
        return Ok(0);
    }
    let Some(pidfd) = init.map(status::open_pidfd).transpose()?.flatten() else { return Ok(0) };
    let mut oom = cgroup.oom_events().context("watch for OOM kills")?;
    let interval = Duration::from_millis(args.interval_ms);
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            // an error means that the container has just ended and its cgroup was removed
            let Ok(stats) = cgroup.stats() else { return Ok(0) };
            line("stats", &args.id, Some(&stats))?;
            next = Instant::now() + interval;
        }
        let left = next.saturating_duration_since(Instant::now());
        let left = oom.as_ref().map_or(left, |watch| watch.poll_timeout(left)).as_millis() + 1;
        let mut set = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if let Some(watch) = &oom {
            let (fd, events) = watch.poll();
            set.push(PollFd::new(fd, events));
        }
        match poll(&mut set, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(err) => return Err(err).context("poll"),
        }
        let ready: Vec<bool> = set.iter().map(|entry| entry.any().unwrap_or(false)).collect();
        let announced = ready.get(1) == Some(&true);
        for _ in 0..oom.as_mut().map_or(Ok(0), |watch| watch.events(announced))? {
            line("oom", &args.id, None)?;
        }
        if ready.first() == Some(&true) {
            return Ok(0);
        }
    }
}

/// One line of output; the fields are in runc's order.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

fn line(kind: &str, id: &str, data: Option<&Stats>) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(&Event { kind, id, data })?))
}
