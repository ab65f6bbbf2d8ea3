//! `ps`: lists the processes of a container.

use std::collections::HashSet;
use std::process::Command;

use base::coded;

use anyhow::{Context as _, Result, bail};

use super::{Context, LoadedContainer, print};
use crate::cgroup::Cgroup;
use crate::cli::args;
use crate::cli::args::Format;

/// Prints the pids as JSON, or the lines of the host's ps(1) with these pids.
pub(super) fn ps(context: &Context<'_>, args: &args::Ps) -> Result<i32> {
    let LoadedContainer { record, init, .. } = context.find(&args.id)?;
    let cgroup = Cgroup::open(&record.cgroup);
    let pids = match init {
        // a rootless container may have no cgroup
        Some(init) if cgroup.is_none() && record.own_pid_namespace => {
            base::pid_namespace::members(init.pid).context("list the processes of the pid namespace")?
        }
        _ => cgroup.pids().context("list the container's processes")?,
    };
    if args.format == Format::Json {
        print(&format!("{}\n", serde_json::to_string(&pids)?))?;
        return Ok(0);
    }
    let options: Vec<&str> =
        if args.options.is_empty() { vec!["-ef"] } else { args.options.iter().map(String::as_str).collect() };
    let output = base::child::output(Command::new("ps").args(&options)).context("run ps (Debian: package procps)")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        // usage follows
        let first = words.trim().lines().next().unwrap_or_default();
        bail!(coded!(UsageValue, "ps {}: {first} (ps(1) lists its flags)", options.join(" ")));
    }
    print(&filter(&String::from_utf8_lossy(&output.stdout), &pids.into_iter().collect())?)?;
    Ok(0)
}

/// Returns the header and the lines of `table` whose PID column is one of `pids`.
fn filter(table: &str, pids: &HashSet<i32>) -> Result<String> {
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_ascii_whitespace().position(|word| word == "PID") else {
        bail!(coded!(UsageValue, "the output of ps has no column PID"));
    };
    let matches = |line: &&str| {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    Ok(std::iter::once(header).chain(lines.filter(matches)).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_are_kept() {
        let table =
            "UID          PID    PPID CMD\nroot           1       0 init\nroot          42       1 sh 1\nu 7 42 x\n";
        let kept = filter(table, &HashSet::from([42])).unwrap_or_default();
        assert_eq!(kept, "UID          PID    PPID CMD\nroot          42       1 sh 1\n");
        assert!(filter("A B\n1 2\n", &HashSet::new()).is_err());
    }
}
