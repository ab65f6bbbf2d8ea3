//! The comparisons of one rule as classic BPF, for kernels of either byte order.
//!
//! BPF has words of 32 bits, so that an argument of 64 bits is compared by halves, the upper one first.

use libc::sock_filter;
use oci_spec::runtime::LinuxSeccompOperator as Op;

/// The target of a jump, relative to the condition it is in.
#[derive(Clone, Copy)]
enum To {
    /// The next instruction.
    Next,
    /// The end of the condition: it holds.
    Holds,
    /// The end of the rule and one more: it does not hold.
    Fails,
}

/// An instruction with targets that are no distances yet.
#[derive(Clone, Copy)]
enum Step {
    Load { offset: u32 },
    And { mask: u32 },
    Jump { code: u32, value: u32, yes: To, no: To },
}

/// A comparison with an argument.
#[derive(Clone, Copy)]
pub(super) struct Comparison {
    /// Index of the argument.
    pub index: u8,
    /// The operator.
    pub op: Op,
    /// The mask of `SCMP_CMP_MASKED_EQ`.
    pub mask: u64,
    /// The value to compare with.
    pub value: u64,
    /// Both halves are compared.
    pub wide: bool,
}

/// Returns the offsets of the upper and the lower half of an argument in `struct seccomp_data`.
fn halves(index: u8, big_endian: bool) -> (u32, u32) {
    let at = 16 + 8 * u32::from(index);
    if big_endian { (at, at + 4) } else { (at + 4, at) }
}

impl Comparison {
    fn steps(self, big_endian: bool) -> Vec<Step> {
        let (upper, lower) = halves(self.index, big_endian);
        let (high, low) = ((self.value >> 32) as u32, self.value as u32);
        let jump = |code, value, yes, no| Step::Jump { code, value, yes, no };
        let mut steps = Vec::new();
        if self.wide {
            steps.push(Step::Load { offset: upper });
            let (equal, greater) = (libc::BPF_JEQ, libc::BPF_JGT);
            match self.op {
                Op::ScmpCmpEq => steps.push(jump(equal, high, To::Next, To::Fails)),
                Op::ScmpCmpMaskedEq => {
                    steps.push(Step::And { mask: (self.mask >> 32) as u32 });
                    steps.push(jump(equal, high, To::Next, To::Fails));
                }
                Op::ScmpCmpNe => steps.push(jump(equal, high, To::Next, To::Holds)),
                Op::ScmpCmpGt | Op::ScmpCmpGe => {
                    steps.push(jump(greater, high, To::Holds, To::Next));
                    steps.push(jump(equal, high, To::Next, To::Fails));
                }
                Op::ScmpCmpLt | Op::ScmpCmpLe => {
                    steps.push(jump(greater, high, To::Fails, To::Next));
                    steps.push(jump(equal, high, To::Next, To::Holds));
                }
            }
        }
        steps.push(Step::Load { offset: lower });
        if self.op == Op::ScmpCmpMaskedEq {
            steps.push(Step::And { mask: self.mask as u32 });
        }
        steps.push(match self.op {
            Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => jump(libc::BPF_JEQ, low, To::Next, To::Fails),
            Op::ScmpCmpNe => jump(libc::BPF_JEQ, low, To::Fails, To::Next),
            Op::ScmpCmpGt => jump(libc::BPF_JGT, low, To::Next, To::Fails),
            Op::ScmpCmpGe => jump(libc::BPF_JGE, low, To::Next, To::Fails),
            Op::ScmpCmpLt => jump(libc::BPF_JGE, low, To::Fails, To::Next),
            Op::ScmpCmpLe => jump(libc::BPF_JGT, low, To::Fails, To::Next),
        });
        steps
    }
}

/// Compiles comparisons that must all hold. If they do, execution continues after the last instruction; otherwise it skips one
/// more. At most six comparisons of six instructions, so that every distance fits.
pub(super) fn compile(comparisons: &[Comparison]) -> Vec<sock_filter> {
    compile_for(comparisons, cfg!(target_endian = "big"))
}

fn compile_for(comparisons: &[Comparison], big_endian: bool) -> Vec<sock_filter> {
    let parts: Vec<Vec<Step>> = comparisons.iter().map(|comparison| comparison.steps(big_endian)).collect();
    let total: usize = parts.iter().map(Vec::len).sum();
    let mut program = Vec::with_capacity(total);
    let mut end = 0;
    for part in parts {
        end += part.len();
        for step in part {
            let after = program.len() + 1;
            let distance = |to| match to {
                To::Next => 0,
                To::Holds => (end - after) as u8,
                To::Fails => (total + 1 - after) as u8,
            };
            let (code, k, jt, jf) = match step {
                Step::Load { offset } => (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0),
                Step::And { mask } => (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask, 0, 0),
                Step::Jump { code, value, yes, no } => {
                    (libc::BPF_JMP | code | libc::BPF_K, value, distance(yes), distance(no))
                }
            };
            program.push(sock_filter { code: code as u16, jt, jf, k });
        }
    }
    program
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    /// Runs a program on the bytes of one argument; returns the instruction after the last one that ran.
    fn run(program: &[sock_filter], argument: [u8; 8], big_endian: bool) -> usize {
        let (mut word, mut at) = (0_u32, 0);
        while let Some(step) = program.get(at) {
            at += 1;
            let code = u32::from(step.code);
            match code & 7 {
                libc::BPF_LD => {
                    let start = step.k as usize - 16;
                    let bytes: [u8; 4] = argument[start..start + 4].try_into().unwrap();
                    word = if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
                }
                libc::BPF_ALU => word &= step.k,
                _ => {
                    let holds = match code & 0xf0 {
                        libc::BPF_JEQ => word == step.k,
                        libc::BPF_JGT => word > step.k,
                        libc::BPF_JGE => word >= step.k,
                        other => panic!("{other:#x}"),
                    };
                    at += usize::from(if holds { step.jt } else { step.jf });
                }
            }
        }
        at
    }

    #[test]
    fn every_operator_compares_as_numbers_in_both_byte_orders() {
        let values = [0, 1, 5, u64::from(u32::MAX), 1 << 32, (1 << 32) + 5, (5 << 32) + 1, u64::MAX];
        type Test = fn(u64, u64) -> bool;
        let operators: [(Op, Test); 7] = [
            (Op::ScmpCmpEq, |a, b| a == b),
            (Op::ScmpCmpNe, |a, b| a != b),
            (Op::ScmpCmpGt, |a, b| a > b),
            (Op::ScmpCmpGe, |a, b| a >= b),
            (Op::ScmpCmpLt, |a, b| a < b),
            (Op::ScmpCmpLe, |a, b| a <= b),
            (Op::ScmpCmpMaskedEq, |a, b| a & b == b),
        ];
        for (op, holds) in operators {
            for value in values {
                for argument in values {
                    for (wide, big) in [(true, true), (true, false), (false, false)] {
                        let cut = |number: u64| if wide { number } else { number & u64::from(u32::MAX) };
                        let comparison = Comparison { index: 0, op, mask: value, value, wide };
                        let program = compile_for(&[comparison], big);
                        let bytes = if big { argument.to_be_bytes() } else { argument.to_le_bytes() };
                        let expected = program.len() + usize::from(!holds(cut(argument), cut(value)));
                        assert_eq!(run(&program, bytes, big), expected, "{argument:#x} {op:?} {value:#x} {wide} {big}");
                    }
                }
            }
        }
    }
}
