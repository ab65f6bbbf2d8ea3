//! Assembles a classic BPF program from its end to its beginning, so that every jump's distance is known when made.
//!
//! Knows nothing of profiles. Only loads, returns and the comparisons JEQ, JGE are used on the way to a verdict: the
//! kernel recognises exactly those and lets a call that is always allowed pass without running the filter
//! (`seccomp_is_const_allow`, since 5.11).

use libc::sock_filter;

/// Where a branch leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a verdict; the return instruction is created when needed and shared within reach.
    Return(u32),
    /// To an instruction already made, counted from the program's end.
    At(usize),
}

/// From a place on, this is what holds, until the next segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// The first number.
    pub first: u32,
    /// What is done with it.
    pub target: Target,
}

/// The longest conditional jump, less the two instructions that may be put in between while it is being created.
const REACH: usize = 255 - 2;

/// Single exceptions a leaf of the tree asks for one by one; more would cost more steps than they save instructions.
const LEAF_HOLES: usize = 3;

/// The program, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<sock_filter>,
    /// Verdicts that have a return instruction, with the newest one's place.
    returns: Vec<(u32, usize)>,
}

impl Assembler {
    /// The instructions in the order the kernel wants, beginning with the one made last.
    pub(super) fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    /// How many there are.
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

    /// A place within reach of a branch made now, or after one other `near`, that leads to `target`.
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

    /// Compares the accumulator with `k` (`test`: `BPF_JEQ`, `BPF_JGE`).
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

    /// Loads the word at `offset` of `struct seccomp_data` and goes on at `then`. A verdict needs no load.
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

    /// Makes `body`, which goes on with `verdict` at its end and jumps over that when it does not apply.
    /// What follows then is the instruction made before.
    pub(super) fn rule(&mut self, body: impl DoubleEndedIterator<Item = sock_filter>, verdict: u32) -> Target {
        self.push_return(verdict);
        self.reversed.extend(body.rev());
        Target::At(self.reversed.len() - 1)
    }

    /// Makes a return instruction here, for code that falls through to it.
    pub(super) fn verdict(&mut self, verdict: u32) -> Target {
        Target::At(self.push_return(verdict))
    }

    /// Makes a balanced tree over `segments` (sorted, the first one from the lowest number on); the number to look up
    /// is in the accumulator.
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

/// A range with one target but for a few single numbers.
struct Leaf {
    first: u32,
    target: Target,
    holes: Vec<Segment>,
}

/// A single number between two equal segments costs one comparison as a hole, two as a segment.
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
            // what remains of `next` belongs to this leaf
            rest = after;
        }
        leaves.push(leaf);
    }
    leaves
}
