//! A checked profile becomes a program for one family of conventions.
//!
//! ```text
//! arch? ─▶ x86_64: number below the x32 bit ─▶ tree ─▶ verdict, or the call's rules ─▶ verdict
//!       │          x32 ─▶ its own tree, or killed
//!       ├▶ i386:   tree
//!       └▶ killed
//! ```

use super::abi::{Abi, Family, Width};
use super::multiplex;
use super::profile::Profile;
use super::program::{Assembler, Segment, Target};
use super::rule::{Condition, Rule};
use super::tables::{self, NONE, X32_BIT};
use anyhow::{Result, ensure};
use libc::sock_filter;
use oci_spec::runtime::Arch;
use std::mem::offset_of;
use std::ops::Range;

/// What the kernel takes (`BPF_MAXINSNS`).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

const NUMBER: u32 = offset_of!(libc::seccomp_data, nr) as u32;
const ARCH: u32 = offset_of!(libc::seccomp_data, arch) as u32;

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A convention that the profile does not name: libseccomp's answer (its "bad arch action").
const BAD_ARCH: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// One rule for one system call of one convention.
struct Use {
    number: u32,
    /// Its entry in the profile.
    entry: usize,
    /// Set where the number is a multiplexer's.
    selector: Option<Condition>,
}

/// What a profile says about one convention.
#[derive(Default)]
struct Uses {
    list: Vec<Use>,
    /// The largest number the profile mentions, whatever it says about it.
    newest: Option<u32>,
}

/// What is done with a call.
enum Verdict {
    Always(u32),
    /// In the order they are asked in; the default answers when none holds.
    Ask(Vec<Rule>),
}

/// The program for `profile` on a kernel of `family`.
pub(super) fn build(family: &Family, profile: &Profile<'_>) -> Result<Vec<sock_filter>> {
    let mut builder = Builder { profile, code: Assembler::default(), chains: Vec::new() };
    let uses = uses(family, profile);
    // made from the end: the native convention comes last and stands first
    let mut next = Target::Return(BAD_ARCH);
    let mut x32 = None;
    for (place, (abi, uses)) in family.abis.iter().zip(&uses).enumerate().rev() {
        let listed = listed(profile, place, abi);
        if abi.first == X32_BIT {
            x32 = Some(if listed { builder.tree(abi, uses)? } else { builder.no_x32() });
        } else if listed {
            let mut root = builder.tree(abi, uses)?;
            if let (Arch::ScmpArchX86_64, Some(x32)) = (abi.arch, x32) {
                root = builder.code.branch(libc::BPF_JGE, X32_BIT, x32, root);
            }
            let root = builder.code.load(NUMBER, root);
            next = builder.code.branch(libc::BPF_JEQ, abi.audit, root, next);
        }
    }
    if let Target::Return(verdict) = builder.code.load(ARCH, next) {
        builder.code.verdict(verdict); // whatever the call, the answer is the same
    }
    let length = builder.code.len();
    ensure!(
        length <= MAX_INSTRUCTIONS,
        "linux.seccomp.syscalls: the filter needs {length} instructions, the kernel takes {MAX_INSTRUCTIONS}"
    );
    Ok(builder.code.finish())
}

/// The native convention counts as listed.
fn listed(profile: &Profile<'_>, place: usize, abi: &Abi) -> bool {
    place == 0 || profile.archs.contains(&abi.arch)
}

