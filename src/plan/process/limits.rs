//! Resource limits of the process.

use anyhow::{Result, ensure};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType};

/// One limit, in the numbers of setrlimit(2); 2⁶⁴-1 is "unlimited" there as in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// The resource; its name is also the text for errors.
    pub kind: PosixRlimitType,
    /// What counts now.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

pub(super) fn plan(limits: &[PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut planned: Vec<Rlimit> = Vec::with_capacity(limits.len());
    for (index, limit) in limits.iter().enumerate() {
        let (kind, soft, hard) = (limit.typ(), limit.soft(), limit.hard());
        // PR-9: also when both say the same
        ensure!(planned.iter().all(|other| other.kind != kind), "process.rlimits[{index}]: duplicate {kind}");
        ensure!(soft <= hard, "process.rlimits[{index}]: {kind}: soft limit {soft} is above the hard limit {hard}");
        planned.push(Rlimit { kind, soft, hard });
    }
    Ok(planned)
}
