//! Ids, groups, capability sets, no_new_privs and seccomp of a process: `/proc/PID/status` against its plan.
//!
//! The child cannot look for itself: its own seccomp filter may answer for the kernel. A filter that returns 0 for
//! setresuid(2) and does nothing would leave root's ids in place.

use anyhow::{Context as _, Result};

use super::{Check, Moment, Verdict};
use crate::id_mapping::IdMappings;
use crate::plan::process::Capabilities;
use crate::plan::process::ProcessPlan;

/// What is read of `/proc/PID/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Real, effective, saved, file system.
    pub uid: Vec<u64>,
    /// Real, effective, saved, file system.
    pub gid: Vec<u64>,
    /// Supplementary, ascending.
    pub groups: Vec<u64>,
    /// The five sets.
    pub caps: Capabilities,
    /// No execve gains privileges.
    pub no_new_privs: bool,
    /// 0: no filter, 2: filters.
    pub seccomp: u64,
    /// How many filters; absent before Linux 5.9.
    pub filters: Option<u64>,
}

impl Status {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// A line that is missing or no number.
    pub(crate) fn parse(text: &str) -> Result<Status> {
        let mut all: [Option<Vec<u64>>; 11] = Default::default();
        for line in text.lines() {
            let Some((key, rest)) = line.split_once(':') else { continue };
            let Some(index) = KEYS.iter().position(|known| *known == key) else { continue };
            let radix = if key.starts_with("Cap") { 16 } else { 10 };
            let numbers = rest.split_ascii_whitespace().map(|word| u64::from_str_radix(word, radix));
            let numbers = numbers.collect::<Result<_, _>>().with_context(|| format!("process status: {line:?}"))?;
            if let Some(place) = all.get_mut(index) {
                *place = Some(numbers);
            }
        }
        let filters = all[10].take().and_then(|list| list.first().copied());
        let mut next = all.into_iter().zip(KEYS);
        let mut list = || -> Result<Vec<u64>> {
            let (value, key) = next.next().context("process status")?;
            value.with_context(|| format!("process status: no line {key:?}"))
        };
        let (uid, gid, groups) = (list()?, list()?, list()?);
        let mut one = || list()?.first().copied().context("process status: a line without a number");
        let caps = Capabilities {
            inheritable: one()?,
            permitted: one()?,
            effective: one()?,
            bounding: one()?,
            ambient: one()?,
        };
        Ok(Status { uid, gid, groups, caps, no_new_privs: one()? == 1, seccomp: one()?, filters })
    }
}

const KEYS: [&str; 11] = [
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
];

/// What decides how a status is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Before or after the program's start.
    pub moment: Moment,
    /// Users and groups of the process's user namespace, as the reader of the status sees them; `None`: the reader's own.
    pub maps: Option<(IdMappings, IdMappings)>,
    /// setgroups(2) is denied in that namespace: the groups are those of the caller.
    pub groups_kept: bool,
    /// Filters that the process has from croci's own caller.
    pub foreign_filters: u64,
    /// The plan has a filter.
    pub filter: bool,
}

/// Compares a process with its plan.
pub(crate) fn check(plan: &ProcessPlan, status: &Status, around: &Surroundings) -> Vec<Check> {
    let maps = around.maps.as_ref();
    let mut checks = vec![
        id("process.user.uid", "Uid", plan.uid, &status.uid, maps.map(|maps| &maps.0), around.moment),
        id("process.user.gid", "Gid", plan.gid, &status.gid, maps.map(|maps| &maps.1), around.moment),
        groups(plan, status, maps.map(|maps| &maps.1), around),
    ];
    checks.extend(capabilities(&plan.caps, &status.caps, around.moment));
    checks.push(no_new_privs(plan.no_new_privs, status.no_new_privs, around.moment));
    if around.filter {
        checks.push(seccomp(status, around));
    }
    checks
}

/// What `id` of a user namespace is for the reader.
fn host_id(id: u32, map: Option<&IdMappings>) -> Option<u64> {
    map.map_or(Some(id), |map| map.to_host(id)).map(u64::from)
}

fn verdict_of(right: bool, moment: Moment) -> Verdict {
    match (right, moment) {
        (true, _) => Verdict::Ok,
        (false, Moment::Running) => Verdict::Changed,
        (false, Moment::BeforeProgram) => Verdict::Different,
    }
}

