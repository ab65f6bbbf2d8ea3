//! An assembler for classic BPF that emits a program from its end to its beginning, so that the distance of every jump
//! is known.
//!
//! Independent of profiles. The search tree has only loads, returns and the comparisons JEQ and JGE, because for
//! exactly these the kernel detects a call that is always allowed and does not run the filter for it
//! (`seccomp_is_const_allow`, since 5.11).

use libc::sock_filter;

/// The target of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A return of this verdict; the instruction is emitted when needed and shared within reach.
    Return(u32),
    /// An emitted instruction, by its index from the program's end.
    At(usize),
}

/// A range of numbers with one target; ends before the next segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// The first number of the range.
    pub first: u32,
    /// The target for the range.
    pub target: Target,
}

/// Longest conditional jump in instructions, less the two that `near` may emit before the branch.
const REACH: usize = 255 - 2;

/// Most single numbers that a leaf of the tree compares one by one; more cost more steps than they save instructions.
const LEAF_HOLES: usize = 3;

/// The emitted program, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<sock_filter>,
    /// Verdicts with a return instruction, and the index of the latest one.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    /// Returns the instructions in order, from the one emitted last.
    pub(super) fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    /// The number of emitted instructions.
    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(sock_filter { code: code as u16, jt, jf, k });
        self.reversed.len() - 1
    }

    fn push_return(&mut self, verdict: u32) -> usize {
        let at = self.push(libc::BPF_RET | libc::BPF_K, 0, 0, verdict);
        self.returns.retain(|&(known, _)| known != verdict);
        self.returns.push((verdict, at));
        at
    }

    fn within_reach(&self, at: usize) -> bool {
        self.reversed.len() - at <= REACH
    }

    /// Returns the index of an instruction that leads to `target`, within reach of a branch emitted now or after one
    /// other call of `near`.
    fn near(&mut self, target: Target) -> usize {
        match target {
            Target::At(at) if self.within_reach(at) => at,
            Target::At(at) => {
                let distance = self.reversed.len() - at - 1;
                self.push(libc::BPF_JMP | libc::BPF_JA, 0, 0, distance as u32)
            }
            Target::Return(verdict) => {
                let known = self.returns.iter().find(|&&(known, _)| known == verdict).map(|&(_, at)| at);
                known.filter(|&at| self.within_reach(at)).unwrap_or_else(|| self.push_return(verdict))
            }
        }
    }

    /// Emits a comparison of the accumulator with `k` (`test`: `BPF_JEQ`, `BPF_JGE`).
    pub(super) fn branch(&mut self, test: u32, k: u32, yes: Target, no: Target) -> Target {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.near(yes), self.near(no));
        let here = self.reversed.len();
        // both distances are at most REACH + 2 - 1
        let (jt, jf) = ((here - yes - 1) as u8, (here - no - 1) as u8);
        Target::At(self.push(libc::BPF_JMP | test | libc::BPF_K, jt, jf, k))
    }

    /// Emits a load of the word at `offset` of `struct seccomp_data` before `then`. A verdict needs no load.
    pub(super) fn load(&mut self, offset: u32, then: Target) -> Target {
        if let Target::At(at) = then {
            if at + 1 != self.reversed.len() {
                let distance = self.reversed.len() - at - 1;
                self.push(libc::BPF_JMP | libc::BPF_JA, 0, 0, distance as u32);
            }
            return Target::At(self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset));
        }
        then
    }

    /// Emits `body`, which ends in `verdict` when its conditions hold and otherwise jumps to the instruction emitted
    /// before.
    pub(super) fn rule(&mut self, body: impl DoubleEndedIterator<Item = sock_filter>, verdict: u32) -> Target {
        self.push_return(verdict);
        self.reversed.extend(body.rev());
        Target::At(self.reversed.len() - 1)
    }

    /// Emits a return instruction here, for code that falls through to it.
    pub(super) fn verdict(&mut self, verdict: u32) -> Target {
        Target::At(self.push_return(verdict))
    }

    /// Emits a balanced search tree over `segments` (sorted; the first starts at the lowest number). The accumulator
    /// has the number to look up. `None` for no segments.
    pub(super) fn tree(&mut self, segments: &[Segment]) -> Option<Target> {
        let leaves = leaves(segments);
        self.subtree(&leaves)
    }

    fn subtree(&mut self, leaves: &[Leaf]) -> Option<Target> {
        let (low, high) = leaves.split_at_checked(leaves.len() / 2)?;
        let first = high.first()?;
        if low.is_empty() {
            let step = |next, hole: &Segment| self.branch(libc::BPF_JEQ, hole.first, hole.target, next);
            return Some(first.holes.iter().rev().fold(first.target, step));
        }
        let above = self.subtree(high)?;
        let below = self.subtree(low)?;
        Some(self.branch(libc::BPF_JGE, first.first, above, below))
    }
}

/// A range with one target, except for a few single numbers.
struct Leaf {
    first: u32,
    target: Target,
    holes: Vec<Segment>,
}

/// Groups segments into leaves, because a single number between two equal segments costs one comparison as a hole and
/// two as a segment.
fn leaves(segments: &[Segment]) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::with_capacity(segments.len());
    let mut rest = segments;
    while let [segment, after @ ..] = rest {
        let mut leaf = Leaf { first: segment.first, target: segment.target, holes: Vec::new() };
        rest = after;
        while let [hole, next, after @ ..] = rest {
            let single = hole.first.checked_add(1) == Some(next.first) && next.target == leaf.target;
            if !single || leaf.holes.len() == LEAF_HOLES {
                break;
            }
            leaf.holes.push(*hole);
            // `next` has the target of this leaf
            rest = after;
        }
        leaves.push(leaf);
    }
    leaves
}
