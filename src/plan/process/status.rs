//! What the kernel says of the finished process against what was planned.
//!
//! The child cannot always look for itself: its own seccomp filter may forbid it. The text of `/proc/PID/status`, read
//! by the parent, holds everything at once.

use super::{IdRange, ProcessContext, ProcessPlan};
use anyhow::{Context as _, Result, ensure};

/// Compares ids, groups, capability sets and no_new_privs of a child that is ready to run its program with its plan.
///
/// # Errors
/// The first difference, or a line that is missing. Either means that the program must not run (SEC-15).
pub fn verify(plan: &ProcessPlan, status: &str, ctx: &ProcessContext) -> Result<()> {
    let outside = |id: u32, maps: &[IdRange]| match maps.iter().find(|(first, _, n)| id >= *first && id - first < *n) {
        Some((first, host, _)) => Some(host.wrapping_add(id - first)),
        // a namespace whose maps we were not told
        None if ctx.user_ns => None,
        None => Some(id),
    };
    if let Some(uid) = outside(plan.uid, &ctx.uid_maps) {
        expect_all(&numbers(status, "Uid:", 10)?, uid.into(), "uid")?;
    }
    if let Some(gid) = outside(plan.gid, &ctx.gid_maps) {
        expect_all(&numbers(status, "Gid:", 10)?, gid.into(), "gid")?;
    }
    if let Some(groups) = &plan.groups {
        let wanted: Option<Vec<u64>> = groups.iter().map(|gid| outside(*gid, &ctx.gid_maps).map(u64::from)).collect();
        if let Some(mut wanted) = wanted {
            wanted.sort_unstable(); // as the kernel keeps them
            let got = numbers(status, "Groups:", 10)?;
            ensure!(got == wanted, "supplementary groups are {got:?} instead of {wanted:?}");
        }
    }
    let caps = &plan.caps;
    for (name, wanted) in [
        ("CapInh:", caps.inheritable),
        ("CapPrm:", caps.permitted),
        ("CapEff:", caps.effective),
        ("CapBnd:", caps.bounding),
        ("CapAmb:", caps.ambient),
    ] {
        let got = numbers(status, name, 16)?;
        ensure!(got == [wanted], "{name} is {got:x?} instead of {wanted:x}");
    }
    let got = numbers(status, "NoNewPrivs:", 10)?;
    // a caller may have it set already, and nothing takes it back
    ensure!(!plan.no_new_privs || got == [1], "no_new_privs is not set");
    Ok(())
}

fn numbers(status: &str, name: &str, radix: u32) -> Result<Vec<u64>> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no line {name:?} in the process status"))?;
    line.split_ascii_whitespace()
        .map(|word| u64::from_str_radix(word, radix).with_context(|| format!("{name} {word:?} in the process status")))
        .collect()
}

fn expect_all(got: &[u64], wanted: u64, what: &str) -> Result<()> {
    ensure!(!got.is_empty() && got.iter().all(|id| *id == wanted), "{what} is {got:?} instead of {wanted}");
    Ok(())
}
