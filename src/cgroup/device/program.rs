//! The device list as a BPF_PROG_TYPE_CGROUP_DEVICE program. Pure.
//!
//! The last rule that names a requested access bit decides it, as on v1: a rule for `r` and another for `w` together
//! allow an open for reading and writing. So the program checks the rules from the last to the first, clears the bits
//! that a rule allows, and returns "denied" at the first rule that denies a remaining bit.
//!
//! The time to load grows with the length (1 µs a step), so rules that follow each other share their tests.

use anyhow::{Context as _, Result};

use super::{ALL, DeviceList, DeviceType, Rule};
use linux::bpf::Insn;

// Registers. r1 has the context, which is not needed after the loads; r0 has the return value.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Operation codes: class | source | operation, from linux/bpf.h and linux/bpf_common.h. All on 32 bits, like the fields
// of the context: the numbers of a device are unsigned.
pub(super) const LOAD: u8 = 0x61;
pub(super) const ALU32: u8 = 0x04;
pub(super) const ALU32_REG: u8 = 0x0c;
pub(super) const MOV: u8 = 0xb0;
pub(super) const AND: u8 = 0x50;
pub(super) const RSH: u8 = 0x70;
pub(super) const JEQ: u8 = 0x16;
pub(super) const JNE: u8 = 0x56;
pub(super) const JSET: u8 = 0x46;
pub(super) const EXIT: u8 = 0x95;

/// A rule as tests of a device: type, major, minor. `None`: no test.
struct Step {
    tests: [Option<u32>; 3],
    allow: bool,
    access: u8,
}

const REGISTERS: [u8; 3] = [TYPE, MAJOR, MINOR];

impl Step {
    fn from_rule(rule: &Rule) -> Step {
        let kind = match rule.kind {
            DeviceType::All => None,
            DeviceType::Block => Some(1),
            DeviceType::Char => Some(2),
        };
        Step { tests: [kind, rule.major, rule.minor], allow: rule.allow, access: rule.access }
    }

    /// Reports whether `other` is the same rule for the other device type, so that both together need no test of the
    /// type.
    fn is_twin(&self, other: &Step) -> bool {
        let same = self.allow == other.allow && self.access == other.access && self.tests[1..] == other.tests[1..];
        same && matches!((self.tests[0], other.tests[0]), (Some(a), Some(b)) if a != b)
    }

    fn decides(&self) -> bool {
        self.access == ALL
    }

    /// The value that the step tests for at this level: 0 type, 1 major, 2 minor.
    fn test(&self, level: usize) -> Option<u32> {
        self.tests.get(level).copied().flatten()
    }
}

impl DeviceList {
    /// Compiles the list to the v2 program.
    ///
    /// # Errors
    /// So many rules that a jump cannot pass over them.
    pub(crate) fn program(&self) -> Result<Vec<Insn>> {
        let mut base = self.base_allow;
        let mut steps: Vec<Step> = Vec::with_capacity(self.rules.len());
        for step in self.rules.iter().rev().map(Step::from_rule) {
            match steps.last_mut().filter(|last| last.is_twin(&step)) {
                Some(last) => last.tests[0] = None,
                None => steps.push(step),
            }
            // rules before a rule for every access have no effect, and the kernel refuses unreachable instructions
            if let Some(last) = steps.last().filter(|last| last.decides() && last.tests == [None; 3]) {
                base = last.allow;
                steps.pop();
                break;
            }
        }
        let mut code = Code::default();
        if !steps.is_empty() {
            code.header();
            code.level(&steps, 0)?;
        }
        code.finish(base)
    }
}

#[derive(Default)]
struct Code {
    program: Vec<Insn>,
    /// Indexes of jumps to the exits at the end of the program, and whether the exit allows.
    exits: Vec<(usize, bool)>,
}

impl Code {
    fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: u32) {
        self.program.push(Insn { code, regs: dst | src << 4, off, imm: imm as i32 });
    }

    fn header(&mut self) {
        self.push(LOAD, TYPE, CONTEXT, 0, 0); // access << 16 | type
        self.push(ALU32_REG | MOV, WANTED, TYPE, 0, 0);
        self.push(ALU32 | AND, TYPE, 0, 0, 0xffff);
        self.push(ALU32 | RSH, WANTED, 0, 0, 16);
        self.push(LOAD, MAJOR, CONTEXT, 4, 0);
        self.push(LOAD, MINOR, CONTEXT, 8, 0);
    }

    /// Emits steps that agree on all tests above this level. Consecutive steps with the same test on this level share
    /// it.
    fn level(&mut self, steps: &[Step], level: usize) -> Result<()> {
        let Some(register) = REGISTERS.get(level).copied() else {
            steps.iter().for_each(|step| self.action(step));
            return Ok(());
        };
        for run in steps.chunk_by(|a, b| a.test(level) == b.test(level)) {
            match run {
                [step, ..] if step.test(level).is_none() => self.level(run, level + 1)?,
                [step] if step.decides() && step.tests.iter().skip(level + 1).all(Option::is_none) => {
                    self.exit_if(JEQ, register, step.test(level).unwrap_or_default(), step.allow);
                }
                [step, ..] => {
                    let test = self.program.len();
                    self.push(JNE, register, 0, 0, step.test(level).unwrap_or_default());
                    self.level(run, level + 1)?;
                    self.set_target(test, self.program.len())?;
                }
                [] => {}
            }
        }
        Ok(())
    }

    /// Emits the decision on the access bits, for a device that has passed all tests of the step.
    fn action(&mut self, step: &Step) {
        let access = u32::from(step.access);
        if step.allow {
            self.push(ALU32 | AND, WANTED, 0, 0, !access & u32::from(ALL));
            self.exit_if(JEQ, WANTED, 0, true);
        } else {
            self.exit_if(JSET, WANTED, access, false);
        }
    }

    fn exit_if(&mut self, condition: u8, register: u8, value: u32, allow: bool) {
        self.exits.push((self.program.len(), allow));
        self.push(condition, register, 0, 0, value);
    }

    fn set_target(&mut self, jump: usize, target: usize) -> Result<()> {
        let distance = i16::try_from(target - jump - 1).ok().context("too many rules for a device program")?;
        if let Some(insn) = self.program.get_mut(jump) {
            insn.off = distance;
        }
        Ok(())
    }

    fn finish(mut self, base: bool) -> Result<Vec<Insn>> {
        for allow in [base, !base] {
            let target = self.program.len();
            let jumps: Vec<usize> = self.exits.iter().filter(|(_, to)| *to == allow).map(|(at, _)| *at).collect();
            if allow != base && jumps.is_empty() {
                continue; // the kernel refuses unreachable instructions
            }
            jumps.into_iter().try_for_each(|jump| self.set_target(jump, target))?;
            self.push(ALU32 | MOV, RESULT, 0, 0, u32::from(allow));
            self.push(EXIT, 0, 0, 0, 0);
        }
        Ok(self.program)
    }
}