/// Looks every name up once and notes it for each listed convention that has it. Names unknown everywhere are skipped.
fn uses(family: &Family, profile: &Profile<'_>) -> Vec<Uses> {
    let mut uses: Vec<Uses> = family.abis.iter().map(|_| Uses::default()).collect();
    let places: Vec<_> = family.abis.iter().enumerate().filter(|(place, abi)| listed(profile, *place, abi)).collect();
    for (entry, content) in profile.entries.iter().enumerate() {
        // redundant, and also not an exception from another rule for the same call: libseccomp refuses such rules and
        // runc leaves them out
        let redundant = content.verdict == profile.default;
        for name in content.names {
            let row = tables::find(family.rows, name);
            for &(place, abi) in &places {
                let Some(uses) = uses.get_mut(place) else { continue };
                let number_in = |row: &tables::Row| row.numbers.get(place).copied().filter(|&number| number != NONE);
                let mut note = |number: u32, selector| {
                    if number < abi.private {
                        uses.newest = uses.newest.max(Some(number));
                    }
                    if !redundant {
                        uses.list.push(Use { number, entry, selector });
                    }
                };
                if let Some(number) = row.and_then(number_in) {
                    note(number, None);
                }
                if abi.multiplexed
                    && let Some(by) = multiplex::find(name)
                    && let Some(number) = tables::find(family.rows, by.call).and_then(number_in)
                {
                    note(number, Some(by.condition));
                }
            }
        }
    }
    for uses in &mut uses {
        uses.list.sort_by_key(|one| one.number);
    }
    uses
}

struct Builder<'a> {
    profile: &'a Profile<'a>,
    code: Assembler,
    /// Rules already made, so that calls and conventions with the same ones share them.
    chains: Vec<(Width, Vec<Rule>, Target)>,
}

impl Builder<'_> {
    /// The tree over one convention's numbers; the number is in the accumulator.
    fn tree(&mut self, abi: &Abi, uses: &Uses) -> Result<Target> {
        let mut segments = Segments::default();
        // numbers from here on are newer than the profile
        let newer =
            if self.profile.unknown_is_enosys { uses.newest.map_or(u32::MAX, |newest| newest + 1) } else { u32::MAX };
        let mut from = abi.first;
        for group in uses.list.chunk_by(|one, other| one.number == other.number) {
            let Some(number) = group.first().map(|one| one.number) else { continue };
            self.fill(&mut segments, from..number, newer, abi.private);
            let target = match self.verdict(group, abi.width)? {
                Verdict::Always(verdict) => Target::Return(verdict),
                Verdict::Ask(rules) => self.chain(rules, abi.width)?,
            };
            segments.push(number, target);
            from = number + 1;
        }
        self.fill(&mut segments, from..u32::MAX, newer, abi.private);
        Ok(self.code.tree(&segments.0).unwrap_or(Target::Return(self.profile.default)))
    }

    /// Numbers in `from..to`, which no rule names.
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

    /// What the rules of one call amount to: one without conditions overrides the others, wherever it stands.
    fn verdict(&self, group: &[Use], width: Width) -> Result<Verdict> {
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
                        "linux.seccomp.syscalls: too many rules for one system call"
                    );
                    rule.insert_into(&mut rules);
                }
            }
        }
        Ok(always.map_or(Verdict::Ask(rules), Verdict::Always))
    }

    /// The instructions that ask `rules` in turn.
    fn chain(&mut self, rules: Vec<Rule>, width: Width) -> Result<Target> {
        if let Some((_, _, target)) = self.chains.iter().find(|(of, known, _)| *of == width && *known == rules) {
            return Ok(*target);
        }
        let mut target = self.code.verdict(self.profile.default);
        for rule in rules.iter().rev() {
            let body = rule.body(width)?;
            let body = body.into_iter().map(|one| sock_filter { code: one.code, jt: one.jt, jf: one.jf, k: one.k });
            target = self.code.rule(body, rule.action);
        }
        self.chains.push((width, rules, target));
        Ok(target)
    }

    /// x32 calls where the profile does not name x32. −1 has the bit too, but is what a tracer puts in place of a
    /// call to skip it, and no call of x32.
    fn no_x32(&mut self) -> Target {
        let (default, bad) = (Target::Return(self.profile.default), Target::Return(BAD_ARCH));
        self.code.branch(libc::BPF_JEQ, u32::MAX, default, bad)
    }
}

/// Segments, with equal neighbours merged.
#[derive(Default)]
struct Segments(Vec<Segment>);

impl Segments {
    fn push(&mut self, first: u32, target: Target) {
        if self.0.last().is_none_or(|last| last.target != target) {
            self.0.push(Segment { first, target });
        }
    }
}
