//! The limits of a container's cgroup that were reached: as the cgroup counts, or, where systemd has removed the cgroup of
//! a container that has ended, as the kernel log has it.

use std::path::Path;
use std::time::Duration;

use linux::process::of_ticks;
use nix::time::{ClockId, clock_gettime};

use super::kernel_log::{KernelLog, Message};
use crate::cgroup::Cgroup;
use crate::state::Record;

/// How much earlier than the start a message may be, because the clocks differ a little.
const SLACK: Duration = Duration::from_secs(1);

/// Returns how many processes of the container the out-of-memory killer has killed, as far as that can be read.
pub(super) fn oom_kills(record: &Record, log: &KernelLog) -> u64 {
    let cgroup = Cgroup::open(&record.cgroup);
    match cgroup.oom_kills() {
        0 if cgroup.is_removed() => logged(record, log, victim),
        kills => kills,
    }
}

/// Returns how many forks of the container failed for its pids limit, as far as that can be read; the log has the first
/// alone.
pub(super) fn refused_forks(record: &Record, log: &KernelLog) -> u64 {
    let cgroup = Cgroup::open(&record.cgroup);
    match cgroup.refused_forks() {
        0 if cgroup.is_removed() => logged(record, log, refused),
        forks => forks,
    }
}

/// Counts the messages about the container's cgroup since its start; `of` returns the cgroup that a message is about.
fn logged(record: &Record, log: &KernelLog, of: fn(&str) -> Option<&str>) -> u64 {
    let (Some(init), Some(_)) = (record.init, &record.cgroup.scope) else { return 0 };
    let since = of_ticks(init.start_time);
    // the log's clock stands still in a suspend, that of processes does not
    let now = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    let suspended = now(ClockId::CLOCK_BOOTTIME).saturating_sub(now(ClockId::CLOCK_MONOTONIC));
    let since = since.saturating_sub(suspended).saturating_sub(SLACK);
    let is_own = |message: &&Message| {
        message.time >= since && of(&message.text).is_some_and(|path| is_within(path, &record.cgroup.path))
    };
    log.messages().unwrap_or_default().iter().filter(is_own).count() as u64
}

/// Returns the cgroup of a process that the out-of-memory killer has chosen. The name of its program follows, which may
/// have any bytes, but is too short for another path.
fn victim(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("oom-kill:")?;
    let (_, rest) = rest.rsplit_once(",task_memcg=")?;
    rest.split_once(",task=").map(|(path, _)| path)
}

/// Returns the cgroup in which a fork was refused.
fn refused(message: &str) -> Option<&str> {
    message.strip_prefix("cgroup: fork rejected by pids controller in ")
}

/// Reports whether a cgroup is another or below it.
fn is_within(path: &str, top: &str) -> bool {
    Path::new(path).starts_with(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_of_a_message() {
        let kill = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,task_memcg=/x,task=y,mems_allowed=0,\
                    oom_memcg=/s/c.scope,task_memcg=/s/c.scope/sub,task=sh,pid=7,uid=0";
        assert_eq!(victim(kill), Some("/s/c.scope/sub"));
        assert_eq!(victim("Memory cgroup out of memory: Killed process 7 (sh)"), None);
        assert_eq!(refused("cgroup: fork rejected by pids controller in /s/c.scope"), Some("/s/c.scope"));
        for (path, within) in [("/s/c.scope/sub", true), ("/s/c.scope", true), ("/s/c.scope2", false), ("/s", false)] {
            assert_eq!(is_within(path, "/s/c.scope"), within, "{path}");
        }
    }
}
