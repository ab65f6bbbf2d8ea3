//! Resource limits of the process.

use anyhow::{Result, ensure};
use oci_spec::runtime::{PosixRlimit, PosixRlimitType as Kind};

/// One resource limit in the units of prlimit(2); 2⁶⁴-1 is "unlimited", as in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    /// `RLIMIT_*`, as in the configuration.
    pub name: &'static str,
    /// Number of the resource.
    pub resource: u32,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit, up to which the process may raise the soft limit.
    pub hard: u64,
}

pub(super) fn plan(limits: &[PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut planned: Vec<Rlimit> = Vec::with_capacity(limits.len());
    for (index, limit) in limits.iter().enumerate() {
        let (name, resource) = resource(limit.typ());
        let (soft, hard) = (limit.soft(), limit.hard());
        // PR-9: also when both have the same value
        ensure!(planned.iter().all(|other| other.resource != resource), "process.rlimits[{index}]: duplicate {name}");
        ensure!(soft <= hard, "process.rlimits[{index}]: {name}: soft limit {soft} is above the hard limit {hard}");
        planned.push(Rlimit { name, resource, soft, hard });
    }
    Ok(planned)
}

fn resource(kind: Kind) -> (&'static str, u32) {
    // an enum of C, whose type is another one in each C library
    let (name, number) = match kind {
        Kind::RlimitCpu => ("RLIMIT_CPU", libc::RLIMIT_CPU),
        Kind::RlimitFsize => ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
        Kind::RlimitData => ("RLIMIT_DATA", libc::RLIMIT_DATA),
        Kind::RlimitStack => ("RLIMIT_STACK", libc::RLIMIT_STACK),
        Kind::RlimitCore => ("RLIMIT_CORE", libc::RLIMIT_CORE),
        Kind::RlimitRss => ("RLIMIT_RSS", libc::RLIMIT_RSS),
        Kind::RlimitNproc => ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
        Kind::RlimitNofile => ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
        Kind::RlimitMemlock => ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
        Kind::RlimitAs => ("RLIMIT_AS", libc::RLIMIT_AS),
        Kind::RlimitLocks => ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
        Kind::RlimitSigpending => ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
        Kind::RlimitMsgqueue => ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
        Kind::RlimitNice => ("RLIMIT_NICE", libc::RLIMIT_NICE),
        Kind::RlimitRtprio => ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
        Kind::RlimitRttime => ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    };
    (name, number as _)
}
