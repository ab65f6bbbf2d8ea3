//! Conditions on arguments: their meaning on an ABI, the order of rules, and their BPF.
//!
//! `compare` emits the comparisons, `assembler` and `filter` the rest.

use libc::sock_filter;
use oci_spec::runtime::LinuxSeccompOperator as Op;

use super::abi::Width;
use super::compare::{self, Comparison};

/// The condition `argument[index] & mask  op  value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// Index of the argument, 0 to 5.
    pub index: u8,
    /// The comparison.
    pub op: Op,
    /// The mask; all ones except for `MASKED_EQ`.
    pub mask: u64,
    /// The value to compare with.
    pub value: u64,
}

impl Condition {
    /// Reduces the condition to an ABI of `width`; `None` where it always holds (an empty mask).
    fn narrowed(self, width: Width) -> Option<Self> {
        let all = match width {
            Width::Bits32 => u64::from(u32::MAX),
            Width::Bits64 => u64::MAX,
        };
        let mask = self.mask & all;
        (mask != 0).then_some(Self { mask, value: self.value & mask, ..self })
    }

    /// Reports whether `other`, added later, is checked before `self`: as in libseccomp the higher argument first, then
    /// equalities before upper before lower bounds, then the narrower bound.
    fn yields_to(&self, other: &Self) -> bool {
        fn class(op: Op) -> u8 {
            match op {
                Op::ScmpCmpEq | Op::ScmpCmpNe | Op::ScmpCmpMaskedEq => 3,
                Op::ScmpCmpLe | Op::ScmpCmpLt => 2,
                Op::ScmpCmpGe | Op::ScmpCmpGt => 1,
            }
        }
        let (own, others) = ((self.index, class(self.op)), (other.index, class(other.op)));
        if own != others {
            return own < others;
        }
        match self.op {
            Op::ScmpCmpLe | Op::ScmpCmpLt => self.value > other.value,
            _ => self.value < other.value,
        }
    }

    fn comparison(&self, width: Width) -> Comparison {
        // a mask within the lower half needs no comparison of the upper half
        let wide = width == Width::Bits64 && self.mask > u64::from(u32::MAX);
        Comparison { index: self.index, op: self.op, mask: self.mask, value: self.value, wide }
    }
}

/// Conditions that must all hold, and the action. At most one condition an argument, sorted by argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The conditions; an empty list always holds.
    pub conditions: Vec<Condition>,
    /// The action: a `SECCOMP_RET_*` value with its data.
    pub action: u32,
}

impl Rule {
    /// Creates the rule for an ABI of `width`.
    pub(super) fn narrowed(conditions: &[Condition], action: u32, width: Width) -> Self {
        let mut conditions: Vec<_> = conditions.iter().filter_map(|condition| condition.narrowed(width)).collect();
        conditions.sort_by_key(|condition| condition.index);
        Self { conditions, action }
    }

    /// Reports whether `other`, added later, is checked before `self`; if one is a prefix of the other, the shorter is
    /// first.
    fn yields_to(&self, other: &Self) -> bool {
        let pairs = self.conditions.iter().zip(&other.conditions);
        match pairs.into_iter().find(|(own, others)| own != others) {
            Some((own, others)) => own.yields_to(others),
            None => other.conditions.len() < self.conditions.len(),
        }
    }

    /// Inserts the rule into those of its system call.
    ///
    /// Only rules that overlap with different actions depend on the order. It is that of libseccomp and not that of the
    /// profile, because profiles are written for libseccomp.
    pub(super) fn insert_into(self, rules: &mut Vec<Self>) {
        let at = rules.iter().position(|rule| rule.yields_to(&self)).unwrap_or(rules.len());
        rules.insert(at, self);
    }

    /// Compiles the conditions. If all hold, execution continues after the last instruction; otherwise it skips one
    /// more.
    pub(super) fn body(&self, width: Width) -> Vec<sock_filter> {
        compare::compile(&self.conditions.iter().map(|condition| condition.comparison(width)).collect::<Vec<_>>())
    }
}
