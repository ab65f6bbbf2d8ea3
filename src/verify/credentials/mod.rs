//! The check of a process's credentials: `/proc/PID/status` against its plan.
//!
//! The parent reads the file, because the child's seccomp filter may return success without the system call: with a
//! filter that returns 0 for setresuid(2) the child would keep root's IDs.

use anyhow::{Context as _, Result};

use super::{Check, Moment, Verdict};
use crate::id_mapping::IdMappings;
use crate::plan::process::Capabilities;
use crate::plan::process::ProcessPlan;

/// The checked fields of `/proc/PID/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Real, effective, saved and file system user ID.
    pub uid: Vec<u64>,
    /// Real, effective, saved and file system group ID.
    pub gid: Vec<u64>,
    /// Supplementary groups, ascending.
    pub groups: Vec<u64>,
    /// The five capability sets.
    pub caps: Capabilities,
    /// no_new_privs is set.
    pub no_new_privs: bool,
    /// Seccomp mode: 0 disabled, 2 filter.
    pub seccomp: u64,
    /// Number of seccomp filters; absent before Linux 5.9.
    pub filters: Option<u64>,
}

impl Status {
    /// Parses the text of the file.
    ///
    /// # Errors
    /// A line that is missing or is not a number.
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

/// Properties of the process and the reader that decide the expected status.
#[derive(Debug, Clone)]
pub(crate) struct CheckContext {
    /// Time of the check, before or after the start of the program.
    pub moment: Moment,
    /// User and group mappings from the process's user namespace to the reader's; `None`: both are in the same
    /// namespace.
    pub maps: Option<(IdMappings, IdMappings)>,
    /// setgroups(2) is denied in that namespace, so that the process has the caller's groups.
    pub groups_kept: bool,
    /// Number of seccomp filters inherited from croci's caller.
    pub foreign_filters: u64,
    /// The plan has a seccomp filter.
    pub filter: bool,
}

/// Compares a process with its plan, one check for each property.
pub(crate) fn check(plan: &ProcessPlan, status: &Status, context: &CheckContext) -> Vec<Check> {
    let maps = context.maps.as_ref();
    let mut checks = vec![
        id("process.user.uid", "Uid", plan.uid, &status.uid, maps.map(|maps| &maps.0), context.moment),
        id("process.user.gid", "Gid", plan.gid, &status.gid, maps.map(|maps| &maps.1), context.moment),
        groups(plan, status, maps.map(|maps| &maps.1), context),
    ];
    checks.extend(capabilities(&plan.caps, &status.caps, context.moment));
    checks.push(no_new_privs(plan.no_new_privs, status.no_new_privs, context.moment));
    if context.filter {
        checks.push(seccomp(status, context));
    }
    checks
}

/// Maps an ID of the process's user namespace to the reader's.
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

fn groups(plan: &ProcessPlan, status: &Status, map: Option<&IdMappings>, context: &CheckContext) -> Check {
    const NAME: &str = "process.user.additionalGids";
    let kept = |expected: &str| {
        let check = Check::new(NAME, expected, words(&status.groups), Verdict::Unchecked);
        Check { kernel: "Groups", ..check }
    };
    let Some(groups) = &plan.groups else { return kept("the caller's") };
    if groups.iter().all(|gid| *gid == plan.gid) && context.groups_kept {
        return kept("the caller's");
    }
    let mut wanted: Vec<u64> = groups.iter().filter_map(|gid| host_id(*gid, map)).collect();
    wanted.sort_unstable(); // the kernel sorts them
    let right = wanted.len() == groups.len() && wanted == status.groups;
    let none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let (wanted, got) = (none(words(&wanted)), none(words(&status.groups)));
    Check { kernel: "Groups", ..Check::new(NAME, wanted, got, verdict_of(right, context.moment)) }
}

/// Compares the capability sets. Before the program runs each is the planned one; a bounding set may be smaller, as
/// croci's own.
///
/// A running program may have other sets: an execve(2) by root raises permitted and effective to the bounding set, and
/// a program may drop capabilities. It can never have a capability that is in none of the planned sets.
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
        // inherited from croci's caller; the process cannot clear it
        (false, true) if moment == Moment::Running => Verdict::Changed,
        _ => Verdict::Ok,
    };
    let number = |value: bool| u8::from(value).to_string();
    Check { kernel: "NoNewPrivs", ..Check::new("process.noNewPrivileges", number(wanted), number(got), verdict) }
}

fn seccomp(status: &Status, context: &CheckContext) -> Check {
    let wanted = context.foreign_filters + 1;
    let got = status.filters.unwrap_or(wanted);
    let right = match context.moment {
        Moment::BeforeProgram => got == wanted,
        Moment::Running => got >= wanted, // the program may load more
    };
    let verdict = if status.seccomp == 2 && right { Verdict::Ok } else { Verdict::Different };
    let text = |mode: u64, filters: u64| format!("{mode} with {filters} filters");
    let actual = text(status.seccomp, status.filters.unwrap_or_default());
    let actual = if status.filters.is_none() { status.seccomp.to_string() } else { actual };
    Check { kernel: "Seccomp", ..Check::new("linux.seccomp", text(2, wanted), actual, verdict) }
}

#[cfg(test)]
mod tests;