fn words(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

fn id(name: &str, kernel: &'static str, wanted: u32, got: &[u64], map: Option<&IdMappings>, moment: Moment) -> Check {
    let wanted = host_id(wanted, map);
    let right = wanted.is_some_and(|wanted| got.len() == 4 && got.iter().all(|id| *id == wanted));
    let expected = wanted.map_or_else(|| "an id of the user namespace".to_owned(), |wanted| words(&[wanted; 4]));
    Check { kernel, ..Check::new(name, expected, words(got), verdict_of(right, moment)) }
}

fn groups(plan: &ProcessPlan, status: &Status, map: Option<&IdMappings>, around: &Surroundings) -> Check {
    const NAME: &str = "process.user.additionalGids";
    let kept = |expected: &str| {
        let check = Check::new(NAME, expected, words(&status.groups), Verdict::Unchecked);
        Check { kernel: "Groups", ..check }
    };
    let Some(groups) = &plan.groups else { return kept("the caller's") };
    if groups.is_empty() && around.groups_kept {
        return kept("the caller's");
    }
    let mut wanted: Vec<u64> = groups.iter().filter_map(|gid| host_id(*gid, map)).collect();
    wanted.sort_unstable(); // as the kernel keeps them
    let right = wanted.len() == groups.len() && wanted == status.groups;
    let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let (wanted, got) = (none(words(&wanted)), none(words(&status.groups)));
    Check { kernel: "Groups", ..Check::new(NAME, wanted, got, verdict_of(right, around.moment)) }
}

/// Before the program each set is the planned one. A bounding set may be smaller, where croci's own is.
///
/// A program that runs has sets of its own: an execve by root raises permitted and effective to the bounding set, and it
/// may give up what it has. What it can never have is a capability outside of the planned sets.
fn capabilities(plan: &Capabilities, got: &Capabilities, moment: Moment) -> [Check; 5] {
    let limit = plan.bounding | plan.permitted | plan.inheritable;
    [
        ("inheritable", "CapInh", plan.inheritable, got.inheritable),
        ("permitted", "CapPrm", plan.permitted, got.permitted),
        ("effective", "CapEff", plan.effective, got.effective),
        ("bounding", "CapBnd", plan.bounding, got.bounding),
        ("ambient", "CapAmb", plan.ambient, got.ambient),
    ]
    .map(|(set, kernel, wanted, got)| {
        let right = got == wanted || set == "bounding" && moment == Moment::BeforeProgram && got & !wanted == 0;
        let verdict = if set == "bounding" && got & !wanted != 0 || got & !limit != 0 {
            Verdict::Different
        } else {
            verdict_of(right, moment)
        };
        let name = format!("process.capabilities.{set}");
        Check { kernel, ..Check::new(name, format!("{wanted:016x}"), format!("{got:016x}"), verdict) }
    })
}

fn no_new_privs(wanted: bool, got: bool, moment: Moment) -> Check {
    let verdict = match (wanted, got) {
        (true, false) => Verdict::Different,
        // nothing takes it back: it is the caller's
        (false, true) if moment == Moment::Running => Verdict::Changed,
        _ => Verdict::Ok,
    };
    let number = |value: bool| u8::from(value).to_string();
    Check { kernel: "NoNewPrivs", ..Check::new("process.noNewPrivileges", number(wanted), number(got), verdict) }
}

fn seccomp(status: &Status, around: &Surroundings) -> Check {
    let wanted = around.foreign_filters + 1;
    let got = status.filters.unwrap_or(wanted);
    let right = match around.moment {
        Moment::BeforeProgram => got == wanted,
        Moment::Running => got >= wanted, // each may load more
    };
    let verdict = if status.seccomp == 2 && right { Verdict::Ok } else { Verdict::Different };
    let text = |mode: u64, filters: u64| format!("{mode} with {filters} filters");
    let actual = text(status.seccomp, status.filters.unwrap_or_default());
    let actual = if status.filters.is_none() { status.seccomp.to_string() } else { actual };
    Check { kernel: "Seccomp", ..Check::new("linux.seccomp", text(2, wanted), actual, verdict) }
}

#[cfg(test)]
mod tests;
