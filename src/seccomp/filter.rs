//! The compiler from a checked profile to a BPF program for one family of ABIs.
//!
//! ```text
//! arch? ─▶ x86_64: number below the x32 bit ─▶ tree ─▶ verdict, or the call's rules ─▶ verdict
//!       │          x32 ─▶ its own tree, or killed
//!       ├▶ i386:   tree
//!       └▶ killed
//! ```

use super::abi::{Abi, Family, Width};
use super::assembler::{Assembler, Segment, Target};
use super::multiplex;
use super::profile::Profile;
use super::rule::{Condition, Rule};
use super::tables::{self, NONE, X32_BIT};
use anyhow::{Result, ensure};
use base::coded;
use libc::sock_filter;
use oci_spec::runtime::Arch;
use std::mem::offset_of;
use std::ops::Range;

/// Longest program that the kernel accepts (`BPF_MAXINSNS`).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

const NUMBER: u32 = offset_of!(libc::seccomp_data, nr) as u32;
const ARCH: u32 = offset_of!(libc::seccomp_data, arch) as u32;

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The action for an ABI that the profile does not list, as in libseccomp ("bad arch action").
const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// One rule for one system call of one ABI.
struct CallRule {
    /// Number of the system call.
    number: u32,
    /// Index of the entry in the profile.
    entry: usize,
    /// The condition that selects the call, if the number is that of a multiplexer.
    selector: Option<Condition>,
}

/// The rules of a profile for one ABI.
#[derive(Default)]
struct AbiRules {
    list: Vec<CallRule>,
    /// The largest number of a system call that the profile names, with any action.
    newest: Option<u32>,
}

/// The action for a system call.
enum Verdict {
    /// Always this `SECCOMP_RET_*` value.
    Always(u32),
    /// The action of the first rule in this order whose conditions hold; otherwise the default.
    Rules(Vec<Rule>),
}

/// Compiles `profile` for a kernel of `family`.
///
/// # Errors
/// The program is longer than the kernel accepts.
pub(super) fn build(family: &Family, profile: &Profile<'_>) -> Result<Vec<sock_filter>> {
    let mut builder = Builder { profile, code: Assembler::default(), chains: Vec::new() };
    let abi_rules = abi_rules(family, profile);
    // emitted from the end, so that the native ABI is first in the program
    let mut next = Target::Return(BAD_ARCH);
    let mut x32 = None;
    for (column, (abi, abi_rules)) in family.abis.iter().zip(&abi_rules).enumerate().rev() {
        let listed = listed(profile, column, abi);
        if abi.first == X32_BIT {
            x32 = Some(if listed { builder.tree(abi, abi_rules)? } else { builder.no_x32() });
        } else if listed {
            let mut root = builder.tree(abi, abi_rules)?;
            if let (Arch::ScmpArchX86_64, Some(x32)) = (abi.arch, x32) {
                root = builder.code.branch(libc::BPF_JGE, X32_BIT, x32, root);
            }
            let root = builder.code.load(NUMBER, root);
            next = builder.code.branch(libc::BPF_JEQ, abi.audit, root, next);
        }
    }
    if let Target::Return(verdict) = builder.code.load(ARCH, next) {
        builder.code.verdict(verdict); // every call has the same action
    }
    let length = builder.code.len();
    ensure!(
        length <= MAX_INSTRUCTIONS,
        coded!(
            SeccompInvalid,
            "linux.seccomp.syscalls: the filter needs {length} instructions, the kernel takes {MAX_INSTRUCTIONS}"
        )
    );
    Ok(builder.code.finish())
}

/// Reports whether the profile lists an ABI; the native one always counts as listed.
fn listed(profile: &Profile<'_>, column: usize, abi: &Abi) -> bool {
    column == 0 || profile.archs.contains(&abi.arch)
}

/// Looks up every name once, and adds a rule for each listed ABI that has the call. Unknown names are skipped.
fn abi_rules(family: &Family, profile: &Profile<'_>) -> Vec<AbiRules> {
    let mut abi_rules: Vec<AbiRules> = family.abis.iter().map(|_| AbiRules::default()).collect();
    let listed_abis: Vec<_> =
        family.abis.iter().enumerate().filter(|(column, abi)| listed(profile, *column, abi)).collect();
    for (entry, content) in profile.entries.iter().enumerate() {
        // a rule with the default action is no exception from another rule: libseccomp refuses it and runc skips it
        let redundant = content.verdict == profile.default;
        for name in content.names {
            let row = tables::find(family.rows, name);
            for &(column, abi) in &listed_abis {
                let Some(abi_rules) = abi_rules.get_mut(column) else { continue };
                let number_in = |row: &tables::Row| row.numbers.get(column).copied().filter(|&number| number != NONE);
                let mut add = |number: u32, selector| {
                    if number < abi.private {
                        abi_rules.newest = abi_rules.newest.max(Some(number));
                    }
                    if !redundant {
                        abi_rules.list.push(CallRule { number, entry, selector });
                    }
                };
                if let Some(number) = row.and_then(number_in) {
                    add(number, None);
                }
                if abi.multiplexed
                    && let Some(by) = multiplex::find(name)
                    && let Some(number) = tables::find(family.rows, by.call).and_then(number_in)
                {
                    add(number, Some(by.condition));
                }
            }
        }
    }
    for abi_rules in &mut abi_rules {
        abi_rules.list.sort_by_key(|one| one.number);
    }
    abi_rules
}

