//! Conditions on arguments: what they mean on a convention, which rule is asked first, and their BPF.
//!
//! The comparisons are seccompiler's (`SeccompRule`); it has one action for a whole filter and knows no order between
//! rules, so the rest of a filter is `program` and `filter`.

use super::abi::Width;
use anyhow::{Result, anyhow};
use oci_spec::runtime::LinuxSeccompOperator as Op;
use seccompiler::{BpfProgram, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

/// `argument[index] & mask  op  value`; the mask has a part only in `MASKED_EQ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub index: u8,
    /// The comparison.
    pub op: Op,
    /// All ones except for `MASKED_EQ`.
    pub mask: u64,
    /// What the argument is compared with.
    pub value: u64,
}

impl Condition {
    /// The condition as a convention of `width` sees it; none where it always holds there (an empty mask).
    fn narrowed(self, width: Width) -> Option<Self> {
        let all = match width {
            Width::Bits32 => u64::from(u32::MAX),
            Width::Bits64 => u64::MAX,
        };
        let mask = self.mask & all;
        (mask != 0).then_some(Self { mask, value: self.value & mask, ..self })
    }

    /// Whether `other`, added later, is asked before `self`: libseccomp asks the higher argument first, then
    /// equalities before upper before lower bounds, then the narrower bound.
    fn yields_to(&self, other: &Self) -> bool {
        fn class(op: Op) -> u8 {
            match op {
                Op::ScmpCmpEq | Op::ScmpCmpNe | Op::ScmpCmpMaskedEq => 3,
                Op::ScmpCmpLe | Op::ScmpCmpLt => 2,
                Op::ScmpCmpGe | Op::ScmpCmpGt => 1,
            }
        }
        let (mine, theirs) = ((self.index, class(self.op)), (other.index, class(other.op)));
        if mine != theirs {
            return mine < theirs;
        }
        match self.op {
            Op::ScmpCmpLe | Op::ScmpCmpLt => self.value > other.value,
            _ => self.value < other.value,
        }
    }

    fn compiled(&self, width: Width) -> Result<SeccompCondition> {
        let op = match self.op {
            Op::ScmpCmpNe => SeccompCmpOp::Ne,
            Op::ScmpCmpLt => SeccompCmpOp::Lt,
            Op::ScmpCmpLe => SeccompCmpOp::Le,
            Op::ScmpCmpEq => SeccompCmpOp::Eq,
            Op::ScmpCmpGe => SeccompCmpOp::Ge,
            Op::ScmpCmpGt => SeccompCmpOp::Gt,
            Op::ScmpCmpMaskedEq => SeccompCmpOp::MaskedEq(self.mask),
        };
        // a mask within the lower half needs no look at the upper one
        let length = if width == Width::Bits32 || self.mask <= u64::from(u32::MAX) {
            SeccompCmpArgLen::Dword
        } else {
            SeccompCmpArgLen::Qword
        };
        SeccompCondition::new(self.index, length, op, self.value).map_err(|error| anyhow!("linux.seccomp: {error}"))
    }
}

/// Conditions that must all hold, and what is answered then. At most one condition an argument, sorted by argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Empty: the rule always holds.
    pub conditions: Vec<Condition>,
    /// A `SECCOMP_RET_*` value with its data.
    pub action: u32,
}

impl Rule {
    /// The rule for a convention of `width`.
    pub(super) fn narrowed(conditions: &[Condition], action: u32, width: Width) -> Self {
        let mut conditions: Vec<_> = conditions.iter().filter_map(|condition| condition.narrowed(width)).collect();
        conditions.sort_by_key(|condition| condition.index);
        Self { conditions, action }
    }

    /// Whether `other`, added later, is asked before `self`; of two with the same beginning the shorter one is.
    fn yields_to(&self, other: &Self) -> bool {
        let pairs = self.conditions.iter().zip(&other.conditions);
        match pairs.into_iter().find(|(mine, theirs)| mine != theirs) {
            Some((mine, theirs)) => mine.yields_to(theirs),
            None => other.conditions.len() < self.conditions.len(),
        }
    }

    /// Puts the rule among those of its system call.
    ///
    /// Only rules that overlap and answer differently depend on the order. Profiles were written against libseccomp,
    /// so its order counts, not the profile's.
    pub(super) fn insert_into(self, rules: &mut Vec<Self>) {
        let at = rules.iter().position(|rule| rule.yields_to(&self)).unwrap_or(rules.len());
        rules.insert(at, self);
    }

    /// Instructions that fall out at their end where all conditions hold, and jump over one more where one does not.
    pub(super) fn body(&self, width: Width) -> Result<BpfProgram> {
        let conditions =
            self.conditions.iter().map(|condition| condition.compiled(width)).collect::<Result<Vec<_>>>()?;
        let rule = SeccompRule::new(conditions).map_err(|error| anyhow!("linux.seccomp: {error}"))?;
        let mut body = BpfProgram::from(rule);
        // seccompiler begins with a jump over a jump that only its own filters use
        let ja = u16::try_from(libc::BPF_JMP | libc::BPF_JA)?;
        if matches!(body.as_slice(), [first, second, ..] if (first.code, first.k) == (ja, 1) && second.code == ja) {
            body.drain(..2);
        }
        Ok(body)
    }
}
