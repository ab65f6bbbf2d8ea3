//! The wait for the lock of a container, which has an end: its holder may have been stopped, or wait itself.

use base::coded;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::status;
use linux::file;

/// Longest wait. The verb that holds the lock may run the hooks of the container: then this one can be repeated.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for a holder that is stopped.
const LIMIT_STOPPED: Duration = Duration::from_secs(10);
/// Longest interval between two attempts.
const INTERVAL: Duration = Duration::from_millis(50);

/// Takes the lock of the open state directory `dir`; waits while another process holds it.
///
/// # Errors
/// As flock(2); the other process did not release it in time, or is stopped: the error names it.
pub(super) fn wait(dir: BorrowedFd<'_>) -> Result<()> {
    let attempt = || file::try_lock_exclusive(dir).map_err(|err| linux::named("flock", err));
    if attempt()? {
        return Ok(());
    }
    let begin = Instant::now();
    let mut interval = Duration::from_millis(1);
    while !attempt()? {
        let waited = begin.elapsed();
        if waited >= LIMIT_STOPPED {
            let holder = holder(dir)?;
            let stopped = holder.is_some_and(|pid| matches!(status::read_stat(pid), Ok(Some(stat)) if stat.stopped));
            if stopped || waited >= LIMIT {
                let who = holder.map_or("another process".to_owned(), crate::cgroup::describe_process);
                bail!(coded!(
                    ContainerBusy,
                    "{who} has held it for more than {} s{}",
                    waited.as_secs(),
                    if stopped { " and is stopped" } else { "" }
                ));
            }
        }
        std::thread::sleep(interval);
        interval = (2 * interval).min(INTERVAL);
    }
    Ok(())
}

/// Returns the pid of the process that holds the lock, as far as the kernel tells it to this process.
fn holder(dir: BorrowedFd<'_>) -> Result<Option<i32>> {
    let stat = nix::sys::stat::fstat(dir).context("fstat")?;
    let table = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    Ok(holder_in(&table, (libc::major(stat.st_dev), libc::minor(stat.st_dev)), stat.st_ino))
}

/// Finds the holder of the flock(2) of a file in the text of /proc/locks.
fn holder_in(table: &str, (major, minor): (u32, u32), inode: u64) -> Option<i32> {
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        // a line of a process that waits has "->" there
        let (kind, pid, of) = (words.nth(1)?, words.nth(2)?, words.next()?);
        (kind == "FLOCK" && of == file).then(|| pid.parse().ok().filter(|pid| *pid > 0))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_in_the_kernels_table() {
        let table = "1: POSIX  ADVISORY  WRITE 70 00:1a:5678 0 EOF\n2: FLOCK  ADVISORY  WRITE 71 00:1a:5678 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 72 00:1a:5678 0 EOF\n3: FLOCK  ADVISORY  WRITE -1 fd:01:9 0 EOF\n";
        assert_eq!(holder_in(table, (0, 0x1a), 5678), Some(71));
        assert_eq!(holder_in(table, (0xfd, 1), 9), None);
        assert_eq!(holder_in(table, (0, 0x1a), 567), None);
    }
}