struct Builder<'a> {
    profile: &'a Profile<'a>,
    code: Assembler,
    /// Emitted rules, so that calls and ABIs with the same rules share them.
    chains: Vec<(Width, Vec<Rule>, Target)>,
}

impl Builder<'_> {
    /// Emits the search tree over one ABI's numbers; the accumulator has the number.
    fn tree(&mut self, abi: &Abi, abi_rules: &AbiRules) -> Result<Target> {
        let mut segments = Segments::default();
        // numbers from here on are newer than the profile's newest call
        let newer = if self.profile.unknown_is_enosys {
            abi_rules.newest.map_or(u32::MAX, |newest| newest + 1)
        } else {
            u32::MAX
        };
        let mut from = abi.first;
        for group in abi_rules.list.chunk_by(|one, other| one.number == other.number) {
            let Some(number) = group.first().map(|one| one.number) else { continue };
            self.fill(&mut segments, from..number, newer, abi.private);
            let target = match self.verdict(group, abi.width)? {
                Verdict::Always(verdict) => Target::Return(verdict),
                Verdict::Rules(rules) => self.chain(rules, abi.width)?,
            };
            segments.push(number, target);
            from = number + 1;
        }
        self.fill(&mut segments, from..u32::MAX, newer, abi.private);
        Ok(self.code.tree(&segments.0).unwrap_or(Target::Return(self.profile.default)))
    }

    /// Adds segments for numbers in `start..end`, which no rule names.
    fn fill(&self, segments: &mut Segments, Range { start, end }: Range<u32>, newer: u32, private: u32) {
        let background = |number| match newer <= number && number < private {
            true => Target::Return(ENOSYS),
            false => Target::Return(self.profile.default),
        };
        for first in [start, newer.max(start), private.max(start)] {
            if first < end {
                segments.push(first, background(first));
            }
        }
    }

    /// Combines the rules of one call: a rule without conditions overrides the others, in any order.
    fn verdict(&self, group: &[CallRule], width: Width) -> Result<Verdict> {
        let mut rules = Vec::new();
        let mut always = None;
        for one in group {
            let Some(entry) = self.profile.entries.get(one.entry) else { continue };
            for conditions in &entry.alternatives {
                let rule = match one.selector {
                    None => Rule::narrowed(conditions, entry.verdict, width),
                    Some(selector) => {
                        let others = conditions.iter().filter(|condition| condition.index != selector.index);
                        let all: Vec<_> = others.copied().chain([selector]).collect();
                        Rule::narrowed(&all, entry.verdict, width)
                    }
                };
                if rule.conditions.is_empty() {
                    always = always.or(Some(rule.action));
                } else if always.is_none() && !rules.contains(&rule) {
                    ensure!(
                        rules.len() < MAX_INSTRUCTIONS,
                        coded!(SeccompInvalid, "linux.seccomp.syscalls: too many rules for one system call")
                    );
                    rule.insert_into(&mut rules);
                }
            }
        }
        Ok(always.map_or(Verdict::Rules(rules), Verdict::Always))
    }

    /// Emits instructions that check `rules` in order.
    fn chain(&mut self, rules: Vec<Rule>, width: Width) -> Result<Target> {
        if let Some((_, _, target)) = self.chains.iter().find(|(of, known, _)| *of == width && *known == rules) {
            return Ok(*target);
        }
        let mut target = self.code.verdict(self.profile.default);
        for rule in rules.iter().rev() {
            target = self.code.rule(rule.body(width).into_iter(), rule.action);
        }
        self.chains.push((width, rules, target));
        Ok(target)
    }

    /// Emits the action for x32 calls where the profile does not list x32. −1 has the x32 bit too, but a tracer writes
    /// it to skip a call.
    fn no_x32(&mut self) -> Target {
        let (default, bad) = (Target::Return(self.profile.default), Target::Return(BAD_ARCH));
        self.code.branch(libc::BPF_JEQ, u32::MAX, default, bad)
    }
}

/// A list of segments that merges neighbours with the same target.
#[derive(Default)]
struct Segments(Vec<Segment>);

impl Segments {
    fn push(&mut self, first: u32, target: Target) {
        if self.0.last().is_none_or(|last| last.target != target) {
            self.0.push(Segment { first, target });
        }
    }
}
